//! The circuits of one account. Pure: the time is an argument.
//!
//! ```text
//! the account            no tokens, stopped, its requests are refused before they reach the vendor
//!   ├─ create-order  ┐
//!   ├─ cancel-order  │   the vendor fails this operation, or does not answer it
//!   ├─ …             │
//!   └─ call PATH     ┘
//! ```
//!
//! A call needs both its operation's circuit and the account's. What fails one operation says
//! nothing about the others, so it holds up that operation only.
//!
//! **Blocked.** A status from 300 to 499 without the vendor's answer comes from something before
//! the vendor: a proxy, a firewall, a gateway. One command that meets it (too large, a word that a
//! firewall dislikes) is at fault itself, and the others must not wait for it. So it counts against
//! the account only once `failures` *different* commands in a row have met it, whatever their operations, and
//! the vendor answered none in between. Then it is parked until a probe gets through. Those that
//! were blocked while others got through are known to be at fault themselves: they park nothing
//! again, and end within their retries.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

use super::breaker::{Admission, Breaker, CircuitSettings, CircuitState, Passage};

/// A misconfigured account is tried again after this long: what was wrong may have been corrected
/// at the vendor (an address added to its list), which nothing tells us.
const STOPPED_PROBE_AFTER: Duration = Duration::from_secs(60);

/// So many operations have a circuit of their own. Which paths are called is the callers' choice,
/// and must not grow without a bound. Those beyond share one.
const OPERATIONS: usize = 64;
/// The operation of those beyond.
const BEYOND: &str = "other calls";

/// So many commands at fault are remembered. Those that are forgotten can park once more.
const REMEMBERED: usize = 256;

/// Whose call it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller<'a> {
    /// The name of its limit, and the label in metrics.
    pub label: &'a str,
    /// What fails together: an operation with its look-ups, or the calls of one path.
    pub operation: &'a str,
    /// The command it is made for; the same for each of its attempts.
    pub command: u64,
    /// The command chose the path, so a path that does not exist is its own fault.
    pub own_path: bool,
    /// That look-ups get through says nothing about the operation itself.
    pub look_up: bool,
}

/// The right to make one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    account: Passage,
    operation: Passage,
    name: String,
    command: u64,
    own_path: bool,
    look_up: bool,
    /// Its place in the order in which calls were let through.
    number: u64,
}

/// Why a call may not be made now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closed {
    /// The vendor does not work.
    Open { until: Instant },
    /// Requests are refused before they reach the vendor.
    Parked { until: Instant, message: String },
    /// The vendor refuses the account as it is configured.
    Stopped { message: String },
}

/// The answer to "may I call?".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entrance {
    Granted(Entry),
    /// The slow start is full: ask again when a call has ended.
    Wait,
    Refused(Closed),
}

/// What became of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The vendor answered, with whatever.
    Answered,
    /// The vendor is not able now. `at_least`: how long it asked to be left alone.
    Failed { at_least: Option<Duration> },
    /// Refused before it reached the vendor, with this HTTP status.
    Blocked { status: u16 },
    /// The vendor refuses the account.
    Misconfigured { message: String },
    /// Its caller gave it up.
    GivenUp,
}

/// What an ending changed, worth a line in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The account is stopped.
    Stopped(String),
    /// The account is parked.
    Parked(String),
    /// What was stopped or parked works again.
    Resumed { operation: Option<String> },
}

/// Why a circuit is open, where it is not for failures of the vendor.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stop {
    Misconfigured(String),
    Blocked(u16),
}

fn parked_message(status: u16) -> String {
    format!(
        "HTTP {status} comes instead of the vendor's answer, for different commands in a row: a \
         proxy, firewall or gateway refuses the requests; check the account's `base_url` and what \
         is between the connector and the vendor"
    )
}

/// One circuit, of the account or of one operation.
#[derive(Debug)]
struct Circuit {
    breaker: Breaker,
    stop: Option<Stop>,
    /// The commands in a row that were blocked.
    row: HashSet<u64>,
    /// The number of the first call of the row.
    row_began: u64,
    /// The commands that stopped or parked it, and those whose probes failed so.
    suspects: VecDeque<u64>,
    /// The commands that failed so while others got through.
    at_fault: VecDeque<u64>,
}

impl Circuit {
    fn new(settings: CircuitSettings) -> Self {
        Self {
            breaker: Breaker::new(settings),
            stop: None,
            row: HashSet::new(),
            row_began: 0,
            suspects: VecDeque::new(),
            at_fault: VecDeque::new(),
        }
    }

    fn is_closed(&self, now: Instant) -> bool {
        self.breaker.state(now) == CircuitState::Closed
    }

    /// Whether little would be lost if this were made anew.
    fn is_idle(&self) -> bool {
        self.breaker.is_idle() && self.stop.is_none()
    }

