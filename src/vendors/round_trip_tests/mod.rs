//! Everything that a webhook says can be found again in the bytes of its record: over generated
//! webhooks of every type, with unknown and repeated members, odd numbers, half surrogate pairs
//! and signatures in every place.

mod make;
mod oracle;

use apache_avro::Schema;
use bytes::Bytes;
use proptest::prelude::*;

use self::make::{Form, Maker};
use super::{
    Vendor,
    jfwms::{self, Jfwms, sign::WebhookForm},
    qianyi::{self, Qianyi, SignedRequest},
};
use crate::{
    avro::{Encoders, schemas},
    domain::{
        AccountName, Event, Received, Secret, SignatureHint, Unrecognized, Verified, Webhook,
    },
};

const SECRET: &str = "4a506ccaf37e400bac4a42d2dc5f600a";

fn account() -> AccountName {
    AccountName::new("a").unwrap()
}

fn jfwms() -> Jfwms {
    let settings = format!("client_id = \"c\"\nclient_secret = \"{SECRET}\"");
    let settings: jfwms::Settings = toml::from_str(&settings).unwrap();
    Jfwms::new(account(), settings).unwrap()
}

fn qianyi() -> Qianyi {
    let settings = qianyi::Settings {
        app_id: "TEST".to_owned(),
        app_secret: Secret::new(SECRET),
        app_secret_previous: None,
    };
    Qianyi::new(account(), settings).unwrap()
}

/// Encodes an event as the connector does and reads its fields back.
fn written(event: &Event) -> (usize, oracle::Fields) {
    let encoders = Encoders::single_object().unwrap();
    let bytes = encoders.encode(event.event_type.record, &*event.record).unwrap();
    let schema = &schemas::of_record(event.event_type.record).unwrap().text;
    let schema = Schema::parse_str(schema).unwrap();
    (bytes.len(), oracle::decode(&schema, bytes.get(10..).unwrap()).unwrap())
}

/// A record has never more bytes than its webhook, but for what we add: the head, and the flags of
/// fields that were left out.
fn bound(body: usize, lines: usize) -> usize {
    body + 150 + 40 + lines * 12
}

struct Signed {
    body: String,
    webhook: Webhook<Verified>,
}

/// A JFWMS webhook, its signature in any of its forms and places.
fn jfwms_webhook(form: &Form, make: &mut Maker, spoilt: bool) -> Signed {
    let data = make.content(form, spoilt);
    let sign_form = WebhookForm::ALL[make.choose(6)];
    let mut sign = sign_form.sign(&data, &Secret::new(SECRET)).sign;
    if make.choose(2) == 1 {
        sign = sign.to_uppercase();
    }
    let mut members = Vec::new();
    if make.choose(4) == 1 {
        members.push(("type", make.any(1)));
    }
    members.push(("type", format!("\"{}\"", form.name)));
    members.push(("data", data.clone()));
    match make.choose(6) {
        0 => {}
        1 => members.push(("timestamp", "1704360206".to_owned())),
        2 => members.push(("timestamp", make.any(1))),
        3 => members.extend([("timestamp", make.any(1)), ("timestamp", "null".to_owned())]),
        _ => members.push(("timestamp", "\"1704360206729\"".to_owned())),
    }
    if form.name == "return" {
        members.push(("finishTime", make.any(1)));
    }
    let (mut headers, mut query) = (Vec::new(), Vec::new());
    match make.choose(4) {
        0 => headers.push(("sign".to_owned(), sign)),
        1 => query.push(("sign".to_owned(), sign)),
        2 => members.push(("sign", format!("\"{sign}\""))),
        _ => members.extend([("sign", make.any(1)), ("sign", format!("\"{sign}\""))]),
    }
    members.extend(make.beside(&["type", "data", "timestamp", "finishTime"]));
    let body = make.frame(members);
    let received = Received {
        account: account(),
        body: Bytes::from(body.clone()),
        headers,
        query,
        form: None,
        received_at: jiff::Timestamp::UNIX_EPOCH,
    };
    let webhook = jfwms().verify(Webhook::new(received), SignatureHint::ANY);
    let webhook = webhook.unwrap_or_else(|refusal| panic!("{refusal}: {body}"));
    // Where nothing is to be made compact, two forms are one.
    let matched = WebhookForm::of_name(webhook.state().form).unwrap();
    let sign = |form: WebhookForm| form.sign(&data, &Secret::new(SECRET)).sign;
    assert_eq!(sign(matched), sign(sign_form), "{body}");
    Signed { body, webhook }
}

