//! What the connector does to one webhook between its last byte and the producer, stage by stage,
//! on one thread: where the distance between the two columns of the webhooks' benchmark comes from.
//!
//! `cargo bench --bench stages`. Under `valgrind --tool=callgrind` the same counts instructions,
//! which other work on the machine does not disturb. Settings: `BENCH_LINES` (`1,50`),
//! `BENCH_TIMES` (20,000).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement fails loudly and prints what it found"
)]

mod body;

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use bytes::Bytes;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use wms_connector::{
    avro::Encoders,
    domain::{AccountName, Received, SignatureHint, Webhook},
    kafka::{CloudEvent, TraceParent},
    vendors::{Vendor, jfwms::Jfwms},
};

fn main() {
    let times: usize = std::env::var("BENCH_TIMES").map_or(20_000, |n| n.parse().unwrap());
    let lines = std::env::var("BENCH_LINES").unwrap_or_else(|_| "1,50".to_owned());
    let settings = format!("client_id = \"c\"\nclient_secret = \"{}\"", body::SECRET);
    let account = AccountName::new("bench").unwrap();
    let vendor = Jfwms::new(account.clone(), toml::from_str(&settings).unwrap()).unwrap();
    let encoders = Encoders::single_object().unwrap();
    let hint = SignatureHint { known: [Some("raw-data-first"), None], further: true };
    let trace = TraceParent::start(1, 2);
    println!(
        "lines  bytes | verify  decode  encode  headers   all, ns | md5  sha256 of the body, ns"
    );
    for lines in lines.split(',').map(|n| n.parse().unwrap()) {
        let body = Bytes::from(body::body(7, lines));
        let mut spent = [Duration::ZERO; 4];
        for _ in 0..times {
            let begun = Instant::now();
            let webhook = Webhook::new(Received {
                account: account.clone(),
                body: body.clone(),
                headers: vec![("host".into(), "bench".into())],
                query: Vec::new(),
                form: None,
                received_at: Timestamp::UNIX_EPOCH,
            });
            let webhook = vendor.verify(webhook, hint).unwrap();
            let verified = Instant::now();
            let event = vendor.decode(&webhook, &|_| Some(account.clone())).unwrap();
            let decoded = Instant::now();
            let datum = encoders.event(&event).unwrap();
            black_box(datum);
            let encoded = Instant::now();
            let headers = CloudEvent {
                id: event.id.as_str(),
                source: "/jfwms/bench",
                event_type: "com.jfwms.orderCreate",
                time: event.received_at,
                subject: event.document_number.as_deref(),
                content_type: "application/avro",
                trace: &trace,
            }
            .headers();
            black_box(headers);
            drop((event, webhook));
            let stages =
                [verified - begun, decoded - verified, encoded - decoded, encoded.elapsed()];
            for (sum, stage) in spent.iter_mut().zip(stages) {
                *sum += stage;
            }
        }
        let each = |spent: Duration| spent.as_nanos() / times as u128;
        let digest = |digest: &dyn Fn()| {
            let begun = Instant::now();
            (0..times).for_each(|_| digest());
            each(begun.elapsed())
        };
        let md5 = digest(&|| _ = black_box(md5::Md5::digest(black_box(&body))));
        let sha256 = digest(&|| _ = black_box(Sha256::digest(black_box(&body))));
        let [verify, decode, encode, headers] = spent.map(each);
        println!(
            "{lines:5} {:6} | {verify:6} {decode:7} {encode:7} {headers:8} {:9} | {md5} {sha256}",
            body.len(),
            each(spent.iter().sum())
        );
    }
}
