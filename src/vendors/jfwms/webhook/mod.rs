//! Webhooks in: the frame, its signature, and its content.
//!
//! ```text
//! body ──frame──▶ members (raw slices) ──signature──▶ verified ──decode──▶ record of its type
//! ```
//!
//! Exactly the text that was verified is decoded: the slices that are hashed are the slices that
//! are read.

mod fields;
mod records;
#[cfg(test)]
mod tests;

use subtle::{Choice, ConstantTimeEq};

use super::{
    Jfwms,
    sign::{WebhookForm, compact},
};
use crate::domain::{
    AccountName, Content, EventId, EventType, Refusal, SignatureHint, Unverified, Verified,
    Webhook,
    json::{Kind, Malformed, Members, Tape, Value},
};
use crate::vendors::REREAD;

pub(super) use records::decode;

/// Every type of the guide (WebHook数据格式).
pub const EVENT_TYPES: &[EventType] = &[
    EventType { name: "order", topic: "order", record: "wms.jfwms.Order" },
    EventType { name: "storage", topic: "storage", record: "wms.jfwms.Storage" },
    EventType { name: "return", topic: "return", record: "wms.jfwms.Return" },
    EventType {
        name: "orderIntercept",
        topic: "order-intercept",
        record: "wms.jfwms.OrderIntercept",
    },
    EventType {
        name: "inventoryCount",
        topic: "inventory-count",
        record: "wms.jfwms.InventoryCount",
    },
    EventType { name: "adjust", topic: "adjust", record: "wms.jfwms.Adjust" },
    EventType { name: "move", topic: "move", record: "wms.jfwms.Move" },
    EventType { name: "orderCreate", topic: "order-create", record: "wms.jfwms.OrderCreate" },
    EventType { name: "orderCancel", topic: "order-cancel", record: "wms.jfwms.OrderCancel" },
    EventType { name: "convert", topic: "convert", record: "wms.jfwms.Convert" },
];

/// Checks frame and signature.
pub(super) fn verify(
    vendor: &Jfwms,
    webhook: Webhook<Unverified>,
    hint: SignatureHint,
) -> Result<Webhook<Verified>, Refusal> {
    let body = webhook.unverified().text()?;
    let tape = Tape::of(body)?;
    let (frame, data) = frame(&tape, body)?;
    let candidates = candidates(vendor, &webhook, &frame)?;
    let (form, digest) = matching_form(vendor, data, &candidates, hint)?;
    let state = state(&webhook, tape, form.name(), digest)?;
    Ok(webhook.verified(state))
}

/// Reads the frame of a webhook that was verified when it came in.
pub(super) fn reread(webhook: Webhook<Unverified>) -> Result<Webhook<Verified>, Refusal> {
    let tape = Tape::of(webhook.unverified().text()?)?;
    let state = state(&webhook, tape, REREAD, [0; 16])?;
    Ok(webhook.verified(state))
}

/// The frame and the raw text of its `data`.
fn frame<'a>(tape: &'a Tape, body: &'a str) -> Result<(Members<'a>, &'a str), Refusal> {
    let frame = tape.root(body).members().ok_or(Refusal::NotAnObject)?;
    let mut with_data = frame.clone().filter(|(name, _)| name == "data");
    let data = with_data.next().ok_or(Refusal::NoData)?.1.raw();
    // With two, what was signed and what is read could be different ones.
    if with_data.next().is_some() { Err(Refusal::TwoData) } else { Ok((frame, data)) }
}

fn state(
    webhook: &Webhook<Unverified>,
    tape: Tape,
    form: &'static str,
    signed_digest: [u8; 16],
) -> Result<Verified, Refusal> {
    let received = webhook.unverified();
    let (frame, _) = frame(&tape, received.text()?)?;
    // A type that is repeated counts as the last one, as any other member does; a type that is
    // no text is a type that we do not know.
    let type_name = frame.clone().filter(|(name, _)| name == "type").last();
    let type_name = type_name.and_then(|(_, value)| value.text()).unwrap_or_default().into_owned();
    let event_id = event_id(&received.account, &type_name, frame);
    Ok(Verified { form, type_name, event_id, signed_digest, content: Content::Json(tape) })
}

