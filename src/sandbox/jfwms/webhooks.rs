//! Webhooks of JFWMS, framed and signed as the guide's section 3 has them.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::sign::webhook_sign;
use crate::sandbox::outbox::{self, Outgoing, Payload};
use crate::sandbox::settings::SignTransport;
use crate::sandbox::stock::{Level, Line, summed};
use crate::sandbox::time::finish_time;
use crate::sandbox::webhook::Webhook;
use crate::sandbox::{Shared, Vendor};

type Levels = [(String, Level, i64)];

/// Types whose samples write `timestamp` and `userId` as texts; the others write numbers.
const QUOTED: [&str; 4] = ["order", "storage", "return", "orderIntercept"];

pub(super) fn order_created(
    shared: &Arc<Shared>,
    user: u64,
    number: &str,
    warehouse: &str,
    lines: &[Line],
    levels: &Levels,
) {
    let data = moved(shared, user, number, warehouse, lines, levels, 1);
    send(shared, "orderCreate", number, &data);
}

pub(super) fn order_cancelled(
    shared: &Arc<Shared>,
    user: u64,
    number: &str,
    warehouse: &str,
    lines: &[Line],
    levels: &Levels,
) {
    let data = moved(shared, user, number, warehouse, lines, levels, -1);
    send(shared, "orderCancel", number, &data);
}

/// The data of `orderCreate` and `orderCancel`: the ERP number stands in `documentNo`.
fn moved(
    shared: &Shared,
    user: u64,
    number: &str,
    warehouse: &str,
    lines: &[Line],
    levels: &Levels,
    lock: i64,
) -> Value {
    let lines = summed(lines);
    let rows = levels.iter().zip(&lines).map(|((sku, level, total_change), line)| {
        json!({
            "sku": sku,
            "total": level.total,
            "locked": level.locked,
            "available": level.available,
            "nonGood": level.non_good,
            "totalChange": total_change,
            "lockedChange": lock * line.quantity,
            "availableChange": -lock * line.quantity,
            "nonGoodChange": null,
        })
    });
    json!({
        "warehouseCode": warehouse,
        "documentNo": number,
        "userId": user,
        "finishTime": finish_time(shared.vendor_now(Vendor::Jfwms)),
        "skuList": rows.collect::<Vec<_>>(),
    })
}

pub(super) fn order_shipped(
    shared: &Arc<Shared>,
    user: u64,
    number: &str,
    warehouse: &str,
    levels: &Levels,
) {
    let rows = levels.iter().map(|(sku, level, total_change)| {
        json!({
            "sku": sku,
            "total": level.total,
            "locked": level.locked,
            "available": level.available,
            "nonGood": level.non_good,
            "totalChange": total_change,
        })
    });
    let data = json!({
        "userId": user.to_string(),
        "erpNo": number,
        "warehouseCode": warehouse,
        "status": "Shipped",
        "skuList": rows.collect::<Vec<_>>(),
    });
    send(shared, "order", number, &data);
}

pub(super) fn order_intercepted(shared: &Arc<Shared>, user: u64, number: &str, agreed: bool) {
    // The guide shows "success" only.
    let status = if agreed { "success" } else { "fail" };
    let data = json!({"userId": user.to_string(), "erpNo": number, "status": status});
    send(shared, "orderIntercept", number, &data);
}

pub(super) fn inbound_stored(
    shared: &Arc<Shared>,
    user: u64,
    number: &str,
    warehouse: &str,
    putaway: &str,
    lines: &[Line],
) {
    let rows = lines.iter().map(|line| {
        json!({
            "skuCode": line.sku,
            "sku": line.sku,
            "num": line.quantity,
            "badNum": 0,
            "thisTimeNum": line.quantity,
        })
    });
    let data = json!({
        "userId": user.to_string(),
        "erpNo": number,
        "warehouseCode": warehouse,
        "putawayNo": putaway,
        "finishTime": finish_time(shared.vendor_now(Vendor::Jfwms)),
        "status": "Finish",
        "skuList": rows.collect::<Vec<_>>(),
    });
    send(shared, "storage", number, &data);
}

fn send(shared: &Arc<Shared>, kind: &str, number: &str, data: &Value) {
    let data = match shared.settings.jfwms.spaced_data {
        true => format!("{data:#}"),
        false => data.to_string(),
    };
    let parts = Parts { kind, data: &data, timestamp: None, beside: &Map::new(), sign: None };
    outbox::post(shared, framed(shared, &parts, number.to_owned()));
}

/// A webhook on demand.
pub(in crate::sandbox) fn frame(shared: &Shared, webhook: &Webhook, document: String) -> Outgoing {
    let parts = Parts {
        kind: &webhook.kind,
        data: webhook.data.get(),
        timestamp: webhook.timestamp,
        beside: &webhook.beside,
        sign: webhook.sign.as_deref(),
    };
    framed(shared, &parts, document)
}

struct Parts<'a> {
    kind: &'a str,
    data: &'a str,
    timestamp: Option<i64>,
    beside: &'a Map<String, Value>,
    sign: Option<&'a str>,
}

fn framed(shared: &Shared, parts: &Parts<'_>, document: String) -> Outgoing {
    let settings = &shared.settings.jfwms;
    let right = || {
        let secret = &settings.client_secret;
        webhook_sign(secret, parts.data, settings.sign_form, settings.sign_order)
    };
    let sign = parts.sign.map_or_else(right, str::to_owned);
    let now = || shared.vendor_now(Vendor::Jfwms).as_millisecond();
    let timestamp = parts.timestamp.unwrap_or_else(now);
    let timestamp = match QUOTED.contains(&parts.kind) {
        true => Value::from(timestamp.to_string()),
        false => Value::from(timestamp),
    };
    // The text of `data` goes out byte for byte as it was signed; no serializer touches it.
    let kind = Value::from(parts.kind);
    let mut body = format!(r#"{{"timestamp":{timestamp},"type":{kind}"#);
    for (name, value) in parts.beside {
        body.push_str(&format!(",{}:{value}", Value::from(name.as_str())));
    }
    body.push_str(&format!(r#","data":{}"#, parts.data));
    let (mut headers, mut query) = (Vec::new(), Vec::new());
    match &settings.sign_transport {
        SignTransport::BodyField(name) => {
            body.push_str(&format!(",{}:{}", Value::from(name.as_str()), Value::from(sign)));
        }
        SignTransport::Header(name) => headers.push((name.clone(), sign)),
        SignTransport::Query(name) => query.push((name.clone(), sign)),
    }
    body.push('}');
    Outgoing {
        vendor: Vendor::Jfwms,
        kind: parts.kind.to_owned(),
        document,
        payload: Payload::Json { body, headers, query },
    }
}
