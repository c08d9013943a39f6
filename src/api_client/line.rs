//! Who waits for an account's limits, and in which order.
//!
//! Each limited operation has a line. The first in it waits until its limit has room; the others
//! wait for the first. A place in the line is given back when it is dropped, wherever its owner was,
//! and the limit is used only by a call that begins: commands that are given up while they wait
//! (their partition goes to another process) leave nothing behind that later calls wait for.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until},
};

use super::{limits::Limits, locked};

/// The lines of one account.
#[derive(Debug)]
pub(super) struct Lines {
    limits: Mutex<Limits>,
    /// By bucket. A semaphore of one permit: it serves in the order of asking, and one that stops
    /// waiting leaves the line.
    first: HashMap<String, Arc<Semaphore>>,
    /// The limits are others now: the first in each line looks again.
    changed: Notify,
}

/// The first place of a line. Dropped, the next in line is first.
#[derive(Debug)]
pub(super) struct Place {
    _first: Option<OwnedSemaphorePermit>,
}

impl Lines {
    pub(super) fn new(limits: Limits) -> Self {
        let line = |bucket: &String| (bucket.clone(), Arc::new(Semaphore::new(1)));
        let first = limits.names().map(line).collect();
        Self { limits: Mutex::new(limits), first, changed: Notify::new() }
    }

