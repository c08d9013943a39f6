//! Where and in which form JFWMS signs is not documented: every documented form is found out.

use serde_json::json;
use wms_connector::sandbox::{
    Delivery, JfwmsSettings, SandboxSettings, SignForm, SignOrder, SignTransport, Vendor,
};

use super::only_webhooks;
use crate::support::{
    app::{JFWMS, Options, PATIENCE, TestApp},
    backend::TestEnv,
    suite::tests,
    vendor::{self, JFWMS_SECRET, md5},
    wire,
};

tests! {
    both: every_form_is_found_in_every_place, the_simulated_vendor_may_sign_otherwise,
        a_pinned_form_is_the_only_one, both_secrets_of_a_rotation_are_live,
        the_signatures_name_is_a_setting, a_strangers_guesses_cost_no_webhook;
}

/// One `data` as it is sent, compact, and as a JSON text.
struct Data {
    raw: String,
    compact: String,
    text: String,
}

fn data(number: usize) -> Data {
    // 1.10 and the wide integer would not survive being parsed and written again.
    Data {
        raw: format!(
            "{{ \"erpNo\": \"{number}\",\n\t\"skuList\" : [ ], \"x\": 1.10, \"y\": 12345678901234567890123 }}"
        ),
        compact: format!(
            "{{\"erpNo\":\"{number}\",\"skuList\":[],\"x\":1.10,\"y\":12345678901234567890123}}"
        ),
        text: format!(
            "\"{{ \\\"erpNo\\\": \\\"{number}\\\",\\n\\t\\\"skuList\\\" : [ ], \\\"x\\\": 1.10, \\\"y\\\": 12345678901234567890123 }}\""
        ),
    }
}

