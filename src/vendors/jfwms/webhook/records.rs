//! The ten types as records, field for field as in `schemas/wms.jfwms.*.avsc`.

use jiff::Timestamp;

use super::{
    super::Jfwms,
    EVENT_TYPES, event_id,
    fields::{Extra, Fields, Names, Place},
};
use crate::domain::{
    Event, Record, Unrecognized, Verified, Webhook, avro_fields,
    json::{Kind, Tape, Value},
};
use crate::vendors::{OwnerOf, bounds};

/// What every record begins with.
struct Head {
    event_id: String,
    account: String,
    sent_at: Option<i64>,
    received_at: i64,
    user_id: Option<String>,
}

avro_fields! {
    struct StockLine {
        sku: String,
        total: i64,
        available: i64,
        locked: i64,
        non_good: i64,
        total_change: Option<i64>,
        available_change: Option<i64>,
        locked_change: Option<i64>,
        non_good_change: Option<i64>,
        extra: Extra,
    }

    struct StorageLine {
        sku: String,
        sku_code: Option<String>,
        num: i64,
        bad_num: Option<i64>,
        this_time_num: Option<i64>,
        extra: Extra,
    }

    struct ReturnLine {
        sku: String,
        num: i64,
        bad_num: Option<i64>,
        extra: Extra,
    }
}

/// Declares a record: the head, then the fields of its type, then `extra`.
macro_rules! records {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty,)* })*) => {$(
        avro_fields! {
            $(#[$doc])*
            struct $name {
                event_id: String,
                account: String,
                sent_at: Option<i64>,
                received_at: i64,
                user_id: Option<String>,
                $($field: $type,)*
                extra: Extra,
            }
        }

        impl $name {
            #[allow(clippy::too_many_arguments, reason = "called by the readers below alone, in the order of the schema")]
            fn boxed(head: Head, $($field: $type,)* extra: Extra) -> Box<dyn Record> {
                let Head { event_id, account, sent_at, received_at, user_id } = head;
                Box::new(Self { event_id, account, sent_at, received_at, user_id, $($field,)* extra })
            }
        }
    )*};
}

records! {
    Order {
        erp_no: Option<String>,
        warehouse_code: Option<String>,
        status: Option<String>,
        sku_list: Vec<StockLine>,
    }
    Storage {
        erp_no: Option<String>,
        warehouse_code: Option<String>,
        putaway_no: Option<String>,
        finish_time: Option<i64>,
        status: Option<String>,
        sku_list: Vec<StorageLine>,
    }
    Return {
        erp_no: Option<String>,
        warehouse_code: Option<String>,
        status: Option<String>,
        finish_time: Option<i64>,
        sku_list: Vec<ReturnLine>,
    }
    OrderIntercept {
        erp_no: Option<String>,
        status: Option<String>,
    }
    /// `inventoryCount`, `adjust`, `move`, `orderCreate`, `orderCancel` and `convert` have one
    /// shape.
    StockDocument {
        document_no: Option<String>,
        warehouse_code: Option<String>,
        finish_time: Option<i64>,
        sku_list: Vec<StockLine>,
    }
}

/// Reads `data` and what is left of the frame.
type Read = fn(Head, Fields<'_>, Fields<'_>) -> Result<Box<dyn Record>, Unrecognized>;

// What each reader below asks for, in that order; everything else is `extra`.
const FRAME: Names = &["type", "timestamp", "data"];
const FRAME_OF_RETURN: Names = &["type", "timestamp", "data", "finishTime"];
const ORDER: Names = &["userId", "erpNo", "warehouseCode", "status", "skuList"];
const STORAGE: Names =
    &["userId", "erpNo", "warehouseCode", "putawayNo", "finishTime", "status", "skuList"];
const RETURN: Names = &["userId", "erpNo", "warehouseCode", "status", "skuList"];
const ORDER_INTERCEPT: Names = &["userId", "erpNo", "status"];
const STOCK_DOCUMENT: Names = &["userId", "documentNo", "warehouseCode", "finishTime", "skuList"];
const STORAGE_LINE: Names = &["sku", "skuCode", "num", "badNum", "thisTimeNum"];
const RETURN_LINE: Names = &["sku", "num", "badNum"];
const STOCK_LINE: Names = &[
    "sku",
    "total",
    "available",
    "locked",
    "nonGood",
    "totalChange",
    "availableChange",
    "lockedChange",
    "nonGoodChange",
];

