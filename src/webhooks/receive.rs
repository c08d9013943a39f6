//! One webhook, from its request to its answer.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc, time::Instant};

use axum::{
    body::{Body, BodyDataStream},
    extract::Request,
    http::{HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse as _, Response},
};
use subtle::ConstantTimeEq;
use tokio::runtime::RuntimeFlavor;

use super::{
    Account, AccountState, Retyped, Settings, Webhooks,
    body::{self, BodyError},
    durable::{self, NotKept},
    fairness::Permit,
    form,
    forms::Matched,
    lock,
    parts::InParts,
    recent::Seen,
    record,
    server::{Peer, json, status},
    source,
};
use crate::{
    clock,
    domain::{AccountName, Answer, Received, Refusal, Unrecognized, Unverified, Verified, Webhook},
    kafka::PublishError,
    metrics::Metrics,
    vendors,
};

/// When the sender of a webhook that could not be stored is asked to come back.
const RETRY_AFTER_SECONDS: &str = "5";
/// When the sender of a webhook whose signature was not tried in every form is asked to come back:
/// an address may cause further tries again in the next minute.
const RETRY_AFTER_A_MINUTE: &str = "60";

/// So many characters of what a sender wrote stand in a log line.
const LONGEST_VALUE: usize = 64;
/// So many of a reason, which may name a member of the body.
const LONGEST_REASON: usize = 256;
/// A larger body is checked and decoded off the threads that serve the others: it takes milliseconds.
const LARGE: usize = 64 * 1024;

/// How a webhook ended, for the metric `wms_webhooks_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Accepted,
    Duplicate,
    Unrecognized,
    Refused(Answer),
}

impl Outcome {
    /// What the alerts wait for, by account. These counters begin at zero, so that the first
    /// webhook is an increase; every other series begins with what it counts. Ten thousand
    /// accounts that receive nothing must not cost every type and outcome ten thousand times.
    const FROM_ZERO: [Self; 4] = [
        Self::Refused(Answer::WrongSignature),
        Self::Refused(Answer::Malformed),
        Self::Refused(Answer::TooLarge),
        Self::Refused(Answer::Unavailable),
    ];

    fn label(self) -> &'static str {
        match self {
            Self::Accepted | Self::Refused(Answer::Accepted) => "accepted",
            Self::Duplicate => "duplicate",
            Self::Unrecognized => "unrecognized",
            Self::Refused(Answer::UnknownAccount) => "unknown_account",
            Self::Refused(Answer::NoSignature) => "no_signature",
            Self::Refused(Answer::WrongSignature) => "wrong_signature",
            Self::Refused(Answer::SignatureNotTried) => "signature_not_tried",
            Self::Refused(Answer::AnotherApplication) => "another_application",
            Self::Refused(Answer::SourceNotAllowed) => "source_not_allowed",
            Self::Refused(Answer::Malformed) => "malformed",
            Self::Refused(Answer::TooLarge) => "too_large",
            Self::Refused(Answer::UnknownEncoding) => "unknown_encoding",
            Self::Refused(Answer::Unavailable) => "unavailable",
        }
    }

    fn answer(self) -> Answer {
        match self {
            Self::Accepted | Self::Duplicate | Self::Unrecognized => Answer::Accepted,
            Self::Refused(answer) => answer,
        }
    }
}

/// The type label of a webhook that was refused before its type could be believed.
const NO_TYPE: &str = "none";
/// The type label of an authentic webhook of a type nobody documented: never the sender's text,
/// which could be a new label value each time.
const UNKNOWN_TYPE: &str = "unrecognized";
/// The account label of a URL that names no account.
const NO_ACCOUNT: &str = "none";
/// How a webhook ends that names no account.
const UNKNOWN_ACCOUNT: Outcome = Outcome::Refused(Answer::UnknownAccount);

/// How requests end that are no webhook at all.
pub(super) const UNKNOWN_PATH: &str = "unknown_path";
pub(super) const METHOD_NOT_ALLOWED: &str = "method_not_allowed";