/// A push of Qianyi, as a form or as JSON.
fn qianyi_push(
    form: &Form,
    make: &mut Maker,
    spoilt: bool,
) -> (String, &'static str, Vec<(String, String)>, Signed) {
    let biz_param = make.content(form, spoilt);
    let timestamp = make.pick(&["1754272685482", "1754272685", "0", "99999999999999999999"]);
    let sign =
        SignedRequest { app_id: "TEST", biz_param: &biz_param, service_type: form.name, timestamp }
            .sign(&Secret::new(SECRET));
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let (mut body, mut fields, mut others) = (String::new(), None, Vec::new());
    if make.choose(2) == 0 {
        let mut all = vec![
            ("sign".to_owned(), sign),
            ("appId".to_owned(), "TEST".to_owned()),
            ("bizParam".to_owned(), biz_param.clone()),
            ("serviceType".to_owned(), form.name.to_owned()),
            ("timestamp".to_owned(), timestamp.to_owned()),
        ];
        for _ in 0..make.choose(3) {
            let (name, value) = (make.pick(&["x", "sku", "中", ""]), make.any(1));
            others.push((name.to_owned(), quoted(&value)));
            all.push((name.to_owned(), value));
        }
        fields = Some(all);
    } else {
        let mut members = vec![
            ("sign", quoted(&sign)),
            ("appId", quoted("TEST")),
            ("bizParam", quoted(&biz_param)),
            ("serviceType", quoted(form.name)),
            ("timestamp", timestamp.to_owned()),
        ];
        if timestamp.len() == 13 && make.choose(2) == 1 {
            members[4].1 = quoted(timestamp);
        }
        members.extend(make.beside(&["bizParam", "timestamp"]));
        body = make.frame(members);
        let frame = oracle::read(&body).unwrap();
        let oracle::Node::Object(members) = frame.node else { panic!("no frame") };
        let own = ["sign", "appId", "bizParam", "serviceType", "timestamp"];
        others = members
            .into_iter()
            .filter(|(name, _)| !own.contains(&name.as_str()))
            .map(|(name, raw)| (name, raw.text.to_owned()))
            .collect();
    }
    let received = Received {
        account: account(),
        body: Bytes::from(body.clone()),
        headers: Vec::new(),
        query: Vec::new(),
        form: fields,
        received_at: jiff::Timestamp::UNIX_EPOCH,
    };
    let webhook = qianyi().verify(Webhook::new(received), SignatureHint::ANY);
    let webhook = webhook.unwrap_or_else(|refusal| panic!("{refusal}: {biz_param} {body}"));
    (biz_param, timestamp, others, Signed { body, webhook })
}

fn choices() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..400)
}

