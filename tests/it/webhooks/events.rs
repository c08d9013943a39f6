//! Everything the vendors' documents show arrives on its topic, whole.

use serde_json::{Value, json};
use wms_connector::sandbox::{Delivery, Vendor, Webhook};

use super::{only_webhooks, published::decode};
use crate::support::{
    app::{JFWMS, Options, PATIENCE, QIANYI, TestApp},
    backend::{Record, TestEnv},
    suite::tests,
    vendor, wire,
};

tests! {
    both: every_sample_of_jfwms_arrives, every_push_of_qianyi_arrives,
        a_push_arrives_in_every_encoding, users_of_one_client_are_told_apart,
        a_trace_is_continued_only_where_it_is_trusted;
    kafka: with_a_registry_records_have_its_frame;
}

/// Type, topic, key, record and its content; what every record has is checked apart.
fn jfwms_events() -> Vec<(&'static str, &'static str, &'static str, &'static str, Value)> {
    let line = |sku: &str, total: i64, change: i64| {
        json!([{
            "sku": sku, "total": total, "available": total, "locked": 0, "nonGood": 0,
            "totalChange": change, "availableChange": null, "lockedChange": null,
            "nonGoodChange": null, "extra": {},
        }])
    };
    let document = |number: &str, warehouse: &str, user: &str, extra: Value| {
        json!({
            "userId": user, "documentNo": number, "warehouseCode": warehouse,
            "finishTime": 1_738_919_403_951_i64, "skuList": line("819-Dark GL", 1, 1),
            "extra": extra,
        })
    };
    // The guide repeats the key inside one object: the last one wins, the other is kept.
    let repeated = || json!({"finishTime": "\"2025-02-06T03:59:21.009\""});
    vec![
        (
            "order",
            "order",
            "123123",
            "Order",
            json!({
                "userId": "1", "erpNo": "123123", "warehouseCode": "xxx", "status": "Shipped",
                "skuList": line("2309-1Bei", 26, -1), "extra": {},
            }),
        ),
        (
            "storage",
            "storage",
            "Lucky1704360185",
            "Storage",
            json!({
                "userId": "24", "erpNo": "Lucky1704360185", "warehouseCode": "xxx",
                "putawayNo": "P11240104100153", "finishTime": 1_704_360_206_729_i64, "status": null,
                "skuList": [
                    {"sku": "BUG_more898", "skuCode": "BUG_more898", "num": 10, "badNum": 0,
                        "thisTimeNum": 10, "extra": {}},
                    {"sku": "BUG_more899", "skuCode": "BUG_more899", "num": 5, "badNum": 0,
                        "thisTimeNum": 5, "extra": {}},
                ],
                "extra": {},
            }),
        ),
        (
            "return",
            "return",
            "ERP单号",
            "Return",
            json!({
                "userId": "1", "erpNo": "ERP单号", "warehouseCode": "xxx", "status": "FINISH",
                "finishTime": null,
                "skuList": [{"sku": "sku", "num": 1, "badNum": 0, "extra": {}}],
                "extra": {"finishTime": "\"完成时间\""},
            }),
        ),
        (
            "orderIntercept",
            "order-intercept",
            "123123",
            "OrderIntercept",
            json!({
                "userId": "1", "erpNo": "123123", "status": "success", "extra": {},
            }),
        ),
        (
            "inventoryCount",
            "inventory-count",
            "xx",
            "InventoryCount",
            json!({
                "userId": "1", "documentNo": "xx", "warehouseCode": "xxx",
                "finishTime": 1_738_915_676_908_i64, "skuList": line("2309-1Bei", 26, -1), "extra": {},
            }),
        ),
        ("adjust", "adjust", "ADSE02620", "Adjust", document("ADSE02620", "01", "1", json!({}))),
        ("move", "move", "MOL703", "Move", document("MOL703", "A", "3256", repeated())),
        ("convert", "convert", "MOL704", "Convert", document("MOL704", "A", "3256", repeated())),
        (
            "orderCreate",
            "order-create",
            "BSZ1AF0608",
            "OrderCreate",
            document("BSZ1AF0608", "YK", "3256", repeated()),
        ),
        (
            "orderCancel",
            "order-cancel",
            "BSZ1AF0609",
            "OrderCancel",
            document("BSZ1AF0609", "YK", "3256", repeated()),
        ),
    ]
}

