//! Inbounds of JFWMS.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::codes::Refusal;
use super::{Outcome, State, lines, text_or_nothing, warehouse, webhooks};
use crate::sandbox::books::{EffectKind, KeptDocument};
use crate::sandbox::stock::{Line, Movement};
use crate::sandbox::time::is_text_time;
use crate::sandbox::{Shared, Vendor, locked};

/// An inbound.
#[derive(Debug)]
pub(super) struct Inbound {
    inbound_no: String,
    warehouse: String,
    lines: Vec<Line>,
    status: Status,
    created_at: Timestamp,
    request: Value,
}

/// The vendor's status numbers of inbounds are not documented; these names stand in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    New,
    Finish,
    Cancelled,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::New => "New",
            Self::Finish => "Finish",
            Self::Cancelled => "Cancelled",
        }
    }
}

impl Inbound {
    pub(super) fn kept(&self, user: u64, number: &str) -> KeptDocument {
        KeptDocument {
            vendor: Vendor::Jfwms,
            number: number.to_owned(),
            reference: self.inbound_no.clone(),
            owner: user.to_string(),
            status: self.status.name().to_ascii_lowercase(),
            created_at: self.created_at,
            request: self.request.clone(),
        }
    }
}

/// `POST /api/inbound/create`.
pub(super) fn create(shared: &Arc<Shared>, state: &mut State, user: u64, body: &Value) -> Outcome {
    let number = text_or_nothing(body, "erpNo")?.ok_or_else(|| Refusal::new(40000))?;
    let warehouse = warehouse(shared, body)?;
    let lines = lines(body, "count", 40002, 40003)?;
    if text_or_nothing(body, "expectedTime")?.is_some_and(|time| !is_text_time(time)) {
        return Err(Refusal::about(10001, "expectedTime must be yyyy-MM-dd HH:mm:ss"));
    }
    let by_box = match body.get("receiptType") {
        None | Some(Value::Null) => false,
        Some(kind) => match kind.as_i64() {
            Some(1) => false,
            Some(2) => true,
            _ => return Err(Refusal::about(10001, "receiptType must be 1 or 2")),
        },
    };
    if by_box {
        let boxes = body.get("boxList").and_then(Value::as_array);
        if boxes.is_none_or(Vec::is_empty) {
            return Err(Refusal::about(10001, "boxList is required for receiptType 2"));
        }
    }
    if !state.stock.missing(&lines).is_empty() {
        return Err(Refusal::new(10046));
    }
    let key = (user, number.to_owned());
    if state.inbounds.contains_key(&key) {
        return Err(Refusal::new(40001));
    }
    state.room(shared, lines.len())?;
    let inbound_no = state.next_number("IN");
    shared.books.effect(Vendor::Jfwms, number, EffectKind::InboundCreated, &inbound_no);
    let inbound = Inbound {
        inbound_no: inbound_no.clone(),
        warehouse,
        lines,
        status: Status::New,
        created_at: crate::clock::now(),
        request: body.clone(),
    };
    state.inbounds.insert(key.clone(), inbound);
    if let Some(after) = shared.behaviour().jfwms.storage_after_ms {
        shared.later(after, move |shared| {
            receive(shared, &mut locked(&shared.jfwms), &key);
        });
    }
    Ok(json!({"inboundNo": inbound_no}))
}

/// Puts an inbound away.
fn receive(shared: &Arc<Shared>, state: &mut State, key: &(u64, String)) -> bool {
    let State { inbounds, stock, .. } = state;
    let Some(inbound) = inbounds.get_mut(key).filter(|inbound| inbound.status == Status::New)
    else {
        return false;
    };
    inbound.status = Status::Finish;
    stock.apply(&inbound.warehouse, &inbound.lines, Movement::Receive);
    let (user, number) = key;
    shared.books.effect(Vendor::Jfwms, number, EffectKind::InboundReceived, &inbound.inbound_no);
    let (putaway, lines) = (&inbound.inbound_no, &inbound.lines);
    webhooks::inbound_stored(shared, *user, number, &inbound.warehouse, putaway, lines);
    true
}

/// Puts the first inbound with this number away, whoever's it is.
pub(in crate::sandbox) fn receive_any(shared: &Arc<Shared>, number: &str) -> bool {
    let mut state = locked(&shared.jfwms);
    let keys: Vec<_> = state.inbounds.keys().filter(|(_, no)| no == number).cloned().collect();
    keys.iter().any(|key| receive(shared, &mut state, key))
}

/// Finds an inbound by `erpNo`, by `inboundNo`, or by both where both must be right.
fn find<'a>(
    state: &'a mut State,
    user: u64,
    body: &Value,
) -> Result<(String, &'a mut Inbound), Refusal> {
    let number = text_or_nothing(body, "erpNo")?;
    let inbound_no = text_or_nothing(body, "inboundNo")?;
    if number.is_none() && inbound_no.is_none() {
        return Err(Refusal::new(40000));
    }
    let right = |inbound: &Inbound| inbound_no.is_none_or(|wanted| wanted == inbound.inbound_no);
    let found = match number {
        // By the key: a warehouse that looked through all of them would get slower with each.
        Some(number) => {
            let inbound = state.inbounds.get_mut(&(user, number.to_owned()));
            inbound.map(|inbound| (number.to_owned(), inbound))
        }
        None => {
            let mut all = state.inbounds.iter_mut();
            let found = all.find(|((owner, _), inbound)| *owner == user && right(inbound));
            found.map(|((_, number), inbound)| (number.clone(), inbound))
        }
    };
    found.filter(|(_, inbound)| right(inbound)).ok_or_else(|| Refusal::new(40004))
}

/// `POST /api/inbound/cancel`.
pub(super) fn cancel(shared: &Arc<Shared>, state: &mut State, user: u64, body: &Value) -> Outcome {
    let (number, inbound) = find(state, user, body)?;
    if inbound.status != Status::New {
        return Err(Refusal::about(40005, inbound.status.name()));
    }
    inbound.status = Status::Cancelled;
    shared.books.effect(Vendor::Jfwms, &number, EffectKind::InboundCancelled, &inbound.inbound_no);
    Ok(Value::Null)
}

/// `POST /api/inbound/get`. The vendor's answer is not documented; this is what a caller needs.
pub(super) fn get(_: &Arc<Shared>, state: &mut State, user: u64, body: &Value) -> Outcome {
    let (number, inbound) = find(state, user, body)?;
    Ok(json!({
        "erpNo": number,
        "inboundNo": inbound.inbound_no,
        "warehouse": inbound.warehouse,
        "status": inbound.status.name(),
        "trackingNo": inbound.request.get("trackingNo"),
        "skuList": inbound.lines.iter()
            .map(|line| json!({"sku": line.sku, "count": line.quantity}))
            .collect::<Vec<_>>(),
    }))
}
