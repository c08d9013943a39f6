//! What the vendor's answers mean. The body decides first: JFWMS refuses with HTTP 200.

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::{Map, Value, value::RawValue};

use super::{
    super::{
        Jfwms,
        codes::{Class, Code, UNKNOWN},
        json::{Members, text_or_number, too_deep},
    },
    asn, order,
};
use crate::domain::{
    Command, Details, Effect, LookUp, ReplyCategory, TokenRefusal, VendorAnswer, Verdict, whole,
};

/// `{code, message, data, requestId}`.
struct Envelope<'a> {
    /// The code; `None` where it is no number that fits.
    code: Option<i64>,
    details: Details,
    /// The raw text of `data`; `None` where it is null.
    data: Option<&'a str>,
}

impl<'a> Envelope<'a> {
    /// Reads an answer's body; `None` where it is not the vendor's.
    fn read(answer: &'a VendorAnswer) -> Option<Self> {
        let body = answer.text().filter(|body| !too_deep(body))?;
        let members = Members::read(body).ok()?;
        // The samples show a number; a text with the number is taken too, and what it is decides,
        // not how it is written: an order whose answer says 0.0 is in place.
        let code = members.get("code").and_then(text_or_number)?;
        let number = whole(code.trim());
        let data = members.get("data").filter(|raw| *raw != "null");
        let owned = |name| members.get(name).and_then(text_or_number).map(Cow::into_owned);
        let details = Details {
            vendor_code: Some(code.trim().to_owned()),
            vendor_message: owned("message"),
            vendor_request_id: owned("requestId"),
            result: data.map(str::to_owned),
            ..Details::default()
        };
        Some(Self { code: number, details, data })
    }

    fn known(&self) -> Option<Code> {
        self.code.and_then(Code::of)
    }
}

/// Which call an answer belongs to.
#[derive(Clone, Copy)]
enum Asked<'a> {
    Operation(&'a Command),
    /// A look-up changes nothing.
    LookUp,
}

impl Asked<'_> {
    /// Whether the call may have done its work although it failed.
    fn effect(self) -> Effect {
        match self {
            Self::Operation(Command::Call(call)) if call.idempotent => Effect::None,
            Self::Operation(_) => Effect::Possible,
            Self::LookUp => Effect::None,
        }
    }
}

/// What the answer to the operation means.
pub(in super::super) fn judge(command: &Command, answer: &VendorAnswer) -> Verdict {
    verdict(Asked::Operation(command), answer)
}

fn verdict(asked: Asked<'_>, answer: &VendorAnswer) -> Verdict {
    let Some(envelope) = Envelope::read(answer) else {
        let vendor_message = Some(answer.unreadable("JFWMS"));
        return by_status(asked, answer, Details { vendor_message, ..Details::default() });
    };
    let known = envelope.known();
    let succeeded = (200..300).contains(&answer.status);
    // The error page of a gateway or a framework may have a `code` as well. What the vendor's
    // table does not know is believed to be a refusal, and a success to be one, only under a
    // status of success.
    if !succeeded && known.is_none_or(|code| code.class() == Class::Success) {
        return by_status(asked, answer, envelope.details);
    }
    by_code(asked, answer, known, envelope)
}

/// Without the vendor's body there is only the status.
fn by_status(asked: Asked<'_>, answer: &VendorAnswer, details: Details) -> Verdict {
    let retry_after = answer.retry_after;
    match answer.status {
        429 => Verdict::Throttled { retry_after, details },
        503 if retry_after.is_some() => Verdict::Throttled { retry_after, details },
        408 | 425 => Verdict::Transient { effect: asked.effect(), retry_after, details },
        // Something before the vendor. A redirect is never followed.
        status @ 300..=499 => Verdict::Blocked { status, details },
        _ => Verdict::Transient { effect: asked.effect(), retry_after, details },
    }
}

