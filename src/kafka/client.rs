//! What every librdkafka client tells the log.

use rdkafka::{ClientContext, Statistics, config::RDKafkaLogLevel, error::KafkaError};

/// Sends librdkafka's own log lines to `tracing`.
#[derive(Debug, Clone, Default)]
pub struct LoggingContext;

impl ClientContext for LoggingContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error => {
                tracing::error!(target: "librdkafka", facility, "{message}");
            }
            RDKafkaLogLevel::Warning => tracing::warn!(target: "librdkafka", facility, "{message}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::info!(target: "librdkafka", facility, "{message}");
            }
            RDKafkaLogLevel::Debug => {
                tracing::debug!(target: "librdkafka", facility, "{message}");
            }
        }
    }

    fn stats(&self, _statistics: Statistics) {}

    fn error(&self, error: KafkaError, reason: &str) {
        // librdkafka repeats these for every broker it cannot reach; the failure of a record or
        // a readiness probe is what counts and is logged where it is handled.
        tracing::warn!(target: "librdkafka", %error, "{reason}");
    }
}