/// Lets the counters that alerts need exist from the start.
pub(super) fn declare_metrics(metrics: &Metrics, accounts: &[Account]) {
    for outcome in [UNKNOWN_ACCOUNT.label(), UNKNOWN_PATH, METHOD_NOT_ALLOWED] {
        metrics.webhook_exists(NO_ACCOUNT, NO_TYPE, outcome);
    }
    let mut topics = BTreeSet::new();
    for account in accounts {
        topics.extend(account.topics.values().chain([&account.unrecognized_topic]));
    }
    for topic in topics {
        metrics.publish_exists(topic);
    }
    metrics.webhook_accounts(
        accounts.iter().map(|account| account.name.as_str()),
        NO_TYPE,
        &Outcome::FROM_ZERO.map(Outcome::label),
        &Unrecognized::REASONS,
    );
}

/// A webhook that is done with: what it was and how it ended.
struct Done {
    type_label: &'static str,
    outcome: Outcome,
}

impl Done {
    fn refused(answer: Answer) -> Self {
        Self { type_label: NO_TYPE, outcome: Outcome::Refused(answer) }
    }
}

/// Whose webhook a request is, by its path.
pub(super) enum Called<'a> {
    /// There is no such account; its name, cut.
    Nobody(String),
    /// The account is right and the path secret is not.
    WrongSecret(&'a AccountState),
    Account(&'a AccountState),
}

/// Reads the path. What it returns borrows nothing of the request.
pub(super) fn called<'a>(
    webhooks: &'a Webhooks,
    account: &str,
    secret: Option<&str>,
) -> Called<'a> {
    let known = AccountName::new(account).ok().and_then(|name| webhooks.accounts.get(&name));
    match known {
        None => Called::Nobody(cut(account)),
        Some(state) if secret_matches(&state.account, secret) => Called::Account(state),
        Some(state) => Called::WrongSecret(state),
    }
}

/// Takes a request and gives its answer. Checks in the order of the contract: account and path
/// secret, source address, size, JSON, `data`, signature.
pub(super) async fn receive(
    webhooks: &Webhooks,
    peer: &Peer,
    called: Called<'_>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let mut body = body.into_data_stream();
    let (state, secret_is_right) = match called {
        Called::Account(state) => (state, true),
        Called::WrongSecret(state) => (state, false),
        Called::Nobody(name) => {
            tracing::warn!(name, sender = %peer.address, "a webhook was refused: no account has this name");
            discard(webhooks, peer, body);
            webhooks.metrics.webhook(NO_ACCOUNT, NO_TYPE, UNKNOWN_ACCOUNT.label());
            return unknown_account();
        }
    };
    let started = Instant::now();
    let done = if secret_is_right {
        process(webhooks, state, peer.address, parts, &mut body).await
    } else {
        wrong_secret(state, peer);
        Done { type_label: NO_TYPE, outcome: UNKNOWN_ACCOUNT }
    };
    if let Outcome::Refused(_) = done.outcome {
        discard(webhooks, peer, body);
    }
    webhooks.metrics.webhook_seconds(started.elapsed().as_secs_f64());
    let account = &state.account;
    webhooks.metrics.webhook(account.name.as_str(), done.type_label, done.outcome.label());
    let answer = done.outcome.answer();
    if answer == Answer::UnknownAccount {
        return unknown_account();
    }
    let mut response = json(status(answer), account.vendor.answer(answer));
    if let Some(seconds) = retry_after(answer) {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(seconds));
    }
    response
}

/// The same for a wrong path secret, whatever the vendor: nothing says that there is an account.
pub(super) fn unknown_account() -> Response {
    json(status(Answer::UnknownAccount), vendors::UNKNOWN_ACCOUNT_ANSWER)
}

/// Answers somebody who only tries an account's address, as a vendor's console does before it
/// takes it: it is right, and nothing is done.
pub(super) fn tried(webhooks: &Webhooks, peer: &Peer, called: &Called<'_>) -> Response {
    let account = match called {
        Called::Account(_) => return StatusCode::OK.into_response(),
        Called::WrongSecret(state) => {
            wrong_secret(state, peer);
            state.account.name.as_str()
        }
        Called::Nobody(name) => {
            tracing::warn!(name, sender = %peer.address, "an address was tried: no account has this name");
            NO_ACCOUNT
        }
    };
    webhooks.metrics.webhook(account, NO_TYPE, UNKNOWN_ACCOUNT.label());
    unknown_account()
}

