//! A command of each kind that works for each vendor, for whoever writes the first one, and the
//! webhooks of the vendors' guides.

use serde::Deserialize;
use serde_json::value::RawValue;

/// The samples of the vendors' guides.
const JFWMS_SAMPLES: [&str; 10] = [
    include_str!("../vendors/jfwms/samples/webhook/order.json"),
    include_str!("../vendors/jfwms/samples/webhook/storage.json"),
    include_str!("../vendors/jfwms/samples/webhook/return.json"),
    include_str!("../vendors/jfwms/samples/webhook/orderIntercept.json"),
    include_str!("../vendors/jfwms/samples/webhook/inventoryCount.json"),
    include_str!("../vendors/jfwms/samples/webhook/adjust.json"),
    include_str!("../vendors/jfwms/samples/webhook/move.json"),
    include_str!("../vendors/jfwms/samples/webhook/orderCreate.json"),
    include_str!("../vendors/jfwms/samples/webhook/orderCancel.json"),
    include_str!("../vendors/jfwms/samples/webhook/convert.json"),
];
const QIANYI_SAMPLES: [(&str, &str); 5] = [
    ("PUSH_ASN_ORDER", include_str!("../vendors/qianyi/samples/push-asn-order.json")),
    (
        "PUSH_SALES_ORDER_SHIPPING_INFO",
        include_str!("../vendors/qianyi/samples/push-sales-order-shipping-info.json"),
    ),
    (
        "PUSH_RETURN_ORDER_INFO",
        include_str!("../vendors/qianyi/samples/push-return-order-info.json"),
    ),
    ("PUSH_TRACKING_PACKAGE", include_str!("../vendors/qianyi/samples/push-tracking-package.json")),
    ("PUSH_ODO_ORDER", include_str!("../vendors/qianyi/samples/push-odo-order.json")),
];

/// A webhook of a vendor's guide.
pub(super) struct Sample {
    /// Its type, as the vendor writes it.
    pub(super) kind: String,
    /// `data`, or `bizParam`, byte for byte.
    pub(super) data: &'static str,
}

/// The frame of a JFWMS webhook.
#[derive(Deserialize)]
struct Frame {
    #[serde(rename = "type")]
    kind: String,
    #[serde(borrow)]
    data: &'static RawValue,
}

/// The documented webhooks of a vendor.
pub(super) fn webhooks(vendor: &str) -> Vec<Sample> {
    let of_frame = |text: &&'static str| {
        let frame: Frame = serde_json::from_str(text).ok()?;
        Some(Sample { kind: frame.kind, data: frame.data.get() })
    };
    match vendor {
        "jfwms" => JFWMS_SAMPLES.iter().filter_map(of_frame).collect(),
        "qianyi" => QIANYI_SAMPLES
            .iter()
            .map(|(kind, data)| Sample { kind: (*kind).to_owned(), data })
            .collect(),
        _ => Vec::new(),
    }
}

