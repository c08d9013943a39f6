//! What a vendor, or something between it and us, answers: to an operation, to a look-up, to a request
//! for tokens. Whatever it is, it is judged; and only a success says that something is in place.
#![no_main]

use std::sync::LazyLock;

use futures_util::FutureExt;
use libfuzzer_sys::fuzz_target;
use wms_connector::{
    avro::{CommandReader, Limits},
    domain::{Command, LookUp, Operation, VendorAnswer, Verdict},
    vendors::Vendor,
};
use wms_connector_fuzz::{JFWMS, QIANYI};

static COMMANDS: LazyLock<Vec<Command>> = LazyLock::new(|| {
    let reader = CommandReader::new(None, Limits::default());
    let texts = [
        r#"{"account":"fuzzed","orderNumber":"N1","platformOrderNumber":"P1","shop":"S",
            "recipient":{"name":"A","country":"US","city":"C","address1":"A1"},
            "lines":[{"sku":"S1","quantity":2}]}"#,
        r#"{"account":"fuzzed","orderNumber":"N1","shop":"S"}"#,
        r#"{"account":"fuzzed","asnNumber":"N1","warehouse":"W","trackingNumbers":["T"],
            "lines":[{"sku":"S1","quantity":2}]}"#,
        r#"{"account":"fuzzed","asnNumber":"N1"}"#,
        r#"{"account":"fuzzed","path":"/api/warehouse/getList","body":{}}"#,
    ];
    let operations = [
        Operation::CreateOrder,
        Operation::CancelOrder,
        Operation::CreateAsn,
        Operation::CancelAsn,
        Operation::Call,
    ];
    operations
        .into_iter()
        .zip(texts)
        .map(|(operation, text)| {
            let read = reader.read(Some(operation), std::iter::empty(), Some(text.as_bytes()));
            read.now_or_never().expect("nothing to wait for").expect("a command").command
        })
        .collect()
});

const STATUSES: [u16; 12] = [200, 201, 204, 301, 302, 400, 403, 404, 408, 413, 429, 503];

fuzz_target!(|input: &[u8]| {
    let [kind, status, body @ ..] = input else { return };
    let answer = VendorAnswer {
        status: STATUSES[usize::from(*status) % STATUSES.len()],
        retry_after: None,
        date: None,
        content_type: Some("application/json".to_owned()),
        body: body.to_vec(),
    };
    let succeeded = (200..300).contains(&answer.status);
    let command = &COMMANDS[usize::from(*kind) % COMMANDS.len()];
    for vendor in [&*JFWMS as &dyn Vendor, &*QIANYI] {
        match vendor.judge(command, &answer) {
            Verdict::Succeeded(_) | Verdict::Accepted(_) => {
                assert!(succeeded, "{} under HTTP {}", vendor.name(), answer.status);
            }
            Verdict::Blocked { status, .. } => {
                assert!((300..500).contains(&status));
            }
            _ => {}
        }
        match vendor.judge_look_up(command, &answer) {
            LookUp::Found { .. } => assert!(succeeded),
            LookUp::NotFound { .. } | LookUp::Ambiguous(_) | LookUp::Failed(_) => {}
        }
        if let Some(calls) = vendor.tokens() {
            let now = jiff::Timestamp::UNIX_EPOCH;
            if let Ok(tokens) = calls.read_tokens(&answer, now, None) {
                assert!(succeeded);
                assert!(!tokens.access_token.is_empty() && !tokens.user_id.is_empty());
            }
            let _code = calls.read_code(&answer).is_ok();
        }
    }
    assert!(!answer.unreadable("V").is_empty());
});
