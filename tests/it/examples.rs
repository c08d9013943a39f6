//! The programs of `examples/`, which the README shows, run as they are.

use wms_connector::sandbox::{Delivery, EffectKind, Vendor};

use crate::support::{
    app::{JFWMS, Options, TestApp},
    backend::TestEnv,
    examples::Example,
    parts,
    suite::tests,
};

tests! {
    mock: the_documents_show_them_as_they_are;
    kafka: python_services, java_services;
}

/// In a document, `<!-- FILE -->` above a fenced block says that the block is that file, and
/// `<!-- FILE#NAME -->` that it is the lines between its `region NAME` and `endregion`.
async fn the_documents_show_them_as_they_are(_: &TestEnv) {
    let root = parts::crate_dir();
    let mut documents = vec![root.join("README.md"), root.join("examples/README.md")];
    let others = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    documents.extend(others.filter(|path| path.extension().is_some_and(|ending| ending == "md")));
    let mut shown = 0;
    for document in documents.iter().filter(|path| path.exists()) {
        let text = std::fs::read_to_string(document).unwrap();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let named = line.strip_prefix("<!-- examples/").and_then(|l| l.strip_suffix(" -->"));
            let Some(named) = named else { continue };
            let fence = lines.next().unwrap_or_default();
            assert!(fence.starts_with("```"), "{document:?}: no code below {line}");
            let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            assert_eq!(block.join("\n"), excerpt(named), "{document:?}: {line}");
            shown += 1;
        }
    }
    assert!(shown >= 2, "the documents show {shown} examples");
}

/// A file of `examples/`, or a region of it moved to the left.
fn excerpt(named: &str) -> String {
    let (file, region) = named.split_once('#').unwrap_or((named, ""));
    let path = parts::crate_dir().join("examples").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
    if region.is_empty() {
        return text.trim_end().to_owned();
    }
    let mark = format!(" region {region}");
    let inside = text.lines().skip_while(|line| !line.ends_with(&mark)).skip(1);
    let inside: Vec<_> = inside.take_while(|line| !line.ends_with(" endregion")).collect();
    assert!(!inside.is_empty(), "{file} has no region {region}");
    let blanks = |line: &&str| line.len() - line.trim_start().len();
    let indent = inside.iter().filter(|line| !line.is_empty()).map(blanks).min().unwrap_or(0);
    let moved = inside.iter().map(|line| line.get(indent..).unwrap_or_default());
    moved.collect::<Vec<_>>().join("\n")
}

async fn python_services(env: &TestEnv) {
    let replies = env.name("replies.python-shop");
    env.create_topic(&replies, 2).await;
    let app = started(env).await;
    reads_stock(env, &app, Example::Python("read_stock.py")).await;
    creates_an_order(env, &app, Example::Python("create_order.py"), "PY-1").await;
    creates_an_order(env, &app, Example::Python("create_order_json.py"), "PY-2").await;
    app.stop().await.unwrap();
}

async fn java_services(env: &TestEnv) {
    let replies = env.name("replies.java-shop");
    env.create_topic(&replies, 2).await;
    let app = started(env).await;
    reads_stock(env, &app, Example::Java("ReadStock")).await;
    creates_an_order(env, &app, Example::Java("CreateOrder"), "JAVA-1").await;
    creates_an_order(env, &app, Example::Java("CreateOrderAvro"), "JAVA-2").await;
    app.stop().await.unwrap();
}

async fn started(env: &TestEnv) -> TestApp {
    let registry = Some(env.registry().url().to_owned());
    TestApp::start_with(env, Options { registry, ..Options::default() }).await
}

async fn reads_stock(env: &TestEnv, app: &TestApp, example: Example) {
    let data = r#"{"warehouseCode": "YK", "documentNo": "BSZ1AF0608", "userId": 8, "skuList": [
        {"sku": "2309-1Bei", "total": 26, "locked": 3, "available": 23, "nonGood": 0}]}"#;
    let sent = app.webhook(JFWMS, "orderCreate", data).await;
    assert_eq!(sent.delivery, Delivery::Acknowledged, "{sent:?}");
    example.run_until(env, "2309-1Bei 23").await;
}

/// Also a second time, as after a crash of the service: one order, and an answer that says so.
async fn creates_an_order(env: &TestEnv, app: &TestApp, example: Example, number: &str) {
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
