//! What a foreign reader sees: Confluent's Python client on every event topic, after the vendors
//! have really sent their webhooks, and on the command and reply topics.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value as Json, json, value::RawValue};
use wms_connector::sandbox::{Delivery, Vendor, Webhook};

use crate::support::{
    app::{JFWMS, Options, QIANYI, TestApp},
    backend::TestEnv,
    suite::tests,
};

tests! {
    kafka: python_reads_every_event_topic, python_sends_commands_and_reads_the_replies;
}

macro_rules! jfwms_sample {
    ($name:literal) => {
        include_str!(concat!("../../src/vendors/jfwms/samples/webhook/", $name, ".json"))
    };
}

macro_rules! qianyi_sample {
    ($name:literal) => {
        include_str!(concat!("../../src/vendors/qianyi/samples/", $name, ".json"))
    };
}

const SOON: Duration = Duration::from_secs(60);

/// A sample of JFWMS's guide, its topic and its key.
const JFWMS_EVENTS: [(&str, &str, &str); 10] = [
    (jfwms_sample!("order"), "order", "123123"),
    (jfwms_sample!("storage"), "storage", "Lucky1704360185"),
    (jfwms_sample!("return"), "return", "ERP单号"),
    (jfwms_sample!("orderIntercept"), "order-intercept", "123123"),
    (jfwms_sample!("inventoryCount"), "inventory-count", "xx"),
    (jfwms_sample!("adjust"), "adjust", "ADSE02620"),
    (jfwms_sample!("move"), "move", "MOL703"),
    (jfwms_sample!("orderCreate"), "order-create", "BSZ1AF0608"),
    (jfwms_sample!("orderCancel"), "order-cancel", "BSZ1AF0609"),
    (jfwms_sample!("convert"), "convert", "MOL704"),
];

/// What has no place in a record, as JSON text: what is no time, and a repeated member's first.
const EXTRA: [(&str, &str, &str); 2] = [
    (".return", "finishTime", r#""完成时间""#),
    (".orderCreate", "finishTime", r#""2025-02-06T03:59:21.009""#),
];

/// A sample of Qianyi's pushes: serviceType, `bizParam`, topic, key, some fields of the record.
fn qianyi_events() -> [(&'static str, &'static str, &'static str, &'static str, Json); 5] {
    [
        (
            "PUSH_ASN_ORDER",
            qianyi_sample!("push-asn-order"),
            "asn",
            "A250731147584",
            json!({
                "customNumber": "1000832922", "status": "FINISHED",
                "finishedTime": "2025-07-31T06:22:19.000Z", "trackNumber": "4700041511",
                "skuList": [{"sku": "PPB24700027", "quantity": 9, "goodNum": 9, "damageNum": 0}],
            }),
        ),
        (
            "PUSH_SALES_ORDER_SHIPPING_INFO",
            qianyi_sample!("push-sales-order-shipping-info"),
            "sales-order-shipping",
            "S250731147586",
            json!({
                "onlineOrderNumber": "2507311347270601016525823", "status": "WAIT_SHIP", "carrier": "SHIPDOC",
                "trackingNumber": "223243444", "shippingTime": "2025-08-01T02:13:55.000Z",
            }),
        ),
        (
            "PUSH_RETURN_ORDER_INFO",
            qianyi_sample!("push-return-order-info"),
            "return-order",
            "B250801537077",
            json!({
                "onlineOrderNumber": "THTZD000859", "status": "WAIT_STORAGE",
                "returnSkuList": [
                    {"sku": "JCDF692024YH002", "quantity": 1, "orderSkuId": "45"},
                ],
            }),
        ),
        (
            "PUSH_TRACKING_PACKAGE",
            qianyi_sample!("push-tracking-package"),
            "tracking-package",
            "S2508053858595",
            json!({
                "onlineOrderId": "579877366324626911", "carrier": "J&T Express", "status": "CREATED",
                "trackingNumber": "762388742732",
            }),
        ),
        (
            "PUSH_ODO_ORDER",
            qianyi_sample!("push-odo-order"),
            "odo",
            "O250731000001",
            json!({
                "customNumber": "OUT-1", "warehouseName": "best warehouse（测试用）",
                "carrier": "SF", "skuList": [{"sku": "LIP005", "quantity": 2}],
            }),
        ),
    ]
}

async fn started(env: &TestEnv) -> TestApp {
    let registry = Some(env.registry().url().to_owned());
    TestApp::start_with(env, Options { registry, ..Options::default() }).await
}

/// The frame of a sample; `data` byte for byte.
#[derive(Deserialize)]
struct Sample<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(borrow)]
    data: &'a RawValue,
    /// Of a `return` it stands beside `data`.
    #[serde(rename = "finishTime")]
    finish_time: Option<Json>,
}

