//! Every byte that a signature covers counts: each one is changed, in each form, and the webhook is
//! refused. Exhaustive where the property tests beside the code choose at random.

use bytes::Bytes;

use super::{
    Vendor,
    jfwms::{self, Jfwms, sign::WebhookForm},
    qianyi::{self, Qianyi, SignedRequest},
};
use crate::domain::{AccountName, Received, Refusal, Secret, SignatureHint, Webhook};

const SECRET: &str = "4a506ccaf37e400bac4a42d2dc5f600a";
/// No blank stands between its tokens, so that it is its own compact form.
const DATA: &str = r#"{"erpNo":"A \"1\\仓","skuList":[{"sku":"s","n":-1.10e+3}],"x":[null,true]}"#;

fn account() -> AccountName {
    AccountName::new("a").unwrap()
}

fn jfwms(secret: &str, previous: Option<&str>) -> Jfwms {
    let mut settings: jfwms::Settings =
        toml::from_str("client_id = \"c\"\nclient_secret = \"x\"").unwrap();
    settings.client_secret = Secret::new(secret);
    settings.client_secret_previous = previous.map(Secret::new);
    Jfwms::new(account(), settings).unwrap()
}

fn received(
    body: Vec<u8>,
    headers: Vec<(String, String)>,
    form: Option<Vec<(String, String)>>,
) -> Webhook<crate::domain::Unverified> {
    Webhook::new(Received {
        account: account(),
        body: Bytes::from(body),
        headers,
        query: Vec::new(),
        form,
        received_at: jiff::Timestamp::UNIX_EPOCH,
    })
}

/// Every text that differs from this one in one bit of one byte, where it is a text.
fn changes(text: &str) -> impl Iterator<Item = Vec<u8>> {
    let bytes = text.as_bytes().to_vec();
    (0..bytes.len()).flat_map(move |at| {
        let bytes = bytes.clone();
        (0..8).map(move |bit| {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            changed
        })
    })
}

#[test]
fn no_byte_of_data_or_secret_can_be_changed_in_any_form() {
    let verify = |vendor: &Jfwms, data: &[u8], sign: &str| {
        let body = [br#"{"type":"order","data":"#.as_slice(), data, b"}"].concat();
        let headers = vec![("sign".to_owned(), sign.to_owned())];
        vendor.verify(received(body, headers, None), SignatureHint::ANY)
    };
    let right = jfwms(SECRET, Some("older"));
    for form in WebhookForm::ALL {
        let sign = form.sign(DATA, &Secret::new(SECRET)).sign;
        for sign in [sign.clone(), sign.to_uppercase()] {
            verify(&right, DATA.as_bytes(), &sign).unwrap();
        }
        verify(&jfwms("newer", Some(SECRET)), DATA.as_bytes(), &sign).unwrap();
        for changed in changes(DATA) {
            let refusal = verify(&right, &changed, &sign).unwrap_err();
            let expected = [
                Refusal::WrongSignature,
                // Or it is no frame any more.
                Refusal::NotUtf8,
                Refusal::NotJson,
                Refusal::TwoData,
            ];
            assert!(expected.contains(&refusal), "{form:?} {changed:?} {refusal:?}");
        }
        for secret in changes(SECRET).filter_map(|secret| String::from_utf8(secret).ok()) {
            let result = verify(&jfwms(&secret, None), DATA.as_bytes(), &sign);
            assert_eq!(result.err(), Some(Refusal::WrongSignature), "{form:?} {secret:?}");
        }
        // A bit of the signature itself, too.
        for changed in changes(&sign).filter_map(|sign| String::from_utf8(sign).ok()) {
            let same = changed.eq_ignore_ascii_case(&sign);
            assert_eq!(verify(&right, DATA.as_bytes(), &changed).is_ok(), same, "{changed:?}");
        }
    }
}

#[test]
fn no_byte_of_a_push_or_its_secret_can_be_changed() {
    let qianyi = |secret: &str| {
        let settings = qianyi::Settings {
            app_id: "TEST".to_owned(),
            app_secret: Secret::new(secret),
            app_secret_previous: None,
        };
        Qianyi::new(account(), settings).unwrap()
    };
    let (service_type, timestamp) = ("PUSH_ASN_ORDER", "1754272685482");
    let sign = SignedRequest { app_id: "TEST", biz_param: DATA, service_type, timestamp }
        .sign(&Secret::new(SECRET));
    let verify = |vendor: &Qianyi, biz_param: &str, service_type: &str, timestamp: &str| {
        let fields = [
            ("sign", sign.as_str()),
            ("appId", "TEST"),
            ("bizParam", biz_param),
            ("serviceType", service_type),
            ("timestamp", timestamp),
        ];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        vendor.verify(received(Vec::new(), Vec::new(), Some(fields)), SignatureHint::ANY).is_ok()
    };
    let right = qianyi(SECRET);
    assert!(verify(&right, DATA, service_type, timestamp));
    let texts = |text: &str| changes(text).filter_map(|t| String::from_utf8(t).ok()).collect();
    let (data, types, times, secrets): (Vec<_>, Vec<_>, Vec<_>, Vec<_>) =
        (texts(DATA), texts(service_type), texts(timestamp), texts(SECRET));
    assert!(data.iter().all(|changed| !verify(&right, changed, service_type, timestamp)));
    assert!(types.iter().all(|changed| !verify(&right, DATA, changed, timestamp)));
    assert!(times.iter().all(|changed| !verify(&right, DATA, service_type, changed)));
    assert!(secrets.iter().all(|changed| !verify(&qianyi(changed), DATA, service_type, timestamp)));
    // Nor can text move from one member into the next, though nothing stands between them.
    let moved = format!("{DATA}serviceType=PUSH_ASN_ORDER");
    assert!(!verify(&right, &moved, "", timestamp));
    assert!(!verify(&right, DATA, "PUSH_ASN_ORDERtimestamp=1754272685482", ""));
}