async fn every_sample_of_jfwms_arrives(env: &TestEnv) {
    samples_arrive(env, only_webhooks()).await;
}

async fn with_a_registry_records_have_its_frame(env: &TestEnv) {
    let registry = Some(env.registry().url().to_owned());
    samples_arrive(env, Options { registry, ..only_webhooks() }).await;
}

async fn samples_arrive(env: &TestEnv, options: Options) {
    let app = TestApp::start_with(env, options).await;
    let samples = vendor::jfwms_samples();
    let events = jfwms_events();
    assert_eq!(samples.len(), events.len());
    for sample in samples.values() {
        let webhook = Webhook::new(Vendor::Jfwms, &sample.kind, &sample.data).unwrap();
        let timestamp = Some(vendor::SENT_AT);
        let webhook = Webhook { timestamp, beside: sample.beside.clone(), ..webhook };
        app.sandbox.send_webhook(webhook).unwrap();
    }
    all_acknowledged(&app, samples.len()).await;
    for (kind, topic, key, record, content) in events {
        let name = format!("jfwms.{topic}");
        let records = env.read_all(&env.name(&name), 1, PATIENCE).await;
        assert_eq!(records.len(), 1, "{kind}");
        check(env, &records[0], key, "/jfwms/jf-main", &format!("com.jfwms.{kind}")).await;
        let mut decoded = decode(env, &records[0], &format!("wms.jfwms.{record}")).await;
        check_head(&records[0], JFWMS, &mut decoded);
        assert_eq!(decoded, content, "{kind}");
    }
    assert!(env.read_now(&env.name("jfwms.unrecognized")).await.is_empty());
    app.stop().await.unwrap();
}

/// Waits until the simulated vendors have been told so often that a webhook was taken.
async fn all_acknowledged(app: &TestApp, count: usize) {
    app.until("acknowledged", || app.sandbox.books().webhooks.len() >= count).await;
    for webhook in app.sandbox.books().webhooks {
        assert_eq!(
            (webhook.delivery, webhook.attempts),
            (Delivery::Acknowledged, 1),
            "{webhook:?}"
        );
    }
}

/// The key and the headers of CloudEvents' Kafka binding, all and in their order.
async fn check(env: &TestEnv, record: &Record, key: &str, source: &str, event_type: &str) {
    assert_eq!(record.key(), key, "{record:?}");
    let id = record.header("ce_id").unwrap_or_default().to_owned();
    assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{record:?}");
    let trace = record.header("traceparent").unwrap_or_default().to_owned();
    assert!(trace.len() == 55 && trace.starts_with("00-"), "{record:?}");
    let headers: Vec<_> = record.headers.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        ("ce_specversion", "1.0"),
        ("ce_id", &id),
        ("ce_source", source),
        ("ce_type", event_type),
        ("ce_time", "2024-01-04T09:23:26.729Z"),
        ("ce_subject", key),
        ("content-type", "application/avro"),
        ("traceparent", &trace),
    ];
    assert_eq!(headers, expected.map(|(name, _)| name), "{record:?}");
    for (name, value) in expected {
        assert_eq!(record.header(name), Some(value), "{record:?} on {}", env.prefix());
    }
}

/// What every event says beside the vendor's fields; taken out.
fn check_head(record: &Record, account: &str, decoded: &mut Value) {
    let fields = decoded.as_object_mut().unwrap();
    let mut take = |name: &str| fields.remove(name).unwrap_or_else(|| panic!("no {name}"));
    assert_eq!(take("eventId"), record.header("ce_id").unwrap());
    assert_eq!(take("account"), account);
    assert_eq!(take("sentAt"), vendor::SENT_AT);
    assert!(take("receivedAt").as_i64().is_some_and(|at| at > vendor::SENT_AT));
}

