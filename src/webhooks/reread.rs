//! What lies on `unrecognized`, read again: after a release that knows more, a user that was
//! configured, a topic that takes more.
//!
//! The webhook was authentic when it was kept, and what carried its signature (a header, the query)
//! may not lie there with it: the signature is not checked again.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::Arc,
};

use bytes::Bytes;
use jiff::Timestamp;

use super::{Account, form, parts, record};
use crate::{
    avro::Encoders,
    domain::{AccountName, Event, Received, Unrecognized, Webhook},
    kafka::{OutgoingRecord, ReadRecord, TraceParent},
};

/// So many webhooks that were kept in parts are put together at once. The parts of one lie behind each
/// other but for what other processes wrote between them.
const PUT_TOGETHER: usize = 8;
/// Of so many parts at most: no setting takes in a body of this size.
const MOST_PARTS: usize = 1_024;

/// What the headers of a record on `unrecognized` say. Whatever is missing or wrong is `None`:
/// somebody else may have written it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptHeaders {
    pub account: Option<String>,
    pub type_name: Option<String>,
    pub reason: Option<String>,
    /// Which part it is, counted from 1, and of how many.
    pub part: Option<(usize, usize)>,
}

impl KeptHeaders {
    pub fn of(record: &ReadRecord) -> Self {
        let number = |name| record.header(name).and_then(|text| text.parse::<usize>().ok());
        let part = number(parts::NUMBER).zip(number(parts::COUNT));
        Self {
            account: record.header(record::ACCOUNT),
            type_name: record.header(record::TYPE),
            reason: record.header(record::REASON),
            part: part
                .filter(|(number, count)| (1..=*count).contains(number) && *count <= MOST_PARTS),
        }
    }

    /// The reason without its details, such as `undecodable`.
    pub fn kind(&self) -> Option<&'static str> {
        let reason = self.reason.as_deref()?;
        let kind = reason.split_once(':').map_or(reason, |(kind, _)| kind);
        Unrecognized::REASONS.into_iter().find(|known| *known == kind)
    }
}

/// Why a webhook stays on `unrecognized`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stays {
    #[error("no header `{}` says whose it is: the connector did not write it", record::ACCOUNT)]
    NotOurs,
    #[error("account `{0}` is not in the configuration, or is of another vendor")]
    UnknownAccount(String),
    #[error(
        "signed data came back under another type, which no signature covers; --reason retyped \
         sends it all the same"
    )]
    Retyped,
    #[error("the parts before this one are not among those that are read")]
    PartsMissing,
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    #[error("it is still {0}")]
    Still(Unrecognized),
}

/// What became of one record.
#[derive(Debug)]
pub enum Reread {
    /// A part of a webhook that others complete.
    Part,
    Event(Box<OutgoingRecord>),
    Stays(Stays),
}

/// Reads webhooks again, one record after the other.
pub struct Rereader {
    vendor: &'static str,
    accounts: BTreeMap<AccountName, Account>,
    encoders: Arc<Encoders>,
    /// Whether webhooks are read that came under another type than the one that was signed first.
    retyped: bool,
    unfinished: VecDeque<Unfinished>,
}

/// The parts of a webhook that were read so far.
struct Unfinished {
    key: Option<Vec<u8>>,
    next: usize,
    body: Vec<u8>,
}

impl fmt::Debug for Rereader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rereader").field("vendor", &self.vendor).finish_non_exhaustive()
    }
}

impl Rereader {
    /// For the `unrecognized` topic of one vendor.
    pub fn new(
        vendor: &'static str,
        accounts: Vec<Account>,
        encoders: Arc<Encoders>,
        retyped: bool,
    ) -> Self {
        let accounts = accounts
            .into_iter()
            .filter(|account| account.vendor.name() == vendor)
            .map(|account| (account.name.clone(), account))
            .collect();
        Self { vendor, accounts, encoders, retyped, unfinished: VecDeque::new() }
    }

