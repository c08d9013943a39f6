//! Stock, warehouses and shops of Qianyi.

use std::sync::Arc;

use serde_json::{Value, json};

use super::State;
use super::envelope::{Failure, Outcome, Success};
use super::rules::{paged, text};
use crate::sandbox::Shared;

/// `QUERY_SIMPLE_LIST_INVENTORY_V2`. Rows without stock are hidden unless `showEmpty`.
pub(super) fn inventory(shared: &Arc<Shared>, state: &mut State, body: &Value) -> Outcome {
    let names = |name: &str| -> Result<Vec<String>, Failure> {
        match body.get(name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(list) => serde_json::from_value(list.clone())
                .map_err(|_| Failure::input(format!("{name} must be a list of texts"))),
        }
    };
    let mut warehouses = names("warehouses")?;
    warehouses.extend(text(body, "warehouse").map(str::to_owned));
    if warehouses.is_empty() || warehouses.len() > 50 {
        return Err(Failure::input("warehouse or warehouses (at most 50) is required"));
    }
    let asked = names("skuList")?;
    if asked.len() > 200 && warehouses.len() > 1 {
        return Err(Failure::input("skuList must be at most 200 for several warehouses"));
    }
    let show_empty = body.get("showEmpty").and_then(Value::as_bool).unwrap_or(false);
    let mut rows = Vec::new();
    for known in &shared.settings.qianyi.warehouses {
        if !warehouses.contains(&known.name) {
            continue;
        }
        for sku in state.stock.skus(&known.name, &asked) {
            let level = state.stock.level(&known.name, &sku);
            if level.total == 0 && !show_empty {
                continue;
            }
            rows.push(json!({
                "sku": sku,
                "skuName": sku,
                "warehouse": known.name,
                "warehouseCode": known.code,
                "total": level.total,
                "available": level.available,
                "allocated": level.locked,
                "unavailable": level.non_good,
            }));
        }
    }
    let (rows, total) = paged(body, rows)?;
    Ok(Success::Page(rows, total))
}

/// `QUERY_WAREHOUSE_LIST`.
pub(super) fn warehouses(shared: &Arc<Shared>, _: &mut State, body: &Value) -> Outcome {
    let known = shared.settings.qianyi.warehouses.iter().enumerate();
    let known =
        known.filter(|(_, known)| text(body, "name").is_none_or(|n| known.name.contains(n)));
    let rows = known.map(|(index, known)| {
        json!({
            "id": index + 1,
            "name": known.name,
            "kind": "SHIP",
            "code": known.code,
            "country": "CN",
            "timezoneId": "Asia/Shanghai",
            "status": "UNLOCK",
        })
    });
    let (rows, total) = paged(body, rows.collect())?;
    Ok(Success::Page(rows, total))
}

/// `QUERY_SHOP_LIST`.
pub(super) fn shops(shared: &Arc<Shared>, _: &mut State, body: &Value) -> Outcome {
    let known = shared.settings.qianyi.shops.iter().enumerate();
    let known = known.filter(|(_, shop)| text(body, "name").is_none_or(|name| shop.contains(name)));
    let rows = known.map(|(index, shop)| {
        json!({
            "shopId": index + 1,
            "name": shop,
            "platform": "OTHER",
            "status": "ENABLE",
            "authExpiredStatus": "NORMAL",
            "currency": "USD",
        })
    });
    let (rows, total) = paged(body, rows.collect())?;
    Ok(Success::Page(rows, total))
}
