//! Commands from their JSON form to the signed call.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Qianyi, Settings, SignedRequest};
use crate::{
    domain::{AccountName, Attempt, Body, Command, PlannedCall, Secret, command},
    vendors::Vendor,
};

const NOW: i64 = 1_662_448_537_275;

pub(super) fn qianyi() -> Qianyi {
    let settings = Settings {
        app_id: "openApi_TEST".to_owned(),
        app_secret: Secret::new("openApi_TOKEN"),
        app_secret_previous: None,
    };
    Qianyi::new(AccountName::new("qy").unwrap(), settings).unwrap()
}

pub(super) fn attempt() -> Attempt<'static> {
    Attempt {
        now: Timestamp::from_millisecond(NOW).unwrap(),
        nonce: 0,
        nonce_digits: 9,
        tokens: None,
        vendor_reference: None,
    }
}

fn order() -> Value {
    json!({
        "account": "qy", "orderNumber": "N-1", "shop": "my shop", "currency": "USD",
        "paidAt": 1_751_299_200_000_i64,
        "recipient": {"name": "A", "country": "GB", "province": "P", "city": "C",
            "postCode": "1", "address1": "S 1"},
        "lines": [{"sku": "S1", "quantity": 2, "paidAmount": "12345678901234.5678"}],
    })
}

fn asn() -> Value {
    json!({
        "account": "qy", "asnNumber": "IN-1", "warehouse": "W（测试用）", "currency": "CNY",
        "lines": [{"sku": "S1", "quantity": 3, "purchasePrice": "1.10"},
            {"sku": "S2", "quantity": 1, "purchasePrice": "2"}],
    })
}

/// `base` with `changes` at JSON pointers; a null removes the member.
pub(super) fn with(mut base: Value, changes: &[(&str, Value)]) -> Value {
    for (pointer, value) in changes {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        match base.pointer_mut(parent).unwrap() {
            Value::Object(members) if value.is_null() => {
                members.shift_remove(name);
            }
            Value::Object(members) => {
                members.insert(name.to_owned(), value.clone());
            }
            Value::Array(items) => items[name.parse::<usize>().unwrap()] = value.clone(),
            _ => panic!("{pointer}"),
        }
    }
    base
}

pub(super) fn create_order(changes: &[(&str, Value)]) -> Command {
    Command::CreateOrder(serde_json::from_value(with(order(), changes)).unwrap())
}

pub(super) fn create_asn(changes: &[(&str, Value)]) -> Command {
    Command::CreateAsn(serde_json::from_value(with(asn(), changes)).unwrap())
}

pub(super) fn cancel_order() -> Command {
    let cancel = json!({"account": "qy", "orderNumber": "N-1", "shop": "my shop"});
    Command::CancelOrder(serde_json::from_value(cancel).unwrap())
}

pub(super) fn cancel_asn(reference: Option<&str>) -> Command {
    let cancel = json!({"account": "qy", "asnNumber": "IN-1", "vendorReference": reference});
    Command::CancelAsn(serde_json::from_value(cancel).unwrap())
}

pub(super) fn call(path: &str, service_type: Option<&str>, body: &str) -> Command {
    let call = json!({"account": "qy", "path": path, "serviceType": service_type, "body": body});
    Command::Call(serde_json::from_value::<command::Call>(call).unwrap())
}

/// The call of a command: path, operation and body; the signature is checked on the way.
pub(super) fn planned(planned: &PlannedCall) -> (String, String, String) {
    let Body::Multipart(fields) = &planned.body else { panic!("{planned:?}") };
    let names: Vec<_> = fields.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["appId", "serviceType", "bizParam", "timestamp", "sign"]);
    let field = |i: usize| fields[i].1.as_str();
    assert_eq!((field(0), field(3)), ("openApi_TEST", "1662448537275"));
    let signed = SignedRequest {
        app_id: field(0),
        service_type: field(1),
        biz_param: field(2),
        timestamp: field(3),
    };
    assert_eq!(field(4), signed.sign(&Secret::new("openApi_TOKEN")));
    (planned.path.clone(), field(1).to_owned(), field(2).to_owned())
}

