//! How many calls run at once: so many in all, so many of one account, and a part that is kept for
//! each account.
//!
//! Half of all slots is kept, divided evenly; the other half is whoever's comes first. So however
//! many accounts are slow, or wait for their vendor's limits, each of the others goes on.

use std::collections::HashMap;

use tokio::sync::{Semaphore, SemaphorePermit};

/// The slots of all accounts.
#[derive(Debug)]
pub(super) struct Slots {
    common: Semaphore,
    accounts: HashMap<String, Own>,
}

#[derive(Debug)]
struct Own {
    kept: Semaphore,
    at_most: Semaphore,
}

/// A call's slot, while it lives.
#[derive(Debug)]
pub(super) struct Slot<'a> {
    _one: Option<SemaphorePermit<'a>>,
    _of_account: Option<SemaphorePermit<'a>>,
}

impl Slots {
    pub(super) fn new<'a>(
        in_all: usize,
        of_account: usize,
        accounts: impl ExactSizeIterator<Item = &'a String>,
    ) -> Self {
        let in_all = in_all.max(1);
        let kept = in_all / (2 * accounts.len().max(1));
        let common = Semaphore::new(in_all - kept * accounts.len());
        let own = |name: &String| {
            let (kept, at_most) = (Semaphore::new(kept), Semaphore::new(of_account.max(1)));
            (name.clone(), Own { kept, at_most })
        };
        Self { common, accounts: accounts.map(own).collect() }
    }

    /// Waits for a slot. Those of an account get theirs in the order in which they ask.
    pub(super) async fn one(&self, account: &str) -> Slot<'_> {
        // The semaphores are never closed.
        let Some(own) = self.accounts.get(account) else {
            return Slot { _one: self.common.acquire().await.ok(), _of_account: None };
        };
        let of_account = own.at_most.acquire().await.ok();
        let one = tokio::select! {
            biased;
            one = own.kept.acquire() => one,
            one = self.common.acquire() => one,
        };
        Slot { _one: one.ok(), _of_account: of_account }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("a{n}")).collect()
    }

    /// Takes slots until there are none: how many there were.
    fn take<'a>(slots: &'a Slots, account: &str) -> Vec<Slot<'a>> {
        std::iter::from_fn(|| slots.one(account).now_or_never()).collect()
    }

    #[test]
    fn no_number_of_accounts_takes_what_is_kept_for_another() {
        for (in_all, of_account, accounts, first, second, others) in [
            (256, 256, 1, 256, 0, 0),
            (256, 192, 1, 192, 0, 0),
            (8, 8, 2, 6, 2, 0),
            (256, 256, 4, 160, 32, 32),
            (256, 100, 4, 100, 92, 32),
            (10, 10, 3, 8, 1, 1),
            // Fewer slots than accounts: nothing can be kept.
            (2, 2, 3, 2, 0, 0),
            (0, 0, 1, 1, 0, 0),
        ] {
            let names = names(accounts);
            let slots = Slots::new(in_all, of_account, names.iter());
            let mut held: Vec<_> = names.iter().map(|name| take(&slots, name)).collect();
            let counts: Vec<usize> = held.iter().map(Vec::len).collect();
            let mut expected = vec![others; accounts];
            expected[0] = first;
            if let Some(count) = expected.get_mut(1) {
                *count = second;
            }
            assert_eq!(counts, expected, "{in_all} {of_account} {accounts}");
            // What is given back can be had again.
            held[0].clear();
            assert_eq!(take(&slots, &names[0]).len(), first);
        }
    }

    #[test]
    fn who_gives_up_waiting_keeps_nothing() {
        let names = names(2);
        let slots = Slots::new(4, 4, names.iter());
        let held = take(&slots, "a0");
        assert_eq!(held.len(), 3);
        let mut waiting = Box::pin(slots.one("a0"));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(held);
        drop(waiting);
        assert_eq!(take(&slots, "a0").len(), 3);
    }
}