proptest! {
    #[test]
    fn nothing_of_a_jfwms_webhook_is_lost(choices in choices(), spoilt in any::<bool>()) {
        let vendor = jfwms();
        for form in make::JFWMS {
            let mut make = Maker::new(choices.clone());
            let signed = jfwms_webhook(form, &mut make, spoilt);
            let event = match vendor.decode(&signed.webhook, &|_| Some(account())) {
                Ok(event) => event,
                Err(reason) => {
                    prop_assert!(spoilt, "{}: {}", reason, signed.body);
                    prop_assert!(matches!(reason, Unrecognized::Undecodable(_)));
                    continue;
                }
            };
            prop_assert_eq!(event.event_type.name, form.name);
            let (bytes, fields) = written(&event);
            let lost = oracle::jfwms(&signed.body, form.name, &["sign"], &fields);
            prop_assert_eq!(lost, Ok(()), "{} {:?}", signed.body, fields);
            prop_assert!(bytes <= bound(signed.body.len(), 3), "{} {}", bytes, signed.body);
        }
    }

    #[test]
    fn nothing_of_a_qianyi_push_is_lost(choices in choices(), spoilt in any::<bool>()) {
        let vendor = qianyi();
        for form in make::QIANYI {
            let mut make = Maker::new(choices.clone());
            let (biz_param, timestamp, others, signed) = qianyi_push(form, &mut make, spoilt);
            let event = match vendor.decode(&signed.webhook, &|_| Some(account())) {
                Ok(event) => event,
                Err(reason) => {
                    prop_assert!(spoilt, "{}: {}", reason, biz_param);
                    prop_assert!(matches!(reason, Unrecognized::Undecodable(_)));
                    continue;
                }
            };
            let (bytes, fields) = written(&event);
            let others: Vec<_> = others.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            let lost = oracle::qianyi(&biz_param, timestamp, &others, &fields);
            prop_assert_eq!(lost, Ok(()), "{} {:?} {:?}", biz_param, others, fields);
            let sent = biz_param.len() + others.iter().map(|o| o.0.len() + o.1.len() + 4).sum::<usize>();
            prop_assert!(bytes <= bound(sent, 3), "{} {}", bytes, biz_param);
        }
    }
}