const PUSHES: [(&str, &str, &str, &str, &str, &str); 6] = [
    (
        "PUSH_ASN_ORDER",
        "push-asn-order.json",
        "asn",
        "Asn",
        "A250731147584",
        r#"{
        "asnNumber":"A250731147584","customNumber":"1000832922","trackNumber":"4700041511",
        "status":"FINISHED","finishedTime":1753942939000,"finishedTimeLocal":null,"snInfo":null,
        "skuList":[{"sku":"PPB24700027","quantity":9,"goodNum":9,"damageNum":0,"batchNo":null,
            "mfgDate":null,"expDate":null,"originCountry":null,"barcode":null,"apiCustom":null,
            "skuNotes":null,"extra":{}}],"extra":{}}"#,
    ),
    ("PUSH_ASN_ORDER", "push-asn-order-receiving.json", "asn", "Asn", "A250619145545", ""),
    (
        "PUSH_SALES_ORDER_SHIPPING_INFO",
        "push-sales-order-shipping-info.json",
        "sales-order-shipping",
        "SalesOrderShipping",
        "S250731147586",
        r#"{
        "orderNumber":"S250731147586","onlineOrderNumber":"2507311347270601016525823",
        "trackingNumber":"223243444","carrier":"SHIPDOC","shippingTime":1754014435000,
        "shippingTimeLocal":null,"status":"WAIT_SHIP","extra":{}}"#,
    ),
    (
        "PUSH_RETURN_ORDER_INFO",
        "push-return-order-info.json",
        "return-order",
        "ReturnOrder",
        "B250801537077",
        r#"{
        "returnNumber":"B250801537077","orderNumber":"THTZD000859",
        "onlineOrderNumber":"THTZD000859","status":"WAIT_STORAGE",
        "returnSkuList":[{"sku":"JCDF692024YH002","orderSkuId":"45","quantity":1,"extra":{}}],
        "extra":{}}"#,
    ),
    (
        "PUSH_TRACKING_PACKAGE",
        "push-tracking-package.json",
        "tracking-package",
        "TrackingPackage",
        "S2508053858595",
        r#"{
        "orderNumber":"S2508053858595","onlineOrderId":"579877366324626911",
        "trackingNumber":"762388742732","carrier":"J&T Express","status":"CREATED","extra":{}}"#,
    ),
    (
        "PUSH_ODO_ORDER",
        "push-odo-order.json",
        "odo",
        "Odo",
        "O250731000001",
        r#"{
        "number":"O250731000001","customNumber":"OUT-1","trackNumber":"T-1",
        "warehouseName":"best warehouse（测试用）","type":"MANUAL","status":"FINISHED",
        "shippingTime":null,"shippingTimeLocal":1753971739000,"carrier":"SF",
        "skuList":[{"sku":"LIP005","title":null,"quantity":2,"unavailableQuantity":null,
            "apiCustom":null,"extra":{}}],"extra":{}}"#,
    ),
];

async fn every_push_of_qianyi_arrives(env: &TestEnv) {
    let app = TestApp::start_with(env, only_webhooks()).await;
    for (kind, file, ..) in PUSHES {
        let push = Webhook::new(Vendor::Qianyi, kind, &vendor::qianyi_sample(file)).unwrap();
        app.sandbox.send_webhook(Webhook { timestamp: Some(vendor::SENT_AT), ..push }).unwrap();
    }
    all_acknowledged(&app, PUSHES.len()).await;
    for (kind, file, topic, record, key, content) in PUSHES {
        let topic = env.name(&format!("qianyi.{topic}"));
        let records = env.read_now(&topic).await;
        let Some(found) = records.iter().find(|record| record.key() == key) else {
            panic!("{file} is not in {records:?}");
        };
        check(env, found, key, "/qianyi/qy-cn", &format!("com.qianyi.{kind}")).await;
        let mut decoded = decode(env, found, &format!("wms.qianyi.{record}")).await;
        check_head(found, QIANYI, &mut decoded);
        if content.is_empty() {
            // The same SKU on two lines, and no figures but the quantity.
            assert_eq!(decoded["skuList"].as_array().map(Vec::len), Some(2), "{file}");
        } else {
            assert_eq!(decoded, serde_json::from_str::<Value>(content).unwrap(), "{file}");
        }
    }
    app.stop().await.unwrap();
}

