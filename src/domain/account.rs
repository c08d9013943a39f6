//! The name of a configured account.

use std::fmt;

/// The name of an account of the configuration: `[a-z0-9-]+`.
///
/// It stands in topic keys (`account/warehouseCode/sku`), URLs and metric labels, so nothing
/// that would need escaping in any of them is allowed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountName(String);

/// A text that cannot be an account's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` cannot be an account's name: use lower-case letters, digits and hyphens")]
pub struct InvalidAccountName(String);

impl AccountName {
    /// Reads a name, refusing everything outside `[a-z0-9-]+`.
    pub fn new(name: &str) -> Result<Self, InvalidAccountName> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || !name.chars().all(allowed) {
            return Err(InvalidAccountName(name.to_owned()));
        }
        Ok(Self(name.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_letters_digits_and_hyphens() {
        for (name, accepted) in [
            ("jf-main", true),
            ("a1", true),
            ("", false),
            ("Jf", false),
            ("a/b", false),
            ("a_b", false),
        ] {
            assert_eq!(AccountName::new(name).is_ok(), accepted, "{name}");
        }
    }
}