/// The judge itself: it must not pass what it should not.
#[test]
fn the_judge_notices_what_is_lost_changed_or_invented() {
    let said = r#"{"type":"order","data":{"erpNo":"1","x":1.10,"x":[2]},"y":-0}"#;
    let vendor = jfwms();
    let sign =
        WebhookForm::RawDataFirst.sign(r#"{"erpNo":"1","x":1.10,"x":[2]}"#, &Secret::new(SECRET));
    let received = Received {
        account: account(),
        body: Bytes::from(said),
        headers: vec![("sign".to_owned(), sign.sign)],
        query: Vec::new(),
        form: None,
        received_at: jiff::Timestamp::UNIX_EPOCH,
    };
    let webhook = vendor.verify(Webhook::new(received), SignatureHint::ANY).unwrap();
    let event = vendor.decode(&webhook, &|_| Some(account())).unwrap();
    let (_, fields) = written(&event);
    assert_eq!(oracle::jfwms(said, "order", &["sign"], &fields), Ok(()));
    for other in [
        r#"{"type":"order","data":{"erpNo":"2","x":1.10,"x":[2]},"y":-0}"#,
        r#"{"type":"order","data":{"erpNo":"1","x":1.1,"x":[2]},"y":-0}"#,
        r#"{"type":"order","data":{"erpNo":"1","x":[2],"x":1.10},"y":-0}"#,
        r#"{"type":"order","data":{"erpNo":"1","x":1.10},"y":-0}"#,
        r#"{"type":"order","data":{"erpNo":"1","x":1.10,"x":[2]},"y":0}"#,
        r#"{"type":"order","data":{"erpNo":"1","x":1.10,"x":[2]}}"#,
        r#"{"type":"order","data":{"erpNo":"1","x":1.10,"x":[2],"z":null},"y":-0}"#,
        r#"{"type":"order","data":{"erpNo":"1","x":1.10,"x":[2],"status":"s"},"y":-0}"#,
        r#"{"type":"order","data":{"erpNo":"1","x":1.10,"x":[2],"skuList":[{}]},"y":-0}"#,
        r#"{"type":"move","data":{"erpNo":"1","x":1.10,"x":[2]},"y":-0}"#,
        r#"{"type":"order","timestamp":5,"data":{"erpNo":"1","x":1.10,"x":[2]},"y":-0}"#,
    ] {
        assert!(oracle::jfwms(other, "order", &["sign"], &fields).is_err(), "{other}");
    }
}

/// The largest body that the listener takes by default.
const MAX_BODY: usize = 4 << 20;
/// What the event topics take (`max.message.bytes`) for it.
const MAX_RECORD: usize = MAX_BODY + (1 << 20);

/// No webhook becomes a record that the broker would refuse, however it is made.
#[test]
fn the_largest_webhooks_become_records_that_fit_or_are_unrecognized() {
    let full = |head: &str, part: &str, tail: &str, count: usize| {
        let room = MAX_BODY - 1_000 - head.len() - tail.len();
        let parts = part.repeat(count.min(room / part.len()));
        format!("{head}{}{tail}", parts.strip_suffix(',').unwrap())
    };
    let lines = |part: &str, count| full(r#"{"asnNumber":"1","skuList":["#, part, "]}", count);
    // As many empty lines as are allowed, and the rest of the room for one text.
    let most = lines("{},", 99_999);
    let note = "n".repeat(MAX_BODY - 1_000 - most.len());
    let most = most.replacen('{', &format!("{{\"note\":\"{note}\","), 1);
    for (service_type, biz_param, refused) in [
        ("PUSH_ASN_ORDER", most, None),
        ("PUSH_ASN_ORDER", lines("{},", usize::MAX), Some("objects, more than 100000")),
        (
            "PUSH_ASN_ORDER",
            lines(r#"{"sku":"A-1","quantity":1,"goodNum":1,"damageNum":0},"#, usize::MAX),
            None,
        ),
        (
            "PUSH_TRACKING_PACKAGE",
            full("{", r#""":1,"#, r#","orderNumber":1}"#, usize::MAX),
            Some("members and elements, more than 500000"),
        ),
        ("PUSH_ODO_ORDER", full(r#"{"number":1,"x":""#, "仓,", "\"}", usize::MAX), None),
    ] {
        let sign = SignedRequest {
            app_id: "TEST",
            biz_param: &biz_param,
            service_type,
            timestamp: "1754272685482",
        }
        .sign(&Secret::new(SECRET));
        let fields = [
            ("sign", sign.as_str()),
            ("appId", "TEST"),
            ("bizParam", &biz_param),
            ("serviceType", service_type),
            ("timestamp", "1754272685482"),
        ];
        let received = Received {
            account: account(),
            body: Bytes::new(),
            headers: Vec::new(),
            query: Vec::new(),
            form: Some(fields.map(|(n, v)| (n.to_owned(), v.to_owned())).into()),
            received_at: jiff::Timestamp::UNIX_EPOCH,
        };
        let webhook = qianyi().verify(Webhook::new(received), SignatureHint::ANY).unwrap();
        match (qianyi().decode(&webhook, &|_| Some(account())), refused) {
            (Ok(event), None) => {
                let (bytes, fields) = written(&event);
                assert!(bytes + 2_000 < MAX_RECORD, "{bytes}");
                assert_eq!(oracle::qianyi(&biz_param, "1754272685482", &[], &fields), Ok(()));
            }
            (Err(Unrecognized::Undecodable(reason)), Some(refused)) => {
                assert!(reason.ends_with(refused), "{reason}");
            }
            (other, refused) => panic!("{other:?} {refused:?}"),
        }
    }
    // JFWMS, whose lines have required members.
    for (data, refused) in [
        (full(r#"{"skuList":["#, r#"{"sku":"","num":1},"#, "]}", usize::MAX), "objects"),
        (full(r#"{"skuList":["#, r#"{"sku":"","num":1},"#, "]}", 99_000), ""),
        (full("{", r#""":1,"#, "}", usize::MAX), "members and elements"),
    ] {
        let sign = WebhookForm::RawDataFirst.sign(&data, &Secret::new(SECRET)).sign;
        let received = Received {
            account: account(),
            body: Bytes::from(format!(r#"{{"type":"return","data":{data}}}"#)),
            headers: vec![("sign".to_owned(), sign)],
            query: Vec::new(),
            form: None,
            received_at: jiff::Timestamp::UNIX_EPOCH,
        };
        let webhook = jfwms().verify(Webhook::new(received), SignatureHint::ANY).unwrap();
        match jfwms().decode(&webhook, &|_| Some(account())) {
            Ok(event) => assert!(refused.is_empty() && written(&event).0 + 2_000 < MAX_RECORD),
            Err(reason) => {
                assert!(!refused.is_empty() && reason.to_string().contains(refused), "{reason}");
            }
        }
    }
}
