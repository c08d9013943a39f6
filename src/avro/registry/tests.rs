use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::{Request as Received, State as Shared},
    http::{HeaderMap, StatusCode},
    response::IntoResponse,
};
use serde_json::json;
use tokio_util::task::TaskTracker;

use super::super::{
    CommandReader, Limits, ReadError, encode::Prefix, encode_command, frame::SCHEMA_ID_HEADER,
    schemas,
};
use super::*;
use crate::domain::Operation;

const RECORD: &str = "wms.commands.CancelOrder";

/// What the stub says, by method and path, and what it heard.
#[derive(Default)]
struct Script {
    answers: HashMap<(&'static str, String), (u16, Value)>,
    authorization: Option<&'static str>,
    heard: Mutex<Vec<String>>,
}

impl Script {
    fn on(mut self, method: &'static str, path: &str, status: u16, body: Value) -> Self {
        self.answers.insert((method, path.to_owned()), (status, body));
        self
    }

    async fn serve(self) -> (SocketAddr, Arc<Self>) {
        let script = Arc::new(self);
        let router = Router::new().fallback(answer).with_state(Arc::clone(&script));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        TaskTracker::new().spawn(async move { axum::serve(listener, router).await });
        (address, script)
    }

    async fn registry(self) -> (Registry, Arc<Self>) {
        let (address, script) = self.serve().await;
        let settings = RegistrySettings::new(format!("http://{address}/apis/ccompat/v7/"));
        (Registry::new(settings).unwrap(), script)
    }
}

async fn answer(
    Shared(script): Shared<Arc<Script>>,
    headers: HeaderMap,
    request: Received,
) -> axum::response::Response {
    let target = request.uri().to_string();
    let path = target.strip_prefix("/apis/ccompat/v7").unwrap_or(&target).to_owned();
    script.heard.lock().unwrap().push(format!("{} {path}", request.method()));
    let sent = headers.get("authorization").and_then(|value| value.to_str().ok());
    if script.authorization.is_some() && sent != script.authorization {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let key = (if request.method() == "GET" { "GET" } else { "POST" }, path);
    match script.answers.get(&key) {
        Some((status, body)) => {
            (StatusCode::from_u16(*status).unwrap(), body.to_string()).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn no_such(code: i64) -> Value {
    json!({"error_code": code, "message": "not found"})
}

fn text_of(record: &str) -> &'static str {
    &schemas::of_record(record).unwrap().text
}

const COMPATIBILITY: &str = "/compatibility/subjects/t-value/versions/latest?verbose=true";

#[tokio::test]
async fn a_subject_is_present_compatible_incompatible_or_missing() {
    let ours = text_of(RECORD);
    let older = ours.replace(r#""name":"shop""#, r#""name":"store""#);
    let other_type = ours.replacen(r#"["null","string"]"#, r#"["null","long"]"#, 1);
    assert!(older != ours && other_type != ours);
    let yes = json!({"is_compatible": true});
    let no = json!({"is_compatible": false});
    for (look_up, latest, verdict, expected) in [
        ((200, json!({"id": 42, "version": 1})), None, None, State::Present { id: 42 }),
        ((404, no_such(40401)), None, None, State::Missing),
        ((404, no_such(40403)), Some(&older), Some(&yes), State::Compatible),
        (
            (404, no_such(40403)),
            Some(&other_type),
            // One registry says only "no", another without a rule says "yes".
            Some(&no),
            State::Incompatible {
                message: "field `shop`: the type is null or string, registered is long".into(),
            },
        ),
        (
            (404, no_such(40403)),
            Some(&other_type),
            Some(&yes),
            State::Incompatible {
                message: "field `shop`: the type is null or string, registered is long".into(),
            },
        ),
        (
            (404, no_such(40403)),
            Some(&older),
            Some(&no),
            State::Incompatible {
                message:
                    "the registry refuses it against an earlier version (the latest would fit)"
                        .into(),
            },
        ),
    ] {
        let mut script = Script::default()
            .on("POST", "/subjects/t-value", look_up.0, look_up.1)
            .on("POST", "/subjects/t-value?normalize=true", 404, no_such(40403))
            .on("GET", "/subjects/t-value/versions/latest", 404, no_such(40401));
        if let Some(latest) = latest {
            let body = json!({"id": 1, "schema": latest});
            script = script.on("GET", "/subjects/t-value/versions/latest", 200, body);
        }
        if let Some(verdict) = verdict {
            script = script.on("POST", COMPATIBILITY, 200, verdict.clone());
        }
        let (registry, _) = script.registry().await;
        let subject = Subject::of_topic("t", RECORD);
        let states = registry.check_all(std::slice::from_ref(&subject)).await.unwrap();
        assert_eq!(states, [SubjectState { subject, state: expected }]);
    }
}

/// What the two registries answer beside the plain cases.
#[tokio::test]
async fn the_registries_ways_are_understood() {
    let ours = text_of(RECORD);
    let older = ours.replace(r#""name":"shop""#, r#""name":"store""#);
    let refused = |message: &str| State::Incompatible {
        message: format!(
            "the registry refuses it against an earlier version (the latest would fit){message}"
        ),
    };
    let no_schema = (404, no_such(40403));
    for (what, normalized, verdict, expected) in [
        (
            "registered with line breaks, or with the attributes in another order",
            (200, json!({"id": 8})),
            (500, json!({})),
            State::PresentAsAnotherText { id: 8 },
        ),
        (
            "Confluent's verbose messages",
            no_schema.clone(),
            (200, json!({"is_compatible": false, "messages": ["{errorType:'X'}", "{oldSchema}"]})),
            refused(": {errorType:'X'}; {oldSchema}"),
        ),
        (
            "Confluent's 422 for a registered schema that is none",
            no_schema.clone(),
            (422, json!({"error_code": 42201, "message": "Invalid schema"})),
            refused(": Invalid schema"),
        ),
        (
            "a version that went away meanwhile",
            no_schema.clone(),
            (404, no_such(40402)),
            State::Missing,
        ),
    ] {
        let (registry, _) = Script::default()
            .on("POST", "/subjects/t-value", 404, no_such(40403))
            .on("GET", "/subjects/t-value/versions/latest", 200, json!({"id": 1, "schema": older}))
            .on("POST", "/subjects/t-value?normalize=true", normalized.0, normalized.1)
            .on("POST", COMPATIBILITY, verdict.0, verdict.1)
            .registry()
            .await;
        let subject = Subject::of_topic("t", RECORD);
        let states = registry.check_all(&[subject]).await.unwrap();
        assert_eq!(states[0].state, expected, "{what}");
    }
    // 409 is Confluent's word for incompatible on registering, Apicurio's too; 422 for no schema.
    for status in [409, 422] {
        let body = json!({"error_code": i64::from(status), "message": "READER_FIELD_MISSING"});
        let (registry, _) = Script::default()
            .on("POST", "/subjects/t-value/versions", status, body)
            .registry()
            .await;
        assert_eq!(
            registry.register("t-value", ours).await,
            Err(RegistryError::Refused { status, message: "READER_FIELD_MISSING".into() })
        );
    }
}

#[tokio::test]
async fn a_subject_is_encoded_and_registered() {
    let name = Subject::of_topic_and_record("a/b%", RECORD).name;
    let path = "/subjects/a%2Fb%25-wms.commands.CancelOrder/versions";
    let (registry, script) =
        Script::default().on("POST", path, 200, json!({"id": 9})).registry().await;
    assert_eq!(registry.register(&name, text_of(RECORD)).await, Ok(9));
    assert_eq!(*script.heard.lock().unwrap(), [format!("POST {path}")]);
}

#[tokio::test]
async fn credentials_are_sent_and_never_printed() {
    let present = || Script::default().on("POST", "/subjects/s", 200, json!({"id": 1}));
    let basic = Credentials::Basic { user: "u".into(), password: Secret::new("p@ss") };
    let bearer = Credentials::Bearer(Secret::new("t0ken"));
    for (wanted, given, in_url) in [
        ("Basic dTpwQHNz", Some(basic), ""),
        ("Basic dTpwQHNz", None, "u:p%40ss@"),
        ("Bearer t0ken", Some(bearer), ""),
    ] {
        let script = Script { authorization: Some(wanted), ..present() };
        let (address, _) = script.serve().await;
        let mut settings =
            RegistrySettings::new(format!("http://{in_url}{address}/apis/ccompat/v7"));
        settings.credentials = given;
        let shown = format!("{settings:?}");
        let registry = Registry::new(settings.clone()).unwrap();
        assert_eq!(registry.look_up("s", "{}").await, Ok(Some(1)));
        for shown in [shown, format!("{registry:?}")] {
            assert!(!shown.contains("p@ss") && !shown.contains("p%40ss"), "{shown}");
            assert!(!shown.contains("t0ken"), "{shown}");
        }
    }
    let (registry, _) = Script { authorization: Some("Basic x"), ..present() }.registry().await;
    assert_eq!(registry.look_up("s", "{}").await, Err(RegistryError::Unauthorized(401)));
}

#[tokio::test]
async fn what_is_no_registry_is_told_apart_from_not_found() {
    let (registry, _) = Script::default()
        .on("POST", "/subjects/down", 503, json!({"message": "later"}))
        .on("POST", "/subjects/text", 200, json!("hello"))
        .on("POST", "/subjects/bad", 422, json!({"error_code": 42201, "message": "no schema"}))
        .registry()
        .await;
    assert!(matches!(registry.look_up("down", "{}").await, Err(RegistryError::Unavailable(_))));
    assert!(matches!(registry.look_up("text", "{}").await, Err(RegistryError::Unavailable(_))));
    // A 404 without the registry's own error: the address is wrong, nothing is known.
    let elsewhere = registry.look_up("elsewhere", "{}").await;
    assert!(matches!(elsewhere, Err(RegistryError::Refused { status: 404, .. })), "{elsewhere:?}");
    assert_eq!(
        registry.look_up("bad", "{}").await,
        Err(RegistryError::Refused { status: 422, message: "no schema".into() })
    );

    let settings = RegistrySettings::new("http://user:hidden@127.0.0.1:1/?token=hidden");
    let gone = Registry::new(settings).unwrap().look_up("s", "{}").await.unwrap_err();
    assert!(matches!(gone, RegistryError::Unavailable(_)), "{gone:?}");
    assert!(!format!("{gone} {gone:?}").contains("hidden"), "{gone}");
    for url in ["", "ftp://host", "mailto:x"] {
        assert!(Registry::new(RegistrySettings::new(url)).is_err(), "{url}");
    }
}

#[tokio::test]
async fn commands_are_read_by_id_and_by_guid() {
    let json = r#"{"account":"a","orderNumber":"N"}"#;
    let avro = encode_command(Operation::CancelOrder, json, Prefix::Confluent(5)).unwrap();
    let guid = "00000000-0000-0000-0000-0000000000ff";
    let schema = json!({"schema": text_of(RECORD)});
    let (registry, script) = Script::default()
        .on("GET", "/schemas/ids/5", 200, schema.clone())
        .on("GET", "/schemas/ids/6", 404, no_such(40403))
        .on("GET", "/schemas/ids/7", 200, json!({"schema": "{}", "schemaType": "JSON"}))
        .on("GET", "/schemas/ids/8", 500, json!({}))
        .on("GET", &format!("/schemas/guids/{guid}"), 200, schema)
        .registry()
        .await;
    let reader = CommandReader::new(Some(registry), Limits::default());
    let read = async |header: Option<&[u8]>, payload: &[u8]| {
        let headers = header.map(|value| (SCHEMA_ID_HEADER, Some(value)));
        reader.read(Some(Operation::CancelOrder), headers.into_iter(), Some(payload)).await
    };
    let by_guid = [&[1][..], &[0; 15], &[0xff]].concat();
    let unknown_guid = [&[1][..], &[0; 16]].concat();
    for (header, payload) in [
        (None, &avro[..]),
        (None, &avro[..]),
        (Some(&[0, 0, 0, 0, 5][..]), &avro[5..]),
        (Some(&by_guid[..]), &avro[5..]),
    ] {
        let read = read(header, payload).await.unwrap();
        assert_eq!(read.command.document_number(), Some("N"));
        assert!(!read.json);
    }
    assert_eq!(script.heard.lock().unwrap().len(), 2, "each schema is fetched once");
    for (id, waits) in [(6_u8, false), (7, false), (8, true), (9, true)] {
        let result = read(None, &[&[0, 0, 0, 0, id][..], &avro[5..]].concat()).await;
        match result {
            Err(ReadError::Unreadable { .. }) => assert!(!waits, "{id}"),
            Err(ReadError::RegistryUnavailable { .. }) => assert!(waits, "{id}"),
            other => panic!("{id}: {other:?}"),
        }
    }
    // A registry without GUIDs answers 404 in its own words: waiting would never end.
    let unknown = read(Some(&unknown_guid), &avro[5..]).await;
    assert!(matches!(unknown, Err(ReadError::Unreadable { .. })), "{unknown:?}");
}

/// A registry that has moved on its own host is found with method and body; one elsewhere is named and
/// never sent the credentials.
#[tokio::test]
async fn a_redirect_is_followed_on_its_own_host_alone() {
    use axum::http::header;

    let elsewhere = Script::default();
    let (other, heard) = elsewhere.serve().await;
    let router = Router::new().fallback(move |request: Received| async move {
        let path = request.uri().path().to_owned();
        let moved =
            |to: String| (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, to)]).into_response();
        match path.as_str() {
            "/old/subjects/a" => moved("/new/subjects/a".to_owned()),
            "/old/subjects/b" => moved(format!("http://{other}/new/subjects/b?token=hidden")),
            "/old/subjects/c" => moved("/old/subjects/c".to_owned()),
            "/new/subjects/a" if request.method() == "POST" => {
                let body = axum::body::to_bytes(request.into_body(), 1_000).await.unwrap();
                assert!(String::from_utf8_lossy(&body).contains("schema"));
                json!({"id": 7}).to_string().into_response()
            }
            _ => StatusCode::NOT_FOUND.into_response(),
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    TaskTracker::new().spawn(async move { axum::serve(listener, router).await });
    let registry = Registry::new(RegistrySettings::new(format!("http://{address}/old/"))).unwrap();
    assert_eq!(registry.look_up("a", "{}").await.unwrap(), Some(7));
    let error = registry.look_up("b", "{}").await.unwrap_err().to_string();
    assert!(error.contains(&other.to_string()) && error.contains("schema_registry.url"), "{error}");
    assert!(!error.contains("hidden"), "{error}");
    assert!(heard.heard.lock().unwrap().is_empty());
    let error = registry.look_up("c", "{}").await.unwrap_err().to_string();
    assert!(error.contains("without end"), "{error}");
}

#[tokio::test]
async fn a_packed_answer_is_read() {
    use std::io::Write as _;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(json!({"id": 7}).to_string().as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    let router = Router::new().fallback(move || {
        let packed = packed.clone();
        async move { ([("content-encoding", "gzip")], packed) }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    TaskTracker::new().spawn(async move { axum::serve(listener, router).await });
    let registry = Registry::new(RegistrySettings::new(format!("http://{address}/"))).unwrap();
    assert_eq!(registry.look_up("a", "{}").await.unwrap(), Some(7));
}
