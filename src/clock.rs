//! The only place that reads the clock.

/// The present moment.
#[allow(clippy::disallowed_methods, reason = "the only place that reads the clock")]
pub fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}
