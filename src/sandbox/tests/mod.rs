//! The sandbox, called over HTTP. The calls are signed here, by hand, so that a mistake of the
//! sandbox's own code would show.

mod books_and_limits;
mod faults;
mod jfwms;
mod qianyi;
mod webhooks;

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hmac::{Hmac, Mac};
use md5::{Digest, Md5};
use serde_json::{Value, json};
use sha2::Sha256;

use super::*;

const CLIENT: &str = "fe73489a9b5948dbafd07e7b28d6e268";
const SECRET: &str = "4a506ccaf37e400bac4a42d2dc5f600a";
const TOKEN: &str = "1b56814f081c432cb82751be145261d3";

/// A sandbox where nothing happens by itself.
async fn quiet() -> Sandbox {
    started(|_| ()).await
}

async fn started(adapt: impl FnOnce(&mut SandboxSettings)) -> Sandbox {
    let mut settings = SandboxSettings::default();
    settings.behaviour.jfwms.ship_after_ms = None;
    settings.behaviour.jfwms.storage_after_ms = None;
    settings.behaviour.qianyi.ship_after_ms = None;
    settings.behaviour.qianyi.receive_after_ms = None;
    adapt(&mut settings);
    Sandbox::start(settings).await.unwrap()
}

/// One client for all tests, since building one reads the system's certificates. It keeps no
/// connection: each test has a runtime of its own.
fn client() -> reqwest::Client {
    static CLIENT: LazyLock<reqwest::Client> = LazyLock::new(|| {
        let builder = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0);
        builder.timeout(Duration::from_secs(10)).build().unwrap()
    });
    CLIENT.clone()
}

fn fresh_nonce() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(100);
    NEXT.fetch_add(1, Ordering::Relaxed).to_string()
}

fn millis() -> String {
    crate::clock::now().as_millisecond().to_string()
}

/// The headers of a call of JFWMS, each of which a test may change before it is sent.
#[derive(Debug, Clone)]
struct JfwmsCall {
    path: String,
    token: String,
    user: String,
    nonce: String,
    timestamp: String,
    sign: Option<String>,
}

impl JfwmsCall {
    fn to(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            token: TOKEN.to_owned(),
            user: "8".to_owned(),
            nonce: fresh_nonce(),
            timestamp: millis(),
            sign: None,
        }
    }

    fn request(&self, sandbox: &Sandbox, body: &Value) -> reqwest::RequestBuilder {
        let text = format!(
            "accessToken={}&clientId={CLIENT}&method=post&nonce={}&timestamp={}&url={}&userId={}",
            self.token, self.nonce, self.timestamp, self.path, self.user
        );
        let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(text.as_bytes());
        let sign = self.sign.clone().unwrap_or(hex::encode(mac.finalize().into_bytes()));
        client()
            .post(format!("{}{}", sandbox.jfwms_url(), self.path))
            .header("accessToken", &self.token)
            .header("clientId", CLIENT)
            .header("nonce", &self.nonce)
            .header("timestamp", &self.timestamp)
            .header("userId", &self.user)
            .header("sign", sign)
            .json(body)
    }

    async fn send(&self, sandbox: &Sandbox, body: &Value) -> Value {
        self.request(sandbox, body).send().await.unwrap().json().await.unwrap()
    }

    async fn code(&self, sandbox: &Sandbox, body: &Value) -> i64 {
        self.send(sandbox, body).await["code"].as_i64().unwrap()
    }
}

async fn jfwms(sandbox: &Sandbox, path: &str, body: &Value) -> Value {
    JfwmsCall::to(path).send(sandbox, body).await
}

async fn jfwms_code(sandbox: &Sandbox, path: &str, body: &Value) -> i64 {
    JfwmsCall::to(path).code(sandbox, body).await
}

fn order(number: &str) -> Value {
    json!({
        "erpNo": number,
        "warehouse": "YK",
        "platform": "other",
        "recipientCountry": "US",
        "skuList": [{"sku": "SKU-1", "num": 2}, {"sku": "SKU-2", "num": 1}],
    })
}

fn inbound(number: &str) -> Value {
    json!({"erpNo": number, "warehouse": "YK", "skuList": [{"sku": "SKU-1", "count": 5}]})
}

fn qianyi_sign(app: &str, secret: &str, service: &str, timestamp: &str, biz: &str) -> String {
    let text =
        format!("appId={app}bizParam={biz}serviceType={service}timestamp={timestamp}{secret}");
    hex::encode(Md5::digest(text.as_bytes()))
}

/// The fields of a call of Qianyi, each of which a test may change before it is sent.
fn qianyi_fields(service: &str, biz: &str) -> Vec<(&'static str, String)> {
    let timestamp = millis();
    let sign = qianyi_sign("openApi_TEST", "openApi_TOKEN", service, &timestamp, biz);
    vec![
        ("appId", "openApi_TEST".to_owned()),
        ("serviceType", service.to_owned()),
        ("bizParam", biz.to_owned()),
        ("timestamp", timestamp),
        ("sign", sign),
    ]
}

fn qianyi_request(
    sandbox: &Sandbox,
    path: &str,
    fields: Vec<(&'static str, String)>,
) -> reqwest::RequestBuilder {
    let mut form = reqwest::multipart::Form::new();
    for (name, value) in fields {
        form = form.text(name, value);
    }
    client().post(format!("{}/api/v1/{path}", sandbox.qianyi_url())).multipart(form)
}

/// The outer answer.
async fn qianyi_outer(sandbox: &Sandbox, path: &str, fields: Vec<(&'static str, String)>) -> Value {
    qianyi_request(sandbox, path, fields).send().await.unwrap().json().await.unwrap()
}

/// The inner answer of a call whose outer answer must be a success.
async fn qianyi(sandbox: &Sandbox, path: &str, service: &str, body: &Value) -> Value {
    let outer = qianyi_outer(sandbox, path, qianyi_fields(service, &body.to_string())).await;
    assert_eq!(outer["state"], "success", "{outer}");
    serde_json::from_str(outer["bizContent"].as_str().unwrap()).unwrap()
}

fn sales_order(number: &str) -> Value {
    json!({
        "shop": "demo-shop",
        "onlineOrderNumber": number,
        "paymentMethod": "PAY_ONLINE",
        "currency": "USD",
        "payTime": "2025-07-01 00:00:00+08:00",
        "warehouse": "测试仓库",
        "logistics": "AUTO",
        "buyer": {
            "receiverName": "张三", "country": "US", "province": "CA", "city": "LA",
            "postCode": "90001", "address1": "1 Main Street",
        },
        "skuList": [{"sku": "SKU-1", "payAmount": 10.5, "quantity": 2}],
    })
}

fn asn(number: &str) -> Value {
    json!({
        "warehouseName": "测试仓库",
        "customNumber": number,
        "purchasePriceCurrency": "CNY",
        "asnSkuVOList": [
            {"sku": "SKU-1", "expectQuantity": 2, "purchasePrice": 1},
            {"sku": "SKU-1", "expectQuantity": "3", "purchasePrice": "1"},
        ],
    })
}

/// Waits for something that happens soon.
async fn soon(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it never came: {what}");
}
