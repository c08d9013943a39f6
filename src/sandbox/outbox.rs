//! Webhooks on their way out: bounded, in order per document, tried a few times.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{Semaphore, oneshot};

use super::behaviour::WebhookBehaviour;
use super::books::{Delivery, SentWebhook};
use super::{Shared, Vendor, locked};

/// How many are posted at the same time.
const CONCURRENT: usize = 64;

/// A webhook that is signed and ready.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub(super) vendor: Vendor,
    pub(super) kind: String,
    pub(super) document: String,
    pub(super) payload: Payload,
}

/// How a webhook travels.
#[derive(Debug, Clone)]
pub(super) enum Payload {
    /// A JSON body, with what the signature's transport adds.
    Json { body: String, headers: Vec<(String, String)>, query: Vec<(String, String)> },
    /// multipart/form-data.
    Form(Vec<(&'static str, String)>),
}

/// The queue.
#[derive(Debug)]
pub(super) struct Outbox {
    client: reqwest::Client,
    waiting: Arc<Semaphore>,
    capacity: usize,
    posting: Semaphore,
    /// The end of the newest webhook of each document: the next one waits for it.
    lanes: Mutex<HashMap<String, (u64, oneshot::Receiver<()>)>>,
    tickets: AtomicU64,
}

impl Outbox {
    pub(super) fn new(capacity: usize) -> Result<Self, reqwest::Error> {
        let capacity = capacity.clamp(1, Semaphore::MAX_PERMITS);
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self {
            client,
            waiting: Arc::new(Semaphore::new(capacity)),
            capacity,
            posting: Semaphore::new(CONCURRENT),
            lanes: Mutex::default(),
            tickets: AtomicU64::new(0),
        })
    }

    pub(super) fn pending(&self) -> usize {
        self.capacity.saturating_sub(self.waiting.available_permits())
    }
}

/// Queues a webhook behind the earlier ones of its document.
pub(super) fn post(shared: &Arc<Shared>, webhook: Outgoing) {
    let outbox = &shared.outbox;
    let Ok(place) = Arc::clone(&outbox.waiting).try_acquire_owned() else {
        return record(shared, &webhook, Delivery::Dropped, Tries::default());
    };
    let lane = format!("{}/{}", webhook.vendor, webhook.document);
    let ticket = outbox.tickets.fetch_add(1, Ordering::Relaxed);
    let (done, end) = oneshot::channel::<()>();
    let before = locked(&outbox.lanes).insert(lane.clone(), (ticket, end));
    let cancel = shared.cancel.clone();
    let owner = Arc::clone(shared);
    shared.tracker.spawn(cancel.run_until_cancelled_owned(async move {
        if let Some((_, earlier)) = before {
            // The sender is dropped, not used: an error is how the end of the earlier one shows.
            earlier.await.ok();
        }
        deliver(&owner, &webhook).await;
        let mut lanes = locked(&owner.outbox.lanes);
        if lanes.get(&lane).is_some_and(|(newest, _)| *newest == ticket) {
            lanes.remove(&lane);
        }
        drop((done, place));
    }));
}

#[derive(Debug, Default)]
struct Tries {
    attempts: u32,
    status: Option<u16>,
    error: Option<String>,
}

async fn deliver(shared: &Shared, webhook: &Outgoing) {
    let mut tries = Tries::default();
    let mut acknowledged = 0;
    let mut failed = 0;
    loop {
        // Read anew each time: the address may be set while a webhook waits for its next try.
        let behaviour = shared.behaviour();
        let Some(url) = (match webhook.vendor {
            Vendor::Jfwms => behaviour.jfwms.webhook_url,
            Vendor::Qianyi => behaviour.qianyi.push_url,
        }) else {
            return record(shared, webhook, Delivery::NoAddress, tries);
        };
        tries.attempts += 1;
        let Ok(slot) = shared.outbox.posting.acquire().await else { return };
        let outcome = attempt(shared, webhook, &url, &behaviour.webhooks).await;
        drop(slot);
        tries.status =
            outcome.as_ref().map_or_else(|failure| failure.status, |status| Some(*status));
        tries.error = outcome.err().map(|failure| failure.reason);
        if tries.error.is_none() {
            acknowledged += 1;
            if acknowledged >= behaviour.webhooks.copies {
                return record(shared, webhook, Delivery::Acknowledged, tries);
            }
            continue;
        }
        failed += 1;
        if failed >= behaviour.webhooks.attempts {
            return record(shared, webhook, Delivery::GivenUp, tries);
        }
        tokio::time::sleep(pause(&behaviour.webhooks, failed)).await;
    }
}

/// The pause after the `failed`th failure.
fn pause(behaviour: &WebhookBehaviour, failed: u32) -> Duration {
    let doubled = 1_u64.checked_shl(failed.saturating_sub(1)).unwrap_or(u64::MAX);
    let pause = behaviour.first_pause_ms.saturating_mul(doubled);
    Duration::from_millis(pause.min(behaviour.max_pause_ms))
}

#[derive(Debug)]
struct Failure {
    status: Option<u16>,
    reason: String,
}

async fn attempt(
    shared: &Shared,
    webhook: &Outgoing,
    url: &str,
    behaviour: &WebhookBehaviour,
) -> Result<u16, Failure> {
    let unsent = |error: reqwest::Error| Failure {
        status: None,
        // The address may hold a path secret.
        reason: error.without_url().to_string(),
    };
    let request = match &webhook.payload {
        Payload::Json { body, headers, query } => {
            let mut request = shared
                .outbox
                .client
                .post(url)
                .header("content-type", "application/json")
                .body(body.clone());
            for (name, value) in headers {
                request = request.header(name, value);
            }
            if query.is_empty() { request } else { request.query(query) }
        }
        Payload::Form(fields) => {
            let mut form = reqwest::multipart::Form::new();
            for (name, value) in fields {
                form = form.text(*name, value.clone());
            }
            shared.outbox.client.post(url).multipart(form)
        }
    };
    let timeout = Duration::from_millis(behaviour.timeout_ms);
    let response = request.timeout(timeout).send().await.map_err(unsent)?;
    let status = response.status().as_u16();
    let refused = |reason: String| Failure { status: Some(status), reason };
    let body = response.bytes().await.map_err(|error| refused(error.without_url().to_string()))?;
    if status != 200 {
        return Err(refused(format!("HTTP status {status}")));
    }
    let answer: Value = serde_json::from_slice(&body)
        .map_err(|error| refused(format!("the answer is not JSON: {error}")))?;
    match is_success(webhook.vendor, &answer) {
        true => Ok(status),
        false => Err(refused(format!("refused: {}", shortened(&answer)))),
    }
}

fn shortened(answer: &Value) -> String {
    answer.to_string().chars().take(200).collect()
}

/// JFWMS: `code` 0, a number or a text (guide, "Webhook响应数据格式"). Qianyi documents no answer
/// to a push; its own form of success is `state`.
fn is_success(vendor: Vendor, answer: &Value) -> bool {
    match vendor {
        Vendor::Jfwms => answer.get("code").is_some_and(|code| match code {
            Value::String(text) => text == "0",
            other => other.as_i64() == Some(0),
        }),
        Vendor::Qianyi => answer.get("state").and_then(Value::as_str) == Some("success"),
    }
}

fn record(shared: &Shared, webhook: &Outgoing, delivery: Delivery, tries: Tries) {
    shared.books.webhook(SentWebhook {
        sequence: 0,
        at: crate::clock::now(),
        vendor: webhook.vendor,
        kind: webhook.kind.clone(),
        document: webhook.document.clone(),
        delivery,
        attempts: tries.attempts,
        status: tries.status,
        error: tries.error,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_documented_answer_acknowledges() {
        let table = [
            (Vendor::Jfwms, r#"{"code":0,"msg":""}"#, true),
            (Vendor::Jfwms, r#"{"code":"0","msg":""}"#, true),
            (Vendor::Jfwms, r#"{"code":1,"msg":""}"#, false),
            (Vendor::Jfwms, r#"{"msg":""}"#, false),
            (Vendor::Jfwms, "[]", false),
            (Vendor::Qianyi, r#"{"state":"success","errorCode":"0"}"#, true),
            (Vendor::Qianyi, r#"{"state":"failure","errorCode":"SYSTEM_ERROR"}"#, false),
        ];
        for (vendor, answer, expected) in table {
            let answer: Value = serde_json::from_str(answer).unwrap();
            assert_eq!(is_success(vendor, &answer), expected, "{vendor} {answer}");
        }
    }

    #[test]
    fn the_pause_doubles_up_to_its_limit() {
        let behaviour = WebhookBehaviour::default();
        let pauses: Vec<u128> =
            [1, 2, 3, 6, 90].iter().map(|n| pause(&behaviour, *n).as_millis()).collect();
        assert_eq!(pauses, [200, 400, 800, 5_000, 5_000]);
    }
}