    fn refusal(&self, now: Instant, command: u64) -> Option<Closed> {
        let until = self.breaker.refused_until(now, command)?;
        Some(match &self.stop {
            Some(Stop::Misconfigured(message)) => Closed::Stopped { message: message.clone() },
            Some(Stop::Blocked(status)) => {
                Closed::Parked { until, message: parked_message(*status) }
            }
            None => Closed::Open { until },
        })
    }

    /// The vendor answered an operation.
    fn answered(&mut self, passage: Passage, entry: &Entry) {
        let mut says_so = self.breaker.is_current(passage);
        // A call that was let through after the first one that was blocked, and got through: what
        // is parked is parked by mistake.
        if !says_so && matches!(self.stop, Some(Stop::Blocked(_))) && entry.number > self.row_began
        {
            self.breaker.reset();
            says_so = true;
        }
        self.breaker.succeeded(passage);
        if says_so {
            self.row.clear();
            for command in std::mem::take(&mut self.suspects) {
                if command != entry.command {
                    remember(&mut self.at_fault, command);
                }
            }
        }
    }

    /// A request was refused before it reached the vendor. Says whether that parks the circuit.
    fn blocked(
        &mut self,
        passage: Passage,
        entry: &Entry,
        status: u16,
        parks: &Park,
        now: Instant,
    ) -> bool {
        let current = self.breaker.is_current(passage);
        self.breaker.undecided(passage, now, None);
        if !current {
            return false;
        }
        if !self.is_closed(now) {
            if let Some(Stop::Blocked(of)) = &mut self.stop {
                *of = status;
                remember(&mut self.suspects, entry.command);
            }
            return false;
        }
        if parks.never || self.at_fault.contains(&entry.command) {
            return false;
        }
        if self.row.is_empty() {
            self.row_began = entry.number;
        }
        self.row_began = self.row_began.min(entry.number);
        self.row.insert(entry.command);
        if u32::try_from(self.row.len()).unwrap_or(u32::MAX) < parks.after {
            return false;
        }
        self.breaker.trip(now, parks.pause);
        self.stop = Some(Stop::Blocked(status));
        for command in std::mem::take(&mut self.row) {
            remember(&mut self.suspects, command);
        }
        true
    }

    /// Whether it has just come back from being stopped or parked.
    fn has_resumed(&mut self, now: Instant) -> bool {
        self.is_closed(now) && self.stop.take().is_some()
    }
}

/// When a circuit parks.
struct Park {
    never: bool,
    after: u32,
    pause: Duration,
}

fn remember(commands: &mut VecDeque<u64>, command: u64) {
    if commands.contains(&command) {
        return;
    }
    if commands.len() >= REMEMBERED {
        commands.pop_front();
    }
    commands.push_back(command);
}

/// The circuits.
#[derive(Debug)]
pub struct Circuits {
    settings: CircuitSettings,
    account: Circuit,
    operations: HashMap<String, Circuit>,
    /// Calls let through so far.
    entries: u64,
}

impl Circuits {
    pub fn new(settings: CircuitSettings) -> Self {
        let account = Circuit::new(settings);
        Self { settings, account, operations: HashMap::new(), entries: 0 }
    }

    /// What the metric shows: the worst of all circuits of the account.
    pub fn state(&self, now: Instant) -> CircuitState {
        let all = [&self.account].into_iter().chain(self.operations.values());
        all.map(|circuit| circuit.breaker.state(now))
            .max_by_key(|state| state.value())
            .unwrap_or(CircuitState::Closed)
    }

    /// The operations whose own circuit is not closed.
    pub fn open_operations(&self, now: Instant) -> Vec<String> {
        let open = self.operations.iter().filter(|(_, circuit)| !circuit.is_closed(now));
        let mut names: Vec<String> = open.map(|(name, _)| name.clone()).collect();
        names.sort_unstable();
        names
    }

    /// Whether the vendor is not known to be back, for calls of this operation.
    pub fn is_open(&self, operation: &str, now: Instant) -> bool {
        let operation = self.operations.get(self.name_of(operation));
        let both = [Some(&self.account), operation].into_iter().flatten();
        both.into_iter().any(|circuit| !circuit.is_closed(now))
    }

    /// Whether a call may be tried, without taking an entry.
    pub fn check(&self, caller: Caller<'_>, now: Instant) -> Result<(), Closed> {
        let operation = self.operations.get(self.name_of(caller.operation));
        let both = [Some(&self.account), operation].into_iter().flatten();
        match both.into_iter().find_map(|circuit| circuit.refusal(now, caller.command)) {
            Some(closed) => Err(closed),
            None => Ok(()),
        }
    }

