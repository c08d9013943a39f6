//! One call: sent once or not at all, and nothing of it told to anybody.

use std::{sync::atomic::Ordering, time::Duration};

use futures_util::FutureExt;

use super::support::*;
use crate::{
    api_client::*,
    domain::{Body, Method, PlannedCall},
};

fn json(_: &Attempt<'_>) -> PlannedCall {
    post(Body::Json(r#"{"a":1}"#.to_owned()))
}

#[tokio::test]
async fn a_dropped_connection_never_makes_a_second_request() {
    // The first request of each connection is answered and the connection kept; the next one is
    // read and the connection dropped: the worst case, a reused connection that dies.
    let (base, seen) = serve(|number, _| {
        Box::pin(async move { if number == 0 { ok("{}") } else { (None, true) } })
    })
    .await;
    let (client, counts) = client(&base, ApiClientSettings::default());
    let sent = client.send(&account(), create(), json, soon()).await.unwrap();
    client.report(&sent, Report::Succeeded);
    for failures in 1..=3 {
        let error = client.send(&account(), create(), json, soon()).await.unwrap_err();
        assert!(matches!(error, SendError::NoAnswer(_)), "{error:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(seen.count("POST"), 1 + failures);
    }
    assert_eq!(counts.0.lock().unwrap()[&("create".to_owned(), RequestClass::NoAnswer)], 3);
}

#[tokio::test]
async fn half_an_answer_and_a_slow_one_are_no_answer() {
    let half = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{".to_vec();
    let (base, seen) = serve(move |number, _| {
        let half = half.clone();
        Box::pin(async move {
            if number == 0 {
                return (Some(half), true);
            }
            tokio::time::sleep(Duration::from_secs(5)).await;
            ok("{}")
        })
    })
    .await;
    let call_timeout = Duration::from_millis(300);
    let settings = ApiClientSettings { call_timeout, ..ApiClientSettings::default() };
    let (client, _) = client(&base, settings);
    for _ in 0..2 {
        let error = client.send(&account(), create(), json, soon()).await.unwrap_err();
        assert!(matches!(error, SendError::NoAnswer(_)), "{error:?}");
    }
    assert_eq!(seen.count("POST"), 2);
}

#[tokio::test]
async fn a_connection_that_never_opened_is_not_sent() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let (client, counts) = client(&base, ApiClientSettings::default());
    let plan = |_: &Attempt<'_>| get("/x", &Secret::new("hidden-secret"));
    let error = client.send(&account(), create(), plan, soon()).await.unwrap_err();
    assert!(matches!(&error, SendError::NotSent(why) if why.contains("refused")), "{error:?}");
    assert!(!format!("{error:?}{error}").contains("hidden-secret"));
    assert_eq!(counts.0.lock().unwrap()[&("create".to_owned(), RequestClass::NotSent)], 1);
}

#[tokio::test]
async fn an_answer_beyond_the_limit_is_cut_announced_or_not() {
    let (base, _) = serve(|number, _| {
        Box::pin(async move {
            if number == 0 {
                return ok(&"x".repeat(2000));
            }
            let chunk = format!("3e8\r\n{}\r\n", "x".repeat(1000));
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            (Some(format!("{head}{}0\r\n\r\n", chunk.repeat(2)).into_bytes()), true)
        })
    })
    .await;
    let settings = ApiClientSettings { max_body: 1500, ..ApiClientSettings::default() };
    let (client, _) = client(&base, settings);
    for _ in 0..2 {
        let error = client.send(&account(), create(), json, soon()).await.unwrap_err();
        assert_eq!(error, SendError::BodyTooLarge);
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let (base, seen) = serve(|_, _| {
        Box::pin(async {
            let head = "HTTP/1.1 307 Moved\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n";
            (Some(head.as_bytes().to_vec()), false)
        })
    })
    .await;
    let (client, _) = client(&base, ApiClientSettings::default());
    let sent = client.send(&account(), create(), json, soon()).await.unwrap();
    assert_eq!(sent.answer.status, 307);
    assert_eq!(seen.texts().len(), 1);
}

#[tokio::test]
async fn a_form_carries_the_bytes_that_were_signed() {
    let (base, seen) = serve(|_, _| Box::pin(async { ok("{}") })).await;
    let (client, _) = client(&base, ApiClientSettings::default());
    let biz = "{\r\n    \"warehouse\": \"best（测试用）\",\r\n\t\"a\": \"%20+&\\\"\n\r\"\r\n}\r\n";
    let plan = move |_: &Attempt<'_>| {
        post(Body::Multipart(vec![("appId", "TEST".to_owned()), ("bizParam", biz.to_owned())]))
    };
    client.send(&account(), create(), plan, soon()).await.unwrap();
    let request = seen.texts().remove(0);
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let boundary = head.split("boundary=").nth(1).unwrap().lines().next().unwrap();
    assert!(head.to_lowercase().contains("content-type: multipart/form-data; boundary="));
    assert!(!head.to_lowercase().contains("transfer-encoding"), "{head}");
    let part = |name: &str, value: &str| {
        let disposition = format!("Content-Disposition: form-data; name=\"{name}\"");
        format!("--{boundary}\r\n{disposition}\r\n\r\n{value}\r\n")
    };
    let expected = format!("{}{}--{boundary}--\r\n", part("appId", "TEST"), part("bizParam", biz));
    assert_eq!(body, expected);
}

#[tokio::test]
async fn headers_query_and_user_agent_arrive_and_nothing_else_is_told() {
    let (base, seen) = serve(|_, _| Box::pin(async { ok(r#"{"secret":"body-secret"}"#) })).await;
    let (client, _) = client(&base, ApiClientSettings::default());
    let plan = |_: &Attempt<'_>| PlannedCall {
        method: Method::Post,
        headers: vec![("accessToken", "header-secret".to_owned())],
        ..get("/api", &Secret::new("query-secret"))
    };
    let sent = client.send(&account(), create(), plan, soon()).await.unwrap();
    let request = seen.texts().remove(0).to_lowercase();
    assert!(request.starts_with("post /api?secret=query-secret http/1.1\r\n"), "{request}");
    assert!(request.contains("accesstoken: header-secret\r\n"));
    assert!(request.contains("user-agent: wms-connector/"));
    let shown = format!("{sent:?} {client:?}");
    assert!(!shown.contains("-secret"), "{shown}");
}

#[tokio::test]
async fn the_vendors_clock_corrects_ours_only_after_a_refusal() {
    let (base, _) = serve(|_, _| {
        Box::pin(async {
            let date = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: 7";
            let head = format!("HTTP/1.1 200 OK\r\n{date}\r\nContent-Length: 0\r\n\r\n");
            (Some(head.into_bytes()), false)
        })
    })
    .await;
    let (client, _) = client(&base, ApiClientSettings::default());
    for (report, year) in [
        (Report::Refused, 2020..3000),
        (Report::ClockSkew, 2020..3000),
        (Report::Succeeded, 1994..1995),
    ] {
        let planned = Mutex::new(None);
        let plan = |attempt: &Attempt<'_>| {
            *planned.lock().unwrap() = Some((attempt.now, attempt.nonce_digits));
            post(Body::Empty)
        };
        let sent = client.send(&account(), create(), plan, soon()).await.unwrap();
        assert_eq!(sent.answer.retry_after, Some(Duration::from_secs(7)));
        client.report(&sent, report);
        let (now, _) = planned.lock().unwrap().unwrap();
        let found = i32::from(now.to_zoned(jiff::tz::TimeZone::UTC).year());
        assert!(year.contains(&found), "{now}");
    }
    let sent = client.send(&account(), create(), json, soon()).await.unwrap();
    assert_eq!(sent.nonce_digits, 9);
    client.report(&sent, Report::NonceFormat);
    let sent = client.send(&account(), create(), json, soon()).await.unwrap();
    assert_eq!(sent.nonce_digits, 2);
}

#[tokio::test]
async fn an_open_circuit_sends_one_probe_and_a_stopped_account_says_why() {
    let (base, seen) = serve(|_, _| Box::pin(async { ok("{}") })).await;
    let circuit = CircuitSettings {
        failures: 2,
        probe_after: Duration::from_millis(200),
        full_concurrency: 8,
    };
    let settings = ApiClientSettings { circuit, ..ApiClientSettings::default() };
    let (client, counts) = client(&base, settings);
    for _ in 0..2 {
        let sent = client.send(&account(), create(), json, soon()).await.unwrap();
        client.report(&sent, Report::Transient { retry_after: None });
    }
    assert_eq!(client.circuit_states(), [(account(), CircuitState::Open)]);
    let error = client.send(&account(), create(), json, soon()).await.unwrap_err();
    assert!(matches!(error, SendError::CircuitOpen { .. }));

    client.wait_until_open(&account(), create()).await;
    // What fails meanwhile counts no more than before: that a probe may be sent, or is out, does
    // not say that the vendor is back.
    assert!(client.circuit_is_open(&account(), "create"), "a probe may be sent");
    let probe = client.send(&account(), create(), json, soon()).await.unwrap();
    assert!(client.circuit_is_open(&account(), "create"), "a probe is out");
    let beside = client.send(&account(), create(), json, soon()).await.unwrap_err();
    assert!(matches!(beside, SendError::CircuitOpen { .. }));
    drop(probe);
    let probe = client.send(&account(), create(), json, soon()).await.unwrap();
    client.report(&probe, Report::Refused);
    assert_eq!(client.circuit_states(), [(account(), CircuitState::Closed)]);
    assert!(!client.circuit_is_open(&account(), "create"));
    assert_eq!(seen.count("POST"), 4);

    let sent = client.send(&account(), create(), json, soon()).await.unwrap();
    client.report(&sent, Report::Misconfigured { message: "add the address".to_owned() });
    client.report(&sent, Report::Succeeded);
    let error = client.send(&account(), create(), json, soon()).await.unwrap_err();
    assert_eq!(error, SendError::Stopped { message: "add the address".to_owned() });
    let counts = counts.0.lock().unwrap();
    let count = |class| counts.get(&("create".to_owned(), class)).copied().unwrap_or(0);
    assert_eq!(count(RequestClass::Transient), 2);
    assert_eq!(count(RequestClass::Unjudged), 1);
    assert_eq!((count(RequestClass::Refused), count(RequestClass::Misconfigured)), (1, 1));
}

#[tokio::test]
async fn waiting_callers_move_on_as_the_slow_start_grows() {
    let (base, seen) = serve(|_, _| Box::pin(async { ok("{}") })).await;
    let circuit =
        CircuitSettings { failures: 1, probe_after: Duration::ZERO, full_concurrency: 256 };
    let settings = ApiClientSettings { circuit, ..ApiClientSettings::default() };
    let (client, _) = client(&base, settings);
    for report in [Report::Transient { retry_after: None }, Report::Succeeded] {
        let sent = client.send(&account(), create(), json, soon()).await.unwrap();
        client.report(&sent, report);
    }
    let calls = (0..40).map(async |_| {
        let sent = client.send(&account(), create(), json, soon()).await.unwrap();
        client.report(&sent, Report::Succeeded);
    });
    futures_util::future::join_all(calls).await;
    assert_eq!(seen.count("POST"), 42);
    assert!(seen.connections.load(Ordering::SeqCst) <= 40);
}

#[tokio::test]
async fn calls_that_are_given_up_while_they_wait_leave_the_limit_as_it_was() {
    let (base, seen) = serve(|_, _| Box::pin(async { ok("{}") })).await;
    let limits = vec![("create".to_owned(), 2, Duration::from_secs(60))];
    let client = client_with_limits(&base, limits);
    let name = account();
    let send = |left| client.send(&name, create(), json, Instant::now() + left);
    for _ in 0..2 {
        let sent = send(Duration::from_secs(20)).await.unwrap();
        client.report(&sent, Report::Succeeded);
    }
    // Partitions with many look-ups are taken over and given back, again and again.
    for _ in 0..3 {
        let mut waiting: Vec<_> =
            (0..50).map(|_| Box::pin(send(Duration::from_secs(3600)))).collect();
        for call in &mut waiting {
            assert!(call.now_or_never().is_none());
        }
    }
    // There is room in a minute, not in an hour: this one waits for it, and is not refused.
    let mut next = Box::pin(send(Duration::from_secs(90)));
    assert!((&mut next).now_or_never().is_none());
    assert_eq!(seen.count("POST"), 2);
}

/// Some gateways pack what nobody asked them to, with the header or without.
#[tokio::test]
async fn a_packed_answer_is_read_within_the_limit() {
    use std::io::Write as _;
    let gzip = |text: &[u8]| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(text).unwrap();
        packed.finish().unwrap()
    };
    let zlib = |text: &[u8]| {
        let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(text).unwrap();
        packed.finish().unwrap()
    };
    let text = br#"{"code":0}"#;
    let answers = [
        (gzip(text), "content-encoding: gzip\r\n"),
        (gzip(text), ""),
        (zlib(text), "content-encoding: deflate\r\n"),
        (text.to_vec(), "content-encoding: gzip\r\n"),
        (gzip(&[b' '; 100_000]), "content-encoding: gzip\r\n"),
    ];
    let count = answers.len();
    let (base, _) = serve(move |number, _| {
        let (body, header) = answers[number].clone();
        Box::pin(async move {
            let length = body.len();
            let head = format!("HTTP/1.1 200 OK\r\n{header}content-length: {length}\r\n\r\n");
            (Some([head.into_bytes(), body].concat()), false)
        })
    })
    .await;
    let settings = ApiClientSettings { max_body: 50_000, ..ApiClientSettings::default() };
    let (client, _) = client(&base, settings);
    for number in 0..count - 1 {
        let sent = client.send(&account(), create(), json, soon()).await.unwrap();
        assert_eq!(sent.answer.body, text, "{number}");
        client.report(&sent, Report::Succeeded);
    }
    let error = client.send(&account(), create(), json, soon()).await.unwrap_err();
    assert!(matches!(error, SendError::BodyTooLarge), "{error:?}");
}
