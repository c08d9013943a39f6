//! What the command pipeline needs of the others, put together.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Connected, client_settings, topics};
use crate::{
    admin::Readiness,
    api_client::{ApiClient, Caller, Report, RequestClass, SendError, Sent},
    avro::{self, CommandReader, Encoders, Limits, ReadCommand, ReadError, Registry},
    commands::{self, Account, Calls, Deps, Judged, Purpose, Reads, Replies, SendFailure},
    config::{self, Config},
    domain::{
        AccountName, Attempt, Command, CommandReply, Operation, PlannedCall, ReplyStatus,
        VendorAnswer,
    },
    kafka::{Found, Headers, OutgoingRecord, PublishError, Publisher, TopicLookup},
    metrics::Metrics,
};

/// The name in dead letters' `__connect.errors.connector.name`.
const CONNECTOR_NAME: &str = "wms-connector";
/// The label of operations that could not be read.
const UNREADABLE: &str = "unreadable";
/// librdkafka's default for the classic protocol.
const SESSION: Duration = Duration::from_secs(45);

/// Everything the pipeline works with.
pub(super) struct Work<'a> {
    pub(super) config: &'a Config,
    pub(super) accounts: &'a BTreeMap<AccountName, Connected>,
    pub(super) registry: Option<Registry>,
    pub(super) encoders: Arc<Encoders>,
    pub(super) publisher: Publisher,
    pub(super) api_client: Arc<ApiClient>,
    /// Of all command topics.
    pub(super) partitions: usize,
    pub(super) metrics: Metrics,
    pub(super) readiness: Readiness,
}

impl Work<'_> {
    /// Consumes until `stop`, then finishes what is in flight and commits. The error is for what
    /// waiting does not mend.
    pub(super) fn consume(
        self,
        stop: CancellationToken,
    ) -> impl Future<Output = Result<(), String>> + Send + 'static {
        let settings = self.settings();
        let protocol = super::group_protocol(self.config);
        let consumer =
            client_settings(self.config).command_consumer(&self.config.commands.group_id, protocol);
        self.declare_metrics();
        let account = |(name, connected): (&AccountName, &Connected)| {
            let configured = self.config.accounts.get(name);
            let account = Account {
                name: name.clone(),
                vendor: Arc::clone(&connected.vendor),
                call_allow: configured.map(|a| a.call_allow.clone()).unwrap_or_default(),
            };
            (name.to_string(), account)
        };
        let limits = reading_limits(self.config);
        let accounts: HashMap<_, _> = self.accounts.iter().map(account).collect();
        let Self {
            registry, encoders, publisher, api_client, partitions, metrics, readiness, ..
        } = self;
        let known = self.config.topics.replies();
        let lookup = TopicLookup::new(client_settings(self.config).admin(), &known);
        let deps = move || Deps {
            reads: Codec {
                reader: CommandReader::new(registry.clone(), limits),
                encoders: Arc::clone(&encoders),
            },
            calls: Client(Arc::clone(&api_client)),
            replies: Records { publisher: publisher.clone(), lookup: lookup.clone() },
            metrics: Arc::new(Counted {
                metrics: metrics.clone(),
                readiness: readiness.clone(),
                api_client: Arc::clone(&api_client),
                partitions,
            }),
            accounts: accounts.clone(),
        };
        async move {
            commands::run(consumer, settings, deps, stop).await.map_err(|error| error.to_string())
        }
    }

    fn settings(&self) -> commands::Settings {
        let commands = &self.config.commands;
        let session = ["session.timeout.ms"].iter().find_map(|name| {
            let kafka = &self.config.kafka;
            let text = kafka.consumer.get(*name).or_else(|| kafka.properties.get(*name))?;
            text.parse().ok().map(Duration::from_millis)
        });
        commands::Settings {
            topics: topics::command_operations(self.config),
            default_reply_topic: self.config.topics.replies(),
            reply_topics: commands.reply_topics.clone(),
            dead_letter_topics: topics::command_topics(self.config)
                .into_iter()
                .map(|topic| (topic.clone(), self.config.topics.dlq(&topic)))
                .collect(),
            refuse_ignored_fields: commands.ignored_fields == config::IgnoredFields::Reject,
            connector_name: CONNECTOR_NAME.to_owned(),
            begin: commands.begin.map(|begin| match begin {
                config::Begin::End => commands::begin::Begin::End,
                config::Begin::Earliest => commands::begin::Begin::Earliest,
                config::Begin::At(time) => commands::begin::Begin::At(time),
            }),
            max_in_flight: commands.max_in_flight,
            max_in_flight_per_account: commands.max_in_flight_per_account,
            window: commands.window,
            max_buffered_bytes: usize::try_from(commands.max_buffered_bytes).unwrap_or(usize::MAX),
            call_timeout: commands.call_timeout,
            session: match commands.group_protocol {
                config::GroupProtocol::Classic => {
                    commands::Session::Ours(session.unwrap_or(SESSION))
                }
                config::GroupProtocol::Consumer => {
                    commands::Session::TheBrokers { otherwise: commands.session_timeout }
                }
            },
            shutdown_timeout: self.config.shutdown_timeout,
            retry: commands::retry::Policy {
                max_attempts: commands.retry.max_attempts,
                max_elapsed: commands.retry.max_elapsed,
                initial_backoff: commands.retry.initial_backoff,
                max_backoff: commands.retry.max_backoff,
            },
            ..commands::Settings::default()
        }
    }

    /// Lets each counter of every account exist from the start, with the labels of what an alert
    /// waits for. The other series begin with what they count: an account that does nothing costs
    /// little.
    fn declare_metrics(&self) {
        self.metrics.command_accounts(
            self.accounts.keys().map(AccountName::as_str),
            Operation::CreateOrder.name(),
            status_label(ReplyStatus::Failed),
            RequestClass::Misconfigured.name(),
        );
        for topic in topics::command_topics(self.config) {
            self.metrics.dead_letters_exist(&self.config.topics.dlq(&topic));
        }
        self.metrics.in_flight("commands", 0);
        self.metrics.pipeline_exists("commands");
    }
}

