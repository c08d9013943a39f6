//! ASNs of Qianyi.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::envelope::{Failure, Outcome, Success, message};
use super::rules::{currency, lines, needed, number, paged, text};
use super::{State, pushes, sales_orders};
use crate::sandbox::books::{EffectKind, KeptDocument};
use crate::sandbox::settings::DuplicateAsn;
use crate::sandbox::stock::{Line, Movement, summed};
use crate::sandbox::time::{home_millis, text_time};
use crate::sandbox::{Shared, Vendor, locked};

/// An ASN.
#[derive(Debug)]
pub(super) struct Asn {
    custom_number: Option<String>,
    warehouse: String,
    lines: Vec<Line>,
    status: Status,
    created_at: Timestamp,
    updated_at: Timestamp,
    finished_at: Option<Timestamp>,
    request: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    New,
    Finished,
    Closed,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::New => "NEW",
            Self::Finished => "FINISHED",
            Self::Closed => "CLOSED",
        }
    }
}

impl Asn {
    pub(super) fn kept(&self, number: &str) -> KeptDocument {
        KeptDocument {
            vendor: Vendor::Qianyi,
            number: self.document(number).to_owned(),
            reference: number.to_owned(),
            owner: String::new(),
            status: self.status.name().to_owned(),
            created_at: self.created_at,
            request: self.request.clone(),
        }
    }

    /// The number under which the books know it: the caller's, if it gave one.
    fn document<'a>(&'a self, number: &'a str) -> &'a str {
        self.custom_number.as_deref().unwrap_or(number)
    }

    /// The ASN as answers show it: times of ASNs are text, unlike those of orders.
    fn shown(&self, number: &str) -> Value {
        let given = |name: &str| self.request.get(name).cloned().unwrap_or(Value::Null);
        let received = |line: &Line| match self.status {
            Status::Finished => line.quantity,
            Status::New | Status::Closed => 0,
        };
        let requested = self.request.get("asnSkuVOList").and_then(Value::as_array);
        let price = |sku: &str, name: &str| {
            let mut lines = requested.into_iter().flatten();
            let line = lines.find(|line| text(line, "sku") == Some(sku));
            line.and_then(|line| line.get(name)).cloned().unwrap_or(Value::Null)
        };
        let rows = self.lines.iter().map(|line| {
            json!({
                "sku": line.sku,
                "title": line.sku,
                "purchasePrice": price(&line.sku, "purchasePrice"),
                "firstLegPrice": price(&line.sku, "firstLegPrice"),
                "transferPrice": price(&line.sku, "transferPrice"),
                "expectQuantity": line.quantity,
                "receiveQuantity": received(line),
                "goodNum": received(line),
                "damageNum": 0,
            })
        });
        json!({
            "asnNumber": number,
            "customNumber": self.custom_number,
            "businessNumber": null,
            "trackNumber": given("trackNumber"),
            "warehouseName": self.warehouse,
            "type": "MANUAL",
            "status": self.status.name(),
            "remark": given("remark"),
            "createTime": text_time(self.created_at),
            "updateTime": text_time(self.updated_at),
            "stockInTime": self.finished_at.map(text_time),
            "finishTime": self.finished_at.map(text_time),
            "purchasePriceCurrency": given("purchasePriceCurrency"),
            "firstLegPriceCurrency": given("firstLegPriceCurrency"),
            "transferPriceCurrency": given("transferPriceCurrency"),
            "totalQuantity": self.lines.iter().map(|line| line.quantity).sum::<i64>(),
            "asnSkuVOList": rows.collect::<Vec<_>>(),
            "asnMarkVOList": given("asnMarkVOList"),
            "fromApi": true,
            "tag": {},
        })
    }
}

fn check(shared: &Shared, body: &Value) -> Result<(), Failure> {
    let must = shared.settings.qianyi.asn_needs_prices;
    currency(body, "purchasePriceCurrency", must)?;
    currency(body, "firstLegPriceCurrency", false)?;
    currency(body, "transferPriceCurrency", false)?;
    for line in body.get("asnSkuVOList").and_then(Value::as_array).into_iter().flatten() {
        if must && number(line, "purchasePrice").is_none() {
            return Err(Failure::input("purchasePrice不能为空"));
        }
        if !matches!(text(line, "skuStatus"), None | Some("GOOD" | "DAMAGE")) {
            return Err(Failure::input("skuStatus must be GOOD or DAMAGE"));
        }
    }
    if let Some(time) = text(body, "preArriveTime") {
        home_millis(time).ok_or_else(|| Failure::input("preArriveTime is not a time"))?;
    }
    let kinds = ["01", "02", "03", "04", "05", "06", "07", "08"];
    if text(body, "shippingType").is_some_and(|kind| !kinds.contains(&kind)) {
        return Err(Failure::input("shippingType must be 01 to 08"));
    }
    for marked in body.get("asnMarkVOList").and_then(Value::as_array).into_iter().flatten() {
        for name in ["boxNumber", "length", "width", "height", "weight"] {
            if number(marked, name).is_none() {
                return Err(Failure::input(format!("asnMarkVOList: {name}不能为空")));
            }
        }
        lines(marked, "asnMarkSkuVOList", "quantity")?;
    }
    Ok(())
}

