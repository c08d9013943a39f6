//! One command from its record to "finished": reads it, runs its lifecycle, posts what came of it.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use futures_util::FutureExt;
use jiff::Timestamp;
use tokio::{
    sync::{mpsc::UnboundedSender, oneshot},
    time::Instant,
};

use super::{
    Account, Calls, Coordinates, Deps, Judged, Purpose, Reads, Record, Replies, SendFailure,
    Settings,
    assignment::{Assignment, Busy, Group},
    committer::Job,
    consumer::Taken,
    dead_letters::Stage,
    lifecycle::{Event, Facts, Held, Lifecycle, Mend, Moment, Step},
    outcome::{self, Outcome, Subject},
    posting::Posting,
    settled::{Before, waits_for_those_before},
    slots::Slots,
};
use crate::avro::{Identity, ReadCommand, ReadError};
use crate::domain::{
    Attempt, CallFailure, Command, Details, Findings, Invalid, Operation, ReplyCategory,
};

/// How long to wait for a registry that did not answer.
const REGISTRY_PAUSE: Duration = Duration::from_secs(1);
/// How long to wait for the group to be heard from, or for room in the metadata.
const SHORT_PAUSE: Duration = Duration::from_millis(100);
/// How long a call may wait for its account's turn beyond the time it may take itself.
const TURN: Duration = Duration::from_secs(300);

/// What all executions share.
pub(super) struct Shared<R, C, P> {
    pub(super) deps: Deps<R, C, P>,
    pub(super) settings: Settings,
    pub(super) group: Arc<Group>,
    pub(super) jobs: std::sync::mpsc::Sender<Job>,
    pub(super) slots: Slots,
    pub(super) in_flight: AtomicUsize,
    /// The number of the next command.
    pub(super) numbers: AtomicU64,
    pub(super) ended: UnboundedSender<Ended>,
}

/// The next command of a key may start.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) assignment: Arc<Assignment>,
    pub(super) key: Option<Vec<u8>>,
}

/// The command is given up, unfinished; whoever gets its partition does it.
#[derive(Debug)]
struct Abandoned;

/// Says once that the command has ended for its key, whatever way it ends.
struct Turn<'a> {
    to: &'a UnboundedSender<Ended>,
    ended: Option<Ended>,
}

impl Turn<'_> {
    fn over(&mut self) {
        if let Some(ended) = self.ended.take() {
            // The dispatcher is gone only when nothing may start any more.
            self.to.send(ended).ok();
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.over();
    }
}

/// What came of a command, before it is posted.
struct Done {
    subject: Subject,
    outcome: Outcome,
    attempts: u32,
    json: bool,
    stage: Stage,
    /// Its beginning is committed.
    begun: bool,
}

/// Runs one command to its end, or gives it up when its partition is to be given back.
pub(super) async fn run<R: Reads, C: Calls, P: Replies>(
    shared: Arc<Shared<R, C, P>>,
    taken: Taken,
) {
    let received_at = crate::clock::now();
    let begun_at = Instant::now();
    let ended = Ended { assignment: Arc::clone(&taken.assignment), key: taken.record.key.clone() };
    let mut turn = Turn { to: &shared.ended, ended: Some(ended) };
    taken.assignment.started(taken.record.key.as_deref(), taken.record.at.offset);
    let mut busy = None;
    let deciding = AssertUnwindSafe(shared.decide(&taken, &mut busy)).catch_unwind().await;
    let done = match deciding {
        Ok(Ok(done)) => done,
        Ok(Err(Abandoned)) => return,
        Err(_) => shared.broken(&taken),
    };
    // From here on there is an outcome; the partition's release waits until it is written.
    let busy = busy.unwrap_or_else(|| taken.assignment.busy());
    let at = &taken.record.at;
    let reply = outcome::reply(
        &done.subject,
        at,
        &done.outcome,
        done.attempts,
        received_at,
        crate::clock::now(),
    );
    let posting = Posting {
        command: &taken.record,
        reply,
        json: done.json,
        outcome: &done.outcome,
        stage: done.stage,
        random: rand::random(),
    };
    let gone = &taken.assignment.gone;
    let written = posting.write(&shared.deps, &shared.settings, gone, || turn.over()).await;
    if written.is_err() {
        return;
    }
    taken.assignment.finish(taken.record.key.as_deref(), at.offset);
    if done.begun {
        // Told as begun and not as finished, it would be called UNKNOWN after a crash. Nobody waits
        // for this; beginnings of the same moment share the commit.
        let (answer, _) = oneshot::channel();
        let assignment = Arc::clone(&taken.assignment);
        shared.jobs.send(Job::Begin { assignment, answer }).ok();
    }
    drop(busy);
    let known = shared.deps.accounts.contains_key(&done.subject.account);
    let account = if known { done.subject.account.as_str() } else { "unknown" };
    let operation = done.subject.operation;
    shared.deps.metrics.ended(account, operation, done.outcome.status, begun_at.elapsed());
    log(at, account, &done);
}

