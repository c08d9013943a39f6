//! Pushes in (Qianyi, Webhook): a form of five fields, or a JSON body of the same five members.
//!
//! What is signed is the text of `bizParam`, so that text is verified before anything in it is
//! believed, and exactly that text is decoded.

use sha2::{Digest, Sha256};

use super::{
    api::Qianyi,
    event::{self, EVENT_TYPES, Envelope},
    json::{self, Malformed},
    reader::{self, Reader},
    sign::SignedRequest,
};
use crate::domain::{
    Answer, Content, Event, EventId, Received, Refusal, SignatureHint, Unrecognized, Unverified,
    Verified, Webhook,
};
use crate::vendors::{OwnerOf, REREAD, bounds};

/// The one form in which the vendor signs, and its samples agree.
pub(super) const SIGNATURE_FORM: &str = "documented";

/// The members of the frame.
const MEMBERS: [&str; 5] = ["appId", "bizParam", "serviceType", "timestamp", "sign"];

/// What arrived, as texts; nothing in it may be believed yet.
struct Frame {
    /// The five members, in the order of [`MEMBERS`].
    five: [Option<String>; 5],
    /// Members beside the five, as JSON texts.
    others: Vec<(String, String)>,
}

impl Frame {
    fn read(received: &Received) -> Result<Self, Refusal> {
        let mut frame = Self { five: Default::default(), others: Vec::new() };
        if let Some(form) = &received.form {
            for (name, value) in form {
                frame.put(name, || Some(value.clone()), || json::quoted(value))?;
            }
            return Ok(frame);
        }
        let body = received.text()?;
        json::well_formed(body)?;
        for (name, raw) in json::members(body).ok_or(Refusal::NotAnObject)? {
            frame.put(&name, || text_of(raw), || raw.to_owned())?;
        }
        Ok(frame)
    }

    fn put(
        &mut self,
        name: &str,
        text: impl FnOnce() -> Option<String>,
        raw: impl FnOnce() -> String,
    ) -> Result<(), Refusal> {
        match MEMBERS.iter().position(|member| *member == name) {
            // Of two, one would be verified and the other perhaps read by somebody else.
            Some(at) if self.five.get(at).is_some_and(Option::is_some) => {
                return Err(Refusal::TwoData);
            }
            Some(at) => {
                if let Some(member) = self.five.get_mut(at) {
                    *member = text();
                }
            }
            None => self.others.push((name.to_owned(), raw())),
        }
        Ok(())
    }
}

/// A member's text: a string is unescaped, a number stays as it is. An object stands for its own
/// text (`bizParam` is documented as a string only).
fn text_of(raw: &str) -> Option<String> {
    match raw {
        "null" => None,
        _ if raw.starts_with('{') => Some(raw.to_owned()),
        _ => json::scalar(raw),
    }
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        match malformed {
            Malformed::NotJson => Self::NotJson,
            Malformed::TooDeep => Self::TooDeep,
        }
    }
}

/// Checks the frame, then the signature.
///
/// The signed string has no delimiters: that the application is this account's, the time is of
/// digits and `bizParam` is JSON keeps text from moving from one member into the next.
pub(super) fn verify(
    qianyi: &Qianyi,
    webhook: Webhook<Unverified>,
    _: SignatureHint,
) -> Result<Webhook<Verified>, Refusal> {
    read(qianyi, webhook, Signature::Checked)
}

