//! Bodies out: members in the order of the vendor's tables, money as exact numbers.

use jiff::{Timestamp, tz::Offset};
use serde_json::{Map, Number, Value};

use crate::domain::command::{Decimal, VendorFields};

/// A body in the making. What was not given is not written.
#[derive(Default)]
pub(super) struct Body(Map<String, Value>);

impl Body {
    pub(super) fn text(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.value(name, value.into());
        }
    }

    pub(super) fn number(&mut self, name: &str, value: Option<&Decimal>) {
        if let Some(value) = value {
            self.value(name, exact(&value.plain()));
        }
    }

    pub(super) fn value(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    /// The finished body, with the caller's vendor fields as they are: they win.
    pub(super) fn winning(mut self, vendor_fields: &VendorFields) -> Map<String, Value> {
        for (name, value) in vendor_fields {
            self.0.insert(name.clone(), value.clone());
        }
        self.0
    }
}

/// A decimal text as a JSON number with exactly these digits, never through a float.
pub(super) fn exact(text: &str) -> Value {
    text.parse::<Number>().map_or_else(|_| Value::from(text), Value::Number)
}

/// `yyyy-MM-dd HH:mm:ss` in the vendor's zone, +08:00.
pub(super) fn in_china(at: Timestamp) -> String {
    Offset::constant(8).to_datetime(at).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_keeps_its_digits() {
        for (text, written) in [
            ("1.10", "1.1"),
            ("12345678901234.5678", "12345678901234.5678"),
            ("0.0001", "0.0001"),
            ("1e3", "1000"),
            ("-3.50", "-3.5"),
        ] {
            let decimal = Decimal::parse(text).unwrap();
            assert_eq!(exact(&decimal.plain()).to_string(), written);
        }
    }

    #[test]
    fn times_are_chinas() {
        let at = "2025-06-30T16:00:00.999Z".parse().unwrap();
        assert_eq!(in_china(at), "2025-07-01 00:00:00");
    }
}
