//! What the sandbox remembers, so that a test can prove what took effect, how often and in which
//! order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::{SandboxLimits, Vendor, locked};

/// What happened to a document. Only what was accepted and changed something is an effect: a
/// refusal, a repeat or a look-up is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EffectKind {
    /// An order was taken.
    OrderCreated,
    /// An order was audited (Qianyi).
    OrderAudited,
    /// An order was cancelled or closed by request.
    OrderCancelled,
    /// A cancellation went to the warehouse for review (JFWMS 20023).
    InterceptionRequested,
    /// The warehouse agreed to the reviewed cancellation.
    OrderIntercepted,
    /// The warehouse refused the reviewed cancellation.
    InterceptionRefused,
    /// An order was shipped.
    OrderShipped,
    /// An inbound or ASN was taken.
    InboundCreated,
    /// An inbound or ASN was cancelled.
    InboundCancelled,
    /// The goods of an inbound or ASN were put away.
    InboundReceived,
}

/// One effect.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Effect {
    /// Position among all effects of the sandbox, from 1.
    pub sequence: u64,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub kind: EffectKind,
    /// The vendor's own number of the document.
    pub reference: String,
}

/// An order, inbound or ASN that a vendor keeps.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KeptDocument {
    /// The vendor.
    pub vendor: Vendor,
    /// The caller's number; of an ASN without one, the vendor's.
    pub number: String,
    /// The vendor's own number.
    pub reference: String,
    /// JFWMS the user id, Qianyi the shop (an ASN has none).
    pub owner: String,
    /// The status, as the vendor names it.
    pub status: String,
    /// When it was taken.
    pub created_at: Timestamp,
    /// The request that made it.
    pub request: Value,
}

/// A request that arrived.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeenRequest {
    /// Position among all requests of the sandbox, from 1.
    pub sequence: u64,
    /// When it arrived.
    pub at: Timestamp,
    /// Which server it reached.
    pub vendor: Vendor,
    /// The HTTP method.
    pub method: String,
    /// The path, without the query (it can hold secrets).
    pub path: String,
    /// Qianyi's serviceType.
    pub service_type: Option<String>,
    /// The document it was about, if it got so far.
    pub document: Option<String>,
    /// The HTTP status that was decided; `None` if the caller left before.
    pub status: Option<u16>,
    /// The vendor's code that was decided (of a Qianyi business failure the inner one); "0" is
    /// success.
    pub code: Option<String>,
    /// Faults that struck.
    pub faults: Vec<String>,
    /// How long it took until the answer was decided.
    pub took_ms: u64,
}

/// What became of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// Acknowledged as the vendor's document asks.
    Acknowledged,
    /// Tried as often as allowed, never acknowledged.
    GivenUp,
    /// Not tried: no address is set.
    NoAddress,
    /// Not tried: too many are waiting.
    Dropped,
}

/// A webhook that was sent, or should have been.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SentWebhook {
    /// Position among all webhooks of the sandbox in the order of their end, from 1.
    pub sequence: u64,
    /// When its fate was known.
    pub at: Timestamp,
    /// The vendor.
    pub vendor: Vendor,
    /// Its type or serviceType.
    pub kind: String,
    /// The document it is about.
    pub document: String,
    /// What became of it.
    pub delivery: Delivery,
    /// How often it was tried.
    pub attempts: u32,
    /// The last HTTP status.
    pub status: Option<u16>,
    /// Why the last try was no success.
    pub error: Option<String>,
}

/// How much of everything there was so far, the forgotten too. Cheap to ask for, unlike [`Books`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// What took effect.
    pub effects: u64,
    /// Requests that arrived.
    pub requests: u64,
    /// Requests by `<vendor> <path or serviceType> <what was decided>`: the vendor's code, else
    /// the HTTP status, `cut` for a connection that ended before any work.
    pub outcomes: BTreeMap<String, u64>,
}

/// A snapshot of everything that the sandbox remembers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Books {
    /// Orders of both vendors.
    pub orders: Vec<KeptDocument>,
    /// Inbounds (JFWMS) and ASNs (Qianyi).
    pub asns: Vec<KeptDocument>,
    /// Effects in their order, under `<vendor>/<document number>`.
    pub effects: BTreeMap<String, Vec<Effect>>,
    /// The newest requests, in the order of arrival.
    pub requests: Vec<SeenRequest>,
    /// Requests so far, the forgotten ones too.
    pub requests_total: u64,
    /// The newest webhooks.
    pub webhooks: Vec<SentWebhook>,
    /// Webhooks so far, the forgotten ones too.
    pub webhooks_total: u64,
    /// Webhooks waiting or being delivered.
    pub webhooks_pending: usize,
}

impl Books {
    /// What happened to a document, in order.
    pub fn effects_of(&self, vendor: Vendor, number: &str) -> Vec<EffectKind> {
        let effects = self.effects.get(&key(vendor, number));
        effects.into_iter().flatten().map(|effect| effect.kind).collect()
    }

    /// The order with the caller's number.
    pub fn order(&self, vendor: Vendor, number: &str) -> Option<&KeptDocument> {
        self.orders.iter().find(|kept| kept.vendor == vendor && kept.number == number)
    }

    /// The inbound or ASN with the caller's number.
    pub fn asn(&self, vendor: Vendor, number: &str) -> Option<&KeptDocument> {
        self.asns.iter().find(|kept| kept.vendor == vendor && kept.number == number)
    }

