//! How long the group's coordinator waits for a sign of a member before it gives its partitions away.

use std::time::Duration;

use rdkafka::{
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
};
use wms_kafka_raw::{describe_group_configs, has_controller};

use super::consumer::Context;

/// How long one question to the cluster may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The property of a group of the protocol `consumer` (KIP-848).
const PROPERTY: &str = "consumer.session.timeout.ms";

/// How it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Session {
    /// The members say it when they join.
    Ours(Duration),
    /// The coordinator alone knows it, and is asked; `otherwise` where it may not be.
    TheBrokers { otherwise: Option<Duration> },
}

/// It is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    #[error(
        "the session of group `{group}` is not known: with `commands.group_protocol` = \"consumer\" \
         it is the broker's, which does not tell it ({reason}). Without it a process that was cut \
         off may begin calls that another one makes too. Give the principal DescribeConfigs on the \
         group, or set `commands.session_timeout` to the broker's `group.consumer.session.timeout.ms`"
    )]
    Unknown { group: String, reason: String },
}

impl Session {
    /// Before anything was asked.
    pub(super) fn at_first(self) -> Duration {
        match self {
            Self::Ours(session) => session,
            Self::TheBrokers { otherwise } => otherwise.unwrap_or_default(),
        }
    }

    /// Whether it is asked for, and may change.
    pub(super) fn is_the_brokers(self) -> bool {
        matches!(self, Self::TheBrokers { .. })
    }

    /// How often the group's signs are looked at.
    pub(super) fn look_every(self) -> Duration {
        let of_unknown = Duration::from_millis(500);
        match self {
            Self::Ours(session) => {
                (session / 10).clamp(Duration::from_millis(100), Duration::from_secs(1))
            }
            Self::TheBrokers { .. } => of_unknown,
        }
    }

    /// The session as it is now. `topic` is one of those that are read. Blocks.
    pub(super) fn find(
        self,
        consumer: &BaseConsumer<Context>,
        group: &str,
        topic: &str,
    ) -> Result<Duration, SessionError> {
        let otherwise = match self {
            Self::Ours(session) => return Ok(session),
            Self::TheBrokers { otherwise } => otherwise,
        };
        let told = if has_controller(consumer.client(), topic, TIMEOUT)? {
            let configs = describe_group_configs(consumer.client(), group, TIMEOUT);
            read(configs.as_ref().map(|configs| configs.get(PROPERTY).map(String::as_str)))?
        } else {
            Err("the cluster names no controller".to_owned())
        };
        match (told, otherwise) {
            (Ok(told), _) => Ok(told),
            (Err(_), Some(otherwise)) => Ok(otherwise),
            (Err(reason), None) => Err(SessionError::Unknown { group: group.to_owned(), reason }),
        }
    }
}

/// What the coordinator said; outside, where it may say it another time.
fn read(
    told: Result<Option<&str>, &RDKafkaErrorCode>,
) -> Result<Result<Duration, String>, KafkaError> {
    use RDKafkaErrorCode as Code;
    match told {
        Ok(Some(text)) => Ok(text
            .parse()
            .map(Duration::from_millis)
            .map_err(|_| format!("`{PROPERTY}` is no number"))),
        Ok(None) => Ok(Err(format!("it has no `{PROPERTY}`"))),
        Err(
            code @ (Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::InvalidRequest
            | Code::UnsupportedVersion
            | Code::UnsupportedFeature),
        ) => Ok(Err(code.to_string())),
        Err(code) => Err(KafkaError::AdminOp(*code)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_coordinator_says() {
        let known = |told| read(told).unwrap().ok();
        assert_eq!(known(Ok(Some("6000"))), Some(Duration::from_secs(6)));
        for told in [
            Ok(Some("soon")),
            Ok(None),
            Err(&RDKafkaErrorCode::GroupAuthorizationFailed),
            Err(&RDKafkaErrorCode::InvalidRequest),
        ] {
            assert_eq!(known(told), None, "{told:?}");
        }
        for code in [RDKafkaErrorCode::OperationTimedOut, RDKafkaErrorCode::BrokerTransportFailure]
        {
            assert!(read(Err(&code)).is_err(), "it is asked again");
        }
    }
}
