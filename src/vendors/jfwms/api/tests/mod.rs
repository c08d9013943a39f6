//! Commands against the guide: bodies, checks, verdicts.

mod answers;

use serde_json::{Value, json};

use super::super::{Jfwms, Settings};
use crate::{
    domain::{AccountName, Attempt, Body, Command, Method, Secret, Tokens},
    vendors::Vendor,
};

fn vendor() -> Jfwms {
    let settings: Settings = toml::from_str(
        "client_id = \"fe73489a9b5948dbafd07e7b28d6e268\"\n\
         client_secret = \"4a506ccaf37e400bac4a42d2dc5f600a\"",
    )
    .unwrap();
    Jfwms::new(AccountName::new("jf-main").unwrap(), settings).unwrap()
}

fn tokens() -> Tokens {
    Tokens {
        access_token: Secret::new("1b56814f081c432cb82751be145261d3"),
        user_id: "8".to_owned(),
        expires_at: None,
        refresh_token: None,
        refresh_expires_at: None,
    }
}

fn attempt<'a>(tokens: &'a Tokens, nonce: u64, nonce_digits: u32) -> Attempt<'a> {
    Attempt {
        now: jiff::Timestamp::from_millisecond(1_692_889_556_000).unwrap(),
        nonce,
        nonce_digits,
        tokens: Some(tokens),
        vendor_reference: None,
    }
}

/// A command out of its JSON, merged over a small valid one.
fn command(kind: &str, over: Value) -> Command {
    let mut base = match kind {
        "create-order" => json!({
            "account": "a", "orderNumber": "N1", "platform": "temu", "warehouse": "YK",
            "recipient": {"country": "US"}, "lines": [{"sku": "S1", "quantity": 2}],
        }),
        "cancel-order" => json!({"account": "a", "orderNumber": "N1"}),
        "create-asn" => json!({
            "account": "a", "asnNumber": "A1", "warehouse": "YK",
            "lines": [{"sku": "S1", "quantity": 2}],
        }),
        "cancel-asn" => json!({"account": "a", "asnNumber": "A1"}),
        _ => json!({"account": "a", "path": "/api/order/get", "body": "{}"}),
    };
    merge(&mut base, over);
    let read = "a command of this model";
    match kind {
        "create-order" => Command::CreateOrder(serde_json::from_value(base).expect(read)),
        "cancel-order" => Command::CancelOrder(serde_json::from_value(base).expect(read)),
        "create-asn" => Command::CreateAsn(serde_json::from_value(base).expect(read)),
        "cancel-asn" => Command::CancelAsn(serde_json::from_value(base).expect(read)),
        _ => Command::Call(serde_json::from_value(base).expect(read)),
    }
}

fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (name, value) in over {
                merge(base.entry(name).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}

fn body(command: &Command) -> String {
    let tokens = tokens();
    match vendor().call(command, &attempt(&tokens, 0, 9)).body {
        Body::Json(body) => body,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_guides_call_is_planned_as_the_guide_shows_it() {
    let call = command(
        "call",
        json!({"body": include_str!("../../samples/order-get.request.json").trim()}),
    );
    let tokens = tokens();
    // Two digits: 10 + 4.
    let planned = vendor().call(&call, &attempt(&tokens, 4, 2));
    assert_eq!(planned.method, Method::Post);
    assert_eq!(planned.path, "/api/order/get");
    assert!(planned.query.is_empty());
    assert_eq!(planned.body, Body::Json(r#"{"erpNo":"123"}"#.to_owned()));
    assert_eq!(
        planned.headers,
        [
            ("clientId", "fe73489a9b5948dbafd07e7b28d6e268"),
            ("accessToken", "1b56814f081c432cb82751be145261d3"),
            ("timestamp", "1692889556000"),
            ("nonce", "14"),
            ("userId", "8"),
            ("sign", "9bc08ba7552c5dfea4efab6bda78a4a9738010913f2403bd93f09c6bf974b939"),
            ("Content-Type", "application/json"),
            ("Accept-Language", "zh_CN"),
        ]
        .map(|(name, value)| (name, value.to_owned()))
    );
}

#[test]
fn a_nonce_has_exactly_its_digits() {
    for digits in 2..=18 {
        for random in [0, 9, u64::MAX / 3, u64::MAX] {
            assert_eq!(super::nonce(random, digits).to_string().len(), digits as usize);
        }
    }
}

#[test]
fn bodies_are_mapped_field_by_field() {
    for (kind, over, expected) in [
        (
            "create-order",
            json!({
                "platformOrderNumber": "P1", "shop": "Sh", "currency": "USD", "amount": "10.50",
                "sellerNote": "sn", "pickingNote": "pn",
                "recipient": {
                    "name": "Ann", "phone": "1", "email": "e@x", "province": "CA", "city": "LA",
                    "district": "D", "postCode": "9", "address1": "A1", "address2": "A2", "taxId": "T",
                },
                "logistics": {
                    "kind": "OFFLINE", "id": 7, "name": "L", "trackingNumber": "TN", "labelUrl": "http://l",
                },
                "lines": [{
                    "sku": "S1", "quantity": 2, "unitPrice": "12345678901234.5678",
                    "customs": {"hsCode": "h", "nameZh": "中", "nameEn": "en"},
                    "vendorFields": {"num": 3, "new": {"a": 1.10}},
                }],
                "vendorFields": {"platform": "other", "packageType": 3},
            }),
            r#"{"warehouse":"YK","erpNo":"N1","platform":"other","platformOrderNo":"P1","shopName":"Sh","buyerName":"Ann","buyerPhone":"1","recipientEmail":"e@x","recipientCountry":"US","recipientProvince":"CA","recipientCity":"LA","recipientArea":"D","zipCode":"9","recipientAddress":"A1","recipientAddress2":"A2","taxId":"T","type":2,"logisticsId":7,"logisticsName":"L","trackingNo":"TN","labelUrl":"http://l","currency":"USD","amount":10.5,"note":"sn","pickingNote":"pn","skuList":[{"sku":"S1","num":3,"unitPrice":12345678901234.5678,"hsCode":"h","itemNameCn":"中","itemNameEn":"en","new":{"a":1.1}}],"packageType":3}"#,
        ),
        (
            "create-order",
            json!({"logistics": {"kind": "PLATFORM"}}),
            r#"{"warehouse":"YK","erpNo":"N1","platform":"temu","recipientCountry":"US","type":1,"skuList":[{"sku":"S1","num":2}]}"#,
        ),
        (
            "cancel-order",
            json!({"vendorFields": {"deleteRecord": true}}),
            r#"{"erpNo":"N1","deleteRecord":true}"#,
        ),
        (
            "create-asn",
            json!({
                "trackingNumbers": ["t1", "t2"], "expectedAt": 1_704_360_206_729_i64, "remark": "r",
                "packing": "BOXES",
                "boxes": [
                    {"number": 2, "lines": [{"sku": "S1", "quantity": 1}]},
                    {"number": 1, "weightGrams": "1.5", "lengthCm": "2", "widthCm": "3", "heightCm": "4",
                     "lines": [{"sku": "S1", "quantity": 1}]},
                ],
            }),
            r#"{"erpNo":"A1","warehouse":"YK","trackingNo":"t1,t2","expectedTime":"2024-01-04 17:23:26","remark":"r","receiptType":2,"skuList":[{"sku":"S1","count":2}],"boxList":[{"weight":1.5,"length":2,"width":3,"height":4,"skuVos":[{"sku":"S1","count":1}]},{"skuVos":[{"sku":"S1","count":1}]}]}"#,
        ),
        (
            "create-asn",
            json!({}),
            r#"{"erpNo":"A1","warehouse":"YK","receiptType":1,"skuList":[{"sku":"S1","count":2}]}"#,
        ),
        ("cancel-asn", json!({"vendorReference": "IN5"}), r#"{"erpNo":"A1","inboundNo":"IN5"}"#),
        ("cancel-asn", json!({}), r#"{"erpNo":"A1"}"#),
        ("cancel-asn", json!({"vendorReference": ""}), r#"{"erpNo":"A1"}"#),
    ] {
        let command = command(kind, over);
        assert!(vendor().check(&command).is_ok(), "{kind}");
        assert_eq!(body(&command), expected, "{kind}");
    }
}

#[test]
fn fields_without_a_place_that_inform_are_listed() {
    for (kind, over, ignored) in [
        ("create-order", json!({}), vec![]),
        (
            "create-order",
            json!({
                "freight": "1", "paidAt": 1, "buyerNote": "b", "recipient": {"buyerId": "b"},
                "lines": [{"sku": "S1", "quantity": 2, "paidAmount": "1", "shippingPrice": "1", "promotionDiscount": "1"}],
            }),
            vec![
                "recipient.buyerId",
                "freight",
                "paidAt",
                "buyerNote",
                "lines[0].paidAmount",
                "lines[0].shippingPrice",
                "lines[0].promotionDiscount",
            ],
        ),
        ("cancel-order", json!({"shop": "s"}), vec!["shop"]),
        (
            "create-asn",
            json!({
                "currency": "USD", "firstLegCurrency": "USD", "transferCurrency": "USD",
                "sendToWarehouse": true, "transport": "SEA", "containerModel": "40",
                "lines": [{"sku": "S1", "quantity": 2, "purchasePrice": "1", "firstLegPrice": "1",
                           "transferPrice": "1", "perBox": 1, "notes": "n"}],
            }),
            vec![
                "sendToWarehouse",
                "currency",
                "firstLegCurrency",
                "transferCurrency",
                "transport",
                "containerModel",
                "lines[0].purchasePrice",
                "lines[0].firstLegPrice",
                "lines[0].transferPrice",
                "lines[0].perBox",
                "lines[0].notes",
            ],
        ),
    ] {
        assert_eq!(vendor().check(&command(kind, over)).unwrap(), ignored, "{kind}");
    }
}

#[test]
fn what_would_be_refused_or_lost_is_refused_here_naming_the_field() {
    let long = |n: usize| "中".repeat(n);
    let line = |more: Value| {
        let mut line = json!({"sku": "S1", "quantity": 2});
        merge(&mut line, more);
        line
    };
    let boxed = |boxes: Value| json!({"packing": "BOXES", "boxes": boxes});
    for (kind, over, field) in [
        ("create-order", json!({"orderNumber": ""}), "orderNumber"),
        ("create-order", json!({"orderNumber": long(101)}), "orderNumber"),
        ("create-order", json!({"platform": null}), "platform"),
        ("create-order", json!({"warehouse": " "}), "warehouse"),
        ("create-order", json!({"platformOrderNumber": long(101)}), "platformOrderNumber"),
        ("create-order", json!({"recipient": {"country": "USA"}}), "recipient.country"),
        ("create-order", json!({"recipient": {"country": "us"}}), "recipient.country"),
        ("create-order", json!({"recipient": {"country": "UK"}}), "recipient.country"),
        ("create-order", json!({"platform": " "}), "platform"),
        ("create-order", json!({"warehouse": null}), "warehouse"),
        ("create-order", json!({"recipient": {"name": long(101)}}), "recipient.name"),
        ("create-order", json!({"recipient": {"phone": long(101)}}), "recipient.phone"),
        ("create-order", json!({"recipient": {"province": long(101)}}), "recipient.province"),
        ("create-order", json!({"recipient": {"city": long(101)}}), "recipient.city"),
        ("create-order", json!({"recipient": {"postCode": long(101)}}), "recipient.postCode"),
        ("create-order", json!({"recipient": {"address1": long(301)}}), "recipient.address1"),
        ("create-order", json!({"recipient": {"houseNumber": "1"}}), "recipient.houseNumber"),
        ("create-order", json!({"logistics": {"kind": "OFFLINE"}}), "recipient.name"),
        ("create-order", json!({"logistics": {"name": long(101)}}), "logistics.name"),
        (
            "create-order",
            json!({"logistics": {"trackingNumber": long(101)}}),
            "logistics.trackingNumber",
        ),
        ("create-order", json!({"logistics": {"labelUrl": long(2049)}}), "logistics.labelUrl"),
        (
            "create-order",
            json!({"logistics": {"label": {"content": "", "type": "PDF"}}}),
            "logistics.label",
        ),
        (
            "create-order",
            json!({"document": {"content": "", "type": "PDF", "name": "n"}}),
            "document",
        ),
        ("create-order", json!({"audit": true}), "audit"),
        ("create-order", json!({"paymentMethod": "COD"}), "paymentMethod"),
        ("create-order", json!({"codAmount": "1"}), "codAmount"),
        ("create-order", json!({"lines": []}), "lines"),
        (
            "create-order",
            json!({"lines": [line(json!({})), line(json!({})), line(json!({"quantity": 0}))]}),
            "lines[2].quantity",
        ),
        ("create-order", json!({"lines": [line(json!({"sku": ""}))]}), "lines[0].sku"),
        ("create-order", json!({"lines": [line(json!({"batch": {}}))]}), "lines[0].batch"),
        ("create-order", json!({"vendorFields": {"erpNo": "N2"}}), "vendorFields.erpNo"),
        ("cancel-order", json!({"orderNumber": ""}), "orderNumber"),
        ("create-asn", json!({"asnNumber": ""}), "asnNumber"),
        ("create-asn", json!({"warehouse": ""}), "warehouse"),
        ("create-asn", json!({"sendToWarehouse": false}), "sendToWarehouse"),
        ("create-asn", json!({"trackingNumbers": ["a", "b,c"]}), "trackingNumbers[1]"),
        ("create-asn", json!({"lines": []}), "lines"),
        (
            "create-asn",
            json!({"lines": [line(json!({"condition": "DAMAGED"}))]}),
            "lines[0].condition",
        ),
        ("create-asn", json!({"lines": [line(json!({"batch": {}}))]}), "lines[0].batch"),
        ("create-asn", json!({"lines": [line(json!({"quantity": -1}))]}), "lines[0].quantity"),
        ("create-asn", json!({"lines": [line(json!({})), line(json!({}))]}), "lines[1].sku"),
        ("create-asn", json!({"packing": "BOXES"}), "boxes"),
        ("create-asn", boxed(json!([{"number": 1, "lines": []}])), "boxes[0].lines"),
        (
            "create-asn",
            boxed(json!([{"number": 1, "lines": [line(json!({})), line(json!({"sku": ""}))]}])),
            "boxes[0].lines[1].sku",
        ),
        (
            "create-asn",
            boxed(json!([{"number": 1, "lines": [line(json!({})), line(json!({"sku": "S2"}))]}])),
            "boxes[0].lines[1].sku",
        ),
        (
            "create-asn",
            boxed(json!([{"number": 1, "lines": [line(json!({"quantity": 3}))]}])),
            "lines[0].quantity",
        ),
        ("cancel-asn", json!({"asnNumber": " "}), "asnNumber"),
        ("call", json!({"path": "/api/oauth/refreshToken"}), "path"),
        ("call", json!({"path": "/api/OAuth/x"}), "path"),
        ("call", json!({"path": "/api"}), "path"),
        ("call", json!({"path": "/api/"}), "path"),
        ("call", json!({"path": "/api/a?b"}), "path"),
        ("call", json!({"path": "/api/../x"}), "path"),
        ("call", json!({"path": "api/order/get"}), "path"),
        ("call", json!({"body": "{"}), "body"),
        ("call", json!({"serviceType": "X"}), "serviceType"),
    ] {
        let shown = over.to_string();
        let invalid = vendor().check(&command(kind, over)).unwrap_err();
        assert_eq!(invalid.first.field.as_deref(), Some(field), "{kind} {shown}");
        assert!(invalid.first.message.contains(field), "{invalid}");
    }
}

#[test]
fn limits_are_in_characters_and_vendor_fields_win() {
    for over in [
        json!({"recipient": {"name": "中".repeat(100)}}),
        json!({"platform": null, "vendorFields": {"platform": "temu"}}),
        json!({"recipient": {"name": "x".repeat(101)}, "vendorFields": {"buyerName": "x"}}),
        json!({"vendorFields": {"erpNo": "N1"}}),
        json!({"lines": [{"sku": "S", "quantity": 1}, {"sku": "S", "quantity": 1}]}),
    ] {
        let shown = over.to_string();
        assert!(vendor().check(&command("create-order", over)).is_ok(), "{shown}");
    }
}

#[test]
fn look_ups_go_by_our_own_number() {
    let tokens = tokens();
    for (kind, expected) in [
        ("create-order", Some(("/api/order/get", r#"{"erpNo":"N1"}"#))),
        ("cancel-order", Some(("/api/order/get", r#"{"erpNo":"N1"}"#))),
        ("create-asn", Some(("/api/inbound/get", r#"{"erpNo":"A1"}"#))),
        ("cancel-asn", Some(("/api/inbound/get", r#"{"erpNo":"A1"}"#))),
        ("call", None),
    ] {
        let planned = vendor().look_up(&command(kind, json!({})), &attempt(&tokens, 0, 9));
        let planned = planned.map(|call| (call.path, call.body));
        let expected = expected.map(|(path, body)| (path.to_owned(), Body::Json(body.to_owned())));
        assert_eq!(planned, expected, "{kind}");
    }
}
