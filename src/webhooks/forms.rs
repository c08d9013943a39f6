//! Which signature forms an account uses, learnt from what matched, and who may make us try others.
//! Pure over the time.
//!
//! Every form that is tried costs a hash of the body, and anybody who reaches the listener can send
//! bodies. So the tries beyond the known forms are bounded, for each sender by itself: one that sends
//! wrong signatures uses up its own tries, never those of the vendor.

use std::{collections::HashMap, net::IpAddr};

use jiff::Timestamp;

use super::source;
use crate::domain::SignatureHint;

/// So many senders of refused webhooks are told apart, for each account. Any further one gets no
/// tries beyond the known forms in this minute, so that neither memory nor work grows with the number
/// of addresses.
const SENDERS: usize = 1024;

/// What a match says about the account's signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matched {
    /// The form that matched last.
    Newest,
    /// The form that matched before that one. A captured webhook can be sent in a second form of one
    /// signed text, so the two can alternate.
    Known,
    /// A form that was not known.
    New,
}

/// What is known of an account's signature.
#[derive(Debug, Default)]
pub struct SignatureForms {
    known: [Option<&'static str>; 2],
    minute: i64,
    /// The bytes of each sender's bodies, in this minute, that matched in no known form.
    spent: HashMap<IpAddr, u64>,
}

impl SignatureForms {
    /// What to try for the next webhook of `sender`, which may make us hash `limit` bytes a minute in
    /// every form.
    pub fn hint(&mut self, sender: IpAddr, limit: u64, now: Timestamp) -> SignatureHint {
        let minute = now.as_second().div_euclid(60);
        if minute != self.minute {
            self.minute = minute;
            self.spent = HashMap::new();
        }
        let further = match self.spent.get(&source::network(sender)) {
            Some(spent) => *spent < limit,
            None => self.spent.len() < SENDERS,
        };
        SignatureHint { known: self.known, further }
    }

    /// A webhook of so many bytes matched in `form`.
    pub fn matched(&mut self, form: &'static str, sender: IpAddr, bytes: u64) -> Matched {
        let [newest, before] = self.known;
        if newest == Some(form) {
            return Matched::Newest;
        }
        self.known = [Some(form), newest];
        if before == Some(form) {
            return Matched::Known;
        }
        if newest.is_some() {
            self.refused(sender, bytes);
        }
        Matched::New
    }

    /// A webhook of so many bytes matched in no form.
    pub fn refused(&mut self, sender: IpAddr, bytes: u64) {
        let sender = source::network(sender);
        if self.spent.len() < SENDERS || self.spent.contains_key(&sender) {
            let spent = self.spent.entry(sender).or_default();
            *spent = spent.saturating_add(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: u64 = 1000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_sender_uses_up_its_own_tries_alone() {
        let (stranger, vendor) = (address("203.0.113.1"), address("198.51.100.1"));
        for learnt in [false, true] {
            let mut forms = SignatureForms::default();
            if learnt {
                assert_eq!(forms.matched("raw", vendor, 100), Matched::New);
            }
            for _ in 0..10 {
                assert!(forms.hint(stranger, LIMIT, at(1)).further);
                forms.refused(stranger, 100);
            }
            assert!(!forms.hint(stranger, LIMIT, at(59)).further, "learnt: {learnt}");
            assert!(forms.hint(vendor, LIMIT, at(59)).further, "learnt: {learnt}");
            assert!(forms.hint(stranger, LIMIT, at(60)).further, "a new minute");
        }
    }

    #[test]
    fn an_ipv6_network_is_one_sender() {
        let mut forms = SignatureForms::default();
        forms.refused(address("2001:db8::1"), LIMIT);
        for (other, further) in [("2001:db8::2", false), ("2001:db8:0:1::1", true)] {
            assert_eq!(forms.hint(address(other), LIMIT, at(0)).further, further, "{other}");
        }
    }

    #[test]
    fn the_last_two_forms_stay_known() {
        let stranger = address("203.0.113.1");
        let mut forms = SignatureForms::default();
        for (form, matched, known) in [
            ("raw", Matched::New, [Some("raw"), None]),
            ("raw", Matched::Newest, [Some("raw"), None]),
            ("compact", Matched::New, [Some("compact"), Some("raw")]),
            ("raw", Matched::Known, [Some("raw"), Some("compact")]),
            ("compact", Matched::Known, [Some("compact"), Some("raw")]),
            ("text", Matched::New, [Some("text"), Some("compact")]),
        ] {
            assert_eq!(forms.matched(form, stranger, 1), matched, "{form}");
            assert_eq!(forms.hint(stranger, LIMIT, at(0)).known, known, "{form}");
        }
    }

    proptest! {
        /// However many addresses there are: neither the memory nor what they make us try grows.
        #[test]
        fn many_senders_are_bounded(senders in 0u32..1500, bytes in 200u64..2000) {
            let mut forms = SignatureForms::default();
            let mut tried = 0;
            for sender in 0..senders {
                let sender = IpAddr::from(sender.to_be_bytes());
                while forms.hint(sender, LIMIT, at(0)).further {
                    forms.refused(sender, bytes);
                    tried += bytes;
                }
            }
            prop_assert!(forms.spent.len() <= SENDERS);
            prop_assert!(tried <= SENDERS as u64 * (LIMIT + bytes));
        }
    }
}