fn sent(command: &Command) -> (String, String, String) {
    assert_eq!(qianyi().check(command).map(|_| ()), Ok(()));
    planned(&qianyi().call(command, &attempt()))
}

#[test]
fn an_order_is_written_as_the_vendors_table_says() {
    let (path, service_type, body) = sent(&create_order(&[]));
    assert_eq!(
        (path.as_str(), service_type.as_str()),
        ("/api/v1/salesOrder", "CREATE_SALES_ORDER")
    );
    assert_eq!(
        body,
        r#"{"shop":"my shop","onlineOrderNumber":"N-1","paymentMethod":"PAY_ONLINE","currency":"USD","payTime":"2025-07-01 00:00:00+08:00","buyer":{"receiverName":"A","country":"UK","province":"P","city":"C","postCode":"1","address1":"S 1"},"skuList":[{"sku":"S1","payAmount":12345678901234.5678,"quantity":2}]}"#
    );

    let (_, service_type, body) = sent(&create_order(&[
        ("/audit", json!(true)),
        ("/warehouse", json!("W")),
        ("/paymentMethod", json!("COD")),
        ("/codAmount", json!("9.5")),
        ("/freight", json!("1")),
        ("/buyerNote", json!("b")),
        ("/sellerNote", json!("s")),
        (
            "/logistics",
            json!({"name": "AUTO", "trackingNumber": "T",
            "label": {"content": "AQI=", "type": "PNG"}}),
        ),
        ("/document", json!({"content": "AQI=", "type": "PDF", "name": "d.pdf"})),
        ("/recipient/houseNumber", json!("7")),
        ("/recipient/buyerId", json!("id")),
        ("/lines/0/shippingPrice", json!("1")),
        ("/lines/0/promotionDiscount", json!("0.5")),
        (
            "/lines/0/batch",
            json!({"number": "B", "manufacturedOn": "2025-01-02",
            "expiresOn": "2026-01-02", "originCountry": "CN"}),
        ),
        ("/lines/0/vendorFields", json!({"quantity": 7})),
        ("/vendorFields", json!({"customerType": "SHIPPER", "freight": 2.50})),
    ]));
    assert_eq!(service_type, "CREATE_AND_AUDIT_SALES_ORDER");
    let body: Value = serde_json::from_str(&body).unwrap();
    for (pointer, value) in [
        ("/warehouse", json!("W")),
        ("/logistics", json!("AUTO")),
        ("/trackingNumber", json!("T")),
        ("/paymentMethod", json!("COD")),
        ("/codPayAmount", json!(9.5)),
        ("/freight", json!(2.50)),
        ("/buyerMessage", json!("b")),
        ("/sellerRemarks", json!("s")),
        ("/shippingLabel", json!("AQI=")),
        ("/imgType", json!("PNG")),
        ("/documentFile", json!("AQI=")),
        ("/documentType", json!("PDF")),
        ("/documentName", json!("d.pdf")),
        ("/buyer/houseNumber", json!("7")),
        ("/buyer/buyerId", json!("id")),
        ("/customerType", json!("SHIPPER")),
        ("/skuList/0/quantity", json!(7)),
        ("/skuList/0/shippingPrice", json!(1)),
        ("/skuList/0/promotionDiscount", json!(0.5)),
        ("/skuList/0/batchNo", json!("B")),
        ("/skuList/0/mfgDate", json!("2025-01-02")),
        ("/skuList/0/expDate", json!("2026-01-02")),
        ("/skuList/0/originCountry", json!("CN")),
    ] {
        assert_eq!(body.pointer(pointer), Some(&value), "{pointer}");
    }
    assert_eq!(body.get("logisticsSelected"), None);
}

