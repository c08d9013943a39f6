//! The answer to a command. The model is documented in `schemas/`.

use serde::{Deserialize, Serialize};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ReplyStatus {
    /// It is in place.
    Succeeded,
    /// The vendor took it, the outcome comes as an event.
    Accepted,
    /// Refused for good, nothing took effect, the same again gives the same.
    Rejected,
    /// Nothing took effect, may be sent again.
    Failed,
    /// May have taken effect and could not be found out.
    Unknown,
}

/// What kind of end it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ReplyCategory {
    None,
    Unreadable,
    Invalid,
    Duplicate,
    NotFound,
    WrongState,
    OutOfStock,
    Refused,
    Configuration,
    Unauthorized,
    Throttled,
    Unavailable,
    Uncertain,
    Expired,
    Other,
}

impl ReplyCategory {
    /// Every one.
    pub const ALL: [Self; 15] = [
        Self::None,
        Self::Unreadable,
        Self::Invalid,
        Self::Duplicate,
        Self::NotFound,
        Self::WrongState,
        Self::OutOfStock,
        Self::Refused,
        Self::Configuration,
        Self::Unauthorized,
        Self::Throttled,
        Self::Unavailable,
        Self::Uncertain,
        Self::Expired,
        Self::Other,
    ];

    /// As its reply writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Unreadable => "UNREADABLE",
            Self::Invalid => "INVALID",
            Self::Duplicate => "DUPLICATE",
            Self::NotFound => "NOT_FOUND",
            Self::WrongState => "WRONG_STATE",
            Self::OutOfStock => "OUT_OF_STOCK",
            Self::Refused => "REFUSED",
            Self::Configuration => "CONFIGURATION",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Throttled => "THROTTLED",
            Self::Unavailable => "UNAVAILABLE",
            Self::Uncertain => "UNCERTAIN",
            Self::Expired => "EXPIRED",
            Self::Other => "OTHER",
        }
    }

    /// The one of that name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|category| category.name() == name)
    }
}

/// `wms.commands.CommandReply`, field for field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommandReply {
    pub command_id: String,
    pub account: String,
    pub vendor: String,
    /// `create-order`, …; empty where the command could not be read.
    pub operation: String,
    pub status: ReplyStatus,
    pub category: ReplyCategory,
    /// One sentence that says what is wrong and how to mend it.
    pub message: String,
    /// The command's field it is about, as a path.
    pub field: Option<String>,
    pub document_number: Option<String>,
    pub vendor_reference: Option<String>,
    pub vendor_code: Option<String>,
    pub vendor_message: Option<String>,
    pub vendor_request_id: Option<String>,
    /// Sends of the operation, look-ups not counted.
    pub attempts: i32,
    pub deduplicated: bool,
    pub ignored_fields: Vec<String>,
    /// The vendor's data, JSON text.
    pub result: Option<String>,
    pub result_truncated: bool,
    pub command_topic: String,
    pub command_partition: i32,
    pub command_offset: i64,
    /// Milliseconds since the epoch.
    pub received_at: i64,
    /// Milliseconds since the epoch.
    pub completed_at: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_category_has_the_name_that_its_reply_writes() {
        for category in ReplyCategory::ALL {
            assert_eq!(serde_json::to_value(category).unwrap(), category.name());
            assert_eq!(ReplyCategory::of_name(category.name()), Some(category));
        }
        assert_eq!(ReplyCategory::of_name("none"), None);
    }
}
