//! The smaller things that others write: a commit's metadata, a sealed token, `traceparent`, reply
//! headers, an HTTP date, `X-Forwarded-For`.
#![no_main]

use std::{net::IpAddr, sync::Arc};

use libfuzzer_sys::fuzz_target;
use wms_connector::{
    api_client::{Sealed, SealingKeys, http_date, seal::NONCE_BYTES},
    commands::{
        Coordinates, Record,
        offsets::{METADATA_LIMIT, Progress, Window},
        replies::Destination,
    },
    domain::Secret,
    kafka::{TraceParent, printable},
    webhooks::sender,
};
use wms_connector_fuzz::{SECRET, account};

fuzz_target!(|input: &[u8]| {
    let Some((kind, bytes)) = input.split_first() else { return };
    let text = String::from_utf8_lossy(bytes);
    match kind % 6 {
        0 => metadata(&text),
        1 => sealed(bytes),
        2 => {
            if let Some(trace) = TraceParent::parse(&text) {
                assert_eq!(trace.as_str(), text);
                assert_eq!(trace.as_str().len(), 55);
            }
            let shown = String::from_utf8(printable(&text)).expect("text stays text");
            assert!(!shown.chars().any(char::is_control));
        }
        3 => reply_headers(bytes),
        4 => {
            let now = jiff::Timestamp::UNIX_EPOCH;
            let _date = http_date::parse_date(&text);
            let _wait = http_date::parse_retry_after(&text, now);
        }
        _ => forwarded(&text),
    }
});

/// What is read of a commit's metadata is in order, and reads the same once written again.
fn metadata(text: &str) {
    const POSITION: i64 = 1_000;
    let progress = Progress::decode(POSITION, text);
    let mut at = POSITION;
    for &(first, last) in &progress.finished {
        assert!(at <= first && first <= last);
        at = last + 1;
    }
    assert!(progress.begun.is_sorted());
    assert!(progress.begun.first().is_none_or(|begun| *begun >= POSITION));
    let written = progress.encode(POSITION, usize::MAX).expect("there is room");
    assert_eq!(Progress::decode(POSITION, &written), progress);

    let mut window = Window::resume(Some((POSITION, text)), METADATA_LIMIT);
    window.fetch(POSITION + 3, None);
    window.finish(POSITION + 3);
    assert!(window.commit().is_none_or(|commit| commit.metadata.len() <= METADATA_LIMIT));
}

/// Nothing that we did not seal opens.
fn sealed(bytes: &[u8]) {
    let key = Secret::new("11".repeat(32));
    let keys = SealingKeys::new(&key, None).expect("a key");
    let ours = keys.seal(&account(), 1, [7; NONCE_BYTES], SECRET.as_bytes()).expect("sealed");
    let given = Sealed { ciphertext: bytes.to_vec(), ..ours.clone() };
    assert_eq!(keys.open(&account(), 1, &given).is_ok(), given == ours);
    if let Ok(key) = std::str::from_utf8(bytes) {
        let _keys = SealingKeys::new(&Secret::new(key), None);
    }
}

/// A reply goes where it may, whatever the headers say.
fn reply_headers(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let topic = parts.next().unwrap_or_default();
    let partition = parts.next();
    let mut headers = vec![("kafka_replyTopic".to_owned(), Some(topic.to_vec()))];
    headers.extend(partition.map(|p| ("kafka_replyPartition".to_owned(), Some(p.to_vec()))));
    let at = Coordinates { topic: Arc::from("wms.commands"), partition: 0, offset: 0 };
    let record =
        Record { at, key: None, payload: None, headers, unreadable_header: None, timestamp: None };
    let allowed = ["wms.replies.*".to_owned(), "a*b*c".to_owned()];
    let destination = Destination::of(&record, "wms.replies", &allowed);
    let is_allowed = destination.topic == "wms.replies"
        || destination.topic.starts_with("wms.replies.")
        || (destination.topic.starts_with('a') && destination.topic.ends_with('c'));
    assert!(is_allowed);
    assert!(destination.partition.is_none_or(|partition| partition >= 0));
    assert!(destination.error.is_none() || destination.topic == "wms.replies");
}

/// The sender is the peer unless a trusted proxy says otherwise, and never a proxy's inventor.
fn forwarded(text: &str) {
    let headers: Vec<&str> = text.split('\n').collect();
    let stranger: IpAddr = IpAddr::from([203, 0, 113, 5]);
    let proxies = ["10.0.0.0/8".parse().expect("a network")];
    assert_eq!(sender(stranger, &headers, &proxies), stranger);
    let proxy = IpAddr::from([10, 0, 0, 1]);
    let found = sender(proxy, &headers, &proxies);
    assert_eq!(found, found.to_canonical());
}
