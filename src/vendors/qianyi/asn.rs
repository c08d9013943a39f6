//! `CreateAsn` and `CancelAsn` as Qianyi takes them (Qianyi, 入库单: CREATE_ASN_ORDER,
//! CANCEL_ASN_ORDER).

use std::collections::{BTreeMap, BTreeSet};

use bigdecimal::BigDecimal;
use jiff::civil::Date;
use serde_json::{Map, Value};

use super::{
    check::{Check, at_least_one, missing},
    json_out::{Body, exact, in_china},
};
use crate::domain::{
    Faults, Findings, Invalid,
    command::{AsnBox, AsnLine, Batch, CancelAsn, Condition, CreateAsn, Packing, Transport},
};

/// The container models of the vendor's table.
const CONTAINERS: [&str; 22] = [
    "20'",
    "20DC",
    "20FR",
    "20GP",
    "20HQ",
    "20OT",
    "40'",
    "40DC",
    "40FR",
    "40GOH",
    "40HC",
    "40HQ",
    "40HR",
    "40OT",
    "40RQ",
    "45'",
    "45HC",
    "45HQ",
    "53HQ",
    "53 DRY VAN",
    "40GP",
    "45GP",
];

/// Checks an ASN.
pub(super) fn check(asn: &CreateAsn) -> Result<(), Faults> {
    let mut findings = Findings::default();
    let check = Check { wins: &asn.vendor_fields };
    // Without it the vendor would create the same ASN again and again.
    findings.note(check.required("asnNumber", "customNumber", Some(&asn.asn_number), usize::MAX));
    findings.note(check.required("warehouse", "warehouseName", Some(&asn.warehouse), usize::MAX));
    if asn.tracking_numbers.len() > 1 && !asn.vendor_fields.contains_key("trackNumber") {
        findings.add(Invalid::field(
            "trackingNumbers",
            "`trackingNumbers` has several, Qianyi takes one (`trackNumber`): give one",
        ));
    }
    let currency = asn.currency.as_deref();
    findings.note(check.required("currency", "purchasePriceCurrency", currency, usize::MAX));
    for (field, vendor_field, value) in [
        ("currency", "purchasePriceCurrency", &asn.currency),
        ("firstLegCurrency", "firstLegPriceCurrency", &asn.first_leg_currency),
        ("transferCurrency", "transferPriceCurrency", &asn.transfer_currency),
    ] {
        findings.note(check.currency(field, vendor_field, value.as_deref()));
    }
    let container = asn.container_model.as_deref();
    findings.note(check.one_of("containerModel", "containerModel", container, &CONTAINERS));
    if asn.lines.is_empty() {
        findings.add(missing("lines", "asnSkuVOList"));
    }
    let mut seen = BTreeSet::new();
    for (i, line) in asn.lines.iter().enumerate() {
        let path = format!("lines[{i}]");
        check_line(&path, line, &mut findings);
        if !seen.insert((&line.sku, same_batch(line.batch.as_ref()))) {
            findings.add(Invalid::field(
                format!("{path}.sku"),
                format!(
                    "`{path}.sku` stands on an earlier line with the same batch, and Qianyi would \
                     merge the two: add their quantities up in one line"
                ),
            ));
        }
    }
    check_boxes(asn, &mut findings);
    findings.or(())
}

/// Checks a cancellation.
pub(super) fn check_cancel(cancel: &CancelAsn) -> Result<(), Faults> {
    if cancel.vendor_reference.as_deref().is_some_and(|reference| !reference.is_empty()) {
        return Ok(());
    }
    let check = Check { wins: &cancel.vendor_fields };
    Ok(check.required("asnNumber", "asnNumber", Some(&cancel.asn_number), usize::MAX)?)
}

