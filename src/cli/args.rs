//! The arguments.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, ValueEnum};
use jiff::Timestamp;

use crate::{
    clock,
    domain::{ReplyCategory, Unrecognized},
};

/// Joins the JFWMS and Qianyi warehouse systems to Apache Kafka.
#[derive(Debug, Parser)]
#[command(name = "wms-connector", version, about)]
pub struct Arguments {
    /// The configuration file [default: wms-connector.toml, if it exists]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How log lines are written to stderr [default: text on a terminal, else json]
    #[arg(long, global = true, value_enum)]
    pub log_format: Option<LogFormat>,
    #[command(subcommand)]
    pub command: Subcommand,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, clap::Subcommand)]
pub enum Subcommand {
    /// Receive webhooks and carry out commands until SIGTERM
    Run(Run),
    /// Show everything at work in one process: nothing but this binary is needed
    Demo(Demo),
    /// Check configuration, broker, topics, group, schemas, tokens, vendors and clocks
    Check(Check),
    /// The topics the connector needs
    #[command(subcommand)]
    Topics(Topics),
    /// The Avro schemas of its records
    #[command(subcommand)]
    Schemas(Schemas),
    /// Exchange a one-time token of a JFWMS user for the account's tokens
    Authorize(Authorize),
    /// Compute a signature without calling anybody
    #[command(subcommand)]
    Sign(Sign),
    /// Commands that could not be read or carried out: show them, send them again
    #[command(subcommand)]
    DeadLetters(DeadLetters),
    /// Authentic webhooks that fitted no topic: show them, read them again
    #[command(subcommand)]
    Unrecognized(UnrecognizedCommand),
    /// Simulate both vendors over HTTP
    Sandbox(Sandbox),
    /// Send a webhook to a running connector, or a command to Kafka
    #[command(subcommand)]
    Send(Send),
}

#[derive(Debug, Args)]
pub struct Run {
    /// Run only these parts, to scale them apart
    #[arg(long, value_enum, value_delimiter = ',')]
    pub only: Vec<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    Webhooks,
    Commands,
}

#[derive(Debug, Args)]
pub struct Demo {
    /// Leave everything up afterwards, until Ctrl-C
    #[arg(long)]
    pub keep_running: bool,
}

#[derive(Debug, clap::Subcommand)]
pub enum Topics {
    /// Show what is missing
    Plan(TopicOptions),
    /// Create what is missing; existing topics are never changed
    Apply(TopicOptions),
}

#[derive(Debug, Args)]
pub struct TopicOptions {
    /// Partitions of each event, command, reply and inventory topic
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(i32).range(1..=10_000))]
    pub partitions: i32,
    /// Replication; what the cluster has, if that is fewer
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(i32).range(1..=100))]
    pub replication: i32,
}

#[derive(Debug, clap::Subcommand)]
pub enum Schemas {
    /// Compare every schema with the registry
    Check,
    /// Register what the registry does not have
    Register,
    /// Print one schema, or the names of all
    Show {
        /// The record's full name, such as wms.jfwms.Order
        record: Option<String>,
    },
    /// Write the texts that are registered, one file a record (NAMESPACE.NAME.avsc)
    Export {
        /// The folder; it is created if it does not exist
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
}

#[derive(Debug, Args)]
pub struct Check {
    /// Call no vendor; without it each account makes one signed look-up, which changes nothing
    #[arg(long)]
    pub no_calls: bool,
}

#[derive(Debug, Args)]
pub struct Authorize {
    #[arg(long)]
    pub account: String,
    /// The e-mail address of the user in the OMS
    #[arg(long)]
    pub email: String,
    /// A file that holds the one-time token copied from the OMS
    #[arg(long, value_name = "FILE")]
    pub token_file: PathBuf,
    /// Overrides the account's `auth_domain`
    #[arg(long)]
    pub domain: Option<String>,
}

/// Where a secret comes from: never an argument, which every user of the machine can see.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct SecretSource {
    /// A file that holds the secret (one trailing newline is cut)
    #[arg(long, value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
    /// An environment variable that holds the secret
    #[arg(long, value_name = "NAME")]
    pub secret_env: Option<String>,
}

