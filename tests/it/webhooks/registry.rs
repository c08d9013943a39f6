//! The schema registry is away at the start, or later, or holds what does not fit. It is played by
//! the test: what a real one answers is held by `events` and `commands`.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use wms_connector::{
    app::{self as connector, RunError},
    sandbox::{Sandbox, SandboxSettings},
};

use super::only_webhooks;
use crate::support::{
    app::{self, JFWMS, Options, PATIENCE, TestApp},
    backend::TestEnv,
    binary::Files,
    parts,
    suite::tests,
    vendor, wire,
};

tests! {
    mock: a_registry_may_be_absent_at_the_start, nothing_stops_when_it_goes_away_later,
        what_does_not_fit_stops_the_start_and_is_named, credentials_that_are_refused_stop_the_start;
}

/// A registry that knows what was registered with it.
#[derive(Default)]
struct Books {
    schemas: HashMap<String, (u32, Value)>,
    away: bool,
    /// What `Authorization` has to be.
    authorization: Option<&'static str>,
    asked: usize,
}

type Shared = Arc<Mutex<Books>>;

struct Played {
    books: Shared,
    address: SocketAddr,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Drop for Played {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Played {
    async fn at(port: u16, books: Books) -> Self {
        let books = Arc::new(Mutex::new(books));
        let router = Router::new()
            .route("/subjects/{subject}", post(look_up))
            .route("/subjects/{subject}/versions", post(take_in))
            .route("/subjects/{subject}/versions/latest", get(latest))
            .route("/compatibility/subjects/{subject}/versions/latest", post(compatible))
            .layer(axum::middleware::from_fn_with_state(Arc::clone(&books), guard))
            .with_state(Arc::clone(&books));
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move { axum::serve(listener, router).await });
        Self { books, address, task }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn with<T>(&self, with: impl FnOnce(&mut Books) -> T) -> T {
        with(&mut self.books.lock().unwrap())
    }
}

async fn guard(
    State(books): State<Shared>,
    request: axum::extract::Request,
    next: axum::middleware::Next,
) -> Response {
    let refused = {
        let mut books = books.lock().unwrap();
        books.asked += 1;
        let given = request.headers().get("authorization").and_then(|value| value.to_str().ok());
        match books.authorization {
            _ if books.away => Some(StatusCode::BAD_GATEWAY),
            Some(wanted) if given != Some(wanted) => Some(StatusCode::UNAUTHORIZED),
            _ => None,
        }
    };
    match refused {
        Some(status) => status.into_response(),
        None => next.run(request).await,
    }
}

fn not_found(code: u32) -> Response {
    (StatusCode::NOT_FOUND, Json(json!({"error_code": code, "message": "not found"})))
        .into_response()
}

async fn look_up(
    State(books): State<Shared>,
    Path(subject): Path<String>,
    Json(asked): Json<Value>,
) -> Response {
    match books.lock().unwrap().schemas.get(&subject) {
        None => not_found(40401),
        Some((id, schema)) if *schema == asked["schema"] => Json(json!({"id": id})).into_response(),
        Some(_) => not_found(40403),
    }
}

async fn take_in(
    State(books): State<Shared>,
    Path(subject): Path<String>,
    Json(asked): Json<Value>,
) -> Response {
    let mut books = books.lock().unwrap();
    let id = 100 + u32::try_from(books.schemas.len()).unwrap();
    books.schemas.insert(subject, (id, asked["schema"].clone()));
    Json(json!({"id": id})).into_response()
}

async fn latest(State(books): State<Shared>, Path(subject): Path<String>) -> Response {
    match books.lock().unwrap().schemas.get(&subject) {
        None => not_found(40401),
        Some((id, schema)) => Json(json!({"id": id, "schema": schema})).into_response(),
    }
}

/// As a registry without a rule says it, and without a word of explanation.
async fn compatible(uri: Uri) -> Response {
    assert_eq!(uri.query(), Some("verbose=true"));
    Json(json!({"is_compatible": true})).into_response()
}

async fn a_registry_may_be_absent_at_the_start(env: &TestEnv) {
    let port = parts::free_port();
    let more = format!(
        "[schema_registry]\nurl = \"http://127.0.0.1:{port}\"\nauto_register = true\n\
         username = \"user\"\npassword = \"hidden-word\"\n"
    );
    let options = Options { more, ..only_webhooks() };
    let sandbox = Sandbox::start(SandboxSettings::default()).await.unwrap();
    let config = app::configuration(env, &options, &sandbox);
    app::create_topics(env, &config, None).await;
    let files = Files::new(&app::configuration_text(env, &options, &sandbox));
    let connector = files.start(&["--only", "webhooks"]).await;
    let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
    let post = async || {
        let body = vendor::jfwms("order", &vendor::order("1"));
        wire::answer(http.post(connector.webhook_url(JFWMS)).body(body).send().await.unwrap()).await
    };
    // It waits, and says for what: in /readyz and in the log.
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let reason = "the schema registry does not answer";
    while !connector.until_ready_is(503).await.text.contains(reason) {
        assert!(tokio::time::Instant::now() < deadline, "{}", connector.log());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(connector.log().contains(reason), "{}", connector.log());
    assert_eq!(post().await.code(), (503, json!(1)));

    let registry = Played::at(port, Books::default()).await;
    connector.until_ready_is(200).await;
    assert_eq!(post().await.code(), (200, json!(0)));
    let records = env.read_all(&env.name("jfwms.order"), 1, PATIENCE).await;
    let subject = format!("{}-value", env.name("jfwms.order"));
    let id = registry.with(|books| books.schemas[&subject].0);
    assert_eq!(records[0].unframe().0, id);
    assert!(!connector.log().contains("hidden-word"), "{}", connector.log());
    sandbox.shutdown().await;
}

async fn nothing_stops_when_it_goes_away_later(env: &TestEnv) {
    let registry = Played::at(0, Books::default()).await;
    let options = Options { registry: Some(registry.url()), ..only_webhooks() };
    let app = TestApp::start_with(env, options).await;
    let asked = registry.with(|books| {
        books.away = true;
        books.asked
    });
    for number in 0..5 {
        let body = vendor::jfwms("order", &vendor::order(&format!("N{number}")));
        assert_eq!(wire::post(&app, JFWMS, &[], body).await.code(), (200, json!(0)));
    }
    assert!(app.running.readiness.report().ready);
    let records = env.read_all(&env.name("jfwms.order"), 5, PATIENCE).await;
    let subject = format!("{}-value", env.name("jfwms.order"));
    let id = registry.with(|books| books.schemas[&subject].0);
    assert!(records.iter().all(|record| record.unframe().0 == id));
    // The ids are known since the start: nobody is asked for a webhook.
    assert_eq!(registry.with(|books| books.asked), asked);
    app.stop().await.unwrap();
}

async fn what_does_not_fit_stops_the_start_and_is_named(env: &TestEnv) {
    let (order, moved) = (env.name("jfwms.order"), env.name("jfwms.move"));
    // What is registered has a whole number of the lines as a text.
    let ours = &wms_connector::avro::schemas::of_record("wms.jfwms.Order").unwrap().text;
    let other_type = ours
        .split_once(r#""name":"total","#)
        .map(|(head, tail)| {
            let tail = tail.replacen(r#""type":"long""#, r#""type":"string""#, 1);
            format!(r#"{head}"name":"total",{tail}"#)
        })
        .unwrap();
    assert_ne!(&other_type, ours);
    let other_type = json!(other_type);
    let mut books = Books::default();
    books.schemas.insert(format!("{order}-value"), (1, other_type));
    books.schemas.insert(format!("{moved}-value"), (2, json!("\"string\"")));
    let registry = Played::at(0, books).await;
    let options = Options { registry: Some(registry.url()), ..only_webhooks() };
    let sandbox = Sandbox::start(SandboxSettings::default()).await.unwrap();
    let config = app::configuration(env, &options, &sandbox);
    app::create_topics(env, &config, None).await;
    let parts = options.only.unwrap();
    let started = connector::start(config.clone(), parts, CancellationToken::new()).await;
    let error = RunError::from(started.unwrap_err()).to_string();
    // Both are named at once, with the field, in words of ours.
    for part in [
        &format!("{order}-value: wms.jfwms.Order does not fit: "),
        "`skuList",
        "total`: the type is long, registered is string",
        &format!("{moved}-value: wms.jfwms.Move does not fit: "),
    ] {
        assert!(error.contains(part), "{part} is not in {error}");
    }
    sandbox.shutdown().await;
}

async fn credentials_that_are_refused_stop_the_start(env: &TestEnv) {
    let books = Books { authorization: Some("Bearer good-word"), ..Books::default() };
    let registry = Played::at(0, books).await;
    let sandbox = Sandbox::start(SandboxSettings::default()).await.unwrap();
    let start = async |token: &str| {
        let more = format!(
            "[schema_registry]\nurl = \"{}\"\nauto_register = true\nbearer_token = \"{token}\"\n",
            registry.url()
        );
        let options = Options { more, ..only_webhooks() };
        let config = app::configuration(env, &options, &sandbox);
        let stop = CancellationToken::new();
        let started = connector::start(config, options.only.unwrap(), stop.clone()).await;
        stop.cancel();
        started
    };
    let config = app::configuration(env, &only_webhooks(), &sandbox);
    app::create_topics(env, &config, None).await;
    let error = RunError::from(start("bad-word").await.unwrap_err());
    let said = format!("{error} {error:?}");
    assert!(said.contains("refuses the credentials (HTTP 401)"), "{said}");
    assert!(!said.contains("bad-word"), "{said}");
    start("good-word").await.unwrap().finished().await.unwrap();
    sandbox.shutdown().await;
}