fn status_label(status: ReplyStatus) -> &'static str {
    match status {
        ReplyStatus::Succeeded => "SUCCEEDED",
        ReplyStatus::Accepted => "ACCEPTED",
        ReplyStatus::Rejected => "REJECTED",
        ReplyStatus::Failed => "FAILED",
        ReplyStatus::Unknown => "UNKNOWN",
    }
}

/// `avro` as the pipeline sees it.
struct Codec {
    reader: CommandReader,
    encoders: Arc<Encoders>,
}

impl Reads for Codec {
    async fn read(
        &self,
        expected: Option<Operation>,
        headers: &Headers,
        payload: Option<&[u8]>,
    ) -> Result<ReadCommand, ReadError> {
        let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_deref()));
        self.reader.read(expected, headers, payload).await
    }

    fn reply_avro(&self, reply: &CommandReply) -> Result<Vec<u8>, String> {
        avro::encode_reply(&self.encoders, reply).map_err(|error| error.to_string())
    }

    fn reply_json(&self, reply: &CommandReply) -> Result<Vec<u8>, String> {
        avro::reply_json(reply).map_err(|error| error.to_string())
    }
}

/// `api_client` as the pipeline sees it.
struct Client(Arc<ApiClient>);

impl Calls for Client {
    type Sent = Sent;

    async fn send(
        &self,
        account: &AccountName,
        purpose: Purpose<'_>,
        plan: impl Fn(&Attempt<'_>) -> PlannedCall + Send + Sync,
        deadline: Instant,
    ) -> Result<Sent, SendFailure> {
        let command = purpose.command;
        let operation = circuit_of(command);
        let caller = Caller {
            label: match purpose.look_up {
                false => command.operation().name(),
                true => look_up_label(command.operation()),
            },
            operation: &operation,
            command: purpose.number,
            own_path: matches!(command, Command::Call(_)),
            look_up: purpose.look_up,
        };
        self.0.send(account, caller, plan, deadline).await.map_err(|error| match error {
            SendError::NotSent(reason) => SendFailure::NotSent(reason),
            SendError::NoAnswer(reason) => SendFailure::NoAnswer(reason),
            SendError::BodyTooLarge => SendFailure::NoAnswer(error.to_string()),
            SendError::CircuitOpen { until } => SendFailure::CircuitOpen { until },
            SendError::Parked { until, message } => SendFailure::Parked { until, message },
            SendError::NoTokens { message } => SendFailure::NoTokens { message },
            SendError::Stopped { message } => SendFailure::Stopped { message },
        })
    }

    fn answer<'a>(&self, sent: &'a Sent) -> &'a VendorAnswer {
        &sent.answer
    }

    fn report(&self, sent: &Sent, judged: Judged<'_>) {
        self.0.report(
            sent,
            match judged {
                Judged::Operation(verdict) => Report::of(verdict),
                Judged::LookUp(look_up) => Report::of_look_up(look_up),
            },
        );
    }

    async fn renew_tokens(&self, account: &AccountName, sent: &Sent) {
        let Some(used) = &sent.used else { return };
        if let Err(error) = self.0.renew_after_refusal(account, used).await {
            tracing::warn!(%account, %error, "the access token was not renewed");
        }
    }

    fn circuit_open(&self, account: &AccountName, command: &Command) -> bool {
        self.0.circuit_is_open(account, &circuit_of(command))
    }
}