    /// Waits until a call of this operation may begin, and no other is before it.
    pub(super) async fn first(&self, operation: &str) -> Place {
        let line = {
            let limits = locked(&self.limits);
            limits.bucket_name(operation).and_then(|name| self.first.get(name)).map(Arc::clone)
        };
        let Some(line) = line else { return Place { _first: None } };
        // It is never closed.
        let first = line.acquire_owned().await.ok();
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Listening before looking: a change in between is not missed.
            changed.as_mut().enable();
            let now = Instant::now();
            let at = locked(&self.limits).next(operation, now.into_std());
            // A timer rounds up to the next millisecond, also what is due already.
            if at <= now.into_std() {
                return Place { _first: first };
            }
            tokio::select! {
                () = changed => {}
                () = sleep_until(Instant::from_std(at)) => {}
            }
        }
    }

    /// The call begins now: uses the limit, lets the next in line be first, and says whether it
    /// may. It may not where the limit changed since (the vendor throttled another call).
    pub(super) fn begin(&self, operation: &str, place: Place) -> bool {
        let may = locked(&self.limits).take(operation, Instant::now().into_std());
        drop(place);
        may
    }

    /// The vendor said "too many": nothing of this operation begins before `until`.
    pub(super) fn pause(&self, operation: &str, until: std::time::Instant) {
        locked(&self.limits).pause(operation, until);
        self.changed.notify_waiters();
    }

    /// Sets this process's part of the limits.
    pub(super) fn set_share(&self, share: f64, now: std::time::Instant) {
        locked(&self.limits).set_share(share, now);
        self.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::{FutureExt, future::BoxFuture};
    use proptest::prelude::*;

    use super::*;

    const LOOK_UP: &str = "look-up-order";
    const MINUTE: Duration = Duration::from_secs(60);
    /// The window is a little longer than the vendor's.
    const WINDOW: Duration = Duration::from_millis(61_200);

    fn lines(count: u32) -> Arc<Lines> {
        Arc::new(Lines::new(Limits::new([(LOOK_UP.to_owned(), count, MINUTE)])))
    }

    /// Waits for its turn and begins.
    fn call(lines: &Arc<Lines>) -> BoxFuture<'static, bool> {
        let lines = Arc::clone(lines);
        async move {
            let place = lines.first(LOOK_UP).await;
            lines.begin(LOOK_UP, place)
        }
        .boxed()
    }

    fn next(lines: &Lines) -> Duration {
        let now = Instant::now().into_std();
        locked(&lines.limits).next(LOOK_UP, now) - now
    }

    #[tokio::test]
    async fn a_takeover_that_is_given_up_costs_only_what_was_sent() {
        let lines = lines(100);
        // A process takes partitions over with a window of look-ups, and loses them again, thrice.
        let mut sent = 0;
        for _ in 0..3 {
            let mut waiting: Vec<_> = (0..256).map(|_| call(&lines)).collect();
            sent += waiting.iter_mut().filter_map(|call| call.now_or_never()).count();
        }
        assert_eq!(sent, 100);
        assert!(next(&lines) <= WINDOW, "{:?}", next(&lines));
        assert!(next(&lines) > MINUTE - Duration::from_secs(30), "it is used up");
    }

    #[tokio::test]
    async fn the_first_to_ask_is_the_first_to_go() {
        let lines = lines(2);
        let held = lines.first(LOOK_UP).now_or_never().expect("the line is empty");
        let (mut second, mut third) = (call(&lines), call(&lines));
        assert!((&mut second).now_or_never().is_none());
        assert!((&mut third).now_or_never().is_none());
        drop(held);
        assert!((&mut third).now_or_never().is_none(), "the second is before it");
        assert_eq!(second.now_or_never(), Some(true));
        assert_eq!(third.now_or_never(), Some(true));
    }

    #[tokio::test]
    async fn the_first_in_line_goes_earlier_when_the_share_grows() {
        let per = Duration::from_millis(100);
        let lines = Arc::new(Lines::new(Limits::new([(LOOK_UP.to_owned(), 1, per)])));
        let now = || Instant::now().into_std();
        // One call in 102 s.
        lines.set_share(0.001, now());
        assert_eq!(call(&lines).now_or_never(), Some(true));
        let mut waiting = call(&lines);
        assert!((&mut waiting).now_or_never().is_none());
        lines.set_share(1.0, now());
        let patience = Duration::from_secs(30);
        assert_eq!(tokio::time::timeout(patience, waiting).await, Ok(true));
    }

    #[tokio::test]
    async fn a_pause_stops_the_first_in_line_and_costs_no_call() {
        let lines = lines(1);
        assert!(lines.first("other").now_or_never().is_some(), "it has no limit, so no line");
        let place = lines.first(LOOK_UP).await;
        lines.pause(LOOK_UP, (Instant::now() + MINUTE).into_std());
        assert!(!lines.begin(LOOK_UP, place));
        assert!(next(&lines) <= MINUTE);
    }

    #[derive(Debug, Clone)]
    enum Step {
        /// One more waits in line.
        Come,
        /// One that waits is asked how far it is.
        Poll(usize),
        /// One that waits is given up.
        GiveUp(usize),
        /// The first in line begins its call.
        Begin(usize),
        /// The first in line is given up before it begins.
        Drop(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => Just(Step::Come),
            6 => any::<usize>().prop_map(Step::Poll),
            2 => any::<usize>().prop_map(Step::GiveUp),
            3 => any::<usize>().prop_map(Step::Begin),
            1 => any::<usize>().prop_map(Step::Drop),
        ]
    }

    proptest! {
        /// However those in line come, wait, are dropped and begin: what the bucket has left is
        /// its count less the calls that were sent, and the line moves on.
        #[test]
        fn the_bucket_is_never_emptier_than_what_was_sent(
            count in 1u32..12,
            steps in prop::collection::vec(step(), 1..200),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            let _entered = runtime.as_ref().unwrap().enter();
            let lines = lines(count);
            let mut waiting: Vec<BoxFuture<'static, Place>> = Vec::new();
            let mut first: Vec<Place> = Vec::new();
            let mut sent = 0;
            for step in steps {
                match step {
                    Step::Come => {
                        let lines = Arc::clone(&lines);
                        waiting.push(async move { lines.first(LOOK_UP).await }.boxed());
                    }
                    Step::Poll(n) if !waiting.is_empty() => {
                        let n = n % waiting.len();
                        if let Some(place) = (&mut waiting[n]).now_or_never() {
                            drop(waiting.remove(n));
                            first.push(place);
                        }
                    }
                    Step::GiveUp(n) if !waiting.is_empty() => {
                        drop(waiting.remove(n % waiting.len()));
                    }
                    Step::Begin(n) if !first.is_empty() => {
                        let place = first.remove(n % first.len());
                        prop_assert!(lines.begin(LOOK_UP, place));
                        sent += 1;
                    }
                    Step::Drop(n) if !first.is_empty() => drop(first.remove(n % first.len())),
                    Step::Poll(_) | Step::GiveUp(_) | Step::Begin(_) | Step::Drop(_) => {}
                }
                prop_assert!(first.len() <= 1, "one is first");
                prop_assert!(sent <= count);
            }
            drop((waiting, first));
            for left in (0..count - sent).rev() {
                prop_assert_eq!(call(&lines).now_or_never(), Some(true), "{} left", left);
            }
            prop_assert_eq!(call(&lines).now_or_never(), None);
            prop_assert!(next(&lines) <= WINDOW);
        }
    }
}