#[derive(Debug, clap::Subcommand)]
pub enum Sign {
    /// A call to JFWMS: HMAC-SHA256 over the sorted parameters
    JfwmsCall(SignJfwmsCall),
    /// A webhook of JFWMS: MD5 over the JSON of data and client secret
    JfwmsWebhook(SignJfwmsWebhook),
    /// A call to Qianyi or a push of it: MD5 over the concatenated parameters
    Qianyi(SignQianyi),
}

#[derive(Debug, Args)]
pub struct SignJfwmsCall {
    #[arg(long)]
    pub client_id: String,
    /// A file that holds the access token (one trailing newline is cut)
    #[arg(long, value_name = "FILE")]
    pub access_token_file: PathBuf,
    #[arg(long)]
    pub user_id: String,
    /// Milliseconds since the epoch
    #[arg(long, value_name = "MS")]
    pub timestamp: String,
    #[arg(long)]
    pub nonce: String,
    /// The path that is called, such as /api/order/get
    #[arg(long)]
    pub path: String,
    #[command(flatten)]
    pub secret: SecretSource,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct SignJfwmsWebhook {
    /// A file that holds the value of `data`, byte for byte
    #[arg(long, value_name = "FILE")]
    pub data_file: PathBuf,
    /// How `data` is embedded; without it every form is shown
    #[arg(long, value_enum)]
    pub form: Option<DataForm>,
    /// Which member comes first; without it every order is shown
    #[arg(long, value_enum)]
    pub order: Option<MemberOrder>,
    #[command(flatten)]
    pub secret: SecretSource,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DataForm {
    Raw,
    Compact,
    Text,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MemberOrder {
    DataFirst,
    SecretFirst,
}

#[derive(Debug, Args)]
pub struct SignQianyi {
    #[arg(long)]
    pub app_id: String,
    #[arg(long)]
    pub service_type: String,
    #[arg(long)]
    pub timestamp: String,
    /// A file that holds bizParam; its bytes are signed as they are
    #[arg(long, value_name = "FILE")]
    pub biz_param_file: PathBuf,
    #[command(flatten)]
    pub secret: SecretSource,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Subcommand)]
pub enum DeadLetters {
    /// One line a dead letter, without its value
    List(ListDeadLetters),
    /// Every header of each dead letter; its value too, where that is asked
    Show(ShowDeadLetters),
    /// Send the commands again to the topics they came from
    Replay(ReplayDeadLetters),
}

/// Which dead letters are meant. What is not said does not narrow.
#[derive(Debug, Args)]
pub struct DeadLetterSelection {
    /// A dead-letter topic, or the command topic whose dead letters are meant; `list` and `show`
    /// take all of them where none is given
    pub topic: Option<String>,
    #[command(flatten)]
    pub range: RecordRange,
    /// Up to this offset, itself included; with `replay` also the command topic to send to, where
    /// these are not its own dead letters
    #[arg(long, value_name = "N|TOPIC", value_parser = To::parse)]
    pub to: Vec<To>,
    /// Only those that ended in this category, such as UNAVAILABLE; may be given more than once
    #[arg(long, value_name = "C", value_parser = category)]
    pub category: Vec<ReplyCategory>,
}

/// Which records of a topic are meant, by their place and their time.
#[derive(Debug, Args)]
pub struct RecordRange {
    /// Only those in this partition
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(i32).range(0..))]
    pub partition: Option<i32>,
    /// Only the one at this offset, in every partition unless one is named
    #[arg(long, value_name = "N", conflicts_with_all = ["from", "to"],
          value_parser = clap::value_parser!(i64).range(0..))]
    pub offset: Option<i64>,
    /// From this offset on
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    pub from: Option<i64>,
    /// Only those written at this moment or later, such as 2025-01-31T08:00:00Z, or so long ago: 1h
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub since: Option<Timestamp>,
    /// Only those written before this moment
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub until: Option<Timestamp>,
    /// How long Kafka may be silent
    #[arg(long, default_value = "15s", value_name = "DURATION")]
    pub timeout: humantime::Duration,
}

