//! Webhooks on demand: any type, any data, with a right or a wrong signature.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{Shared, Vendor, jfwms, outbox, qianyi};

/// A webhook to send. As JSON (`POST /webhooks`): `{"vendor":"jfwms","type":"order","data":{…}}`;
/// for Qianyi `type` is the serviceType and `data` the object of `bizParam`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// The vendor that sends it.
    pub vendor: Vendor,
    /// JFWMS the type, Qianyi the serviceType.
    #[serde(rename = "type", alias = "serviceType")]
    pub kind: String,
    /// `data` or `bizParam`, byte for byte; repeated keys stay.
    pub data: Box<RawValue>,
    /// The document that it is about, for the books and the order of webhooks; default its `erpNo`,
    /// `documentNo` or, for Qianyi, first number.
    #[serde(default)]
    pub document: Option<String>,
    /// The timestamp in milliseconds; default the vendor's present.
    #[serde(default)]
    pub timestamp: Option<i64>,
    /// Further members of the frame beside `data` (JFWMS: the `finishTime` of a `return`).
    #[serde(default)]
    pub beside: Map<String, Value>,
    /// A signature instead of the right one.
    #[serde(default)]
    pub sign: Option<String>,
}

impl Webhook {
    /// A webhook with the right signature and the vendor's present. `data` is JSON text.
    pub fn new(vendor: Vendor, kind: &str, data: &str) -> Result<Self, WebhookError> {
        Ok(Self {
            vendor,
            kind: kind.to_owned(),
            data: RawValue::from_string(data.to_owned()).map_err(WebhookError::Data)?,
            document: None,
            timestamp: None,
            beside: Map::new(),
            sign: None,
        })
    }
}

/// Why a webhook was not sent.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// `data` is not JSON.
    #[error("the webhook's data is not JSON: {0}")]
    Data(#[source] serde_json::Error),
    /// `beside` names a member that the frame has itself.
    #[error("`beside` must not name `{0}`: the sandbox writes it")]
    Reserved(String),
}

/// Where the vendors write the number of a document.
const NUMBERS: [&str; 8] = [
    "erpNo",
    "documentNo",
    "onlineOrderNumber",
    "onlineOrderId",
    "customNumber",
    "asnNumber",
    "returnNumber",
    "number",
];

pub(super) fn send(shared: &Arc<Shared>, webhook: Webhook) -> Result<(), WebhookError> {
    if let Some(name) =
        ["data", "type", "timestamp"].iter().find(|name| webhook.beside.contains_key(**name))
    {
        return Err(WebhookError::Reserved((*name).to_owned()));
    }
    let document = webhook.document.clone().unwrap_or_else(|| number_in(webhook.data.get()));
    let outgoing = match webhook.vendor {
        Vendor::Jfwms => jfwms::webhooks::frame(shared, &webhook, document),
        Vendor::Qianyi => qianyi::pushes::frame(shared, &webhook, document),
    };
    outbox::post(shared, outgoing);
    Ok(())
}

fn number_in(data: &str) -> String {
    let data: Value = serde_json::from_str(data).unwrap_or_default();
    let number = NUMBERS.iter().find_map(|name| data.get(name).and_then(Value::as_str));
    number.unwrap_or_default().to_owned()
}