fn check_line(path: &str, line: &AsnLine, findings: &mut Findings) {
    let check = Check { wins: &line.vendor_fields };
    findings.note(check.required(&format!("{path}.sku"), "sku", Some(&line.sku), usize::MAX));
    findings.note(at_least_one(format!("{path}.quantity"), line.quantity));
    if line.purchase_price.is_none() && !line.vendor_fields.contains_key("purchasePrice") {
        findings.add(missing(&format!("{path}.purchasePrice"), "purchasePrice"));
    }
    if line.first_leg_price.as_ref().is_some_and(|price| price.decimals() > 2)
        && !line.vendor_fields.contains_key("firstLegPrice")
    {
        let field = format!("{path}.firstLegPrice");
        let message = format!("`{field}` has more than the 2 decimals that Qianyi keeps: round it");
        findings.add(Invalid::field(field, message));
    }
    let number = line.batch.as_ref().and_then(|batch| batch.number.as_deref());
    findings.note(check.at_most(&format!("{path}.batch.number"), "batchNo", number, 255));
}

/// What makes two batches one: their number, else all that is known of them.
fn same_batch(batch: Option<&Batch>) -> (&str, Option<Date>, Option<Date>, &str) {
    let Some(batch) = batch else { return ("", None, None, "") };
    match batch.number.as_deref().unwrap_or_default() {
        "" => {
            let country = batch.origin_country.as_deref().unwrap_or_default();
            ("", batch.manufactured_on, batch.expires_on, country)
        }
        number => (number, None, None, ""),
    }
}

fn check_boxes(asn: &CreateAsn, findings: &mut Findings) {
    if asn.vendor_fields.contains_key("asnMarkVOList") {
        return;
    }
    if asn.boxes.is_empty() {
        match asn.packing {
            Packing::Parcel => {}
            Packing::Boxes => findings.add(Invalid::field(
                "boxes",
                "`packing` is BOXES and `boxes` is empty: give the boxes, or PARCEL",
            )),
        }
        return;
    }
    let mut numbers = BTreeSet::new();
    for (i, asn_box) in asn.boxes.iter().enumerate() {
        check_box(&format!("boxes[{i}]"), asn_box, &mut numbers, findings);
    }
    let in_lines = sums(asn.lines.iter().map(|line| (line.sku.as_str(), line.quantity)));
    let packed = asn.boxes.iter().flat_map(|asn_box| &asn_box.lines);
    let in_boxes = sums(packed.map(|line| (line.sku.as_str(), line.quantity)));
    let skus: BTreeSet<&str> = in_lines.keys().chain(in_boxes.keys()).copied().collect();
    for sku in skus {
        let quantity = |sums: &BTreeMap<&str, i128>| sums.get(sku).copied().unwrap_or_default();
        let (said, boxed) = (quantity(&in_lines), quantity(&in_boxes));
        if said != boxed {
            findings.add(Invalid::field(
                "boxes",
                format!(
                    "the boxes hold {boxed} of `{sku}`, the lines say {said}: make the sums equal"
                ),
            ));
        }
    }
}

fn check_box(path: &str, asn_box: &AsnBox, numbers: &mut BTreeSet<i32>, findings: &mut Findings) {
    let field = format!("{path}.number");
    if asn_box.number < 1 {
        findings.add(Invalid::field(&*field, format!("`{field}` is below 1: count from 1")));
    }
    if !numbers.insert(asn_box.number) {
        findings.add(Invalid::field(&*field, format!("`{field}` is another box's: number each")));
    }
    for (name, vendor_field, measure) in [
        ("weightGrams", "weight", &asn_box.weight_grams),
        ("lengthCm", "length", &asn_box.length_cm),
        ("widthCm", "width", &asn_box.width_cm),
        ("heightCm", "height", &asn_box.height_cm),
    ] {
        if measure.is_none() {
            findings.add(missing(&format!("{path}.{name}"), vendor_field));
        }
    }
    if asn_box.lines.is_empty() {
        findings.add(missing(&format!("{path}.lines"), "asnMarkSkuVOList"));
    }
    for (i, line) in asn_box.lines.iter().enumerate() {
        findings.note(at_least_one(format!("{path}.lines[{i}].quantity"), line.quantity));
    }
}

fn sums<'a>(lines: impl Iterator<Item = (&'a str, i64)>) -> BTreeMap<&'a str, i128> {
    let mut sums = BTreeMap::new();
    for (sku, quantity) in lines {
        *sums.entry(sku).or_default() += i128::from(quantity);
    }
    sums
}

