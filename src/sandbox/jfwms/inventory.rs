//! Stock and warehouses of JFWMS.

use std::sync::Arc;

use serde_json::{Value, json};

use super::codes::Refusal;
use super::{Outcome, State, warehouse};
use crate::sandbox::Shared;

/// The most rows of a page and the most SKUs of a question.
const MOST: usize = 300;

/// `POST /api/inventory/queryInventory`. A SKU that is not there has no row.
pub(super) fn query(shared: &Arc<Shared>, state: &mut State, _: u64, body: &Value) -> Outcome {
    let warehouse = warehouse(shared, body)?;
    let number = |name: &str| {
        let number = body.get(name).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        let wrong = || Refusal::about(10001, &format!("{name} must be a number from 1"));
        number.filter(|number| *number > 0).ok_or_else(wrong)
    };
    let (page, size) = (number("pageNo")?, number("pageSize")?);
    if size > MOST {
        return Err(Refusal::about(10001, "pageSize must be at most 300"));
    }
    let asked: Vec<String> = match body.get("skuList") {
        None | Some(Value::Null) => Vec::new(),
        Some(list) => serde_json::from_value(list.clone())
            .map_err(|_| Refusal::about(10001, "skuList must be a list of texts"))?,
    };
    if asked.len() > MOST {
        return Err(Refusal::about(10001, "skuList must have at most 300 entries"));
    }
    let skus = state.stock.skus(&warehouse, &asked);
    let rows = skus.iter().skip((page - 1).saturating_mul(size)).take(size).map(|sku| {
        let level = state.stock.level(&warehouse, sku);
        json!({
            "sku": sku,
            "totalNum": level.total,
            "availableNum": level.available,
            "lockedNum": level.locked,
            "nonGoodNum": level.non_good,
        })
    });
    Ok(json!({"page": {
        "pageNo": page,
        "pageSize": size,
        "totalPage": skus.len().div_ceil(size),
        "totalSize": skus.len(),
        "rows": rows.collect::<Vec<_>>(),
    }}))
}

/// `POST /api/warehouse/getList`.
pub(super) fn warehouses(shared: &Arc<Shared>, _: &mut State, _: u64, body: &Value) -> Outcome {
    let asked: Option<Vec<String>> = match body.get("codeList") {
        None | Some(Value::Null) => None,
        Some(list) => Some(
            serde_json::from_value(list.clone())
                .map_err(|_| Refusal::about(10001, "codeList must be a list of texts"))?,
        ),
    };
    let wanted =
        |code: &String| asked.as_ref().is_none_or(|asked| asked.is_empty() || asked.contains(code));
    let warehouses = &shared.settings.jfwms.warehouses;
    let shown = warehouses.iter().enumerate().filter(|(_, code)| wanted(code));
    let shown = shown.map(|(index, code)| {
        json!({
            "id": index + 1,
            "code": code,
            "name": format!("Warehouse {code}"),
            "country": "US",
            "timeZone": "America/Los_Angeles",
            "isAuth": true,
            "receiveStatus": 1,
            "orderReceiveStatus": 1,
        })
    });
    Ok(shown.collect())
}
