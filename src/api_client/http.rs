//! One exchange over HTTP: a planned call goes out once, its answer comes back.
//!
//! Nothing here sends a request a second time. What the libraries below would do by themselves:
//! reqwest retries what HTTP/2 servers refuse (switched off; HTTP/2 is not even built in), and
//! the connection pool tries another connection when one closed *before the request was taken
//! from the queue*, so that not one byte of it was written; that is not a second sending. A
//! request of which anything may have been written is never repeated (the tests count).

use std::{error::Error as _, fmt, time::Duration};

use jiff::Timestamp;
use reqwest::{
    Client, Method as HttpMethod, RequestBuilder, Response, Url,
    header::{
        CONTENT_ENCODING, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
    },
    multipart::Form,
};

use super::{
    ApiClientSettings,
    errors::{InvalidBaseUrl, SetupError},
    http_date,
};
use crate::domain::{
    Body, Method, PlannedCall, VendorAnswer,
    encoding::{self, Encoding, NotDecoded},
};

/// Vendors close idle connections when they like, and a request that meets such a closing cannot
/// be told from one that was delivered. So ours are closed first; Tomcat's default is 20 s.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum TransportError {
    /// The plan cannot be put into a request; it says nothing about the vendor.
    Unsendable(String),
    /// The connection never opened.
    NotSent(String),
    NoAnswer(String),
    TooLarge,
}

/// An answer, and when it was asked for and came.
#[derive(Debug)]
pub(super) struct Exchange {
    pub answer: VendorAnswer,
    pub sent_at: Timestamp,
    pub answered_at: Timestamp,
}

/// Where an account's calls go.
#[derive(Clone)]
pub(super) struct BaseUrl(Url);

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BaseUrl({})", self.0)
    }
}