fn wrong_secret(state: &AccountState, peer: &Peer) {
    let account = &state.account.name;
    tracing::warn!(%account, sender = %peer.address, "a webhook was refused: the path's secret is not the account's");
}

/// Counts and logs a request that is for no webhook's address at all.
pub(super) fn no_webhook(
    webhooks: &Webhooks,
    peer: &Peer,
    outcome: &str,
    reason: &'static str,
    body: Body,
) {
    tracing::warn!(sender = %peer.address, reason, "a request was refused");
    webhooks.metrics.webhook(NO_ACCOUNT, NO_TYPE, outcome);
    discard(webhooks, peer, body.into_data_stream());
}

/// What a stranger wrote, as a log line holds it.
fn cut(text: &str) -> String {
    text.escape_debug().take(LONGEST_VALUE).collect()
}

fn retry_after(answer: Answer) -> Option<&'static str> {
    match answer {
        Answer::Unavailable => Some(RETRY_AFTER_SECONDS),
        Answer::SignatureNotTried => Some(RETRY_AFTER_A_MINUTE),
        Answer::Accepted
        | Answer::UnknownAccount
        | Answer::NoSignature
        | Answer::WrongSignature
        | Answer::AnotherApplication
        | Answer::SourceNotAllowed
        | Answer::Malformed
        | Answer::TooLarge
        | Answer::UnknownEncoding => None,
    }
}

/// Reads what is left of a refused body beside the answer.
fn discard(webhooks: &Webhooks, peer: &Peer, body: BodyDataStream) {
    let connection = Arc::clone(&peer.connection);
    webhooks.discarding.spawn(async move {
        body::discard(body).await;
        connection.discarded();
    });
}

fn secret_matches(account: &Account, given: Option<&str>) -> bool {
    match (&account.path_secret, given) {
        (None, None) => true,
        (Some(secret), Some(given)) => {
            bool::from(secret.expose().as_bytes().ct_eq(given.as_bytes()))
        }
        (None, Some(_)) | (Some(_), None) => false,
    }
}

async fn process(
    webhooks: &Webhooks,
    state: &AccountState,
    peer: IpAddr,
    parts: Parts,
    body: &mut BodyDataStream,
) -> Done {
    let account = &state.account;
    let settings = &webhooks.settings;
    // Bytes that are no text must not hide what a proxy wrote behind them.
    let forwarded: Vec<_> = parts
        .headers
        .get_all("x-forwarded-for")
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .collect();
    let forwarded: Vec<&str> = forwarded.iter().map(|value| &**value).collect();
    let sender = source::sender(peer, &forwarded, &settings.trusted_proxies);
    if !account.allowed_sources.is_empty() && !source::contains(&account.allowed_sources, sender) {
        tracing::warn!(account = %account.name, %sender, "a webhook came from an address that is not allowed");
        return Done::refused(Answer::SourceNotAllowed);
    }
    let Some(_in_flight) = InFlight::enter(webhooks, state) else {
        return Done::refused(Answer::Unavailable);
    };
    let read = read(webhooks, state, sender, parts, body).await;
    let deadline = Instant::now() + settings.publish_timeout;
    let (webhook, _permit) = match read {
        Ok(read) => read,
        Err(error) => {
            tracing::warn!(account = %account.name, %sender, %error, "a webhook was refused");
            return Done::refused(error.answer());
        }
    };
    let verified = off_the_runtime(webhook.unverified().body.len(), || {
        verify(webhooks, state, sender, webhook)
    });
    let webhook = match verified {
        Ok(webhook) => webhook,
        Err(refusal) => {
            tracing::warn!(account = %account.name, %sender, %refusal, "a webhook was refused");
            return Done::refused(refusal.into());
        }
    };
    publish(webhooks, state, webhook, deadline).await
}