/// One line a command: a warning for what is a dead letter, which somebody has to look after.
fn log(at: &Coordinates, account: &str, done: &Done) {
    let operation = done.subject.operation.map_or("unreadable", Operation::name);
    let document = done.subject.document_number.as_deref();
    let (status, category) = (done.outcome.status, done.outcome.category);
    let attempts = done.attempts;
    if done.outcome.is_dead_letter() {
        // The message is the reply's: what a vendor says may repeat a person's data.
        let vendor_code = done.outcome.details.vendor_code.as_deref();
        tracing::warn!(
            %at, account, operation, document, ?status, ?category, vendor_code, attempts,
            "a command is a dead letter"
        );
    } else {
        tracing::debug!(%at, account, operation, document, ?status, ?category, attempts, "a command ended");
    }
}

impl<R: Reads, C: Calls, P: Replies> Shared<R, C, P> {
    async fn decide(&self, taken: &Taken, busy: &mut Option<Busy>) -> Result<Done, Abandoned> {
        let read = match self.read(taken).await? {
            Ok(read) => read,
            Err(done) => return Ok(*done),
        };
        let command = read.command;
        let account = self.deps.accounts.get(command.account());
        let vendor = account.map_or("", |account| account.vendor.name());
        let id = command_id(Some(command.command_id()), taken);
        let mut subject = Subject::of(&command, vendor, id);
        subject.ignored_fields = read.ignored;
        let end = |subject, outcome, attempts| {
            let (json, stage) = (read.json, Stage::Calling);
            Ok(Done { subject, outcome, attempts, json, stage, begun: false })
        };
        let Some(account) = account else {
            let outcome = Outcome::unknown_account(command.account());
            return end(subject, outcome, 0);
        };
        if taken.begun {
            return end(subject, Outcome::begun_before(), 1);
        }
        let mixed = self.expected(taken).is_none();
        if mixed && taken.record.key.is_none() {
            let message = "A command on the mixed topic needs a record key, which orders it; use \
                           the document's number.";
            let outcome = Outcome::invalid(Invalid { field: None, message: message.to_owned() });
            return end(subject, outcome, 0);
        }
        let mut findings = Findings::default();
        match account.vendor.check(&command) {
            Ok(ignored) => subject.ignored_fields.extend(ignored),
            Err(faults) => findings.join(faults),
        }
        self.allowed(&command, account, &subject.ignored_fields, &mut findings);
        if let Err(faults) = findings.or(()) {
            return end(subject, Outcome::invalid(faults), 0);
        }
        let facts = self.facts(&command, account);
        let at_most_once = facts.at_most_once;
        let mut execution = Execution {
            shared: self,
            taken,
            account,
            command: &command,
            number: self.numbers.fetch_add(1, Ordering::Relaxed),
            at_most_once,
            begun: false,
            in_doubt: false,
            nonce_digits: None,
            last_sent: None,
            busy,
        };
        let (outcome, attempts) = execution.run(Lifecycle::new(facts)).await?;
        let begun = execution.begun;
        Ok(Done { begun, ..end(subject, outcome, attempts)? })
    }