impl BaseUrl {
    pub(super) fn new(text: &str) -> Result<Self, InvalidBaseUrl> {
        let url = Url::parse(text).map_err(|_| InvalidBaseUrl::NotAUrl)?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(InvalidBaseUrl::NotAUrl);
        }
        let bare = url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        if bare { Ok(Self(url)) } else { Err(InvalidBaseUrl::TooMuch) }
    }

    fn join(&self, path: &str, query: &[(&'static str, String)]) -> Option<Url> {
        let mut url = self.0.clone();
        let whole = format!("{}{path}", url.path().trim_end_matches('/'));
        url.set_path(&whole);
        // The path is signed as it stands: one that a URL spells otherwise (`..`, blanks) would
        // be refused as a wrong signature, or be another operation than the one that was allowed.
        if url.path() != whole || !path.starts_with('/') {
            return None;
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Some(url)
    }
}

/// The HTTP client of all accounts.
#[derive(Debug)]
pub(super) struct Transport {
    client: Client,
    max_body: usize,
}

impl Transport {
    pub(super) fn new(settings: &ApiClientSettings) -> Result<Self, SetupError> {
        let mut builder = Client::builder()
            .user_agent(concat!("wms-connector/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            // The environment's proxies are not ours: only the configured one is used.
            .no_proxy()
            .connect_timeout(settings.connect_timeout)
            .pool_idle_timeout(IDLE_TIMEOUT);
        if let Some(proxy) = &settings.proxy {
            // The URL may hold a password, and the error would quote it.
            let proxy = reqwest::Proxy::all(proxy.expose()).map_err(|_| SetupError::Proxy)?;
            builder = builder.proxy(proxy);
        }
        let client = builder.build().map_err(|error| SetupError::Client(describe(&error)))?;
        Ok(Self { client, max_body: settings.max_body })
    }

    /// Sends the call once and reads its answer, all within `timeout`.
    pub(super) async fn exchange(
        &self,
        base: &BaseUrl,
        call: PlannedCall,
        timeout: Duration,
    ) -> Result<Exchange, TransportError> {
        let request = self.request(base, call)?.timeout(timeout);
        let sent_at = crate::clock::now();
        let response = request.send().await.map_err(|error| {
            // Only while the first connection was being opened is it sure that nothing left.
            if error.is_connect() {
                TransportError::NotSent(describe(&error))
            } else {
                no_answer(&error, timeout)
            }
        })?;
        let answered_at = crate::clock::now();
        let status = response.status().as_u16();
        let date = header(response.headers(), DATE).and_then(http_date::parse_date);
        let retry_after = header(response.headers(), RETRY_AFTER)
            .and_then(|text| http_date::parse_retry_after(text, date.unwrap_or(answered_at)));
        let content_type = header(response.headers(), CONTENT_TYPE).map(str::to_owned);
        let encodings = response.headers().get_all(CONTENT_ENCODING).iter();
        let named = encoding::named(encodings.map(|value| value.to_str().unwrap_or("?")));
        let body = self.body(response, timeout).await?;
        // Not asked for, and sent all the same by some gateways. What cannot be unpacked is judged as
        // it is, by its status.
        let body = match encoding::found(named.unwrap_or(Encoding::Identity), &body) {
            Encoding::Identity => body,
            packed => match encoding::decoded(packed, &body, self.max_body, |_| true) {
                Ok(body) => body,
                Err(NotDecoded::TooLarge) => return Err(TransportError::TooLarge),
                Err(NotDecoded::Broken | NotDecoded::NoRoom) => body,
            },
        };
        let answer = VendorAnswer { status, retry_after, date, content_type, body };
        Ok(Exchange { answer, sent_at, answered_at })
    }

    fn request(&self, base: &BaseUrl, call: PlannedCall) -> Result<RequestBuilder, TransportError> {
        let refuse = TransportError::Unsendable;
        let url = base.join(&call.path, &call.query).ok_or_else(|| {
            refuse(format!("the path `{}` cannot be sent as it was signed", call.path))
        })?;
        let method = match call.method {
            Method::Get => HttpMethod::GET,
            Method::Post => HttpMethod::POST,
        };
        let mut headers = HeaderMap::new();
        for (name, value) in call.headers {
            let unfit = || refuse(format!("the header `{name}` holds what no header can hold"));
            let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unfit())?;
            let mut value = HeaderValue::from_str(&value).map_err(|_| unfit())?;
            // Tokens and signatures: kept out of the libraries' own debug output.
            value.set_sensitive(true);
            headers.insert(key, value);
        }
        let request = self.client.request(method, url);
        Ok(match call.body {
            Body::Empty => request.headers(headers),
            Body::Json(text) => {
                headers
                    .entry(CONTENT_TYPE)
                    .or_insert(HeaderValue::from_static("application/json; charset=utf-8"));
                request.headers(headers).body(text)
            }
            Body::Multipart(fields) => {
                // Text parts carry exactly the bytes given, which are the ones that were signed.
                let form = fields
                    .into_iter()
                    .fold(Form::new(), |form, (name, value)| form.text(name, value));
                request.headers(headers).multipart(form)
            }
        })
    }

    async fn body(
        &self,
        mut response: Response,
        timeout: Duration,
    ) -> Result<Vec<u8>, TransportError> {
        let announced = response.content_length().unwrap_or(0);
        if usize::try_from(announced).map_or(true, |length| length > self.max_body) {
            return Err(TransportError::TooLarge);
        }
        let mut body = Vec::new();
        while let Some(chunk) =
            response.chunk().await.map_err(|error| no_answer(&error, timeout))?
        {
            if body.len() + chunk.len() > self.max_body {
                return Err(TransportError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

fn header(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn no_answer(error: &reqwest::Error, timeout: Duration) -> TransportError {
    TransportError::NoAnswer(if error.is_timeout() {
        format!("none within {:.1} s", timeout.as_secs_f64())
    } else {
        describe(error)
    })
}

/// The causes of an error, without reqwest's own words: those hold the URL, and a URL's query
/// holds secrets (JFWMS carries the client's secret and the refresh token there).
fn describe(error: &reqwest::Error) -> String {
    let mut causes = Vec::new();
    let mut source = error.source();
    while let Some(cause) = source {
        if !cause.is::<reqwest::Error>() {
            causes.push(cause.to_string());
        }
        source = cause.source();
    }
    if causes.is_empty() { "the request failed".to_owned() } else { causes.join(": ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_is_a_bare_one() {
        for (text, expected) in [
            ("https://test.jfwms.com", Ok(())),
            ("http://127.0.0.1:8080/prefix/", Ok(())),
            ("test.jfwms.com", Err(InvalidBaseUrl::NotAUrl)),
            ("ftp://test.jfwms.com", Err(InvalidBaseUrl::NotAUrl)),
            ("https://u:p@test.jfwms.com", Err(InvalidBaseUrl::TooMuch)),
            ("https://test.jfwms.com/?a=b", Err(InvalidBaseUrl::TooMuch)),
            ("https://test.jfwms.com/#x", Err(InvalidBaseUrl::TooMuch)),
        ] {
            assert_eq!(BaseUrl::new(text).map(|_| ()), expected, "{text}");
        }
    }

    #[test]
    fn a_path_goes_out_as_it_was_signed_or_not_at_all() {
        for (base, path, expected) in [
            ("https://h", "/api/order/create", Some("https://h/api/order/create")),
            ("https://h/", "/api/order/create", Some("https://h/api/order/create")),
            ("https://h/x/", "/api", Some("https://h/x/api")),
            ("https://h", "/api/../oauth", None),
            ("https://h", "/api/a b", None),
            ("https://h", "/api?x=1", None),
            ("https://h", "/api#x", None),
            ("https://h", "@evil/", None),
        ] {
            let url = BaseUrl::new(base).unwrap().join(path, &[]);
            assert_eq!(url.as_ref().map(Url::as_str), expected, "{base} {path}");
        }
        let url = BaseUrl::new("https://h").unwrap().join("/a", &[("k", "v w&=é".to_owned())]);
        assert_eq!(url.unwrap().query(), Some("k=v+w%26%3D%C3%A9"));
    }
}
