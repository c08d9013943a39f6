//! A fair share of a bound for each account, so that a slow or noisy one does not starve another.
//!
//! ```text
//! bound = own of account 1 + own of account 2 + … + shared
//! ```
//! An account takes from its own part first, then from the shared one. What others do can take the
//! shared part from it, never its own. A quarter of the bound is kept, within the shared part, for
//! small takers: large ones that never end leave room for them.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How a bound is divided: what each account has for itself, and what all share.
///
/// Half of the bound is reserved, but never so much that one account alone cannot have `least`, which
/// is what the largest webhook takes.
pub(super) fn divide(bound: usize, accounts: usize, least: usize) -> (usize, usize) {
    let reserved = (bound / 2).min(bound.saturating_sub(least));
    let own = reserved.checked_div(accounts).unwrap_or(0);
    (own, bound - own * accounts)
}

/// How much of the shared part is kept for small takers.
fn kept_for_small(bound: usize, own: usize, shared: usize, least: usize) -> usize {
    (bound / 4).min((own + shared).saturating_sub(least)).min(shared)
}

/// One account's room within a bound.
#[derive(Debug, Clone)]
pub(super) struct Room {
    own: Arc<Semaphore>,
    shared: Arc<Semaphore>,
    /// What large takers may have of the shared part.
    large: Arc<Semaphore>,
}

/// What was taken; given back when dropped.
#[derive(Debug, Default)]
pub(super) struct Permit {
    own: Option<OwnedSemaphorePermit>,
    shared: Option<OwnedSemaphorePermit>,
    large: Option<OwnedSemaphorePermit>,
}

fn merge(mine: &mut Option<OwnedSemaphorePermit>, others: Option<OwnedSemaphorePermit>) {
    match (mine, others) {
        (Some(mine), Some(others)) => mine.merge(others),
        (mine @ None, others) => *mine = others,
        (Some(_), None) => {}
    }
}

fn permits(permit: Option<&OwnedSemaphorePermit>) -> u32 {
    u32::try_from(permit.map_or(0, OwnedSemaphorePermit::num_permits)).unwrap_or(u32::MAX)
}

impl Room {
    /// A room for each account within one bound.
    pub(super) fn divided(bound: usize, accounts: usize, least: usize) -> impl Fn() -> Self {
        let (own, shared) = divide(bound.min(Semaphore::MAX_PERMITS), accounts, least);
        let large = shared - kept_for_small(bound, own, shared, least);
        let large = Arc::new(Semaphore::new(large));
        let shared = Arc::new(Semaphore::new(shared));
        move || Self {
            own: Arc::new(Semaphore::new(own)),
            shared: Arc::clone(&shared),
            large: Arc::clone(&large),
        }
    }

    /// Takes so many, or none: the bound is reached.
    pub(super) fn take(&self, count: u32) -> Option<Permit> {
        let mut permit = Permit::default();
        self.add(&mut permit, count, false).then_some(permit)
    }

    /// Takes so many more, or none of them; `large` says what all of them are together.
    pub(super) fn add(&self, permit: &mut Permit, count: u32, large: bool) -> bool {
        let own = self.take_own(count);
        let left = count.saturating_sub(permits(own.as_ref()));
        let mut shared = None;
        if left > 0 {
            let Ok(taken) = Arc::clone(&self.shared).try_acquire_many_owned(left) else {
                return false;
            };
            shared = Some(taken);
        }
        if large {
            let of_shared = permits(permit.shared.as_ref()) + permits(shared.as_ref());
            let more = of_shared.saturating_sub(permits(permit.large.as_ref()));
            if more > 0 {
                let Ok(taken) = Arc::clone(&self.large).try_acquire_many_owned(more) else {
                    return false;
                };
                merge(&mut permit.large, Some(taken));
            }
        }
        merge(&mut permit.own, own);
        merge(&mut permit.shared, shared);
        true
    }

    /// As much of the own part as there is, at most so many.
    fn take_own(&self, count: u32) -> Option<OwnedSemaphorePermit> {
        loop {
            let free = u32::try_from(self.own.available_permits()).unwrap_or(u32::MAX);
            let wanted = free.min(count);
            if wanted == 0 {
                return None;
            }
            // Another webhook of the account may have been faster.
            if let Ok(permit) = Arc::clone(&self.own).try_acquire_many_owned(wanted) {
                return Some(permit);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn free(&self) -> usize {
        self.own.available_permits() + self.shared.available_permits()
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[test]
    fn half_is_reserved_unless_the_largest_webhook_needs_it() {
        for (bound, accounts, least, own, shared) in [
            (4096, 1, 1, 2048, 2048),
            (4096, 2, 1, 1024, 2048),
            (100, 3, 1, 16, 52),
            (2, 2, 1, 0, 2),
            (1, 1, 1, 0, 1),
            (4096, 2, 4096, 0, 4096),
            (4096, 2, 3000, 548, 3000),
            (10, 0, 1, 0, 10),
        ] {
            assert_eq!(divide(bound, accounts, least), (own, shared), "{bound} {accounts} {least}");
        }
    }

    #[test]
    fn large_ones_leave_a_quarter_to_small_ones() {
        let room = Room::divided(100, 1, 10)();
        let mut large = Permit::default();
        // The account's own 50, and 25 of the 50 that all share.
        assert!(room.add(&mut large, 75, true));
        assert!(!room.add(&mut Permit::default(), 1, true));
        let small = room.take(25);
        assert!(small.is_some() && room.take(1).is_none());
        // One that grows large counts whole.
        drop((large, small));
        let mut growing = Permit::default();
        assert!(room.add(&mut growing, 70, false));
        assert!(room.add(&mut growing, 5, true));
        assert!(!room.add(&mut growing, 1, true));
    }

    proptest! {
        /// Whatever the others take and give back: the bound holds, an account's own part is there
        /// for it, and one alone has room for the largest.
        #[test]
        fn no_account_can_take_what_is_anothers(
            bound in 1usize..60,
            accounts in 1usize..5,
            least in 1usize..60,
            steps in vec((0usize..5, 0u32..20, any::<bool>(), any::<bool>()), 0..60),
        ) {
            let least = least.min(bound);
            let (own, shared) = divide(bound, accounts, least);
            prop_assert_eq!(own * accounts + shared, bound);
            prop_assert!(own + shared >= least);
            let room = Room::divided(bound, accounts, least);
            let rooms: Vec<_> = (0..accounts).map(|_| room()).collect();
            let mut taken: Vec<Vec<(u32, Permit)>> = (0..accounts).map(|_| Vec::new()).collect();
            let uses = |of: &[(u32, Permit)]| of.iter().map(|(n, _)| *n as usize).sum::<usize>();
            let kept = kept_for_small(bound, own, shared, least);
            prop_assert!(own + shared - kept >= least, "the largest has no room");
            for (account, count, give_back, large) in steps {
                let account = account % accounts;
                if give_back {
                    taken[account].pop();
                    continue;
                }
                let used = uses(&taken[account]);
                let mut permit = Permit::default();
                if rooms[account].add(&mut permit, count, large) {
                    taken[account].push((count, permit));
                } else {
                    prop_assert!(used + count as usize > own, "starved at {used}");
                }
                let held = taken.iter().flatten();
                let of_large: u32 = held.map(|(_, permit)| permits(permit.large.as_ref())).sum();
                prop_assert!(of_large as usize <= shared - kept);
                let all: usize = taken.iter().map(|of| uses(of)).sum();
                prop_assert!(all <= bound);
            }
            drop(taken);
            prop_assert!(rooms.iter().all(|room| room.free() == own + shared));
        }
    }
}