    /// What the configuration does not allow.
    fn allowed(
        &self,
        command: &Command,
        account: &Account,
        ignored: &[String],
        findings: &mut Findings,
    ) {
        for field in ignored.iter().filter(|_| self.settings.refuse_ignored_fields) {
            let message = format!(
                "The vendor has no place for `{field}`, and `commands.ignored_fields` is \
                 \"reject\"; leave it out."
            );
            findings.add(Invalid::field(field.clone(), message));
        }
        if let Command::Call(call) = command
            && !account.call_allow.is_empty()
            && !account
                .call_allow
                .iter()
                .any(|pattern| super::replies::matches(pattern, &call.path))
        {
            let message = format!(
                "The account `{}` may not call this path; its `call_allow` lists what it may.",
                account.name
            );
            findings.add(Invalid::field("path", message));
        }
    }

    /// A fault of ours in one command: it gets an answer, and the others go on.
    fn broken(&self, taken: &Taken) -> Done {
        tracing::error!(at = %taken.record.at, "a command brought its task down; this is a fault of the connector");
        let message = "The connector failed while it worked on this command, which is a fault of \
                       the connector; look at the vendor whether it took effect.";
        Done {
            subject: self.subject_of(Identity::default(), taken),
            outcome: Outcome::unknown(Details::default(), message),
            attempts: 0,
            json: false,
            stage: Stage::Calling,
            begun: false,
        }
    }

    fn expected(&self, taken: &Taken) -> Option<Operation> {
        let topic = &*taken.record.at.topic;
        self.settings.topics.iter().find(|(name, _)| name == topic).and_then(|(_, o)| *o)
    }

    async fn read(&self, taken: &Taken) -> Result<Result<ReadCommand, Box<Done>>, Abandoned> {
        let record = &taken.record;
        let expected = self.expected(taken);
        if let Some(name) = &record.unreadable_header {
            let message = format!(
                "The name of a header is not UTF-8 (\"{name}\"): whether it is one that the \
                 connector reads cannot be told. Send the command without it."
            );
            let avro = |value: &[u8]| matches!(value, [0, ..] | [0xc3, 0x01, ..]);
            let json = record.payload.as_deref().is_some_and(|value| !avro(value));
            let identity = Identity { operation: expected, json, ..Identity::default() };
            let outcome = Outcome::failed(ReplyCategory::Unreadable, Details::default(), message);
            return Ok(Err(Box::new(self.unread(identity, outcome, taken))));
        }
        loop {
            let reading =
                self.deps.reads.read(expected, &record.headers, record.payload.as_deref());
            let error = tokio::select! {
                () = taken.assignment.stop.cancelled() => return Err(Abandoned),
                read = reading => match read {
                    Ok(read) => return Ok(Ok(read)),
                    Err(error) => error,
                },
            };
            let (known, outcome) = match error {
                ReadError::RegistryUnavailable { message } => {
                    tracing::warn!(at = %record.at, message, "a command cannot be read yet");
                    pause(REGISTRY_PAUSE, &taken.assignment).await?;
                    continue;
                }
                ReadError::Invalid { faults, identity } => (identity, Outcome::invalid(*faults)),
                ReadError::Unreadable { message, identity } => {
                    let category = ReplyCategory::Unreadable;
                    (identity, Outcome::failed(category, Details::default(), message))
                }
            };
            return Ok(Err(Box::new(self.unread(*known, outcome, taken))));
        }
    }

    /// The end of a command that could not be read.
    fn unread(&self, known: Identity, outcome: Outcome, taken: &Taken) -> Done {
        let (json, subject) = (known.json, self.subject_of(known, taken));
        Done { subject, outcome, attempts: 0, json, stage: Stage::Reading, begun: false }
    }

    fn subject_of(&self, known: Identity, taken: &Taken) -> Subject {
        let account = known.account.unwrap_or_default();
        let vendor = self.deps.accounts.get(&account).map_or("", |a| a.vendor.name());
        Subject {
            command_id: command_id(known.command_id.as_deref(), taken),
            vendor: vendor.to_owned(),
            account,
            operation: known.operation,
            document_number: known.document_number,
            ignored_fields: Vec::new(),
        }
    }

