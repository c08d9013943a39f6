//! What the demo does, one row each.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    table::Row,
    world::{JFWMS_ACCOUNT, PATIENCE, QIANYI_ACCOUNT, Seen, World},
};
use crate::{
    avro::{self, Prefix},
    cli::{CliError, examples},
    domain::Operation,
    sandbox::{Delivery, SentWebhook, Vendor, Webhook},
};

/// Everything, in the order of the table.
pub(super) async fn all(world: &World) -> Result<Vec<Row>, CliError> {
    let mut rows = Vec::new();
    for sample in examples::webhooks("jfwms") {
        rows.push(webhook(world, Vendor::Jfwms, &sample.kind, sample.data).await?);
    }
    for sample in examples::webhooks("qianyi") {
        rows.push(webhook(world, Vendor::Qianyi, &sample.kind, sample.data).await?);
    }
    rows.push(unknown_type(world).await?);
    rows.push(bad_signature(world).await?);
    for (operation, account, document, body) in commands() {
        rows.push(command(world, operation, account, &document, body, false).await?);
        if operation == Operation::CreateOrder && account == JFWMS_ACCOUNT {
            rows.push(follow_up(world, "order-create", &document).await);
            rows.push(follow_up(world, "order", &document).await);
        }
    }
    rows.push(duplicate(world).await?);
    rows.push(unreadable(world).await?);
    Ok(rows)
}

const WEBHOOKS: &str = "Webhooks: what the vendors send → event topics";
const COMMANDS: &str = "Commands: what services ask for → signed calls → replies";

/// Sends a webhook from the simulated vendor, which signs it with code of its own.
async fn webhook(world: &World, vendor: Vendor, kind: &str, data: &str) -> Result<Row, CliError> {
    let account = account_of(vendor);
    let events = crate::vendors::ALL.iter().find(|known| known.name == vendor.to_string());
    let event_type =
        events.and_then(|events| events.event_types.iter().find(|known| known.name == kind));
    let event_type =
        event_type.ok_or_else(|| CliError::Failed(format!("{kind} is no type of {vendor}")))?;
    let topic = world.config.topics.event(&vendor.to_string(), event_type.topic);
    let sent = send(world, vendor, kind, data).await?;
    let ce_type = format!("com.{vendor}.{kind}");
    let found = world
        .find(|seen| {
            seen.record.topic == topic && seen.record.header("ce_type").as_deref() == Some(&ce_type)
        })
        .await;
    let wrong = match &found {
        None => Some(format!("nothing came out on {topic}")),
        Some(Seen { value: None, .. }) => Some("the record could not be decoded".to_owned()),
        Some(_) => not_acknowledged(sent.as_ref()),
    };
    Ok(Row {
        part: WEBHOOKS,
        went_in: format!("{account} {kind}"),
        answer: answer(sent.as_ref()),
        came_out: topic,
        says: found.map(|seen| event_says(&seen)).unwrap_or_default(),
        wrong,
    })
}

fn account_of(vendor: Vendor) -> &'static str {
    match vendor {
        Vendor::Jfwms => JFWMS_ACCOUNT,
        Vendor::Qianyi => QIANYI_ACCOUNT,
    }
}

