//! The pure core as a whole, under generated interleavings: one partition, processes that come and
//! go, a broker that keeps what was committed, a vendor that keeps what was called.
//!
//! What must hold whatever happens: no command is lost, those of a key take effect in order and
//! never two at once, at-most-once calls are made at most once, what ends in an assignment that is
//! over moves nobody's offsets.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{
    key_order::KeyOrders,
    offsets::{Commit, Fetched, METADATA_LIMIT, Window},
};

#[derive(Debug, Clone, Copy)]
struct Command {
    offset: i64,
    key: Option<u8>,
    at_most_once: bool,
    /// Fetched as one that had begun before.
    begun: bool,
}

/// What a process in possession of the partition knows.
struct Owner {
    epoch: u64,
    window: Window,
    /// The next record to fetch, as an index into the log.
    next: usize,
    /// Commands that were given their turn; the flag says that the call was made.
    running: Vec<(Command, bool)>,
}

#[derive(Debug, Clone)]
enum Step {
    /// A command arrives: its key, the gap before it, whether it is at most once.
    Arrive(Option<u8>, i64, bool),
    Fetch,
    /// One of the running commands is called.
    Call(usize),
    /// One of the called ones is answered, and its reply acknowledged.
    End(usize),
    Commit,
    /// The process commits no more, but does not know it: its partition is another's.
    Lose,
    /// Something ends in an assignment that is over.
    EndLate(usize),
    /// What is called ends, is committed, and the partition is given to another process.
    Revoke,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (prop::option::weighted(0.8, 0..4u8), 1..3i64, prop::bool::weighted(0.2))
            .prop_map(|(key, gap, once)| Step::Arrive(key, gap, once)),
        8 => Just(Step::Fetch),
        8 => any::<usize>().prop_map(Step::Call),
        8 => any::<usize>().prop_map(Step::End),
        3 => Just(Step::Commit),
        1 => Just(Step::Lose),
        2 => any::<usize>().prop_map(Step::EndLate),
        1 => Just(Step::Revoke),
        1 => Just(Step::Crash),
    ]
}

#[derive(Default)]
struct World {
    log: Vec<Command>,
    committed: Option<Commit>,
    epochs: u64,
    limit: usize,
    window: usize,
    owner: Option<Owner>,
    /// Calls of assignments that are over and that nobody waits for: they may still end.
    late: Vec<(u64, Command)>,
    orders: KeyOrders<Command>,
    calls: BTreeMap<i64, u32>,
    /// Offsets in the order in which they first took effect.
    effects: Vec<i64>,
    replied: BTreeSet<i64>,
}

impl World {
    /// Takes the partition with what was committed.
    fn assign(&mut self) {
        self.epochs += 1;
        let committed = self.committed.as_ref().map(|c| (c.position, c.metadata.as_str()));
        let at = committed.map_or(0, |(position, _)| position);
        self.owner = Some(Owner {
            epoch: self.epochs,
            window: Window::resume(committed, self.limit),
            next: self.log.partition_point(|command| command.offset < at),
            running: Vec::new(),
        });
    }

    /// The assignment is over: calls that were made go on, nothing else does.
    fn over(&mut self) {
        let Some(owner) = self.owner.take() else { return };
        self.orders.forget(owner.epoch);
        let called = owner.running.into_iter().filter(|(_, called)| *called);
        self.late.extend(called.map(|(command, _)| (owner.epoch, command)));
    }

    fn fetch(&mut self) -> Result<(), TestCaseError> {
        let Some(owner) = &mut self.owner else { return Ok(()) };
        let Some(&command) = self.log.get(owner.next) else { return Ok(()) };
        if owner.window.len() >= self.window {
            return Ok(());
        }
        owner.next += 1;
        match owner.window.fetch(command.offset, None) {
            Fetched::Finished => {
                prop_assert!(self.replied.contains(&command.offset), "lost: {command:?}");
            }
            Fetched::Repeated => prop_assert!(false, "fetched twice: {command:?}"),
            Fetched::Begun => {
                prop_assert!(command.at_most_once, "never begun: {command:?}");
                self.give_turn(Command { begun: true, ..command });
            }
            Fetched::New => self.give_turn(command),
        }
        let owner = self.owner.as_ref().map_or(0, |owner| owner.window.len());
        prop_assert!(owner <= self.window, "more than the window was fetched");
        Ok(())
    }

    fn give_turn(&mut self, command: Command) {
        let Some(owner) = &mut self.owner else { return };
        let key = command.key.map(|key| [key]);
        let key = key.as_ref().map(<[u8; 1]>::as_slice);
        if let Some(command) = self.orders.push(owner.epoch, key, command) {
            owner.running.push((command, false));
        }
    }

    fn call(&mut self, which: usize) -> Result<(), TestCaseError> {
        let Some(owner) = &mut self.owner else { return Ok(()) };
        if owner.running.is_empty() {
            return Ok(());
        }
        let index = which % owner.running.len();
        let (command, called) = owner.running[index];
        if called {
            return Ok(());
        }
        if command.at_most_once {
            if command.begun {
                // Its outcome is not known: it is replied to without a call.
                owner.running[index].1 = true;
                return Ok(());
            }
            if owner.window.begin(command.offset).is_err() {
                return Ok(());
            }
            let commit = owner.window.commit();
            prop_assert!(commit.is_some(), "there was room");
            self.committed = commit;
        }
        owner.running[index].1 = true;
        *self.calls.entry(command.offset).or_default() += 1;
        if !self.effects.contains(&command.offset) {
            self.effects.push(command.offset);
        }
        Ok(())
    }

