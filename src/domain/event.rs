//! An event: what a verified webhook says, ready to be encoded.

use std::fmt;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::{AccountName, Record};

/// One type of event of one vendor.
#[derive(Debug, PartialEq, Eq)]
pub struct EventType {
    /// The vendor's own name of the webhook's type (`orderCreate`, `PUSH_ASN_ORDER`).
    pub name: &'static str,
    /// The last part of the topic's name (`order-create`).
    pub topic: &'static str,
    /// The full name of the Avro record (`wms.jfwms.OrderCreate`).
    pub record: &'static str,
}

/// A name for what happened that is the same each time the same webhook is sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EventId(String);

impl EventId {
    /// A pure function of account, type and members (raw texts, in any order): 32 hex digits.
    ///
    /// Every part is preceded by its length, so that no two different webhooks have one text.
    pub fn of<'a>(
        account: &AccountName,
        type_name: &str,
        members: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let mut members: Vec<_> = members.into_iter().collect();
        members.sort_unstable();
        let mut hash = Sha256::new();
        let mut part = |text: &str| {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        };
        part(account.as_str());
        part(type_name);
        for (name, text) in members {
            part(name);
            part(text);
        }
        let digest = hash.finalize();
        Self(hex::encode(&digest[..16]))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a verified webhook says.
pub struct Event {
    /// Its type, one of the vendor's.
    pub event_type: &'static EventType,
    /// `eventId` and `ce_id`.
    pub id: EventId,
    /// The account it belongs to.
    pub account: AccountName,
    /// The vendor's user, where the webhook names one.
    pub user_id: Option<String>,
    /// The business document's number: the record key and `ce_subject`.
    pub document_number: Option<String>,
    /// The webhook's own time.
    pub sent_at: Option<Timestamp>,
    /// When the connector received it.
    pub received_at: Timestamp,
    /// The Avro record, field for field as in the type's schema.
    pub record: Box<dyn Record>,
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("type", &self.event_type.name)
            .field("id", &self.id)
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}

/// Why an authentic webhook goes to `unrecognized` instead of its topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unrecognized {
    #[error("unknown-type")]
    UnknownType,
    #[error("retyped")]
    Retyped,
    #[error("unknown-user")]
    UnknownUser,
    /// The text says which member, what was expected and what was found; never the value itself
    /// beyond a short number or word.
    #[error("undecodable: {0}")]
    Undecodable(String),
    /// The broker does not take it in one record.
    #[error("too-large")]
    TooLarge,
}

impl Unrecognized {
    /// Every reason without its details.
    pub const REASONS: [&'static str; 5] =
        ["unknown-type", "retyped", "unknown-user", "undecodable", "too-large"];

    /// The reason without its details: one of [`Self::REASONS`].
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::UnknownType => "unknown-type",
            Self::Retyped => "retyped",
            Self::UnknownUser => "unknown-user",
            Self::Undecodable(_) => "undecodable",
            Self::TooLarge => "too-large",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_id_ignores_the_order_of_members_and_nothing_else() {
        let account = AccountName::new("a").unwrap();
        let id = |t: &str, m: &[(&str, &str)]| EventId::of(&account, t, m.iter().copied());
        let first = id("order", &[("data", "{}"), ("x", "1")]);
        assert_eq!(first, id("order", &[("x", "1"), ("data", "{}")]));
        assert_ne!(first, id("orders", &[("data", "{}"), ("x", "1")]));
        assert_ne!(first, id("order", &[("data", "{}"), ("x", "2")]));
        assert_ne!(first, id("order", &[("data", "{}x"), ("", "1")]));
        assert_eq!(first.as_str().len(), 32);
    }
}
