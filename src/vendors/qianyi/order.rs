//! `CreateOrder` and `CancelOrder` as Qianyi takes them (Qianyi, 订单: CREATE_SALES_ORDER,
//! CREATE_AND_AUDIT_SALES_ORDER, CLOSE_SALES_ORDER).

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};

use super::{
    asn::batch,
    check::{Check, at_least_one, country, missing, no_place, set},
    json_out::{Body, in_china},
};
use crate::domain::{
    Faults, Findings, Invalid,
    command::{
        CancelOrder, CreateOrder, LabelType, Logistics, OrderLine, PaymentMethod, Recipient,
    },
};

/// Checks an order; returns the paths of fields that only inform and have no place.
pub(super) fn check(order: &CreateOrder) -> Result<Vec<String>, Faults> {
    let mut findings = Findings::default();
    let check = Check { wins: &order.vendor_fields };
    check_number(&check, &order.order_number, &mut findings);
    findings.note(check.required("shop", "shop", order.shop.as_deref(), 255));
    if order.audit {
        findings.note(check.required(
            "warehouse",
            "warehouse",
            order.warehouse.as_deref(),
            usize::MAX,
        ));
        let name = order.logistics.as_ref().and_then(|logistics| logistics.name.as_deref());
        findings.note(check.required("logistics.name", "logistics", name, usize::MAX));
    } else {
        // Only an audit at once says from which warehouse.
        findings.note(no_place("warehouse", set(&order.warehouse)));
    }
    if !order.vendor_fields.contains_key("buyer") {
        check_recipient(&order.recipient, &mut findings);
    }
    findings.note(no_place("recipient.taxId", set(&order.recipient.tax_id)));
    if let Some(logistics) = &order.logistics {
        findings.note(no_place("logistics.id", logistics.id.is_some()));
        findings.note(no_place("logistics.labelUrl", set(&logistics.label_url)));
    }
    findings.note(check.required("currency", "currency", order.currency.as_deref(), usize::MAX));
    findings.note(check.currency("currency", "currency", order.currency.as_deref()));
    if order.payment_method == PaymentMethod::Cod
        && order.cod_amount.is_none()
        && !order.vendor_fields.contains_key("codPayAmount")
    {
        findings.add(missing("codAmount", "codPayAmount"));
    }
    if order.paid_at.is_none() && !order.vendor_fields.contains_key("payTime") {
        findings.add(missing("paidAt", "payTime"));
    }
    findings.note(check.at_most("buyerNote", "buyerMessage", order.buyer_note.as_deref(), 1024));
    findings.note(check.at_most("sellerNote", "sellerRemarks", order.seller_note.as_deref(), 1024));
    findings.note(no_place("pickingNote", set(&order.picking_note)));
    if order.lines.is_empty() {
        findings.add(missing("lines", "skuList"));
    }
    for (i, line) in order.lines.iter().enumerate() {
        check_line(&format!("lines[{i}]"), line, order.audit, &mut findings);
    }
    findings.or(ignored(order))
}

/// Checks a cancellation.
pub(super) fn check_cancel(cancel: &CancelOrder) -> Result<(), Faults> {
    let mut findings = Findings::default();
    let check = Check { wins: &cancel.vendor_fields };
    check_number(&check, &cancel.order_number, &mut findings);
    findings.note(check.required("shop", "shop", cancel.shop.as_deref(), 255));
    findings.or(())
}

/// The order's number must also be one by which the order can be found again.
fn check_number(check: &Check<'_>, number: &str, findings: &mut Findings) {
    findings.note(check.required("orderNumber", "onlineOrderNumber", Some(number), 50));
    // QUERY_SALES_ORDER_LIST splits `onlineOrderNumber` at commas.
    if number.contains(',') {
        findings.add(Invalid::field(
            "orderNumber",
            "`orderNumber` holds a comma: Qianyi could not look the order up again, leave it out",
        ));
    }
}

fn check_recipient(to: &Recipient, findings: &mut Findings) {
    let wins = Map::new();
    let check = Check { wins: &wins };
    for (field, vendor_field, value, max) in [
        ("recipient.name", "buyer.receiverName", &to.name, 255),
        ("recipient.province", "buyer.province", &to.province, 100),
        ("recipient.city", "buyer.city", &to.city, 50),
        ("recipient.postCode", "buyer.postCode", &to.post_code, 50),
        ("recipient.address1", "buyer.address1", &to.address1, 255),
    ] {
        findings.note(check.required(field, vendor_field, value.as_deref(), max));
    }
    for (field, vendor_field, value, max) in [
        ("recipient.phone", "buyer.phone", &to.phone, 50),
        ("recipient.email", "buyer.email", &to.email, 255),
        ("recipient.district", "buyer.district", &to.district, 50),
        ("recipient.address2", "buyer.address2", &to.address2, 255),
        ("recipient.buyerId", "buyer.buyerId", &to.buyer_id, 255),
    ] {
        findings.note(check.at_most(field, vendor_field, value.as_deref(), max));
    }
    findings.note(country("recipient.country", &to.country));
}

fn check_line(path: &str, line: &OrderLine, audit: bool, findings: &mut Findings) {
    let check = Check { wins: &line.vendor_fields };
    findings.note(check.required(&format!("{path}.sku"), "sku", Some(&line.sku), 255));
    findings.note(at_least_one(format!("{path}.quantity"), line.quantity));
    let wins = |name: &str| line.vendor_fields.contains_key(name);
    let priced = line.paid_amount.is_some()
        || wins("payAmount")
        || (!audit && (line.unit_price.is_some() || wins("paymentPrice")));
    if !priced {
        findings.add(missing(&format!("{path}.paidAmount"), "payAmount"));
    }
    let number = line.batch.as_ref().and_then(|batch| batch.number.as_deref());
    findings.note(check.at_most(&format!("{path}.batch.number"), "batchNo", number, 255));
}

