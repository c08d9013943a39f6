//! The control server, and what is bounded.

use super::*;

async fn control(sandbox: &Sandbox, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    let url = format!("{}{path}", sandbox.control_url());
    let response = client().request(method, url).json(body).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn faults_behaviour_and_documents_are_handled_over_http() {
    let sandbox = quiet().await;
    assert_eq!(control(&sandbox, "GET", "/healthz", &json!({})).await.0, 200);
    let rule = json!({"vendor": "jfwms", "endpoint": "/api/order/*", "times": 1,
        "fault": {"refuse": {"code": "1"}}});
    let (status, _) = control(&sandbox, "PUT", "/faults", &json!({"rules": [rule]})).await;
    assert_eq!(status, 200);
    assert_eq!(jfwms_code(&sandbox, "/api/order/create", &order("ORD-1")).await, 1);
    let (_, state) = control(&sandbox, "GET", "/faults", &json!({})).await;
    assert_eq!(state["rules"][0]["happened"], 1);
    let (_, state) = control(&sandbox, "DELETE", "/faults", &json!({})).await;
    assert_eq!(state, json!({"rules": []}));
    let wrong = json!({"fault": {"status": {"status": 200}}});
    let (status, error) = control(&sandbox, "POST", "/faults", &wrong).await;
    assert_eq!((status, error["error"].as_str().unwrap().contains("300")), (400, true));

    let change = json!({"jfwms": {"cancel": "forbid"}});
    let (_, changed) = control(&sandbox, "PUT", "/behaviour", &change).await;
    assert_eq!(changed["jfwms"]["cancel"], "forbid");
    assert_eq!(sandbox.behaviour().jfwms.ship_after_ms, None, "what is not named stays");
    let (status, error) = control(&sandbox, "PUT", "/behaviour", &json!({"jfwmz": {}})).await;
    assert_eq!((status, error["error"].as_str().unwrap().contains("jfwmz")), (400, true));

    jfwms(&sandbox, "/api/order/create", &order("ORD-1")).await;
    let document = json!({"vendor": "jfwms", "number": "ORD-1"});
    assert_eq!(control(&sandbox, "POST", "/ship", &document).await.0, 200);
    assert_eq!(control(&sandbox, "POST", "/ship", &document).await.0, 404);
    let webhook = json!({"vendor": "jfwms", "type": "adjust", "data": {"documentNo": "A-1"}});
    assert_eq!(control(&sandbox, "POST", "/webhooks", &webhook).await.0, 202);
    soon("its fate", || sandbox.books().webhooks.iter().any(|w| w.document == "A-1")).await;
    let (_, books) = control(&sandbox, "GET", "/books", &json!({})).await;
    assert_eq!(books["effects"]["jfwms/ORD-1"][1]["kind"], "order-shipped");
    assert_eq!(books["orders"][0]["request"]["erpNo"], "ORD-1");
    sandbox.shutdown().await;
}

#[tokio::test]
async fn the_books_and_the_documents_are_bounded() {
    let sandbox = started(|settings| {
        settings.limits.requests = 2;
        settings.limits.documents = 1;
        settings.limits.body = 1_000;
    })
    .await;
    let create = "/api/order/create";
    assert_eq!(jfwms_code(&sandbox, create, &order("ORD-1")).await, 0);
    assert_eq!(jfwms_code(&sandbox, create, &order("ORD-2")).await, 1);
    assert_eq!(jfwms_code(&sandbox, create, &order("ORD-1")).await, 50019);
    let books = sandbox.books();
    assert_eq!((books.requests.len(), books.requests_total), (2, 3));
    assert_eq!(books.requests[1].code.as_deref(), Some("50019"));
    let mut large = order("ORD-3");
    large["note"] = json!("x".repeat(2_000));
    let response = JfwmsCall::to(create).request(&sandbox, &large).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 413);
    sandbox.shutdown().await;
}

#[tokio::test]
async fn a_taken_address_is_named() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let settings = SandboxSettings { qianyi_listen: address, ..SandboxSettings::default() };
    let error = Sandbox::start(settings).await.unwrap_err().to_string();
    assert!(error.contains("Qianyi") && error.contains(&address.to_string()), "{error}");
}
