//! Orders of JFWMS.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::codes::Refusal;
use super::{Outcome, State, lines, text, text_or_nothing, warehouse, webhooks};
use crate::sandbox::behaviour::CancelMode;
use crate::sandbox::books::{EffectKind, KeptDocument};
use crate::sandbox::stock::{Line, Movement};
use crate::sandbox::time::text_time;
use crate::sandbox::{Shared, Vendor, locked};

/// The most numbers of one `batchGet` (50028).
const BATCH: usize = 100;

/// An order.
#[derive(Debug)]
pub(super) struct Order {
    order_no: String,
    warehouse: String,
    lines: Vec<Line>,
    status: Status,
    created_at: Timestamp,
    shipped_at: Option<Timestamp>,
    request: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Picking,
    /// A cancellation is with the warehouse; the order's own status stays as it is.
    InReview,
    Shipped,
    Cancelled,
}

impl Status {
    /// The numbers that known clients agree on: 3 待拣货, 7 已发货, 9 已取消.
    fn number(self) -> i64 {
        match self {
            Self::Picking | Self::InReview => 3,
            Self::Shipped => 7,
            Self::Cancelled => 9,
        }
    }
}

impl Order {
    pub(super) fn kept(&self, user: u64, number: &str) -> KeptDocument {
        let status = match self.status {
            Status::Picking => "picking",
            Status::InReview => "cancellation-in-review",
            Status::Shipped => "shipped",
            Status::Cancelled => "cancelled",
        };
        KeptDocument {
            vendor: Vendor::Jfwms,
            number: number.to_owned(),
            reference: self.order_no.clone(),
            owner: user.to_string(),
            status: status.to_owned(),
            created_at: self.created_at,
            request: self.request.clone(),
        }
    }

    /// The answer of `/api/order/get`, member by member as known clients read it.
    fn shown(&self, number: &str) -> Value {
        let given = |name: &str| self.request.get(name).cloned().unwrap_or(Value::Null);
        json!({
            "erpNo": number,
            "orderNo": self.order_no,
            "platformOrderNo": given("platformOrderNo"),
            "status": self.status.number(),
            "trackingNo": given("trackingNo"),
            "shippedTime": self.shipped_at.map(text_time),
            "logisticsFee": null,
            "currency": given("currency"),
            "errorCode": null,
            "errorMsg": null,
        })
    }
}

/// Texts with a limit and the code of each (guide, 50001 to 50016).
const LIMITS: [(&str, usize, u32); 11] = [
    ("labelUrl", 2048, 50001),
    ("recipientAddress", 300, 50006),
    ("erpNo", 100, 50008),
    ("platformOrderNo", 100, 50009),
    ("buyerName", 100, 50010),
    ("buyerPhone", 100, 50011),
    ("recipientProvince", 100, 50012),
    ("recipientCity", 100, 50013),
    ("zipCode", 100, 50014),
    ("logisticsName", 100, 50015),
    ("trackingNo", 100, 50016),
];

fn check(shared: &Shared, body: &Value) -> Result<(), Refusal> {
    let settings = &shared.settings.jfwms;
    for (name, most, code) in LIMITS {
        let text = text_or_nothing(body, name)?.unwrap_or_default();
        if text.chars().count() > most {
            return Err(Refusal::new(code));
        }
    }
    text(body, "platform").ok_or_else(|| Refusal::about(10001, "platform is required"))?;
    let country = text_or_nothing(body, "recipientCountry")?.ok_or_else(|| Refusal::new(50002))?;
    let two_letters = country.len() == 2 && country.bytes().all(|byte| byte.is_ascii_uppercase());
    if !two_letters || settings.unsupported_countries.contains(country) {
        return Err(Refusal::new(50007));
    }
    let offline = match body.get("type") {
        None | Some(Value::Null) => false,
        Some(kind) => match kind.as_i64() {
            Some(1) => false,
            Some(2) => true,
            _ => return Err(Refusal::about(10001, "type must be 1 or 2")),
        },
    };
    if offline {
        let no_name = || Refusal::about(10001, "buyerName is required for offline logistics");
        text(body, "buyerName").ok_or_else(no_name)?;
        if settings.offline_needs_logistics {
            text(body, "logisticsName").ok_or_else(|| Refusal::new(50004))?;
            text(body, "trackingNo").ok_or_else(|| Refusal::new(50005))?;
        }
    }
    Ok(())
}

/// `POST /api/order/create`.
pub(super) fn create(shared: &Arc<Shared>, state: &mut State, user: u64, body: &Value) -> Outcome {
    let number = text_or_nothing(body, "erpNo")?.ok_or_else(|| Refusal::new(50003))?;
    let warehouse = warehouse(shared, body)?;
    check(shared, body)?;
    let lines = lines(body, "num", 50022, 50023)?;
    let missing = state.stock.missing(&lines);
    if !missing.is_empty() {
        return Err(Refusal::about(50024, &missing.join("、")));
    }
    let key = (user, number.to_owned());
    if state.orders.contains_key(&key) {
        return Err(Refusal::new(50019));
    }
    if !state.stock.serves(&warehouse, &lines) {
        return Err(Refusal::new(50026));
    }
    state.room(shared, lines.len())?;
    let order_no = state.next_number("PNJ");
    let levels = state.stock.apply(&warehouse, &lines, Movement::Lock);
    shared.books.effect(Vendor::Jfwms, number, EffectKind::OrderCreated, &order_no);
    webhooks::order_created(shared, user, number, &warehouse, &lines, &levels);
    let order = Order {
        order_no: order_no.clone(),
        warehouse,
        lines,
        status: Status::Picking,
        created_at: crate::clock::now(),
        shipped_at: None,
        request: body.clone(),
    };
    state.orders.insert(key.clone(), order);
    ship_later(shared, key);
    // Known clients read `data` as a text; what it holds is not documented.
    Ok(Value::from(order_no))
}

