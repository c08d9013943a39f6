//! A push of Qianyi. The first byte says how it travels: as multipart, as a url-encoded form or as
//! JSON, or (the rest) as `bizParam` of one of the types, signed here.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wms_connector::{
    domain::{Secret, SignatureHint, Webhook},
    vendors::{
        Vendor,
        qianyi::{EVENT_TYPES, SignedRequest},
    },
    webhooks::form_fields,
};
use wms_connector_fuzz::{APP_ID, QIANYI, SECRET, account, oracle, received, written};

fuzz_target!(|input: &[u8]| {
    let Some((kind, body)) = input.split_first() else { return };
    match kind % 8 {
        0 => raw(Some("multipart/form-data; boundary=x"), body),
        1 => raw(Some("application/x-www-form-urlencoded"), body),
        2 => raw(Some("application/json"), body),
        n => signed(usize::from(n) - 3, body),
    }
});

/// What arrives unsigned is refused, however it is wrapped.
fn raw(content_type: Option<&str>, body: &[u8]) {
    let Ok(form) = form_fields(content_type, body) else { return };
    let webhook = Webhook::new(received(body, Vec::new(), form));
    assert!(QIANYI.verify(webhook, SignatureHint::ANY).is_err());
}

/// A signed push keeps everything, and is the same push as a form and as JSON.
fn signed(event_type: usize, body: &[u8]) {
    let Ok(text) = std::str::from_utf8(body) else { return };
    // Behind a NUL stands a further member of the frame.
    let (biz_param, other) = text.split_once('\0').unwrap_or((text, ""));
    let service_type = EVENT_TYPES[event_type].name;
    let timestamp = body.len().to_string() + "00000000";
    let sign = SignedRequest { app_id: APP_ID, biz_param, service_type, timestamp: &timestamp }
        .sign(&Secret::new(SECRET));
    let mut fields = vec![
        ("appId".to_owned(), APP_ID.to_owned()),
        ("bizParam".to_owned(), biz_param.to_owned()),
        ("serviceType".to_owned(), service_type.to_owned()),
        ("timestamp".to_owned(), timestamp.clone()),
        ("sign".to_owned(), sign),
    ];
    let json: serde_json::Map<String, serde_json::Value> =
        fields.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    let json = serde_json::Value::Object(json).to_string();
    let quoted = serde_json::Value::from(other).to_string();
    let others: &[(&str, &str)] = if other.is_empty() { &[] } else { &[("sku", &quoted)] };
    if !other.is_empty() {
        fields.push(("sku".to_owned(), other.to_owned()));
    }
    let from_form =
        QIANYI.verify(Webhook::new(received(b"", Vec::new(), Some(fields))), SignatureHint::ANY);
    let from_json = QIANYI
        .verify(Webhook::new(received(json.as_bytes(), Vec::new(), None)), SignatureHint::ANY);
    let (from_form, from_json) = match (from_form, from_json) {
        (Ok(form), Ok(json)) => (form, json),
        (Err(form), Err(json)) => {
            assert_eq!(form, json);
            return;
        }
        (form, json) => panic!("{form:?} {json:?}"),
    };
    assert_eq!(from_form.state().event_id, from_json.state().event_id);
    let Ok(event) = QIANYI.decode(&from_form, &|_| Some(account())) else { return };
    if let Err(lost) = oracle::qianyi(biz_param, &timestamp, others, &written(&event)) {
        panic!("{lost}");
    }
}
