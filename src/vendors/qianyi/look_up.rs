//! Looks a document up by the caller's number (Qianyi, QUERY_SALES_ORDER_LIST, QUERY_ASN_LIST).
//!
//! `vendorFields` win in a create, so the number and shop that were really sent are looked up.

use serde_json::{Map, Value};

use super::{answer, compare, json, json_out::Body, judge};
use crate::domain::{
    Command, Details, Effect, LookUp, ReplyCategory, VendorAnswer, Verdict,
    command::{CancelAsn, VendorFields},
};

/// The largest page the vendor gives.
const PAGE_SIZE: u32 = 200;

/// What a document is looked up by.
enum Key<'a> {
    Order { number: &'a str, shop: &'a str },
    Asn { number: &'a str, member: &'static str },
}

/// The query of a command's document: path, operation, body.
pub(super) fn query(command: &Command) -> Option<(&'static str, &'static str, Map<String, Value>)> {
    let mut body = Body::default();
    let (path, service_type) = match key(command)? {
        Key::Order { number, shop } => {
            body.text("onlineOrderNumber", Some(number));
            body.text("shop", Some(shop).filter(|shop| !shop.is_empty()));
            ("salesOrder", "QUERY_SALES_ORDER_LIST")
        }
        Key::Asn { number, .. } => {
            body.text("number", Some(number));
            ("asn", "QUERY_ASN_LIST")
        }
    };
    body.value("page", 1.into());
    body.value("pageSize", PAGE_SIZE.into());
    Some((path, service_type, body.winning(&Map::new())))
}

/// What the answer to the query says about the command.
pub(super) fn judge_look_up(command: &Command, answer: &VendorAnswer) -> LookUp {
    let Some(key) = key(command) else { return LookUp::NotFound { vendor_may_be_working: false } };
    let success = match judge::classify(command.operation(), answer) {
        Ok(success) => success,
        Err(verdict) => return LookUp::Failed(without_effect(*verdict)),
    };
    let unreadable = || {
        LookUp::Failed(Verdict::Transient {
            effect: Effect::None,
            retry_after: None,
            details: Details {
                vendor_request_id: success.request_id.clone(),
                vendor_message: Some("the look-up's answer holds no list".to_owned()),
                ..Details::default()
            },
        })
    };
    let Some(inner) = success.inner() else { return unreadable() };
    let rows = match json::last(&inner, "result") {
        None | Some("null") => Vec::new(),
        Some(raw) => match json::elements(raw) {
            Some(rows) => rows,
            None => return unreadable(),
        },
    };
    // More than one page: what is not on this one may be on the next.
    let total = answer::text(&inner, "total").and_then(|total| total.parse().ok());
    let all_seen = total.is_none_or(|total: usize| total <= rows.len());
    let mut hits = Vec::new();
    for raw in rows {
        match serde_json::from_str::<Value>(raw) {
            Ok(row) if key.matches(&row) => hits.push((row, raw)),
            Ok(_) => {}
            Err(_) => return unreadable(),
        }
    }
    let details = |reference: Option<String>, result: Option<&str>| Details {
        vendor_request_id: success.request_id.clone(),
        vendor_reference: reference,
        result: result.map(str::to_owned),
        ..Details::default()
    };
    match hits.as_slice() {
        [(row, raw)] if all_seen => {
            let reference = compare::text(row.get(key.reference_member()));
            let (differences, compared) = compare::compare(command, row);
            LookUp::Found {
                details: details(reference, Some(raw)),
                differences,
                compared,
                cancelled: key.cancelled(row),
            }
        }
        [] if all_seen => LookUp::NotFound { vendor_may_be_working: false },
        _ => LookUp::Ambiguous(details(None, json::last(&inner, "result"))),
    }
}

fn key(command: &Command) -> Option<Key<'_>> {
    match command {
        Command::CreateOrder(c) => {
            Some(order_key(&c.vendor_fields, &c.order_number, c.shop.as_deref()))
        }
        Command::CancelOrder(c) => {
            Some(order_key(&c.vendor_fields, &c.order_number, c.shop.as_deref()))
        }
        Command::CreateAsn(c) => Some(Key::Asn {
            number: sent(&c.vendor_fields, "customNumber", &c.asn_number),
            member: "customNumber",
        }),
        Command::CancelAsn(c) => Some(cancel_asn_key(c)),
        Command::Call(_) => None,
    }
}

fn order_key<'a>(fields: &'a VendorFields, number: &'a str, shop: Option<&'a str>) -> Key<'a> {
    Key::Order {
        number: sent(fields, "onlineOrderNumber", number),
        shop: sent(fields, "shop", shop.unwrap_or_default()),
    }
}

fn cancel_asn_key(cancel: &CancelAsn) -> Key<'_> {
    match cancel.vendor_reference.as_deref() {
        Some(reference) if !reference.is_empty() => {
            Key::Asn { number: reference, member: "asnNumber" }
        }
        _ => Key::Asn { number: &cancel.asn_number, member: "customNumber" },
    }
}

/// What was sent under the vendor's name.
fn sent<'a>(fields: &'a VendorFields, name: &str, own: &'a str) -> &'a str {
    fields.get(name).and_then(Value::as_str).unwrap_or(own)
}

impl Key<'_> {
    /// The searches are wider than one field, so the equal number is required here.
    fn matches(&self, row: &Value) -> bool {
        match self {
            Self::Order { number, shop } => {
                let found = compare::text(row.get("shop"));
                compare::text(row.get("onlineOrderNumber")).as_deref() == Some(*number)
                    && (shop.is_empty() || found.is_none_or(|found| found == *shop))
            }
            Self::Asn { number, member } => {
                compare::text(row.get(member)).as_deref() == Some(*number)
            }
        }
    }

    fn reference_member(&self) -> &'static str {
        match self {
            Self::Order { .. } => "orderNumber",
            Self::Asn { .. } => "asnNumber",
        }
    }

    fn cancelled(&self, row: &Value) -> bool {
        let status = compare::text(row.get("status"));
        let deleted = compare::text(row.get("isDeleted"));
        let deleted = deleted.is_some_and(|deleted| deleted == "1" || deleted == "true");
        match (self, status.as_deref()) {
            (Self::Order { .. }, status) => deleted || status == Some("CLOSED"),
            (Self::Asn { .. }, Some("DELETED")) => true,
            // Closed after goods came in is the end of a receipt, not a cancellation.
            (Self::Asn { .. }, Some("CLOSED")) => !received_anything(row),
            (Self::Asn { .. }, _) => deleted,
        }
    }
}

fn received_anything(asn: &Value) -> bool {
    let lines = asn.get("asnSkuVOList").and_then(Value::as_array);
    lines.into_iter().flatten().any(|line| {
        ["receiveQuantity", "goodNum", "damageNum"].iter().any(|member| {
            compare::text(line.get(member)).is_some_and(|quantity| {
                quantity.parse::<f64>().map_or(true, |quantity| quantity > 0.0)
            })
        })
    })
}

/// A look-up changes nothing, whatever became of it.
fn without_effect(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Transient { retry_after, details, .. } => {
            Verdict::Transient { effect: Effect::None, retry_after, details }
        }
        // A search that is refused for its data says nothing about the document.
        Verdict::Duplicate(details) => {
            Verdict::Refused { category: ReplyCategory::Refused, details }
        }
        other => other,
    }
}
