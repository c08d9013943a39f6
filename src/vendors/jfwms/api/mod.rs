//! Commands out: what is checked before a call, the call itself, and what its answer means.

mod answers;
mod asn;
mod checks;
mod order;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

pub(super) use answers::{judge, judge_look_up, token_data};

use self::checks::Checks;
use super::{Jfwms, sign::CallHeaders};
use crate::domain::{
    Attempt, Body, Command, Faults, Method, PlannedCall, Secret,
    command::{Call, CancelAsn, CancelOrder, Decimal, VendorFields},
};
use crate::vendors::TokenCalls;

/// Checks a command; returns the paths of the fields that only inform and have no place here.
pub(super) fn check(command: &Command) -> Result<Vec<String>, Faults> {
    match command {
        Command::CreateOrder(order) => order::check(order),
        Command::CancelOrder(cancel) => check_cancel_order(cancel),
        Command::CreateAsn(asn) => asn::check(asn),
        Command::CancelAsn(cancel) => check_cancel_asn(cancel),
        Command::Call(call) => check_call(call),
    }
}

fn check_cancel_order(cancel: &CancelOrder) -> Result<Vec<String>, Faults> {
    let mut checks = Checks::new(&cancel.vendor_fields);
    checks.number("orderNumber", &cancel.order_number);
    checks.limit("erpNo", "orderNumber", Some(&cancel.order_number), 100);
    checks.informs("shop", cancel.shop.is_some());
    checks.done()
}

fn check_cancel_asn(cancel: &CancelAsn) -> Result<Vec<String>, Faults> {
    let mut checks = Checks::new(&cancel.vendor_fields);
    checks.number("asnNumber", &cancel.asn_number);
    checks.done()
}

/// `^/api(/[A-Za-z0-9_-]+)+$`, never `/api/oauth`: tokens are the connector's own business.
fn check_call(call: &Call) -> Result<Vec<String>, Faults> {
    let none = VendorFields::default();
    let mut checks = Checks::new(&none);
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let mut parts = call.path.split('/');
    let begins = parts.next() == Some("") && parts.next() == Some("api");
    let parts: Vec<_> = parts.collect();
    let plain = parts.iter().all(|part| !part.is_empty() && part.chars().all(allowed));
    if !begins || parts.is_empty() || !plain {
        checks.wrong(
            "path",
            "`path` is no path of a JFWMS operation: write it like /api/order/get, without query",
        );
    } else if parts.first().is_some_and(|part| part.eq_ignore_ascii_case("oauth")) {
        checks.wrong(
            "path",
            "`path` is an operation on tokens, which the connector keeps itself: use `wms-connector authorize`",
        );
    }
    if call.service_type.is_some() {
        checks.wrong(
            "serviceType",
            "`serviceType` is Qianyi's: leave it out, JFWMS names an operation by `path` alone",
        );
    }
    if serde_json::from_str::<serde::de::IgnoredAny>(&call.body).is_err() {
        checks.wrong("body", "`body` is not JSON: write the operation's JSON text");
    }
    checks.done()
}

/// The signed call of the operation.
pub(super) fn call(vendor: &Jfwms, command: &Command, attempt: &Attempt<'_>) -> PlannedCall {
    match command {
        Command::CreateOrder(order) => {
            let body = json(order::body(order));
            post(vendor, "/api/order/create", body, attempt)
        }
        Command::CancelOrder(cancel) => {
            let mut body = Map::new();
            body.insert("erpNo".into(), cancel.order_number.clone().into());
            merge(&mut body, &cancel.vendor_fields);
            post(vendor, "/api/order/cancel", json(body), attempt)
        }
        Command::CreateAsn(asn) => {
            let body = json(asn::body(asn, vendor.timezone()));
            post(vendor, "/api/inbound/create", body, attempt)
        }
        Command::CancelAsn(cancel) => {
            let mut body = Map::new();
            body.insert("erpNo".into(), cancel.asn_number.clone().into());
            let given = cancel.vendor_reference.as_deref().filter(|given| !given.is_empty());
            let reference = given.or(attempt.vendor_reference);
            set(&mut body, "inboundNo", reference);
            merge(&mut body, &cancel.vendor_fields);
            post(vendor, "/api/inbound/cancel", json(body), attempt)
        }
        Command::Call(call) => post(vendor, &call.path, call.body.clone(), attempt),
    }
}

/// The signed call that looks the document up by its number.
pub(super) fn look_up(
    vendor: &Jfwms,
    command: &Command,
    attempt: &Attempt<'_>,
) -> Option<PlannedCall> {
    let path = match command {
        Command::CreateOrder(_) | Command::CancelOrder(_) => "/api/order/get",
        Command::CreateAsn(_) | Command::CancelAsn(_) => "/api/inbound/get",
        Command::Call(_) => return None,
    };
    let mut body = Map::new();
    set(&mut body, "erpNo", command.document_number());
    Some(post(vendor, path, json(body), attempt))
}

/// A signed POST (JFWMS guide, 调用业务接口): every business operation is one, reads too.
fn post(vendor: &Jfwms, path: &str, body: String, attempt: &Attempt<'_>) -> PlannedCall {
    let settings = vendor.settings();
    let configured = if attempt.tokens.is_none() { vendor.configured() } else { None };
    let tokens = attempt.tokens.or(configured.as_ref());
    // Without a token the vendor answers 10004; the caller sees to it that there is one.
    let no_token = Secret::new("");
    let access_token = tokens.map_or(&no_token, |tokens| &tokens.access_token);
    let user_id = tokens.map_or("", |tokens| tokens.user_id.as_str());
    let timestamp = attempt.now.as_millisecond().to_string();
    let digits = attempt.nonce_digits.min(settings.nonce_digits);
    let nonce = nonce(attempt.nonce, digits).to_string();
    let signed = CallHeaders {
        client_id: &settings.client_id,
        access_token,
        user_id,
        timestamp: &timestamp,
        nonce: &nonce,
        path,
    }
    .sign(&settings.client_secret);
    PlannedCall {
        method: Method::Post,
        path: path.to_owned(),
        query: Vec::new(),
        headers: vec![
            ("clientId", settings.client_id.clone()),
            ("accessToken", access_token.expose().to_owned()),
            ("timestamp", timestamp),
            ("nonce", nonce),
            ("userId", user_id.to_owned()),
            ("sign", signed.sign),
            ("Content-Type", "application/json".to_owned()),
            // Texts of answers are localised; codes decide, but people read the texts.
            ("Accept-Language", "zh_CN".to_owned()),
        ],
        body: Body::Json(body),
    }
}

/// A random number of exactly `digits` digits, the first not zero.
fn nonce(random: u64, digits: u32) -> u64 {
    let lowest = 10_u64.pow(digits.clamp(2, 18) - 1);
    lowest + random % (9 * lowest)
}

fn json(body: Map<String, Value>) -> String {
    Value::Object(body).to_string()
}

/// Sets a member that has a value.
fn set<V: Into<Value>>(body: &mut Map<String, Value>, name: &str, value: Option<V>) {
    if let Some(value) = value {
        body.insert(name.to_owned(), value.into());
    }
}

/// Merges the caller's vendor fields, which win.
fn merge(body: &mut Map<String, Value>, vendor_fields: &VendorFields) {
    for (name, value) in vendor_fields {
        body.insert(name.clone(), value.clone());
    }
}

/// An amount as an exact JSON number.
fn number(decimal: &Decimal) -> Value {
    let text = decimal.plain();
    text.parse().map_or(Value::String(text), Value::Number)
}
