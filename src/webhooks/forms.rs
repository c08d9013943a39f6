//! Which signature form an account uses, learnt from what matched. Pure over the time.

use jiff::Timestamp;

use crate::domain::SignatureHint;

/// Once one form matched, so many further tries a minute are allowed: each costs a hash of the
/// body, and whoever can reach the listener can cause them.
const FURTHER_TRIES_A_MINUTE: u32 = 10;

/// What is known of an account's signature.
#[derive(Debug, Default)]
pub struct SignatureForms {
    matched: Option<&'static str>,
    minute: i64,
    tries: u32,
}

impl SignatureForms {
    /// What to try for the next webhook.
    pub fn hint(&mut self, now: Timestamp) -> SignatureHint {
        let minute = now.as_second().div_euclid(60);
        if minute != self.minute {
            self.minute = minute;
            self.tries = 0;
        }
        SignatureHint {
            first: self.matched,
            try_others: self.matched.is_none() || self.tries < FURTHER_TRIES_A_MINUTE,
        }
    }

    /// A webhook matched in `form`. True when that is news.
    pub fn matched(&mut self, form: &'static str) -> bool {
        if self.matched == Some(form) {
            return false;
        }
        if self.matched.is_some() {
            self.tries = self.tries.saturating_add(1);
        }
        self.matched = Some(form);
        true
    }

    /// A webhook matched in no form that was tried.
    pub fn refused(&mut self) {
        self.tries = self.tries.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_forms_are_tried_ten_times_a_minute_once_one_is_known() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut forms = SignatureForms::default();
        for _ in 0..100 {
            assert!(forms.hint(at(0)).try_others, "nothing is known yet");
            forms.refused();
        }
        let mut forms = SignatureForms::default();
        assert!(forms.matched("raw"));
        assert!(!forms.matched("raw"));
        for _ in 0..10 {
            let hint = forms.hint(at(1));
            assert_eq!((hint.first, hint.try_others), (Some("raw"), true));
            forms.refused();
        }
        assert!(!forms.hint(at(59)).try_others);
        assert!(forms.hint(at(60)).try_others, "a new minute");
    }
}
