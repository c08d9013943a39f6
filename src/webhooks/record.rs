//! The record a verified webhook becomes.

use super::Account;
use crate::{
    avro::Encoders,
    domain::{AccountName, Event, Unrecognized, Verified, Webhook},
    kafka::{CloudEvent, Headers, OutgoingRecord, TraceParent},
};

/// The headers that say what is known of the body of a record on `unrecognized`.
pub(super) const ACCOUNT: &str = "wms_account";
pub(super) const TYPE: &str = "wms_type";
pub(super) const REASON: &str = "wms_reason";

/// Where the records of an account come from (CloudEvents' `source`).
pub fn source(vendor: &str, account: &AccountName) -> String {
    format!("/{vendor}/{account}")
}

/// The record of an event: its type's topic, its document's number as key.
pub(super) fn event(
    encoders: &Encoders,
    account: &Account,
    event: &Event,
    trace: &TraceParent,
) -> Result<OutgoingRecord, String> {
    let name = event.event_type.name;
    let topic = account.topics.get(name).ok_or_else(|| format!("no topic for type {name}"))?;
    let payload = encoders.event(event).map_err(|error| error.to_string())?;
    let vendor = account.vendor.name();
    let headers = CloudEvent {
        id: event.id.as_str(),
        source: &source(vendor, &event.account),
        event_type: &format!("com.{vendor}.{name}"),
        time: event.sent_at.unwrap_or(event.received_at),
        subject: event.document_number.as_deref(),
        content_type: "application/avro",
        trace,
    }
    .headers();
    Ok(OutgoingRecord {
        topic: topic.clone(),
        partition: None,
        key: event.document_number.clone().map(String::into_bytes),
        payload: Some(payload),
        headers,
        timestamp: None,
    })
}

/// The raw body, byte for byte, with what is known about it.
pub(super) fn unrecognized(
    account: &Account,
    webhook: &Webhook<Verified>,
    reason: &Unrecognized,
    trace: &TraceParent,
) -> OutgoingRecord {
    OutgoingRecord {
        topic: account.unrecognized_topic.clone(),
        payload: Some(webhook.received().body.to_vec()),
        headers: unrecognized_headers(account, webhook, reason, trace),
        ..OutgoingRecord::default()
    }
}

/// The headers of a record that holds the raw body, or a part of it.
pub(super) fn unrecognized_headers(
    account: &Account,
    webhook: &Webhook<Verified>,
    reason: &Unrecognized,
    trace: &TraceParent,
) -> Headers {
    let received = webhook.received();
    let verified = webhook.state();
    let vendor = account.vendor.name();
    let content_type = header_of(&received.headers, "content-type");
    let mut headers = CloudEvent {
        id: verified.event_id.as_str(),
        source: &source(vendor, &account.name),
        event_type: &format!("com.{vendor}.unrecognized"),
        time: received.received_at,
        subject: None,
        content_type: content_type.unwrap_or("application/octet-stream"),
        trace,
    }
    .headers();
    for (name, value) in [
        (ACCOUNT, account.name.as_str()),
        (TYPE, verified.type_name.as_str()),
        (REASON, reason.to_string().as_str()),
    ] {
        headers.push((name.to_owned(), Some(crate::kafka::printable(value))));
    }
    headers
}

/// The trace a webhook belongs to: the sender's where it is trusted, else one that starts here.
pub(super) fn trace(webhook: &Webhook<Verified>, trust_traceparent: bool) -> TraceParent {
    let given = header_of(&webhook.received().headers, "traceparent")
        .filter(|_| trust_traceparent)
        .and_then(TraceParent::parse);
    given.unwrap_or_else(|| TraceParent::start(rand::random(), rand::random()))
}

/// The value of the first header of that name.
pub(super) fn header_of<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
}
