//! JFWMS: signatures, clocks, tokens, orders and inbounds.

use super::*;

#[tokio::test]
async fn the_guides_sample_call_is_taken_and_answered_as_in_the_guide() {
    let sandbox = started(|settings| settings.jfwms.clock_tolerance = None).await;
    let call = JfwmsCall {
        nonce: "14".to_owned(),
        timestamp: "1692889556000".to_owned(),
        sign: Some("9bc08ba7552c5dfea4efab6bda78a4a9738010913f2403bd93f09c6bf974b939".to_owned()),
        ..JfwmsCall::to("/api/order/get")
    };
    let answer = call.send(&sandbox, &json!({"erpNo": "123"})).await;
    assert_eq!(answer["code"], 50017);
    assert_eq!(answer["message"], "The order was not found in the warehouse!");
    assert_eq!(answer["data"], Value::Null);
    assert_eq!(call.code(&sandbox, &json!({"erpNo": "123"})).await, 10027);
    sandbox.shutdown().await;
}

#[tokio::test]
async fn a_call_that_is_not_right_is_refused_with_the_vendors_code() {
    let sandbox = quiet().await;
    let right = || JfwmsCall::to("/api/order/get");
    let hour_ago = (crate::clock::now().as_millisecond() - 3_600_000).to_string();
    let table = [
        (JfwmsCall { sign: Some("0".repeat(64)), ..right() }, 10026),
        (JfwmsCall { sign: Some(String::new()), ..right() }, 10021),
        (JfwmsCall { nonce: "1x".to_owned(), ..right() }, 10024),
        (JfwmsCall { nonce: "1".repeat(19), ..right() }, 10024),
        (JfwmsCall { nonce: String::new(), ..right() }, 10022),
        (JfwmsCall { timestamp: "1692889556".to_owned(), ..right() }, 10025),
        (JfwmsCall { timestamp: String::new(), ..right() }, 10023),
        (JfwmsCall { timestamp: hour_ago, ..right() }, 10028),
        (JfwmsCall { token: "other".to_owned(), ..right() }, 10002),
        (JfwmsCall { token: String::new(), ..right() }, 10004),
        (JfwmsCall { user: "9".to_owned(), ..right() }, 10009),
        (JfwmsCall { user: "eight".to_owned(), ..right() }, 10029),
        (JfwmsCall { sign: None, ..right() }, 50017),
    ];
    for (call, expected) in table {
        let code = call.code(&sandbox, &json!({"erpNo": "1"})).await;
        assert_eq!(code, expected, "{call:?}");
    }
    let mut request = right().request(&sandbox, &json!({"erpNo": "1"})).build().unwrap();
    request.headers_mut().insert("content-type", "text/plain".parse().unwrap());
    let answer: Value = client().execute(request).await.unwrap().json().await.unwrap();
    assert_eq!(answer["code"], 10001, "{answer}");
    sandbox.shutdown().await;
}

#[tokio::test]
async fn a_clock_that_is_ahead_shows_in_the_date_and_refuses_our_time() {
    let sandbox = quiet().await;
    sandbox.change(|behaviour| behaviour.jfwms.clock_offset_ms = 3_600_000);
    let call = JfwmsCall::to("/api/order/get");
    let response = call.request(&sandbox, &json!({"erpNo": "1"})).send().await.unwrap();
    let date = response.headers()["date"].to_str().unwrap().to_owned();
    let format = "%a, %d %b %Y %H:%M:%S GMT";
    let theirs = jiff::civil::DateTime::strptime(format, &date).unwrap();
    let theirs = theirs.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp();
    let ahead = theirs.as_millisecond() - crate::clock::now().as_millisecond();
    assert!((3_590_000..3_610_000).contains(&ahead), "{date}");
    assert_eq!(response.json::<Value>().await.unwrap()["code"], 10028);
    let timestamp = theirs.as_millisecond().to_string();
    let call = JfwmsCall { timestamp, ..JfwmsCall::to("/api/order/get") };
    assert_eq!(call.code(&sandbox, &json!({"erpNo": "1"})).await, 50017);
    sandbox.shutdown().await;
}

async fn oauth(sandbox: &Sandbox, step: &str, query: &[(&str, &str)]) -> Value {
    let url = format!("{}/api/oauth/{step}", sandbox.jfwms_url());
    client().get(url).query(query).send().await.unwrap().json().await.unwrap()
}