fn by_code(
    asked: Asked<'_>,
    answer: &VendorAnswer,
    code: Option<Code>,
    envelope: Envelope<'_>,
) -> Verdict {
    let (class, category) = code.map_or(UNKNOWN, |code| (code.class(), code.category()));
    let mut details = envelope.details;
    details.field = code.and_then(|code| field(asked, code));
    let retry_after = answer.retry_after;
    let transient = |details| Verdict::Transient { effect: asked.effect(), retry_after, details };
    let refused = |category, details| Verdict::Refused { category, details };
    match class {
        Class::Success => {
            details.vendor_reference = reference(asked, envelope.data);
            Verdict::Succeeded(details)
        }
        Class::Accepted => match asked {
            Asked::Operation(Command::CancelOrder(_) | Command::Call(_)) => {
                Verdict::Accepted(details)
            }
            Asked::Operation(
                Command::CreateOrder(_) | Command::CreateAsn(_) | Command::CancelAsn(_),
            )
            | Asked::LookUp => refused(ReplyCategory::Other, details),
        },
        Class::AlreadyCancelled => match asked {
            Asked::Operation(Command::CancelOrder(_)) => Verdict::AlreadyDone(details),
            Asked::Operation(
                Command::CreateOrder(_)
                | Command::CreateAsn(_)
                | Command::CancelAsn(_)
                | Command::Call(_),
            )
            | Asked::LookUp => refused(category, details),
        },
        Class::Duplicate => match (asked, code) {
            (Asked::Operation(Command::CreateOrder(_)), Some(Code::OrderNumberExists))
            | (Asked::Operation(Command::CreateAsn(_)), Some(Code::InboundNumberExists)) => {
                Verdict::Duplicate(details)
            }
            // Nothing of ours has that number: there is nothing to compare with.
            _ => refused(category, details),
        },
        Class::NotFound | Class::Refused => match (asked, code) {
            (Asked::Operation(Command::CancelAsn(_)), Some(Code::InboundNotCancellable))
                if details.vendor_message.as_deref().is_some_and(refused_as_cancelled) =>
            {
                Verdict::AlreadyDone(details)
            }
            _ => refused(category, details),
        },
        Class::InProgress | Class::Transient => transient(details),
        Class::SessionExpired => Verdict::SessionExpired(details),
        Class::ClockSkew => Verdict::ClockSkew(details),
        Class::NonceRepeated => Verdict::NonceRepeated(details),
        Class::NonceFormat => Verdict::NonceFormat(details),
        Class::Misconfigured => Verdict::Misconfigured(details),
    }
}

/// Whether the message of 40005, 当前状态(XXX)不允许取消入库单, names a state in which the inbound
/// is cancelled. The names of the states are documented nowhere; what is no such word stays a
/// refusal.
fn refused_as_cancelled(message: &str) -> bool {
    let state = message.split_once(['(', '（']).map(|(_, rest)| rest);
    let state = state.and_then(|rest| rest.split_once([')', '）'])).map(|(state, _)| state);
    state.is_some_and(says_cancelled)
}

fn says_cancelled(state: &str) -> bool {
    state.contains("取消") || state.to_lowercase().contains("cancel")
}

