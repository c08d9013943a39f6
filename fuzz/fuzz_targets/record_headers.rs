//! What a command's record holds beside its value: header names and values, a key, the metadata of a
//! commit. Another client may have written any bytes there, and whatever they are, the command is
//! answered and the partition goes on.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use wms_connector::{
    commands::{
        Coordinates, Record,
        offsets::{METADATA_LIMIT, Progress},
        replay,
        replies::{self, Destination, Form},
    },
    kafka::ReadHeaders,
};
use wms_kafka_raw::RawHeader;

/// Cuts a piece off: its length is the first byte.
fn piece<'a>(input: &mut &'a [u8]) -> &'a [u8] {
    let Some((length, rest)) = input.split_first() else { return &[] };
    let (piece, rest) = rest.split_at(usize::from(*length).min(rest.len()));
    *input = rest;
    piece
}

/// The names that mean something, so that the fuzzer need not find them.
const NAMES: [&[u8]; 8] = [
    b"ce_type",
    b"ce_id",
    b"kafka_replyTopic",
    b"kafka_replyPartition",
    b"kafka_correlationId",
    b"traceparent",
    b"__connect.errors.topic",
    b"content-type",
];

fuzz_target!(|input: &[u8]| {
    let mut input = input;
    let metadata = piece(&mut input);
    let key = piece(&mut input);
    let mut raw = Vec::new();
    while !input.is_empty() && raw.len() < 64 {
        let name = piece(&mut input);
        let name = match name {
            [known] => NAMES[usize::from(*known) % NAMES.len()],
            other => other,
        };
        let value = piece(&mut input);
        raw.push(RawHeader {
            name: name.to_vec(),
            value: (!value.is_empty()).then(|| value.to_vec()),
        });
    }
    let texts = raw.iter().filter(|header| std::str::from_utf8(&header.name).is_ok()).count();
    let all = raw.len();
    let read = ReadHeaders::from_raw(raw);
    assert_eq!(read.headers.len(), texts);
    assert_eq!(read.unreadable.is_some(), texts < all);
    assert!(read.unreadable.as_ref().is_none_or(|name| name.is_ascii() && name.len() <= 64));

    let record = Record {
        at: Coordinates { topic: Arc::from("wms.commands"), partition: 0, offset: 7 },
        key: Some(key.to_vec()),
        payload: Some(b"{}".to_vec()),
        headers: read.headers,
        unreadable_header: read.unreadable,
        timestamp: None,
    };
    let allowed = ["wms.replies".to_owned(), "wms.replies.*".to_owned()];
    let destination = Destination::of(&record, "wms.replies", &allowed);
    assert!(destination.topic == "wms.replies" || destination.topic.starts_with("wms.replies."));
    assert!(destination.partition.is_none_or(|partition| partition >= 0));
    let _form = Form::of(true, &destination, "wms.replies");
    let trace = replies::trace(&record, 1);
    assert!(trace.as_str().starts_with("00-") && trace.as_str().len() == 55);
    let _letter = replay::Letter::of(&record.headers);

    // A commit's metadata is what it says, however often it is written again.
    let text = String::from_utf8_lossy(metadata);
    for position in [0, 7, i64::MAX - 1] {
        let progress = Progress::decode(position, &text);
        if let Some(again) = progress.encode(position, METADATA_LIMIT) {
            let read = Progress::decode(position, &again);
            assert_eq!(read.begun, progress.begun);
            assert!(read.finished.len() <= progress.finished.len());
        }
    }
});
