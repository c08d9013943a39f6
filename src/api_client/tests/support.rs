//! A vendor that signs nothing, and a server that answers one connection as a script says.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::Instant,
};
use tokio_util::task::TaskTracker;

use crate::{
    api_client::*,
    domain::{
        Answer, Attempt, Body, Command, Event, EventType, Faults, LookUp, Method, PlannedCall,
        Refusal, Secret, SignatureHint, TokenRefusal, Tokens, Unrecognized, Unverified,
        VendorAnswer, Verdict, Verified, Webhook,
    },
    vendors::{OwnerOf, TokenCalls, Vendor},
};

/// Requests as they arrived, head and body, byte for byte.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub requests: Mutex<Vec<Vec<u8>>>,
    pub connections: AtomicUsize,
}

impl Seen {
    pub(super) fn count(&self, part: &str) -> usize {
        let requests = self.requests.lock().unwrap();
        requests.iter().filter(|r| String::from_utf8_lossy(r).contains(part)).count()
    }

    pub(super) fn texts(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        requests.iter().map(|r| String::from_utf8_lossy(r).into_owned()).collect()
    }
}

/// What to do after a request was read: bytes to write (`None`: nothing), and whether to close.
pub(super) type Reply = (Option<Vec<u8>>, bool);

pub(super) fn ok(body: &str) -> Reply {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    (Some(head.into_bytes()), false)
}

/// Starts a server; `script` gets the number of the request (from 0) and its text.
pub(super) async fn serve(
    script: impl Fn(usize, String) -> BoxFuture<'static, Reply> + Send + Sync + 'static,
) -> (String, Arc<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Seen::default());
    let (script, shared) = (Arc::new(script), Arc::clone(&seen));
    let tasks = TaskTracker::new();
    let inner = tasks.clone();
    tasks.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            shared.connections.fetch_add(1, Ordering::SeqCst);
            inner.spawn(connection(stream, Arc::clone(&script), Arc::clone(&shared)));
        }
    });
    (base, seen)
}

async fn connection(
    mut stream: TcpStream,
    script: Arc<impl Fn(usize, String) -> BoxFuture<'static, Reply>>,
    seen: Arc<Seen>,
) {
    let mut buffer = Vec::new();
    loop {
        let whole = loop {
            if let Some(length) = whole(&buffer) {
                break length;
            }
            let mut chunk = [0; 4096];
            match stream.read(&mut chunk).await {
                Ok(0) | Err(_) => return,
                Ok(read) => buffer.extend_from_slice(&chunk[..read]),
            }
        };
        let request: Vec<u8> = buffer.drain(..whole).collect();
        let text = String::from_utf8_lossy(&request).into_owned();
        let number = {
            let mut requests = seen.requests.lock().unwrap();
            requests.push(request);
            requests.len() - 1
        };
        let (reply, close) = script(number, text).await;
        if let Some(reply) = reply
            && stream.write_all(&reply).await.is_err()
        {
            return;
        }
        if close {
            return;
        }
    }
}

/// The length of the first whole request in the buffer.
fn whole(buffer: &[u8]) -> Option<usize> {
    let head = buffer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&buffer[..head]).to_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length = length.map_or(0, |length| length.trim().parse().unwrap());
    (buffer.len() >= head + length).then_some(head + length)
}

/// A vendor that only has tokens.
#[derive(Debug, Default)]
pub(super) struct Plain {
    pub tokens: Option<PlainTokens>,
}

#[derive(Debug, Default)]
pub(super) struct PlainTokens {
    pub configured: Option<Tokens>,
    /// The life of each token.
    pub life: Option<Duration>,
}

impl Vendor for Plain {
    fn name(&self) -> &'static str {
        "plain"
    }
    fn event_types(&self) -> &'static [EventType] {
        &[]
    }
    fn signature_forms(&self) -> &'static [&'static str] {
        &[]
    }
    fn verify(
        &self,
        _: Webhook<Unverified>,
        _: SignatureHint,
    ) -> Result<Webhook<Verified>, Refusal> {
        Err(Refusal::NoSignature)
    }
    fn webhook_body(&self, _: &str, _: &str, _: jiff::Timestamp) -> Result<String, String> {
        Err("it sends no webhooks".to_owned())
    }
    fn reread(&self, _: Webhook<Unverified>) -> Result<Webhook<Verified>, Refusal> {
        Err(Refusal::NoSignature)
    }

    fn decode(&self, _: &Webhook<Verified>, _: OwnerOf<'_>) -> Result<Event, Unrecognized> {
        unreachable!("no webhook is verified")
    }
    fn answer(&self, _: Answer) -> String {
        String::new()
    }
    fn check(&self, _: &Command) -> Result<Vec<String>, Faults> {
        Ok(Vec::new())
    }
    fn needs_reference(&self, _: &Command) -> bool {
        false
    }
    fn call(&self, _: &Command, _: &Attempt<'_>) -> PlannedCall {
        post(Body::Empty)
    }
    fn judge(&self, _: &Command, _: &VendorAnswer) -> Verdict {
        unreachable!("no command is sent")
    }
    fn look_up(&self, _: &Command, _: &Attempt<'_>) -> Option<PlannedCall> {
        None
    }
    fn judge_look_up(&self, _: &Command, _: &VendorAnswer) -> LookUp {
        unreachable!("nothing is looked up")
    }
    fn tokens(&self) -> Option<&dyn TokenCalls> {
        self.tokens.as_ref().map(|tokens| tokens as &dyn TokenCalls)
    }
}