    /// The requests to a path or serviceType.
    pub fn requests_to(&self, name: &str) -> Vec<&SeenRequest> {
        let is =
            |seen: &&SeenRequest| seen.path == name || seen.service_type.as_deref() == Some(name);
        self.requests.iter().filter(is).collect()
    }
}

fn key(vendor: Vendor, number: &str) -> String {
    format!("{vendor}/{number}")
}

/// The books as they are written.
#[derive(Debug)]
pub(super) struct Ledger {
    inner: Mutex<Pages>,
    requests_kept: usize,
    webhooks_kept: usize,
}

#[derive(Debug, Default)]
struct Pages {
    effects: BTreeMap<String, Vec<Effect>>,
    effects_total: u64,
    requests: VecDeque<SeenRequest>,
    requests_total: u64,
    webhooks: VecDeque<SentWebhook>,
    webhooks_total: u64,
    outcomes: BTreeMap<String, u64>,
}

/// The most kinds of outcomes that are told apart: their names hold what callers send.
const MAX_OUTCOMES: usize = 1_000;

impl Pages {
    fn count(&mut self, outcome: String) {
        if self.outcomes.len() < MAX_OUTCOMES || self.outcomes.contains_key(&outcome) {
            *self.outcomes.entry(outcome).or_default() += 1;
        }
    }
}

/// What is known of a request when it arrives.
#[derive(Debug)]
pub(super) struct Arrival<'a> {
    pub(super) vendor: Vendor,
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) service_type: Option<&'a str>,
    pub(super) faults: Vec<String>,
}

impl Ledger {
    pub(super) fn new(limits: &SandboxLimits) -> Self {
        Self {
            inner: Mutex::default(),
            requests_kept: limits.requests.max(1),
            webhooks_kept: limits.webhooks.max(1),
        }
    }

    pub(super) fn effect(&self, vendor: Vendor, number: &str, kind: EffectKind, reference: &str) {
        let mut pages = locked(&self.inner);
        pages.effects_total += 1;
        let effect = Effect {
            sequence: pages.effects_total,
            at: crate::clock::now(),
            kind,
            reference: reference.to_owned(),
        };
        pages.effects.entry(key(vendor, number)).or_default().push(effect);
    }

    /// Writes a request down before anything is done about it, so that a caller that leaves in
    /// the middle is still seen.
    pub(super) fn arrived(&self, arrival: Arrival<'_>) -> u64 {
        let mut pages = locked(&self.inner);
        pages.requests_total += 1;
        let sequence = pages.requests_total;
        if pages.requests.len() >= self.requests_kept {
            pages.requests.pop_front();
        }
        pages.requests.push_back(SeenRequest {
            sequence,
            at: crate::clock::now(),
            vendor: arrival.vendor,
            method: arrival.method.to_owned(),
            path: shortened(arrival.path),
            service_type: arrival.service_type.map(shortened),
            document: None,
            status: None,
            code: None,
            faults: arrival.faults,
            took_ms: 0,
        });
        sequence
    }

    pub(super) fn decided(&self, sequence: u64, status: u16, code: &str, document: Option<&str>) {
        let mut pages = locked(&self.inner);
        let first = pages.requests.front().map_or(0, |seen| seen.sequence);
        let position = sequence.checked_sub(first).and_then(|at| usize::try_from(at).ok());
        let Some(seen) = position.and_then(|at| pages.requests.get_mut(at)) else { return };
        // 0 stands for a connection that was cut.
        seen.status = (status != 0).then_some(status);
        seen.code = Some(shortened(code));
        seen.document = document.map(shortened);
        let took = crate::clock::now().duration_since(seen.at).as_millis();
        seen.took_ms = u64::try_from(took).unwrap_or(0);
        let endpoint = seen.service_type.as_deref().unwrap_or(&seen.path);
        let outcome = match (seen.code.as_deref(), seen.status) {
            (Some("") | None, None) => format!("{} {endpoint} cut", seen.vendor),
            (Some("") | None, Some(status)) => format!("{} {endpoint} HTTP {status}", seen.vendor),
            (Some(code), _) => format!("{} {endpoint} {code}", seen.vendor),
        };
        pages.count(outcome);
    }

    pub(super) fn totals(&self) -> Totals {
        let pages = locked(&self.inner);
        Totals {
            effects: pages.effects_total,
            requests: pages.requests_total,
            outcomes: pages.outcomes.clone(),
        }
    }

    pub(super) fn webhook(&self, mut sent: SentWebhook) {
        let mut pages = locked(&self.inner);
        pages.webhooks_total += 1;
        sent.sequence = pages.webhooks_total;
        if pages.webhooks.len() >= self.webhooks_kept {
            pages.webhooks.pop_front();
        }
        pages.webhooks.push_back(sent);
    }

    pub(super) fn snapshot(
        &self,
        orders: Vec<KeptDocument>,
        asns: Vec<KeptDocument>,
        webhooks_pending: usize,
    ) -> Books {
        let pages = locked(&self.inner);
        Books {
            orders,
            asns,
            effects: pages.effects.clone(),
            requests: pages.requests.iter().cloned().collect(),
            requests_total: pages.requests_total,
            webhooks: pages.webhooks.iter().cloned().collect(),
            webhooks_total: pages.webhooks_total,
            webhooks_pending,
        }
    }
}

/// A caller's text, bounded for the log.
fn shortened(text: &str) -> String {
    text.chars().take(200).collect()
}