async fn a_push_arrives_in_every_encoding(env: &TestEnv) {
    let app = TestApp::start_with(env, only_webhooks()).await;
    // Line ends and blanks inside bizParam are signed; nobody on the way may touch them.
    let push = |number: &str| {
        let text = format!(
            "{{\r\n    \"orderNumber\": \"{number}\",\r\n    \"carrier\": \"J&T 仓+\"\r\n}}"
        );
        vendor::push("PUSH_TRACKING_PACKAGE", &text)
    };
    let (content_type, body) = vendor::as_form_data(&push("form"));
    let encoded =
        form_urlencoded::Serializer::new(String::new()).extend_pairs(push("url")).finish();
    let numbers = vendor::as_json(&push("json"))
        .replace(&format!("\"{}\"", vendor::SENT_AT), &vendor::SENT_AT.to_string());
    for (content_type, body) in [
        (content_type.as_str(), body),
        ("application/x-www-form-urlencoded; charset=UTF-8", encoded),
        ("application/json", numbers),
        ("text/plain", vendor::as_json(&push("plain"))),
    ] {
        let headers = [("content-type", content_type)];
        let answer = wire::post(&app, QIANYI, &headers, body).await;
        assert_eq!(
            (answer.status, &answer.json()["errorCode"]),
            (200, &json!("0")),
            "{content_type}"
        );
    }
    let records = env.read_all(&env.name("qianyi.tracking-package"), 4, PATIENCE).await;
    for record in &records {
        let decoded = decode(env, record, "wms.qianyi.TrackingPackage").await;
        assert_eq!(decoded["carrier"], "J&T 仓+");
    }
    let mut keys: Vec<_> = records.iter().map(Record::key).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["form", "json", "plain", "url"]);
    app.stop().await.unwrap();
}

async fn users_of_one_client_are_told_apart(env: &TestEnv) {
    let secret = vendor::JFWMS_SECRET;
    let more = format!(
        r#"
[accounts.jf-second]
vendor = "jfwms"
base_url = "http://127.0.0.1:1"
client_id = "fe73489a9b5948dbafd07e7b28d6e268"
client_secret = "{secret}"
user_ids = ["9"]
"#
    );
    let jfwms = "user_ids = [8]".to_owned();
    let app = TestApp::start_with(env, Options { more, jfwms, ..only_webhooks() }).await;
    for user in ["8", "9", "10"] {
        let data = vendor::order(user).replace(r#""userId":"8""#, &format!(r#""userId":{user}"#));
        let answer = wire::post(&app, JFWMS, &[], vendor::jfwms("order", &data)).await;
        assert_eq!(answer.code(), (200, json!(0)));
    }
    for record in env.read_all(&env.name("jfwms.order"), 2, PATIENCE).await {
        let account = if record.key() == "8" { JFWMS } else { "jf-second" };
        let decoded = decode(env, &record, "wms.jfwms.Order").await;
        assert_eq!(decoded["account"], account);
        assert_eq!(record.header("ce_source"), Some(format!("/jfwms/{account}").as_str()));
    }
    let strangers = env.read_all(&env.name("jfwms.unrecognized"), 1, PATIENCE).await;
    assert_eq!(strangers[0].header("wms_reason"), Some("unknown-user"));
    app.stop().await.unwrap();
}

async fn a_trace_is_continued_only_where_it_is_trusted(env: &TestEnv) {
    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let ingress = "trust_traceparent = true".to_owned();
    let app = TestApp::start_with(env, Options { ingress, ..only_webhooks() }).await;
    for (number, trace) in [("A", TRACE), ("B", "00-no-trace-01")] {
        let body = vendor::jfwms("order", &vendor::order(number));
        assert_eq!(wire::post(&app, JFWMS, &[("traceparent", trace)], body).await.status, 200);
    }
    for record in env.read_all(&env.name("jfwms.order"), 2, PATIENCE).await {
        let continued = record.header("traceparent") == Some(TRACE);
        assert_eq!(continued, record.key() == "A", "{record:?}");
    }
    app.stop().await.unwrap();
}
