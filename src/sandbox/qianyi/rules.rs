//! What the vendor's tables ask of a request.

use serde_json::Value;

use super::envelope::Failure;
use crate::sandbox::stock::Line;

/// The vendor's list of currencies.
const CURRENCIES: [&str; 14] = [
    "PHP", "THB", "VND", "IDR", "MYR", "TWD", "SGD", "AUD", "JPY", "EUR", "GBP", "CAD", "USD",
    "CNY",
];

/// A text member that is not empty.
pub(super) fn text<'a>(body: &'a Value, name: &str) -> Option<&'a str> {
    body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// A text member that must be there, of at most `most` characters.
pub(super) fn needed<'a>(body: &'a Value, name: &str, most: usize) -> Result<&'a str, Failure> {
    let text = text(body, name).ok_or_else(|| Failure::input(format!("{name}不能为空")))?;
    within(name, text, most)?;
    Ok(text)
}

/// A text member that may be missing.
pub(super) fn optional(body: &Value, name: &str, most: usize) -> Result<(), Failure> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(text)) => within(name, text, most),
        Some(_) => Err(Failure::input(format!("{name} must be a text"))),
    }
}

fn within(name: &str, text: &str, most: usize) -> Result<(), Failure> {
    match text.chars().count() <= most {
        true => Ok(()),
        false => Err(Failure::input(format!("{name}长度不能超过{most}"))),
    }
}

/// A number, also as text: the guide's own sample sends quantities and prices so.
pub(super) fn number(body: &Value, name: &str) -> Option<f64> {
    match body.get(name) {
        Some(Value::String(text)) => text.parse().ok(),
        Some(other) => other.as_f64(),
        None => None,
    }
}

fn whole(body: &Value, name: &str) -> Option<i64> {
    match body.get(name) {
        Some(Value::String(text)) => text.parse().ok(),
        Some(other) => other.as_i64(),
        None => None,
    }
}

pub(super) fn currency(body: &Value, name: &str, must: bool) -> Result<(), Failure> {
    match text(body, name) {
        None if must => Err(Failure::input(format!("{name}不能为空"))),
        None => Ok(()),
        Some(code) if CURRENCIES.contains(&code) => Ok(()),
        Some(code) => Err(Failure::input(format!("{name}: {code} is not supported"))),
    }
}

/// The lines of a document.
pub(super) fn lines(body: &Value, list: &str, quantity: &str) -> Result<Vec<Line>, Failure> {
    let lines = body.get(list).and_then(Value::as_array).filter(|lines| !lines.is_empty());
    let lines = lines.ok_or_else(|| Failure::input(format!("{list}不能为空")))?;
    let line = |line: &Value| {
        let sku = needed(line, "sku", 255)?.to_owned();
        let count = whole(line, quantity).filter(|count| (1..=1_000_000_000).contains(count));
        let count = count.ok_or_else(|| Failure::input(format!("{quantity} must be from 1")))?;
        Ok(Line { sku, quantity: count })
    };
    lines.iter().map(line).collect()
}

/// A page: `page` from 1 and `pageSize` up to 200, 100 where it is left out.
pub(super) fn page(body: &Value) -> Result<(usize, usize), Failure> {
    let at = |name: &str, default: i64| match body.get(name) {
        None | Some(Value::Null) => Ok(default),
        Some(_) => {
            whole(body, name).ok_or_else(|| Failure::input(format!("{name} must be a number")))
        }
    };
    let (page, size) = (at("page", 1)?, at("pageSize", 100)?);
    if page < 1 || !(1..=200).contains(&size) {
        return Err(Failure::input("page must be from 1, pageSize from 1 to 200"));
    }
    let wide = |number| usize::try_from(number).unwrap_or(usize::MAX);
    Ok((wide(page), wide(size)))
}

/// The rows of a page and how many there are.
pub(super) fn paged(body: &Value, rows: Vec<Value>) -> Result<(Vec<Value>, usize), Failure> {
    let (page, size) = page(body)?;
    let total = rows.len();
    let rows = rows.into_iter().skip((page - 1).saturating_mul(size)).take(size).collect();
    Ok((rows, total))
}

/// The header, buyer and lines of a sales order (table of `CREATE_SALES_ORDER`).
pub(super) fn sales_order(body: &Value, audited: bool) -> Result<(), Failure> {
    needed(body, "onlineOrderNumber", 50)?;
    match needed(body, "paymentMethod", 50)? {
        "PAY_ONLINE" => {}
        "COD" => {
            number(body, "codPayAmount").ok_or_else(|| Failure::input("codPayAmount不能为空"))?;
        }
        other => return Err(Failure::input(format!("paymentMethod: {other} is not supported"))),
    }
    currency(body, "currency", true)?;
    let paid = needed(body, "payTime", 50)?;
    crate::sandbox::time::home_millis(paid)
        .ok_or_else(|| Failure::input("payTime must be yyyy-MM-dd HH:mm:ss+08:00"))?;
    optional(body, "buyerMessage", 1024)?;
    optional(body, "sellerRemarks", 1024)?;
    buyer(body.get("buyer").unwrap_or(&Value::Null))?;
    for line in body.get("skuList").and_then(Value::as_array).into_iter().flatten() {
        let unit = !audited && number(line, "paymentPrice").is_some();
        if !unit && number(line, "payAmount").is_none() {
            let names = if audited { "payAmount" } else { "payAmount or paymentPrice" };
            return Err(Failure::input(format!("skuList: {names} is required")));
        }
    }
    Ok(())
}

fn buyer(buyer: &Value) -> Result<(), Failure> {
    needed(buyer, "receiverName", 255)?;
    let country = needed(buyer, "country", 2)?;
    // The vendor's list names Britain UK and does not know GB.
    let letters = country.len() == 2 && country.bytes().all(|byte| byte.is_ascii_uppercase());
    if !letters || country == "GB" {
        return Err(Failure::input(format!("country: {country} is not supported")));
    }
    for (name, most) in [("province", 100), ("city", 50), ("postCode", 50), ("address1", 255)] {
        needed(buyer, name, most)?;
    }
    let others = [
        ("buyerId", 255),
        ("phone", 50),
        ("email", 255),
        ("district", 50),
        ("address2", 255),
        ("houseNumber", 50),
    ];
    others.iter().try_for_each(|(name, most)| optional(buyer, name, *most))
}
