//! Too large, too many, too slow: an answer all the same.

use serde_json::json;
use wms_connector::{
    app::{Parts, topics},
    sandbox::{Sandbox, SandboxSettings},
};

use super::only_webhooks;
use crate::support::{
    app::{self, JFWMS, Options, PATIENCE, QIANYI, TestApp},
    backend::TestEnv,
    suite::tests,
    vendor,
    wire::{self, Kept, Unfinished},
};

tests! {
    both: a_large_body_is_refused_however_it_is_sent, the_default_limit_holds,
        too_many_in_flight_are_told_to_come_back, too_many_bytes_in_flight_are_too_many,
        a_sender_that_stops_is_cut_off, a_connection_is_used_again,
        one_account_cannot_take_anothers_room, connections_beyond_the_bound_are_told,
        a_shutdown_answers_what_has_begun, a_large_inventory_count_is_one_record,
        a_connection_may_idle_longer_than_a_request_may_take, idle_connections_shut_nobody_out;
    mock: what_the_broker_calls_too_large_is_a_413, a_broker_that_refuses_is_a_503,
        a_passing_fault_is_not_the_senders_business;
    kafka: a_record_over_the_topics_limit_is_a_413,
        a_record_over_the_topics_limit_is_kept_in_parts, a_batch_over_the_limit_is_not_its_records_fault;
}

fn large(bytes: usize) -> String {
    let filler = "x".repeat(bytes);
    vendor::jfwms("order", &format!("{{\"erpNo\":\"L\",\"filler\":\"{filler}\"}}"))
}

/// Chunks of at most so many bytes, then the end.
fn chunked(body: &str, size: usize) -> String {
    let mut text = String::new();
    for chunk in body.as_bytes().chunks(size) {
        text += &format!("{:x}\r\n{}\r\n", chunk.len(), String::from_utf8_lossy(chunk));
    }
    text + "0\r\n\r\n"
}

async fn a_large_body_is_refused_however_it_is_sent(env: &TestEnv) {
    let ingress = "max_body = \"4KiB\"".to_owned();
    let app = TestApp::start_with(env, Options { ingress, ..only_webhooks() }).await;
    let address = app.running.webhooks.unwrap();
    let body = large(5_000);
    let whole = wire::post(&app, JFWMS, &[], body.clone()).await;
    assert_eq!(whole.code(), (413, json!(10001)));

    let chunks = chunked(&body, 1_000);
    let request = Unfinished::begin(address, JFWMS, "transfer-encoding: chunked", &chunks);
    assert_eq!(request.answer().await.code(), (413, json!(10001)));

    // Told by its length alone: nobody waits for what will not be taken.
    let request = Unfinished::begin(address, JFWMS, "content-length: 99999999999", "{");
    assert_eq!(request.answer().await.code(), (413, json!(10001)));

    let push =
        vendor::as_json(&vendor::push("PUSH_ASN_ORDER", &format!("[{}]", "1,".repeat(4_000))));
    let refused = wire::post(&app, QIANYI, &[], push).await;
    assert_eq!((refused.status, &refused.json()["state"]), (413, &json!("failure")));

    let small = chunked(&large(3_000), 100);
    let request = Unfinished::begin(address, JFWMS, "transfer-encoding: chunked", &small);
    assert_eq!(request.answer().await.code(), (200, json!(0)));
    assert_eq!(env.read_now(&env.name("jfwms.order")).await.len(), 1);
    app.stop().await.unwrap();
}

/// Far more than the sockets hold, so that the sender is still sending when it is refused.
async fn the_default_limit_holds(env: &TestEnv) {
    let app = TestApp::start_with(env, only_webhooks()).await;
    for n in 0..10 {
        let answer = wire::post(&app, JFWMS, &[], large(10_000_000)).await;
        assert_eq!(answer.code(), (413, json!(10001)), "{n}");
    }
    let chunks = chunked(&large(10_000_000), 64 * 1024);
    let address = app.running.webhooks.unwrap();
    let request = Unfinished::begin(address, JFWMS, "transfer-encoding: chunked", &chunks);
    assert_eq!(request.answer().await.code(), (413, json!(10001)));
    let taken = wire::post(&app, JFWMS, &[], large(700_000)).await;
    assert_eq!(taken.code(), (200, json!(0)));
    app.stop().await.unwrap();
}