    fn facts(&self, command: &Command, account: &Account) -> Facts {
        let probe = Attempt {
            now: Timestamp::UNIX_EPOCH,
            nonce: 0,
            nonce_digits: 2,
            tokens: None,
            vendor_reference: None,
        };
        let look_up = account.vendor.look_up(command, &probe).is_some();
        let idempotent = match command {
            Command::Call(call) => call.idempotent,
            Command::CreateOrder(_)
            | Command::CancelOrder(_)
            | Command::CreateAsn(_)
            | Command::CancelAsn(_) => false,
        };
        Facts {
            operation: command.operation(),
            at_most_once: !look_up && !idempotent,
            look_up,
            needs_reference: account.vendor.needs_reference(command),
            expires_at: command.expires_at(),
            retry: self.settings.retry,
            parked_recheck: self.settings.parked_recheck,
        }
    }
}

/// The caller's id, else the header `ce_id`, else the coordinates.
fn command_id(own: Option<&str>, taken: &Taken) -> String {
    own.filter(|id| !id.is_empty())
        .or_else(|| taken.record.text_header("ce_id").filter(|id| !id.is_empty()))
        .map_or_else(|| taken.record.at.to_string(), str::to_owned)
}

/// The group was not heard from for a session: what is ours may be somebody else's by now.
fn out_of_touch<R, C, P>(shared: &Shared<R, C, P>) -> bool {
    shared.group.left().is_zero()
}

async fn pause(time: Duration, assignment: &Assignment) -> Result<(), Abandoned> {
    tokio::select! {
        biased;
        () = assignment.stop.cancelled() => Err(Abandoned),
        () = tokio::time::sleep(time) => Ok(()),
    }
}

struct Execution<'a, R, C: Calls, P> {
    shared: &'a Shared<R, C, P>,
    taken: &'a Taken,
    account: &'a Account,
    command: &'a Command,
    /// Tells it from the other commands of this process.
    number: u64,
    at_most_once: bool,
    /// The beginning of the at-most-once call is committed.
    begun: bool,
    /// A call was left alone in mid-flight.
    in_doubt: bool,
    nonce_digits: Option<u32>,
    last_sent: Option<C::Sent>,
    busy: &'a mut Option<Busy>,
}