#[tokio::test]
async fn a_token_is_issued_once_ends_and_is_refreshed() {
    let sandbox =
        started(|settings| settings.jfwms.access_token_lifetime = Duration::from_secs(2)).await;
    let asked = [
        ("domain", "demo"),
        ("clientId", CLIENT),
        ("email", "seller@example.com"),
        ("token", "sandbox-one-time-1"),
    ];
    let code = oauth(&sandbox, "authorize", &asked).await["data"].as_str().unwrap().to_owned();
    assert_eq!(oauth(&sandbox, "authorize", &asked).await["code"], 10030, "it works once");
    let asked = [("clientId", CLIENT), ("clientSecret", SECRET), ("key", code.as_str())];
    let issued = oauth(&sandbox, "accessToken", &asked).await["data"].clone();
    assert_eq!(oauth(&sandbox, "accessToken", &asked).await["code"], 10030, "it works once");
    assert_eq!(issued["userId"], 8);
    let year = issued["refreshExpireIn"].as_i64().unwrap();
    assert_eq!(year, 365 * 24 * 3600);
    let with = |token: &Value| JfwmsCall {
        token: token.as_str().unwrap().to_owned(),
        ..JfwmsCall::to("/api/order/get")
    };
    let body = json!({"erpNo": "1"});
    assert_eq!(with(&issued["accessToken"]).code(&sandbox, &body).await, 50017);
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    assert_eq!(with(&issued["accessToken"]).code(&sandbox, &body).await, 10002);

    let refresh = issued["refreshToken"].as_str().unwrap();
    let asked = |user| {
        [
            ("clientId", CLIENT),
            ("clientSecret", SECRET),
            ("refreshToken", refresh),
            ("userId", user),
        ]
    };
    assert_eq!(oauth(&sandbox, "refreshToken", &asked("9")).await["code"], 10009);
    let renewed = oauth(&sandbox, "refreshToken", &asked("8")).await["data"].clone();
    assert_eq!(with(&renewed["accessToken"]).code(&sandbox, &body).await, 50017);
    assert_ne!(renewed["refreshToken"], issued["refreshToken"]);
    assert_eq!(oauth(&sandbox, "refreshToken", &asked("8")).await["code"], 10003, "it has rotated");
    sandbox.shutdown().await;
}

#[tokio::test]
async fn oauth_refuses_with_the_vendors_codes() {
    let sandbox = quiet().await;
    type Query = &'static [(&'static str, &'static str)];
    let table: [(&str, Query, i64); 8] = [
        ("authorize", &[], 10006),
        ("authorize", &[("clientId", "x")], 10008),
        ("authorize", &[("clientId", CLIENT), ("domain", "x")], 10013),
        (
            "authorize",
            &[("clientId", CLIENT), ("domain", "demo"), ("email", "x"), ("token", "x")],
            10011,
        ),
        ("accessToken", &[("clientId", CLIENT)], 10007),
        ("accessToken", &[("clientId", CLIENT), ("clientSecret", "x")], 10008),
        ("refreshToken", &[("clientId", CLIENT), ("clientSecret", SECRET)], 10005),
        (
            "refreshToken",
            &[
                ("clientId", CLIENT),
                ("clientSecret", SECRET),
                ("refreshToken", "x"),
                ("userId", "8"),
            ],
            10003,
        ),
    ];
    for (step, query, expected) in table {
        assert_eq!(oauth(&sandbox, step, query).await["code"], expected, "{step} {query:?}");
    }
    sandbox.shutdown().await;
}

#[tokio::test]
async fn the_unit_of_expiry_is_a_setting() {
    for (unit, least, most) in [
        (ExpiryUnit::Seconds, 86_399, 86_400),
        (ExpiryUnit::EpochSeconds, 1_000_000_000, 9_999_999_999),
        (ExpiryUnit::EpochMillis, 1_000_000_000_000, 9_999_999_999_999),
    ] {
        let sandbox = started(|settings| {
            settings.jfwms.expiry_unit = unit;
            settings.jfwms.rotation = RefreshRotation::Keep;
        })
        .await;
        let asked = [
            ("clientId", CLIENT),
            ("clientSecret", SECRET),
            ("refreshToken", "sandbox-refresh-token"),
            ("userId", "8"),
        ];
        let renewed = oauth(&sandbox, "refreshToken", &asked).await["data"].clone();
        assert_eq!(renewed["refreshToken"], "sandbox-refresh-token");
        let expiry = renewed["expireIn"].as_i64().unwrap();
        assert!((least..=most).contains(&expiry), "{unit:?}: {expiry}");
        sandbox.shutdown().await;
    }
}