async fn too_many_in_flight_are_told_to_come_back(env: &TestEnv) {
    let ingress = "max_in_flight = 2".to_owned();
    let app = TestApp::start_with(env, Options { ingress, ..only_webhooks() }).await;
    let address = app.running.webhooks.unwrap();
    let order = |number: &str| vendor::jfwms("order", &vendor::order(number));
    let (mut first, first_rest) = Unfinished::half(address, JFWMS, &order("1"));
    let (mut second, second_rest) = Unfinished::half(address, JFWMS, &order("2"));
    let in_flight = |n: u8| format!("wms_in_flight{{pipeline=\"webhooks\"}} {n}\n");
    until_metric(&app, &in_flight(2)).await;

    let refused = wire::post(&app, JFWMS, &[], order("3")).await;
    assert_eq!(refused.code(), (503, json!(1)));
    assert!(refused.header("retry-after").is_some_and(|after| after.parse::<u32>().is_ok()));
    let push = vendor::as_json(&vendor::push("PUSH_ASN_ORDER", "{\"asnNumber\":\"A\"}"));
    let refused = wire::post(&app, QIANYI, &[], push).await;
    assert_eq!((refused.status, &refused.json()["errorCode"]), (503, &json!("SYSTEM_ERROR")));
    assert!(refused.header("retry-after").is_some());

    first.write(&first_rest);
    second.write(&second_rest);
    assert_eq!(first.answer().await.code(), (200, json!(0)));
    assert_eq!(second.answer().await.code(), (200, json!(0)));
    until_metric(&app, &in_flight(0)).await;
    assert_eq!(wire::post(&app, JFWMS, &[], order("3")).await.code(), (200, json!(0)));
    app.stop().await.unwrap();
}

async fn too_many_bytes_in_flight_are_too_many(env: &TestEnv) {
    let ingress = "max_body = \"4KiB\"\nmax_in_flight_bytes = \"4KiB\"".to_owned();
    let app = TestApp::start_with(env, Options { ingress, ..only_webhooks() }).await;
    let address = app.running.webhooks.unwrap();
    let (mut first, rest) = Unfinished::half(address, JFWMS, &large(3_600));
    until_metric(&app, "wms_in_flight{pipeline=\"webhooks\"} 1\n").await;
    let mut refused;
    loop {
        // The first half may still be on its way.
        refused = wire::post(&app, JFWMS, &[], large(3_000)).await;
        if refused.status != 200 {
            break;
        }
    }
    assert_eq!(refused.code(), (503, json!(1)));
    assert!(refused.header("retry-after").is_some());
    first.write(&rest);
    assert_eq!(first.answer().await.status, 200);
    assert_eq!(wire::post(&app, JFWMS, &[], large(3_001)).await.status, 200);
    app.stop().await.unwrap();
}

/// One account sends slowly until it has no more room; the other is served all the same.
async fn one_account_cannot_take_anothers_room(env: &TestEnv) {
    let ingress =
        "max_in_flight = 4\nmax_body = \"4KiB\"\nmax_in_flight_bytes = \"64KiB\"".to_owned();
    let app = TestApp::start_with(env, Options { ingress, ..only_webhooks() }).await;
    let address = app.running.webhooks.unwrap();
    let order = |number: &str| vendor::jfwms("order", &vendor::order(number));
    // One of the four is reserved for each of the two accounts.
    let mut slow = Vec::new();
    for number in ["1", "2", "3"] {
        slow.push(Unfinished::half(address, JFWMS, &order(number)));
        let taken = slow.len();
        until_metric(&app, &format!("wms_in_flight{{pipeline=\"webhooks\"}} {taken}\n")).await;
    }
    let refused = wire::post(&app, JFWMS, &[], order("4")).await;
    assert_eq!(refused.code(), (503, json!(1)));
    for n in 0..20 {
        let push = vendor::push("PUSH_ASN_ORDER", &format!("{{\"asnNumber\":\"A{n}\"}}"));
        let served = wire::post(&app, QIANYI, &[], vendor::as_json(&push)).await;
        assert_eq!(served.status, 200, "{served:?}");
    }
    for (mut request, rest) in slow {
        request.write(&rest);
        assert_eq!(request.answer().await.code(), (200, json!(0)));
    }
    assert_eq!(wire::post(&app, JFWMS, &[], order("4")).await.code(), (200, json!(0)));
    app.stop().await.unwrap();
}

