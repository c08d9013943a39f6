//! The only place that reads the clock.

#[allow(clippy::disallowed_methods, reason = "the only place that reads the clock")]
pub fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}
