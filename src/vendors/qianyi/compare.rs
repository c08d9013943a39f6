//! Whether the document that the vendor holds is the one that was asked for.
//!
//! Compared is the body that was sent with the row that came back, where both hold a value. Phone
//! and e-mail are not: the vendor rewrites and masks them. What a warehouse changes in the course
//! of its work (tracking number, warehouse, logistics) is not either.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{asn, order};
use crate::domain::{
    Command,
    command::{Decimal, PaymentMethod},
};

type Compared = (Vec<String>, Vec<&'static str>);

/// Compares a create with the row; other commands have nothing to compare.
pub(super) fn compare(command: &Command, row: &Value) -> Compared {
    let mut found = Comparison { row, differences: Vec::new(), compared: Vec::new() };
    match command {
        Command::CreateOrder(asked) => {
            let body = Value::Object(order::body(asked));
            found.order(&body, asked.payment_method);
        }
        Command::CreateAsn(asked) => found.asn(&Value::Object(asn::body(asked))),
        Command::CancelOrder(_) | Command::CancelAsn(_) | Command::Call(_) => {}
    }
    (found.differences, found.compared)
}

/// A value's text, unless it is empty or no scalar.
pub(super) fn text(value: Option<&Value>) -> Option<String> {
    let text = match value? {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    (!text.trim().is_empty()).then_some(text)
}

struct Comparison<'a> {
    row: &'a Value,
    differences: Vec<String>,
    compared: Vec<&'static str>,
}

/// Where a document's lines stand, and what is compared of them.
struct Lines {
    list: &'static str,
    quantity: &'static str,
    /// The command's name and the vendor's.
    prices: &'static [(&'static str, &'static str)],
}

impl Comparison<'_> {
    fn order(&mut self, asked: &Value, payment_method: PaymentMethod) {
        self.texts(asked, "shop", "/shop");
        self.texts(asked, "currency", "/currency");
        // Answers may also show OPEN_ACCOUNT, which no create can ask for.
        let found = text(self.row.pointer("/paymentMethod"));
        if found.is_some_and(|found| found == "COD" || found == "PAY_ONLINE") {
            self.texts(asked, "paymentMethod", "/paymentMethod");
        }
        if payment_method == PaymentMethod::Cod {
            self.amounts(asked, "codAmount", "/codPayAmount");
        }
        self.amounts(asked, "freight", "/freight");
        for (field, pointer) in [
            ("recipient.name", "/buyer/receiverName"),
            ("recipient.country", "/buyer/country"),
            ("recipient.province", "/buyer/province"),
            ("recipient.city", "/buyer/city"),
            ("recipient.postCode", "/buyer/postCode"),
            ("recipient.address1", "/buyer/address1"),
            ("recipient.address2", "/buyer/address2"),
        ] {
            self.person(asked, field, pointer);
        }
        // Of two prices the vendor takes `payAmount` and works the other out.
        let prices = &[("paidAmount", "payAmount")];
        self.lines(asked, &Lines { list: "skuList", quantity: "quantity", prices });
    }

    fn asn(&mut self, asked: &Value) {
        self.texts(asked, "warehouse", "/warehouseName");
        self.texts(asked, "currency", "/purchasePriceCurrency");
        let prices = &[("purchasePrice", "purchasePrice")];
        self.lines(asked, &Lines { list: "asnSkuVOList", quantity: "expectQuantity", prices });
    }

    fn both(&self, asked: &Value, pointer: &str) -> Option<(String, String)> {
        Some((text(asked.pointer(pointer))?, text(self.row.pointer(pointer))?))
    }

    fn texts(&mut self, asked: &Value, field: &'static str, pointer: &str) {
        let Some((asked, found)) = self.both(asked, pointer) else { return };
        self.compared.push(field);
        if asked.trim() != found.trim() {
            self.differences.push(format!("{field}: asked \"{asked}\", found \"{found}\""));
        }
    }

    fn amounts(&mut self, asked: &Value, field: &'static str, pointer: &str) {
        let Some((asked, found)) = self.both(asked, pointer) else { return };
        let (Some(a), Some(f)) = (Decimal::parse(&asked), Decimal::parse(&found)) else { return };
        self.compared.push(field);
        if a != f {
            self.differences.push(format!("{field}: asked {asked}, found {found}"));
        }
    }

    /// A person's data is compared without being repeated in the message.
    fn person(&mut self, asked: &Value, field: &'static str, pointer: &str) {
        let Some((asked, found)) = self.both(asked, pointer) else { return };
        if found.contains('*') {
            return; // masked
        }
        let plain = |text: &str| {
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
            // The two names of one country.
            if field == "recipient.country" && text == "gb" { "uk".to_owned() } else { text }
        };
        self.compared.push(field);
        if plain(&asked) != plain(&found) {
            self.differences.push(format!("{field}: found another than was asked"));
        }
    }

    fn lines(&mut self, asked: &Value, lines: &Lines) {
        let (Some(asked), Some(found)) = (by_sku(asked, lines), by_sku(self.row, lines)) else {
            return;
        };
        self.compared.push("lines");
        for (sku, line) in &asked {
            let at = line.first;
            let Some(there) = found.get(sku) else {
                self.differences.push(format!("lines[{at}].sku: asked \"{sku}\", found nothing"));
                continue;
            };
            if line.quantity != there.quantity {
                let (asked, found) = (line.quantity, there.quantity);
                self.differences
                    .push(format!("lines[{at}].quantity: asked {asked}, found {found}"));
            }
            // Several lines of one SKU cannot be told apart by price.
            if line.count > 1 || there.count > 1 {
                continue;
            }
            for ((field, _), prices) in
                lines.prices.iter().zip(line.prices.iter().zip(&there.prices))
            {
                if let (Some(asked), Some(found)) = prices
                    && asked != found
                {
                    let (asked, found) = (asked.plain(), found.plain());
                    self.differences
                        .push(format!("lines[{at}].{field}: asked {asked}, found {found}"));
                }
            }
        }
        for sku in found.keys().filter(|sku| !asked.contains_key(*sku)) {
            self.differences.push(format!("lines: found \"{sku}\", which was not asked for"));
        }
    }
}

/// The lines of one SKU.
struct OfSku {
    first: usize,
    count: usize,
    quantity: i128,
    prices: Vec<Option<Decimal>>,
}

/// A document's lines by SKU; `None` where they cannot be read, and so not be compared.
fn by_sku(document: &Value, lines: &Lines) -> Option<BTreeMap<String, OfSku>> {
    let list = document.get(lines.list)?.as_array()?;
    let mut skus = BTreeMap::<String, OfSku>::new();
    for (i, line) in list.iter().enumerate() {
        let quantity = Decimal::parse(&text(line.get(lines.quantity))?)?;
        let quantity: i128 = quantity.plain().parse().ok()?;
        let price = |vendor_field| text(line.get(vendor_field)).and_then(|t| Decimal::parse(&t));
        let of_sku = skus.entry(text(line.get("sku"))?).or_insert_with(|| OfSku {
            first: i,
            count: 0,
            quantity: 0,
            prices: lines.prices.iter().map(|(_, vendor_field)| price(*vendor_field)).collect(),
        });
        of_sku.count += 1;
        of_sku.quantity += quantity;
    }
    Some(skus)
}
