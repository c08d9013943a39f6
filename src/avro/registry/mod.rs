//! A client of Confluent's schema registry API, which Apicurio speaks too (`/apis/ccompat/v7`).
//!
//! Nothing is registered unless [`Registry::register`] is called. Credentials and the URL's query
//! never reach an error or a log.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use reqwest::{
    Certificate, Client, Identity, Method, Request, RequestBuilder, Response, StatusCode, Url,
    header,
};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::shape::Shape;
use crate::domain::{
    Secret,
    encoding::{self, Encoding},
};

mod check;

pub use check::{State, Subject, SubjectState};

/// No schema we know of comes near; a registry that sends more is not one.
const MAX_ANSWER: usize = 4 << 20;
/// Redirects followed, one after the other.
const MAX_REDIRECTS: usize = 3;
/// Writer schemas kept; one producer with a new schema per record must not fill the memory.
const MAX_CACHED: usize = 1_000;
/// The registry's own media type; Apicurio accepts it too.
const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";

/// How the registry knows us.
#[derive(Debug, Clone)]
pub enum Credentials {
    Basic { user: String, password: Secret },
    Bearer(Secret),
}

/// Where the registry is and how it is reached.
#[derive(Clone)]
pub struct RegistrySettings {
    /// `http://localhost:8080/apis/ccompat/v7`.
    pub url: String,
    pub credentials: Option<Credentials>,
    /// Certificates (PEM) trusted beside the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// Our certificate chain (PEM) and its key (PKCS #8 PEM), for mutual TLS.
    pub identity_pem: Option<(Vec<u8>, Secret)>,
    pub connect_timeout: Duration,
    /// For a whole answer.
    pub timeout: Duration,
}

impl RegistrySettings {
    /// A registry without credentials.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            credentials: None,
            ca_pem: None,
            identity_pem: None,
            connect_timeout: Duration::from_secs(3),
            timeout: Duration::from_secs(10),
        }
    }
}

impl fmt::Debug for RegistrySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may hold a password or a token.
        f.debug_struct("RegistrySettings")
            .field("credentials", &self.credentials)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Why the registry gave no answer that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// The settings themselves are wrong; waiting does not help.
    #[error("the schema registry's settings cannot be used: {0}")]
    Settings(String),
    /// It does not answer, or not as a registry; waiting may help.
    #[error("the schema registry does not answer: {0}")]
    Unavailable(String),
    /// It refuses our credentials.
    #[error("the schema registry refuses the credentials (HTTP {0}): check [schema_registry]")]
    Unauthorized(u16),
    /// It knows no such subject, version or schema.
    #[error("the schema registry knows no {0}")]
    NotFound(String),
    /// It understood and refused.
    #[error("the schema registry refuses (HTTP {status}): {message}")]
    Refused { status: u16, message: String },
    /// It gave a schema that cannot be used.
    #[error("the schema registry's {what} cannot be used: {message}")]
    Unusable { what: String, message: String },
}

/// What a record says about its writer's schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SchemaKey {
    /// A number, unique in one registry.
    Id(u32),
    /// A globally unique id.
    Guid(Uuid),
}

impl fmt::Display for SchemaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "schema with id {id}"),
            Self::Guid(guid) => write!(f, "schema with GUID {guid}"),
        }
    }
}

/// A schema registry. Clones share connections and cache.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    base: Url,
    credentials: Option<Credentials>,
    writers: Mutex<HashMap<SchemaKey, Arc<Shape>>>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("host", &self.inner.base.host_str())
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct SchemaAnswer {
    schema: String,
    #[serde(default, rename = "schemaType")]
    schema_type: Option<String>,
    #[serde(default)]
    references: Vec<Value>,
}

#[derive(Deserialize)]
struct IdAnswer {
    id: u32,
}

#[derive(Default, Deserialize)]
struct ErrorAnswer {
    #[serde(default)]
    error_code: Option<i64>,
    #[serde(default)]
    message: String,
}

