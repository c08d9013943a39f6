//! The five pushes as Avro records, field for field as in `schemas/wms.qianyi.*.avsc`.
//!
//! The order of the fields is the schemas'. Every field of the vendor is nullable: its samples
//! leave documented ones out.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::reader::{Reader, Time};
use crate::domain::{AccountName, Event, EventId, EventType, Record, Unrecognized, avro_fields};

/// The documented pushes (Qianyi, Webhook 1.1–1.4, and the outbound order's).
pub const EVENT_TYPES: &[EventType] = &[
    EventType { name: "PUSH_ASN_ORDER", topic: "asn", record: "wms.qianyi.Asn" },
    EventType {
        name: "PUSH_SALES_ORDER_SHIPPING_INFO",
        topic: "sales-order-shipping",
        record: "wms.qianyi.SalesOrderShipping",
    },
    EventType {
        name: "PUSH_RETURN_ORDER_INFO",
        topic: "return-order",
        record: "wms.qianyi.ReturnOrder",
    },
    EventType {
        name: "PUSH_TRACKING_PACKAGE",
        topic: "tracking-package",
        record: "wms.qianyi.TrackingPackage",
    },
    EventType { name: "PUSH_ODO_ORDER", topic: "odo", record: "wms.qianyi.Odo" },
];

/// What a record says beside the vendor's own fields.
pub(super) struct Envelope {
    pub(super) id: EventId,
    pub(super) account: AccountName,
    pub(super) sent_at: Option<Timestamp>,
    pub(super) received_at: Timestamp,
}

type Extra = BTreeMap<String, String>;

/// The first four fields of every record.
macro_rules! record {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty,)* }) => {
        avro_fields! {
            $(#[$doc])*
            struct $name {
                event_id: String,
                account: String,
                sent_at: Option<i64>,
                received_at: i64,
                $($field: $type,)*
                extra: Extra,
            }
        }
    };
}

record! {
    /// `PUSH_ASN_ORDER`.
    Asn {
        asn_number: Option<String>,
        custom_number: Option<String>,
        track_number: Option<String>,
        status: Option<String>,
        finished_time: Option<i64>,
        finished_time_local: Option<i64>,
        sku_list: Vec<AsnLine>,
        sn_info: Option<String>,
    }
}

avro_fields! {
    struct AsnLine {
        sku: Option<String>,
        quantity: Option<i64>,
        good_num: Option<i64>,
        damage_num: Option<i64>,
        batch_no: Option<String>,
        mfg_date: Option<String>,
        exp_date: Option<String>,
        origin_country: Option<String>,
        barcode: Option<String>,
        api_custom: Option<String>,
        sku_notes: Option<String>,
        extra: Extra,
    }
}

record! {
    /// `PUSH_SALES_ORDER_SHIPPING_INFO`.
    SalesOrderShipping {
        order_number: Option<String>,
        online_order_number: Option<String>,
        tracking_number: Option<String>,
        carrier: Option<String>,
        shipping_time: Option<i64>,
        shipping_time_local: Option<i64>,
        status: Option<String>,
    }
}

record! {
    /// `PUSH_RETURN_ORDER_INFO`.
    ReturnOrder {
        return_number: Option<String>,
        order_number: Option<String>,
        online_order_number: Option<String>,
        status: Option<String>,
        return_sku_list: Vec<ReturnOrderLine>,
    }
}

avro_fields! {
    struct ReturnOrderLine {
        sku: Option<String>,
        order_sku_id: Option<String>,
        quantity: Option<i64>,
        extra: Extra,
    }
}

record! {
    /// `PUSH_TRACKING_PACKAGE`.
    TrackingPackage {
        order_number: Option<String>,
        online_order_id: Option<String>,
        tracking_number: Option<String>,
        carrier: Option<String>,
        status: Option<String>,
    }
}

record! {
    /// `PUSH_ODO_ORDER`.
    Odo {
        number: Option<String>,
        custom_number: Option<String>,
        track_number: Option<String>,
        warehouse_name: Option<String>,
        r#type: Option<String>,
        status: Option<String>,
        shipping_time: Option<i64>,
        shipping_time_local: Option<i64>,
        carrier: Option<String>,
        sku_list: Vec<OdoLine>,
    }
}

avro_fields! {
    struct OdoLine {
        sku: Option<String>,
        title: Option<String>,
        quantity: Option<i64>,
        unavailable_quantity: Option<i64>,
        api_custom: Option<String>,
        extra: Extra,
    }
}

/// Builds one record: the envelope, the fields as read, the rest as `extra`.
macro_rules! read {
    ($name:ident, $envelope:expr, $from:ident, { $($field:ident: $value:expr,)* }) => {{
        $(let $field = $value;)*
        $name {
            event_id: $envelope.id.as_str().to_owned(),
            account: $envelope.account.as_str().to_owned(),
            sent_at: $envelope.sent_at.map(Timestamp::as_millisecond),
            received_at: $envelope.received_at.as_millisecond(),
            $($field,)*
            extra: $from.extra(),
        }
    }};
}

/// Reads the content of a push into its type's record.
pub(super) fn read(
    event_type: &'static EventType,
    envelope: Envelope,
    from: Reader<'_>,
) -> Result<Event, Unrecognized> {
    match event_type.record {
        "wms.qianyi.Asn" => asn(event_type, envelope, from),
        "wms.qianyi.SalesOrderShipping" => sales_order_shipping(event_type, envelope, from),
        "wms.qianyi.ReturnOrder" => return_order(event_type, envelope, from),
        "wms.qianyi.TrackingPackage" => tracking_package(event_type, envelope, from),
        "wms.qianyi.Odo" => odo(event_type, envelope, from),
        _ => Err(Unrecognized::UnknownType),
    }
}

