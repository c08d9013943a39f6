//! What the vendor's documents say it will refuse, refused before the call, by the field's path.

use crate::domain::{Invalid, command::VendorFields, is_country};

/// The currencies of the vendor's table (Qianyi, 枚举, 币种): no HKD, no KRW.
const CURRENCIES: [&str; 14] = [
    "PHP", "THB", "VND", "IDR", "MYR", "TWD", "SGD", "AUD", "JPY", "EUR", "GBP", "CAD", "USD",
    "CNY",
];

/// Checks the fields of one object of a command.
pub(super) struct Check<'a> {
    /// Vendor fields that win over the command's own: what they hold is the caller's affair.
    pub(super) wins: &'a VendorFields,
}

impl Check<'_> {
    /// A field the vendor requires, with its greatest length in characters.
    pub(super) fn required(
        &self,
        field: &str,
        vendor_field: &str,
        value: Option<&str>,
        max: usize,
    ) -> Result<(), Invalid> {
        if self.wins.contains_key(vendor_field) {
            return Ok(());
        }
        if value.is_none_or(|value| value.trim().is_empty()) {
            return Err(missing(field, vendor_field));
        }
        self.at_most(field, vendor_field, value, max)
    }

    /// A field with a greatest length in characters.
    pub(super) fn at_most(
        &self,
        field: &str,
        vendor_field: &str,
        value: Option<&str>,
        max: usize,
    ) -> Result<(), Invalid> {
        let length = value.map_or(0, |value| value.chars().count());
        if length <= max || self.wins.contains_key(vendor_field) {
            return Ok(());
        }
        Err(Invalid::field(
            field,
            format!("`{field}` has {length} characters, Qianyi takes at most {max}: shorten it"),
        ))
    }

    /// A currency of the vendor's table.
    pub(super) fn currency(
        &self,
        field: &str,
        vendor_field: &str,
        value: Option<&str>,
    ) -> Result<(), Invalid> {
        self.one_of(field, vendor_field, value, &CURRENCIES)
    }

    /// One of a table's values.
    pub(super) fn one_of(
        &self,
        field: &str,
        vendor_field: &str,
        value: Option<&str>,
        table: &[&str],
    ) -> Result<(), Invalid> {
        match value {
            Some(value) if !table.contains(&value) && !self.wins.contains_key(vendor_field) => {
                Err(Invalid::field(
                    field,
                    format!("`{field}` is not one of Qianyi's: use {}", table.join(", ")),
                ))
            }
            _ => Ok(()),
        }
    }
}

/// A required field that is not there.
pub(super) fn missing(field: &str, vendor_field: &str) -> Invalid {
    Invalid::field(field, format!("`{field}` is missing: Qianyi requires it (`{vendor_field}`)"))
}

/// A field that the vendor has no place for and that changes the shipment or the money.
pub(super) fn no_place(field: &str, set: bool) -> Result<(), Invalid> {
    if !set {
        return Ok(());
    }
    Err(Invalid::field(field, format!("Qianyi has no place for `{field}`: leave it out")))
}

/// A quantity of at least one.
pub(super) fn at_least_one(field: impl Into<String>, quantity: i64) -> Result<(), Invalid> {
    if quantity >= 1 {
        return Ok(());
    }
    let field = field.into();
    let message = format!("`{field}` is {quantity}: give at least 1");
    Err(Invalid::field(field, message))
}

/// A country of ISO 3166-1 alpha-2.
pub(super) fn country(field: &str, value: &str) -> Result<(), Invalid> {
    if is_country(value) {
        return Ok(());
    }
    Err(Invalid::field(
        field,
        format!("`{field}` is no country code of ISO 3166-1 alpha-2: use two capitals, such as GB"),
    ))
}

/// Whether a text was given.
pub(super) fn set(value: &Option<String>) -> bool {
    value.as_deref().is_some_and(|value| !value.is_empty())
}