impl Registry {
    /// Prepares the client; nothing is asked yet.
    pub fn new(settings: RegistrySettings) -> Result<Self, RegistryError> {
        let unusable = |what: &str| RegistryError::Settings(what.to_owned());
        let mut base =
            Url::parse(&settings.url).map_err(|e| unusable(&format!("`url` is not a URL: {e}")))?;
        if !matches!(base.scheme(), "http" | "https") || base.cannot_be_a_base() {
            return Err(unusable("`url` must begin with http:// or https://"));
        }
        let mut credentials = settings.credentials;
        // Credentials in the URL are used, but kept out of every request line and message.
        if credentials.is_none() && !base.username().is_empty() {
            credentials = Some(Credentials::Basic {
                user: decoded(base.username()),
                password: Secret::new(decoded(base.password().unwrap_or_default())),
            });
        }
        if base.set_username("").is_err() || base.set_password(None).is_err() {
            return Err(unusable("`url` names no host"));
        }
        base.set_fragment(None);
        let mut client = Client::builder()
            .connect_timeout(settings.connect_timeout)
            .timeout(settings.timeout)
            // By itself the client would make a GET of a POST, and could carry the credentials to another
            // host: see `follow`.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        if let Some(pem) = &settings.ca_pem {
            let certificates = Certificate::from_pem_bundle(pem)
                .map_err(|_| unusable("the CA file holds no PEM certificates"))?;
            client = client.tls_certs_merge(certificates);
        }
        if let Some((chain, key)) = &settings.identity_pem {
            let identity = Identity::from_pkcs8_pem(chain, key.expose().as_bytes())
                .map_err(|_| unusable("the client certificate or its PKCS #8 key is not PEM"))?;
            client = client.identity(identity);
        }
        let client = client.build().map_err(|e| unusable(&reason(e)))?;
        Ok(Self { inner: Arc::new(Inner { client, base, credentials, writers: Mutex::default() }) })
    }

    /// Registers a schema's text under a subject and returns its id.
    pub async fn register(&self, subject: &str, schema: &str) -> Result<u32, RegistryError> {
        let path = ["subjects", subject, "versions"];
        let request = self.request(Method::POST, &path, &[]).json(&json!({ "schema": schema }));
        let answer: IdAnswer = self.ask(request, || format!("subject `{subject}`")).await?;
        Ok(answer.id)
    }

    /// The id of a schema's text under a subject, if it is registered there.
    pub async fn look_up(&self, subject: &str, schema: &str) -> Result<Option<u32>, RegistryError> {
        self.look_up_with(subject, schema, &[]).await
    }

    /// The same, whatever the order of the schema's attributes.
    pub async fn look_up_normalized(
        &self,
        subject: &str,
        schema: &str,
    ) -> Result<Option<u32>, RegistryError> {
        self.look_up_with(subject, schema, &[("normalize", "true")]).await
    }

    async fn look_up_with(
        &self,
        subject: &str,
        schema: &str,
        query: &[(&str, &str)],
    ) -> Result<Option<u32>, RegistryError> {
        let request = self
            .request(Method::POST, &["subjects", subject], query)
            .json(&json!({ "schema": schema }));
        match self.ask::<IdAnswer>(request, || format!("schema under `{subject}`")).await {
            Ok(answer) => Ok(Some(answer.id)),
            Err(RegistryError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The text of the newest schema under a subject, if there is one.
    pub async fn latest(&self, subject: &str) -> Result<Option<String>, RegistryError> {
        let request = self.request(Method::GET, &["subjects", subject, "versions", "latest"], &[]);
        match self.ask::<SchemaAnswer>(request, || format!("subject `{subject}`")).await {
            Ok(answer) => Ok(Some(answer.schema)),
            Err(RegistryError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The writer's schema that a record names.
    pub(crate) async fn writer(&self, key: SchemaKey) -> Result<Arc<Shape>, RegistryError> {
        if let Some(known) = self.writers().get(&key) {
            return Ok(Arc::clone(known));
        }
        let (kind, name) = match key {
            SchemaKey::Id(id) => ("ids", id.to_string()),
            SchemaKey::Guid(guid) => ("guids", guid.to_string()),
        };
        let request = self.request(Method::GET, &["schemas", kind, &name], &[]);
        let answer: SchemaAnswer =
            self.ask(request, || key.to_string()).await.map_err(|error| match (key, error) {
                // Apicurio has no such endpoint, so its 404 is not one of the registry's API.
                (SchemaKey::Guid(_), RegistryError::Refused { status: 404, .. }) => {
                    RegistryError::NotFound(format!("{key}, or does not know GUIDs at all"))
                }
                (_, error) => error,
            })?;
        let unusable = |message: String| RegistryError::Unusable { what: key.to_string(), message };
        if let Some(other) = answer.schema_type.filter(|kind| kind != "AVRO") {
            return Err(unusable(format!("it is {other}, not AVRO")));
        }
        if !answer.references.is_empty() {
            return Err(unusable("it refers to other subjects; register it in one piece".into()));
        }
        let shape = Shape::parse(&answer.schema).map_err(|e| unusable(e.to_string()))?;
        let shape = Arc::new(shape);
        let mut writers = self.writers();
        if writers.len() >= MAX_CACHED {
            writers.clear();
        }
        writers.insert(key, Arc::clone(&shape));
        Ok(shape)
    }

    fn writers(&self) -> std::sync::MutexGuard<'_, HashMap<SchemaKey, Arc<Shape>>> {
        // The map is whole after every step, so a panic elsewhere does not spoil it.
        self.inner.writers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn request(&self, method: Method, path: &[&str], query: &[(&str, &str)]) -> RequestBuilder {
        let mut url = self.inner.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            // Each part is percent-encoded: a subject may hold `/` or `%`.
            segments.pop_if_empty().extend(path);
        }
        let mut request = self
            .inner
            .client
            .request(method, url)
            .query(query)
            .header(header::ACCEPT, MEDIA_TYPE)
            .header(header::CONTENT_TYPE, MEDIA_TYPE);
        match &self.inner.credentials {
            Some(Credentials::Basic { user, password }) => {
                request = request.basic_auth(user, Some(password.expose()));
            }
            Some(Credentials::Bearer(token)) => request = request.bearer_auth(token.expose()),
            None => {}
        }
        request
    }

    /// Sends a request where the registry has moved to, within its own host: the same request, with its
    /// method and body.
    async fn follow(&self, request: Request) -> Result<Response, RegistryError> {
        let mut url = request.url().clone();
        for _ in 0..=MAX_REDIRECTS {
            let Some(mut next) = request.try_clone() else { break };
            *next.url_mut() = url.clone();
            let answer = self.inner.client.execute(next).await;
            let answer = answer.map_err(|e| RegistryError::Unavailable(reason(e)))?;
            let status = answer.status();
            if !status.is_redirection() || status == StatusCode::SEE_OTHER {
                return Ok(answer);
            }
            let location = answer.headers().get(header::LOCATION);
            let location = location.and_then(|value| value.to_str().ok());
            let Some(to) = location.and_then(|location| url.join(location).ok()) else {
                return Ok(answer);
            };
            if to.origin() != url.origin() {
                let status = status.as_u16();
                let to = to.origin().ascii_serialization();
                let message = format!(
                    "it is redirected to {to}, which is another host, port or scheme; set \
                     `schema_registry.url` to that address if it is the registry's"
                );
                return Err(RegistryError::Refused { status, message });
            }
            url = to;
        }
        Err(RegistryError::Unavailable("it is redirected without end".to_owned()))
    }

    async fn ask<T: for<'de> Deserialize<'de>>(
        &self,
        request: RequestBuilder,
        what: impl Fn() -> String,
    ) -> Result<T, RegistryError> {
        let unavailable = |e: reqwest::Error| RegistryError::Unavailable(reason(e));
        let mut answer = self.follow(request.build().map_err(unavailable)?).await?;
        let status = answer.status();
        let named = answer.headers().get_all(header::CONTENT_ENCODING).iter();
        let named = encoding::named(named.map(|value| value.to_str().unwrap_or("?")));
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unavailable)? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_ANSWER {
                return Err(RegistryError::Unavailable("its answer has no end".into()));
            }
        }
        // Not asked for, and sent all the same by some gateways.
        let packed = encoding::found(named.unwrap_or(Encoding::Identity), &body);
        if packed != Encoding::Identity {
            body = encoding::decoded(packed, &body, MAX_ANSWER, |_| true)
                .map_err(|error| RegistryError::Unavailable(error.to_string()))?;
        }
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|_| {
                RegistryError::Unavailable(format!(
                    "HTTP {} without the JSON of a schema registry: check `url`",
                    status.as_u16()
                ))
            });
        }
        let refusal = serde_json::from_slice::<ErrorAnswer>(&body).unwrap_or_default();
        let message = super::json::shorten_to(&refusal.message, 400);
        Err(match status {
            StatusCode::NOT_FOUND if refusal.error_code.is_some() => {
                RegistryError::NotFound(what())
            }
            // Something else than a registry stands there: "not found" proves nothing.
            StatusCode::NOT_FOUND => RegistryError::Refused {
                status: 404,
                message: "no registry's answer at this address: check `url`".into(),
            },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                RegistryError::Unauthorized(status.as_u16())
            }
            _ if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                RegistryError::Unavailable(format!("HTTP {} {message}", status.as_u16()))
            }
            _ => RegistryError::Refused { status: status.as_u16(), message },
        })
    }
}

/// What went wrong on the way, without the URL, which may hold a token in its query.
fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// The text of a percent-encoded part of a URL.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let hex = (byte == b'%').then(|| {
            let pair = [rest.clone().next()?, rest.clone().nth(1)?];
            u8::from_str_radix(std::str::from_utf8(&pair).ok()?, 16).ok()
        });
        match hex.flatten() {
            Some(value) => {
                bytes.push(value);
                rest.nth(1);
            }
            None => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tls_tests;