    /// Reads a record as the webhook it was.
    pub fn read(&mut self, kept: &ReadRecord) -> Reread {
        let headers = KeptHeaders::of(kept);
        let payload = kept.payload.clone().unwrap_or_default();
        let body = match headers.part {
            None => payload,
            Some(part) => match self.with_the_parts_before(kept, part, payload) {
                Ok(Some(body)) => body,
                Ok(None) => return Reread::Part,
                Err(stays) => return Reread::Stays(stays),
            },
        };
        match self.event(kept, &headers, body) {
            Ok(event) => Reread::Event(Box::new(event)),
            Err(stays) => Reread::Stays(stays),
        }
    }

    /// The whole body, once its last part came.
    fn with_the_parts_before(
        &mut self,
        kept: &ReadRecord,
        (number, count): (usize, usize),
        payload: Vec<u8>,
    ) -> Result<Option<Vec<u8>>, Stays> {
        let known = self.unfinished.iter().position(|found| found.key == kept.key);
        let before = known.and_then(|at| self.unfinished.remove(at));
        let unfinished = match before {
            // A repeat of a webhook whose parts were not all kept begins again.
            _ if number == 1 => Unfinished { key: kept.key.clone(), next: 2, body: payload },
            Some(mut before) if before.next == number => {
                before.body.extend(payload);
                before.next += 1;
                before
            }
            Some(_) | None => return Err(Stays::PartsMissing),
        };
        if number == count {
            return Ok(Some(unfinished.body));
        }
        if self.unfinished.len() == PUT_TOGETHER {
            self.unfinished.pop_front();
        }
        self.unfinished.push_back(unfinished);
        Ok(None)
    }

    fn event(
        &self,
        kept: &ReadRecord,
        headers: &KeptHeaders,
        body: Vec<u8>,
    ) -> Result<OutgoingRecord, Stays> {
        let name = headers.account.clone().ok_or(Stays::NotOurs)?;
        let account = AccountName::new(&name).ok().and_then(|name| self.accounts.get(&name));
        let account = account.ok_or(Stays::UnknownAccount(name))?;
        if headers.kind() == Some(Unrecognized::Retyped.reason()) && !self.retyped {
            return Err(Stays::Retyped);
        }
        let content_type = kept.header("content-type");
        let form = form::fields(content_type.as_deref(), &body)
            .map_err(|error| Stays::Unreadable(error.to_string()))?;
        let received = Received {
            account: account.name.clone(),
            body: Bytes::from(body),
            query: Vec::new(),
            headers: content_type.into_iter().map(|t| ("content-type".to_owned(), t)).collect(),
            form,
            received_at: received_at(kept),
        };
        let event = event_of(account, received)?;
        let trace = kept.header("traceparent").and_then(|text| TraceParent::parse(&text));
        let trace = trace.unwrap_or_else(|| TraceParent::start(rand::random(), rand::random()));
        record::event(&self.encoders, account, &event, &trace)
            .map_err(|reason| Stays::Still(Unrecognized::Undecodable(reason)))
    }
}

/// The event that an authentic webhook of an account is.
pub fn event_of(account: &Account, received: Received) -> Result<Event, Stays> {
    let webhook = account
        .vendor
        .reread(Webhook::new(received))
        .map_err(|refusal| Stays::Unreadable(refusal.to_string()))?;
    account.vendor.decode(&webhook, &|user| account.owner(user, || ())).map_err(Stays::Still)
}

/// When the webhook came in: the time that stands on what was kept.
fn received_at(kept: &ReadRecord) -> Timestamp {
    let told = kept.header("ce_time").and_then(|text| text.parse().ok());
    let written = || kept.timestamp.and_then(|at| Timestamp::from_millisecond(at).ok());
    told.or_else(written).unwrap_or(Timestamp::UNIX_EPOCH)
}
