//! How many bytes of unfinished bodies one source may hold: a sender that begins many and ends none
//! takes no more than its part.

use std::{collections::HashMap, net::IpAddr, sync::Mutex, time::Duration};

use tokio::time::Instant;

use super::{lock, source};

/// A body above this is large: its sender has to keep up the floor, and large ones together leave
/// room for small ones.
pub(super) const SMALL: usize = 64 * 1024;
/// The floor holds over each of these.
const INTERVAL: Duration = Duration::from_secs(5);

/// All bodies that are being received.
#[derive(Debug)]
pub(super) struct Receiving {
    most: usize,
    by_source: Mutex<HashMap<IpAddr, usize>>,
}

/// One body that is being received; its part is given back when this is dropped.
#[derive(Debug)]
pub(super) struct Share<'a> {
    of: &'a Receiving,
    /// `None`: no part is counted, for a proxy sends what many do.
    source: Option<IpAddr>,
    held: usize,
}

impl Receiving {
    pub(super) fn new(most: usize) -> Self {
        Self { most, by_source: Mutex::default() }
    }

    pub(super) fn begin(&self, source: Option<IpAddr>) -> Share<'_> {
        Share { of: self, source: source.map(source::network), held: 0 }
    }
}

impl Share<'_> {
    /// So many bytes more; `false`: the source has its part.
    pub(super) fn take(&mut self, count: usize) -> bool {
        let Some(source) = self.source else { return true };
        let mut all = lock(&self.of.by_source);
        let held = all.entry(source).or_default();
        let more = held.saturating_add(count);
        if more > self.of.most {
            return false;
        }
        *held = more;
        self.held += count;
        true
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let Some(source) = self.source else { return };
        let mut all = lock(&self.of.by_source);
        if let Some(held) = all.get_mut(&source) {
            *held = held.saturating_sub(self.held);
            if *held == 0 {
                all.remove(&source);
            }
        }
    }
}

/// The floor of a large body's transfer.
#[derive(Debug)]
pub(super) struct Floor {
    /// In each interval; 0: there is none.
    bytes: usize,
    since: Instant,
    received: usize,
}

impl Floor {
    /// `rate` is in bytes a second.
    pub(super) fn new(rate: usize, now: Instant) -> Self {
        let seconds = usize::try_from(INTERVAL.as_secs()).unwrap_or(usize::MAX);
        Self { bytes: rate.saturating_mul(seconds), since: now, received: 0 }
    }

    /// When it is looked at next.
    pub(super) fn due(&self) -> Instant {
        self.since + INTERVAL
    }

    pub(super) fn received(&mut self, count: usize) {
        self.received = self.received.saturating_add(count);
    }

    /// An interval is over; `total` is all of the body so far. `false`: it came too slowly.
    pub(super) fn holds(&mut self, total: usize, now: Instant) -> bool {
        let holds = total <= SMALL || self.received >= self.bytes;
        (self.since, self.received) = (now, 0);
        holds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn a_source_has_its_part_and_gives_it_back() {
        let all = Receiving::new(10);
        let mut first = all.begin(address("192.0.2.1"));
        let mut second = all.begin(address("192.0.2.1"));
        assert!(first.take(6) && second.take(4) && !second.take(1));
        // Others have theirs; an IPv6 host is its network.
        let mut other = all.begin(address("2001:db8::1"));
        assert!(other.take(10));
        assert!(!all.begin(address("2001:db8::2")).take(1));
        assert!(all.begin(address("2001:db8:0:1::2")).take(1));
        assert!(all.begin(None).take(1_000));
        drop(first);
        assert!(second.take(6) && !second.take(1));
        drop((second, other));
        assert!(lock(&all.by_source).is_empty(), "nothing is remembered of who is gone");
    }

    #[test]
    fn a_large_body_keeps_up_the_floor() {
        let start = Instant::now();
        let mut floor = Floor::new(1_000, start);
        let later = floor.due();
        // A small one may take its time, whatever came.
        assert!(floor.holds(SMALL, later));
        assert!(!floor.holds(SMALL + 1, later));
        floor.received(5_000);
        assert!(floor.holds(SMALL + 5_000, later));
        // What came before does not count twice.
        floor.received(4_999);
        assert!(!floor.holds(SMALL + 9_999, later));
        let mut none = Floor::new(0, start);
        assert!(none.holds(SMALL + 1, later));
    }
}
