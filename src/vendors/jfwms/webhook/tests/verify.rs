//! Which webhooks are believed, and what the sender is told.

use proptest::prelude::*;

use super::{
    super::super::{
        Jfwms,
        json::{Members, quoted},
        sign::WebhookForm,
    },
    RECEIVED, SECRET, vendor, verified, webhook,
};
use crate::{
    domain::{AccountName, Received, Refusal, Secret, SignatureHint, Webhook},
    vendors::Vendor,
};

type Pairs<'a> = &'a [(&'a str, &'a str)];

/// Settings, body, headers, query and what comes of them.
type Case<'a> = (&'a str, &'a str, Pairs<'a>, Pairs<'a>, Result<&'a str, Refusal>);

#[test]
fn a_sign_is_looked_for_in_header_body_and_query() {
    let sign = WebhookForm::RawDataFirst.sign("{}", &Secret::new(SECRET)).sign;
    let plain = r#"{"type":"order","data":{}}"#;
    let signed = format!(r#"{{"type":"order","data":{{}},"sign":"{sign}"}}"#);
    let upper = sign.to_uppercase();
    let wrong = "0".repeat(32);
    let ok = Ok("raw-data-first");
    let cases: [Case<'_>; 13] = [
        ("", plain, &[("sign", &sign)], &[], ok),
        ("", plain, &[("Sign", &upper)], &[], ok),
        ("", &signed, &[], &[], ok),
        ("", plain, &[], &[("sign", &sign)], ok),
        ("", plain, &[("sign", &wrong)], &[("sign", &sign)], ok),
        ("webhook_sign_names = [\"x-sign\"]", plain, &[("x-sign", &sign)], &[], ok),
        (
            "webhook_sign_names = [\"x-sign\"]",
            plain,
            &[("sign", &sign)],
            &[],
            Err(Refusal::NoSignature),
        ),
        ("", plain, &[], &[], Err(Refusal::NoSignature)),
        ("", plain, &[("sign", "")], &[], Err(Refusal::NoSignature)),
        ("", plain, &[("sign", &wrong)], &[], Err(Refusal::WrongSignature)),
        ("", plain, &[("sign", "no hex")], &[], Err(Refusal::WrongSignature)),
        ("", plain, &[("other", &sign)], &[("Sign", &sign)], Err(Refusal::NoSignature)),
        (
            "webhook_sign_form = \"text-data-first\"",
            plain,
            &[("sign", &sign)],
            &[],
            Err(Refusal::WrongSignature),
        ),
    ];
    for (more, body, headers, query, expected) in cases {
        let result = vendor(more).verify(webhook(body, headers, query), SignatureHint::ANY);
        assert_eq!(result.map(|w| w.state().form), expected, "{more} {body} {headers:?} {query:?}");
    }
}

#[test]
fn frames_that_cannot_be_read_are_refused_before_the_signature() {
    let deep = format!(r#"{{"data":{}{}}}"#, "[".repeat(64), "]".repeat(64));
    for (body, expected) in [
        ("", Refusal::Empty),
        ("\u{feff} \n", Refusal::Empty),
        ("[]", Refusal::NotAnObject),
        ("{\"data\":{}", Refusal::NotJson),
        ("{\"data\":{}} x", Refusal::NotJson),
        ("{\"type\":\"order\"}", Refusal::NoData),
        ("{\"data\":{},\"data\":{}}", Refusal::TwoData),
        ("{\"data\":{},\"d\\u0061ta\":{}}", Refusal::TwoData),
        (deep.as_str(), Refusal::TooDeep),
        ("{\"data\":{\"data\":1,\"data\":2}}", Refusal::NoSignature),
    ] {
        let result = vendor("").verify(webhook(body, &[], &[]), SignatureHint::ANY);
        assert_eq!(result.unwrap_err(), expected, "{body}");
    }
}

#[test]
fn forms_are_tried_as_the_hint_says() {
    let data = r#"{ "a": "\"" }"#;
    let body = format!(r#"{{"type":"order","data":{data}}}"#);
    for form in WebhookForm::ALL {
        let sign = form.sign(data, &Secret::new(SECRET)).sign;
        let verify = |more: &str, hint| {
            let webhook = webhook(&body, &[("sign", &sign)], &[]);
            vendor(more).verify(webhook, hint).map(|w| w.state().form)
        };
        let hint = |known, further| SignatureHint { known: [None, known], further };
        assert_eq!(verify("", SignatureHint::ANY), Ok(form.name()));
        assert_eq!(verify("", hint(Some(form.name()), false)), Ok(form.name()));
        let other = if form == WebhookForm::TextSecretFirst {
            "raw-data-first"
        } else {
            "text-secret-first"
        };
        assert_eq!(verify("", hint(Some(other), true)), Ok(form.name()));
        assert_eq!(verify("", hint(Some(other), false)), Err(Refusal::SignatureNotTried));
        let pin = |name: &str| format!("webhook_sign_form = \"{name}\"");
        assert_eq!(verify(&pin(form.name()), hint(Some(other), true)), Ok(form.name()));
        assert_eq!(verify(&pin(other), SignatureHint::ANY), Err(Refusal::WrongSignature));
        assert_eq!(vendor(&pin(form.name())).signature_forms(), [form.name()]);
        // During a rotation both secrets are live.
        let rotated = vendor(&format!("client_secret_previous = \"{SECRET}\""));
        assert!(
            rotated.verify(webhook(&body, &[("sign", &sign)], &[]), SignatureHint::ANY).is_ok()
        );
        let mut settings = rotated.settings().clone();
        settings.client_secret = Secret::new("new");
        let rotated = Jfwms::new(rotated.account().clone(), settings.clone()).unwrap();
        assert!(
            rotated.verify(webhook(&body, &[("sign", &sign)], &[]), SignatureHint::ANY).is_ok()
        );
        settings.client_secret_previous = None;
        let rotated = Jfwms::new(rotated.account().clone(), settings).unwrap();
        assert!(
            rotated.verify(webhook(&body, &[("sign", &sign)], &[]), SignatureHint::ANY).is_err()
        );
    }
    assert_eq!(vendor("").signature_forms().len(), 6);
}

/// Both known forms are tried whatever others may be. Without blanks in `data` the raw and the compact
/// form sign one text: whichever is known, nothing is left untried of it.
#[test]
fn known_forms_are_always_tried_and_one_text_once() {
    let secret = Secret::new(SECRET);
    let hint =
        |known: [&'static str; 2], further| SignatureHint { known: known.map(Some), further };
    let (raw, compact) = ("raw-data-first", "compact-data-first");
    let (text, wrong) = ("text-data-first", Err(Refusal::WrongSignature));
    let untried = Err(Refusal::SignatureNotTried);
    for (data, signed, known, further, expected) in [
        ("{\"a\":1}", raw, [text, raw], false, Ok(raw)),
        ("{\"a\":1}", raw, [text, compact], false, Ok(compact)),
        ("{\"a\":1}", raw, [compact, raw], false, Ok(compact)),
        ("{\"a\": 1}", compact, [raw, compact], false, Ok(compact)),
        ("{\"a\": 1}", compact, [raw, text], false, untried),
        ("{\"a\": 1}", compact, [raw, text], true, Ok(compact)),
        ("{\"a\":1}", "none", [raw, text], true, wrong),
        ("{\"a\":1}", "none", [raw, text], false, untried),
    ] {
        let form = WebhookForm::of_name(signed);
        let sign = form.map_or("0".repeat(32), |form| form.sign(data, &secret).sign);
        let body = format!(r#"{{"type":"order","data":{data}}}"#);
        let result =
            vendor("").verify(webhook(&body, &[("sign", &sign)], &[]), hint(known, further));
        assert_eq!(result.map(|w| w.state().form), expected, "{data} {signed} {known:?} {further}");
    }
    // What cannot be a signature costs no hash, and is told so without one.
    let webhook = webhook("{\"data\":{}}", &[("sign", "no hex")], &[]);
    let result = vendor("").verify(webhook, hint([raw, text], false));
    assert_eq!(result.unwrap_err(), Refusal::WrongSignature);
}

#[test]
fn the_event_id_is_one_for_one_webhook() {
    let id = |body: &str| verified(&vendor(""), body).state().event_id.clone();
    let first = id(r#"{"timestamp":1,"type":"return","finishTime":"a","data":{"erpNo":1}}"#);
    for (body, same) in [
        (r#"{"timestamp":2,"type":"return","finishTime":"a","data":{"erpNo":1}}"#, true),
        (r#"{"data":{"erpNo":1},"finishTime":"a","type":"return","sign":"x"}"#, true),
        // What no signature covers and no document names makes no new event.
        (r#"{"type":"return","finishTime":"a","data":{"erpNo":1},"x":1,"sign2":"y"}"#, true),
        // One signed text in its other forms.
        (r#"{"type":"return","finishTime":"a","data":{ "erpNo" : 1 }}"#, true),
        (r#"{"type":"return","finishTime":"a","data":"{\"erpNo\":1}"}"#, true),
        (r#"{"type":"return","finishTime":"b","finishTime":"a","data":{"erpNo":1}}"#, true),
        (r#"{"timestamp":1,"type":"return","finishTime":"b","data":{"erpNo":1}}"#, false),
        (r#"{"timestamp":1,"type":"return","data":{"erpNo":1}}"#, false),
        (r#"{"timestamp":1,"type":"order","finishTime":"a","data":{"erpNo":1}}"#, false),
        (r#"{"timestamp":1,"type":"return","finishTime":"a","data":{"erpNo":2}}"#, false),
        (r#"{"timestamp":1,"type":"return","finishTime":"a","data":{"erpNo":"1"}}"#, false),
    ] {
        assert_eq!(id(body) == first, same, "{body}");
    }
    // Only a return has a documented member beside `data`.
    let order = |more: &str| id(&format!(r#"{{"type":"order","data":{{"erpNo":1}}{more}}}"#));
    assert_eq!(order(""), order(r#","finishTime":"c""#));
    let digest = |body: &str| verified(&vendor(""), body).state().signed_digest;
    let order = digest(r#"{"type":"order","data":{"erpNo":1}}"#);
    assert_eq!(order, digest(r#"{"data":{"erpNo":1},"type":"convert"}"#));
    assert_ne!(order, digest(r#"{"type":"order","data":{"erpNo":2}}"#));
}

#[test]
fn answers_are_the_vendors() {
    use crate::domain::Answer;
    for (answer, code) in [
        (Answer::Accepted, "0"),
        (Answer::UnknownAccount, "10008"),
        (Answer::NoSignature, "10021"),
        (Answer::WrongSignature, "10026"),
        (Answer::SourceNotAllowed, "10010"),
        (Answer::Malformed, "10001"),
        (Answer::TooLarge, "10001"),
        (Answer::SignatureNotTried, "1"),
        (Answer::Unavailable, "1"),
    ] {
        for (more, shown) in
            [("", code.to_owned()), ("answer_code = \"string\"", format!("\"{code}\""))]
        {
            let text = vendor(more).answer(answer);
            let members = Members::read(&text).unwrap();
            assert_eq!(members.get("code"), Some(shown.as_str()));
            assert_eq!(members.get("msg") == Some("\"\""), answer == Answer::Accepted, "{text}");
        }
    }
    assert_eq!(vendor("").answer(Answer::Accepted), r#"{"code":0,"msg":""}"#);
}

proptest! {
    /// For every form, a change of one byte of `data` or of the secret is refused. (A blank
    /// between tokens is no part of a compact form, so the data here has none.)
    #[test]
    fn a_changed_byte_is_refused(
        which in 0..6_usize,
        text in "[a-z0-9中\"\\\\ ]{1,12}",
        number in any::<i64>(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        of_secret in any::<bool>(),
    ) {
        let form = WebhookForm::ALL[which];
        let data = format!(r#"{{"erpNo":{},"x":[{number},null]}}"#, quoted(&text));
        let sign = form.sign(&data, &Secret::new(SECRET)).sign;
        let mut changed = if of_secret { SECRET.to_owned() } else { data.clone() }.into_bytes();
        let at = at.index(changed.len());
        prop_assume!(changed[at] != byte);
        changed[at] = byte;
        let (data, secret) = if of_secret {
            let Ok(secret) = String::from_utf8(changed) else { return Ok(()) };
            (data.into_bytes(), secret)
        } else {
            (changed, SECRET.to_owned())
        };
        let body = [br#"{"type":"order","data":"#.as_slice(), &data, b"}"].concat();
        let mut settings = vendor("").settings().clone();
        settings.client_secret = Secret::new(secret);
        let vendor = Jfwms::new(AccountName::new("jf-main").unwrap(), settings).unwrap();
        let received = Received {
            account: AccountName::new("jf-main").unwrap(),
            body: body.into(),
            headers: vec![("sign".to_owned(), sign)],
            query: Vec::new(),
            form: None,
            received_at: jiff::Timestamp::from_millisecond(RECEIVED).unwrap(),
        };
        prop_assert!(vendor.verify(Webhook::new(received), SignatureHint::ANY).is_err());
    }
}