/// Reads a verified webhook into the record of its type.
pub(in super::super) fn decode(
    vendor: &Jfwms,
    webhook: &Webhook<Verified>,
    owner: OwnerOf<'_>,
) -> Result<Event, Unrecognized> {
    let state = webhook.state();
    let event_type = EVENT_TYPES
        .iter()
        .find(|event_type| event_type.name == state.type_name)
        .ok_or(Unrecognized::UnknownType)?;
    bounds::check(&[&webhook.received().body])?;

    let (frame_names, names, read): (Names, Names, Read) = match event_type.name {
        "order" => (FRAME, ORDER, order),
        "storage" => (FRAME, STORAGE, storage),
        "return" => (FRAME_OF_RETURN, RETURN, returned),
        "orderIntercept" => (FRAME, ORDER_INTERCEPT, order_intercept),
        "inventoryCount" | "adjust" | "move" | "orderCreate" | "orderCancel" | "convert" => {
            (FRAME, STOCK_DOCUMENT, stock_document)
        }
        _ => return Err(Unrecognized::UnknownType),
    };
    // The frame was read once, when it was verified, and always is an object with one `data`.
    let empty = || Unrecognized::Undecodable("the frame: expected an object".to_owned());
    let members = webhook.json().and_then(Value::members).ok_or_else(empty)?;
    let frame_members = members.clone();
    let mut frame = Fields::new(Place::Frame, frame_names, members);
    frame.drop_where(|name, value| vendor.is_sign_name(name) && value.kind() == Kind::Text);
    frame.take("type");
    let sent_at = sent_at(&mut frame);
    let data = frame.take("data").ok_or_else(empty)?;
    let inner = embedded(data)?;
    let data = inner.as_ref().map_or(data, |(text, tape)| tape.root(text));
    let members = data.members().ok_or_else(|| {
        let found = data.kind().name();
        Unrecognized::Undecodable(format!("data: expected an object, found {found}"))
    })?;
    let mut data = Fields::new(Place::Data, names, members);
    let document_number = number(&data, "erpNo").or_else(|| number(&data, "documentNo"));
    if document_number.is_none() && !has_lines(&data) && number(&data, "putawayNo").is_none() {
        // A vendor that nests its data a level deeper must not become a row of empty events.
        return Err(Unrecognized::Undecodable(
            "data: neither a document's number nor a line is in it".to_owned(),
        ));
    }
    let user_id = data.text("userId");
    // Two sellers' stock is never mixed: a user that nobody configured is nobody's.
    let account = owner(user_id.as_deref()).ok_or(Unrecognized::UnknownUser)?;

    let received = webhook.received();
    // Of whoever it is, at whichever account's URL it came; mostly that account's own.
    let id = if account == received.account {
        state.event_id.clone()
    } else {
        event_id(&account, &state.type_name, frame_members)
    };
    let head = Head {
        event_id: id.as_str().to_owned(),
        account: account.as_str().to_owned(),
        sent_at: sent_at.map(Timestamp::as_millisecond),
        received_at: received.received_at.as_millisecond(),
        user_id: user_id.clone(),
    };
    Ok(Event {
        event_type,
        id,
        account,
        user_id,
        document_number,
        sent_at,
        received_at: received.received_at,
        record: read(head, data, frame)?,
    })
}

/// `data` that is a JSON text: what stands in it. The signature covers the text either way.
fn embedded(data: Value<'_>) -> Result<Option<(String, Tape)>, Unrecognized> {
    let Some(text) = data.text() else { return Ok(None) };
    let undecodable = |_| Unrecognized::Undecodable("data: a text that is not JSON".to_owned());
    bounds::check(&[text.as_bytes()])?;
    let tape = Tape::of(&text).map_err(undecodable)?;
    Ok(Some((text.into_owned(), tape)))
}

/// Whether a list has a line.
fn has_lines(data: &Fields<'_>) -> bool {
    let lines = data.peek("skuList").and_then(Value::elements);
    lines.is_some_and(|mut lines| lines.next().is_some())
}

/// The document's number, wherever the type of webhook has it; an empty one is none.
fn number(data: &Fields<'_>, name: &str) -> Option<String> {
    let text = data.peek(name).and_then(Value::text_or_number)?;
    Some(text.into_owned()).filter(|text| !text.trim().is_empty())
}

/// `timestamp`, seconds or milliseconds: the guide shows a placeholder and no unit. Seconds reach
/// this size in the year 5138, milliseconds had it in 1973.
const FIRST_MILLISECONDS: i64 = 100_000_000_000;