/// The calls that fail together: those of an operation with its look-ups, or those of one path.
fn circuit_of(command: &Command) -> Cow<'static, str> {
    match command {
        Command::CreateOrder(_)
        | Command::CancelOrder(_)
        | Command::CreateAsn(_)
        | Command::CancelAsn(_) => Cow::Borrowed(command.operation().name()),
        Command::Call(call) => {
            let service_type = call.service_type.as_deref().unwrap_or_default();
            Cow::Owned(format!("call {} {service_type}", call.path).trim_end().to_owned())
        }
    }
}

/// The label of a look-up in limits and metrics.
pub(super) fn look_up_label(operation: Operation) -> &'static str {
    match operation {
        Operation::CreateOrder | Operation::CancelOrder => "look-up-order",
        Operation::CreateAsn | Operation::CancelAsn => "look-up-asn",
        Operation::Call => "look-up",
    }
}

/// How long it may take to find out whether a reply topic exists.
const LOOK_UP: Duration = Duration::from_secs(5);

/// `kafka` as the pipeline sees it.
struct Records {
    publisher: Publisher,
    /// Topics that commands name are looked up first.
    lookup: TopicLookup,
}

impl Replies for Records {
    async fn publish(
        &self,
        record: OutgoingRecord,
        timeout: Duration,
    ) -> Result<(i32, i64), PublishError> {
        self.publisher.publish(record, timeout).await
    }

    async fn is_missing(&self, topic: &str) -> bool {
        self.lookup.look(topic, LOOK_UP).await == Found::Missing
    }

    async fn flush(&self, timeout: Duration) {
        if let Err(error) = self.publisher.flush(timeout).await {
            tracing::error!(%error, "the producer did not confirm everything");
        }
    }
}

/// `metrics` and `admin` as the pipeline sees them.
struct Counted {
    metrics: Metrics,
    readiness: Readiness,
    api_client: Arc<ApiClient>,
    /// Of all command topics.
    partitions: usize,
}

impl commands::Metrics for Counted {
    fn ended(
        &self,
        account: &str,
        operation: Option<Operation>,
        status: ReplyStatus,
        took: Duration,
    ) {
        let operation = operation.map_or(UNREADABLE, Operation::name);
        self.metrics.command(account, operation, status_label(status));
        self.metrics.command_seconds(took.as_secs_f64());
    }

    fn dead_letter(&self, topic: &str) {
        self.metrics.dead_letter(topic);
    }

    fn reply_diverted(&self) {
        self.metrics.reply_error("diverted");
    }

    fn in_flight(&self, calls: usize) {
        self.metrics.in_flight("commands", i64::try_from(calls).unwrap_or(i64::MAX));
    }

    fn lag(&self, topic: &str, partition: i32, lag: Option<i64>) {
        match lag {
            Some(lag) => self.metrics.consumer_lag(topic, partition, lag),
            None => self.metrics.consumer_lag_gone(topic, partition),
        }
    }

    fn group(&self, joined: bool) {
        let state = if joined { Ok(()) } else { Err("the group is not joined".to_owned()) };
        self.readiness.set("commands", state);
    }

    fn uncommitted(&self, partitions: usize) {
        self.metrics.partitions_uncommitted(u64::try_from(partitions).unwrap_or(u64::MAX));
    }

    fn offset_resets(&self, topic: &str, reason: &'static str, partitions: u64) {
        self.metrics.offset_resets(topic, reason, partitions);
    }

    fn restarting(&self, reason: &str) {
        self.metrics.pipeline_restarted("commands");
        self.readiness.set("commands", Err(reason.to_owned()));
    }

    #[allow(clippy::cast_precision_loss, reason = "partitions are few")]
    fn owns(&self, partitions: usize) {
        // The vendors' limits hold for all processes together.
        self.api_client.set_share(partitions as f64 / self.partitions.max(1) as f64);
    }
}

/// The bounds within which commands are read.
fn reading_limits(config: &Config) -> Limits {
    let reading = &config.commands.reading;
    Limits {
        bytes: usize::try_from(reading.max_bytes).unwrap_or(usize::MAX),
        values: reading.max_values,
        depth: reading.max_depth,
    }
}
