//! `[ingress]`

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use ipnet::IpNet;

use super::section::Section;

/// How webhooks are received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ingress {
    /// Where webhooks are received. Default: `0.0.0.0:8080`.
    pub listen: SocketAddr,
    /// The answer comes within this time. Default: 5 s; always above 1 s.
    pub publish_timeout: Duration,
    /// The largest body, in bytes. Default: 4 MiB.
    pub max_body: u64,
    /// How many webhooks may wait for Kafka. Default: 4096.
    pub max_in_flight: usize,
    /// How many bytes of webhooks may wait for Kafka. Default: 64 MiB.
    pub max_in_flight_bytes: u64,
    /// How many senders may be connected. Default: 4096.
    pub max_connections: usize,
    /// How many of them may come from one address. Default: 1024.
    pub max_connections_per_source: usize,
    /// How many bytes of unfinished bodies may come from one address. Default: 16 MiB.
    pub max_receiving_bytes_per_source: u64,
    /// How many bytes a second a large body takes at least. Default: 16 KiB.
    pub min_transfer_rate: u64,
    /// How long a webhook is remembered, to suppress its repeat; zero: not at all. Default: 10 min.
    pub duplicate_window: Duration,
    /// How many webhooks are remembered. Default: 100,000.
    pub duplicate_entries: usize,
    /// How many bytes a minute, of one sender's webhooks whose signature is in no known form, are
    /// tried in every form. Default: 16 MiB.
    pub further_signature_bytes: u64,
    /// What becomes of signed data that arrives again as another type. Default: refused.
    pub retyped: Retyped,
    /// What becomes of a webhook of a user that no account lists. Default: unrecognized.
    pub unknown_users: UnknownUsers,
    /// From where `X-Forwarded-For` is believed. Default: from nowhere.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether a webhook's `traceparent` is continued. Default: false.
    pub trust_traceparent: bool,
    /// How long a sender may take for one request. Default: 15 s.
    pub read_timeout: Duration,
    /// How long a connection without a request is kept. Default: 620 s.
    pub keep_alive: Duration,
    /// How long connections are still accepted after SIGTERM. Default: 5 s.
    pub drain: Duration,
    /// Where webhooks are kept while Kafka is away. Default: nowhere.
    pub spool: Option<Spool>,
}

/// `[ingress.spool]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spool {
    /// The file. Default: none, and then there is no spool.
    pub path: PathBuf,
    /// How many bytes of webhooks it may hold. Default: 1 GiB.
    pub max_bytes: u64,
    /// What is left of `publish_timeout` for the disk. Default: 1 s.
    pub reserve: Duration,
}

impl Spool {
    fn read(mut section: Section<'_>, publish_timeout: Option<Duration>) -> Option<Option<Self>> {
        let path = section.optional_path("path");
        let max_bytes = section.size("max_bytes");
        let reserve = section.duration("reserve");
        if let (Some(reserve), Some(timeout), Some(Some(_))) = (reserve, publish_timeout, &path)
            && timeout.saturating_sub(reserve) <= LATE_FAILURE
        {
            section.problem(
                "reserve",
                "leaves Kafka no time: `ingress.publish_timeout` takes more than 1s besides, \
                 because librdkafka reports a failure up to a second late",
            );
        }
        section.finish();
        let (path, max_bytes, reserve) = (path?, max_bytes?, reserve?);
        Some(path.map(|path| Self { path, max_bytes, reserve }))
    }
}

/// What becomes of signed data that arrives again as another type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retyped {
    /// It goes to the topic of the unrecognized and is counted.
    Refuse,
    /// It goes to the topic of its type.
    Accept,
}

/// What becomes of an authentic webhook of a user that no account lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownUsers {
    /// It goes to the topic of the unrecognized and is counted.
    Unrecognized,
    /// It belongs to the account of the URL.
    Account,
}

/// librdkafka reports a failed record up to this much later than its timeout says.
const LATE_FAILURE: Duration = Duration::from_secs(1);

