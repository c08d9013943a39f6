//! Sales orders of Qianyi.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::envelope::{Failure, Outcome, Success, message};
use super::rules::{lines, needed, paged, sales_order, text};
use super::{State, pushes};
use crate::sandbox::books::{EffectKind, KeptDocument};
use crate::sandbox::stock::{Line, Movement};
use crate::sandbox::time::home_millis;
use crate::sandbox::{Shared, Vendor, locked};

/// The widest time range of a query: 30 days.
const RANGE_MS: i64 = 30 * 24 * 3600 * 1000;

/// A sales order.
#[derive(Debug)]
pub(super) struct Order {
    number: String,
    /// Where its stock is locked, once it is audited.
    warehouse: Option<String>,
    lines: Vec<Line>,
    status: Status,
    created_at: Timestamp,
    updated_at: Timestamp,
    shipped_at: Option<Timestamp>,
    request: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    WaitAudit,
    WaitShip,
    Shipped,
    Closed,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::WaitAudit => "WAIT_AUDIT",
            Self::WaitShip => "WAIT_SHIP",
            Self::Shipped => "SHIPPED",
            Self::Closed => "CLOSED",
        }
    }
}

impl Order {
    pub(super) fn kept(&self, shop: &str, number: &str) -> KeptDocument {
        KeptDocument {
            vendor: Vendor::Qianyi,
            number: number.to_owned(),
            reference: self.number.clone(),
            owner: shop.to_owned(),
            status: self.status.name().to_owned(),
            created_at: self.created_at,
            request: self.request.clone(),
        }
    }

    /// The order as answers show it: times of orders are epoch milliseconds.
    fn shown(&self, shared: &Shared, shop: &str) -> Value {
        let given = |name: &str| self.request.get(name).cloned().unwrap_or(Value::Null);
        let shops = &shared.settings.qianyi.shops;
        let rows = self.request.get("skuList").and_then(Value::as_array).into_iter().flatten();
        let rows = rows.enumerate().map(|(index, row)| {
            let mut row = row.clone();
            if let Some(row) = row.as_object_mut() {
                row.insert("orderSkuId".to_owned(), json!(index + 1));
            }
            row
        });
        json!({
            "orderNumber": self.number,
            "onlineOrderNumber": given("onlineOrderNumber"),
            "shop": shop,
            "shopId": shops.iter().position(|known| known == shop).map(|at| at + 1),
            "warehouse": self.warehouse,
            "status": self.status.name(),
            "onlineStatus": self.status.name(),
            "currency": given("currency"),
            "freight": given("freight"),
            "logistics": given("logistics"),
            "trackingNumber": given("trackingNumber"),
            "paymentMethod": given("paymentMethod"),
            "payTime": text(&self.request, "payTime").and_then(home_millis),
            "createTime": self.created_at.as_millisecond(),
            "updateTime": self.updated_at.as_millisecond(),
            "shippingTime": self.shipped_at.map(Timestamp::as_millisecond),
            "buyer": given("buyer"),
            "skuList": rows.collect::<Vec<_>>(),
            "isDeleted": 0,
            "tag": {},
        })
    }
}

fn failure(code: &str) -> Failure {
    Failure::new(code, message(code))
}

fn shop(shared: &Shared, body: &Value) -> Result<String, Failure> {
    let shop = needed(body, "shop", 255)?;
    match shared.settings.qianyi.shops.iter().any(|known| known == shop) {
        true => Ok(shop.to_owned()),
        false => Err(failure("SHOP_NOT_AUTHORIZED_OR_NOT_EXIST")),
    }
}

/// `CREATE_SALES_ORDER`.
pub(super) fn create(shared: &Arc<Shared>, state: &mut State, body: &Value) -> Outcome {
    let settings = &shared.settings.qianyi;
    let warehouse = settings.warehouses.first().filter(|_| settings.auto_audit);
    take(shared, state, body, warehouse.map(|warehouse| warehouse.name.clone()), false)
}

/// `CREATE_AND_AUDIT_SALES_ORDER`.
pub(super) fn create_and_audit(shared: &Arc<Shared>, state: &mut State, body: &Value) -> Outcome {
    let warehouse = warehouse(shared, body, "warehouse")?;
    needed(body, "logistics", 255)?;
    take(shared, state, body, Some(warehouse), true)
}

/// A warehouse by name. The code for an unknown one is not documented.
pub(super) fn warehouse(shared: &Shared, body: &Value, name: &str) -> Result<String, Failure> {
    let warehouse = needed(body, name, 255)?;
    match shared.settings.qianyi.warehouses.iter().any(|known| known.name == warehouse) {
        true => Ok(warehouse.to_owned()),
        false => Err(Failure::input(format!("仓库不存在: {warehouse}"))),
    }
}

