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

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::{
    Jfwms,
    json::{Members, quoted, text, too_deep},
    sign::WebhookForm,
};
use crate::domain::{EventId, EventType, Refusal, SignatureHint, Unverified, Verified, Webhook};

pub(super) use records::decode;

/// Every type of the guide (WebHook数据格式).
pub(super) const EVENT_TYPES: &[EventType] = &[
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
    let received = webhook.unverified();
    let body = std::str::from_utf8(&received.body).map_err(|_| Refusal::NotJson)?;
    // First, so that nothing after it can be made to recurse.
    if too_deep(body) {
        return Err(Refusal::TooDeep);
    }
    let frame = Members::read(body).map_err(|_| Refusal::NotJson)?;
    let mut with_data = frame.0.iter().filter(|(name, _)| name == "data");
    let data = with_data.next().ok_or(Refusal::NoData)?.1;
    // With two, what was signed and what is read could be different ones.
    if with_data.next().is_some() {
        return Err(Refusal::TwoData);
    }

    let candidates = candidates(vendor, &webhook, &frame)?;
    let form = matching_form(vendor, data, &candidates, hint).ok_or(Refusal::WrongSignature)?;

    // A type that is repeated counts as the last one, as any other member does; a type that is
    // no text is a type that we do not know.
    let type_name = frame.get("type").and_then(text).unwrap_or_default().into_owned();
    let identifying = frame
        .0
        .iter()
        .filter(|(name, _)| name != "timestamp" && !vendor.is_sign_name(name))
        .map(|(name, raw)| (name.as_ref(), *raw));
    let event_id = EventId::of(&received.account, &type_name, identifying);
    let members = frame.0.iter().map(|(name, raw)| (name.to_string(), (*raw).to_owned()));
    let state = Verified {
        form: form.name(),
        type_name,
        event_id,
        signed_digest: first_half(Sha256::digest(data).into()),
        members: members.collect(),
    };
    Ok(webhook.verified(state))
}

fn first_half(digest: [u8; 32]) -> [u8; 16] {
    let mut half = [0; 16];
    half.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    half
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
        .0
        .iter()
        .filter(|(name, _)| vendor.is_sign_name(name))
        .filter_map(|(_, raw)| text(raw));
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
) -> Option<WebhookForm> {
    if candidates.is_empty() {
        return None;
    }
    let settings = vendor.settings();
    let secrets: Vec<String> =
        [Some(&settings.client_secret), settings.client_secret_previous.as_ref()]
            .into_iter()
            .flatten()
            .map(|secret| quoted(secret.expose()))
            .collect();
    let matches = |form: &WebhookForm| {
        secrets.iter().any(|secret| {
            let digest = form.digest(data, secret);
            // Every candidate is compared, in constant time: how long a refusal takes says
            // nothing about how close a guess was.
            let equal = |sum: Choice, sign: &[u8; 16]| sum | sign.ct_eq(&digest);
            bool::from(candidates.iter().fold(Choice::from(0), equal))
        })
    };
    if let Some(pinned) = settings.webhook_sign_form {
        return Some(pinned).filter(matches);
    }
    let first = hint.first.and_then(WebhookForm::of_name).unwrap_or(WebhookForm::ALL[0]);
    let others = WebhookForm::ALL.into_iter().filter(|form| *form != first && hint.try_others);
    std::iter::once(first).chain(others).find(matches)
}
