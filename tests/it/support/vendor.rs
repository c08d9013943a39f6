//! What the vendors send, written and signed by the tests themselves: neither the connector nor
//! the sandbox is asked what is right.

use std::collections::BTreeMap;

use md5::{Digest, Md5};
use serde_json::{Value, json, value::RawValue};

use super::parts;

/// The sample credentials of the vendors' guides.
pub(crate) const JFWMS_SECRET: &str = "4a506ccaf37e400bac4a42d2dc5f600a";
pub(crate) const QIANYI_APP: &str = "openApi_TEST";
pub(crate) const QIANYI_SECRET: &str = "openApi_TOKEN";

/// 2024-01-04T09:23:26.729Z, out of the guide's samples.
pub(crate) const SENT_AT: i64 = 1_704_360_206_729;

pub(crate) fn md5(text: &str) -> String {
    hex::encode(Md5::digest(text.as_bytes()))
}

/// JFWMS guide, Webhook签名: the MD5 of the JSON of data and client secret.
pub(crate) fn jfwms_sign(data: &str) -> String {
    md5(&format!(r#"{{"data":{data},"clientSecret":"{JFWMS_SECRET}"}}"#))
}

/// A signed webhook of JFWMS.
pub(crate) fn jfwms(kind: &str, data: &str) -> String {
    framed(kind, data, &format!(r#","sign":"{}""#, jfwms_sign(data)))
}

/// A webhook of JFWMS with these members behind `data`, its signature not among them.
pub(crate) fn framed(kind: &str, data: &str, more: &str) -> String {
    format!(r#"{{"timestamp":{SENT_AT},"type":{},"data":{data}{more}}}"#, Value::from(kind))
}

/// The data of the type `order`.
pub(crate) fn order(number: &str) -> String {
    json!({
        "userId": "8", "erpNo": number, "warehouseCode": "YK", "status": "Shipped",
        "skuList": [{"sku": "A", "total": 9, "locked": 0, "available": 9, "nonGood": 0, "totalChange": -1}],
    })
    .to_string()
}

/// A push of Qianyi: its five fields, signed as a request is.
pub(crate) fn push(service_type: &str, biz_param: &str) -> Vec<(&'static str, String)> {
    push_for(QIANYI_APP, service_type, &SENT_AT.to_string(), biz_param)
}

pub(crate) fn push_for(
    app_id: &str,
    service_type: &str,
    timestamp: &str,
    biz_param: &str,
) -> Vec<(&'static str, String)> {
    let sign = md5(&format!(
        "appId={app_id}bizParam={biz_param}serviceType={service_type}timestamp={timestamp}{QIANYI_SECRET}"
    ));
    vec![
        ("appId", app_id.to_owned()),
        ("serviceType", service_type.to_owned()),
        ("bizParam", biz_param.to_owned()),
        ("timestamp", timestamp.to_owned()),
        ("sign", sign),
    ]
}

/// The JSON body of a push.
pub(crate) fn as_json(fields: &[(&str, String)]) -> String {
    let members = fields.iter().map(|(name, value)| ((*name).to_owned(), json!(value)));
    Value::Object(members.collect()).to_string()
}

/// The form-data body of a push, and its content type.
pub(crate) fn as_form_data(fields: &[(&str, String)]) -> (String, String) {
    let mut body = String::new();
    for (name, value) in fields {
        body += &format!(
            "--frontier\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        );
    }
    ("multipart/form-data; boundary=frontier".to_owned(), body + "--frontier--\r\n")
}

/// A webhook of the guide.
pub(crate) struct Sample {
    pub(crate) kind: String,
    /// Byte for byte.
    pub(crate) data: String,
    /// Members beside `data`, but for type and time.
    pub(crate) beside: serde_json::Map<String, Value>,
}

/// Every sample of the JFWMS guide, by type.
pub(crate) fn jfwms_samples() -> BTreeMap<String, Sample> {
    let folder = parts::crate_dir().join("src/vendors/jfwms/samples/webhook");
    let mut samples = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let mut frame: BTreeMap<String, Box<RawValue>> = serde_json::from_str(&text).unwrap();
        frame.remove("timestamp").unwrap();
        let kind: String = serde_json::from_str(frame.remove("type").unwrap().get()).unwrap();
        let data = frame.remove("data").unwrap().get().to_owned();
        let beside = frame
            .iter()
            .map(|(name, raw)| (name.clone(), serde_json::from_str(raw.get()).unwrap()));
        let sample = Sample { kind: kind.clone(), data, beside: beside.collect() };
        samples.insert(kind, sample);
    }
    samples
}

/// A sample of Qianyi, byte for byte.
pub(crate) fn qianyi_sample(name: &str) -> String {
    let file = parts::crate_dir().join("src/vendors/qianyi/samples").join(name);
    std::fs::read_to_string(file).unwrap()
}