/// The fields that Qianyi has no place for and that only inform.
fn ignored(order: &CreateOrder) -> Vec<String> {
    let kind = order.logistics.as_ref().is_some_and(|logistics| logistics.kind.is_some());
    let mut ignored: Vec<String> = [
        ("platformOrderNumber", set(&order.platform_order_number)),
        ("platform", set(&order.platform)),
        ("logistics.kind", kind),
        ("amount", order.amount.is_some()),
    ]
    .into_iter()
    .filter(|(_, set)| *set)
    .map(|(field, _)| field.to_owned())
    .collect();
    for (i, line) in order.lines.iter().enumerate() {
        // With an audit at once only `payAmount` exists, and it is there.
        if order.audit && line.unit_price.is_some() {
            ignored.push(format!("lines[{i}].unitPrice"));
        }
        let customs = line.customs.as_ref();
        if customs.is_some_and(|c| set(&c.hs_code) || set(&c.name_zh) || set(&c.name_en)) {
            ignored.push(format!("lines[{i}].customs"));
        }
    }
    ignored
}

/// The operation of an order: with an audit at once, or without.
pub(super) fn service_type(order: &CreateOrder) -> &'static str {
    if order.audit { "CREATE_AND_AUDIT_SALES_ORDER" } else { "CREATE_SALES_ORDER" }
}

/// The order as Qianyi's body.
pub(super) fn body(order: &CreateOrder) -> Map<String, Value> {
    let mut body = Body::default();
    body.text("shop", order.shop.as_deref());
    body.text("onlineOrderNumber", Some(&order.order_number));
    body.text(
        "paymentMethod",
        Some(match order.payment_method {
            PaymentMethod::PayOnline => "PAY_ONLINE",
            PaymentMethod::Cod => "COD",
        }),
    );
    body.number("codPayAmount", order.cod_amount.as_ref());
    body.number("freight", order.freight.as_ref());
    body.text("currency", order.currency.as_deref());
    body.text("buyerMessage", order.buyer_note.as_deref());
    body.text("sellerRemarks", order.seller_note.as_deref());
    if order.audit {
        body.text("warehouse", order.warehouse.as_deref());
    }
    // The table's own form: `YYYY-MM-DD HH:MM:SS+08:00`.
    let paid_at = order.paid_at.map(|at| format!("{}+08:00", in_china(at)));
    body.text("payTime", paid_at.as_deref());
    if let Some(logistics) = &order.logistics {
        put_logistics(&mut body, logistics, order.audit);
    }
    if let Some(document) = &order.document {
        body.text("documentFile", Some(&STANDARD.encode(&document.content.0)));
        body.text("documentType", Some(file_type(document.document_type)));
        body.text("documentName", Some(&document.name));
    }
    body.value("buyer", Value::Object(buyer(&order.recipient)));
    body.value(
        "skuList",
        order.lines.iter().map(|l| Value::Object(line(l, order.audit))).collect(),
    );
    body.winning(&order.vendor_fields)
}

fn put_logistics(body: &mut Body, logistics: &Logistics, audit: bool) {
    let name = if audit { "logistics" } else { "logisticsSelected" };
    body.text(name, logistics.name.as_deref());
    body.text("trackingNumber", logistics.tracking_number.as_deref());
    if let Some(label) = &logistics.label {
        body.text("shippingLabel", Some(&STANDARD.encode(&label.content.0)));
        body.text("imgType", Some(file_type(label.label_type)));
    }
}

fn file_type(label_type: LabelType) -> &'static str {
    match label_type {
        LabelType::Pdf => "PDF",
        LabelType::Png => "PNG",
    }
}

fn buyer(to: &Recipient) -> Map<String, Value> {
    let mut buyer = Body::default();
    buyer.text("buyerId", to.buyer_id.as_deref());
    buyer.text("receiverName", to.name.as_deref());
    buyer.text("phone", to.phone.as_deref());
    buyer.text("email", to.email.as_deref());
    // The vendor's table of countries has UK where ISO has GB.
    buyer.text("country", Some(if to.country == "GB" { "UK" } else { &to.country }));
    buyer.text("province", to.province.as_deref());
    buyer.text("city", to.city.as_deref());
    buyer.text("district", to.district.as_deref());
    buyer.text("postCode", to.post_code.as_deref());
    buyer.text("address1", to.address1.as_deref());
    buyer.text("address2", to.address2.as_deref());
    buyer.text("houseNumber", to.house_number.as_deref());
    buyer.winning(&Map::new())
}

fn line(line: &OrderLine, audit: bool) -> Map<String, Value> {
    let mut body = Body::default();
    body.text("sku", Some(&line.sku));
    body.number("payAmount", line.paid_amount.as_ref());
    if !audit {
        body.number("paymentPrice", line.unit_price.as_ref());
    }
    body.value("quantity", line.quantity.into());
    body.number("shippingPrice", line.shipping_price.as_ref());
    body.number("promotionDiscount", line.promotion_discount.as_ref());
    batch(&mut body, line.batch.as_ref());
    body.winning(&line.vendor_fields)
}

/// The cancellation as Qianyi's body.
pub(super) fn cancel_body(cancel: &CancelOrder) -> Map<String, Value> {
    let mut body = Body::default();
    body.text("onlineOrderNumber", Some(&cancel.order_number));
    body.text("shop", cancel.shop.as_deref());
    body.winning(&cancel.vendor_fields)
}