async fn connections_beyond_the_bound_are_told(env: &TestEnv) {
    let ingress = "max_connections = 2".to_owned();
    let app = TestApp::start_with(env, Options { ingress, ..only_webhooks() }).await;
    let address = app.running.webhooks.unwrap();
    let order = |number: &str| vendor::jfwms("order", &vendor::order(number));
    let (mut first, first_rest) = Unfinished::half(address, JFWMS, &order("1"));
    let (mut second, second_rest) = Unfinished::half(address, JFWMS, &order("2"));
    until_metric(&app, "wms_in_flight{pipeline=\"webhooks\"} 2\n").await;
    let (third, _) = Unfinished::half(address, JFWMS, &order("3"));
    let told = third.answer().await;
    assert_eq!((told.status, told.header("connection")), (503, Some("close")), "{told:?}");
    assert!(told.header("retry-after").is_some());
    first.write(&first_rest);
    second.write(&second_rest);
    assert_eq!(first.answer().await.code(), (200, json!(0)));
    assert_eq!(second.answer().await.code(), (200, json!(0)));
    // Their places are free as soon as they are closed.
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while wire::post(&app, JFWMS, &[], order("3")).await.status != 200 {
        assert!(tokio::time::Instant::now() < deadline, "no place became free");
    }
    app.stop().await.unwrap();
}

/// Connections without a request take no sender's place, however long they may be kept: the one that has
/// idled longest makes room. One that has begun a request is never closed for another.
async fn idle_connections_shut_nobody_out(env: &TestEnv) {
    let ingress = "max_connections = 3".to_owned();
    let app = TestApp::start_with(env, Options { ingress, ..only_webhooks() }).await;
    let address = app.running.webhooks.unwrap();
    let order = |number: &str| vendor::jfwms("order", &vendor::order(number));
    let (mut begun, rest) = Unfinished::half(address, JFWMS, &order("1"));
    until_metric(&app, "wms_in_flight{pipeline=\"webhooks\"} 1\n").await;
    let mut idle = Vec::new();
    for _ in 0..6 {
        let stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        idle.push(stream);
    }
    for number in ["2", "3"] {
        let answer = wire::post(&app, JFWMS, &[], order(number)).await;
        assert_eq!(answer.code(), (200, json!(0)), "{answer:?}");
    }
    // The first to come are the first to go.
    let mut first = idle.remove(0);
    let closed = crate::support::backend::blocking(move || {
        std::io::Read::read(&mut first, &mut [0; 16]).unwrap_or(0)
    });
    assert_eq!(closed.await, 0);
    let metrics = app.metrics().await;
    assert!(metrics.contains("wms_connections_refused_total{reason=\"idle\"} "), "{metrics}");
    begun.write(&rest);
    assert_eq!(begun.answer().await.code(), (200, json!(0)));
    app.stop().await.unwrap();
}

/// An idle connection is closed without a reset; what has begun is answered.
async fn a_shutdown_answers_what_has_begun(env: &TestEnv) {
    let app = TestApp::start_with(env, only_webhooks()).await;
    let address = app.running.webhooks.unwrap();
    let order = vendor::jfwms("order", &vendor::order("1"));
    let mut idle = std::net::TcpStream::connect(address).unwrap();
    idle.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut begun, rest) = Unfinished::half(address, JFWMS, &order);
    until_metric(&app, "wms_in_flight{pipeline=\"webhooks\"} 1\n").await;
    app.stop.cancel();
    let closed = crate::support::backend::blocking(move || {
        std::io::Read::read(&mut idle, &mut [0; 16]).unwrap()
    });
    assert_eq!(closed.await, 0);
    begun.write(&rest);
    let answer = begun.answer().await;
    assert_eq!(answer.code(), (200, json!(0)));
    assert_eq!(answer.header("connection"), Some("close"));
    app.stop().await.unwrap();
}

