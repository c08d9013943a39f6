//! Webhooks, received by a small server that checks them by hand.

use std::sync::Arc;
use std::sync::Mutex;

use axum::Router;
use axum::extract::{Request, State};
use axum::routing::any;

use super::*;

/// A received request: its query, its `sign` header, its content type, its body.
#[derive(Debug, Clone)]
struct Received {
    query: String,
    sign: Option<String>,
    body: String,
}

#[derive(Debug, Clone, Default)]
struct Receiver {
    received: Arc<Mutex<Vec<Received>>>,
    /// What to answer, first to last; then the vendor's success.
    answers: Arc<Mutex<Vec<(u16, &'static str)>>>,
    stop: CancellationToken,
}

impl Receiver {
    async fn start(tracker: &TaskTracker) -> (Self, String) {
        let receiver = Self::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().route("/in", any(receive)).with_state(receiver.clone());
        let stop = receiver.stop.clone();
        tracker.spawn(async move {
            axum::serve(listener, app)
                .with_graceful_shutdown(stop.cancelled_owned())
                .await
                .unwrap();
        });
        (receiver, format!("http://{address}/in"))
    }

    fn all(&self) -> Vec<Received> {
        locked(&self.received).clone()
    }
}

async fn receive(
    State(receiver): State<Receiver>,
    request: Request,
) -> (axum::http::StatusCode, &'static str) {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let sign = request.headers().get("sign").map(|value| value.to_str().unwrap().to_owned());
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
    let body = String::from_utf8(body.to_vec()).unwrap();
    locked(&receiver.received).push(Received { query, sign, body });
    let mut answers = locked(&receiver.answers);
    let both = r#"{"code":0,"msg":"","state":"success","errorCode":"0"}"#;
    let (status, body) = if answers.is_empty() { (200, both) } else { answers.remove(0) };
    (axum::http::StatusCode::from_u16(status).unwrap(), body)
}

fn md5_of(text: &str) -> String {
    hex::encode(Md5::digest(text.as_bytes()))
}

#[tokio::test]
async fn what_happens_to_an_order_arrives_signed_and_in_order() {
    let tracker = TaskTracker::new();
    let (receiver, url) = Receiver::start(&tracker).await;
    let sandbox = started(|settings| settings.behaviour.jfwms.ship_after_ms = Some(30)).await;
    sandbox.set_jfwms_webhook_url(url);
    *locked(&receiver.answers) = vec![(503, ""), (200, r#"{"code":1}"#)];
    jfwms(&sandbox, "/api/order/create", &order("ORD-1")).await;
    soon("both webhooks", || sandbox.books().webhooks.len() == 2).await;
    let kinds: Vec<_> = receiver
        .all()
        .iter()
        .map(|r| serde_json::from_str::<Value>(&r.body).unwrap()["type"].clone())
        .collect();
    // Refused twice, then taken; the shipment waits behind it.
    assert_eq!(kinds, ["orderCreate", "orderCreate", "orderCreate", "order"]);
    let books = sandbox.books();
    assert_eq!(
        (books.webhooks[0].attempts, books.webhooks[0].delivery),
        (3, Delivery::Acknowledged)
    );
    let last = receiver.all().pop().unwrap();
    let frame: Value = serde_json::from_str(&last.body).unwrap();
    let start = last.body.find(r#""data":"#).unwrap() + r#""data":"#.len();
    let end = last.body.rfind(r#","sign""#).unwrap();
    let data = last.body.get(start..end).unwrap();
    let signed = format!(r#"{{"data":{data},"clientSecret":"{SECRET}"}}"#);
    assert_eq!(frame["sign"], md5_of(&signed));
    assert_eq!(frame["data"]["erpNo"], "ORD-1");
    assert_eq!(frame["data"]["userId"], "8");
    assert_eq!(frame["data"]["skuList"][0]["totalChange"], -2);
    assert!(frame["timestamp"].is_string());
    receiver.stop.cancel();
    sandbox.shutdown().await;
}

#[tokio::test]
async fn the_signature_travels_as_it_is_set_and_data_is_not_touched() {
    let data = "{ \"erpNo\":\"R-1\",\"n\":1.10,\"k\":1,\"k\":2 }";
    let compact = "{\"erpNo\":\"R-1\",\"n\":1.10,\"k\":1,\"k\":2}";
    let text = Value::from(data).to_string();
    let table = [
        (SignTransport::Header("sign".to_owned()), SignForm::Raw, data),
        (SignTransport::Query("sign".to_owned()), SignForm::Compact, compact),
        (SignTransport::Header("sign".to_owned()), SignForm::Text, text.as_str()),
    ];
    for (transport, form, embedded) in table {
        let tracker = TaskTracker::new();
        let (receiver, url) = Receiver::start(&tracker).await;
        let sandbox = started(|settings| {
            settings.jfwms.sign_transport = transport.clone();
            settings.jfwms.sign_form = form;
            settings.jfwms.sign_order = SignOrder::SecretFirst;
        })
        .await;
        sandbox.set_jfwms_webhook_url(url);
        let mut webhook = Webhook::new(Vendor::Jfwms, "return", data).unwrap();
        webhook.beside.insert("finishTime".to_owned(), json!("2025-01-01T00:00:00.000"));
        sandbox.send_webhook(webhook).unwrap();
        soon("the webhook", || sandbox.books().webhooks.len() == 1).await;
        let sign = md5_of(&format!(r#"{{"clientSecret":"{SECRET}","data":{embedded}}}"#));
        let received = receiver.all().pop().unwrap();
        assert!(received.body.contains(data), "{}", received.body);
        assert!(received.body.contains("\"finishTime\":\"2025-01-01T00:00:00.000\""));
        match transport {
            SignTransport::Query(_) => assert_eq!(received.query, format!("sign={sign}")),
            _ => assert_eq!(received.sign, Some(sign)),
        }
        assert_eq!(sandbox.books().webhooks[0].document, "R-1");
        receiver.stop.cancel();
        sandbox.shutdown().await;
    }
}

#[tokio::test]
async fn qianyi_pushes_what_was_shipped_and_received() {
    for format in [PushFormat::FormData, PushFormat::Json] {
        let tracker = TaskTracker::new();
        let (receiver, url) = Receiver::start(&tracker).await;
        let sandbox = started(|settings| {
            settings.qianyi.push_format = format;
            settings.behaviour.qianyi.receive_after_ms = Some(10);
        })
        .await;
        sandbox.set_qianyi_push_url(url);
        qianyi(&sandbox, "asn", "CREATE_ASN_ORDER", &asn("ASN-1")).await;
        soon("the push", || sandbox.books().webhooks.len() == 1).await;
        let create = "CREATE_AND_AUDIT_SALES_ORDER";
        qianyi(&sandbox, "salesOrder", create, &sales_order("SO-1")).await;
        assert!(sandbox.ship(Vendor::Qianyi, "SO-1"));
        soon("the push", || sandbox.books().webhooks.len() == 2).await;
        assert!(sandbox.books().webhooks.iter().all(|w| w.delivery == Delivery::Acknowledged));
        let received = receiver.all();
        assert!(received[1].body.contains("PUSH_SALES_ORDER_SHIPPING_INFO"));
        if format == PushFormat::Json {
            let push: Value = serde_json::from_str(&received[0].body).unwrap();
            let field = |name: &str| push[name].as_str().unwrap();
            let (timestamp, biz) = (field("timestamp"), field("bizParam"));
            let sign =
                qianyi_sign("openApi_TEST", "openApi_TOKEN", "PUSH_ASN_ORDER", timestamp, biz);
            assert_eq!(field("sign"), sign);
            let biz: Value = serde_json::from_str(biz).unwrap();
            assert_eq!(
                (&biz["customNumber"], &biz["status"]),
                (&json!("ASN-1"), &json!("FINISHED"))
            );
        }
        receiver.stop.cancel();
        sandbox.shutdown().await;
    }
}

#[tokio::test]
async fn a_webhook_that_is_never_taken_is_given_up() {
    let tracker = TaskTracker::new();
    let (receiver, url) = Receiver::start(&tracker).await;
    *locked(&receiver.answers) = vec![(500, ""); 3];
    let sandbox = started(|settings| {
        settings.behaviour.webhooks.attempts = 2;
        settings.behaviour.webhooks.first_pause_ms = 1;
    })
    .await;
    let webhook = || Webhook::new(Vendor::Jfwms, "move", r#"{"documentNo":"M-1"}"#).unwrap();
    sandbox.send_webhook(webhook()).unwrap();
    soon("no address", || sandbox.books().webhooks.len() == 1).await;
    sandbox.set_jfwms_webhook_url(url);
    sandbox.send_webhook(webhook()).unwrap();
    soon("given up", || sandbox.books().webhooks.len() == 2).await;
    let fates: Vec<_> = sandbox.books().webhooks.iter().map(|w| w.delivery).collect();
    assert_eq!(fates, [Delivery::NoAddress, Delivery::GivenUp]);
    assert_eq!(sandbox.books().webhooks[1].error.as_deref(), Some("HTTP status 500"));
    receiver.stop.cancel();
    sandbox.shutdown().await;
}
