//! Which command may start: those of one key strictly one after the other, those of different
//! keys side by side.
//!
//! One `KeyOrder` stands for one partition of one topic in one assignment: Kafka keeps no order
//! beyond it. Every step costs the same however many commands wait.

use std::collections::{HashMap, VecDeque};

/// The commands of one partition that wait for the one before them.
#[derive(Debug)]
pub struct KeyOrder<T> {
    /// A key is present while one of its commands runs; the queue holds those after it.
    running: HashMap<Vec<u8>, VecDeque<T>>,
    waiting: usize,
}

impl<T> Default for KeyOrder<T> {
    fn default() -> Self {
        Self { running: HashMap::new(), waiting: 0 }
    }
}

impl<T> KeyOrder<T> {
    /// Takes in the next command; gives it back when it may start now. Commands without a key
    /// have no order.
    pub fn push(&mut self, key: Option<&[u8]>, command: T) -> Option<T> {
        let Some(key) = key else { return Some(command) };
        if let Some(queue) = self.running.get_mut(key) {
            queue.push_back(command);
            self.waiting += 1;
            return None;
        }
        self.running.insert(key.to_vec(), VecDeque::new());
        Some(command)
    }

    /// Notes that the running command of `key` has ended; gives the one that may start now.
    pub fn ended(&mut self, key: Option<&[u8]>) -> Option<T> {
        let key = key?;
        let queue = self.running.get_mut(key)?;
        let next = queue.pop_front();
        match &next {
            Some(_) => self.waiting -= 1,
            None => {
                self.running.remove(key);
            }
        }
        next
    }

    /// How many commands wait for one before them.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Whether nothing runs under a key and nothing waits.
    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }
}

/// The orders of all partitions, by the epoch of their assignment: what ends in an assignment that
/// was given back or lost starts nothing in a later one.
#[derive(Debug)]
pub struct KeyOrders<T>(HashMap<u64, KeyOrder<T>>);

impl<T> Default for KeyOrders<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T> KeyOrders<T> {
    /// Takes in the next command of an epoch; gives it back when it may start now.
    pub fn push(&mut self, epoch: u64, key: Option<&[u8]>, command: T) -> Option<T> {
        self.0.entry(epoch).or_default().push(key, command)
    }

    /// Notes that the running command of a key has ended; gives the one that may start now.
    pub fn ended(&mut self, epoch: u64, key: Option<&[u8]>) -> Option<T> {
        let order = self.0.get_mut(&epoch)?;
        let next = order.ended(key);
        if order.is_empty() {
            self.0.remove(&epoch);
        }
        next
    }

    /// Nothing of this epoch starts any more.
    pub fn forget(&mut self, epoch: u64) {
        self.0.remove(&epoch);
    }

    /// How many commands wait for one before them.
    pub fn waiting(&self) -> usize {
        self.0.values().map(KeyOrder::waiting).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_holds_only_itself() {
        let mut order = KeyOrder::default();
        assert_eq!(order.push(Some(b"a"), 1), Some(1));
        assert_eq!(order.push(Some(b"a"), 2), None);
        assert_eq!(order.push(Some(b"b"), 3), Some(3));
        assert_eq!(order.push(None, 4), Some(4));
        assert_eq!(order.push(None, 5), Some(5));
        assert_eq!(order.push(Some(b""), 6), Some(6));
        assert_eq!(order.push(Some(b""), 7), None);
        assert_eq!(order.waiting(), 2);
        assert_eq!(order.ended(Some(b"b")), None);
        assert_eq!(order.ended(None), None);
        assert_eq!(order.ended(Some(b"a")), Some(2));
        assert_eq!(order.ended(Some(b"a")), None);
        assert_eq!(order.push(Some(b"a"), 8), Some(8));
        assert_eq!(order.ended(Some(b"")), Some(7));
        assert_eq!(order.ended(Some(b"")), None);
        assert_eq!(order.ended(Some(b"a")), None);
        assert!(order.is_empty());
    }

    proptest! {
        #[test]
        fn each_key_runs_in_order_and_none_waits_for_another(
            keys in prop::collection::vec(prop::option::of(0..5u8), 1..100),
            ends in prop::collection::vec(any::<prop::sample::Index>(), 0..300),
        ) {
            let mut order = KeyOrder::default();
            let mut coming = keys.iter().copied().enumerate();
            let mut running: Vec<(Option<u8>, usize)> = Vec::new();
            let mut started: Vec<(Option<u8>, usize)> = Vec::new();
            let mut ends = ends.into_iter();
            loop {
                if let Some((number, key)) = coming.next() {
                    let bytes = key.map(|key| vec![key]);
                    if let Some(number) = order.push(bytes.as_deref(), number) {
                        started.push((key, number));
                        running.push((key, number));
                    } else {
                        prop_assert!(running.iter().any(|r| r.0 == key), "waits for nothing");
                    }
                } else if running.is_empty() {
                    break;
                }
                if running.is_empty() || started.len().is_multiple_of(3) && coming.len() > 0 {
                    continue;
                }
                let index = ends.next().map_or(0, |index| index.index(running.len()));
                let (key, _) = running.remove(index);
                let bytes = key.map(|key| vec![key]);
                if let Some(number) = order.ended(bytes.as_deref()) {
                    started.push((key, number));
                    running.push((key, number));
                }
                for key in 0..5u8 {
                    prop_assert!(running.iter().filter(|r| r.0 == Some(key)).count() <= 1);
                }
            }
            prop_assert_eq!(started.len(), keys.len());
            for key in 0..5u8 {
                let of_key: Vec<_> = started.iter().filter(|s| s.0 == Some(key)).collect();
                prop_assert!(of_key.is_sorted_by_key(|s| s.1), "{:?}", of_key);
            }
        }
    }
}
