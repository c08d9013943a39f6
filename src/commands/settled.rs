//! Which commands of a key are not yet settled: written in reply topic and committed offset.
//!
//! A command is done again after a crash unless its end is committed. Doing a creation again after
//! its document was cancelled meanwhile would find a cancelled document under its number, and
//! could not tell its own from somebody else's. So what may take a document back waits until all
//! before it under its key is settled; only a key that was busy a moment ago ever waits.

use std::collections::{BTreeMap, HashMap};

use super::offsets::{Commit, Progress};
use crate::domain::Operation;

/// Whether doing the command makes what came before it under its key look otherwise when that is
/// done again.
pub fn waits_for_those_before(operation: Operation) -> bool {
    match operation {
        // A `call` may be anything.
        Operation::CancelOrder | Operation::CancelAsn | Operation::Call => true,
        // A creation changes no other document.
        Operation::CreateOrder | Operation::CreateAsn => false,
    }
}

/// What is known of the commands before one under its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// Some have no acknowledged reply yet.
    Unfinished,
    /// All have, and not all of that is committed.
    Uncommitted,
    /// Nothing of them is done again.
    Settled,
}

/// The commands of one assignment that have started and are not settled, by key.
#[derive(Debug, Default)]
pub struct Unsettled {
    /// By offset, whether it is finished.
    by_key: HashMap<Vec<u8>, BTreeMap<i64, bool>>,
}

impl Unsettled {
    /// A command has its turn.
    pub fn started(&mut self, key: &[u8], offset: i64) {
        self.by_key.entry(key.to_vec()).or_default().insert(offset, false);
    }

    /// Its reply is acknowledged.
    pub fn finished(&mut self, key: &[u8], offset: i64) {
        if let Some(finished) = self.by_key.get_mut(key).and_then(|key| key.get_mut(&offset)) {
            *finished = true;
        }
    }

    /// What a commit tells is never done again.
    pub fn committed(&mut self, commit: &Commit) {
        let told = Progress::decode(commit.position, &commit.metadata);
        self.by_key.retain(|_, offsets| {
            offsets.retain(|&offset, _| offset >= commit.position && !told.is_finished(offset));
            !offsets.is_empty()
        });
    }

    /// What is known of those before `offset` under `key`.
    pub fn before(&self, key: &[u8], offset: i64) -> Before {
        let Some(offsets) = self.by_key.get(key) else { return Before::Settled };
        let mut answer = Before::Settled;
        for (_, finished) in offsets.range(..offset) {
            if !finished {
                return Before::Unfinished;
            }
            answer = Before::Uncommitted;
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::offsets::{METADATA_LIMIT, Window};

    #[test]
    fn a_command_is_settled_once_its_end_is_committed() {
        let mut window = Window::resume(None, METADATA_LIMIT);
        let mut unsettled = Unsettled::default();
        for offset in 0..4 {
            window.fetch(offset, None);
        }
        unsettled.started(b"other", 0);
        unsettled.started(b"key", 1);
        assert_eq!(unsettled.before(b"key", 1), Before::Settled);
        unsettled.started(b"key", 2);
        assert_eq!(unsettled.before(b"key", 2), Before::Unfinished);
        window.finish(1);
        unsettled.finished(b"key", 1);
        assert_eq!(unsettled.before(b"key", 2), Before::Uncommitted);
        assert_eq!(unsettled.before(b"key", 3), Before::Unfinished, "2 is under way");
        // Above an unfinished one of another key, the metadata tells it.
        unsettled.committed(&window.commit().unwrap());
        assert_eq!(unsettled.before(b"key", 2), Before::Settled);
        assert_eq!(unsettled.before(b"other", 3), Before::Unfinished);
        for offset in [0, 2, 3] {
            window.finish(offset);
        }
        unsettled.committed(&window.commit().unwrap());
        assert!(unsettled.by_key.is_empty(), "nothing is kept of what is settled");
    }

    #[test]
    fn what_a_commit_has_no_room_to_tell_is_not_settled() {
        let mut window = Window::resume(None, 6);
        let mut unsettled = Unsettled::default();
        for offset in 0..100 {
            window.fetch(offset, None);
            unsettled.started(b"key", offset);
        }
        for offset in (1..100).step_by(2) {
            window.finish(offset);
            unsettled.finished(b"key", offset);
        }
        unsettled.committed(&window.commit().unwrap());
        let kept = &unsettled.by_key[b"key".as_slice()];
        assert!(kept.contains_key(&99) && !kept.contains_key(&1), "{kept:?}");
    }
}