#[test]
fn an_asn_is_written_as_the_vendors_table_says() {
    let boxed = [
        ("/packing", json!("BOXES")),
        ("/trackingNumbers", json!(["T"])),
        ("/expectedAt", json!(1_751_299_200_000_i64)),
        ("/remark", json!("r")),
        ("/firstLegCurrency", json!("USD")),
        ("/transferCurrency", json!("EUR")),
        ("/sendToWarehouse", json!(false)),
        ("/transport", json!("OTHER")),
        ("/containerModel", json!("40HQ")),
        ("/lines/0/firstLegPrice", json!("1.25")),
        ("/lines/0/transferPrice", json!("1.2345")),
        ("/lines/0/condition", json!("DAMAGED")),
        ("/lines/0/perBox", json!(3)),
        ("/lines/0/notes", json!("n")),
        (
            "/boxes",
            json!([{"number": 1, "weightGrams": "1234.5", "lengthCm": "10", "widthCm": "20.5",
            "heightCm": "30", "lines": [{"sku": "S1", "quantity": 3}, {"sku": "S2", "quantity": 1}]}]),
        ),
    ];
    let (path, service_type, body) = sent(&create_asn(&boxed));
    assert_eq!((path.as_str(), service_type.as_str()), ("/api/v1/asn", "CREATE_ASN_ORDER"));
    assert_eq!(
        body,
        r#"{"warehouseName":"W（测试用）","customNumber":"IN-1","trackNumber":"T","remark":"r","purchasePriceCurrency":"CNY","firstLegPriceCurrency":"USD","transferPriceCurrency":"EUR","sendWarehouseFlag":"N","preArriveTime":"2025-07-01 00:00:00","shippingType":"08","containerModel":"40HQ","asnSkuVOList":[{"sku":"S1","purchasePrice":1.1,"firstLegPrice":1.25,"transferPrice":1.2345,"expectQuantity":3,"skuStatus":"DAMAGE","perBoxQuantity":3,"skuNotes":"n"},{"sku":"S2","purchasePrice":2,"expectQuantity":1,"skuStatus":"GOOD"}],"asnMarkVOList":[{"boxNumber":1,"asnMarkSkuVOList":[{"sku":"S1","quantity":3},{"sku":"S2","quantity":1}],"length":10,"width":20.5,"height":30,"weight":1.2345}]}"#
    );
}

/// The guide's long sample, but for its numbers, which it writes as texts.
#[test]
fn the_guides_own_asn_comes_out_of_a_command() {
    let mut sample: Value =
        serde_json::from_str(include_str!("samples/guide-create-asn.json")).unwrap();
    let line = &mut sample["asnSkuVOList"][0];
    for name in ["expectQuantity", "purchasePrice", "transferPrice", "firstLegPrice"] {
        line[name] = serde_json::from_str(line[name].as_str().unwrap()).unwrap();
    }
    // The model says it, the sample leaves the default to the vendor.
    line["skuStatus"] = json!("GOOD");
    let command = json!({
        "account": "qy", "asnNumber": "xx1224325212", "warehouse": "best warehouse（测试用）",
        "trackingNumbers": ["xx1223122"], "remark": "xx122312", "currency": "CNY",
        "firstLegCurrency": "CNY", "transferCurrency": "CNY",
        "lines": [{"sku": "SKU1230", "quantity": 100, "purchasePrice": "10",
            "transferPrice": "100", "firstLegPrice": "100"}],
    });
    let (_, _, body) = sent(&Command::CreateAsn(serde_json::from_value(command).unwrap()));
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), sample);
}

