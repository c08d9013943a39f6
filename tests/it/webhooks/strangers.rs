//! Senders nobody knows: they take connections, bytes and headers, and no authentic webhook is refused
//! for it.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use serde_json::json;

use super::only_webhooks;
use crate::support::{
    app::{JFWMS, Options, PATIENCE, TestApp},
    backend::{TestEnv, blocking},
    suite::tests,
    vendor,
    wire::{self, Answer, Unfinished},
};

tests! {
    mock: one_source_cannot_take_the_bytes, large_bodies_leave_room_for_small_ones,
        a_large_body_that_stalls_is_cut_off, headers_have_a_bound,
        one_source_cannot_take_the_connections;
}

/// A body that is announced and begun, and goes no further; behind a proxy, from this address.
fn stalled(address: SocketAddr, source: &str, bytes: usize) -> Unfinished {
    let head = format!("x-forwarded-for: {source}\r\ncontent-length: {}", bytes + 1);
    Unfinished::begin(address, JFWMS, &head, &"{".repeat(bytes))
}

async fn authentic(app: &TestApp, number: &str) -> Answer {
    let order = vendor::jfwms("order", &vendor::order(number));
    wire::post(app, JFWMS, &[("x-forwarded-for", "203.0.113.9")], order).await
}

/// `trusted_proxies` lets one address stand for many.
fn behind_a_proxy(more: &str) -> Options {
    let ingress = format!("trusted_proxies = [\"127.0.0.1/32\"]\n{more}");
    Options { ingress, ..only_webhooks() }
}

/// Waits until so many webhooks are being received.
async fn receiving(app: &TestApp, count: usize) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let line = format!("wms_in_flight{{pipeline=\"webhooks\"}} {count}\n");
    while !app.metrics().await.contains(&line) {
        assert!(tokio::time::Instant::now() < deadline, "never {count}: {}", app.metrics().await);
    }
}

async fn one_source_cannot_take_the_bytes(env: &TestEnv) {
    let options =
        behind_a_proxy("max_body = \"1MiB\"\nmax_receiving_bytes_per_source = \"1MiB\"\n");
    let app = TestApp::start_with(env, options).await;
    let address = app.running.webhooks.unwrap();
    let held: Vec<_> = (0..3).map(|_| stalled(address, "198.51.100.1", 300_000)).collect();
    receiving(&app, 3).await;
    let whole = "{".repeat(300_000);
    let refused = wire::post(&app, JFWMS, &[("x-forwarded-for", "198.51.100.1")], whole).await;
    assert_eq!(refused.code(), (503, json!(1)));
    let other = stalled(address, "198.51.100.2", 300_000);
    receiving(&app, 4).await;
    assert_eq!(authentic(&app, "1").await.code(), (200, json!(0)));
    drop((held, other));
    receiving(&app, 0).await;
    // What they held is free again.
    let _held: Vec<_> = (0..3).map(|_| stalled(address, "198.51.100.1", 300_000)).collect();
    receiving(&app, 3).await;
    app.stop().await.unwrap();
}

/// Strangers of many addresses, each within its part.
async fn large_bodies_leave_room_for_small_ones(env: &TestEnv) {
    let options = behind_a_proxy("max_body = \"1MiB\"\nmax_in_flight_bytes = \"4MiB\"\n");
    let app = TestApp::start_with(env, options).await;
    let address = app.running.webhooks.unwrap();
    let mut held = Vec::new();
    let mut refused = 0;
    for n in 0..12 {
        let request = stalled(address, &format!("198.51.100.{n}"), 400_000);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        let metrics = app.metrics().await;
        let unavailable = "outcome=\"unavailable\",type=\"none\"} ";
        let line = metrics.lines().find(|l| l.contains(unavailable) && l.contains(JFWMS)).unwrap();
        refused = line.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
        held.push(request);
    }
    assert!(refused > 0, "the bodies of this test are too few");
    for n in 0..5 {
        assert_eq!(authentic(&app, &n.to_string()).await.code(), (200, json!(0)));
    }
    app.stop.cancel();
    drop(held);
    app.stop().await.unwrap();
}

async fn a_large_body_that_stalls_is_cut_off(env: &TestEnv) {
    // Without a floor nobody would be cut off while this test waits.
    let options = behind_a_proxy("read_timeout = \"10m\"\n");
    let app = TestApp::start_with(env, options).await;
    let address = app.running.webhooks.unwrap();
    let large = stalled(address, "198.51.100.1", 100_000);
    // A small one may take its time.
    let order = vendor::jfwms("order", &vendor::order("slow"));
    let (mut small, rest) = Unfinished::half(address, JFWMS, &order);
    assert_eq!(large.answer().await.code(), (400, json!(10001)));
    small.write(&rest);
    assert_eq!(small.answer().await.code(), (200, json!(0)));
    app.stop().await.unwrap();
}

async fn headers_have_a_bound(env: &TestEnv) {
    let app = TestApp::start_with(env, only_webhooks()).await;
    let address = app.running.webhooks.unwrap();
    let order = vendor::jfwms("order", &vendor::order("1"));
    let small = "x".repeat(20_000);
    let taken = wire::post(&app, JFWMS, &[("x-large", &small)], order.clone()).await;
    assert_eq!(taken.code(), (200, json!(0)));
    // No end is in sight.
    let answered = blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = format!("POST /webhooks/{JFWMS} HTTP/1.1\r\nhost: test\r\nx-large: ");
        stream.write_all(head.as_bytes()).unwrap();
        // It may be closed before all of it is written.
        stream.write_all(&vec![b'x'; 64 * 1024]).ok();
        let mut text = Vec::new();
        stream.read_to_end(&mut text).ok();
        String::from_utf8_lossy(&text).into_owned()
    });
    let answered = answered.await;
    assert!(answered.is_empty() || answered.starts_with("HTTP/1.1 431 "), "{answered}");
    let metrics = app.metrics().await;
    let series = "wms_connections_refused_total{reason=\"large-header\"} 1";
    assert!(metrics.contains(series), "{metrics}");
    app.stop().await.unwrap();
}

async fn one_source_cannot_take_the_connections(env: &TestEnv) {
    let ingress = "max_connections_per_source = 2\n".to_owned();
    let app = TestApp::start_with(env, Options { ingress, ..only_webhooks() }).await;
    let address = app.running.webhooks.unwrap();
    let order = |number: &str| vendor::jfwms("order", &vendor::order(number));
    let (mut first, rest) = Unfinished::half(address, JFWMS, &order("1"));
    let (second, _) = Unfinished::half(address, JFWMS, &order("2"));
    receiving(&app, 2).await;
    let (third, _) = Unfinished::half(address, JFWMS, &order("3"));
    let told = third.answer().await;
    assert_eq!((told.status, told.header("connection")), (503, Some("close")), "{told:?}");
    let metrics = app.metrics().await;
    let series = "wms_connections_refused_total{reason=\"source\"} 1";
    assert!(metrics.contains(series), "{metrics}");
    // Another address has its own.
    let client = reqwest::Client::builder().local_address(Some([127, 0, 0, 2].into()));
    let request = client.build().unwrap().post(app.webhook_url(JFWMS)).body(order("4"));
    let other = wire::answer(request.send().await.unwrap()).await;
    assert_eq!(other.code(), (200, json!(0)));
    // A connection that ends makes room.
    first.write(&rest);
    assert_eq!(first.answer().await.code(), (200, json!(0)));
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while wire::post(&app, JFWMS, &[], order("5")).await.status != 200 {
        assert!(tokio::time::Instant::now() < deadline, "no place became free");
    }
    drop(second);
    app.stop().await.unwrap();
}