/// Reads a request whole: its body decompressed, and the fields of it where it is a form.
async fn read(
    webhooks: &Webhooks,
    state: &AccountState,
    sender: IpAddr,
    parts: Parts,
    body: &mut BodyDataStream,
) -> Result<(Webhook<Unverified>, Permit), BodyError> {
    let Settings { max_body, read_timeout, min_transfer_rate, .. } = webhooks.settings;
    let room = &state.in_flight_bytes;
    let declared = parts.headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok());
    let declared = declared.and_then(|length| length.parse::<usize>().ok());
    if declared.is_some_and(|length| length > max_body) {
        return Err(BodyError::TooLarge);
    }
    let encoding = body::encoding(&parts.headers)?;
    // What a proxy sends is many senders'.
    let counted = !source::contains(&webhooks.settings.trusted_proxies, sender);
    let bounds = body::Bounds {
        limit: max_body,
        room,
        share: webhooks.receiving.begin(counted.then_some(sender)),
        timeout: read_timeout,
        min_rate: min_transfer_rate,
    };
    let body = body::read(body, bounds).await?;
    let received_at = clock::now();
    let body::Received { bytes, permit } = body::decoded(body, encoding, max_body, room)?;
    let headers: Vec<(String, String)> = parts
        .headers
        .iter()
        .map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
        .collect();
    let form = form::fields(record::header_of(&headers, "content-type"), &bytes)?;
    let query = parts.uri.query().unwrap_or_default();
    let query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    // Headers and path are slices of the connection's read buffer: held until the broker has
    // answered, they would cost the connection another buffer. They end here.
    let account = state.account.name.clone();
    let received = Received { account, body: bytes, query, headers, form, received_at };
    Ok((Webhook::new(received), permit))
}

/// Does what takes long for a large body where it holds nobody up. A runtime of one thread has no other.
fn off_the_runtime<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    let several = tokio::runtime::Handle::try_current()
        .is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread);
    if bytes > LARGE && several { tokio::task::block_in_place(work) } else { work() }
}

fn verify(
    webhooks: &Webhooks,
    state: &AccountState,
    sender: IpAddr,
    webhook: Webhook<Unverified>,
) -> Result<Webhook<Verified>, Refusal> {
    let received = webhook.unverified();
    let (now, bytes) = (received.received_at, received.body.len() as u64);
    let limit = webhooks.settings.further_signature_bytes;
    let hint = lock(&state.forms).hint(sender, limit, now);
    let account = &state.account;
    let result = account.vendor.verify(webhook, hint);
    match &result {
        Ok(webhook) => {
            let form = webhook.state().form;
            let matched = lock(&state.forms).matched(form, sender, bytes);
            if matched == Matched::Newest {
                return result;
            }
            if matched == Matched::New {
                tracing::info!(account = %account.name, form, "the account's signature form");
            }
            for other in account.vendor.signature_forms() {
                webhooks.metrics.signature_form(account.name.as_str(), other, *other == form);
            }
        }
        Err(Refusal::WrongSignature) => lock(&state.forms).refused(sender, bytes),
        Err(
            Refusal::Empty
            | Refusal::NotUtf8
            | Refusal::NotJson
            | Refusal::NotAnObject
            | Refusal::NotAFrame(_)
            | Refusal::NoData
            | Refusal::TwoData
            | Refusal::TooDeep
            | Refusal::NoSignature
            | Refusal::SignatureNotTried
            | Refusal::AnotherApplication,
        ) => {}
    }
    result
}

