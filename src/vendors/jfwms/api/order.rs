//! `CreateOrder` → `/api/order/create`.

use serde_json::{Map, Value};

use super::{Checks, merge, number, set};
use crate::domain::{
    Faults,
    command::{CreateOrder, LogisticsKind, OrderLine, PaymentMethod},
};

/// Checks an order against the guide's errors 50000 to 50024 and the fields of COMMANDS.
pub(super) fn check(order: &CreateOrder) -> Result<Vec<String>, Faults> {
    let mut checks = Checks::new(&order.vendor_fields);
    let recipient = &order.recipient;
    let logistics = order.logistics.as_ref();
    let name = logistics.and_then(|logistics| logistics.name.as_deref());
    let tracking_number = logistics.and_then(|logistics| logistics.tracking_number.as_deref());
    let label_url = logistics.and_then(|logistics| logistics.label_url.as_deref());

    checks.number("orderNumber", &order.order_number);
    checks.required("platform", "platform", order.platform.as_deref());
    checks.required("warehouse", "warehouse", order.warehouse.as_deref());
    checks.country("recipientCountry", "recipient.country", &recipient.country);
    if logistics.and_then(|logistics| logistics.kind) == Some(LogisticsKind::Offline) {
        checks.required("buyerName", "recipient.name", recipient.name.as_deref());
    }
    for (vendor_name, path, value, limit) in [
        ("erpNo", "orderNumber", Some(order.order_number.as_str()), 100),
        ("platformOrderNo", "platformOrderNumber", order.platform_order_number.as_deref(), 100),
        ("buyerName", "recipient.name", recipient.name.as_deref(), 100),
        ("buyerPhone", "recipient.phone", recipient.phone.as_deref(), 100),
        ("recipientProvince", "recipient.province", recipient.province.as_deref(), 100),
        ("recipientCity", "recipient.city", recipient.city.as_deref(), 100),
        ("zipCode", "recipient.postCode", recipient.post_code.as_deref(), 100),
        ("recipientAddress", "recipient.address1", recipient.address1.as_deref(), 300),
        ("logisticsName", "logistics.name", name, 100),
        ("trackingNo", "logistics.trackingNumber", tracking_number, 100),
        ("labelUrl", "logistics.labelUrl", label_url, 2048),
    ] {
        checks.limit(vendor_name, path, value, limit);
    }

    checks.no_place("audit", order.audit);
    checks.no_place("recipient.houseNumber", recipient.house_number.is_some());
    checks.no_place("logistics.label", logistics.is_some_and(|l| l.label.is_some()));
    checks.no_place("document", order.document.is_some());
    checks.no_place("paymentMethod", order.payment_method != PaymentMethod::default());
    checks.no_place("codAmount", order.cod_amount.is_some());
    checks.informs("recipient.buyerId", recipient.buyer_id.is_some());
    checks.informs("freight", order.freight.is_some());
    checks.informs("paidAt", order.paid_at.is_some());
    checks.informs("buyerNote", order.buyer_note.is_some());

    if order.lines.is_empty() {
        checks.empty("lines");
    }
    for (i, line) in order.lines.iter().enumerate() {
        checks.line(&format!("lines[{i}]"), &line.sku, line.quantity);
        checks.no_place(format!("lines[{i}].batch"), line.batch.is_some());
        checks.informs(format!("lines[{i}].paidAmount"), line.paid_amount.is_some());
        checks.informs(format!("lines[{i}].shippingPrice"), line.shipping_price.is_some());
        checks.informs(format!("lines[{i}].promotionDiscount"), line.promotion_discount.is_some());
    }
    checks.done()
}

/// The body of `/api/order/create`.
pub(super) fn body(order: &CreateOrder) -> Map<String, Value> {
    let recipient = &order.recipient;
    let mut body = Map::new();
    set(&mut body, "warehouse", order.warehouse.as_deref());
    set(&mut body, "erpNo", Some(order.order_number.as_str()));
    set(&mut body, "platform", order.platform.as_deref());
    set(&mut body, "platformOrderNo", order.platform_order_number.as_deref());
    set(&mut body, "shopName", order.shop.as_deref());
    set(&mut body, "buyerName", recipient.name.as_deref());
    set(&mut body, "buyerPhone", recipient.phone.as_deref());
    set(&mut body, "recipientEmail", recipient.email.as_deref());
    set(&mut body, "recipientCountry", Some(recipient.country.as_str()));
    set(&mut body, "recipientProvince", recipient.province.as_deref());
    set(&mut body, "recipientCity", recipient.city.as_deref());
    set(&mut body, "recipientArea", recipient.district.as_deref());
    set(&mut body, "zipCode", recipient.post_code.as_deref());
    set(&mut body, "recipientAddress", recipient.address1.as_deref());
    set(&mut body, "recipientAddress2", recipient.address2.as_deref());
    set(&mut body, "taxId", recipient.tax_id.as_deref());
    if let Some(logistics) = &order.logistics {
        set(&mut body, "type", logistics.kind.map(kind));
        set(&mut body, "logisticsId", logistics.id);
        set(&mut body, "logisticsName", logistics.name.as_deref());
        set(&mut body, "trackingNo", logistics.tracking_number.as_deref());
        set(&mut body, "labelUrl", logistics.label_url.as_deref());
    }
    set(&mut body, "currency", order.currency.as_deref());
    set(&mut body, "amount", order.amount.as_ref().map(number));
    set(&mut body, "note", order.seller_note.as_deref());
    set(&mut body, "pickingNote", order.picking_note.as_deref());
    set(&mut body, "skuList", Some(order.lines.iter().map(line).collect::<Vec<_>>()));
    merge(&mut body, &order.vendor_fields);
    body
}

/// `type`: 1 the platform's logistics, 2 the seller's own.
fn kind(kind: LogisticsKind) -> i64 {
    match kind {
        LogisticsKind::Platform => 1,
        LogisticsKind::Offline => 2,
    }
}

fn line(line: &OrderLine) -> Value {
    let mut body = Map::new();
    set(&mut body, "sku", Some(line.sku.as_str()));
    set(&mut body, "num", Some(line.quantity));
    set(&mut body, "unitPrice", line.unit_price.as_ref().map(number));
    if let Some(customs) = &line.customs {
        set(&mut body, "hsCode", customs.hs_code.as_deref());
        set(&mut body, "itemNameCn", customs.name_zh.as_deref());
        set(&mut body, "itemNameEn", customs.name_en.as_deref());
    }
    merge(&mut body, &line.vendor_fields);
    Value::Object(body)
}