#[tokio::test]
async fn an_order_is_taken_once_found_and_cancelled_once() {
    let sandbox = quiet().await;
    let (create, cancel) = ("/api/order/create", "/api/order/cancel");
    let by_number = json!({"erpNo": "ORD-1"});
    assert_eq!(jfwms_code(&sandbox, create, &order("ORD-1")).await, 0);
    assert_eq!(jfwms_code(&sandbox, create, &order("ORD-1")).await, 50019);
    let found = jfwms(&sandbox, "/api/order/get", &by_number).await["data"].clone();
    assert_eq!((&found["erpNo"], &found["status"]), (&json!("ORD-1"), &json!(3)));
    assert!(found["orderNo"].as_str().unwrap().starts_with("PNJ"));
    let stock = json!({"warehouse": "YK", "skuList": ["SKU-1"], "pageNo": 1, "pageSize": 10});
    let row = |answer: Value| answer["data"]["page"]["rows"][0]["lockedNum"].clone();
    assert_eq!(row(jfwms(&sandbox, "/api/inventory/queryInventory", &stock).await), 2);
    assert_eq!(jfwms_code(&sandbox, cancel, &by_number).await, 0);
    assert_eq!(jfwms_code(&sandbox, cancel, &by_number).await, 50027);
    assert_eq!(row(jfwms(&sandbox, "/api/inventory/queryInventory", &stock).await), 0);
    assert_eq!(jfwms_code(&sandbox, cancel, &json!({"erpNo": "none"})).await, 50017);
    assert_eq!(jfwms_code(&sandbox, create, &order("ORD-2")).await, 0);
    assert!(sandbox.ship(Vendor::Jfwms, "ORD-2"));
    assert!(!sandbox.ship(Vendor::Jfwms, "ORD-2"));
    assert_eq!(jfwms_code(&sandbox, cancel, &json!({"erpNo": "ORD-2"})).await, 50018);
    let batch = json!({"erpNoList": ["ORD-1", "none", "ORD-2"]});
    let found = jfwms(&sandbox, "/api/order/batchGet", &batch).await["data"].clone();
    let statuses: Vec<_> = found.as_array().unwrap().iter().map(|o| o["status"].clone()).collect();
    assert_eq!(statuses, [json!(9), json!(7)]);
    let books = sandbox.books();
    let effects = [EffectKind::OrderCreated, EffectKind::OrderCancelled];
    assert_eq!(books.effects_of(Vendor::Jfwms, "ORD-1"), effects);
    assert_eq!(books.order(Vendor::Jfwms, "ORD-2").unwrap().status, "shipped");
    sandbox.shutdown().await;
}

#[tokio::test]
async fn an_order_that_is_not_right_is_refused_with_the_vendors_code() {
    let sandbox = quiet().await;
    let long = "长".repeat(101);
    let table = [
        (json!({"erpNo": ""}), 50003),
        (json!({"erpNo": 5}), 10001),
        (json!({"warehouse": null}), 10043),
        (json!({"warehouse": "nowhere"}), 10041),
        (json!({"platform": null}), 10001),
        (json!({"recipientCountry": null}), 50002),
        (json!({"recipientCountry": "USA"}), 50007),
        (json!({"recipientCountry": "us"}), 50007),
        (json!({"erpNo": long}), 50008),
        (json!({"platformOrderNo": long}), 50009),
        (json!({"buyerName": long}), 50010),
        (json!({"buyerPhone": long}), 50011),
        (json!({"recipientProvince": long}), 50012),
        (json!({"recipientCity": long}), 50013),
        (json!({"zipCode": long}), 50014),
        (json!({"logisticsName": long}), 50015),
        (json!({"trackingNo": long}), 50016),
        (json!({"recipientAddress": "x".repeat(301)}), 50006),
        (json!({"labelUrl": "x".repeat(2049)}), 50001),
        (json!({"type": 2}), 10001),
        (json!({"type": 3}), 10001),
        (json!({"skuList": []}), 50022),
        (json!({"skuList": [{"num": 1}]}), 50022),
        (json!({"skuList": [{"sku": "A"}]}), 50023),
        (json!({"skuList": [{"sku": "A", "num": 0}]}), 50023),
        (json!({"skuList": [{"sku": "A", "num": 1.5}]}), 50023),
        (json!({"skuList": [{"sku": "UNKNOWN-SKU", "num": 1}]}), 50024),
        (json!({"skuList": [{"sku": "OUT-OF-STOCK", "num": 1}]}), 50026),
    ];
    for (change, expected) in table {
        let mut body = order("BAD");
        for (name, value) in change.as_object().unwrap() {
            body[name] = value.clone();
        }
        let answer = jfwms(&sandbox, "/api/order/create", &body).await;
        assert_eq!(answer["code"], expected, "{change} {answer}");
    }
    assert!(sandbox.books().effects.is_empty());
    sandbox.shutdown().await;
}