/// The id of an event: a pure function of whose event it is, the type, `data` and, of a return, the time
/// that the guide puts beside `data`. Nothing else of the frame: whoever has one captured webhook could
/// add a member, which no signature covers, and make a new event of it each time.
///
/// `data` counts as what it says: with or without blanks between tokens, as an object or as the JSON
/// text of one, which can be forms of one signed text.
pub(super) fn event_id(account: &AccountName, type_name: &str, frame: Members<'_>) -> EventId {
    let last = |wanted: &str| {
        let found = frame.clone().filter(|(name, _)| name == wanted).last();
        found.map(|(_, value)| value).filter(|value| value.kind() != Kind::Null)
    };
    let data = last("data");
    let embedded = data.and_then(Value::text);
    let data = embedded.as_deref().or(data.map(Value::raw)).unwrap_or_default();
    let data = compact(data);
    let finished = (type_name == "return").then(|| last("finishTime")).flatten();
    let finished = finished.map(|time| compact(time.raw()));
    let finished = finished.as_deref().map(|time| ("finishTime", time));
    EventId::of(account, type_name, [("data", data.as_ref())].into_iter().chain(finished))
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        match malformed {
            Malformed::NotJson => Self::NotJson,
            Malformed::TooDeep => Self::TooDeep,
        }
    }
}

/// Every signature the webhook brings, in header, body or query, as bytes. What is not the hex of
/// an MD5 cannot match and is left out here, so that it costs no hash of the body.
fn candidates(
    vendor: &Jfwms,
    webhook: &Webhook<Unverified>,
    frame: &Members<'_>,
) -> Result<Vec<[u8; 16]>, Refusal> {
    let received = webhook.unverified();
    let named = |(name, _): &&(String, String)| vendor.is_sign_name(name);
    let headers = received
        .headers
        .iter()
        .filter(|(name, _)| vendor.is_sign_header(name))
        .map(|(_, value)| value.as_str().into());
    let members = frame
        .clone()
        .filter(|(name, _)| vendor.is_sign_name(name))
        .filter_map(|(_, value)| value.text());
    let query = received.query.iter().filter(named).map(|(_, value)| value.as_str().into());

    let mut found = false;
    let mut candidates = Vec::new();
    for sign in headers.chain(members).chain(query) {
        let sign = sign.trim();
        found |= !sign.is_empty();
        let mut bytes = [0; 16];
        if hex::decode_to_slice(sign, &mut bytes).is_ok() {
            candidates.push(bytes);
        }
    }
    if found { Ok(candidates) } else { Err(Refusal::NoSignature) }
}

/// The first form, with either live secret, whose digest is one of the candidates.
fn matching_form(
    vendor: &Jfwms,
    data: &str,
    candidates: &[[u8; 16]],
    hint: SignatureHint,
) -> Result<(WebhookForm, [u8; 16]), Refusal> {
    if candidates.is_empty() {
        return Err(Refusal::WrongSignature);
    }
    let matching = |form: WebhookForm| {
        let digests = vendor.quoted_secrets.iter().map(|secret| form.digest(data, secret.expose()));
        let mut matching = digests.filter(|digest| {
            // Every candidate is compared, in constant time: how long a refusal takes says
            // nothing about how close a guess was.
            let equal = |sum: Choice, sign: &[u8; 16]| sum | sign.ct_eq(digest);
            bool::from(candidates.iter().fold(Choice::from(0), equal))
        });
        matching.next().map(|digest| (form, digest))
    };
    if let Some(pinned) = vendor.settings().webhook_sign_form {
        return matching(pinned).ok_or(Refusal::WrongSignature);
    }
    let known = hint.known.into_iter().flatten().filter_map(WebhookForm::of_name);
    let further = WebhookForm::ALL.into_iter().map(|form| (form, hint.further));
    let mut tried: Vec<WebhookForm> = Vec::with_capacity(WebhookForm::ALL.len());
    let mut left_out = false;
    for (form, allowed) in known.map(|form| (form, true)).chain(further) {
        if tried.iter().any(|other| other.same_text(form, data)) {
            continue;
        }
        if !allowed {
            left_out = true;
            break;
        }
        tried.push(form);
        if let Some(found) = matching(form) {
            return Ok(found);
        }
    }
    Err(if left_out { Refusal::SignatureNotTried } else { Refusal::WrongSignature })
}