fn asn(t: &'static EventType, e: Envelope, mut from: Reader<'_>) -> Result<Event, Unrecognized> {
    let Time { instant, local } = from.time("finishedTime");
    let record = read!(Asn, e, from, {
        asn_number: from.text("asnNumber"),
        custom_number: from.text("customNumber"),
        track_number: from.text("trackNumber"),
        status: from.text("status"),
        finished_time: instant,
        finished_time_local: local,
        sku_list: from.objects("skuList", asn_line)?,
        sn_info: from.json("snInfo"),
    });
    let number =
        number(["asnNumber", "customNumber"], [&record.asn_number, &record.custom_number])?;
    Ok(event(t, e, number, record))
}

fn asn_line(mut from: Reader<'_>) -> Result<AsnLine, Unrecognized> {
    Ok(AsnLine {
        sku: from.text("sku"),
        quantity: from.long("quantity"),
        good_num: from.long("goodNum"),
        damage_num: from.long("damageNum"),
        batch_no: from.text("batchNo"),
        mfg_date: from.text("mfgDate"),
        exp_date: from.text("expDate"),
        origin_country: from.text("originCountry"),
        barcode: from.text("barcode"),
        api_custom: from.text("apiCustom"),
        sku_notes: from.text("skuNotes"),
        extra: from.extra(),
    })
}

fn sales_order_shipping(
    t: &'static EventType,
    e: Envelope,
    mut from: Reader<'_>,
) -> Result<Event, Unrecognized> {
    let Time { instant, local } = from.time("shippingTime");
    let record = read!(SalesOrderShipping, e, from, {
        order_number: from.text("orderNumber"),
        online_order_number: from.text("onlineOrderNumber"),
        tracking_number: from.text("trackingNumber"),
        carrier: from.text("carrier"),
        shipping_time: instant,
        shipping_time_local: local,
        status: from.text("status"),
    });
    let number = number(
        ["orderNumber", "onlineOrderNumber"],
        [&record.order_number, &record.online_order_number],
    )?;
    Ok(event(t, e, number, record))
}

fn return_order(
    t: &'static EventType,
    e: Envelope,
    mut from: Reader<'_>,
) -> Result<Event, Unrecognized> {
    let record = read!(ReturnOrder, e, from, {
        return_number: from.text("returnNumber"),
        order_number: from.text("orderNumber"),
        online_order_number: from.text("onlineOrderNumber"),
        status: from.text("status"),
        return_sku_list: from.objects("returnSkuList", return_line)?,
    });
    let number = number(
        ["returnNumber", "orderNumber", "onlineOrderNumber"],
        [&record.return_number, &record.order_number, &record.online_order_number],
    )?;
    Ok(event(t, e, number, record))
}

fn return_line(mut from: Reader<'_>) -> Result<ReturnOrderLine, Unrecognized> {
    Ok(ReturnOrderLine {
        sku: from.text("sku"),
        order_sku_id: from.text("orderSkuId"),
        quantity: from.long("quantity"),
        extra: from.extra(),
    })
}

fn tracking_package(
    t: &'static EventType,
    e: Envelope,
    mut from: Reader<'_>,
) -> Result<Event, Unrecognized> {
    let record = read!(TrackingPackage, e, from, {
        order_number: from.text("orderNumber"),
        online_order_id: from.text("onlineOrderId"),
        tracking_number: from.text("trackingNumber"),
        carrier: from.text("carrier"),
        status: from.text("status"),
    });
    let number =
        number(["orderNumber", "onlineOrderId"], [&record.order_number, &record.online_order_id])?;
    Ok(event(t, e, number, record))
}

fn odo(t: &'static EventType, e: Envelope, mut from: Reader<'_>) -> Result<Event, Unrecognized> {
    let Time { instant, local } = from.time("shippingTime");
    let record = read!(Odo, e, from, {
        number: from.text("number"),
        custom_number: from.text("customNumber"),
        track_number: from.text("trackNumber"),
        warehouse_name: from.text("warehouseName"),
        r#type: from.text("type"),
        status: from.text("status"),
        shipping_time: instant,
        shipping_time_local: local,
        carrier: from.text("carrier"),
        sku_list: from.objects("skuList", odo_line)?,
    });
    let number = number(["number", "customNumber"], [&record.number, &record.custom_number])?;
    Ok(event(t, e, number, record))
}

fn odo_line(mut from: Reader<'_>) -> Result<OdoLine, Unrecognized> {
    Ok(OdoLine {
        sku: from.text("sku"),
        title: from.text("title"),
        quantity: from.long("quantity"),
        unavailable_quantity: from.long("unavailableQuantity"),
        api_custom: from.text("apiCustom"),
        extra: from.extra(),
    })
}

/// The record key: the document's own number, else the customer's. A push with neither is no
/// push of this type: nobody could tell what it is about.
fn number<const N: usize>(
    names: [&str; N],
    numbers: [&Option<String>; N],
) -> Result<String, Unrecognized> {
    numbers
        .into_iter()
        .flatten()
        .find(|number| !number.is_empty())
        .cloned()
        .ok_or_else(|| Unrecognized::Undecodable(format!("none of {} is given", names.join(", "))))
}

fn event(
    event_type: &'static EventType,
    envelope: Envelope,
    document_number: String,
    record: impl Record + 'static,
) -> Event {
    Event {
        event_type,
        id: envelope.id,
        account: envelope.account,
        user_id: None,
        document_number: Some(document_number),
        sent_at: envelope.sent_at,
        received_at: envelope.received_at,
        record: Box::new(record),
    }
}