fn take(
    shared: &Arc<Shared>,
    state: &mut State,
    body: &Value,
    warehouse: Option<String>,
    audited: bool,
) -> Outcome {
    let shop = shop(shared, body)?;
    sales_order(body, audited)?;
    let lines = lines(body, "skuList", "quantity")?;
    missing(state, &lines)?;
    let number = needed(body, "onlineOrderNumber", 50)?;
    let key = (shop, number.to_owned());
    let elsewhere = shared.settings.qianyi.unique_across_shops
        && state.orders.keys().any(|(_, known)| known == number);
    if elsewhere || state.orders.contains_key(&key) {
        return Err(failure("order.id.exist"));
    }
    if warehouse.as_ref().is_some_and(|warehouse| !state.stock.serves(warehouse, &lines)) {
        return Err(failure("sku.inventory.short.need.increase"));
    }
    state.room(shared, lines.len())?;
    let now = shared.vendor_now(Vendor::Qianyi);
    let own = state.next_number("S");
    shared.books.effect(Vendor::Qianyi, number, EffectKind::OrderCreated, &own);
    let order = Order {
        number: own,
        warehouse: None,
        lines,
        status: Status::WaitAudit,
        created_at: now,
        updated_at: now,
        shipped_at: None,
        request: body.clone(),
    };
    state.orders.insert(key.clone(), order);
    if let Some(warehouse) = warehouse {
        release(shared, state, &key, warehouse);
    }
    let shown = state.orders.get(&key).map(|order| order.shown(shared, &key.0));
    Ok(Success::One(shown.unwrap_or_default()))
}

/// As captured: all unknown SKUs, each followed by "; ".
pub(super) fn missing(state: &State, lines: &[Line]) -> Result<(), Failure> {
    let missing = state.stock.missing(lines);
    if missing.is_empty() {
        return Ok(());
    }
    let list: String = missing.iter().map(|sku| format!("{sku}; ")).collect();
    let text = format!("sku不存在，具体清单如下: {list}");
    Err(Failure::new("SKU_NOT_EXISTS_WITH_ARGS", &text))
}

/// Audits an order: its stock is locked, and it will be shipped.
fn release(shared: &Arc<Shared>, state: &mut State, key: &(String, String), warehouse: String) {
    let State { orders, stock, .. } = state;
    let Some(order) = orders.get_mut(key) else { return };
    stock.apply(&warehouse, &order.lines, Movement::Lock);
    order.warehouse = Some(warehouse);
    order.status = Status::WaitShip;
    order.updated_at = shared.vendor_now(Vendor::Qianyi);
    shared.books.effect(Vendor::Qianyi, &key.1, EffectKind::OrderAudited, &order.number);
    if let Some(after) = shared.behaviour().qianyi.ship_after_ms {
        let key = key.clone();
        shared.later(after, move |shared| {
            ship(shared, &mut locked(&shared.qianyi), &key);
        });
    }
}

/// `AUDIT_SALES_ORDER`.
pub(super) fn audit(shared: &Arc<Shared>, state: &mut State, body: &Value) -> Outcome {
    let shop = shop(shared, body)?;
    let number = needed(body, "onlineOrderNumber", 50)?;
    let warehouse = warehouse(shared, body, "warehouse")?;
    needed(body, "logistics", 255)?;
    let key = (shop, number.to_owned());
    let order = state.orders.get(&key).ok_or_else(|| no_order(shared))?;
    if order.status != Status::WaitAudit {
        return Err(failure("order.status.cannot.operate"));
    }
    if !state.stock.serves(&warehouse, &order.lines) {
        return Err(failure("sku.inventory.short.need.increase"));
    }
    release(shared, state, &key, warehouse);
    Ok(Success::Done)
}

/// The code for an order that is not there is not documented.
fn no_order(shared: &Shared) -> Failure {
    Failure::new(&shared.settings.qianyi.not_found_code, "订单不存在")
}

/// `CLOSE_SALES_ORDER`. Which states allow it is not documented: here, until it is shipped.
pub(super) fn close(shared: &Arc<Shared>, state: &mut State, body: &Value) -> Outcome {
    let shop = shop(shared, body)?;
    let number = needed(body, "onlineOrderNumber", 50)?;
    let State { orders, stock, .. } = state;
    let order = orders.get_mut(&(shop, number.to_owned())).ok_or_else(|| no_order(shared))?;
    if matches!(order.status, Status::Shipped | Status::Closed) {
        return Err(failure("order.status.cannot.operate"));
    }
    order.status = Status::Closed;
    order.updated_at = shared.vendor_now(Vendor::Qianyi);
    if let Some(warehouse) = &order.warehouse {
        stock.apply(warehouse, &order.lines, Movement::Unlock);
    }
    shared.books.effect(Vendor::Qianyi, number, EffectKind::OrderCancelled, &order.number);
    Ok(Success::Done)
}

