//! Bodies as senders and the gateways between us write them: encoded, as odd forms, or not at all.

use std::io::Write as _;

use flate2::{
    Compression,
    write::{DeflateEncoder, GzEncoder, ZlibEncoder},
};
use serde_json::json;
use wms_connector::{
    app::topics,
    sandbox::{Sandbox, SandboxSettings},
};

use super::only_webhooks;
use crate::support::{
    app::{self, JFWMS, Options, QIANYI, TestApp},
    backend::TestEnv,
    binary::Files,
    suite::tests,
    vendor,
    wire::{self, Unfinished},
};

tests! {
    both: a_body_is_read_in_every_encoding, a_form_is_read_however_it_is_written,
        an_address_can_be_tried;
    mock: each_400_says_in_the_log_which_case_it_was;
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::default());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut packed = DeflateEncoder::new(Vec::new(), Compression::default());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

fn order(number: &str) -> Vec<u8> {
    vendor::jfwms("order", &vendor::order(number)).into_bytes()
}

fn with_bom(bytes: &[u8]) -> Vec<u8> {
    [b"\xef\xbb\xbf", bytes].concat()
}

async fn a_body_is_read_in_every_encoding(env: &TestEnv) {
    let ingress = "max_body = \"16KiB\"".to_owned();
    let app = TestApp::start_with(env, Options { ingress, ..only_webhooks() }).await;
    // Spaces compress well: small on the wire, over the limit once it is read.
    let bomb = format!("{}{}", " ".repeat(1 << 20), String::from_utf8(order("bomb")).unwrap());
    let cut = gzip(&order("cut"));
    for (what, encoding, body, expected) in [
        ("a BOM", "", with_bom(&order("1")), (200, 0)),
        ("identity", "identity", order("2"), (200, 0)),
        ("gzip", "gzip", gzip(&order("3")), (200, 0)),
        ("gzip by its old name", "X-GZip", gzip(&order("4")), (200, 0)),
        ("a BOM in gzip", "gzip", gzip(&with_bom(&order("5"))), (200, 0)),
        ("deflate", "deflate", zlib(&order("6")), (200, 0)),
        ("deflate without its frame", "deflate", deflate(&order("7")), (200, 0)),
        ("unpacked by a gateway", "gzip", order("8"), (200, 0)),
        ("the header dropped by a gateway", "", gzip(&order("9")), (200, 0)),
        ("brotli", "br", order("br"), (415, 10001)),
        ("two layers", "gzip, gzip", gzip(&gzip(&order("two"))), (415, 10001)),
        ("a header that is no text", "\u{e9}", order("odd"), (415, 10001)),
        ("too large within", "gzip", gzip(bomb.as_bytes()), (413, 10001)),
        ("too large within", "deflate", zlib(bomb.as_bytes()), (413, 10001)),
        ("too large outside", "gzip", vec![0x1f; 20_000], (413, 10001)),
        ("cut off", "gzip", cut[..cut.len() - 9].to_vec(), (400, 10001)),
        ("no gzip", "gzip", b"\x01\x02".to_vec(), (400, 10001)),
    ] {
        let headers = [("content-encoding", encoding)];
        let headers = if encoding.is_empty() { &[][..] } else { &headers };
        let answer = wire::post(&app, JFWMS, headers, body).await;
        assert_eq!(answer.code(), (expected.0, json!(expected.1)), "{what}: {answer:?}");
    }
    let mut keys = Vec::new();
    for record in env.read_now(&env.name("jfwms.order")).await {
        keys.push(record.key().to_owned());
    }
    keys.sort_unstable();
    assert_eq!(keys, ["1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    // What is authentic and fits no type is kept as the text that was signed.
    let unknown = vendor::jfwms("brandNew", "{\"a\":1}");
    let headers = [("content-encoding", "gzip")];
    let taken = wire::post(&app, JFWMS, &headers, gzip(unknown.as_bytes())).await;
    assert_eq!(taken.status, 200);
    let kept = env.read_now(&env.name("jfwms.unrecognized")).await;
    assert_eq!(kept[0].value.as_deref(), Some(unknown.as_bytes()));
    let metrics = app.metrics().await;
    let line =
        "wms_webhooks_total{account=\"jf-main\",outcome=\"unknown_encoding\",type=\"none\"} 3";
    assert!(metrics.lines().any(|found| found == line), "{metrics}");
    app.stop().await.unwrap();
}

async fn a_form_is_read_however_it_is_written(env: &TestEnv) {
    let app = TestApp::start_with(env, only_webhooks()).await;
    let push = |number: &str| {
        let biz = format!("{{\r\n  \"asnNumber\": \"{number}\"\r\n}}");
        vendor::as_form_data(&vendor::push("PUSH_ASN_ORDER", &biz))
    };
    let odd = "----=_Part/7:(a)?,b c";
    let form = "multipart/form-data";
    let mut cases = Vec::new();
    for (number, content_type, change) in [
        ("documented", format!("{form}; boundary=frontier"), None),
        ("quoted", format!("{form}; boundary=\"frontier\"; charset=UTF-8"), None),
        ("blanks", format!("{form} ; charset=utf-8 ; boundary = frontier"), None),
        (
            "odd",
            format!("{form}; boundary={odd}"),
            Some(("--frontier".to_owned(), format!("--{odd}"))),
        ),
        (
            "unclosed",
            format!("{form}; boundary=frontier"),
            Some(("--frontier--\r\n".into(), "".into())),
        ),
        ("unnamed", form.to_owned(), None),
        ("a BOM", format!("{form}; boundary=frontier"), None),
    ] {
        let (_, mut body) = push(number);
        if let Some((from, to)) = change {
            body = body.replace(&from, &to);
        }
        if number == "a BOM" {
            body.insert(0, '\u{feff}');
        }
        cases.push((number, content_type, body));
    }
    // With line feeds alone, the value's own carriage returns stay.
    let biz = "{\r\n\"asnNumber\": \"line feeds\"\r\n}";
    let fields = vendor::push("PUSH_ASN_ORDER", biz);
    let (content_type, body) = vendor::as_form_data(&fields);
    let body = body.replace("\r\n", "\n").replace(&biz.replace("\r\n", "\n"), biz);
    cases.push(("line feeds", content_type, body));
    let claimed = vendor::as_json(&vendor::push("PUSH_ASN_ORDER", "{\"asnNumber\":\"JSON\"}"));
    cases.push(("JSON", "application/x-www-form-urlencoded".to_owned(), claimed));
    let mut numbers: Vec<_> = cases.iter().map(|(number, _, _)| (*number).to_owned()).collect();
    for (what, content_type, body) in cases {
        let headers = [("content-type", content_type.as_str())];
        let answer = wire::post(&app, QIANYI, &headers, body).await;
        assert_eq!(answer.status, 200, "{what}: {answer:?}");
    }
    let mut keys = Vec::new();
    for record in env.read_now(&env.name("qianyi.asn")).await {
        keys.push(record.key().to_owned());
    }
    keys.sort_unstable();
    numbers.sort_unstable();
    assert_eq!(keys, numbers);
    app.stop().await.unwrap();
}

/// A vendor's console tries an address before it takes it.
async fn an_address_can_be_tried(env: &TestEnv) {
    let jfwms = "path_secret = \"s3cret-path-of-this-test\"".to_owned();
    let app = TestApp::start_with(env, Options { jfwms, ..only_webhooks() }).await;
    for (path, expected) in [
        ("qy-cn", 200),
        ("qy-cn?echo=1", 200),
        ("jf-main/s3cret-path-of-this-test", 200),
        ("jf-main", 404),
        ("jf-main/another", 404),
        ("qy-cn/secret", 404),
        ("nobody", 404),
    ] {
        for method in [reqwest::Method::GET, reqwest::Method::HEAD] {
            let request = app.http.request(method.clone(), app.webhook_url(path));
            let answer = wire::answer(request.send().await.unwrap()).await;
            assert_eq!(answer.status, expected, "{method} {path}: {answer:?}");
            let empty = expected == 200 || method == reqwest::Method::HEAD;
            assert_eq!(answer.text.is_empty(), empty, "{method} {path}: {answer:?}");
        }
    }
    let metrics = app.metrics().await;
    assert!(!metrics.contains("outcome=\"accepted\""), "{metrics}");
    app.stop().await.unwrap();
}

async fn each_400_says_in_the_log_which_case_it_was(env: &TestEnv) {
    let sandbox = Sandbox::start(SandboxSettings::default()).await.unwrap();
    let ingress = "read_timeout = \"1s\"".to_owned();
    let options = Options { ingress, ..only_webhooks() };
    for topic in topics::all(&app::configuration(env, &options, &sandbox), 1, 1) {
        env.create_topic(&topic.name, 1).await;
    }
    let files = Files::new(&app::configuration_text(env, &options, &sandbox));
    let connector = files.start(&["--only", "webhooks"]).await;
    connector.until_ready_is(200).await;
    let form = "multipart/form-data; boundary=x";
    let part = "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n";
    let json = "application/json";
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for (account, content_type, body, said) in [
        (JFWMS, json, "", "the body is empty"),
        (JFWMS, json, "hello", "the body is not JSON"),
        (JFWMS, json, "[1]", "not an object"),
        (JFWMS, json, "{}", "no `data`"),
        (JFWMS, json, "{\"data\":1,\"data\":2}", "two `data`"),
        (QIANYI, form, "hello", "no line with its boundary"),
        (QIANYI, form, &format!("{part}--x--"), "no blank line"),
        (QIANYI, form, "--x\r\n\r\n1\r\n--x--", "has no name"),
        (QIANYI, "application/x-www-form-urlencoded", &"a&".repeat(300), "more than 256"),
        (QIANYI, json, "{\"bizParam\":\"{\"}", "`bizParam`"),
    ] {
        let request = client.post(connector.webhook_url(account)).body(body.to_owned());
        let answer = request.header("content-type", content_type).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 400, "{body}");
        assert!(connector.log().contains(said), "{said}: {}", connector.log());
    }
    for (length, part, said) in [
        ("transfer-encoding: chunked", "zz\r\n", "ended before the body did"),
        ("content-length: 9", "{", "within `ingress.read_timeout`"),
        ("content-encoding: gzip\r\ncontent-length: 3", "\x1f\x0b\x01", "broken or incomplete"),
        ("content-encoding: gzip\r\ncontent-length: 1", "\x7f", "broken or incomplete"),
        ("content-length: 2", "\u{e9}", "not JSON"),
    ] {
        let request = Unfinished::begin(connector.webhooks(), JFWMS, length, part);
        assert_eq!(request.answer().await.code(), (400, json!(10001)), "{said}");
        assert!(connector.log().contains(said), "{said}: {}", connector.log());
    }
    let request = client.post(connector.webhook_url(JFWMS)).body(b"\xff{}".to_vec());
    assert_eq!(request.send().await.unwrap().status().as_u16(), 400);
    assert!(connector.log().contains("not UTF-8"), "{}", connector.log());
    sandbox.shutdown().await;
}
