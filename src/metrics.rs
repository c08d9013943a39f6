//! Every metric: names, labels, units and help in one place. The names are stable.

use std::{
    cell::RefCell,
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

#[cfg(target_os = "linux")]
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

/// Seconds, from a fast acknowledgement on one machine to the longest deadline.
const SECONDS: &[f64] = &[
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0, 300.0,
];

/// The process's metrics; a clone counts into the same ones.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    inner: Arc<Inner>,
    /// Name, help and kind of every metric with labels.
    labelled: Arc<[(String, String, &'static str)]>,
    zeros: Arc<Mutex<Vec<Zeros>>>,
}

/// Series that are shown at zero until something counts into them. They are text, made when the
/// page is asked for: as series of the registry, those of ten thousand accounts that do nothing
/// would take a hundred megabytes.
struct Zeros {
    family: &'static str,
    /// The values of the label `account`, the first one of each of these families.
    accounts: Arc<[String]>,
    /// The other labels, as they are written.
    labels: String,
}

struct Inner {
    webhooks: IntCounterVec,
    unrecognized: IntCounterVec,
    unknown_users: IntCounterVec,
    webhook_seconds: Histogram,
    publish_seconds: HistogramVec,
    commands: IntCounterVec,
    command_seconds: Histogram,
    vendor_requests: IntCounterVec,
    vendor_request_seconds: Histogram,
    in_flight: IntGaugeVec,
    circuit_state: IntGaugeVec,
    token_expires: GaugeVec,
    consumer_lag: IntGaugeVec,
    partitions_uncommitted: IntCounter,
    dead_letters: IntCounterVec,
    signature_form: IntGaugeVec,
    reply_errors: IntCounterVec,
    pipeline_restarts: IntCounterVec,
    offset_resets: IntCounterVec,
    connections_refused: IntCounterVec,
    ready: Gauge,
    spool_records: IntGaugeVec,
    spool_bytes: Gauge,
    spool_oldest: Gauge,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Registers every metric, also those that nothing has counted yet.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let labelled = RefCell::new(Vec::new());
        let note = |name: &str, help: &str, kind| {
            labelled.borrow_mut().push((name.to_owned(), help.to_owned(), kind));
        };
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let metric = IntCounterVec::new(Opts::new(name, help), labels)?;
            note(name, help, "counter");
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            let metric = IntGaugeVec::new(Opts::new(name, help), labels)?;
            note(name, help, "gauge");
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let seconds = |name: &str, help: &str| {
            let options = HistogramOpts::new(name, help).buckets(SECONDS.to_vec());
            let metric = Histogram::with_opts(options)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let (name, help) = (
            "wms_publish_seconds",
            "Seconds from handing a record to the producer to the broker's acknowledgement.",
        );
        note(name, help, "histogram");
        let options = HistogramOpts::new(name, help).buckets(SECONDS.to_vec());
        let publish_seconds = HistogramVec::new(options, &["topic"])?;
        registry.register(Box::new(publish_seconds.clone()))?;
        let (name, help) = (
            "wms_token_expires_in_seconds",
            "Seconds the account can still call without a person; 0: it cannot now.",
        );
        note(name, help, "gauge");
        let token_expires = GaugeVec::new(Opts::new(name, help), &["account"])?;
        registry.register(Box::new(token_expires.clone()))?;
        let partitions_uncommitted = IntCounter::new(
            "wms_partitions_uncommitted_total",
            "Partitions of commands that were lost or given back without their last commit.",
        )?;
        registry.register(Box::new(partitions_uncommitted.clone()))?;
        let ready = Gauge::new("wms_ready", "1 while /readyz answers 200.")?;
        registry.register(Box::new(ready.clone()))?;
        let spool_bytes = Gauge::new(
            "wms_spool_bytes",
            "Bytes of the webhooks that are in the spool, on the local disk.",
        )?;
        registry.register(Box::new(spool_bytes.clone()))?;
        let spool_oldest = Gauge::new(
            "wms_spool_oldest_seconds",
            "Seconds the oldest webhook has waited in the spool for Kafka; 0: none waits.",
        )?;
        registry.register(Box::new(spool_oldest.clone()))?;
        let build = IntGaugeVec::new(
            Opts::new("wms_build_info", "1, with the versions that run as labels."),
            &["version", "librdkafka"],
        )?;
        let (_, librdkafka) = rdkafka::util::get_rdkafka_version();
        build.with_label_values(&[env!("CARGO_PKG_VERSION"), librdkafka.as_str()]).set(1);
        registry.register(Box::new(build))?;
        // `process_cpu_seconds_total`, `process_resident_memory_bytes`, `process_open_fds`, … by
        // the names that Prometheus's own client libraries use.
        #[cfg(target_os = "linux")]
        registry.register(Box::new(ProcessCollector::for_self()))?;
        // Nothing counts into it in this version.
        counter(
            "wms_stock_gaps_total",
            "Stock changes that do not follow from the level before.",
            &["account"],
        )?;
        let inner = Inner {
            webhooks: counter(
                "wms_webhooks_total",
                "Webhooks by account, type and outcome.",
                &["account", "type", "outcome"],
            )?,
            unrecognized: counter(
                "wms_webhooks_unrecognized_total",
                "Authentic webhooks that went to `unrecognized`, by account and reason.",
                &["account", "reason"],
            )?,
            unknown_users: counter(
                "wms_webhook_unknown_users_total",
                "Authentic webhooks of users that no account lists, wherever they went.",
                &["account"],
            )?,
            webhook_seconds: seconds(
                "wms_webhook_seconds",
                "Seconds from a webhook's last byte to its answer.",
            )?,
            publish_seconds,
            commands: counter(
                "wms_commands_total",
                "Commands by account, operation and reply status.",
                &["account", "operation", "status"],
            )?,
            command_seconds: seconds(
                "wms_command_seconds",
                "Seconds from reading a command to the acknowledgement of its reply.",
            )?,
            vendor_requests: counter(
                "wms_vendor_requests_total",
                "HTTP requests to the vendors by account, operation and class of the answer.",
                &["account", "operation", "class"],
            )?,
            vendor_request_seconds: seconds(
                "wms_vendor_request_seconds",
                "Seconds of one HTTP request to a vendor.",
            )?,
            in_flight: gauge(
                "wms_in_flight",
                "What a pipeline is working on now: webhooks or commands.",
                &["pipeline"],
            )?,
            circuit_state: gauge(
                "wms_circuit_state",
                "The account's circuit: 0 closed, 1 half-open, 2 open.",
                &["account"],
            )?,
            token_expires,
            consumer_lag: gauge(
                "wms_consumer_lag",
                "Commands between the last stored offset and the end of the partition.",
                &["topic", "partition"],
            )?,
            partitions_uncommitted,
            dead_letters: counter(
                "wms_dead_letters_total",
                "Commands written to a dead-letter topic.",
                &["topic"],
            )?,
            signature_form: gauge(
                "wms_signature_form",
                "1 for the form in which the account's last webhook was signed.",
                &["account", "form"],
            )?,
            reply_errors: counter(
                "wms_reply_errors_total",
                "Replies sent to the default topic because the asked one cannot be used.",
                &["reason"],
            )?,
            offset_resets: counter(
                "wms_offset_resets_total",
                "Partitions of commands whose reading began elsewhere than at the committed offset.",
                &["topic", "reason"],
            )?,
            pipeline_restarts: counter(
                "wms_pipeline_restarts_total",
                "Failures of a whole pipeline, which then started again.",
                &["pipeline"],
            )?,
            connections_refused: counter(
                "wms_connections_refused_total",
                "Connections of senders that were refused or closed, by reason.",
                &["reason"],
            )?,
            ready,
            spool_records: gauge(
                "wms_spool_records",
                "Webhooks in the spool: waiting for Kafka, or set aside because Kafka refused them.",
                &["state"],
            )?,
            spool_bytes,
            spool_oldest,
        };
        Ok(Self {
            registry,
            inner: Arc::new(inner),
            labelled: labelled.into_inner().into(),
            zeros: Arc::default(),
        })
    }

    /// Shows a series of each account at zero, so that a rate over it begins before the first
    /// event. The labels are in the order of their names, and theirs are not the sender's texts.
    fn show_at_zero(
        &self,
        family: &'static str,
        accounts: &Arc<[String]>,
        labels: &[(&str, &str)],
    ) {
        let labels = labels.iter().fold(String::new(), |mut text, (name, value)| {
            text.push_str(&format!(",{name}=\"{value}\""));
            text
        });
        let zeros = Zeros { family, accounts: Arc::clone(accounts), labels };
        self.zeros.lock().unwrap_or_else(PoisonError::into_inner).push(zeros);
    }

    /// The exposition text.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        let families = self.registry.gather();
        let mut text = String::new();
        for family in &families {
            let mut bytes = Vec::new();
            TextEncoder::new().encode(std::slice::from_ref(family), &mut bytes)?;
            let counted = String::from_utf8_lossy(&bytes);
            text.push_str(&counted);
            self.render_zeros(family.name(), &counted, &mut text);
        }
        // The library leaves out what has no labels yet (a lag before the first assignment); its
        // name is there all the same, so that a dashboard can be made before it is needed.
        for (name, help, kind) in self.labelled.iter() {
            if !families.iter().any(|family| family.name() == name) {
                text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
                self.render_zeros(name, "", &mut text);
            }
        }
        Ok(text)
    }

    /// Appends what nothing has counted into yet.
    fn render_zeros(&self, family: &str, counted: &str, text: &mut String) {
        let counted: HashSet<&str> =
            counted.lines().filter_map(|line| Some(line.rsplit_once(' ')?.0)).collect();
        let zeros = self.zeros.lock().unwrap_or_else(PoisonError::into_inner);
        let mut series = String::new();
        for zeros in zeros.iter().filter(|zeros| zeros.family == family) {
            for account in zeros.accounts.iter() {
                series.clear();
                for part in [family, "{account=\"", account, "\"", &zeros.labels, "}"] {
                    series.push_str(part);
                }
                if !counted.contains(series.as_str()) {
                    text.push_str(&series);
                    text.push_str(" 0\n");
                }
            }
        }
    }

    /// Shows what alerts about the webhooks of these accounts wait for.
    pub fn webhook_accounts<'a>(
        &self,
        accounts: impl IntoIterator<Item = &'a str>,
        type_label: &str,
        outcomes: &[&str],
        reasons: &[&str],
    ) {
        let accounts: Arc<[String]> = accounts.into_iter().map(str::to_owned).collect();
        for outcome in outcomes {
            let labels = [("outcome", *outcome), ("type", type_label)];
            self.show_at_zero("wms_webhooks_total", &accounts, &labels);
        }
        for reason in reasons {
            self.show_at_zero("wms_webhooks_unrecognized_total", &accounts, &[("reason", *reason)]);
        }
        self.show_at_zero("wms_webhook_unknown_users_total", &accounts, &[]);
        self.show_at_zero("wms_stock_gaps_total", &accounts, &[]);
    }

    /// Shows what alerts about the commands of these accounts wait for.
    pub fn command_accounts<'a>(
        &self,
        accounts: impl IntoIterator<Item = &'a str>,
        operation: &str,
        status: &str,
        class: &str,
    ) {
        let accounts: Arc<[String]> = accounts.into_iter().map(str::to_owned).collect();
        let labels = [("operation", operation), ("status", status)];
        self.show_at_zero("wms_commands_total", &accounts, &labels);
        let labels = [("class", class), ("operation", operation)];
        self.show_at_zero("wms_vendor_requests_total", &accounts, &labels);
        self.show_at_zero("wms_circuit_state", &accounts, &[]);
    }

    pub fn webhook(&self, account: &str, type_label: &str, outcome: &str) {
        self.inner.webhooks.with_label_values(&[account, type_label, outcome]).inc();
    }

    /// Lets a counter exist at zero, so that a rate over it begins before the first event.
    pub fn webhook_exists(&self, account: &str, type_label: &str, outcome: &str) {
        self.inner.webhooks.with_label_values(&[account, type_label, outcome]).inc_by(0);
    }

    pub fn unrecognized(&self, account: &str, reason: &str) {
        self.inner.unrecognized.with_label_values(&[account, reason]).inc();
    }

    pub fn unknown_user(&self, account: &str) {
        self.inner.unknown_users.with_label_values(&[account]).inc();
    }

    pub fn webhook_seconds(&self, seconds: f64) {
        self.inner.webhook_seconds.observe(seconds);
    }

    pub fn publish_seconds(&self, topic: &str, seconds: f64) {
        self.inner.publish_seconds.with_label_values(&[topic]).observe(seconds);
    }

    /// Lets the time of a topic exist before the first record.
    pub fn publish_exists(&self, topic: &str) {
        drop(self.inner.publish_seconds.with_label_values(&[topic]));
    }

    pub fn command(&self, account: &str, operation: &str, status: &str) {
        self.inner.commands.with_label_values(&[account, operation, status]).inc();
    }

    pub fn command_seconds(&self, seconds: f64) {
        self.inner.command_seconds.observe(seconds);
    }

    pub fn vendor_request(&self, account: &str, operation: &str, class: &str, seconds: f64) {
        self.inner.vendor_requests.with_label_values(&[account, operation, class]).inc();
        self.inner.vendor_request_seconds.observe(seconds);
    }

    pub fn in_flight(&self, pipeline: &str, count: i64) {
        self.inner.in_flight.with_label_values(&[pipeline]).set(count);
    }

    /// One more, or one less.
    pub fn in_flight_changed(&self, pipeline: &str, by: i64) {
        self.inner.in_flight.with_label_values(&[pipeline]).add(by);
    }

    /// 0 closed, 1 half-open, 2 open.
    pub fn circuit_state(&self, account: &str, state: i64) {
        self.inner.circuit_state.with_label_values(&[account]).set(state);
    }

    pub fn token_expires_in(&self, account: &str, seconds: f64) {
        self.inner.token_expires.with_label_values(&[account]).set(seconds);
    }

    pub fn consumer_lag(&self, topic: &str, partition: i32, lag: i64) {
        self.inner.consumer_lag.with_label_values(&[topic, &partition.to_string()]).set(lag);
    }

    /// The partition belongs to another process now; its lag is no longer ours to report.
    pub fn consumer_lag_gone(&self, topic: &str, partition: i32) {
        // Nothing was reported yet: nothing to forget.
        drop(self.inner.consumer_lag.remove_label_values(&[topic, &partition.to_string()]));
    }

    pub fn partitions_uncommitted(&self, partitions: u64) {
        self.inner.partitions_uncommitted.inc_by(partitions);
    }

    pub fn dead_letter(&self, topic: &str) {
        self.inner.dead_letters.with_label_values(&[topic]).inc();
    }

    pub fn dead_letters_exist(&self, topic: &str) {
        self.inner.dead_letters.with_label_values(&[topic]).inc_by(0);
    }

    pub fn signature_form(&self, account: &str, form: &str, matched: bool) {
        self.inner.signature_form.with_label_values(&[account, form]).set(i64::from(matched));
    }

    pub fn reply_error(&self, reason: &str) {
        self.inner.reply_errors.with_label_values(&[reason]).inc();
    }

    /// A connection was refused, or closed before its sender wanted it.
    pub fn connection_refused(&self, reason: &str) {
        self.inner.connections_refused.with_label_values(&[reason]).inc();
    }

    /// Reading began elsewhere than at the committed offset.
    pub fn offset_resets(&self, topic: &str, reason: &str, partitions: u64) {
        self.inner.offset_resets.with_label_values(&[topic, reason]).inc_by(partitions);
    }

    /// A pipeline failed, and starts again.
    pub fn pipeline_restarted(&self, pipeline: &str) {
        self.inner.pipeline_restarts.with_label_values(&[pipeline]).inc();
    }

    /// Shows a pipeline's failures at zero.
    pub fn pipeline_exists(&self, pipeline: &str) {
        self.inner.pipeline_restarts.with_label_values(&[pipeline]);
    }

    /// What is in the spool.
    #[allow(clippy::cast_precision_loss, reason = "a gauge is a float")]
    pub fn spool(&self, waiting: u64, aside: u64, bytes: u64, oldest: std::time::Duration) {
        let records = |state, count| {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.inner.spool_records.with_label_values(&[state]).set(count);
        };
        records("waiting", waiting);
        records("aside", aside);
        self.inner.spool_bytes.set(bytes as f64);
        self.inner.spool_oldest.set(oldest.as_secs_f64());
    }

    pub fn ready(&self, ready: bool) {
        self.inner.ready.set(if ready { 1.0 } else { 0.0 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_shown_at_zero_until_something_counts() {
        let metrics = Metrics::new().unwrap();
        metrics.webhook_accounts(["a", "b"], "none", &["unavailable"], &["retyped"]);
        metrics.command_accounts(["a", "b"], "create-order", "FAILED", "misconfigured");
        metrics.webhook("b", "none", "unavailable");
        metrics.webhook("b", "order", "accepted");
        metrics.circuit_state("a", 2);
        let page = metrics.render().unwrap();
        let of = |family: &str| -> Vec<&str> {
            page.lines().filter(|line| line.starts_with(&format!("{family}{{"))).collect()
        };
        assert_eq!(
            of("wms_webhooks_total"),
            [
                "wms_webhooks_total{account=\"b\",outcome=\"accepted\",type=\"order\"} 1",
                "wms_webhooks_total{account=\"b\",outcome=\"unavailable\",type=\"none\"} 1",
                "wms_webhooks_total{account=\"a\",outcome=\"unavailable\",type=\"none\"} 0",
            ]
        );
        assert_eq!(
            of("wms_circuit_state"),
            ["wms_circuit_state{account=\"a\"} 2", "wms_circuit_state{account=\"b\"} 0"]
        );
        assert_eq!(
            of("wms_webhooks_unrecognized_total"),
            ["a", "b"].map(|account| format!(
                "wms_webhooks_unrecognized_total{{account=\"{account}\",reason=\"retyped\"}} 0"
            ))
        );
        // A family's lines are together, below its one header.
        for family in ["wms_webhooks_total", "wms_commands_total", "wms_stock_gaps_total"] {
            let header = format!("# TYPE {family} counter\n{family}{{");
            assert_eq!(page.matches(&header).count(), 1, "{family}: {page}");
        }
    }
}