/// Ships an audited order.
fn ship(shared: &Arc<Shared>, state: &mut State, key: &(String, String)) -> bool {
    let State { orders, stock, .. } = state;
    let Some(order) = orders.get_mut(key).filter(|order| order.status == Status::WaitShip) else {
        return false;
    };
    let now = shared.vendor_now(Vendor::Qianyi);
    order.status = Status::Shipped;
    order.shipped_at = Some(now);
    order.updated_at = now;
    if let Some(warehouse) = &order.warehouse {
        stock.apply(warehouse, &order.lines, Movement::Ship);
    }
    shared.books.effect(Vendor::Qianyi, &key.1, EffectKind::OrderShipped, &order.number);
    let tracking = text(&order.request, "trackingNumber");
    pushes::order_shipped(shared, &key.1, &order.number, tracking, now);
    true
}

/// Ships the first order with this number, whatever its shop.
pub(in crate::sandbox) fn ship_any(shared: &Arc<Shared>, number: &str) -> bool {
    let mut state = locked(&shared.qianyi);
    let keys: Vec<_> = state.orders.keys().filter(|(_, no)| no == number).cloned().collect();
    keys.iter().any(|key| ship(shared, &mut state, key))
}

/// `QUERY_SALES_ORDER_LIST`, as far as a caller needs it to find an order again.
pub(super) fn query(shared: &Arc<Shared>, state: &mut State, body: &Value) -> Outcome {
    let listed = |name: &str| -> Option<Vec<String>> {
        text(body, name).map(|list| list.split(',').map(|one| one.trim().to_owned()).collect())
    };
    let own = listed("orderNumbers").or_else(|| listed("orderNumber"));
    let online = listed("onlineOrderNumber");
    if own.as_ref().is_some_and(|numbers| numbers.len() > 200) {
        return Err(Failure::input("orderNumbers must be at most 200"));
    }
    if text(body, "onlineOrderNumber").is_some_and(|list| list.chars().count() > 500) {
        return Err(Failure::input("onlineOrderNumber must be at most 500 characters"));
    }
    let paid = range(body, "fromPayTime", "toPayTime")?;
    let updated = range(body, "updateTimeFrom", "updateTimeTo")?;
    let shipped = range(body, "shippingTimeFrom", "shippingTimeTo")?;
    if own.is_none() && online.is_none() && paid.is_none() && updated.is_none() && shipped.is_none()
    {
        return Err(Failure::input("a number or a pair of times is required"));
    }
    let within = |range: Option<(i64, i64)>, at: Option<i64>| {
        range.is_none_or(|(from, to)| at.is_some_and(|at| (from..=to).contains(&at)))
    };
    let rows = state.orders.iter().filter(|((shop, number), order)| {
        own.as_ref().is_none_or(|own| own.contains(&order.number))
            && online.as_ref().is_none_or(|online| online.contains(number))
            && text(body, "shop").is_none_or(|wanted| wanted == shop)
            && text(body, "status").is_none_or(|status| status == order.status.name())
            && within(paid, text(&order.request, "payTime").and_then(home_millis))
            && within(updated, Some(order.updated_at.as_millisecond()))
            && within(shipped, order.shipped_at.map(Timestamp::as_millisecond))
    });
    let rows = rows.map(|((shop, _), order)| order.shown(shared, shop)).collect();
    let (rows, total) = paged(body, rows)?;
    Ok(Success::Page(rows, total))
}

/// A pair of times; where one end is missing it lies 30 days from the other.
fn range(body: &Value, from: &str, to: &str) -> Result<Option<(i64, i64)>, Failure> {
    let at = |name: &str| match text(body, name) {
        None => Ok(None),
        Some(time) => match home_millis(time) {
            Some(millis) => Ok(Some(millis)),
            None => Err(Failure::input(format!("{name} must be yyyy-MM-dd HH:mm:ss"))),
        },
    };
    let range = match (at(from)?, at(to)?) {
        (None, None) => return Ok(None),
        (Some(from), None) => (from, from.saturating_add(RANGE_MS)),
        (None, Some(to)) => (to.saturating_sub(RANGE_MS), to),
        (Some(from), Some(to)) => (from, to),
    };
    match range.1.saturating_sub(range.0) > RANGE_MS {
        true => Err(Failure::input("the range of times must be at most 30 days")),
        false => Ok(Some(range)),
    }
}