/// Ships an order after the set delay, if one is set.
fn ship_later(shared: &Arc<Shared>, key: (u64, String)) {
    if let Some(after) = shared.behaviour().jfwms.ship_after_ms {
        shared.later(after, move |shared| {
            ship(shared, &mut locked(&shared.jfwms), &key);
        });
    }
}

/// Ships an order that is not shipped or cancelled; one in review is not touched.
fn ship(shared: &Arc<Shared>, state: &mut State, key: &(u64, String)) -> bool {
    let State { orders, stock, .. } = state;
    let Some(order) = orders.get_mut(key).filter(|order| order.status == Status::Picking) else {
        return false;
    };
    order.status = Status::Shipped;
    order.shipped_at = Some(shared.vendor_now(Vendor::Jfwms));
    let levels = stock.apply(&order.warehouse, &order.lines, Movement::Ship);
    let (user, number) = key;
    shared.books.effect(Vendor::Jfwms, number, EffectKind::OrderShipped, &order.order_no);
    webhooks::order_shipped(shared, *user, number, &order.warehouse, &levels);
    true
}

/// Ships the first order with this number, whoever's it is.
pub(in crate::sandbox) fn ship_any(shared: &Arc<Shared>, number: &str) -> bool {
    let mut state = locked(&shared.jfwms);
    let keys: Vec<_> = state.orders.keys().filter(|(_, no)| no == number).cloned().collect();
    keys.iter().any(|key| ship(shared, &mut state, key))
}

/// `POST /api/order/cancel`.
pub(super) fn cancel(shared: &Arc<Shared>, state: &mut State, user: u64, body: &Value) -> Outcome {
    let number = text_or_nothing(body, "erpNo")?.ok_or_else(|| Refusal::new(50003))?;
    let key = (user, number.to_owned());
    let order = state.orders.get_mut(&key).ok_or_else(|| Refusal::new(50017))?;
    match order.status {
        Status::Shipped => return Err(Refusal::new(50018)),
        Status::Cancelled => return Err(Refusal::new(50027)),
        Status::InReview => return Err(Refusal::new(20023)),
        Status::Picking => {}
    }
    let behaviour = shared.behaviour().jfwms;
    match behaviour.cancel {
        CancelMode::Forbid => Err(Refusal::new(20022)),
        CancelMode::Review => {
            order.status = Status::InReview;
            let kind = EffectKind::InterceptionRequested;
            shared.books.effect(Vendor::Jfwms, number, kind, &order.order_no);
            shared.later(behaviour.review_after_ms, move |shared| {
                review(shared, &mut locked(&shared.jfwms), &key);
            });
            Err(Refusal::new(20023))
        }
        CancelMode::Cancel => {
            end(shared, state, &key, EffectKind::OrderCancelled);
            Ok(Value::from("Order cancelled"))
        }
    }
}

/// The warehouse decides on a cancellation.
fn review(shared: &Arc<Shared>, state: &mut State, key: &(u64, String)) {
    let (user, number) = key;
    let Some(order) = state.orders.get_mut(key).filter(|order| order.status == Status::InReview)
    else {
        return;
    };
    let agreed = shared.behaviour().jfwms.review_succeeds;
    match agreed {
        true => end(shared, state, key, EffectKind::OrderIntercepted),
        false => {
            order.status = Status::Picking;
            let kind = EffectKind::InterceptionRefused;
            shared.books.effect(Vendor::Jfwms, number, kind, &order.order_no);
            // Its time to ship may have come during the review.
            ship_later(shared, key.clone());
        }
    }
    webhooks::order_intercepted(shared, *user, number, agreed);
}

/// Cancels an order and gives its stock back.
fn end(shared: &Arc<Shared>, state: &mut State, key: &(u64, String), kind: EffectKind) {
    let State { orders, stock, .. } = state;
    let Some(order) = orders.get_mut(key) else { return };
    order.status = Status::Cancelled;
    let levels = stock.apply(&order.warehouse, &order.lines, Movement::Unlock);
    let (user, number) = key;
    shared.books.effect(Vendor::Jfwms, number, kind, &order.order_no);
    webhooks::order_cancelled(shared, *user, number, &order.warehouse, &order.lines, &levels);
}

/// `POST /api/order/get`.
pub(super) fn get(_: &Arc<Shared>, state: &mut State, user: u64, body: &Value) -> Outcome {
    let number = text_or_nothing(body, "erpNo")?.ok_or_else(|| Refusal::new(50003))?;
    let order = state.orders.get(&(user, number.to_owned())).ok_or_else(|| Refusal::new(50017))?;
    Ok(order.shown(number))
}

/// `POST /api/order/batchGet`; numbers that are not there are left out.
pub(super) fn batch_get(_: &Arc<Shared>, state: &mut State, user: u64, body: &Value) -> Outcome {
    let numbers = body.get("erpNoList").and_then(Value::as_array);
    let numbers = numbers.filter(|list| !list.is_empty()).ok_or_else(|| Refusal::new(50003))?;
    if numbers.len() > BATCH {
        return Err(Refusal::new(50028));
    }
    let found = numbers.iter().filter_map(Value::as_str).filter_map(|number| {
        state.orders.get(&(user, number.to_owned())).map(|order| order.shown(number))
    });
    Ok(found.collect())
}