/// The kinds and vendors, with the text of an example.
pub(super) const EXAMPLES: [(&str, &str, &str); 10] = [
    (
        "create-order",
        "jfwms",
        r#"{
  "account": "jf-main",
  "orderNumber": "A-1001",
  "platform": "other",
  "warehouse": "01",
  "recipient": {"name": "Erika Muster", "country": "DE", "city": "Berlin",
                "postCode": "10115", "address1": "Heidestr. 17"},
  "logistics": {"kind": "OFFLINE", "name": "DHL"},
  "lines": [{"sku": "2309-1Bei", "quantity": 2, "unitPrice": "19.90"}]
}"#,
    ),
    (
        "create-order",
        "qianyi",
        r#"{
  "account": "qy-main",
  "orderNumber": "A-1001",
  "shop": "demo-shop",
  "currency": "EUR",
  "paidAt": "2026-11-25T08:00:00Z",
  "recipient": {"name": "Erika Muster", "country": "DE", "province": "Berlin", "city": "Berlin",
                "postCode": "10115", "address1": "Heidestr. 17"},
  "lines": [{"sku": "2309-1Bei", "quantity": 2, "unitPrice": "19.90"}]
}"#,
    ),
    ("cancel-order", "jfwms", "{\"account\": \"jf-main\", \"orderNumber\": \"A-1001\"}"),
    (
        "cancel-order",
        "qianyi",
        "{\"account\": \"qy-main\", \"orderNumber\": \"A-1001\", \"shop\": \"demo-shop\"}",
    ),
    (
        "create-asn",
        "jfwms",
        r#"{
  "account": "jf-main",
  "asnNumber": "IN-1001",
  "warehouse": "01",
  "trackingNumbers": ["1Z999"],
  "lines": [{"sku": "2309-1Bei", "quantity": 200}]
}"#,
    ),
    (
        "create-asn",
        "qianyi",
        r#"{
  "account": "qy-main",
  "asnNumber": "IN-1001",
  "warehouse": "测试仓库",
  "currency": "CNY",
  "trackingNumbers": ["1Z999"],
  "lines": [{"sku": "2309-1Bei", "quantity": 200, "purchasePrice": "12.50"}]
}"#,
    ),
    ("cancel-asn", "jfwms", "{\"account\": \"jf-main\", \"asnNumber\": \"IN-1001\"}"),
    ("cancel-asn", "qianyi", "{\"account\": \"qy-main\", \"asnNumber\": \"IN-1001\"}"),
    (
        "call",
        "jfwms",
        r#"{
  "account": "jf-main",
  "path": "/api/warehouse/getList",
  "idempotent": true,
  "body": {}
}"#,
    ),
    (
        "call",
        "qianyi",
        r#"{
  "account": "qy-main",
  "path": "shop",
  "serviceType": "QUERY_SHOP_LIST",
  "idempotent": true,
  "body": {"page": 1, "pageSize": 10}
}"#,
    ),
];

/// The example of a kind for a vendor; the error names those there are.
pub(super) fn example(kind: &str, vendor: &str) -> Result<&'static str, String> {
    EXAMPLES
        .iter()
        .find(|(of_kind, of_vendor, _)| *of_kind == kind && *of_vendor == vendor)
        .map(|(_, _, text)| *text)
        .ok_or_else(|| {
            format!(
                "there is no example of `{kind}` for `{vendor}`: the kinds are create-order, cancel-order, \
                 create-asn, cancel-asn and call, the vendors jfwms and qianyi"
            )
        })
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::{
        avro::{CommandReader, Limits},
        domain::{AccountName, Operation, Secret},
        vendors::{Vendor, jfwms, qianyi},
    };

    /// Each pair of kind and vendor has one, which the vendor's checks take as it is.
    #[test]
    fn every_example_works() {
        let name = AccountName::new("a").unwrap();
        let settings = toml::from_str("client_id = \"c\"\nclient_secret = \"s\"").unwrap();
        let jfwms = jfwms::Jfwms::new(name.clone(), settings).unwrap();
        let settings = qianyi::Settings {
            app_id: "a".to_owned(),
            app_secret: Secret::new("s"),
            app_secret_previous: None,
        };
        let qianyi = qianyi::Qianyi::new(name, settings).unwrap();
        let reader = CommandReader::new(None, Limits::default());
        for operation in Operation::ALL {
            for vendor in [&jfwms as &dyn Vendor, &qianyi] {
                let (kind, name) = (operation.name(), vendor.name());
                let text = example(kind, name).unwrap();
                let read = reader.read(Some(operation), std::iter::empty(), Some(text.as_bytes()));
                let command = read.now_or_never().unwrap().unwrap().command;
                assert!(vendor.check(&command).unwrap().is_empty(), "{kind} {name}");
            }
        }
        assert!(example("create-order", "acme").unwrap_err().contains("qianyi"));
    }
}