async fn until_metric(app: &TestApp, line: &str) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let metrics = app.metrics().await;
        if metrics.contains(line) {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{line} is not in {metrics}");
    }
}

async fn a_sender_that_stops_is_cut_off(env: &TestEnv) {
    let ingress = "read_timeout = \"1s\"".to_owned();
    let app = TestApp::start_with(env, Options { ingress, ..only_webhooks() }).await;
    let address = app.running.webhooks.unwrap();
    let (request, _) = Unfinished::half(address, JFWMS, &large(100));
    assert_eq!(request.answer().await.code(), (400, json!(10001)));
    until_metric(&app, "wms_in_flight{pipeline=\"webhooks\"} 0\n").await;
    app.stop().await.unwrap();
}

/// A balancer keeps its connections: what ends a request that stops does not end them.
async fn a_connection_may_idle_longer_than_a_request_may_take(env: &TestEnv) {
    let ingress = "read_timeout = \"700ms\"\nkeep_alive = \"3s\"".to_owned();
    let app = TestApp::start_with(env, Options { ingress, ..only_webhooks() }).await;
    let address = app.running.webhooks.unwrap();
    let idle = std::time::Duration::from_millis(1_200);
    let mut connection = Kept::open(address);
    let mut unfinished = Kept::open(address);
    unfinished.write("POST /webhooks/").await;
    tokio::time::sleep(idle).await;
    assert_eq!(unfinished.read_to_end().await, "", "its headers did not come to their end");
    // The second is refused before its body has come: the rest is no header of the next one.
    for (body, status) in [
        (vendor::jfwms("order", &vendor::order("1")), 200),
        (large(6_000_000), 413),
        (vendor::jfwms("order", &vendor::order("2")), 200),
    ] {
        let answer = connection.post(JFWMS, &body).await;
        assert_eq!((answer.status, answer.header("connection")), (status, None), "{answer:?}");
        tokio::time::sleep(idle).await;
    }
    // And it ends in the end.
    let begun = tokio::time::Instant::now();
    assert_eq!(connection.read_to_end().await, "");
    assert!(begun.elapsed() < std::time::Duration::from_secs(10));
    app.stop().await.unwrap();
}

/// A refused webhook must not spoil the connection for the next one of the vendor.
async fn a_connection_is_used_again(env: &TestEnv) {
    let app = TestApp::start_with(env, only_webhooks()).await;
    let address = app.running.webhooks.unwrap();
    let bodies = [
        "hello".to_owned(),
        vendor::framed("order", "{}", ""),
        vendor::jfwms("order", &vendor::order("K")),
    ];
    let mut requests = String::new();
    for (n, body) in bodies.iter().enumerate() {
        let last = if n + 1 == bodies.len() { "connection: close\r\n" } else { "" };
        requests += &format!(
            "POST /webhooks/{JFWMS} HTTP/1.1\r\nhost: test\r\n{last}content-length: {}\r\n\r\n{body}",
            body.len()
        );
    }
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    std::io::Write::write_all(&mut stream, requests.as_bytes()).unwrap();
    let text = crate::support::backend::blocking(move || {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut stream, &mut text).unwrap();
        text
    })
    .await;
    let statuses: Vec<_> = text.split("HTTP/1.1 ").skip(1).collect();
    assert_eq!(statuses.len(), 3, "{text}");
    for (status, found) in ["400", "401", "200"].iter().zip(statuses) {
        assert!(found.starts_with(status), "{text}");
    }
    app.stop().await.unwrap();
}