/// The ASN as Qianyi's body.
pub(super) fn body(asn: &CreateAsn) -> Map<String, Value> {
    let mut body = Body::default();
    body.text("warehouseName", Some(&asn.warehouse));
    body.text("customNumber", Some(&asn.asn_number));
    body.text("trackNumber", asn.tracking_numbers.first().map(String::as_str));
    body.text("remark", asn.remark.as_deref());
    body.text("purchasePriceCurrency", asn.currency.as_deref());
    body.text("firstLegPriceCurrency", asn.first_leg_currency.as_deref());
    body.text("transferPriceCurrency", asn.transfer_currency.as_deref());
    body.text("sendWarehouseFlag", asn.send_to_warehouse.map(|send| if send { "Y" } else { "N" }));
    body.text("preArriveTime", asn.expected_at.map(in_china).as_deref());
    body.text("shippingType", asn.transport.map(shipping_type));
    body.text("containerModel", asn.container_model.as_deref());
    body.value("asnSkuVOList", asn.lines.iter().map(|l| Value::Object(line(l))).collect());
    if !asn.boxes.is_empty() {
        body.value("asnMarkVOList", asn.boxes.iter().map(mark).collect());
    }
    body.winning(&asn.vendor_fields)
}

fn shipping_type(transport: Transport) -> &'static str {
    match transport {
        Transport::Sea => "01",
        Transport::Air => "02",
        Transport::Express => "03",
        Transport::Land => "04",
        Transport::Charter => "05",
        Transport::Rail => "06",
        Transport::Other => "08",
    }
}

fn line(line: &AsnLine) -> Map<String, Value> {
    let mut body = Body::default();
    body.text("sku", Some(&line.sku));
    body.number("purchasePrice", line.purchase_price.as_ref());
    body.number("firstLegPrice", line.first_leg_price.as_ref());
    body.number("transferPrice", line.transfer_price.as_ref());
    body.value("expectQuantity", line.quantity.into());
    body.text(
        "skuStatus",
        Some(match line.condition {
            Condition::Good => "GOOD",
            Condition::Damaged => "DAMAGE",
        }),
    );
    if let Some(per_box) = line.per_box {
        body.value("perBoxQuantity", per_box.into());
    }
    batch(&mut body, line.batch.as_ref());
    body.text("skuNotes", line.notes.as_deref());
    body.winning(&line.vendor_fields)
}

/// A line's batch, of an ASN or of an order (of Qianyi's own WMS only).
pub(super) fn batch(body: &mut Body, batch: Option<&Batch>) {
    let Some(batch) = batch else { return };
    body.text("batchNo", batch.number.as_deref());
    body.text("mfgDate", batch.manufactured_on.map(|date| date.to_string()).as_deref());
    body.text("expDate", batch.expires_on.map(|date| date.to_string()).as_deref());
    body.text("originCountry", batch.origin_country.as_deref());
}

fn mark(asn_box: &AsnBox) -> Value {
    let mut mark = Body::default();
    mark.value("boxNumber", asn_box.number.into());
    let lines = asn_box.lines.iter().map(|line| {
        let mut body = Body::default();
        body.text("sku", Some(&line.sku));
        body.value("quantity", line.quantity.into());
        Value::Object(body.winning(&Map::new()))
    });
    mark.value("asnMarkSkuVOList", lines.collect());
    mark.number("length", asn_box.length_cm.as_ref());
    mark.number("width", asn_box.width_cm.as_ref());
    mark.number("height", asn_box.height_cm.as_ref());
    if let Some(grams) = &asn_box.weight_grams {
        // The model counts grams, the vendor kilograms.
        let kilograms = (&grams.0 * BigDecimal::new(1.into(), 3)).normalized();
        mark.value("weight", exact(&kilograms.to_plain_string()));
    }
    Value::Object(mark.winning(&Map::new()))
}

/// The cancellation as Qianyi's body: it takes the vendor's own number only.
pub(super) fn cancel_body(cancel: &CancelAsn, reference: &str) -> Map<String, Value> {
    let mut body = Body::default();
    body.text("asnNumber", Some(reference));
    body.winning(&cancel.vendor_fields)
}