#[tokio::test]
async fn a_cancellation_can_be_forbidden_or_reviewed() {
    let sandbox = quiet().await;
    let cancel = "/api/order/cancel";
    let by_number = json!({"erpNo": "ORD-1"});
    jfwms(&sandbox, "/api/order/create", &order("ORD-1")).await;
    sandbox.change(|behaviour| behaviour.jfwms.cancel = CancelMode::Forbid);
    assert_eq!(jfwms_code(&sandbox, cancel, &by_number).await, 20022);
    sandbox.change(|behaviour| {
        behaviour.jfwms.cancel = CancelMode::Review;
        behaviour.jfwms.review_after_ms = 50;
    });
    assert_eq!(jfwms_code(&sandbox, cancel, &by_number).await, 20023);
    soon("the review", || {
        sandbox.books().effects_of(Vendor::Jfwms, "ORD-1").last()
            == Some(&EffectKind::OrderIntercepted)
    })
    .await;
    assert_eq!(jfwms_code(&sandbox, cancel, &by_number).await, 50027);

    sandbox.change(|behaviour| {
        behaviour.jfwms.review_succeeds = false;
        behaviour.jfwms.review_after_ms = 0;
    });
    // Nothing ships by itself yet, so that the review comes first.
    jfwms(&sandbox, "/api/order/create", &order("ORD-2")).await;
    sandbox.change(|behaviour| behaviour.jfwms.ship_after_ms = Some(1));
    assert_eq!(jfwms_code(&sandbox, cancel, &json!({"erpNo": "ORD-2"})).await, 20023);
    soon("the shipment after the refused review", || {
        sandbox.books().effects_of(Vendor::Jfwms, "ORD-2")
            == [
                EffectKind::OrderCreated,
                EffectKind::InterceptionRequested,
                EffectKind::InterceptionRefused,
                EffectKind::OrderShipped,
            ]
    })
    .await;
    sandbox.shutdown().await;
}

#[tokio::test]
async fn an_inbound_is_taken_once_received_and_then_not_cancelled() {
    let sandbox = quiet().await;
    let (create, cancel) = ("/api/inbound/create", "/api/inbound/cancel");
    let taken = jfwms(&sandbox, create, &inbound("IN-1")).await;
    let number = taken["data"]["inboundNo"].clone();
    assert_eq!(jfwms_code(&sandbox, create, &inbound("IN-1")).await, 40001);
    let by_both = json!({"erpNo": "IN-1", "inboundNo": number});
    assert_eq!(jfwms(&sandbox, "/api/inbound/get", &by_both).await["data"]["status"], "New");
    let other = json!({"erpNo": "other", "inboundNo": number});
    assert_eq!(jfwms_code(&sandbox, cancel, &other).await, 40004);
    assert!(sandbox.receive(Vendor::Jfwms, "IN-1"));
    assert_eq!(jfwms_code(&sandbox, cancel, &by_both).await, 40005);
    for (body, expected) in [
        (json!({"erpNo": "", "warehouse": "YK"}), 40000),
        (json!({"erpNo": "B", "warehouse": "YK"}), 40002),
        (json!({"erpNo": "B", "warehouse": "YK", "skuList": [{"sku": "A"}]}), 40003),
        (
            json!({"erpNo": "B", "warehouse": "YK", "skuList": [{"sku": "UNKNOWN-SKU", "count": 1}]}),
            10046,
        ),
    ] {
        assert_eq!(jfwms_code(&sandbox, create, &body).await, expected, "{body}");
    }
    sandbox.shutdown().await;
}