/// The forms in the order of the guide's uncertainty, each as a function of `data`.
fn sign(form: &str, data: &Data, secret: &str) -> String {
    let (embedded, first) = match form.split_once('-').unwrap() {
        ("raw", first) => (&data.raw, first),
        ("compact", first) => (&data.compact, first),
        (_, first) => (&data.text, first),
    };
    md5(&match first {
        "data-first" => format!(r#"{{"data":{embedded},"clientSecret":"{secret}"}}"#),
        _ => format!(r#"{{"clientSecret":"{secret}","data":{embedded}}}"#),
    })
}

const FORMS: [&str; 6] = [
    "raw-data-first",
    "compact-data-first",
    "text-data-first",
    "raw-secret-first",
    "compact-secret-first",
    "text-secret-first",
];

async fn every_form_is_found_in_every_place(env: &TestEnv) {
    let app = TestApp::start_with(env, only_webhooks()).await;
    let mut number = 0;
    for form in FORMS {
        for place in ["header", "Header in another case", "member", "query"] {
            number += 1;
            let data = data(number);
            let mut sign = sign(form, &data, JFWMS_SECRET);
            let (mut headers, mut more, mut path) = (vec![], String::new(), JFWMS.to_owned());
            match place {
                "header" => headers.push(("sign", sign.as_str())),
                "member" => more = format!(",\"sign\":\"{sign}\""),
                "query" => path += &format!("?other=1&sign={sign}"),
                _ => {
                    sign.make_ascii_uppercase();
                    headers.push(("SIGN", sign.as_str()));
                }
            }
            let body = vendor::framed("order", &data.raw, &more);
            let answer = wire::post(&app, &path, &headers, body).await;
            assert_eq!(answer.code(), (200, json!(0)), "{form} in {place}: {answer:?}");
        }
        let metrics = app.metrics().await;
        for other in FORMS {
            let line = format!(
                "wms_signature_form{{account=\"{JFWMS}\",form=\"{other}\"}} {}",
                u8::from(other == form)
            );
            assert!(metrics.contains(&line), "{line} is not in {metrics}");
        }
    }
    let records = env.read_all(&env.name("jfwms.order"), number, PATIENCE).await;
    for record in &records {
        let decoded = crate::support::app::decode(record).await;
        assert_eq!(decoded["extra"], json!({"x": "1.10", "y": "12345678901234567890123"}));
    }
    app.stop().await.unwrap();
}

async fn the_simulated_vendor_may_sign_otherwise(env: &TestEnv) {
    let transport = SignTransport::Header("x-jf-sign".to_owned());
    let jfwms = JfwmsSettings {
        sign_transport: transport,
        sign_form: SignForm::Text,
        sign_order: SignOrder::SecretFirst,
        ..JfwmsSettings::default()
    };
    let sandbox = SandboxSettings { jfwms, ..SandboxSettings::default() };
    let jfwms = "webhook_sign_names = [\"X-JF-Sign\"]".to_owned();
    let app = TestApp::start_with(env, Options { sandbox, jfwms, ..only_webhooks() }).await;
    app.vendor_sends(Vendor::Jfwms, "order", &data(1).raw);
    app.until("acknowledged", || !app.sandbox.books().webhooks.is_empty()).await;
    let sent = app.sandbox.books().webhooks;
    assert_eq!(sent[0].delivery, Delivery::Acknowledged, "{sent:?}");
    app.stop().await.unwrap();
}

async fn a_pinned_form_is_the_only_one(env: &TestEnv) {
    let jfwms = "webhook_sign_form = \"compact-data-first\"".to_owned();
    let app = TestApp::start_with(env, Options { jfwms, ..only_webhooks() }).await;
    for form in FORMS {
        let data = data(1);
        let more = format!(",\"sign\":\"{}\"", sign(form, &data, JFWMS_SECRET));
        let body = vendor::framed("order", &data.raw, &more);
        let answer = wire::post(&app, JFWMS, &[], body).await;
        let pinned = form == "compact-data-first";
        assert_eq!(answer.status, if pinned { 200 } else { 401 }, "{form}");
    }
    app.stop().await.unwrap();
}

async fn both_secrets_of_a_rotation_are_live(env: &TestEnv) {
    let jfwms = "client_secret_previous = \"the-one-before\"".to_owned();
    let app = TestApp::start_with(env, Options { jfwms, ..only_webhooks() }).await;
    for (number, (secret, status)) in
        [(JFWMS_SECRET, 200), ("the-one-before", 200), ("another", 401), ("", 401)]
            .into_iter()
            .enumerate()
    {
        let data = data(number);
        let more = format!(",\"sign\":\"{}\"", sign("raw-data-first", &data, secret));
        let body = vendor::framed("order", &data.raw, &more);
        assert_eq!(wire::post(&app, JFWMS, &[], body).await.status, status, "{secret}");
    }
    app.stop().await.unwrap();
}

async fn the_signatures_name_is_a_setting(env: &TestEnv) {
    let jfwms = "webhook_sign_names = [\"signature\", \"x-sign\"]".to_owned();
    let app = TestApp::start_with(env, Options { jfwms, ..only_webhooks() }).await;
    let sign = vendor::jfwms_sign("{}");
    for (headers, more, expected) in [
        (vec![("x-sign", sign.as_str())], String::new(), (200, json!(0))),
        (vec![], format!(",\"signature\":\"{sign}\""), (200, json!(0))),
        (vec![("sign", sign.as_str())], String::new(), (401, json!(10021))),
        (vec![], format!(",\"sign\":\"{sign}\""), (401, json!(10021))),
    ] {
        let body = vendor::framed("order", "{}", &more);
        assert_eq!(wire::post(&app, JFWMS, &headers, body).await.code(), expected, "{headers:?}");
    }
    app.stop().await.unwrap();
}

/// Each try of a form costs a hash of the body, and anybody can cause it. What one address uses up is
/// its own: neither a form that is known nor one that another sender brings is ever refused for it.
async fn a_strangers_guesses_cost_no_webhook(env: &TestEnv) {
    let ingress = "trusted_proxies = [\"127.0.0.1/32\"]\nfurther_signature_bytes = \"2KiB\"";
    let options = Options { ingress: ingress.to_owned(), ..only_webhooks() };
    let app = TestApp::start_with(env, options).await;
    let post = async |from: &str, data: &str, sign: &str| {
        let body = vendor::framed("order", data, &format!(",\"sign\":\"{sign}\""));
        wire::post(&app, JFWMS, &[("x-forwarded-for", from)], body).await
    };
    let signed = |number: usize, form: &str| {
        let data = data(number);
        let sign = sign(form, &data, JFWMS_SECRET);
        (data, sign)
    };
    let (vendor, stranger, other) = ("198.51.100.1", "203.0.113.1", "198.51.100.2");

    // The vendor signs the compact form. Whoever captured a webhook can send it without its blanks,
    // which is the raw form of the same text.
    let (captured, sign) = signed(0, "compact-data-first");
    assert_eq!(post(vendor, &captured.raw, &sign).await.status, 200);
    assert_eq!(post(stranger, &captured.compact, &sign).await.status, 200);

    // Wrong signatures are refused, until their sender has used up its tries.
    let mut answers = Vec::new();
    for number in 1..=25 {
        answers.push(post(stranger, &data(number).raw, &format!("{number:032}")).await);
    }
    assert_eq!(answers[0].code(), (401, json!(10026)));
    let last = answers.last().unwrap();
    // A minute may have begun in between.
    if last.status == 503 {
        assert_eq!(last.code(), (503, json!(1)));
        assert_eq!(last.header("retry-after"), Some("60"));
    }
    assert!(answers.iter().any(|answer| answer.status == 503), "{answers:?}");

    for (from, form) in [
        (vendor, "compact-data-first"),
        (stranger, "compact-data-first"),
        (vendor, "raw-data-first"),
        (other, "text-secret-first"),
    ] {
        let (data, sign) = signed(26, form);
        assert_eq!(post(from, &data.raw, &sign).await.status, 200, "{form} from {from}");
    }
    let metrics = app.metrics().await;
    assert!(
        metrics.contains(&format!(
            "wms_webhooks_total{{account=\"{JFWMS}\",outcome=\"signature_not_tried\",type=\"none\"}}"
        )),
        "{metrics}"
    );
    app.stop().await.unwrap();
}