impl TokenCalls for PlainTokens {
    fn configured(&self) -> Option<Tokens> {
        self.configured.clone()
    }
    fn refresh(&self, refresh_token: &Secret, _: &str) -> PlannedCall {
        get("/refresh", refresh_token)
    }
    fn authorize(&self, _: &str, one_time_token: &Secret, _: Option<&str>) -> PlannedCall {
        get("/authorize", one_time_token)
    }
    fn read_code(&self, answer: &VendorAnswer) -> Result<Secret, TokenRefusal> {
        Ok(Secret::new(String::from_utf8_lossy(&answer.body)))
    }
    fn exchange(&self, code: &Secret) -> PlannedCall {
        get("/exchange", code)
    }
    /// The body is `access refresh`, `no` or `later`.
    fn read_tokens(
        &self,
        answer: &VendorAnswer,
        now: Timestamp,
        _: Option<&Tokens>,
    ) -> Result<Tokens, TokenRefusal> {
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        match body.split_once(' ') {
            Some((access, refresh)) => Ok(Tokens {
                expires_at: self.life.map(|life| now + life),
                ..tokens(access, Some(refresh))
            }),
            None if body == "no" => {
                Err(TokenRefusal::Refused { code: "10003".into(), message: "invalid".into() })
            }
            None => Err(TokenRefusal::Transient("busy".into())),
        }
    }
}

pub(super) fn tokens(access: &str, refresh: Option<&str>) -> Tokens {
    Tokens {
        access_token: Secret::new(access),
        user_id: "8".to_owned(),
        expires_at: None,
        refresh_token: refresh.map(Secret::new),
        refresh_expires_at: None,
    }
}

pub(super) fn get(path: &str, secret: &Secret) -> PlannedCall {
    PlannedCall {
        method: Method::Get,
        path: path.to_owned(),
        query: vec![("secret", secret.expose().to_owned())],
        headers: Vec::new(),
        body: Body::Empty,
    }
}

pub(super) fn post(body: Body) -> PlannedCall {
    PlannedCall {
        method: Method::Post,
        path: "/api/order/create".to_owned(),
        query: Vec::new(),
        headers: Vec::new(),
        body,
    }
}

#[derive(Debug, Default)]
pub(super) struct Counts(pub Mutex<HashMap<(String, RequestClass), usize>>);

impl RequestObserver for Counts {
    fn request(&self, _: &AccountName, operation: &str, class: RequestClass, _: Duration) {
        *self.0.lock().unwrap().entry((operation.to_owned(), class)).or_default() += 1;
    }
}

pub(super) fn account() -> AccountName {
    AccountName::new("a").unwrap()
}

pub(super) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

pub(super) fn client_with(
    base: &str,
    vendor: Plain,
    settings: ApiClientSettings,
    store: Arc<dyn TokenStore>,
    observer: Arc<Counts>,
) -> ApiClient {
    let mut client = ApiClient::new(settings, store, observer, TaskTracker::new()).unwrap();
    let endpoint = AccountEndpoint {
        base_url: base.to_owned(),
        vendor: Arc::new(vendor),
        nonce_digits: 9,
        limits: Vec::new(),
    };
    client.add_account(account(), endpoint).unwrap();
    client
}

pub(super) fn client(base: &str, settings: ApiClientSettings) -> (ApiClient, Arc<Counts>) {
    let counts = Arc::new(Counts::default());
    let store = Arc::new(MemoryTokenStore::default());
    (client_with(base, Plain::default(), settings, store, Arc::clone(&counts)), counts)
}

/// A client of one account with these limits.
pub(super) fn client_with_limits(base: &str, limits: Vec<(String, u32, Duration)>) -> ApiClient {
    let store = Arc::new(MemoryTokenStore::default());
    let observer = Arc::new(Counts::default());
    let settings = ApiClientSettings::default();
    let mut client = ApiClient::new(settings, store, observer, TaskTracker::new()).unwrap();
    let endpoint = AccountEndpoint {
        base_url: base.to_owned(),
        vendor: Arc::new(Plain::default()),
        nonce_digits: 9,
        limits,
    };
    client.add_account(account(), endpoint).unwrap();
    client
}

/// A call like any other.
pub(super) fn create() -> Caller<'static> {
    Caller { label: "create", operation: "create", command: 1, own_path: false, look_up: false }
}