async fn what_the_broker_calls_too_large_is_a_413(env: &TestEnv) {
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
    let app = TestApp::start_with(env, only_webhooks()).await;
    let order = |number: &str| vendor::jfwms("order", &vendor::order(number));
    assert_eq!(wire::post(&app, JFWMS, &[], order("1")).await.status, 200);
    let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
    // As often as the connector may ask: alone, the record is no smaller.
    env.mock_cluster().unwrap().request_errors(RDKafkaApiKey::Produce, &[error, error]);
    assert_eq!(wire::post(&app, JFWMS, &[], order("2")).await.code(), (413, json!(10001)));
    env.mock_cluster().unwrap().clear_request_errors(RDKafkaApiKey::Produce);
    assert_eq!(wire::post(&app, JFWMS, &[], order("3")).await.status, 200);
    app.stop().await.unwrap();
}

async fn a_broker_that_refuses_is_a_503(env: &TestEnv) {
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
    let app = TestApp::start_with(env, only_webhooks()).await;
    let order = |number: &str| vendor::jfwms("order", &vendor::order(number));
    assert_eq!(wire::post(&app, JFWMS, &[], order("1")).await.status, 200);
    let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    env.mock_cluster().unwrap().request_errors(RDKafkaApiKey::Produce, &[error]);
    let refused = wire::post(&app, JFWMS, &[], order("2")).await;
    assert_eq!(refused.code(), (503, json!(1)));
    assert!(refused.header("retry-after").is_some());
    // What failed was not remembered as taken: sent again, it is written, as soon as the client
    // has asked the broker about the topic again.
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while wire::post(&app, JFWMS, &[], order("2")).await.status != 200 {
        assert!(tokio::time::Instant::now() < deadline, "the topic is given up");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(env.read_now(&env.name("jfwms.order")).await.len(), 2);
    app.stop().await.unwrap();
}

/// What Kafka's client can try again within the deadline is tried again, and written once.
async fn a_passing_fault_is_not_the_senders_business(env: &TestEnv) {
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
    let app = TestApp::start_with(env, only_webhooks()).await;
    let errors = [
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
    ];
    env.mock_cluster().unwrap().request_errors(RDKafkaApiKey::Produce, &errors);
    let body = vendor::jfwms("order", &vendor::order("1"));
    assert_eq!(wire::post(&app, JFWMS, &[], body).await.code(), (200, json!(0)));
    assert_eq!(env.read_now(&env.name("jfwms.order")).await.len(), 1);
    app.stop().await.unwrap();
}

/// A connector whose order topic takes records of at most 20,000 bytes.
async fn with_a_narrow_topic(env: &TestEnv) -> TestApp {
    let sandbox = Sandbox::start(SandboxSettings::default()).await.unwrap();
    let config = app::configuration(env, &Options::default(), &sandbox);
    let narrow = env.name("jfwms.order");
    for topic in topics::all(&config, 3, 1) {
        let limit = if topic.name == narrow { "20000" } else { "1048588" };
        // One partition, so that records meet in a batch.
        env.create_topic_with(&topic.name, 1, &[("max.message.bytes", limit)]).await;
    }
    TestApp::run(config, sandbox, Parts { webhooks: true, commands: false }).await
}

/// Text that does not compress.
fn noise(bytes: usize) -> String {
    (0..bytes / 32).map(|_| format!("{:032x}", rand::random::<u128>())).collect()
}

fn noisy(number: usize, bytes: usize) -> String {
    let noise = noise(bytes);
    vendor::jfwms("order", &format!("{{\"erpNo\":\"{number}\",\"noise\":\"{noise}\"}}"))
}

async fn a_record_over_the_topics_limit_is_a_413(env: &TestEnv) {
    let app = with_a_narrow_topic(env).await;
    let refused = wire::post(&app, JFWMS, &[], noisy(1, 60_000)).await;
    assert_eq!(refused.code(), (413, json!(10001)));
    assert_eq!(refused.header("retry-after"), None);
    assert_eq!(wire::post(&app, JFWMS, &[], noisy(2, 6_000)).await.code(), (200, json!(0)));
    let records = env.read_now(&env.name("jfwms.order")).await;
    assert_eq!(records.iter().map(|record| record.key()).collect::<Vec<_>>(), ["2"]);
    app.stop().await.unwrap();
}

/// What no topic takes in one record lies in parts on `unrecognized`, once however often it comes, and
/// together they are the body, byte for byte.
async fn a_record_over_the_topics_limit_is_kept_in_parts(env: &TestEnv) {
    let app = with_a_narrow_topic(env).await;
    let body = noisy(1, 1_300_000);
    for _ in 0..2 {
        let refused = wire::post(&app, JFWMS, &[], body.clone()).await;
        assert_eq!(refused.code(), (413, json!(10001)));
    }
    let parts = env.read_now(&env.name("jfwms.unrecognized")).await;
    let header = |name: &str| -> Vec<_> {
        parts.iter().map(|part| part.header(name).unwrap_or_default()).collect()
    };
    assert_eq!(header("wms_reason"), ["too-large"; 3]);
    assert_eq!(header("wms_type"), ["order"; 3]);
    assert_eq!(header("wms_part"), ["1", "2", "3"]);
    assert_eq!(header("wms_parts"), ["3"; 3]);
    let ids: std::collections::BTreeSet<_> = header("ce_id").into_iter().collect();
    assert_eq!(ids.len(), 3, "{ids:?}");
    let keys: std::collections::BTreeSet<_> = parts.iter().map(|part| part.key()).collect();
    assert_eq!(keys.len(), 1, "{keys:?}");
    let whole: Vec<u8> = parts.iter().flat_map(|part| part.value.clone().unwrap()).collect();
    assert!(whole == body.as_bytes(), "{} and {} bytes", whole.len(), body.len());
    let metrics = app.metrics().await;
    for line in [
        "wms_webhooks_total{account=\"jf-main\",outcome=\"too_large\",type=\"order\"} 2",
        "wms_webhooks_unrecognized_total{account=\"jf-main\",reason=\"too-large\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    app.stop().await.unwrap();
}

/// The largest inventory count that was seen, and one as large as the listener takes.
async fn a_large_inventory_count_is_one_record(env: &TestEnv) {
    let app = TestApp::start_with(env, only_webhooks()).await;
    for (number, lines) in [(1, 5_000), (2, 24_000)] {
        let line = |n: usize| {
            let sku = format!("SKU-{n:06}-{:08x}", rand::random::<u32>());
            format!(
                "{{\"sku\":\"{sku}\",\"total\":{n},\"locked\":0,\"available\":{n},\"nonGood\":0,\
                 \"totalChange\":-1,\"lockedChange\":null,\"availableChange\":-1,\"nonGoodChange\":null}}"
            )
        };
        let lines: Vec<_> = (0..lines).map(line).collect();
        let data = format!(
            "{{\"documentNo\":\"IC-{number}\",\"warehouseCode\":\"W1\",\"skuList\":[{}]}}",
            lines.join(",")
        );
        assert!(data.len() > 700_000, "{}", data.len());
        let answer = wire::post(&app, JFWMS, &[], vendor::jfwms("inventoryCount", &data)).await;
        assert_eq!(answer.code(), (200, json!(0)));
    }
    let records = env.read_all(&env.name("jfwms.inventory-count"), 2, PATIENCE).await;
    assert_eq!(records.len(), 2);
    app.stop().await.unwrap();
}

/// The broker refuses a whole batch that is over the topic's limit, though each record fits.
async fn a_batch_over_the_limit_is_not_its_records_fault(env: &TestEnv) {
    let app = with_a_narrow_topic(env).await;
    let mut posts = tokio::task::JoinSet::new();
    for number in 0..200 {
        let request = app.http.post(app.webhook_url(JFWMS)).body(noisy(number, 6_000));
        posts.spawn(async move { request.send().await.unwrap().status().as_u16() });
    }
    // One that is too large for itself does not take the others with it.
    let request = app.http.post(app.webhook_url(JFWMS)).body(noisy(200, 60_000));
    let oversized = request.send().await.unwrap().status().as_u16();
    let statuses = posts.join_all().await;
    let refused: Vec<_> = statuses.into_iter().filter(|status| *status != 200).collect();
    assert_eq!((refused, oversized), (vec![], 413));
    assert_eq!(env.read_now(&env.name("jfwms.order")).await.len(), 200);
    app.stop().await.unwrap();
}