/// From a verified webhook to the broker's acknowledgement.
async fn publish(
    webhooks: &Webhooks,
    state: &AccountState,
    webhook: Webhook<Verified>,
    deadline: Instant,
) -> Done {
    let account = &state.account;
    let Some(sinks) = webhooks.kafka.get() else {
        return Done::refused(Answer::Unavailable);
    };
    let verified = webhook.state();
    let known = account.vendor.event_types().iter().find(|known| known.name == verified.type_name);
    let type_label = known.map_or(UNKNOWN_TYPE, |known| known.name);
    let now = webhook.received().received_at;
    let seen = lock(&state.recent).look(
        &verified.event_id,
        &verified.signed_digest,
        &verified.type_name,
        now,
    );
    let retyped = match seen {
        Seen::Duplicate => return Done { type_label, outcome: Outcome::Duplicate },
        Seen::Retyped { first_type } if webhooks.settings.retyped == Retyped::Refuse => {
            tracing::warn!(
                account = %account.name, first_type = cut(&first_type), as_type = cut(&verified.type_name),
                "signed data came back under another type"
            );
            true
        }
        Seen::Retyped { .. } | Seen::New => false,
    };
    let trace = record::trace(&webhook, webhooks.settings.trust_traceparent);
    let made = off_the_runtime(webhook.received().body.len(), || {
        let decoded = if retyped {
            Err(Unrecognized::Retyped)
        } else {
            account.vendor.decode(&webhook, &|user| owner(&webhooks.metrics, account, user))
        };
        decoded.and_then(|event| {
            record::event(&sinks.encoders, account, &event, &trace)
                .map_err(Unrecognized::Undecodable)
        })
    });
    let (record, outcome) = match made {
        Ok(record) => (record, Outcome::Accepted),
        Err(reason) => {
            let told: String = reason.to_string().chars().take(LONGEST_REASON).collect();
            tracing::warn!(account = %account.name, reason = told, "an authentic webhook fits no topic");
            webhooks.metrics.unrecognized(account.name.as_str(), reason.reason());
            (record::unrecognized(account, &webhook, &reason, &trace), Outcome::Unrecognized)
        }
    };
    // The record is all that is needed from here on: what waits for Kafka holds as little as
    // possible.
    let parts = InParts::of(account, &webhook, &trace);
    let Verified { event_id, signed_digest, type_name, .. } = webhook.into_state();
    let topic = record.topic.clone();
    let started = Instant::now();
    let kept = durable::keep(sinks, record, deadline).await;
    webhooks.metrics.publish_seconds(&topic, started.elapsed().as_secs_f64());
    match kept {
        Ok(()) => {
            lock(&state.recent).remember(event_id, signed_digest, &type_name, now);
            Done { type_label, outcome }
        }
        Err(error @ NotKept::Kafka(PublishError::TooLarge { .. })) => {
            tracing::error!(account = %account.name, event_id = event_id.as_str(), %error, "a webhook is larger than its topic takes");
            let seen = lock(&state.kept_in_parts).look(&event_id, &signed_digest, &type_name, now);
            let answer = match parts {
                Some(parts) if seen == Seen::New => {
                    match parts.keep(webhooks, account, sinks, deadline).await {
                        Ok(()) => {
                            let mut kept = lock(&state.kept_in_parts);
                            kept.remember(event_id, signed_digest, &type_name, now);
                            Answer::TooLarge
                        }
                        Err(answer) => answer,
                    }
                }
                Some(_) | None => Answer::TooLarge,
            };
            Done { type_label, outcome: Outcome::Refused(answer) }
        }
        Err(error) => {
            tracing::error!(account = %account.name, event_id = event_id.as_str(), %error, "a webhook is not known to be kept");
            Done { type_label, outcome: Outcome::Refused(error.answer()) }
        }
    }
}

/// Whose webhook it is when several accounts share one client of the vendor. Users that nobody
/// configured are counted, wherever they go.
fn owner(metrics: &Metrics, account: &Account, user: Option<&str>) -> Option<AccountName> {
    account.owner(user, || metrics.unknown_user(account.name.as_str()))
}

/// A webhook being worked on: it counts against the bound and in the metric.
struct InFlight<'a> {
    metrics: &'a Metrics,
    _permit: Permit,
}

impl<'a> InFlight<'a> {
    /// `None` when too many are being worked on, or too many of the account's.
    fn enter(webhooks: &'a Webhooks, state: &AccountState) -> Option<Self> {
        let permit = state.in_flight.take(1)?;
        webhooks.metrics.in_flight_changed("webhooks", 1);
        Some(Self { metrics: &webhooks.metrics, _permit: permit })
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.metrics.in_flight_changed("webhooks", -1);
    }
}
