//! What was acknowledged lately: to suppress repeats and to notice signed data that comes back
//! under another type. Pure; bounded in time and in count.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use jiff::Timestamp;

use crate::domain::EventId;

/// So much of a type's name is kept. The signature does not cover the type: a sender could fill
/// the memory with long ones.
const TYPE_NAME_LENGTH: usize = 64;

/// What the window knows of a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Nothing.
    New,
    /// The same webhook was acknowledged.
    Duplicate,
    /// The same signed data was acknowledged as another type.
    Retyped { first_type: String },
}

/// The window of one account. Only what is in Kafka is remembered: a webhook whose publication
/// failed must be taken when it is sent again.
#[derive(Debug)]
pub struct Recent {
    window: Duration,
    capacity: usize,
    order: VecDeque<(Timestamp, EventId, [u8; 16])>,
    events: HashMap<EventId, usize>,
    /// The first type under which the data came, and how many entries of `order` hold it.
    types: HashMap<[u8; 16], (String, usize)>,
}

impl Recent {
    /// A window of at most `capacity` webhooks, none older than `window`.
    pub fn new(window: Duration, capacity: usize) -> Self {
        Self {
            window,
            capacity,
            order: VecDeque::new(),
            events: HashMap::new(),
            types: HashMap::new(),
        }
    }

    /// Looks a webhook up.
    pub fn look(
        &mut self,
        id: &EventId,
        signed_digest: &[u8; 16],
        type_name: &str,
        now: Timestamp,
    ) -> Seen {
        self.forget_old(now);
        if self.events.contains_key(id) {
            return Seen::Duplicate;
        }
        match self.types.get(signed_digest) {
            Some((first_type, _)) if *first_type != shortened(type_name) => {
                Seen::Retyped { first_type: first_type.clone() }
            }
            Some(_) | None => Seen::New,
        }
    }

    /// Remembers an acknowledged webhook.
    pub fn remember(
        &mut self,
        id: EventId,
        signed_digest: [u8; 16],
        type_name: &str,
        now: Timestamp,
    ) {
        if self.capacity == 0 {
            return;
        }
        self.forget_old(now);
        while self.order.len() >= self.capacity {
            self.forget_first();
        }
        *self.events.entry(id.clone()).or_insert(0) += 1;
        self.types.entry(signed_digest).or_insert_with(|| (shortened(type_name), 0)).1 += 1;
        self.order.push_back((now, id, signed_digest));
    }

    fn forget_old(&mut self, now: Timestamp) {
        let window = i64::try_from(self.window.as_millis()).unwrap_or(i64::MAX);
        while let Some((at, ..)) = self.order.front() {
            if now.as_millisecond().saturating_sub(at.as_millisecond()) < window {
                break;
            }
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        let Some((_, id, digest)) = self.order.pop_front() else { return };
        if let Some(count) = self.events.get_mut(&id) {
            *count -= 1;
            if *count == 0 {
                self.events.remove(&id);
            }
        }
        if let Some((_, count)) = self.types.get_mut(&digest) {
            *count -= 1;
            if *count == 0 {
                self.types.remove(&digest);
            }
        }
    }
}

fn shortened(type_name: &str) -> String {
    type_name.chars().take(TYPE_NAME_LENGTH).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::AccountName;

    fn id(text: &str) -> EventId {
        EventId::of(&AccountName::new("a").unwrap(), text, [])
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(ms).unwrap()
    }

    #[test]
    fn a_repeat_is_known_until_the_window_has_passed() {
        let mut recent = Recent::new(Duration::from_secs(10), 100);
        assert_eq!(recent.look(&id("1"), &[1; 16], "order", at(0)), Seen::New);
        recent.remember(id("1"), [1; 16], "order", at(0));
        assert_eq!(recent.look(&id("1"), &[1; 16], "order", at(9_999)), Seen::Duplicate);
        assert_eq!(recent.look(&id("1"), &[1; 16], "order", at(10_000)), Seen::New);
    }

    #[test]
    fn the_same_data_under_another_type_is_noticed_and_another_event_of_the_type_is_not() {
        let mut recent = Recent::new(Duration::from_secs(10), 100);
        recent.remember(id("1"), [1; 16], "move", at(0));
        // Two partial returns with equal data, or an equal frame member, are two events.
        assert_eq!(recent.look(&id("2"), &[1; 16], "move", at(1)), Seen::New);
        assert_eq!(
            recent.look(&id("3"), &[1; 16], "convert", at(1)),
            Seen::Retyped { first_type: "move".into() }
        );
        assert_eq!(recent.look(&id("3"), &[2; 16], "convert", at(1)), Seen::New);
    }

    /// Two equal webhooks at once are both published, before either is remembered.
    #[test]
    fn equal_webhooks_at_once_are_forgotten_one_by_one() {
        let mut recent = Recent::new(Duration::from_secs(10), 100);
        assert_eq!(recent.look(&id("1"), &[1; 16], "order", at(0)), Seen::New);
        assert_eq!(recent.look(&id("1"), &[1; 16], "order", at(0)), Seen::New);
        recent.remember(id("1"), [1; 16], "order", at(0));
        recent.remember(id("1"), [1; 16], "order", at(5_000));
        assert_eq!(recent.look(&id("1"), &[1; 16], "order", at(12_000)), Seen::Duplicate);
        assert_eq!(
            recent.look(&id("2"), &[1; 16], "move", at(12_000)),
            Seen::Retyped { first_type: "order".into() }
        );
        assert_eq!(recent.look(&id("1"), &[1; 16], "order", at(15_000)), Seen::New);
        assert_eq!((recent.order.len(), recent.events.len(), recent.types.len()), (0, 0, 0));
    }

    #[test]
    fn of_a_long_type_only_the_beginning_is_kept() {
        let mut recent = Recent::new(Duration::from_secs(10), 100);
        let long = "仓".repeat(100_000);
        recent.remember(id("1"), [1; 16], &long, at(0));
        assert_eq!(recent.look(&id("2"), &[1; 16], &long, at(1)), Seen::New);
        assert_eq!(
            recent.look(&id("2"), &[1; 16], "order", at(1)),
            Seen::Retyped { first_type: "仓".repeat(64) }
        );
    }

    #[test]
    fn memory_is_bounded_in_count() {
        let mut recent = Recent::new(Duration::from_secs(1_000), 3);
        for n in 0..100u8 {
            recent.remember(id(&n.to_string()), [n; 16], "order", at(i64::from(n)));
        }
        assert_eq!((recent.order.len(), recent.events.len(), recent.types.len()), (3, 3, 3));
        assert_eq!(recent.look(&id("96"), &[96; 16], "order", at(100)), Seen::New);
        assert_eq!(recent.look(&id("97"), &[97; 16], "order", at(100)), Seen::Duplicate);
    }
}
