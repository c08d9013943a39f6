//! How much one record may ask of us.

/// The bounds within which a record is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest payload in bytes.
    pub bytes: usize,
    /// The most values (fields, items, map entries) in one record.
    pub values: usize,
    /// The deepest nesting.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        // A label of some megabytes fits; a hundred thousand lines would not be an order.
        Self { bytes: 8 << 20, values: 500_000, depth: 64 }
    }
}