    /// Asks for one call.
    pub fn admit(&mut self, caller: Caller<'_>, now: Instant) -> Entrance {
        if let Err(closed) = self.check(caller, now) {
            return Entrance::Refused(closed);
        }
        let name = self.make_room(caller.operation);
        let breaker = &mut own(&mut self.operations, self.settings, &name).breaker;
        let operation = match breaker.admit(now, caller.command) {
            Admission::Granted(passage) => passage,
            Admission::Wait => return Entrance::Wait,
            Admission::Refused { until } => return Entrance::Refused(Closed::Open { until }),
        };
        let account = match self.account.breaker.admit(now, caller.command) {
            Admission::Granted(account) => account,
            Admission::Wait => {
                breaker.released(operation, now);
                return Entrance::Wait;
            }
            Admission::Refused { until } => {
                breaker.released(operation, now);
                return Entrance::Refused(Closed::Open { until });
            }
        };
        self.entries += 1;
        Entrance::Granted(Entry {
            account,
            operation,
            name,
            command: caller.command,
            own_path: caller.own_path,
            look_up: caller.look_up,
            number: self.entries,
        })
    }

    /// Whether nothing opened since the entry was given.
    #[cfg(test)]
    pub fn is_current(&self, entry: &Entry) -> bool {
        let operation = self.operations.get(&entry.name);
        self.account.breaker.is_current(entry.account)
            && operation.is_some_and(|circuit| circuit.breaker.is_current(entry.operation))
    }

    /// The call has ended.
    pub fn ended(&mut self, entry: &Entry, ending: Ending, now: Instant) -> Vec<Change> {
        let settings = self.settings;
        let Self { account, operations, .. } = self;
        let operation = own(operations, settings, &entry.name);
        match ending {
            Ending::Answered if !entry.look_up => {
                operation.answered(entry.operation, entry);
                account.answered(entry.account, entry);
            }
            Ending::Answered => {
                for (circuit, passage) in
                    [(&mut *operation, entry.operation), (&mut *account, entry.account)]
                {
                    match &circuit.stop {
                        Some(Stop::Blocked(_)) => circuit.breaker.released(passage, now),
                        Some(Stop::Misconfigured(_)) | None => circuit.breaker.succeeded(passage),
                    }
                }
            }
            Ending::Failed { at_least } => {
                operation.breaker.failed(entry.operation, now, at_least);
                account.breaker.undecided(entry.account, now, at_least);
            }
            Ending::Blocked { status } => {
                operation.breaker.undecided(entry.operation, now, None);
                // A path of its caller's that does not exist says nothing about the account.
                let parks = Park {
                    never: entry.own_path && matches!(status, 404 | 405),
                    after: settings.failures,
                    pause: settings.probe_after,
                };
                if account.blocked(entry.account, entry, status, &parks, now) {
                    return vec![Change::Parked(parked_message(status))];
                }
                return Vec::new();
            }
            Ending::Misconfigured { message } => {
                operation.breaker.undecided(entry.operation, now, None);
                if !account.breaker.is_current(entry.account) {
                    // The account was stopped or resumed since.
                    account.breaker.released(entry.account, now);
                } else if account.is_closed(now) && operation.at_fault.contains(&entry.command) {
                    account.breaker.undecided(entry.account, now, None);
                } else {
                    remember(&mut operation.suspects, entry.command);
                    account.breaker.undecided(entry.account, now, None);
                    account.breaker.trip(now, STOPPED_PROBE_AFTER);
                    let stop = Some(Stop::Misconfigured(message.clone()));
                    if std::mem::replace(&mut account.stop, stop).is_none() {
                        return vec![Change::Stopped(message)];
                    }
                }
                return Vec::new();
            }
            Ending::GivenUp => {
                operation.breaker.released(entry.operation, now);
                account.breaker.released(entry.account, now);
            }
        }
        let mut changes = Vec::new();
        if account.has_resumed(now) {
            changes.push(Change::Resumed { operation: None });
        }
        if operation.has_resumed(now) && changes.is_empty() {
            changes.push(Change::Resumed { operation: Some(entry.name.clone()) });
        }
        changes
    }

    /// A call outside the circuits failed (a token could not be renewed).
    pub fn failed_beside(&mut self, now: Instant) {
        self.account.breaker.failed_beside(now, None);
    }

    /// A person corrected the account: the next call finds out.
    pub fn corrected(&mut self, now: Instant) {
        self.account.stop = None;
        self.account.breaker.probe_now(now);
    }

    /// The name under which an operation's circuit is kept.
    fn name_of<'a>(&self, operation: &'a str) -> &'a str {
        let room = self.operations.len() < OPERATIONS;
        if room || self.operations.contains_key(operation) { operation } else { BEYOND }
    }

    /// The same, once those that hold nothing up have made room for it.
    fn make_room(&mut self, operation: &str) -> String {
        if !self.operations.contains_key(operation) && self.operations.len() >= OPERATIONS {
            self.operations.retain(|_, circuit| !circuit.is_idle());
        }
        self.name_of(operation).to_owned()
    }
}

fn own<'a>(
    operations: &'a mut HashMap<String, Circuit>,
    settings: CircuitSettings,
    name: &str,
) -> &'a mut Circuit {
    operations.entry(name.to_owned()).or_insert_with(|| Circuit::new(settings))
}

#[cfg(test)]
#[path = "circuits_tests.rs"]
mod tests;
