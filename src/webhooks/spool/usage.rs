//! Whose bytes are in the spool. Pure.
//!
//! While Kafka is away for long, the one that sends most must not take the room of all: each account
//! has a part of the bound for itself, as with everything else that is bounded (`fairness`).

use std::collections::{BTreeMap, BTreeSet};

use crate::{kafka::OutgoingRecord, webhooks::fairness};

/// Bytes by the source of their records (`ce_source`: vendor and account).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage(BTreeMap<String, u64>);

impl Usage {
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    pub(super) fn of(&self, source: &str) -> u64 {
        self.0.get(source).copied().unwrap_or(0)
    }

    pub(super) fn add(&mut self, source: &str, bytes: u64) {
        match self.0.get_mut(source) {
            Some(held) => *held += bytes,
            None => drop(self.0.insert(source.to_owned(), bytes)),
        }
    }

    pub(super) fn remove(&mut self, source: &str, bytes: u64) {
        if let Some(held) = self.0.get_mut(source) {
            *held = held.saturating_sub(bytes);
            if *held == 0 {
                self.0.remove(source);
            }
        }
    }
}

/// Who a record is of. One without a source was not made by the connector; it has no part of its own.
pub(super) fn source(record: &OutgoingRecord) -> &str {
    let header = record.headers.iter().find(|(name, _)| name == "ce_source");
    let value = header.and_then(|(_, value)| value.as_deref());
    value.and_then(|value| std::str::from_utf8(value).ok()).unwrap_or("")
}

/// How the bound is divided.
#[derive(Debug)]
pub(super) struct Bound {
    max: u64,
    sources: BTreeSet<String>,
    own: u64,
    shared: u64,
}

impl Bound {
    /// `least` is what one account alone can always have.
    pub(super) fn new(max: u64, sources: BTreeSet<String>, least: u64) -> Self {
        let narrow = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let (own, shared) = fairness::divide(narrow(max), sources.len(), narrow(least));
        Self { max, sources, own: own as u64, shared: shared as u64 }
    }

    pub(super) fn max(&self) -> u64 {
        self.max
    }

    /// Whether so many bytes more of a source have room beside what the disk holds and what is on
    /// its way there.
    pub(super) fn fits(&self, held: &Usage, coming: &Usage, source: &str, bytes: u64) -> bool {
        let of = |source: &str| held.of(source) + coming.of(source);
        let own = |source: &str| if self.sources.contains(source) { self.own } else { 0 };
        let after = of(source).saturating_add(bytes);
        // A file of an earlier, larger bound: nobody's part is worth a full disk.
        if (held.total() + coming.total()).saturating_add(bytes) > self.max {
            return false;
        }
        if after <= own(source) {
            return true;
        }
        let others: BTreeSet<&String> = held.0.keys().chain(coming.0.keys()).collect();
        let others = others.into_iter().filter(|other| *other != source);
        let shared: u64 = others.map(|other| of(other).saturating_sub(own(other))).sum();
        shared.saturating_add(after - own(source)) <= self.shared
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn sources(count: usize) -> BTreeSet<String> {
        (0..count).map(|number| number.to_string()).collect()
    }

    #[test]
    fn the_noisy_one_takes_its_own_and_what_all_share() {
        let bound = Bound::new(100, sources(2), 10);
        let (mut held, mut coming) = (Usage::default(), Usage::default());
        held.add("0", 60);
        coming.add("0", 15);
        assert!(!bound.fits(&held, &coming, "0", 1), "25 are the other's");
        assert!(bound.fits(&held, &coming, "1", 25));
        assert!(!bound.fits(&held, &coming, "1", 26));
        assert!(!bound.fits(&held, &coming, "gone", 1), "no part of its own, none shared is left");
        coming.remove("0", 15);
        assert!(bound.fits(&held, &coming, "gone", 15));
        held.add("gone", 30);
        assert!(!bound.fits(&held, &coming, "1", 11), "more was kept than the bound now allows");
        assert!(bound.fits(&held, &coming, "1", 10));
        held.remove("gone", 30);
        held.remove("0", 60);
        assert_eq!((held, coming), (Usage::default(), Usage::default()));
    }

    proptest! {
        /// Whatever comes and goes: the bound holds, and nobody's own part is taken by another.
        #[test]
        fn no_account_can_take_what_is_anothers(
            max in 1u64..200,
            accounts in 1usize..5,
            least in 1u64..200,
            steps in vec((0usize..6, 1u64..40, any::<bool>(), any::<bool>()), 0..80),
        ) {
            let bound = Bound::new(max, sources(accounts), least);
            prop_assert!(bound.own + bound.shared >= least.min(max));
            let (mut held, mut coming) = (Usage::default(), Usage::default());
            for (source, bytes, takes, arrives) in steps {
                // The last ones are of no configured account.
                let name = source.to_string();
                if !takes {
                    held.remove(&name, bytes);
                } else if bound.fits(&held, &coming, &name, bytes) {
                    let to = if arrives { &mut held } else { &mut coming };
                    to.add(&name, bytes);
                } else {
                    let own = if source < accounts { bound.own } else { 0 };
                    prop_assert!(held.of(&name) + coming.of(&name) + bytes > own, "starved");
                }
                prop_assert!(held.total() + coming.total() <= max);
            }
        }
    }
}
