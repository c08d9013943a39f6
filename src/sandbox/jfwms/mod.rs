//! The simulated JFWMS (极风WMS).

mod codes;
pub(super) mod inbounds;
mod inventory;
mod oauth;
pub(super) mod orders;
mod sign;
pub(super) mod webhooks;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, FromRequestParts, Query, Request, State as Owner};
use axum::http::request::Parts;
use axum::http::{Method, Response, StatusCode};
use serde_json::Value;

use self::codes::{Refusal, envelope, message};
use super::books::KeptDocument;
use super::exchange::{Answer, Visit, exchange};
use super::server::Line;
use super::settings::SandboxSettings;
use super::stock::{Line as StockLine, Stock};
use super::{Shared, Vendor, locked};

/// What the vendor keeps.
#[derive(Debug)]
pub(super) struct State {
    pub(super) tokens: oauth::Tokens,
    nonces: sign::Nonces,
    /// By user and `erpNo`: the number is unique per customer.
    orders: BTreeMap<(u64, String), orders::Order>,
    /// By user and `erpNo`.
    inbounds: BTreeMap<(u64, String), inbounds::Inbound>,
    stock: Stock,
    issued: u64,
}

impl State {
    pub(super) fn new(settings: &SandboxSettings) -> Self {
        let now = super::time::vendor_now(settings.behaviour.jfwms.clock_offset_ms);
        Self {
            tokens: oauth::Tokens::new(&settings.jfwms, now),
            nonces: sign::Nonces::new(settings.jfwms.nonce_window, settings.limits.nonces),
            orders: BTreeMap::new(),
            inbounds: BTreeMap::new(),
            stock: Stock::new(settings.goods.clone()),
            issued: 0,
        }
    }

    /// A number of the vendor's own.
    fn next_number(&mut self, prefix: &str) -> String {
        self.issued += 1;
        format!("{prefix}{:07}", self.issued)
    }

    /// Refuses with the vendor's "try later" once the sandbox is full.
    fn room(&self, shared: &Shared, lines: usize) -> Result<(), Refusal> {
        let documents = self.orders.len() + self.inbounds.len();
        match documents < shared.settings.limits.documents && self.stock.has_room(lines) {
            true => Ok(()),
            false => Err(Refusal::about(1, "the sandbox is full")),
        }
    }

    /// Orders and inbounds for the books.
    pub(super) fn kept(&self) -> (Vec<KeptDocument>, Vec<KeptDocument>) {
        let orders = self.orders.iter().map(|((user, number), order)| order.kept(*user, number));
        let inbounds =
            self.inbounds.iter().map(|((user, number), inbound)| inbound.kept(*user, number));
        (orders.collect(), inbounds.collect())
    }
}

/// What an endpoint gives: the `data` of a success.
type Outcome = Result<Value, Refusal>;

/// Serves every request to the simulated JFWMS.
pub(super) async fn handle(
    Owner(shared): Owner<Arc<Shared>>,
    ConnectInfo(line): ConnectInfo<Line>,
    request: Request,
) -> Response<Body> {
    let (mut parts, body) = request.into_parts();
    let body = to_bytes(body, shared.settings.limits.body).await;
    let query = Query::from_request_parts(&mut parts, &()).await.map(|Query(query)| query);
    let visit = Visit {
        vendor: Vendor::Jfwms,
        line: &line,
        method: parts.method.as_str(),
        path: parts.uri.path(),
        service_type: None,
    };
    exchange(&shared, visit, refuse, || match (&body, &query) {
        (Ok(body), Ok(query)) => serve(&shared, &parts, query, body),
        (Err(_), _) => {
            let text = format!("{}: the body is too large or was cut off", message(10001));
            envelope(StatusCode::PAYLOAD_TOO_LARGE, "10001", &text, Value::Null)
        }
        (_, Err(_)) => Refusal::about(10001, "the query cannot be read").answer(),
    })
    .await
}

/// A refusal by order of a fault.
fn refuse(_: &Shared, code: &str, text: Option<&str>, _inner: bool) -> Answer {
    let documented = || code.parse().map_or("refused by the sandbox", message);
    envelope(StatusCode::OK, code, text.unwrap_or_else(documented), Value::Null)
}

