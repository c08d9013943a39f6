//! A registry in front of the real one: it knows GUIDs, as Confluent's does and Apicurio does not,
//! and may be away.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// The largest body that is passed on.
const LIMIT: usize = 4 << 20;

/// The front. Dropping it closes its port.
pub(crate) struct RegistryFront {
    url: String,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

struct Shared {
    behind: String,
    client: reqwest::Client,
    guids: Mutex<HashMap<Uuid, String>>,
    away: AtomicBool,
    refused: AtomicUsize,
}

impl RegistryFront {
    /// Stands before the registry at this URL.
    pub(crate) async fn start(behind: &str) -> Self {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20));
        let shared = Arc::new(Shared {
            behind: behind.to_owned(),
            client: client.build().unwrap(),
            guids: Mutex::default(),
            away: AtomicBool::new(false),
            refused: AtomicUsize::new(0),
        });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared, serving }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// From now on a schema has this GUID.
    pub(crate) fn give_guid(&self, guid: Uuid, schema: &str) {
        self.shared.guids.lock().unwrap().insert(guid, schema.to_owned());
    }

    /// Whether it answers nothing but 503.
    pub(crate) fn set_away(&self, away: bool) {
        self.shared.away.store(away, Ordering::SeqCst);
    }

    /// How many requests it did not answer because it was away.
    pub(crate) fn refused(&self) -> usize {
        self.shared.refused.load(Ordering::SeqCst)
    }
}

impl Drop for RegistryFront {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    if shared.away.load(Ordering::SeqCst) {
        shared.refused.fetch_add(1, Ordering::SeqCst);
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let target = request.uri().to_string();
    if let Some(guid) = target.strip_prefix("/schemas/guids/") {
        let guid: Uuid = guid.parse().unwrap();
        return match shared.guids.lock().unwrap().get(&guid) {
            Some(schema) => Json(json!({"guid": guid, "schema": schema})).into_response(),
            None => {
                let refusal = json!({"error_code": 40403, "message": "Schema not found"});
                (StatusCode::NOT_FOUND, Json(refusal)).into_response()
            }
        };
    }
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, LIMIT).await.unwrap();
    let url = format!("{}{target}", shared.behind);
    let passed = shared.client.request(parts.method, url).body(body);
    let passed = passed.header("content-type", "application/json").send().await.unwrap();
    let status = StatusCode::from_u16(passed.status().as_u16()).unwrap();
    let body: Bytes = passed.bytes().await.unwrap();
    (status, body).into_response()
}