/// How much larger a webhook's record may be than its body: headers, the frame's unknown members, and
/// what Avro writes of a line that says nothing. A test holds the vendors' bounds against it.
const RECORD_ROOM: u64 = 1 << 20;
/// librdkafka's own limit of `message.max.bytes`.
const LARGEST_RECORD: u64 = 1_000_000_000;

impl Ingress {
    /// The largest record that a webhook becomes, uncompressed.
    pub const fn largest_record(&self) -> u64 {
        self.max_body.saturating_add(RECORD_ROOM)
    }

    pub(super) fn read(mut section: Section<'_>) -> Option<Self> {
        let listen = section.address("listen");
        let publish_timeout = section.duration("publish_timeout");
        let max_body = section.size("max_body");
        let max_in_flight = section.count("max_in_flight");
        let max_in_flight_bytes = section.size("max_in_flight_bytes");
        let max_connections = section.count("max_connections");
        let max_connections_per_source = section.count("max_connections_per_source");
        let max_receiving_bytes_per_source = section.size("max_receiving_bytes_per_source");
        let min_transfer_rate = section.size("min_transfer_rate");
        let duplicate_window = section.duration_or_zero("duplicate_window");
        let duplicate_entries = section.count("duplicate_entries");
        let further_signature_bytes = section.size("further_signature_bytes");
        let retyped =
            section.choice("retyped", &[("refuse", Retyped::Refuse), ("accept", Retyped::Accept)]);
        let unknown_users = section.choice(
            "unknown_users",
            &[("unrecognized", UnknownUsers::Unrecognized), ("account", UnknownUsers::Account)],
        );
        let trusted_proxies = section.networks("trusted_proxies");
        let trust_traceparent = section.flag("trust_traceparent");
        let read_timeout = section.duration("read_timeout");
        let keep_alive = section.duration("keep_alive");
        let drain = section.duration_or_zero("drain");
        let spool = Spool::read(section.section("spool"), publish_timeout);

        if let Some(timeout) = publish_timeout.filter(|timeout| *timeout <= LATE_FAILURE) {
            section.problem(
                "publish_timeout",
                format_args!(
                    "takes more than 1s, because librdkafka reports a failure up to a second \
                     late; found {}",
                    humantime::format_duration(timeout)
                ),
            );
        }
        if max_body.is_some_and(|body| body > LARGEST_RECORD - RECORD_ROOM) {
            section.problem("max_body", "is more than Kafka's client takes in one record (900MB)");
        }
        if let (Some(body), Some(source)) = (max_body, max_receiving_bytes_per_source)
            && body > source
        {
            section.problem(
                "max_receiving_bytes_per_source",
                "is smaller than `ingress.max_body`: the largest webhook could never be received; \
                 raise it, or lower the other",
            );
        }
        if let (Some(body), Some(all)) = (max_body, max_in_flight_bytes)
            && body > all
        {
            section.problem(
                "max_in_flight_bytes",
                "is smaller than `ingress.max_body`: the largest webhook could never be received; \
                 raise it, or lower the other",
            );
        }
        section.finish();
        Some(Self {
            listen: listen?,
            publish_timeout: publish_timeout?,
            max_body: max_body?,
            max_in_flight: max_in_flight?,
            max_in_flight_bytes: max_in_flight_bytes?,
            max_connections: max_connections?,
            max_connections_per_source: max_connections_per_source?,
            max_receiving_bytes_per_source: max_receiving_bytes_per_source?,
            min_transfer_rate: min_transfer_rate?,
            duplicate_window: duplicate_window?,
            duplicate_entries: duplicate_entries?,
            further_signature_bytes: further_signature_bytes?,
            retyped: retyped?,
            unknown_users: unknown_users?,
            trusted_proxies: trusted_proxies?,
            trust_traceparent: trust_traceparent?,
            read_timeout: read_timeout?,
            keep_alive: keep_alive?,
            drain: drain?,
            spool: spool?,
        })
    }
}