#[test]
fn the_other_operations_are_written_as_the_tables_say() {
    for (command, path, service_type, body) in [
        (
            cancel_order(),
            "/api/v1/salesOrder",
            "CLOSE_SALES_ORDER",
            r#"{"onlineOrderNumber":"N-1","shop":"my shop"}"#,
        ),
        (cancel_asn(Some("A1")), "/api/v1/asn", "CANCEL_ASN_ORDER", r#"{"asnNumber":"A1"}"#),
        // A caller's text is sent byte for byte, line ends included.
        (
            call("shop", Some("QUERY_SHOP_LIST"), "{\r\n \"page\":1}"),
            "/api/v1/shop",
            "QUERY_SHOP_LIST",
            "{\r\n \"page\":1}",
        ),
    ] {
        let expected = (path.to_owned(), service_type.to_owned(), body.to_owned());
        assert_eq!(sent(&command), expected);
        assert!(!qianyi().needs_reference(&command));
    }
    assert!(qianyi().needs_reference(&cancel_asn(None)));
    let found = Attempt { vendor_reference: Some("A9"), ..attempt() };
    let (_, _, body) = planned(&qianyi().call(&cancel_asn(None), &found));
    assert_eq!(body, r#"{"asnNumber":"A9"}"#);
}

#[test]
fn what_the_vendor_would_refuse_is_refused_by_its_path() {
    let long = |n: usize| json!("长".repeat(n));
    let orders: Vec<(&str, Vec<(&str, Value)>)> = vec![
        ("orderNumber", vec![("/orderNumber", json!(""))]),
        ("orderNumber", vec![("/orderNumber", long(51))]),
        ("orderNumber", vec![("/orderNumber", json!("a,b"))]),
        ("shop", vec![("/shop", Value::Null)]),
        ("currency", vec![("/currency", Value::Null)]),
        ("currency", vec![("/currency", json!("HKD"))]),
        ("paidAt", vec![("/paidAt", Value::Null)]),
        ("codAmount", vec![("/paymentMethod", json!("COD"))]),
        ("warehouse", vec![("/warehouse", json!("W"))]),
        ("warehouse", vec![("/audit", json!(true))]),
        ("logistics.name", vec![("/audit", json!(true)), ("/warehouse", json!("W"))]),
        ("logistics.id", vec![("/logistics", json!({"id": 1}))]),
        ("logistics.labelUrl", vec![("/logistics", json!({"labelUrl": "u"}))]),
        ("recipient.name", vec![("/recipient/name", Value::Null)]),
        ("recipient.name", vec![("/recipient/name", long(256))]),
        ("recipient.province", vec![("/recipient/province", Value::Null)]),
        ("recipient.city", vec![("/recipient/city", long(51))]),
        ("recipient.postCode", vec![("/recipient/postCode", Value::Null)]),
        ("recipient.address1", vec![("/recipient/address1", json!(" "))]),
        ("recipient.province", vec![("/recipient/province", long(101))]),
        ("recipient.city", vec![("/recipient/city", Value::Null)]),
        ("recipient.postCode", vec![("/recipient/postCode", long(51))]),
        ("recipient.address1", vec![("/recipient/address1", long(256))]),
        ("recipient.address2", vec![("/recipient/address2", long(256))]),
        ("recipient.district", vec![("/recipient/district", long(51))]),
        ("recipient.email", vec![("/recipient/email", long(256))]),
        ("recipient.buyerId", vec![("/recipient/buyerId", long(256))]),
        ("recipient.phone", vec![("/recipient/phone", long(51))]),
        ("recipient.country", vec![("/recipient/country", json!("UK"))]),
        ("recipient.country", vec![("/recipient/country", json!("gb"))]),
        ("recipient.taxId", vec![("/recipient/taxId", json!("t"))]),
        ("buyerNote", vec![("/buyerNote", long(1025))]),
        ("sellerNote", vec![("/sellerNote", long(1025))]),
        ("pickingNote", vec![("/pickingNote", json!("p"))]),
        ("lines", vec![("/lines", json!([]))]),
        ("lines[0].sku", vec![("/lines/0/sku", long(256))]),
        ("lines[0].quantity", vec![("/lines/0/quantity", json!(0))]),
        ("lines[0].paidAmount", vec![("/lines/0/paidAmount", Value::Null)]),
        (
            "lines[0].paidAmount",
            vec![
                ("/lines/0/paidAmount", Value::Null),
                ("/lines/0/unitPrice", json!("1")),
                ("/audit", json!(true)),
                ("/warehouse", json!("W")),
                ("/logistics", json!({"name": "AUTO"})),
            ],
        ),
        ("lines[0].batch.number", vec![("/lines/0/batch", json!({"number": "长".repeat(256)}))]),
    ];
    let a_box = |number: i64, quantity: i64| {
        json!({"number": number, "weightGrams": "1", "lengthCm": "1", "widthCm": "1", "heightCm": "1",
            "lines": [{"sku": "S1", "quantity": quantity}, {"sku": "S2", "quantity": 1}]})
    };
    let line =
        |batch: Value| json!({"sku": "S1", "quantity": 1, "purchasePrice": "1", "batch": batch});
    let asns: Vec<(&str, Vec<(&str, Value)>)> = vec![
        ("asnNumber", vec![("/asnNumber", json!(""))]),
        ("warehouse", vec![("/warehouse", json!(""))]),
        ("trackingNumbers", vec![("/trackingNumbers", json!(["a", "b"]))]),
        ("currency", vec![("/currency", Value::Null)]),
        ("firstLegCurrency", vec![("/firstLegCurrency", json!("KRW"))]),
        ("transferCurrency", vec![("/transferCurrency", json!("HKD"))]),
        ("containerModel", vec![("/containerModel", json!("41HQ"))]),
        ("lines[0].sku", vec![("/lines/0/sku", json!(" "))]),
        ("lines", vec![("/lines", json!([]))]),
        ("lines[1].quantity", vec![("/lines/1/quantity", json!(-1))]),
        ("lines[0].purchasePrice", vec![("/lines/0/purchasePrice", Value::Null)]),
        ("lines[0].firstLegPrice", vec![("/lines/0/firstLegPrice", json!("1.001"))]),
        ("lines[1].sku", vec![("/lines", json!([line(Value::Null), line(json!({}))]))]),
        (
            "lines[1].sku",
            vec![(
                "/lines",
                json!([
                    line(json!({"number": "B"})),
                    line(json!({"number": "B", "originCountry": "CN"}))
                ]),
            )],
        ),
        ("boxes", vec![("/packing", json!("BOXES"))]),
        ("boxes", vec![("/boxes", json!([a_box(1, 2)]))]),
        ("boxes[0].number", vec![("/boxes", json!([a_box(0, 3)]))]),
        ("boxes[1].number", vec![("/boxes", json!([a_box(1, 1), a_box(1, 2)]))]),
        (
            "boxes[0].heightCm",
            vec![("/boxes", json!([with(a_box(1, 3), &[("/heightCm", Value::Null)])]))],
        ),
        (
            "boxes[0].weightGrams",
            vec![("/boxes", json!([with(a_box(1, 3), &[("/weightGrams", Value::Null)])]))],
        ),
        (
            "boxes[0].lengthCm",
            vec![("/boxes", json!([with(a_box(1, 3), &[("/lengthCm", Value::Null)])]))],
        ),
        (
            "boxes[0].widthCm",
            vec![("/boxes", json!([with(a_box(1, 3), &[("/widthCm", Value::Null)])]))],
        ),
        ("boxes[0].lines", vec![("/boxes", json!([with(a_box(1, 3), &[("/lines", json!([]))])]))]),
        ("boxes", vec![("/boxes", json!([with(a_box(1, 3), &[("/lines/1/sku", json!("S9"))])]))]),
        ("boxes[0].lines[0].quantity", vec![("/boxes", json!([a_box(1, 0)]))]),
    ];
    let cancel_without_shop = Command::CancelOrder(
        serde_json::from_value(json!({"account": "qy", "orderNumber": "N"})).unwrap(),
    );
    let others = vec![
        ("shop", cancel_without_shop),
        ("path", call("a/b", Some("X"), "{}")),
        ("path", call("", Some("X"), "{}")),
        ("serviceType", call("shop", None, "{}")),
        ("serviceType", call("shop", Some("X Y"), "{}")),
        ("body", call("shop", Some("X"), "{")),
    ];
    let commands = orders
        .into_iter()
        .map(|(field, changes)| (field, create_order(&changes)))
        .chain(asns.into_iter().map(|(field, changes)| (field, create_asn(&changes))))
        .chain(others);
    for (field, command) in commands {
        let invalid = qianyi().check(&command).unwrap_err();
        assert_eq!(invalid.first.field.as_deref(), Some(field), "{invalid}");
    }
}

#[test]
fn vendor_fields_stand_in_for_what_is_required_and_what_only_informs_is_listed() {
    let given =
        create_order(&[("/shop", Value::Null), ("/vendorFields", json!({"shop": "other"}))]);
    assert_eq!(qianyi().check(&given), Ok(vec![]));
    let informs = create_order(&[
        ("/platform", json!("temu")),
        ("/platformOrderNumber", json!("P")),
        ("/amount", json!("1")),
        ("/logistics", json!({"kind": "OFFLINE"})),
        ("/lines/0/customs", json!({"hsCode": "1"})),
    ]);
    let listed =
        ["platformOrderNumber", "platform", "logistics.kind", "amount", "lines[0].customs"];
    assert_eq!(qianyi().check(&informs).unwrap(), listed);
}
