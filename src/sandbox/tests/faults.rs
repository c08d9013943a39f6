//! Each kind of fault, seen from the caller.

use super::*;

const GET: &str = "/api/order/get";

fn by_number() -> Value {
    json!({"erpNo": "ORD-1"})
}

async fn next(sandbox: &Sandbox, endpoint: &str, fault: Fault) {
    let rule = FaultRule::new(Vendor::Jfwms, endpoint, fault).times(1);
    sandbox.faults().set(vec![rule]).unwrap();
}

#[tokio::test]
async fn a_refusal_by_code_does_nothing() {
    let sandbox = quiet().await;
    let code = |code: &str| Fault::Refuse { code: code.to_owned(), message: None, inner: false };
    next(&sandbox, "/api/order/*", code("1")).await;
    let refused = jfwms(&sandbox, "/api/order/create", &order("ORD-1")).await;
    assert_eq!((&refused["code"], &refused["message"]), (&json!(1), &json!("服务异常,请稍后重试")));
    assert_eq!(jfwms_code(&sandbox, "/api/order/create", &order("ORD-1")).await, 0);
    let seen = sandbox.books();
    assert_eq!(seen.requests[0].faults, ["refuse"]);
    assert_eq!(seen.requests[1].code.as_deref(), Some("0"));

    let rule = |inner| {
        let fault = Fault::Refuse { code: "SYSTEM_ERROR".to_owned(), message: None, inner };
        FaultRule::new(Vendor::Qianyi, "QUERY_ASN_LIST", fault).times(1)
    };
    sandbox.faults().set(vec![rule(false)]).unwrap();
    let fields = || qianyi_fields("QUERY_ASN_LIST", "{}");
    assert_eq!(qianyi_outer(&sandbox, "asn", fields()).await["errorCode"], "SYSTEM_ERROR");
    sandbox.faults().set(vec![rule(true)]).unwrap();
    let inner = qianyi(&sandbox, "asn", "QUERY_ASN_LIST", &json!({})).await;
    assert_eq!(inner["errorCode"], "SYSTEM_ERROR");
    sandbox.shutdown().await;
}

#[tokio::test]
async fn an_http_error_comes_with_and_without_retry_after() {
    let sandbox = quiet().await;
    let table = [
        (503, Some(RetryAfter::Seconds(7)), None),
        (429, Some(RetryAfter::DateIn(30)), Some("slow down")),
        (500, None, None),
    ];
    for (status, retry_after, body) in table {
        let fault = Fault::Status { status, retry_after, body: body.map(str::to_owned) };
        next(&sandbox, GET, fault).await;
        let request = JfwmsCall::to(GET).request(&sandbox, &by_number());
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), status);
        let header = response.headers().get("retry-after").map(|v| v.to_str().unwrap().to_owned());
        match retry_after {
            None => assert_eq!(header, None),
            Some(RetryAfter::Seconds(seconds)) => assert_eq!(header, Some(seconds.to_string())),
            Some(RetryAfter::DateIn(_)) => assert!(header.unwrap().ends_with("GMT")),
        }
        assert_eq!(response.text().await.unwrap(), body.unwrap_or_default());
    }
    sandbox.shutdown().await;
}

#[tokio::test]
async fn a_dropped_connection_leaves_the_work_undone_or_done() {
    let sandbox = quiet().await;
    let create = "/api/order/create";
    for (number, fault, effects) in
        [("ORD-1", Fault::DropBeforeWork, 0), ("ORD-2", Fault::DropAfterWork, 1)]
    {
        next(&sandbox, create, fault).await;
        let request = JfwmsCall::to(create).request(&sandbox, &order(number));
        let error = request.send().await.unwrap_err();
        assert!(!error.is_timeout() && !error.is_connect(), "{error:?}");
        assert_eq!(sandbox.books().effects_of(Vendor::Jfwms, number).len(), effects, "{number}");
    }
    assert_eq!(jfwms_code(&sandbox, create, &order("ORD-2")).await, 50019);
    let books = sandbox.books();
    assert_eq!(books.requests[0].status, None);
    assert_eq!(books.requests[1].code.as_deref(), Some("0"), "it was served, and nobody heard");
    sandbox.shutdown().await;
}

#[tokio::test]
async fn an_answer_can_be_cut_in_the_middle_or_be_garbage() {
    let sandbox = quiet().await;
    next(&sandbox, GET, Fault::Truncate).await;
    let request = JfwmsCall::to(GET).request(&sandbox, &by_number());
    let response = request.send().await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    assert!(response.bytes().await.is_err());
    next(&sandbox, GET, Fault::Garbage).await;
    let request = JfwmsCall::to(GET).request(&sandbox, &by_number());
    assert!(request.send().await.unwrap().json::<Value>().await.is_err());
    sandbox.shutdown().await;
}

#[tokio::test]
async fn latency_is_before_or_after_the_work() {
    let sandbox = quiet().await;
    let create = "/api/order/create";
    for (number, after_work, effects) in [("ORD-1", false, 0), ("ORD-2", true, 1)] {
        next(&sandbox, create, Fault::Latency { ms: 5_000, jitter_ms: 10, after_work }).await;
        let request = JfwmsCall::to(create).request(&sandbox, &order(number));
        let error = request.timeout(Duration::from_millis(400)).send().await.unwrap_err();
        assert!(error.is_timeout(), "{error:?}");
        assert_eq!(sandbox.books().effects_of(Vendor::Jfwms, number).len(), effects, "{number}");
    }
    let begun = std::time::Instant::now();
    sandbox.shutdown().await;
    assert!(begun.elapsed() < Duration::from_secs(4), "a pause does not hold the end up");
}

#[tokio::test]
async fn expired_tokens_are_refused_until_they_are_refreshed() {
    let sandbox = quiet().await;
    next(&sandbox, GET, Fault::ExpireTokens).await;
    assert_eq!(jfwms_code(&sandbox, GET, &by_number()).await, 10002);
    assert_eq!(jfwms_code(&sandbox, GET, &by_number()).await, 10002);
    sandbox.shutdown().await;
}
