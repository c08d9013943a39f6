//! `CreateAsn` → `/api/inbound/create`.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use super::{Checks, merge, number, set};
use crate::domain::{
    Faults,
    command::{AsnBox, AsnLine, Condition, CreateAsn, Packing},
};

/// Checks an ASN against the guide's errors 40000 to 40003 and the fields of COMMANDS.
pub(super) fn check(asn: &CreateAsn) -> Result<Vec<String>, Faults> {
    let mut checks = Checks::new(&asn.vendor_fields);
    checks.number("asnNumber", &asn.asn_number);
    checks.required("warehouse", "warehouse", Some(&asn.warehouse));
    for (i, number) in asn.tracking_numbers.iter().enumerate() {
        // They are sent joined by commas.
        if number.trim().is_empty() || number.contains(',') {
            let path = format!("trackingNumbers[{i}]");
            let message = format!("`{path}` is empty or holds a comma: give one number an element");
            checks.wrong(path, message);
        }
    }
    checks.no_place("sendToWarehouse", asn.send_to_warehouse == Some(false));
    checks.informs("sendToWarehouse", asn.send_to_warehouse == Some(true));
    checks.informs("currency", asn.currency.is_some());
    checks.informs("firstLegCurrency", asn.first_leg_currency.is_some());
    checks.informs("transferCurrency", asn.transfer_currency.is_some());
    checks.informs("transport", asn.transport.is_some());
    checks.informs("containerModel", asn.container_model.is_some());

    if asn.lines.is_empty() {
        checks.empty("lines");
    }
    let mut skus = BTreeMap::new();
    for (i, line) in asn.lines.iter().enumerate() {
        let path = format!("lines[{i}]");
        checks.line(&path, &line.sku, line.quantity);
        checks.no_place(format!("{path}.condition"), line.condition != Condition::default());
        checks.no_place(format!("{path}.batch"), line.batch.is_some());
        checks.informs(format!("{path}.purchasePrice"), line.purchase_price.is_some());
        checks.informs(format!("{path}.firstLegPrice"), line.first_leg_price.is_some());
        checks.informs(format!("{path}.transferPrice"), line.transfer_price.is_some());
        checks.informs(format!("{path}.perBox"), line.per_box.is_some());
        checks.informs(format!("{path}.notes"), line.notes.is_some());
        if let Some(first) = skus.insert(line.sku.as_str(), i) {
            let path = format!("{path}.sku");
            let message =
                format!("`{path}` names the same SKU as `lines[{first}]`: join the lines");
            checks.wrong(path, message);
        }
    }
    check_boxes(asn, &mut checks);
    checks.done()
}

/// Boxes hold exactly what the lines announce.
fn check_boxes(asn: &CreateAsn, checks: &mut Checks<'_>) {
    if asn.boxes.is_empty() {
        match asn.packing {
            Packing::Parcel => {}
            Packing::Boxes => checks.wrong(
                "boxes",
                "`packing` is BOXES and `boxes` is empty: list the boxes, or use PARCEL",
            ),
        }
        return;
    }
    let mut sums: BTreeMap<&str, i128> = BTreeMap::new();
    for (i, one) in asn.boxes.iter().enumerate() {
        if one.lines.is_empty() {
            checks.empty(&format!("boxes[{i}].lines"));
        }
        for (j, line) in one.lines.iter().enumerate() {
            let path = format!("boxes[{i}].lines[{j}]");
            checks.line(&path, &line.sku, line.quantity);
            if !asn.lines.iter().any(|announced| announced.sku == line.sku) {
                let path = format!("{path}.sku");
                let message = format!(
                    "`{path}` is in none of the `lines`: boxes hold what the lines announce"
                );
                checks.wrong(path, message);
            }
            *sums.entry(line.sku.as_str()).or_default() += i128::from(line.quantity);
        }
    }
    for (i, line) in asn.lines.iter().enumerate() {
        let boxed = sums.get(line.sku.as_str()).copied().unwrap_or_default();
        if boxed != i128::from(line.quantity) {
            let path = format!("lines[{i}].quantity");
            let message = format!(
                "`{path}` is {} and the boxes hold {boxed}: boxes hold what the lines announce",
                line.quantity
            );
            checks.wrong(path, message);
        }
    }
}

/// The body of `/api/inbound/create`.
pub(super) fn body(asn: &CreateAsn, timezone: &TimeZone) -> Map<String, Value> {
    let mut body = Map::new();
    set(&mut body, "erpNo", Some(asn.asn_number.as_str()));
    set(&mut body, "warehouse", Some(asn.warehouse.as_str()));
    let tracking_numbers = asn.tracking_numbers.join(",");
    set(&mut body, "trackingNo", Some(tracking_numbers).filter(|joined| !joined.is_empty()));
    let local = |time: jiff::Timestamp| {
        time.to_zoned(timezone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
    };
    set(&mut body, "expectedTime", asn.expected_at.map(local));
    set(&mut body, "remark", asn.remark.as_deref());
    set(&mut body, "receiptType", Some(receipt_type(asn.packing)));
    set(&mut body, "skuList", Some(asn.lines.iter().map(line).collect::<Vec<_>>()));
    if !asn.boxes.is_empty() {
        // The vendor has no number of a box: their order is all that is left of it.
        let mut boxes: Vec<_> = asn.boxes.iter().collect();
        boxes.sort_by_key(|one| one.number);
        set(&mut body, "boxList", Some(boxes.into_iter().map(one_box).collect::<Vec<_>>()));
    }
    merge(&mut body, &asn.vendor_fields);
    body
}

/// `receiptType`: 1 parcels, 2 by box.
fn receipt_type(packing: Packing) -> i64 {
    match packing {
        Packing::Parcel => 1,
        Packing::Boxes => 2,
    }
}

fn line(line: &AsnLine) -> Value {
    let mut body = counted(&line.sku, line.quantity);
    merge(&mut body, &line.vendor_fields);
    Value::Object(body)
}

fn one_box(one: &AsnBox) -> Value {
    let mut body = Map::new();
    set(&mut body, "weight", one.weight_grams.as_ref().map(number));
    set(&mut body, "length", one.length_cm.as_ref().map(number));
    set(&mut body, "width", one.width_cm.as_ref().map(number));
    set(&mut body, "height", one.height_cm.as_ref().map(number));
    let lines = one.lines.iter().map(|line| Value::Object(counted(&line.sku, line.quantity)));
    set(&mut body, "skuVos", Some(lines.collect::<Vec<_>>()));
    Value::Object(body)
}

/// A SKU with its `count` (an order says `num`).
fn counted(sku: &str, quantity: i64) -> Map<String, Value> {
    let mut body = Map::new();
    set(&mut body, "sku", Some(sku));
    set(&mut body, "count", Some(quantity));
    body
}