fn sent_at(frame: &mut Fields<'_>) -> Option<Timestamp> {
    let value = frame.take("timestamp").filter(|value| value.kind() != Kind::Null)?;
    let read = |text: &str| {
        let number: i64 = text.trim().parse().ok().filter(|number| *number >= 0)?;
        let milliseconds =
            if number >= FIRST_MILLISECONDS { number } else { number.checked_mul(1000)? };
        Timestamp::from_millisecond(milliseconds).ok()
    };
    let time = value.text_or_number().and_then(|text| read(&text));
    if time.is_none() {
        frame.keep("timestamp", value);
    }
    time
}

fn order(
    head: Head,
    mut data: Fields<'_>,
    frame: Fields<'_>,
) -> Result<Box<dyn Record>, Unrecognized> {
    let erp_no = data.text("erpNo");
    let warehouse_code = data.text("warehouseCode");
    let status = data.status();
    let lines = data.lines("skuList", STOCK_LINE, stock_line)?;
    Ok(Order::boxed(head, erp_no, warehouse_code, status, lines, data.extra_with_frame(frame)))
}

fn storage(
    head: Head,
    mut data: Fields<'_>,
    frame: Fields<'_>,
) -> Result<Box<dyn Record>, Unrecognized> {
    let erp_no = data.text("erpNo");
    let warehouse_code = data.text("warehouseCode");
    let putaway_no = data.text("putawayNo");
    let finish_time = data.local_time("finishTime");
    let status = data.status();
    let lines = data.lines("skuList", STORAGE_LINE, |line| {
        Ok(StorageLine {
            sku: line.required_text("sku")?,
            sku_code: line.text("skuCode"),
            num: line.required_long("num")?,
            bad_num: line.long("badNum"),
            this_time_num: line.long("thisTimeNum"),
            extra: line.extra(),
        })
    })?;
    let extra = data.extra_with_frame(frame);
    Ok(Storage::boxed(head, erp_no, warehouse_code, putaway_no, finish_time, status, lines, extra))
}

fn returned(
    head: Head,
    mut data: Fields<'_>,
    mut frame: Fields<'_>,
) -> Result<Box<dyn Record>, Unrecognized> {
    let erp_no = data.text("erpNo");
    let warehouse_code = data.text("warehouseCode");
    let status = data.status();
    let lines = data.lines("skuList", RETURN_LINE, |line| {
        Ok(ReturnLine {
            sku: line.required_text("sku")?,
            num: line.required_long("num")?,
            bad_num: line.long("badNum"),
            extra: line.extra(),
        })
    })?;
    // The guide has it beside `data`, where the signature does not reach: whatever stands there
    // must not make an authentic return undecodable.
    let finish_time = frame.local_time("finishTime");
    let extra = data.extra_with_frame(frame);
    Ok(Return::boxed(head, erp_no, warehouse_code, status, finish_time, lines, extra))
}

fn order_intercept(
    head: Head,
    mut data: Fields<'_>,
    frame: Fields<'_>,
) -> Result<Box<dyn Record>, Unrecognized> {
    let erp_no = data.text("erpNo");
    let status = data.status();
    Ok(OrderIntercept::boxed(head, erp_no, status, data.extra_with_frame(frame)))
}

fn stock_document(
    head: Head,
    mut data: Fields<'_>,
    frame: Fields<'_>,
) -> Result<Box<dyn Record>, Unrecognized> {
    let document_no = data.text("documentNo");
    let warehouse_code = data.text("warehouseCode");
    let finish_time = data.local_time("finishTime");
    let lines = data.lines("skuList", STOCK_LINE, stock_line)?;
    let extra = data.extra_with_frame(frame);
    Ok(StockDocument::boxed(head, document_no, warehouse_code, finish_time, lines, extra))
}

fn stock_line(line: &mut Fields<'_>) -> Result<StockLine, Unrecognized> {
    Ok(StockLine {
        sku: line.required_text("sku")?,
        total: line.required_long("total")?,
        available: line.required_long("available")?,
        locked: line.required_long("locked")?,
        non_good: line.required_long("nonGood")?,
        total_change: line.long("totalChange"),
        available_change: line.long("availableChange"),
        locked_change: line.long("lockedChange"),
        non_good_change: line.long("nonGoodChange"),
        extra: line.extra(),
    })
}