impl<R: Reads, C: Calls, P: Replies> Execution<'_, R, C, P> {
    async fn run(&mut self, mut lifecycle: Lifecycle) -> Result<(Outcome, u32), Abandoned> {
        let mut step = lifecycle.resume(crate::clock::now());
        loop {
            step = match step {
                Step::End(outcome) => return Ok((*outcome, lifecycle.attempts())),
                Step::Send | Step::LookUp => {
                    let look_up = step == Step::LookUp;
                    let reference = lifecycle.reference().map(str::to_owned);
                    let called = match self.ready(look_up).await {
                        Ok(()) => self.call(look_up, reference.as_deref()).await,
                        Err(Abandoned) => Err(Abandoned),
                    };
                    let Ok((event, moment)) = called else {
                        return self.give_up(&lifecycle);
                    };
                    match event {
                        Some(event) => lifecycle.on(event, moment),
                        None => lifecycle.resume(moment.now),
                    }
                }
                Step::Wait { pause: time, mend } => {
                    // What waits holds nothing that others need: not its partition's release.
                    if self.mend(mend, time).await.is_err() {
                        return self.give_up(&lifecycle);
                    }
                    lifecycle.resume(crate::clock::now())
                }
            };
        }
    }

    fn give_up<T>(&self, lifecycle: &Lifecycle) -> Result<T, Abandoned> {
        if self.begun && !self.in_doubt && lifecycle.surely_without_effect() {
            self.taken.assignment.take_back(self.taken.record.at.offset);
        }
        Err(Abandoned)
    }

    async fn mend(&mut self, mend: Mend, time: Duration) -> Result<(), Abandoned> {
        match mend {
            Mend::RenewTokens => {
                if let Some(sent) = self.last_sent.take() {
                    let renewing = self.shared.deps.calls.renew_tokens(&self.account.name, &sent);
                    tokio::select! {
                        () = self.taken.assignment.stop.cancelled() => return Err(Abandoned),
                        () = renewing => {}
                    }
                }
            }
            Mend::ShortenNonce => self.nonce_digits = Some(2),
            // The report of the verdict corrected it for every call of the account.
            Mend::CorrectClock | Mend::Nothing => {}
        }
        *self.busy = None;
        pause(time, &self.taken.assignment).await
    }

    /// Waits until a call may start; commits the beginning of at-most-once work.
    async fn ready(&mut self, look_up: bool) -> Result<(), Abandoned> {
        let assignment = &self.taken.assignment;
        while out_of_touch(self.shared) {
            pause(SHORT_PAUSE, assignment).await?;
        }
        if assignment.stop.is_cancelled() {
            return Err(Abandoned);
        }
        self.those_before().await?;
        let offset = self.taken.record.at.offset;
        while self.at_most_once && !look_up && !self.begun {
            if assignment.begin(offset).is_ok() {
                if self.commit_now().await {
                    self.begun = true;
                    break;
                }
                // A commit refused means no call.
                assignment.take_back(offset);
            }
            pause(SHORT_PAUSE, assignment).await?;
        }
        Ok(())
    }

    /// Waits until nothing before it under its key can be done again, where that would then find
    /// what this command has done.
    async fn those_before(&self) -> Result<(), Abandoned> {
        let assignment = &self.taken.assignment;
        let Record { key, at, .. } = &self.taken.record;
        while waits_for_those_before(self.command.operation()) {
            let ended = assignment.ended.notified();
            tokio::pin!(ended);
            // Listening before looking: what ends in between is not missed.
            ended.as_mut().enable();
            match assignment.before(key.as_deref(), at.offset) {
                Before::Settled => break,
                Before::Uncommitted => {
                    if self.commit_now().await {
                        break;
                    }
                    pause(SHORT_PAUSE, assignment).await?;
                }
                Before::Unfinished => tokio::select! {
                    () = assignment.stop.cancelled() => return Err(Abandoned),
                    () = ended => {}
                },
            }
        }
        Ok(())
    }

    /// Commits what there is to commit in the partition, and says whether that worked.
    async fn commit_now(&self) -> bool {
        let (answer, committed) = oneshot::channel();
        let job = Job::Begin { assignment: Arc::clone(&self.taken.assignment), answer };
        self.shared.jobs.send(job).is_ok() && committed.await == Ok(true)
    }

    /// Makes one call and says what came of it; nothing where its turn did not come.
    async fn call(
        &mut self,
        look_up: bool,
        reference: Option<&str>,
    ) -> Result<(Option<Event>, Moment), Abandoned> {
        let shared = self.shared;
        let assignment = &self.taken.assignment;
        let account = &self.account.name;
        let _slot = tokio::select! {
            biased;
            () = assignment.stop.cancelled() => return Err(Abandoned),
            slot = shared.slots.one(account.as_str()) => slot,
        };
        if out_of_touch(shared) {
            return Ok((None, self.moment(Instant::now())));
        }
        let guard = assignment.busy();
        if assignment.stop.is_cancelled() {
            return Err(Abandoned);
        }
        let now = Instant::now();
        let deadline = now + shared.settings.call_timeout + TURN;
        let planned = AtomicBool::new(false);
        let digits = self.nonce_digits;
        let (command, vendor) = (self.command, &self.account.vendor);
        let plan = |attempt: &Attempt<'_>| {
            planned.store(true, Ordering::SeqCst);
            let attempt = Attempt {
                vendor_reference: reference.or(attempt.vendor_reference),
                nonce_digits: digits.unwrap_or(attempt.nonce_digits),
                ..attempt.clone()
            };
            if look_up && let Some(call) = vendor.look_up(command, &attempt) {
                return call;
            }
            vendor.call(command, &attempt)
        };
        let purpose = Purpose { command, number: self.number, look_up };
        shared.count(1);
        let _counted = Counted(shared);
        let begun = Instant::now();
        let result = {
            let sending = shared.deps.calls.send(account, purpose, plan, deadline);
            let mut sending = std::pin::pin!(sending);
            // It may wait long for its account's limit or tokens, and the process may be frozen
            // meanwhile. So this is asked each time it could begin, not only before.
            let mut beginning = std::future::poll_fn(|cx| {
                if !planned.load(Ordering::SeqCst) && out_of_touch(shared) {
                    return Poll::Ready(Err(SendFailure::NotSent(
                        "the group was not heard from".to_owned(),
                    )));
                }
                sending.as_mut().poll(cx)
            });
            tokio::select! {
                biased;
                result = &mut beginning => result,
                // What still waits for its turn is given up; what may have left is waited for.
                () = assignment.stop.cancelled() => {
                    if !planned.load(Ordering::SeqCst) {
                        return Err(Abandoned);
                    }
                    tokio::select! {
                        biased;
                        result = &mut beginning => result,
                        // The partition is somebody else's: nobody waits for this any more. It
                        // may still take effect, so its beginning stays told.
                        () = assignment.gone.cancelled() => {
                            self.in_doubt = true;
                            return Err(Abandoned);
                        }
                    }
                }
            }
        };
        let moment = self.moment(begun);
        let sent = match result {
            Ok(sent) => sent,
            Err(SendFailure::NotSent(_)) if !planned.load(Ordering::SeqCst) => {
                pause(SHORT_PAUSE, assignment).await?;
                return Ok((None, moment));
            }
            Err(failure) => {
                let event = failed(failure, look_up);
                if !matches!(event, Event::Held(_)) {
                    *self.busy = Some(guard);
                }
                return Ok((Some(event), moment));
            }
        };
        let answer = shared.deps.calls.answer(&sent);
        let event = if look_up {
            let found = vendor.judge_look_up(command, answer);
            shared.deps.calls.report(&sent, Judged::LookUp(&found));
            Event::LookedUp(found)
        } else {
            let verdict = vendor.judge(command, answer);
            shared.deps.calls.report(&sent, Judged::Operation(&verdict));
            Event::Answered(verdict)
        };
        self.last_sent = Some(sent);
        *self.busy = Some(guard);
        let circuit_open = shared.deps.calls.circuit_open(account, command);
        Ok((Some(event), Moment { circuit_open, ..moment }))
    }

    fn moment(&self, begun: Instant) -> Moment {
        Moment {
            now: crate::clock::now(),
            took: begun.elapsed(),
            random: rand::random(),
            circuit_open: self.shared.deps.calls.circuit_open(&self.account.name, self.command),
        }
    }
}

