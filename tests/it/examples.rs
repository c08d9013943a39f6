//! The programs of `examples/`, which the README shows, run as they are.

use wms_connector::sandbox::{Delivery, EffectKind, Vendor};

use crate::support::{
    app::{JFWMS, TestApp},
    backend::TestEnv,
    examples::Example,
    suite::tests,
};

tests! {
    kafka: python_services, java_services;
}

async fn python_services(env: &TestEnv) {
    let replies = env.name("replies.python-shop");
    env.create_topic(&replies, 2).await;
    let app = TestApp::start(env).await;
    reads_stock(env, &app, Example::Python("read_stock.py")).await;
    creates_an_order(env, &app, Example::Python("create_order.py"), "PY-1").await;
    creates_an_order(env, &app, Example::Python("create_order_json.py"), "PY-2").await;
    app.stop().await;
}

async fn java_services(env: &TestEnv) {
    let replies = env.name("replies.java-shop");
    env.create_topic(&replies, 2).await;
    let app = TestApp::start(env).await;
    reads_stock(env, &app, Example::Java("ReadStock")).await;
    creates_an_order(env, &app, Example::Java("CreateOrder"), "JAVA-1").await;
    creates_an_order(env, &app, Example::Java("CreateOrderAvro"), "JAVA-2").await;
    app.stop().await;
}

async fn reads_stock(env: &TestEnv, app: &TestApp<'_>, example: Example) {
    let data = r#"{"warehouseCode": "YK", "documentNo": "BSZ1AF0608", "userId": 8, "skuList": [
        {"sku": "2309-1Bei", "total": 26, "locked": 3, "available": 23, "nonGood": 0}]}"#;
    let sent = app.webhook(JFWMS, "orderCreate", data).await;
    assert_eq!(sent.delivery, Delivery::Acknowledged, "{sent:?}");
    example.run_until(env, "2309-1Bei 23").await;
}

/// Also a second time, as after a crash of the service: one order, and an answer that says so.
async fn creates_an_order(env: &TestEnv, app: &TestApp<'_>, example: Example, number: &str) {
    for again in [false, true] {
        let said = example.run(env, &[number]).await;
        assert!(said.starts_with("SUCCEEDED NONE"), "{example:?}, again: {again}: {said}");
    }
    let books = app.sandbox.books();
    let order = books.order(Vendor::Jfwms, number).expect("the order is in place");
    assert_eq!(order.request["skuList"][0]["sku"], "2309-1Bei");
    assert_eq!(order.request["skuList"][0]["unitPrice"].as_f64(), Some(19.9));
    let effects = books.effects_of(Vendor::Jfwms, number);
    let created = effects.iter().filter(|kind| **kind == EffectKind::OrderCreated).count();
    assert_eq!(created, 1, "{number} was created more than once: {effects:?}");
}
