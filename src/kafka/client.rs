//! What every librdkafka client tells the log.

use std::borrow::Cow;

use rdkafka::{
    ClientConfig, ClientContext, Statistics,
    config::{FromClientConfigAndContext, RDKafkaLogLevel},
    error::{KafkaError, KafkaResult},
    types::RDKafkaConfRes,
};

/// Sends librdkafka's own log lines to `tracing`.
#[derive(Debug, Clone, Default)]
pub struct LoggingContext;

impl ClientContext for LoggingContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let message = without_quotation(message);
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
        tracing::warn!(target: "librdkafka", %error, "{}", without_quotation(reason));
    }
}

/// Makes a client: the one place where one is made, because the error of a property that is refused
/// holds its value, a password perhaps, and is logged, printed and served by `/readyz`.
pub fn create<C: ClientContext, T: FromClientConfigAndContext<C>>(
    config: &ClientConfig,
    context: C,
) -> KafkaResult<T> {
    T::from_config_and_context(config, context).map_err(without_value)
}

fn without_value(error: KafkaError) -> KafkaError {
    match error {
        KafkaError::ClientConfig(code, _text, property, _value) => {
            let what = match code {
                RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN => "there is no such property:",
                RDKafkaConfRes::RD_KAFKA_CONF_INVALID | RDKafkaConfRes::RD_KAFKA_CONF_OK => {
                    "the value of this property is refused:"
                }
            };
            KafkaError::ClientConfig(code, what.to_owned(), property, String::new())
        }
        KafkaError::ClientCreation(text) => {
            KafkaError::ClientCreation(without_quotation(&text).into_owned())
        }
        other => other,
    }
}

/// librdkafka quotes what it cannot read of `sasl.oauthbearer.config`, where Java's users put
/// secrets: `Unrecognized sasl.oauthbearer.config beginning at: …`.
fn without_quotation(text: &str) -> Cow<'_, str> {
    match text.split_once("beginning at: ") {
        Some((before, _quoted)) => Cow::Owned(format!("{before}beginning at: ***")),
        None => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::consumer::BaseConsumer;

    use super::*;
    use crate::kafka::{ClientSettings, admin::Quiet};

    #[test]
    fn a_refused_property_is_told_without_its_value() {
        for (name, value) in [
            ("sasl.pasword", "hush"),
            ("sasl.jaas.config", "x password=\"hush\";"),
            ("ssl.truststore.password", "hush"),
            ("sasl.oauthbearer.client.secrt", "hush"),
            ("linger.ms", "hush"),
            ("security.protocol", "hush"),
            ("ssl.key.pem", "hush"),
            ("sasl.password", "hu\0sh"),
        ] {
            let mut settings = ClientSettings::default();
            settings.properties.insert(name.to_owned(), value.to_owned());
            settings
                .properties
                .insert("enable.ssl.certificate.verification".into(), "false".into());
            if name == "ssl.key.pem" {
                settings.properties.insert("security.protocol".into(), "ssl".into());
            }
            let made: KafkaResult<BaseConsumer<Quiet>> = create(&settings.reader(), Quiet);
            let error = made.err().unwrap();
            let told = format!("{error} {error:?} {settings:?}");
            assert!(!told.contains("hush"), "{told}");
            assert!(!told.contains("hu\\0sh"), "{told}");
        }
    }

    #[test]
    fn what_librdkafka_quotes_is_not_told() {
        let text = "Unrecognized sasl.oauthbearer.config beginning at: secret=hush";
        assert_eq!(
            without_quotation(text),
            "Unrecognized sasl.oauthbearer.config beginning at: ***"
        );
        assert_eq!(without_quotation("1/1 brokers are down"), "1/1 brokers are down");
    }
}