/// Reads the frame of a push that was verified when it came in.
pub(super) fn reread(
    qianyi: &Qianyi,
    webhook: Webhook<Unverified>,
) -> Result<Webhook<Verified>, Refusal> {
    read(qianyi, webhook, Signature::CheckedBefore)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Signature {
    Checked,
    CheckedBefore,
}

fn read(
    qianyi: &Qianyi,
    webhook: Webhook<Unverified>,
    signature: Signature,
) -> Result<Webhook<Verified>, Refusal> {
    let frame = Frame::read(webhook.unverified())?;
    let [app_id, biz_param, service_type, timestamp, sign] = frame.five;
    let biz_param = biz_param.ok_or(Refusal::NoData)?;
    json::well_formed(&biz_param).map_err(|malformed| match malformed {
        Malformed::NotJson => Refusal::NotAFrame("bizParam"),
        Malformed::TooDeep => Refusal::TooDeep,
    })?;
    let sign = sign.filter(|sign| !sign.is_empty()).ok_or(Refusal::NoSignature)?;
    if app_id.as_deref() != Some(qianyi.app_id()) {
        return Err(Refusal::AnotherApplication);
    }
    let service_type =
        service_type.filter(|t| !t.is_empty()).ok_or(Refusal::NotAFrame("serviceType"))?;
    let digits = |t: &String| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    let timestamp = timestamp.filter(digits).ok_or(Refusal::NotAFrame("timestamp"))?;
    let signed = SignedRequest {
        app_id: qianyi.app_id(),
        biz_param: &biz_param,
        service_type: &service_type,
        timestamp: &timestamp,
    };
    if signature == Signature::Checked && !signed.is_signed_by(&sign, qianyi.secrets()) {
        return Err(Refusal::WrongSignature);
    }
    let event_id = EventId::of(qianyi.account(), &service_type, [("bizParam", &*biz_param)]);
    let mut signed_digest = [0; 16];
    // The type is signed too: the same content under another type is another push, not a replay.
    let digest = Sha256::new()
        .chain_update(service_type.as_bytes())
        .chain_update([0])
        .chain_update(biz_param.as_bytes())
        .finalize();
    signed_digest.iter_mut().zip(digest).for_each(|(to, byte)| *to = byte);
    let mut members = vec![("bizParam".to_owned(), biz_param), ("timestamp".to_owned(), timestamp)];
    members.extend(frame.others);
    Ok(webhook.verified(Verified {
        form: match signature {
            Signature::Checked => SIGNATURE_FORM,
            Signature::CheckedBefore => REREAD,
        },
        type_name: service_type,
        event_id,
        signed_digest,
        content: Content::Members(members),
    }))
}

/// Reads a push into its record.
pub(super) fn decode(
    webhook: &Webhook<Verified>,
    owner: OwnerOf<'_>,
) -> Result<Event, Unrecognized> {
    let state = webhook.state();
    let event_type = EVENT_TYPES
        .iter()
        .find(|event_type| event_type.name == state.type_name)
        .ok_or(Unrecognized::UnknownType)?;
    let texts: Vec<_> = webhook.members().iter().map(|(_, text)| text.as_bytes()).collect();
    bounds::check(&texts)?;
    let member = |name: &str| {
        webhook.members().iter().find(|(member, _)| member == name).map(|(_, text)| text.as_str())
    };
    let mut from = Reader::new("", member("bizParam").unwrap_or_default())?;
    let timestamp = member("timestamp").unwrap_or_default();
    let sent_at = reader::epoch(timestamp);
    // A time that no calendar holds is not lost either. `verify` puts the two first.
    let unread = sent_at.is_none().then_some(("timestamp", timestamp));
    let others = webhook.members().iter().skip(2).map(|(name, raw)| (name.as_str(), raw.as_str()));
    from.keep_frame(unread.into_iter().chain(others));
    let envelope = Envelope {
        id: state.event_id.clone(),
        // A push names no user: it belongs to the account whose appId signed it.
        account: owner(None).ok_or(Unrecognized::UnknownUser)?,
        sent_at,
        received_at: webhook.received().received_at,
    };
    event::read(event_type, envelope, from)
}

/// What the vendor is told, in the shape of its own answers (Qianyi guide, 响应格式).
pub(super) fn answer(answer: Answer) -> String {
    let (state, code, message) = match answer {
        Answer::Accepted => ("success", "0", ""),
        Answer::UnknownAccount => ("failure", "APP_NOT_EXIST", "no such account"),
        Answer::NoSignature => ("failure", "SIGNATURE_CANNOT_BE_BLANK", "sign is missing"),
        Answer::WrongSignature => ("failure", "SIGNATURE_ERROR", "sign is not this account's"),
        Answer::AnotherApplication => ("failure", "APP_NOT_EXIST", "appId is not this account's"),
        Answer::SourceNotAllowed => {
            ("failure", "SYSTEM_ERROR", "the source address is not allowed")
        }
        Answer::Malformed => (
            "failure",
            "SYSTEM_ERROR",
            "not a push of appId, bizParam, serviceType, timestamp, sign",
        ),
        Answer::TooLarge => ("failure", "SYSTEM_ERROR", "the body is too large"),
        Answer::UnknownEncoding => {
            ("failure", "SYSTEM_ERROR", "the content encoding is not gzip or deflate")
        }
        Answer::SignatureNotTried => ("failure", "SYSTEM_ERROR", "not checked, send it again"),
        Answer::Unavailable => ("failure", "SYSTEM_ERROR", "not taken, send it again"),
    };
    format!(r#"{{"state":"{state}","errorCode":"{code}","errorMsg":"{message}","bizContent":""}}"#)
}