/// `CREATE_ASN_ORDER`. Lines of one SKU are merged, as the vendor does by default.
pub(super) fn create(shared: &Arc<Shared>, state: &mut State, body: &Value) -> Outcome {
    let warehouse = sales_orders::warehouse(shared, body, "warehouseName")?;
    let lines = lines(body, "asnSkuVOList", "expectQuantity")?;
    check(shared, body)?;
    sales_orders::missing(state, &lines)?;
    let custom_number = text(body, "customNumber").map(str::to_owned);
    if let Some(known) = custom_number.as_ref().and_then(|custom| state.custom.get(custom)) {
        return match &shared.settings.qianyi.duplicate_asn {
            DuplicateAsn::Refuse(code) => Err(Failure::new(code, "自定义单号已存在")),
            DuplicateAsn::SameNumber => {
                let shown = state.asns.get(known).map(|asn| asn.shown(known));
                Ok(Success::One(shown.unwrap_or_default()))
            }
        };
    }
    state.room(shared, lines.len())?;
    let now = shared.vendor_now(Vendor::Qianyi);
    let own = state.next_number("A");
    let asn = Asn {
        custom_number: custom_number.clone(),
        warehouse,
        lines: summed(&lines),
        status: Status::New,
        created_at: now,
        updated_at: now,
        finished_at: None,
        request: body.clone(),
    };
    shared.books.effect(Vendor::Qianyi, asn.document(&own), EffectKind::InboundCreated, &own);
    let shown = asn.shown(&own);
    state.asns.insert(own.clone(), asn);
    if let Some(custom) = custom_number {
        state.custom.insert(custom, own.clone());
    }
    if let Some(after) = shared.behaviour().qianyi.receive_after_ms {
        shared.later(after, move |shared| {
            receive(shared, &mut locked(&shared.qianyi), &own);
        });
    }
    Ok(Success::One(shown))
}

/// Puts an ASN away.
fn receive(shared: &Arc<Shared>, state: &mut State, number: &str) -> bool {
    let State { asns, stock, .. } = state;
    let Some(asn) = asns.get_mut(number).filter(|asn| asn.status == Status::New) else {
        return false;
    };
    let now = shared.vendor_now(Vendor::Qianyi);
    asn.status = Status::Finished;
    asn.updated_at = now;
    asn.finished_at = Some(now);
    stock.apply(&asn.warehouse, &asn.lines, Movement::Receive);
    let document = asn.document(number);
    shared.books.effect(Vendor::Qianyi, document, EffectKind::InboundReceived, number);
    let (custom, track) = (asn.custom_number.as_deref(), text(&asn.request, "trackNumber"));
    pushes::asn_finished(shared, document, number, custom, track, &asn.lines, now);
    true
}

/// Puts the ASN with the caller's or the vendor's number away.
pub(in crate::sandbox) fn receive_any(shared: &Arc<Shared>, number: &str) -> bool {
    let mut state = locked(&shared.qianyi);
    let own = state.custom.get(number).cloned().unwrap_or_else(|| number.to_owned());
    receive(shared, &mut state, &own)
}

/// `CANCEL_ASN_ORDER`: by the vendor's number only. Which states allow it, and the codes, are not
/// documented: here, until it is received.
pub(super) fn cancel(shared: &Arc<Shared>, state: &mut State, body: &Value) -> Outcome {
    let number = needed(body, "asnNumber", 255)?;
    let none = || Failure::new(&shared.settings.qianyi.not_found_code, "入库单不存在");
    let asn = state.asns.get_mut(number).ok_or_else(none)?;
    if asn.status != Status::New {
        let code = "order.status.cannot.operate";
        return Err(Failure::new(code, message(code)));
    }
    asn.status = Status::Closed;
    asn.updated_at = shared.vendor_now(Vendor::Qianyi);
    let document = asn.document(number);
    shared.books.effect(Vendor::Qianyi, document, EffectKind::InboundCancelled, number);
    Ok(Success::Done)
}

/// `QUERY_ASN_LIST`: `number` matches the vendor's, the business or the caller's number.
pub(super) fn query(_: &Arc<Shared>, state: &mut State, body: &Value) -> Outcome {
    let is = |name: &str, value: Option<&str>| text(body, name).is_none_or(|t| Some(t) == value);
    let rows: Vec<(&String, &Asn)> = match text(body, "number") {
        // By the keys: a vendor that looked through all of them would get slower with each.
        Some(wanted) => {
            let own = [Some(wanted), state.custom.get(wanted).map(String::as_str)];
            let own: BTreeSet<&str> = own.into_iter().flatten().collect();
            own.into_iter().filter_map(|number| state.asns.get_key_value(number)).collect()
        }
        None => state.asns.iter().collect(),
    };
    let rows = rows.into_iter().filter(|(_, asn)| {
        is("status", Some(asn.status.name()))
            && is("type", Some("MANUAL"))
            && is("warehouseName", Some(&asn.warehouse))
            && is("trackNumber", text(&asn.request, "trackNumber"))
    });
    let rows = rows.map(|(number, asn)| asn.shown(number)).collect();
    let (rows, total) = paged(body, rows)?;
    Ok(Success::Page(rows, total))
}