impl<R, C, P> Shared<R, C, P> {
    fn count(&self, change: isize) {
        let now = if change > 0 {
            self.in_flight.fetch_add(1, Ordering::Relaxed) + 1
        } else {
            self.in_flight.fetch_sub(1, Ordering::Relaxed) - 1
        };
        self.deps.metrics.in_flight(now);
    }
}

struct Counted<'a, R, C, P>(&'a Shared<R, C, P>);

impl<R, C, P> Drop for Counted<'_, R, C, P> {
    fn drop(&mut self) {
        self.0.count(-1);
    }
}

fn failed(failure: SendFailure, look_up: bool) -> Event {
    let failure = match failure {
        SendFailure::CircuitOpen { until } => {
            let open = until.saturating_duration_since(Instant::now());
            return Event::Held(Held::Circuit(open));
        }
        SendFailure::Parked { until, message } => {
            let open = until.saturating_duration_since(Instant::now());
            return Event::Held(Held::Parked(open, message));
        }
        SendFailure::NoTokens { message } => return Event::Held(Held::NoTokens(message)),
        SendFailure::Stopped { message } => return Event::Held(Held::Stopped(message)),
        SendFailure::NotSent(why) => CallFailure::NotSent(why),
        SendFailure::NoAnswer(why) => CallFailure::NoAnswer(why),
    };
    if look_up { Event::LookUpUnanswered(failure) } else { Event::Unanswered(failure) }
}
