//! One request at one of the vendors: faults, the work, the answer, the entry in the books.

use std::future::ready;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE, RETRY_AFTER};
use axum::http::{HeaderValue, Response, StatusCode};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use jiff::SignedDuration;

use super::books::Arrival;
use super::faults::{Fault, RetryAfter};
use super::server::Line;
use super::time::{http_date, vendor_now};
use super::{Shared, Vendor};

/// How long the first half of a truncated answer has to reach the caller.
const BEFORE_THE_END: Duration = Duration::from_millis(50);

/// What a vendor answers.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: String,
    /// The vendor's code, for the books.
    pub(super) code: String,
    /// The document that it is about, for the books.
    pub(super) document: Option<String>,
}

impl Answer {
    pub(super) fn about(mut self, document: Option<String>) -> Self {
        self.document = document;
        self
    }
}

/// Who asks for what.
#[derive(Debug)]
pub(super) struct Visit<'a> {
    pub(super) vendor: Vendor,
    pub(super) line: &'a Line,
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) service_type: Option<&'a str>,
}

/// How a vendor refuses by order of a fault: code, message, and whether inside a success.
pub(super) type Refuse = fn(&Shared, &str, Option<&str>, bool) -> Answer;

/// Serves one request. `work` is not interrupted: it happens whole or not at all.
pub(super) async fn exchange(
    shared: &Shared,
    visit: Visit<'_>,
    refuse: Refuse,
    work: impl FnOnce() -> Answer + Send,
) -> Response<Body> {
    let names: Vec<&str> = [visit.path].into_iter().chain(visit.service_type).collect();
    let faults = shared.faults.strike(visit.vendor, &names);
    let entry = shared.books.arrived(Arrival {
        vendor: visit.vendor,
        method: visit.method,
        path: visit.path,
        service_type: visit.service_type,
        faults: faults.iter().map(|fault| fault.name().to_owned()).collect(),
    });
    for fault in &faults {
        match fault {
            Fault::Latency { ms, jitter_ms, after_work: false } => {
                rest(shared, shared.faults.pause(*ms, *jitter_ms)).await;
            }
            Fault::ExpireTokens => shared.expire_tokens(),
            _ => {}
        }
    }
    let offset = shared.clock_offset(visit.vendor);
    if let Some(refused) = instead_of_work(shared, &visit, refuse, &faults, entry, offset) {
        return refused;
    }
    let answer = work();
    let document = answer.document.as_deref();
    shared.books.decided(entry, answer.status.as_u16(), &answer.code, document);
    for fault in &faults {
        if let Fault::Latency { ms, jitter_ms, after_work: true } = fault {
            rest(shared, shared.faults.pause(*ms, *jitter_ms)).await;
        }
    }
    spoiled(answer, &visit, &faults, offset)
}

/// The answer of a fault that keeps the work from being done.
fn instead_of_work(
    shared: &Shared,
    visit: &Visit<'_>,
    refuse: Refuse,
    faults: &[Fault],
    entry: u64,
    offset: i64,
) -> Option<Response<Body>> {
    let fault = faults.iter().find(|fault| {
        matches!(fault, Fault::DropBeforeWork | Fault::Refuse { .. } | Fault::Status { .. })
    })?;
    let response = match fault {
        Fault::Refuse { code, message, inner } => {
            let answer = refuse(shared, code, message.as_deref(), *inner);
            shared.books.decided(entry, answer.status.as_u16(), &answer.code, None);
            respond(answer.status, Body::from(answer.body), offset)
        }
        Fault::Status { status, retry_after, body } => {
            shared.books.decided(entry, *status, "", None);
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_GATEWAY);
            let mut response =
                respond(status, Body::from(body.clone().unwrap_or_default()), offset);
            if let Some(value) = retry_after.and_then(|after| retry_after_value(after, offset)) {
                response.headers_mut().insert(RETRY_AFTER, value);
            }
            response
        }
        _ => {
            shared.books.decided(entry, 0, "", None);
            visit.line.cut();
            Response::new(Body::empty())
        }
    };
    Some(response)
}

/// The answer, as far as the faults let it through.
fn spoiled(answer: Answer, visit: &Visit<'_>, faults: &[Fault], offset: i64) -> Response<Body> {
    if faults.contains(&Fault::DropAfterWork) {
        visit.line.cut();
        return Response::new(Body::empty());
    }
    if faults.contains(&Fault::Garbage) {
        return respond(answer.status, Body::from("<html>\u{fffd} not what you asked for"), offset);
    }
    if faults.contains(&Fault::Truncate) {
        return truncated(answer, offset);
    }
    respond(answer.status, Body::from(answer.body), offset)
}

/// Announces the whole answer, sends half of it and ends the connection.
fn truncated(answer: Answer, offset: i64) -> Response<Body> {
    let whole = Bytes::from(answer.body);
    let half = whole.slice(..whole.len() / 2);
    // The half must leave before the end comes: an error at once would take it along.
    let end = async {
        tokio::time::sleep(BEFORE_THE_END).await;
        Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))
    };
    let body = stream::once(ready(Ok(half))).chain(stream::once(end));
    let body = Body::from_stream(body);
    let mut response = respond(answer.status, body, offset);
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(whole.len()));
    response
}

fn respond(status: StatusCode, body: Body, offset: i64) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json;charset=UTF-8"));
    // hyper would set the real time; the vendor's clock may be off.
    if let Ok(date) = HeaderValue::from_str(&http_date(vendor_now(offset))) {
        headers.insert(DATE, date);
    }
    response
}

fn retry_after_value(after: RetryAfter, offset: i64) -> Option<HeaderValue> {
    match after {
        RetryAfter::Seconds(seconds) => Some(HeaderValue::from(seconds)),
        RetryAfter::DateIn(seconds) => {
            let pause = SignedDuration::from_secs(i64::try_from(seconds).ok()?);
            let at = vendor_now(offset).checked_add(pause).ok()?;
            HeaderValue::from_str(&http_date(at)).ok()
        }
    }
}

/// A pause that ends early when the sandbox does.
async fn rest(shared: &Shared, pause: Duration) {
    shared.cancel.run_until_cancelled(tokio::time::sleep(pause)).await;
}
