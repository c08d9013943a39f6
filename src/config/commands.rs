//! `[commands]`

use std::time::Duration;

use jiff::Timestamp;

use super::section::Section;

/// How commands are read and carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commands {
    /// The consumer group. Default: `wms-connector`.
    pub group_id: String,
    /// How the group shares out its partitions. Default: classic.
    pub group_protocol: GroupProtocol,
    /// The group's session where the broker has it and may not be asked. Default: it is asked.
    pub session_timeout: Option<Duration>,
    /// Where a group without a committed offset begins on a topic that holds records. Default: the
    /// start is refused there.
    pub begin: Option<Begin>,
    /// How many commands are worked on at a time. Default: 256.
    pub max_in_flight: usize,
    /// How many of them may be one account's. Default: 256.
    pub max_in_flight_per_account: usize,
    /// How many records of a partition may lie between the oldest unfinished and the newest
    /// fetched one. Default: 1,000.
    pub window: usize,
    /// How many bytes of commands are held in memory, of all partitions. Default: 256 MiB.
    pub max_buffered_bytes: u64,
    /// The topics that a command may name for its reply; `*` stands for any text. Default:
    /// the reply topic's name (`wms.replies`), and that followed by `.*`.
    pub reply_topics: Vec<String>,
    /// How long one call to a vendor may take. Default: 30 s.
    pub call_timeout: Duration,
    /// What becomes of fields that only inform and have no place. Default: reported.
    pub ignored_fields: IgnoredFields,
    /// `[commands.retry]`
    pub retry: Retry,
    /// `[commands.circuit]`
    pub circuit: Circuit,
    /// `[commands.reading]`
    pub reading: Reading,
}

/// The protocol of the consumer group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupProtocol {
    /// The members assign the partitions.
    Classic,
    /// The broker assigns them (KIP-848).
    Consumer,
}

/// Where a group without a committed offset begins on a topic that holds records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// With what is sent from now on.
    End,
    /// With the oldest record there is.
    Earliest,
    /// With what was sent at this time or later.
    At(Timestamp),
}

impl Begin {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "end" => Some(Self::End),
            "earliest" => Some(Self::Earliest),
            time => time.parse().map(Self::At).ok(),
        }
    }
}

/// What becomes of a command's fields that the vendor has no place for and that only inform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IgnoredFields {
    /// The reply lists them.
    Report,
    /// The command is refused.
    Reject,
}

/// `[commands.retry]`: how a call that failed for the time being is repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// How many sends at most. Default: 8.
    pub max_attempts: u32,
    /// How long at most. Default: 10 min.
    pub max_elapsed: Duration,
    /// The ceiling of the first wait. Default: 500 ms.
    pub initial_backoff: Duration,
    /// The ceiling of every wait. Default: 30 s.
    pub max_backoff: Duration,
}

/// `[commands.circuit]`: when an account's commands wait for the vendor to come back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circuit {
    /// After how many failures in a row. Default: 5.
    pub failures: u32,
    /// How often it is tried. Default: 10 s.
    pub probe_after: Duration,
}

/// `[commands.reading]`: how much one command may ask of whoever reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The largest value. Default: 8 MiB.
    pub max_bytes: u64,
    /// The most fields, items and map entries in it. Default: 500,000.
    pub max_values: usize,
    /// How deep it may be nested. Default: 64.
    pub max_depth: usize,
}

/// What reads JSON by itself goes no deeper.
const DEEPEST: usize = 100;

impl Reading {
    fn read(mut section: Section<'_>) -> Option<Self> {
        let max_bytes = section.size("max_bytes");
        let max_values = section.count("max_values");
        let max_depth = section.count("max_depth");
        if max_depth.is_some_and(|depth| depth > DEEPEST) {
            section.problem("max_depth", format_args!("is more than {DEEPEST}; lower it"));
        }
        section.finish();
        Some(Self { max_bytes: max_bytes?, max_values: max_values?, max_depth: max_depth? })
    }
}

impl Commands {
    pub(super) fn read(mut section: Section<'_>) -> Option<Self> {
        let group_id = section.text("group_id");
        let group_protocol = section.choice(
            "group_protocol",
            &[("classic", GroupProtocol::Classic), ("consumer", GroupProtocol::Consumer)],
        );
        let session_timeout = section.optional_duration("session_timeout");
        let takes = r#""end", "earliest" or a time like "2026-11-25T00:00:00Z""#;
        let begin = section.optional("begin", takes, |value| Begin::parse(value.text()?));
        let max_in_flight = section.count("max_in_flight");
        let max_in_flight_per_account = section.count("max_in_flight_per_account");
        let window = section.count("window");
        let max_buffered_bytes = section.size("max_buffered_bytes");
        let reply_topics = section.texts("reply_topics");
        let call_timeout = section.duration("call_timeout");
        let ignored_fields = section.choice(
            "ignored_fields",
            &[("report", IgnoredFields::Report), ("reject", IgnoredFields::Reject)],
        );
        let retry = Retry::read(section.section("retry"));
        let circuit = Circuit::read(section.section("circuit"));
        let reading = Reading::read(section.section("reading"));
        section.finish();
        Some(Self {
            group_id: group_id?,
            group_protocol: group_protocol?,
            session_timeout: session_timeout?,
            begin: begin?,
            max_in_flight: max_in_flight?,
            max_in_flight_per_account: max_in_flight_per_account?,
            window: window?,
            max_buffered_bytes: max_buffered_bytes?,
            reply_topics: reply_topics?,
            call_timeout: call_timeout?,
            ignored_fields: ignored_fields?,
            retry: retry?,
            circuit: circuit?,
            reading: reading?,
        })
    }
}

impl Retry {
    fn read(mut section: Section<'_>) -> Option<Self> {
        let max_attempts = section.small_count("max_attempts");
        let max_elapsed = section.duration("max_elapsed");
        let initial_backoff = section.duration("initial_backoff");
        let max_backoff = section.duration("max_backoff");
        if let (Some(initial), Some(max)) = (initial_backoff, max_backoff)
            && initial > max
        {
            section.problem(
                "initial_backoff",
                format_args!(
                    "is longer than `commands.retry.max_backoff` ({}); lower it, or raise the \
                     other",
                    humantime::format_duration(max)
                ),
            );
        }
        section.finish();
        Some(Self {
            max_attempts: max_attempts?,
            max_elapsed: max_elapsed?,
            initial_backoff: initial_backoff?,
            max_backoff: max_backoff?,
        })
    }
}

impl Circuit {
    fn read(mut section: Section<'_>) -> Option<Self> {
        let failures = section.small_count("failures");
        let probe_after = section.duration("probe_after");
        section.finish();
        Some(Self { failures: failures?, probe_after: probe_after? })
    }
}