fn serve(shared: &Arc<Shared>, parts: &Parts, query: &oauth::Query, body: &Bytes) -> Answer {
    let path = parts.uri.path();
    let settings = &shared.settings.jfwms;
    let now = shared.vendor_now(Vendor::Jfwms);
    let oauth = match path {
        "/api/oauth/authorize" => Some(oauth::authorize as fn(_, &mut _, _, _) -> Outcome),
        "/api/oauth/accessToken" => Some(oauth::access_token as _),
        "/api/oauth/refreshToken" => Some(oauth::refresh_token as _),
        _ => None,
    };
    if let Some(step) = oauth {
        return match parts.method == Method::GET {
            true => answer(step(settings, &mut locked(&shared.jfwms).tokens, query, now)),
            false => wrong_method("GET"),
        };
    }
    let Some(operation) = operation(path) else {
        let text = format!("{}: there is no {path} in the sandbox", message(10001));
        return envelope(StatusCode::NOT_FOUND, "10001", &text, Value::Null);
    };
    if parts.method != Method::POST {
        return wrong_method("POST");
    }
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let mut state = locked(&shared.jfwms);
    let verified = sign::Call::read(header).and_then(|call| {
        let State { tokens, nonces, .. } = &mut *state;
        sign::verify(settings, tokens, nonces, &call, path, now)
    });
    let user = match verified {
        Ok(user) => user,
        Err(refusal) => return refusal.answer(),
    };
    let is_json = header("content-type").is_some_and(|kind| {
        let kind = kind.split(';').next().unwrap_or_default();
        kind.trim().eq_ignore_ascii_case("application/json")
    });
    if !is_json {
        return Refusal::about(10001, "Content-Type must be application/json").answer();
    }
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        return Refusal::about(10001, "the body is not JSON").answer();
    };
    if !body.is_object() {
        return Refusal::about(10001, "the body is not a JSON object").answer();
    }
    let document = text(&body, "erpNo").or_else(|| text(&body, "inboundNo")).map(str::to_owned);
    answer(operation(shared, &mut state, user, &body)).about(document)
}

/// An endpoint: who asks, and the body.
type Operation = fn(&Arc<Shared>, &mut State, u64, &Value) -> Outcome;

fn operation(path: &str) -> Option<Operation> {
    Some(match path {
        "/api/order/create" => orders::create,
        "/api/order/cancel" => orders::cancel,
        "/api/order/get" => orders::get,
        "/api/order/batchGet" => orders::batch_get,
        "/api/inbound/create" => inbounds::create,
        "/api/inbound/cancel" => inbounds::cancel,
        "/api/inbound/get" => inbounds::get,
        "/api/inventory/queryInventory" => inventory::query,
        "/api/warehouse/getList" => inventory::warehouses,
        _ => return None,
    })
}

fn answer(outcome: Outcome) -> Answer {
    match outcome {
        Ok(data) => envelope(StatusCode::OK, "0", "success", data),
        Err(refusal) => refusal.answer(),
    }
}

fn wrong_method(right: &str) -> Answer {
    let text = format!("{}: the method must be {right}", message(10001));
    envelope(StatusCode::METHOD_NOT_ALLOWED, "10001", &text, Value::Null)
}

/// A text member that is not empty.
fn text<'a>(body: &'a Value, name: &str) -> Option<&'a str> {
    body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// A text member, or a refusal where it is something else than text.
fn text_or_nothing<'a>(body: &'a Value, name: &str) -> Result<Option<&'a str>, Refusal> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        Some(_) => Err(Refusal::about(10001, &format!("{name} must be a text"))),
    }
}

/// The warehouse must be given and known.
fn warehouse(shared: &Shared, body: &Value) -> Result<String, Refusal> {
    let code = text_or_nothing(body, "warehouse")?.ok_or_else(|| Refusal::new(10043))?;
    match shared.settings.jfwms.warehouses.iter().any(|known| known == code) {
        true => Ok(code.to_owned()),
        false => Err(Refusal::new(10041)),
    }
}

/// The lines of a document: orders count in `num`, inbounds in `count`.
fn lines(body: &Value, count: &str, no_sku: u32, no_count: u32) -> Result<Vec<StockLine>, Refusal> {
    let list = body.get("skuList").and_then(Value::as_array);
    let list = list.filter(|list| !list.is_empty()).ok_or_else(|| Refusal::new(no_sku))?;
    let line = |line: &Value| {
        let sku = text(line, "sku").ok_or_else(|| Refusal::new(no_sku))?;
        let quantity = line.get(count).and_then(Value::as_i64);
        let quantity = quantity.filter(|quantity| (1..=1_000_000_000).contains(quantity));
        let quantity = quantity.ok_or_else(|| Refusal::new(no_count))?;
        Ok(StockLine { sku: sku.to_owned(), quantity })
    };
    list.iter().map(line).collect()
}