/// Queues a webhook at the sandbox and waits for its fate.
async fn send(
    world: &World,
    vendor: Vendor,
    kind: &str,
    data: &str,
) -> Result<Option<SentWebhook>, CliError> {
    let before = world.sandbox.books().webhooks_total;
    let webhook = Webhook::new(vendor, kind, data).map_err(CliError::failed)?;
    world.sandbox.send_webhook(webhook).map_err(CliError::failed)?;
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let books = world.sandbox.books();
        let done = books
            .webhooks
            .into_iter()
            .find(|sent| sent.sequence > before && sent.vendor == vendor && sent.kind == kind);
        if done.is_some() {
            return Ok(done);
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    Ok(None)
}

fn answer(sent: Option<&SentWebhook>) -> String {
    match sent.and_then(|sent| sent.status) {
        Some(status) => format!("HTTP {status}"),
        None => "no answer".to_owned(),
    }
}

fn not_acknowledged(sent: Option<&SentWebhook>) -> Option<String> {
    match sent {
        Some(sent) if sent.delivery == Delivery::Acknowledged => None,
        Some(sent) => Some(format!("the vendor was not told so: {:?}", sent.error)),
        None => Some("the vendor got no answer".to_owned()),
    }
}

/// The telling fields of an event.
fn event_says(seen: &Seen) -> String {
    let key = String::from_utf8_lossy(seen.record.key.as_deref().unwrap_or_default()).into_owned();
    let Some(value) = &seen.value else { return key };
    let mut parts = vec![format!("key {key}")];
    if let Some(status) = value.get("status").and_then(Value::as_str) {
        parts.push(status.to_owned());
    }
    let lines = ["skuList", "returnSkuList"].iter().find_map(|name| value.get(*name)?.as_array());
    for line in lines.into_iter().flatten().take(2) {
        let sku = line.get("sku").and_then(Value::as_str).unwrap_or_default();
        let figures: Vec<String> = ["total", "available", "totalChange", "num", "quantity"]
            .iter()
            .filter_map(|name| Some(format!("{name} {}", line.get(*name)?.as_i64()?)))
            .collect();
        parts.push(format!("{sku}: {}", figures.join(" ")));
    }
    parts.join(", ")
}

async fn unknown_type(world: &World) -> Result<Row, CliError> {
    let topic = world.config.topics.unrecognized("jfwms");
    let sent = send(world, Vendor::Jfwms, "stockTake", r#"{"documentNo":"ST-1"}"#).await?;
    let found = world.find(|seen| seen.record.topic == topic).await;
    let reason = found.as_ref().and_then(|seen| seen.record.header("wms_reason"));
    let wrong = match reason.as_deref() {
        Some("unknown-type") => not_acknowledged(sent.as_ref()),
        other => Some(format!("wms_reason should be unknown-type, found {other:?}")),
    };
    Ok(Row {
        part: WEBHOOKS,
        went_in: format!("{JFWMS_ACCOUNT} a type nobody documented"),
        answer: answer(sent.as_ref()),
        came_out: topic,
        says: format!("the raw body, {}", reason.unwrap_or_default()),
        wrong,
    })
}

async fn bad_signature(world: &World) -> Result<Row, CliError> {
    let body = r#"{"timestamp":1,"type":"order","data":{"erpNo":"FORGED-1"},"sign":"00000000000000000000000000000000"}"#;
    let request = world.http.post(world.webhook_url(JFWMS_ACCOUNT)).body(body);
    let response = request.send().await.map_err(|error| CliError::failed(error.without_url()))?;
    let status = response.status().as_u16();
    let text = response.text().await.map_err(|error| CliError::failed(error.without_url()))?;
    let code =
        serde_json::from_str::<Value>(&text).ok().and_then(|answer| answer.get("code")?.as_i64());
    let right = status == 401 && code == Some(10026);
    Ok(Row {
        part: WEBHOOKS,
        went_in: format!("{JFWMS_ACCOUNT} order, signature wrong"),
        answer: format!("HTTP {status}"),
        came_out: "nowhere".to_owned(),
        says: text,
        wrong: (!right).then(|| "should be HTTP 401 with code 10026".to_owned()),
    })
}

fn commands() -> Vec<(Operation, &'static str, String, Value)> {
    let recipient = json!({
        "name": "Erika Mustermann", "phone": "+49 30 901820", "country": "DE",
        "province": "Berlin", "city": "Berlin", "postCode": "10115",
        "address1": "Invalidenstr. 1",
    });
    vec![
        (
            Operation::CreateOrder,
            JFWMS_ACCOUNT,
            "SO-1001".to_owned(),
            json!({
                "account": JFWMS_ACCOUNT, "orderNumber": "SO-1001", "platform": "other",
                "warehouse": "YK", "recipient": recipient,
                "logistics": { "kind": "OFFLINE", "name": "DHL", "trackingNumber": "JJD0001" },
                "currency": "EUR", "amount": "19.90",
                "lines": [{ "sku": "819-Dark GL", "quantity": 1, "unitPrice": "19.90" }],
            }),
        ),
        (
            Operation::CreateAsn,
            JFWMS_ACCOUNT,
            "ASN-2001".to_owned(),
            json!({
                "account": JFWMS_ACCOUNT, "asnNumber": "ASN-2001", "warehouse": "YK",
                "trackingNumbers": ["1Z999"], "expectedAt": "2026-12-01T08:00:00Z",
                "lines": [{ "sku": "819-Dark GL", "quantity": 40 }],
            }),
        ),
        (
            Operation::CreateOrder,
            QIANYI_ACCOUNT,
            "SO-1002".to_owned(),
            json!({
                "account": QIANYI_ACCOUNT, "orderNumber": "SO-1002", "shop": "demo-shop",
                "recipient": recipient, "currency": "EUR", "paidAt": "2026-11-20T09:30:00Z",
                "lines": [{ "sku": "SKU1230", "quantity": 2, "paidAmount": "39.80" }],
            }),
        ),
        (
            Operation::CreateAsn,
            QIANYI_ACCOUNT,
            "ASN-2002".to_owned(),
            json!({
                "account": QIANYI_ACCOUNT, "asnNumber": "ASN-2002", "warehouse": "测试仓库",
                "currency": "CNY",
                "lines": [{ "sku": "SKU1230", "quantity": 100, "purchasePrice": "10" }],
            }),
        ),
    ]
}

/// Sends a command, JSON on the mixed topic for Qianyi and Avro on its own for JFWMS, and looks
/// for its reply.
async fn command(
    world: &World,
    operation: Operation,
    account: &str,
    document: &str,
    body: Value,
    repeated: bool,
) -> Result<Row, CliError> {
    let topic = world.config.topics.command(operation, None);
    let payload = avro::encode_command(operation, &body.to_string(), Prefix::SingleObject)
        .map_err(|invalid| CliError::Failed(format!("{document}: {invalid}")))?;
    let position = world.send(&topic, document, payload).await?;
    let reply = reply_to(world, &topic, position).await;
    let text = |name: &str| {
        reply.as_ref().and_then(|reply| reply.get(name)?.as_str()).unwrap_or_default().to_owned()
    };
    let deduplicated = reply.as_ref().and_then(|reply| reply.get("deduplicated")?.as_bool());
    let wrong = if text("status") != "SUCCEEDED" {
        Some(format!("should be SUCCEEDED: {} {}", text("category"), text("message")))
    } else if deduplicated != Some(repeated) {
        Some(format!("`deduplicated` should be {repeated}"))
    } else {
        None
    };
    let reference = text("vendorReference");
    let number = if reference.is_empty() { String::new() } else { format!(", there {reference}") };
    Ok(Row {
        part: COMMANDS,
        went_in: if repeated {
            format!("{account} {operation} {document} again")
        } else {
            format!("{account} {operation} {document}")
        },
        answer: text("status"),
        came_out: world.config.topics.replies(),
        says: if repeated {
            format!("found in place, no second one{number}")
        } else {
            format!("in place{number}")
        },
        wrong,
    })
}

async fn reply_to(world: &World, topic: &str, position: (i32, i64)) -> Option<Value> {
    let replies = world.config.topics.replies();
    let found = world
        .find(|seen| {
            let Some(value) = seen.value.as_ref().filter(|_| seen.record.topic == replies) else {
                return false;
            };
            value.get("commandTopic").and_then(Value::as_str) == Some(topic)
                && value.get("commandPartition").and_then(Value::as_i64) == Some(position.0.into())
                && value.get("commandOffset").and_then(Value::as_i64) == Some(position.1)
        })
        .await;
    found.and_then(|seen| seen.value)
}

/// The vendor's webhook about an order that a command made.
async fn follow_up(world: &World, event: &str, document: &str) -> Row {
    let topic = world.config.topics.event("jfwms", event);
    let found = world
        .find(|seen| {
            seen.record.topic == topic && seen.record.key.as_deref() == Some(document.as_bytes())
        })
        .await;
    Row {
        part: COMMANDS,
        went_in: format!("  and then the warehouse: {document}"),
        answer: "webhook".to_owned(),
        wrong: found.is_none().then(|| format!("nothing about {document} came out on {topic}")),
        came_out: topic,
        says: found.map(|seen| event_says(&seen)).unwrap_or_default(),
    }
}

/// The same order once more, as after a crash of the service that asked: one parcel, not two.
async fn duplicate(world: &World) -> Result<Row, CliError> {
    for (operation, account, document, body) in commands() {
        if operation == Operation::CreateOrder && account == JFWMS_ACCOUNT {
            return command(world, operation, account, &document, body, true).await;
        }
    }
    Err(CliError::Failed("the demo has no order to repeat".to_owned()))
}

async fn unreadable(world: &World) -> Result<Row, CliError> {
    let topic = world.config.topics.command(Operation::CreateOrder, None);
    let dead_letters = world.config.topics.dlq(&topic);
    let payload = b"{ this is not JSON".to_vec();
    let position = world.send(&topic, "SO-1003", payload.clone()).await?;
    let reply = reply_to(world, &topic, position).await;
    let text = |name: &str| {
        reply.as_ref().and_then(|reply| reply.get(name)?.as_str()).unwrap_or_default().to_owned()
    };
    let dead = world
        .find(|seen| {
            seen.record.topic == dead_letters && seen.record.payload.as_ref() == Some(&payload)
        })
        .await;
    let wrong = if dead.is_none() {
        Some(format!("it is not on {dead_letters}, byte for byte"))
    } else if (text("status"), text("category")) != ("FAILED".into(), "UNREADABLE".into()) {
        Some(format!("should be FAILED, UNREADABLE: {} {}", text("status"), text("category")))
    } else {
        None
    };
    Ok(Row {
        part: COMMANDS,
        went_in: "create-order that is not JSON".to_owned(),
        answer: text("status"),
        came_out: dead_letters,
        says: text("message"),
        wrong,
    })
}