async fn python_reads_every_event_topic(env: &TestEnv) {
    let app = started(env).await;
    let mut expected = Vec::new();
    for (sample, topic, key) in JFWMS_EVENTS {
        let Sample { kind, data, finish_time } = serde_json::from_str(sample).unwrap();
        let mut webhook = Webhook::new(Vendor::Jfwms, &kind, data.get()).unwrap();
        webhook.beside.extend(finish_time.map(|time| ("finishTime".to_owned(), time)));
        let sent = app.delivered(webhook).await;
        assert_eq!((sent.delivery, sent.attempts), (Delivery::Acknowledged, 1), "{sent:?}");
        let fields = serde_json::from_str(data.get()).unwrap();
        let topic = env.name(&format!("jfwms.{topic}"));
        expected.push((topic, key, JFWMS, format!("com.jfwms.{kind}"), fields));
    }
    for (kind, data, topic, key, fields) in qianyi_events() {
        let sent = app.webhook(QIANYI, kind, data).await;
        assert_eq!((sent.delivery, sent.attempts), (Delivery::Acknowledged, 1), "{sent:?}");
        let topic = env.name(&format!("qianyi.{topic}"));
        expected.push((topic, key, QIANYI, format!("com.qianyi.{kind}"), fields));
    }
    let metrics = app.metrics().await;
    assert!(metrics.contains("wms_in_flight{pipeline=\"webhooks\"} 0"), "{metrics}");

    let registry = env.registry();
    let mut arguments = vec![env.bootstrap_servers(), registry.url(), "--timeout", "45"];
    arguments.extend(expected.iter().map(|(topic, ..)| topic.as_str()));
    // Without a count: to the ends of all topics, so that one record too many is seen, too.
    let read = env.python().run("read_events.py", &arguments, SOON).await;
    let read = read.unwrap_or_else(|reason| panic!("{reason}"));
    assert_eq!(read.len(), expected.len(), "{read:#?}");
    for (topic, key, account, ce_type, fields) in expected {
        let line = read.iter().find(|line| line["topic"] == topic.as_str());
        let line = line.unwrap_or_else(|| panic!("nothing on {topic}: {read:#?}"));
        let value = &line["value"];
        assert_eq!(line["key"], hex::encode(key), "{topic}");
        assert_eq!(value["account"], account, "{topic}");
        assert!(value["sentAt"].is_string() && value["receivedAt"].is_string(), "{line:#?}");
        let header = |name: &str| {
            let headers = line["headers"].as_array().unwrap();
            let found = headers.iter().find(|header| header[0] == name);
            let hex = found.and_then(|header| header[1].as_str());
            let hex = hex.unwrap_or_else(|| panic!("{topic}: no header {name} in {headers:?}"));
            String::from_utf8(hex::decode(hex).unwrap()).unwrap()
        };
        assert_eq!(header("ce_type"), ce_type);
        assert_eq!(header("ce_id"), value["eventId"].as_str().unwrap());
        assert_eq!(header("ce_subject"), key, "{topic}");
        assert_eq!(header("content-type"), "application/avro");
        is_within(&topic, &fields, value);
        if let Some((_, name, text)) = EXTRA.iter().find(|(kind, ..)| ce_type.ends_with(kind)) {
            assert_eq!(value["extra"][name], *text, "{topic}");
        }
    }
    app.stop().await.unwrap();
}

