//! What is refused without a call, because the vendor's documents say that it would be, or
//! because it would be lost in silence.

use serde_json::Value;

use crate::domain::{Faults, Findings, Invalid, command::VendorFields, is_country};

/// The checks of one command, with what they found to be of no use here.
pub(super) struct Checks<'a> {
    vendor_fields: &'a VendorFields,
    findings: Findings,
    ignored: Vec<String>,
}

impl<'a> Checks<'a> {
    pub(super) fn new(vendor_fields: &'a VendorFields) -> Self {
        Self { vendor_fields, findings: Findings::default(), ignored: Vec::new() }
    }

    /// The paths of the fields that only inform, if nothing is wrong.
    pub(super) fn done(self) -> Result<Vec<String>, Faults> {
        self.findings.or(self.ignored)
    }

    pub(super) fn wrong(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.findings.add(Invalid::field(path, message));
    }

    /// A required field without a value.
    pub(super) fn empty(&mut self, path: &str) {
        self.wrong(path, format!("`{path}` is missing or empty: JFWMS requires it"));
    }

    /// Whether a vendor field takes the place of the mapped one, which then is not sent.
    fn overridden(&self, vendor_name: &str) -> bool {
        self.vendor_fields.get(vendor_name).is_some_and(|value| !value.is_null())
    }

    /// The document's number: there, and not another one in `vendorFields`. By this number the
    /// document is looked up; under a second one it could be created twice.
    pub(super) fn number(&mut self, path: &str, number: &str) {
        if number.trim().is_empty() {
            self.empty(path);
        }
        match self.vendor_fields.get("erpNo") {
            None => {}
            Some(Value::String(text)) if text == number => {}
            Some(_) => self.wrong(
                "vendorFields.erpNo",
                format!(
                    "`vendorFields.erpNo` differs from `{path}`: give the number in `{path}` alone"
                ),
            ),
        }
    }

    /// A field that the vendor requires.
    pub(super) fn required(&mut self, vendor_name: &str, path: &str, value: Option<&str>) {
        let given = value.is_some_and(|value| !value.trim().is_empty());
        if !given && !self.overridden(vendor_name) {
            self.empty(path);
        }
    }

    /// The vendor's limit, in characters.
    pub(super) fn limit(
        &mut self,
        vendor_name: &str,
        path: &str,
        value: Option<&str>,
        limit: usize,
    ) {
        let length = value.map_or(0, |value| value.chars().count());
        if length > limit && !self.overridden(vendor_name) {
            let message = format!("`{path}` has {length} characters: JFWMS takes at most {limit}");
            self.wrong(path, message);
        }
    }

    /// A two-letter country code (JFWMS guide, 50007).
    pub(super) fn country(&mut self, vendor_name: &str, path: &str, code: &str) {
        if !is_country(code) && !self.overridden(vendor_name) {
            let message = format!(
                "`{path}` is no country code of ISO 3166-1 alpha-2: use two capitals, such as US"
            );
            self.wrong(path, message);
        }
    }

    /// `sku` and `quantity` of a line.
    pub(super) fn line(&mut self, path: &str, sku: &str, quantity: i64) {
        if sku.trim().is_empty() {
            self.empty(&format!("{path}.sku"));
        }
        if quantity < 1 {
            let path = format!("{path}.quantity");
            let message = format!("`{path}` is {quantity}: it has to be at least 1");
            self.wrong(path, message);
        }
    }

    /// A field that changes the shipment or the money and has no place here (`–`).
    pub(super) fn no_place(&mut self, path: impl Into<String>, set: bool) {
        if set {
            let path = path.into();
            let message = format!("`{path}` has no place in JFWMS and would be lost: leave it out");
            self.wrong(path, message);
        }
    }

    /// A field that only informs and has no place here (`·`).
    pub(super) fn informs(&mut self, path: impl Into<String>, set: bool) {
        if set {
            self.ignored.push(path.into());
        }
    }
}