impl RecordRange {
    /// Whether it says anything.
    pub const fn is_narrowed(&self) -> bool {
        self.partition.is_some()
            || self.offset.is_some()
            || self.from.is_some()
            || self.since.is_some()
            || self.until.is_some()
    }
}

/// What `--to` names: where a range of offsets ends, or where a replay goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    Offset(i64),
    Topic(String),
}

impl To {
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.starts_with('-') {
            return Err("takes an offset, or the name of a command topic".to_owned());
        }
        Ok(text.parse().map_or_else(|_| Self::Topic(text.to_owned()), Self::Offset))
    }
}

impl DeadLetterSelection {
    /// The last offset that is meant.
    pub fn last(&self) -> Option<i64> {
        self.to.iter().rev().find_map(|to| match to {
            To::Offset(offset) => Some(*offset),
            To::Topic(_) => None,
        })
    }

    /// The command topic that is named.
    pub fn to_topic(&self) -> Option<&str> {
        self.to.iter().rev().find_map(|to| match to {
            To::Topic(topic) => Some(topic.as_str()),
            To::Offset(_) => None,
        })
    }
}

#[derive(Debug, Args)]
pub struct ListDeadLetters {
    #[command(flatten)]
    pub which: DeadLetterSelection,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct ShowDeadLetters {
    #[command(flatten)]
    pub which: DeadLetterSelection,
    /// Print the value too: it may hold names, phones and addresses
    #[arg(long)]
    pub value: bool,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct ReplayDeadLetters {
    #[command(flatten)]
    pub which: DeadLetterSelection,
    /// Show what would be sent, and send nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Send without asking; without a terminal it is needed unless an option says which are meant
    #[arg(long)]
    pub yes: bool,
    /// Send those too that were replayed before
    #[arg(long)]
    pub again: bool,
    /// Send those too that ended UNKNOWN: what they asked for may have been done already
    #[arg(long)]
    pub may_take_effect_twice: bool,
}

#[derive(Debug, clap::Subcommand)]
pub enum UnrecognizedCommand {
    /// One line a webhook, without its body
    List(ListUnrecognized),
    /// Every header of each webhook; its body too, where that is asked
    Show(ShowUnrecognized),
    /// Read the webhooks again, and publish those that can be read now as events
    Replay(ReplayUnrecognized),
}

/// Which unrecognized webhooks are meant. What is not said does not narrow.
#[derive(Debug, Args)]
pub struct UnrecognizedSelection {
    /// An `unrecognized` topic, or the vendor whose it is; `list` and `show` take all of them where
    /// none is given
    pub topic: Option<String>,
    #[command(flatten)]
    pub range: RecordRange,
    /// Up to this offset, itself included
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    pub to: Option<i64>,
    /// Only those that are there for this reason, such as unknown-user; may be given more than once
    #[arg(long, value_name = "R", value_parser = Unrecognized::REASONS)]
    pub reason: Vec<String>,
    /// Only those of this account; may be given more than once
    #[arg(long, value_name = "A")]
    pub account: Vec<String>,
    /// Only those of this type, as the vendor writes it; may be given more than once
    #[arg(long = "type", value_name = "TYPE")]
    pub webhook_type: Vec<String>,
}

#[derive(Debug, Args)]
pub struct ListUnrecognized {
    #[command(flatten)]
    pub which: UnrecognizedSelection,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct ShowUnrecognized {
    #[command(flatten)]
    pub which: UnrecognizedSelection,
    /// Print the body too: it may hold whatever the vendor sent
    #[arg(long)]
    pub value: bool,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct ReplayUnrecognized {
    #[command(flatten)]
    pub which: UnrecognizedSelection,
    /// Show what would be published, and publish nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Publish without asking; without a terminal it is needed unless an option says which are meant
    #[arg(long)]
    pub yes: bool,
    /// Publish those too that were replayed before
    #[arg(long)]
    pub again: bool,
}

fn category(text: &str) -> Result<ReplyCategory, String> {
    ReplyCategory::of_name(&text.to_ascii_uppercase().replace('-', "_")).ok_or_else(|| {
        let names = ReplyCategory::ALL.map(ReplyCategory::name);
        format!("is none of {}", names.join(", "))
    })
}

/// A moment, or how long ago it was.
fn moment(text: &str) -> Result<Timestamp, String> {
    let ago = || {
        let ago = humantime::parse_duration(text).ok()?;
        clock::now().checked_sub(jiff::SignedDuration::try_from(ago).ok()?).ok()
    };
    text.parse().ok().or_else(ago).ok_or_else(|| {
        "takes a time such as 2025-01-31T08:00:00Z (RFC 3339), or how long ago: 1h".to_owned()
    })
}

#[derive(Debug, Args)]
pub struct Sandbox {
    /// Where JFWMS is simulated
    #[arg(long, default_value = "127.0.0.1:9301", value_name = "ADDRESS")]
    pub jfwms: SocketAddr,
    /// Where Qianyi is simulated
    #[arg(long, default_value = "127.0.0.1:9302", value_name = "ADDRESS")]
    pub qianyi: SocketAddr,
    /// Where faults, books and webhooks are controlled
    #[arg(long, default_value = "127.0.0.1:9300", value_name = "ADDRESS")]
    pub control: SocketAddr,
    /// Where JFWMS sends its webhooks, such as http://127.0.0.1:8080/webhooks/jf-main
    #[arg(long, value_name = "URL")]
    pub jfwms_webhook_url: Option<String>,
    /// Where Qianyi sends its pushes, such as http://127.0.0.1:8080/webhooks/qy-cn
    #[arg(long, value_name = "URL")]
    pub qianyi_push_url: Option<String>,
}

#[derive(Debug, clap::Subcommand)]
pub enum Send {
    /// Sign a webhook with the account's secret and post it to a running connector
    Webhook(SendWebhook),
    /// Produce a command; with --wait print its reply
    Command(SendCommand),
}

#[derive(Debug, Args)]
pub struct SendWebhook {
    #[arg(long)]
    pub account: String,
    /// The webhook's type, as the vendor writes it
    #[arg(long = "type", value_name = "TYPE")]
    pub webhook_type: String,
    /// A file that holds `data` (JFWMS) or `bizParam` (Qianyi)
    #[arg(long, value_name = "FILE", required_unless_present = "sample")]
    pub data_file: Option<PathBuf>,
    /// Send the sample of the vendor's guide for this type
    #[arg(long, conflicts_with = "data_file")]
    pub sample: bool,
    /// The connector [default: this configuration's listener on loopback]
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
}

#[derive(Debug, Args)]
pub struct SendCommand {
    /// create-order, cancel-order, create-asn, cancel-asn or call
    #[arg(required_unless_present = "example")]
    pub kind: Option<String>,
    /// A file that holds the command's JSON form
    #[arg(long, value_name = "FILE", required_unless_present = "example")]
    pub file: Option<PathBuf>,
    /// Print a command of this kind that works for the vendor, and send nothing
    #[arg(long, value_name = "KIND", requires = "vendor", conflicts_with_all = ["kind", "file", "wait"])]
    pub example: Option<String>,
    /// The vendor of the example: jfwms or qianyi
    #[arg(long, requires = "example")]
    pub vendor: Option<String>,
    /// The record's key [default: the document's number]
    #[arg(long)]
    pub key: Option<String>,
    /// Wait for the reply and print it; a reply that is not SUCCEEDED or ACCEPTED exits with 1
    #[arg(long)]
    pub wait: bool,
    /// How long to wait
    #[arg(long, default_value = "60s", value_name = "DURATION")]
    pub timeout: humantime::Duration,
    /// Send Avro (as the registry frames it), or the JSON form
    #[arg(long, value_enum, default_value_t = CommandFormat::Avro)]
    pub format: CommandFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CommandFormat {
    Avro,
    Json,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        super::Arguments::command().debug_assert();
    }
}
