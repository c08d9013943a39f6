//! Pushes of Qianyi: the five fields of a request, the other way round.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::form::sign;
use crate::sandbox::outbox::{self, Outgoing, Payload};
use crate::sandbox::settings::PushFormat;
use crate::sandbox::stock::Line;
use crate::sandbox::webhook::Webhook;
use crate::sandbox::{Shared, Vendor};

pub(super) fn order_shipped(
    shared: &Arc<Shared>,
    online_number: &str,
    number: &str,
    tracking: Option<&str>,
    at: Timestamp,
) {
    // The table documents a text for shippingTime, the sample shows epoch milliseconds.
    let data = json!({
        "orderNumber": number,
        "onlineOrderNumber": online_number,
        "trackingNumber": tracking.map_or_else(|| format!("TRK-{number}"), str::to_owned),
        "carrier": "SANDBOX",
        "shippingTime": at.as_millisecond(),
        "status": "SHIPPED",
    });
    send(shared, "PUSH_SALES_ORDER_SHIPPING_INFO", online_number, &data);
}

pub(super) fn asn_finished(
    shared: &Arc<Shared>,
    document: &str,
    number: &str,
    custom_number: Option<&str>,
    track_number: Option<&str>,
    lines: &[Line],
    at: Timestamp,
) {
    let rows = lines.iter().map(|line| {
        json!({
            "sku": line.sku,
            "quantity": line.quantity,
            "goodNum": line.quantity,
            "damageNum": 0,
        })
    });
    let data = json!({
        "asnNumber": number,
        "trackNumber": track_number,
        "customNumber": custom_number,
        "status": "FINISHED",
        "finishedTime": at.as_millisecond(),
        "skuList": rows.collect::<Vec<_>>(),
    });
    send(shared, "PUSH_ASN_ORDER", document, &data);
}

fn send(shared: &Arc<Shared>, kind: &str, document: &str, data: &Value) {
    let push = framed(shared, kind, &data.to_string(), None, None, document.to_owned());
    outbox::post(shared, push);
}

/// A push on demand.
pub(in crate::sandbox) fn frame(shared: &Shared, webhook: &Webhook, document: String) -> Outgoing {
    let (data, own_sign) = (webhook.data.get(), webhook.sign.as_deref());
    framed(shared, &webhook.kind, data, webhook.timestamp, own_sign, document)
}

fn framed(
    shared: &Shared,
    kind: &str,
    biz_param: &str,
    timestamp: Option<i64>,
    own_sign: Option<&str>,
    document: String,
) -> Outgoing {
    let settings = &shared.settings.qianyi;
    let now = || shared.vendor_now(Vendor::Qianyi).as_millisecond();
    let timestamp = timestamp.unwrap_or_else(now).to_string();
    let app_id = &settings.app_id;
    let right = || sign(app_id, biz_param, kind, &timestamp, &settings.app_secret);
    let sign = own_sign.map_or_else(right, str::to_owned);
    let fields = vec![
        ("appId", app_id.clone()),
        ("serviceType", kind.to_owned()),
        ("bizParam", biz_param.to_owned()),
        ("timestamp", timestamp),
        ("sign", sign),
    ];
    let payload = match settings.push_format {
        PushFormat::FormData => Payload::Form(fields),
        PushFormat::Json => {
            let body: serde_json::Map<String, Value> = fields
                .into_iter()
                .map(|(name, value)| (name.to_owned(), Value::from(value)))
                .collect();
            let body = Value::from(body).to_string();
            Payload::Json { body, headers: Vec::new(), query: Vec::new() }
        }
    };
    Outgoing { vendor: Vendor::Qianyi, kind: kind.to_owned(), document, payload }
}