/// The command's field that a code is about.
fn field(asked: Asked<'_>, code: Code) -> Option<&'static str> {
    match asked {
        Asked::Operation(Command::CreateOrder(_)) => code.order_field(),
        Asked::Operation(Command::CreateAsn(_)) => code.asn_field(),
        // A cancellation has nothing but its number.
        Asked::Operation(Command::CancelOrder(_)) => {
            code.order_field().filter(|field| *field == "orderNumber")
        }
        Asked::Operation(Command::CancelAsn(_)) => {
            code.asn_field().filter(|field| *field == "asnNumber")
        }
        Asked::Operation(Command::Call(_)) | Asked::LookUp => None,
    }
}

/// The vendor's own number in the answer to a creation. What `data` of `/api/order/create` holds
/// is documented nowhere, so an order's number is read by a look-up alone.
fn reference(asked: Asked<'_>, data: Option<&str>) -> Option<String> {
    match asked {
        Asked::Operation(Command::CreateAsn(_)) => {
            text_of(&Members::read(data?).ok()?, "inboundNo")
        }
        Asked::Operation(
            Command::CreateOrder(_)
            | Command::CancelOrder(_)
            | Command::CancelAsn(_)
            | Command::Call(_),
        )
        | Asked::LookUp => None,
    }
}

/// What the answer to the look-up means for this command.
pub(in super::super) fn judge_look_up(
    vendor: &Jfwms,
    command: &Command,
    answer: &VendorAnswer,
) -> LookUp {
    let verdict = verdict(Asked::LookUp, answer);
    match verdict {
        Verdict::Succeeded(details) => found(vendor, command, details),
        // Also for an order that still waits in OMS, and for one the vendor is working on.
        Verdict::Refused { category: ReplyCategory::NotFound, .. } => {
            LookUp::NotFound { vendor_may_be_working: true }
        }
        verdict @ (Verdict::Accepted(_)
        | Verdict::AlreadyDone(_)
        | Verdict::Duplicate(_)
        | Verdict::Refused { .. }
        | Verdict::Throttled { .. }
        | Verdict::Transient { .. }
        | Verdict::SessionExpired(_)
        | Verdict::ClockSkew(_)
        | Verdict::NonceRepeated(_)
        | Verdict::NonceFormat(_)
        | Verdict::Blocked { .. }
        | Verdict::Misconfigured(_)) => LookUp::Failed(verdict),
    }
}

fn found(vendor: &Jfwms, command: &Command, mut details: Details) -> LookUp {
    let data = details.result.clone().unwrap_or_default();
    let one = match documents(&data).as_slice() {
        [] => return LookUp::NotFound { vendor_may_be_working: true },
        [one] => (*one).to_owned(),
        _ => return LookUp::Ambiguous(details),
    };
    let Ok(document) = Members::read(&one) else {
        let effect = Effect::None;
        return LookUp::Failed(Verdict::Transient { effect, retry_after: None, details });
    };
    // What is compared is what was sent, vendor fields included, wherever it comes back under the name
    // under which it was sent. No recipient does.
    let (own_number, asked, pairs, quantity): (_, _, &[_], _) = match command {
        Command::CreateOrder(command) => ("orderNo", order::body(command), &ORDER_FIELDS, "num"),
        Command::CancelOrder(command) => {
            ("orderNo", only_number(&command.order_number), &[NUMBER], "num")
        }
        Command::CreateAsn(command) => {
            ("inboundNo", asn::body(command, vendor.timezone()), &ASN_FIELDS, "count")
        }
        Command::CancelAsn(command) => {
            ("inboundNo", only_number(&command.asn_number), &[ASN_NUMBER], "count")
        }
        Command::Call(_) => ("", Map::new(), &[], ""),
    };
    let (mut compared, mut differences) = (Vec::new(), Vec::new());
    for (vendor_name, field) in pairs {
        let asked = asked.get(*vendor_name).and_then(as_text);
        let (Some(asked), Some(found)) = (asked, text_of(&document, vendor_name)) else {
            continue;
        };
        compared.push(*field);
        if asked != found {
            differences.push(format!("{field}: asked \"{asked}\", found \"{found}\""));
        }
    }
    let lines = document.get(LINES).and_then(|raw| serde_json::from_str(raw).ok());
    let lines = lines.as_ref().and_then(|lines| quantities(lines, quantity));
    let asked_lines = asked.get(LINES).and_then(|lines| quantities(lines, quantity));
    if let (Some(asked), Some(found)) = (asked_lines, lines) {
        compared.push("lines");
        if asked != found {
            differences.push(format!("lines: asked {}, found {}", listed(&asked), listed(&found)));
        }
    }
    details.vendor_reference = text_of(&document, own_number);
    // An order's states are numbers that known clients agree on; an inbound's are documented
    // nowhere, so only a word that says it is believed.
    let status = text_of(&document, "status");
    let cancelled = match own_number {
        "orderNo" => status.as_deref().and_then(|status| whole(status.trim())) == Some(9),
        _ => status.as_deref().is_some_and(says_cancelled),
    };
    LookUp::Found { details, differences, compared, cancelled }
}

/// The vendor's member and the command's field that are the same thing.
type Pair = (&'static str, &'static str);
const NUMBER: Pair = ("erpNo", "orderNumber");
const ASN_NUMBER: Pair = ("erpNo", "asnNumber");
/// `trackingNo` is compared only where the command set it: the warehouse may assign one of its own.
///
/// `currency` is not compared. `/api/order/get` returns it beside `logisticsFee`, and whether it is
/// the order's or the fee's is documented nowhere: a difference that is none would tell the sender
/// of a repeated order that it was refused, while it is in place.
const ORDER_FIELDS: [Pair; 3] = [
    NUMBER,
    ("platformOrderNo", "platformOrderNumber"),
    ("trackingNo", "logistics.trackingNumber"),
];
/// What `/api/inbound/get` returns is documented nowhere: what it happens to return under the
/// names of the request is compared, and nothing is required.
///
/// `expectedTime` and `remark` are not: in which form a time comes back, and who else writes a remark,
/// is documented nowhere, and a difference that is none would tell the sender that it was refused.
const ASN_FIELDS: [Pair; 4] = [
    ASN_NUMBER,
    ("trackingNo", "trackingNumbers"),
    ("warehouse", "warehouse"),
    ("receiptType", "packing"),
];

/// The lines of a document, in what is sent.
const LINES: &str = "skuList";
/// So many SKUs stand in a message.
const LISTED: usize = 5;

/// How much of each SKU; `None` where these are no such lines.
fn quantities(lines: &Value, quantity: &str) -> Option<BTreeMap<String, i128>> {
    let mut all = BTreeMap::new();
    for line in lines.as_array()? {
        let sku = as_text(line.get("sku")?)?;
        let count = as_text(line.get(quantity)?).as_deref().and_then(whole)?;
        *all.entry(sku).or_default() += i128::from(count);
    }
    (!all.is_empty()).then_some(all)
}

fn listed(quantities: &BTreeMap<String, i128>) -> String {
    let mut text: Vec<String> =
        quantities.iter().take(LISTED).map(|(sku, count)| format!("{sku} x {count}")).collect();
    if let Some(more @ 1..) = quantities.len().checked_sub(LISTED) {
        text.push(format!("{more} more"));
    }
    text.join(", ")
}

fn only_number(number: &str) -> Map<String, Value> {
    Map::from_iter([("erpNo".to_owned(), Value::from(number))])
}

/// The documents in `data`: one object, or an array of them.
fn documents(data: &str) -> Vec<&str> {
    if data.starts_with('[') {
        let elements: Vec<&RawValue> = serde_json::from_str(data).unwrap_or_default();
        return elements.into_iter().map(RawValue::get).collect();
    }
    if data.is_empty() { Vec::new() } else { vec![data] }
}

/// A member as text; null, empty and anything but a text or a number are none.
fn text_of(members: &Members<'_>, name: &str) -> Option<String> {
    let text = members.get(name).and_then(text_or_number)?;
    Some(text.into_owned()).filter(|text| !text.is_empty())
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// `data` of an answer to a token call.
pub(in super::super) fn token_data(answer: &VendorAnswer) -> Result<String, TokenRefusal> {
    let status = answer.status;
    let succeeded = (200..300).contains(&status);
    let envelope = Envelope::read(answer);
    // A gateway's own `code` says nothing about the tokens: taken for the vendor's refusal, it
    // would cost an authorisation by a person. And a success is one only under a status of success, as
    // for every other call.
    let vendors = |read: &Envelope<'_>| {
        succeeded || read.known().is_some_and(|code| code.class() != Class::Success)
    };
    let Some(envelope) = envelope.filter(vendors) else {
        return Err(match status {
            408 | 425 | 429 | 500..=599 => TokenRefusal::Transient(format!("HTTP {status}")),
            _ => TokenRefusal::Unreadable(format!(
                "HTTP {status} without the vendor's answer; check the account's `base_url` and \
                 what is between the connector and the vendor"
            )),
        });
    };
    let (class, _) = envelope.known().map_or(UNKNOWN, |code| (code.class(), code.category()));
    let code = envelope.details.vendor_code.unwrap_or_default();
    let message = envelope.details.vendor_message.unwrap_or_default();
    match class {
        Class::Success => envelope
            .data
            .map(str::to_owned)
            .ok_or_else(|| TokenRefusal::Unreadable("`data` is missing".to_owned())),
        Class::Transient | Class::InProgress => {
            Err(TokenRefusal::Transient(format!("code {code}: {message}")))
        }
        Class::Accepted
        | Class::AlreadyCancelled
        | Class::Duplicate
        | Class::NotFound
        | Class::Refused
        | Class::SessionExpired
        | Class::ClockSkew
        | Class::NonceRepeated
        | Class::NonceFormat
        | Class::Misconfigured => Err(TokenRefusal::Refused { code, message }),
    }
}