/// Everything of `fields` is in `value`. The samples are loosely typed: a number may be a text,
/// and the text `null` is null.
fn is_within(at: &str, fields: &Json, value: &Json) {
    match (fields, value) {
        (Json::Object(fields), Json::Object(record)) => {
            for (name, field) in fields {
                let inner = record.get(name).unwrap_or_else(|| panic!("{at} has no {name}"));
                is_within(&format!("{at}.{name}"), field, inner);
            }
        }
        (Json::Array(fields), Json::Array(lines)) => {
            assert_eq!(fields.len(), lines.len(), "{at}");
            for (n, (field, line)) in fields.iter().zip(lines).enumerate() {
                is_within(&format!("{at}[{n}]"), field, line);
            }
        }
        (Json::String(text), Json::Null) => assert_eq!(text, "null", "{at}"),
        _ => assert_eq!(text_of(fields), text_of(value), "{at}"),
    }
}

fn text_of(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

async fn python_sends_commands_and_reads_the_replies(env: &TestEnv) {
    let app = started(env).await;
    let topic = env.name("commands.create-order");
    for (number, command) in [("JF-1", jfwms_order("JF-1")), ("QY-1", qianyi_order("QY-1"))] {
        let reply = ask(env, &topic, number, &command).await;
        let reply = &reply["value"];
        assert_eq!(reply["status"], "SUCCEEDED", "{reply:#?}");
        assert_eq!(reply["documentNumber"], number);
        assert_eq!(reply["account"], command["account"]);
        assert_eq!(reply["operation"], "create-order");
        assert_eq!(reply["commandTopic"], topic.as_str());
        assert_eq!((&reply["attempts"], &reply["deduplicated"]), (&json!(1), &json!(false)));
    }
    assert_eq!(app.sandbox.books().orders.len(), 2);

    let mut impossible = jfwms_order("JF-2");
    impossible["lines"][0]["sku"] = json!("OUT-OF-STOCK");
    let refused = ask(env, &topic, "JF-2", &impossible).await;
    assert_eq!(refused["value"]["status"], "REJECTED", "{refused:#?}");
    assert_eq!(refused["value"]["category"], "OUT_OF_STOCK");
    assert_eq!(refused["value"]["vendorCode"], "50026");
    app.stop().await.unwrap();
}

/// Sends a command with Confluent's AvroSerializer and returns its reply.
async fn ask(env: &TestEnv, topic: &str, key: &str, command: &Json) -> Json {
    let (registry, replies) = (env.registry(), env.name("replies"));
    let command = command.to_string();
    let arguments = [
        env.bootstrap_servers(),
        registry.url(),
        topic,
        &command,
        "--key",
        key,
        "--reply-topic",
        &replies,
        "--timeout",
        "30",
    ];
    let lines = env.python().run("send_command.py", &arguments, SOON).await;
    let mut lines = lines.unwrap_or_else(|reason| panic!("{reason}"));
    assert_eq!(lines.len(), 2, "{lines:#?}");
    lines.swap_remove(1)
}

fn jfwms_order(number: &str) -> Json {
    json!({
        "account": JFWMS, "orderNumber": number, "platform": "other", "warehouse": "YK",
        "recipient": {"name": "Erika Muster", "country": "DE", "address1": "Heidestr. 17"},
        "logistics": {"kind": "OFFLINE", "name": "DHL", "trackingNumber": "JJD0001"},
        "currency": "EUR", "amount": "19.90",
        "lines": [{"sku": "819-Dark GL", "quantity": 1, "unitPrice": "19.90"}],
    })
}

fn qianyi_order(number: &str) -> Json {
    json!({
        "account": QIANYI, "orderNumber": number, "shop": "demo-shop",
        "recipient": {
            "name": "Erika Muster", "country": "DE", "province": "Berlin", "city": "Berlin",
            "postCode": "10115", "address1": "Invalidenstr. 1",
        },
        "currency": "EUR", "paidAt": "2026-11-20T09:30:00Z",
        "lines": [{"sku": "SKU1230", "quantity": 2, "paidAmount": "39.80"}],
    })
}