    fn end(&mut self, which: usize) {
        let Some(owner) = &mut self.owner else { return };
        let called: Vec<usize> =
            (0..owner.running.len()).filter(|&index| owner.running[index].1).collect();
        if called.is_empty() {
            return;
        }
        let (command, _) = owner.running.remove(called[which % called.len()]);
        self.replied.insert(command.offset);
        owner.window.finish(command.offset);
        let key = command.key.map(|key| [key]);
        let key = key.as_ref().map(<[u8; 1]>::as_slice);
        if let Some(next) = self.orders.ended(owner.epoch, key) {
            owner.running.push((next, false));
        }
    }

    fn commit(&mut self) -> Result<(), TestCaseError> {
        let Some(owner) = &self.owner else { return Ok(()) };
        let Some(commit) = owner.window.commit() else { return Ok(()) };
        prop_assert!(commit.metadata.len() <= self.limit);
        let before = self.committed.as_ref().map_or(0, |committed| committed.position);
        prop_assert!(commit.position >= before, "{commit:?} after {before}");
        let below = self.log.iter().filter(|command| command.offset < commit.position);
        for command in below {
            prop_assert!(self.replied.contains(&command.offset), "lost: {command:?}");
        }
        self.committed = Some(commit);
        Ok(())
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Arrive(key, gap, at_most_once) => {
                let offset = self.log.last().map_or(0, |last| last.offset + gap);
                self.log.push(Command { offset, key, at_most_once, begun: false });
            }
            Step::Fetch => self.fetch()?,
            Step::Call(which) => self.call(which)?,
            Step::End(which) => self.end(which),
            Step::Commit => self.commit()?,
            Step::Lose => {
                self.over();
                self.assign();
            }
            Step::EndLate(which) => {
                if !self.late.is_empty() {
                    let (epoch, command) = self.late.remove(which % self.late.len());
                    self.replied.insert(command.offset);
                    let key = command.key.map(|key| [key]);
                    let key = key.as_ref().map(<[u8; 1]>::as_slice);
                    let next = self.orders.ended(epoch, key);
                    prop_assert!(next.is_none(), "a lost assignment started {next:?}");
                }
            }
            Step::Revoke => {
                if let Some(owner) = &mut self.owner {
                    // What has not been called is not waited for.
                    owner.running.retain(|(_, called)| *called);
                    self.orders.forget(owner.epoch);
                    for (command, _) in std::mem::take(&mut owner.running) {
                        self.replied.insert(command.offset);
                        owner.window.finish(command.offset);
                    }
                }
                self.commit()?;
                self.over();
                self.assign();
            }
            Step::Crash => {
                if let Some(owner) = self.owner.take() {
                    self.orders.forget(owner.epoch);
                }
                self.assign();
            }
        }
        self.check()
    }

    fn check(&self) -> Result<(), TestCaseError> {
        if let Some(owner) = &self.owner {
            let mut keys = BTreeSet::new();
            for (command, _) in &owner.running {
                let fresh = command.key.is_none_or(|key| keys.insert(key));
                prop_assert!(fresh, "two of one key at once: {command:?}");
            }
        }
        for command in &self.log {
            let calls = self.calls.get(&command.offset).copied().unwrap_or(0);
            prop_assert!(!command.at_most_once || calls <= 1, "{calls} calls of {command:?}");
        }
        let mut last: BTreeMap<u8, i64> = BTreeMap::new();
        for offset in &self.effects {
            let command = self.log.iter().find(|command| command.offset == *offset);
            if let Some(key) = command.and_then(|command| command.key) {
                let before = last.insert(key, *offset);
                prop_assert!(before.is_none_or(|before| before < *offset), "key {key} at {offset}");
            }
        }
        Ok(())
    }

    /// A process in good order does what is left.
    fn do_the_rest(&mut self) -> Result<(), TestCaseError> {
        for _ in 0..=3 * self.log.len() {
            self.fetch()?;
            let running = self.owner.as_ref().map_or(0, |owner| owner.running.len());
            for n in 0..running {
                self.call(n)?;
            }
            self.end(0);
            self.check()?;
        }
        self.commit()?;
        let all: BTreeSet<i64> = self.log.iter().map(|command| command.offset).collect();
        prop_assert_eq!(&self.replied, &all, "a command without a reply");
        if let Some(last) = self.log.last() {
            let done =
                Commit { position: last.offset + 1, metadata: String::new(), leader_epoch: None };
            prop_assert_eq!(self.committed.as_ref(), Some(&done));
        }
        prop_assert_eq!(self.orders.waiting(), 0);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_command_is_lost_none_out_of_order_none_twice(
        steps in prop::collection::vec(step(), 1..250),
        window in 1..12usize,
        limit in prop_oneof![Just(METADATA_LIMIT), 12..40usize],
    ) {
        let mut world = World { limit, window, ..World::default() };
        world.assign();
        for step in steps {
            world.step(step)?;
        }
        world.do_the_rest()?;
    }
}
