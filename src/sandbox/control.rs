//! The control server: faults, behaviour, books and webhooks while the sandbox runs.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::behaviour::Behaviour;
use super::faults::FaultRule;
use super::webhook::{self, Webhook};
use super::{Shared, Vendor, locked};

/// What the control server understands, told at `GET /`.
const HELP: &str = "\
The sandbox's control server

GET    /healthz     200 while it runs
GET    /books       orders, ASNs, effects per document, requests and webhooks
GET    /faults      the faults that are switched on, and how often each has happened
PUT    /faults      replaces them: {\"rules\":[RULE, …], \"seed\":1}
POST   /faults      adds one: RULE
DELETE /faults      removes them
GET    /behaviour   addresses of webhooks, clocks, delays, modes
PUT    /behaviour   changes the members that are named and leaves the others
POST   /webhooks    signs and queues one: {\"vendor\":\"jfwms\",\"type\":\"order\",\"data\":{…}}
POST   /ship        ships an order now: {\"vendor\":\"jfwms\",\"number\":\"…\"}
POST   /receive     puts an inbound or ASN away now: {\"vendor\":\"qianyi\",\"number\":\"…\"}
POST   /tokens/expire  ends every access token of JFWMS

RULE: {\"vendor\":\"jfwms\"|\"qianyi\", \"endpoint\":\"/api/order/*\"|\"CREATE_*\", \"probability\":0..1,
       \"skip\":n, \"times\":n, \"fault\":FAULT}; only \"fault\" is needed
FAULT: {\"latency\":{\"ms\":n,\"jitter_ms\":n,\"after_work\":bool}}
       {\"refuse\":{\"code\":\"…\",\"message\":\"…\",\"inner\":bool}}
       {\"status\":{\"status\":503,\"retry_after\":{\"seconds\":n}|{\"date-in\":n},\"body\":\"…\"}}
       \"drop-before-work\" \"drop-after-work\" \"truncate\" \"garbage\" \"expire-tokens\"
";

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/", get(async || ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], HELP)))
        .route("/healthz", get(async || Json(json!({"status": "ok"}))))
        .route("/books", get(books))
        .route("/faults", get(faults).put(set_faults).post(add_fault).delete(clear_faults))
        .route("/behaviour", get(behaviour).put(set_behaviour))
        .route("/webhooks", post(send_webhook))
        .route("/ship", post(ship))
        .route("/receive", post(receive))
        .route("/tokens/expire", post(expire_tokens))
}

type Owner = State<Arc<Shared>>;

/// A request that the control server cannot follow.
#[derive(Debug)]
struct Wrong(StatusCode, String);

impl Wrong {
    fn because(reason: impl ToString) -> Self {
        Self(StatusCode::BAD_REQUEST, reason.to_string())
    }
}

impl IntoResponse for Wrong {
    fn into_response(self) -> Response {
        (self.0, Json(json!({"error": self.1}))).into_response()
    }
}

fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Wrong> {
    serde_json::from_slice(body).map_err(Wrong::because)
}

async fn books(State(shared): Owner) -> Response {
    Json(shared.snapshot()).into_response()
}

async fn faults(State(shared): Owner) -> Response {
    Json(json!({"rules": shared.faults.rules()})).into_response()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Drill {
    rules: Vec<FaultRule>,
    #[serde(default)]
    seed: Option<u64>,
}

async fn set_faults(State(shared): Owner, body: Bytes) -> Result<Response, Wrong> {
    let drill: Drill = read(&body)?;
    shared.faults.set(drill.rules).map_err(Wrong::because)?;
    if let Some(seed) = drill.seed {
        shared.faults.reseed(seed);
    }
    Ok(faults(State(shared)).await)
}

async fn add_fault(State(shared): Owner, body: Bytes) -> Result<Response, Wrong> {
    shared.faults.add(read(&body)?).map_err(Wrong::because)?;
    Ok(faults(State(shared)).await)
}

async fn clear_faults(State(shared): Owner) -> Response {
    shared.faults.clear();
    faults(State(shared)).await
}

async fn behaviour(State(shared): Owner) -> Response {
    Json(shared.behaviour()).into_response()
}

async fn set_behaviour(State(shared): Owner, body: Bytes) -> Result<Response, Wrong> {
    let named: Value = read(&body)?;
    let changed = {
        let mut behaviour = locked(&shared.behaviour);
        let mut whole = serde_json::to_value(&*behaviour).map_err(Wrong::because)?;
        merge(&mut whole, named);
        let changed: Behaviour = serde_json::from_value(whole).map_err(Wrong::because)?;
        behaviour.clone_from(&changed);
        changed
    };
    Ok(Json(changed).into_response())
}

/// Puts the members of `from` over those of `into`, object by object.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

async fn send_webhook(State(shared): Owner, body: Bytes) -> Result<Response, Wrong> {
    let webhook: Webhook = read(&body)?;
    webhook::send(&shared, webhook).map_err(Wrong::because)?;
    Ok((StatusCode::ACCEPTED, Json(json!({"queued": true}))).into_response())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    vendor: Vendor,
    number: String,
}

async fn ship(State(shared): Owner, body: Bytes) -> Result<Response, Wrong> {
    let Document { vendor, number } = read(&body)?;
    done(shared.ship(vendor, &number), &format!("{vendor} has no order {number} to ship"))
}

async fn receive(State(shared): Owner, body: Bytes) -> Result<Response, Wrong> {
    let Document { vendor, number } = read(&body)?;
    done(shared.receive(vendor, &number), &format!("{vendor} has no inbound {number} to receive"))
}

fn done(done: bool, otherwise: &str) -> Result<Response, Wrong> {
    match done {
        true => Ok(Json(json!({"done": true})).into_response()),
        false => Err(Wrong(StatusCode::NOT_FOUND, otherwise.to_owned())),
    }
}

async fn expire_tokens(State(shared): Owner) -> Response {
    shared.expire_tokens();
    Json(json!({"done": true})).into_response()
}
