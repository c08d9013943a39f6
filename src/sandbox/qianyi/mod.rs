//! The simulated Qianyi (千易ERP).

pub(super) mod asns;
mod envelope;
mod form;
mod lists;
pub(super) mod pushes;
mod rules;
pub(super) mod sales_orders;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State as Owner};
use axum::http::{Method, Response, StatusCode};
use serde_json::Value;

use self::envelope::{Failure, Outcome, answer, message, outer_failure};
use self::form::{Form, Malformed};
use super::books::KeptDocument;
use super::exchange::{Answer, Visit, exchange};
use super::server::Line;
use super::settings::SandboxSettings;
use super::stock::Stock;
use super::{Shared, Vendor, locked};

/// What the vendor keeps.
#[derive(Debug)]
pub(super) struct State {
    /// By shop and `onlineOrderNumber`.
    orders: BTreeMap<(String, String), sales_orders::Order>,
    /// By the vendor's number.
    asns: BTreeMap<String, asns::Asn>,
    /// The vendor's number by `customNumber`.
    custom: BTreeMap<String, String>,
    stock: Stock,
    issued: u64,
}

impl State {
    pub(super) fn new(settings: &SandboxSettings) -> Self {
        Self {
            orders: BTreeMap::new(),
            asns: BTreeMap::new(),
            custom: BTreeMap::new(),
            stock: Stock::new(settings.goods.clone()),
            issued: 0,
        }
    }

    /// A number of the vendor's own. Callers must not read anything into its form.
    fn next_number(&mut self, prefix: &str) -> String {
        self.issued += 1;
        format!("{prefix}250623{:06}", self.issued)
    }

    fn room(&self, shared: &Shared, lines: usize) -> Result<(), Failure> {
        let documents = self.orders.len() + self.asns.len();
        match documents < shared.settings.limits.documents && self.stock.has_room(lines) {
            true => Ok(()),
            false => Err(Failure::new("SYSTEM_ERROR", "the sandbox is full")),
        }
    }

    /// Orders and ASNs for the books.
    pub(super) fn kept(&self) -> (Vec<KeptDocument>, Vec<KeptDocument>) {
        let orders = self.orders.iter().map(|((shop, number), order)| order.kept(shop, number));
        let asns = self.asns.iter().map(|(number, asn)| asn.kept(number));
        (orders.collect(), asns.collect())
    }
}

/// An operation: takes the parsed `bizParam`.
type Operation = fn(&Arc<Shared>, &mut State, &Value) -> Outcome;

/// What the sandbox knows: the path behind `/api/v1/`, the serviceType, the operation.
const OPERATIONS: [(&str, &str, Operation); 11] = [
    ("salesOrder", "CREATE_SALES_ORDER", sales_orders::create),
    ("salesOrder", "CREATE_AND_AUDIT_SALES_ORDER", sales_orders::create_and_audit),
    ("salesOrder", "AUDIT_SALES_ORDER", sales_orders::audit),
    ("salesOrder", "CLOSE_SALES_ORDER", sales_orders::close),
    ("salesOrder", "QUERY_SALES_ORDER_LIST", sales_orders::query),
    ("asn", "CREATE_ASN_ORDER", asns::create),
    ("asn", "CANCEL_ASN_ORDER", asns::cancel),
    ("asn", "QUERY_ASN_LIST", asns::query),
    ("inventory", "QUERY_SIMPLE_LIST_INVENTORY_V2", lists::inventory),
    ("warehouse", "QUERY_WAREHOUSE_LIST", lists::warehouses),
    ("shop", "QUERY_SHOP_LIST", lists::shops),
];

/// Serves every request to the simulated Qianyi.
pub(super) async fn handle(
    Owner(shared): Owner<Arc<Shared>>,
    ConnectInfo(line): ConnectInfo<Line>,
    request: Request,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let (method, path) = (parts.method.clone(), parts.uri.path().to_owned());
    let form = match to_bytes(body, shared.settings.limits.body).await {
        Ok(body) => form::read(parts, body).await,
        Err(_) => Err(Malformed::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large")),
    };
    let service_type = form.as_ref().ok().and_then(|form| form.service_type.clone());
    let visit = Visit {
        vendor: Vendor::Qianyi,
        line: &line,
        method: method.as_str(),
        path: &path,
        service_type: service_type.as_deref(),
    };
    exchange(&shared, visit, refuse, || serve(&shared, &method, &path, &form)).await
}

/// A refusal by order of a fault.
fn refuse(shared: &Shared, code: &str, text: Option<&str>, inner: bool) -> Answer {
    let text = text.unwrap_or_else(|| message(code));
    match inner {
        true => answer(shared, Err(Failure::new(code, text))),
        false => outer_failure(StatusCode::OK, code, text),
    }
}

fn serve(
    shared: &Arc<Shared>,
    method: &Method,
    path: &str,
    form: &Result<Form, Malformed>,
) -> Answer {
    if method != Method::POST {
        let status = StatusCode::METHOD_NOT_ALLOWED;
        return outer_failure(status, "SYSTEM_ERROR", "the method must be POST");
    }
    let Some(place) = path.strip_prefix("/api/v1/") else {
        let text = format!("there is no {path} in the sandbox");
        return outer_failure(StatusCode::NOT_FOUND, "SYSTEM_ERROR", &text);
    };
    let form = match form {
        Ok(form) => form,
        Err(malformed) => return malformed.answer(),
    };
    let now = shared.vendor_now(Vendor::Qianyi);
    let signed = match form::verify(&shared.settings.qianyi, form, now) {
        Ok(signed) => signed,
        Err(refusal) => return *refusal,
    };
    let known = OPERATIONS.iter().find(|(_, service, _)| *service == signed.service_type);
    let operation = match known {
        Some((at, _, operation)) if *at == place => operation,
        Some(_) => return refuse(shared, "SERVICE_TYPE_NOT_ALLOW", None, false),
        None => return refuse(shared, "SERVICE_TYPE_NOT_EXIST", None, false),
    };
    let Ok(body) = serde_json::from_str::<Value>(signed.biz_param) else {
        return refuse(shared, "DATA_INPUT_ERROR", Some("bizParam is not JSON"), false);
    };
    let names = ["onlineOrderNumber", "customNumber", "asnNumber", "number", "orderNumber"];
    let document = names.iter().find_map(|name| rules::text(&body, name)).map(str::to_owned);
    let outcome = operation(shared, &mut locked(&shared.qianyi), &body);
    answer(shared, outcome).about(document)
}
