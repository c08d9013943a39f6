//! How a command ended, and the reply that says so.

use jiff::Timestamp;
use serde_json::json;

use super::Coordinates;
use crate::domain::{
    Command, CommandReply, Details, Faults, Invalid, Operation, ReplyCategory, ReplyStatus,
};

/// Every fault of a command as JSON text: the reply's `result`, which no vendor's answer takes.
fn listed(faults: &Faults) -> String {
    let each = |fault: &Invalid| json!({"field": fault.field, "message": fault.message});
    let mut result = json!({"faults": faults.all().map(each).collect::<Vec<_>>()});
    if faults.left_out > 0 {
        result["leftOut"] = faults.left_out.into();
    }
    result.to_string()
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The reply's status.
    pub status: ReplyStatus,
    /// The reply's category.
    pub category: ReplyCategory,
    /// One sentence that says what is wrong and how to mend it.
    pub message: String,
    /// The command's field it is about.
    pub field: Option<String>,
    /// What the vendor said.
    pub details: Details,
    /// It was found already in place.
    pub deduplicated: bool,
}

impl Outcome {
    /// An outcome about which the vendor said nothing.
    pub fn new(status: ReplyStatus, category: ReplyCategory, message: impl Into<String>) -> Self {
        Self {
            status,
            category,
            message: message.into(),
            field: None,
            details: Details::default(),
            deduplicated: false,
        }
    }

    /// The same with what the vendor said.
    pub fn with(mut self, details: Details) -> Self {
        self.field = self.field.or_else(|| details.field.map(str::to_owned));
        self.details = details;
        self
    }

    /// It is in place.
    pub fn succeeded(details: Details) -> Self {
        Self::new(ReplyStatus::Succeeded, ReplyCategory::None, "").with(details)
    }

    /// It is in place, and was before the last attempt.
    pub fn already(details: Details, message: impl Into<String>) -> Self {
        let mut outcome =
            Self::new(ReplyStatus::Succeeded, ReplyCategory::None, message).with(details);
        outcome.deduplicated = true;
        outcome
    }

    /// The vendor refuses for good.
    pub fn rejected(category: ReplyCategory, details: Details, message: impl Into<String>) -> Self {
        Self::new(ReplyStatus::Rejected, category, message).with(details)
    }

    /// Found wrong before any call.
    pub fn invalid(faults: impl Into<Faults>) -> Self {
        let faults = faults.into();
        let message = match faults.further.len() + faults.left_out {
            0 => faults.first.message.clone(),
            further => format!(
                "{} ({further} more {} wrong: `result` lists them)",
                faults.first.message,
                if further == 1 { "is" } else { "are" }
            ),
        };
        let mut outcome = Self::new(ReplyStatus::Rejected, ReplyCategory::Invalid, message);
        if !faults.further.is_empty() {
            outcome.details.result = Some(listed(&faults));
        }
        outcome.field = faults.first.field;
        outcome
    }

    /// Nothing took effect; the same may be sent again.
    pub fn failed(category: ReplyCategory, details: Details, message: impl Into<String>) -> Self {
        Self::new(ReplyStatus::Failed, category, message).with(details)
    }

    /// It may have taken effect, and that could not be found out.
    pub fn unknown(details: Details, message: impl Into<String>) -> Self {
        Self::new(ReplyStatus::Unknown, ReplyCategory::Uncertain, message).with(details)
    }

    /// The call had begun when the process ended, and nothing is known of its outcome.
    pub fn begun_before() -> Self {
        Self::unknown(
            Details::default(),
            "The call had begun when the connector was interrupted; it is sent at most once, so \
             look at the vendor whether it took effect before sending it again.",
        )
    }

    /// The command's account is not configured.
    pub fn unknown_account(account: &str) -> Self {
        let mut outcome = Self::new(
            ReplyStatus::Rejected,
            ReplyCategory::Configuration,
            format!("There is no account `{account}` in the configuration of the connector."),
        );
        outcome.field = Some("account".to_owned());
        outcome
    }

    /// Whether the command goes to the dead letters too. A refusal is an answer, not a dead
    /// letter.
    pub fn is_dead_letter(&self) -> bool {
        match self.status {
            ReplyStatus::Failed | ReplyStatus::Unknown => true,
            ReplyStatus::Succeeded | ReplyStatus::Accepted | ReplyStatus::Rejected => false,
        }
    }
}

/// What is known of a command apart from how it ended.
#[derive(Debug, Clone, Default)]
pub struct Subject {
    /// The command's id, the caller's or the one made of its coordinates.
    pub command_id: String,
    /// The account as the command names it.
    pub account: String,
    /// The vendor, empty where the account is not known.
    pub vendor: String,
    /// What it asks for; `None` where it could not be read.
    pub operation: Option<Operation>,
    /// The caller's number of the document.
    pub document_number: Option<String>,
    /// Paths of fields that the vendor has no place for and that only inform.
    pub ignored_fields: Vec<String>,
}

impl Subject {
    /// What a command that was read says of itself.
    pub fn of(command: &Command, vendor: &str, command_id: String) -> Self {
        Self {
            command_id,
            account: command.account().to_owned(),
            vendor: vendor.to_owned(),
            operation: Some(command.operation()),
            document_number: command.document_number().map(str::to_owned),
            ignored_fields: Vec::new(),
        }
    }
}

/// The reply to a command.
pub fn reply(
    subject: &Subject,
    at: &Coordinates,
    outcome: &Outcome,
    attempts: u32,
    received_at: Timestamp,
    completed_at: Timestamp,
) -> CommandReply {
    let details = &outcome.details;
    CommandReply {
        command_id: subject.command_id.clone(),
        account: subject.account.clone(),
        vendor: subject.vendor.clone(),
        operation: subject.operation.map(|o| o.name().to_owned()).unwrap_or_default(),
        status: outcome.status,
        category: outcome.category,
        message: outcome.message.clone(),
        field: outcome.field.clone(),
        document_number: subject.document_number.clone(),
        vendor_reference: details.vendor_reference.clone(),
        vendor_code: details.vendor_code.clone(),
        vendor_message: details.vendor_message.clone(),
        vendor_request_id: details.vendor_request_id.clone(),
        attempts: i32::try_from(attempts).unwrap_or(i32::MAX),
        deduplicated: outcome.deduplicated,
        ignored_fields: subject.ignored_fields.clone(),
        result: details.result.clone(),
        result_truncated: false,
        command_topic: at.topic.to_string(),
        command_partition: at.partition,
        command_offset: at.offset,
        received_at: received_at.as_millisecond(),
        completed_at: completed_at.as_millisecond(),
    }
}
