//! What has to be done about an account's tokens. Pure: the time is an argument.

use jiff::{SignedDuration, Timestamp};

use super::token_store::{StoredTokens, TokenState};
use crate::domain::Tokens;

/// Tokens are renewed when this is left of their life, or a quarter of it if that is shorter.
const RENEW_BEFORE: SignedDuration = SignedDuration::from_hours(2);

/// A token is not used any more when this is left of it, or a twentieth of its life.
const LAST_USE: SignedDuration = SignedDuration::from_secs(10);

/// What an operator should know about an account's tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenStatus {
    /// When the access token ends, where that is known.
    pub access_ends_at: Option<Timestamp>,
    /// When a person has to authorise again: the refresh token's end, or the access token's where
    /// nothing renews it.
    pub authorization_ends_at: Option<Timestamp>,
    /// There are no tokens, or the vendor refused them.
    pub needs_authorization: bool,
}

impl TokenStatus {
    pub(super) fn of(record: Option<&StoredTokens>) -> Self {
        let tokens = record.map(|record| &record.current);
        let access_ends_at = tokens.and_then(|tokens| tokens.expires_at);
        let authorization_ends_at = match tokens {
            Some(Tokens { refresh_token: Some(_), refresh_expires_at, .. }) => *refresh_expires_at,
            Some(Tokens { refresh_token: None, .. }) | None => access_ends_at,
        };
        let needs_authorization = record.is_none_or(|record| record.state == TokenState::Refused);
        Self { access_ends_at, authorization_ends_at, needs_authorization }
    }

    /// `wms_token_expires_in_seconds`: how long the account can still call without a person; 0
    /// where it cannot now, `None` where the end is not known.
    pub fn expires_in_seconds(&self, now: Timestamp) -> Option<f64> {
        if self.needs_authorization {
            return Some(0.0);
        }
        self.authorization_ends_at.map(|end| end.duration_since(now).as_secs_f64().max(0.0))
    }
}

/// What has to be done about the tokens in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Nothing,
    /// They may be used, but should be renewed.
    Early,
    /// They may not be used before they are renewed.
    Now,
    /// Only a person can mend it.
    Person,
}

/// What has to be done about an account's record at `now`.
pub(super) fn need(record: Option<&StoredTokens>, now: Timestamp) -> Need {
    let Some(record) = record else { return Need::Person };
    if record.state == TokenState::Refused {
        return Need::Person;
    }
    let tokens = &record.current;
    if tokens.access_token.is_empty() {
        return if tokens.refresh_token.is_some() { Need::Now } else { Need::Person };
    }
    let (Some(end), true) = (tokens.expires_at, tokens.refresh_token.is_some()) else {
        // Its end is not known, or nothing renews it: the vendor will say when it is over.
        return Need::Nothing;
    };
    let life = end.duration_since(record.obtained_at).max(SignedDuration::ZERO);
    let left = end.duration_since(now);
    if left <= LAST_USE.min(life / 20) {
        Need::Now
    } else if left <= RENEW_BEFORE.min(life / 4) {
        Need::Early
    } else {
        Need::Nothing
    }
}

/// Whether two tokens are of one authorisation.
pub(super) fn same(left: &Tokens, right: &Tokens) -> bool {
    match (&left.refresh_token, &right.refresh_token) {
        (Some(left), Some(right)) => left == right,
        (None, _) | (_, None) => left.access_token == right.access_token,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Secret;

    fn record(life: Option<i64>, refresh: bool, access: &str) -> StoredTokens {
        StoredTokens {
            version: 1,
            state: TokenState::Settled,
            current: Tokens {
                access_token: Secret::new(access),
                user_id: "8".to_owned(),
                expires_at: life.map(at),
                refresh_token: refresh.then(|| Secret::new("r")),
                refresh_expires_at: Some(at(1_000_000)),
            },
            previous: None,
            obtained_at: at(0),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    #[test]
    fn tokens_are_renewed_early_and_never_used_after_their_end() {
        const DAY: i64 = 86_400;
        for (record, now, expected) in [
            (record(Some(DAY), true, "a"), 0, Need::Nothing),
            (record(Some(DAY), true, "a"), DAY - 7_201, Need::Nothing),
            (record(Some(DAY), true, "a"), DAY - 7_200, Need::Early),
            (record(Some(DAY), true, "a"), DAY - 11, Need::Early),
            (record(Some(DAY), true, "a"), DAY - 10, Need::Now),
            (record(Some(DAY), true, "a"), DAY + 1, Need::Now),
            // A short life shortens both: a token of ten seconds can be used.
            (record(Some(20), true, "a"), 14, Need::Nothing),
            (record(Some(20), true, "a"), 15, Need::Early),
            (record(Some(20), true, "a"), 19, Need::Now),
            // Nothing renews it, or nobody knows its end: the vendor will say.
            (record(Some(10), false, "a"), 100, Need::Nothing),
            (record(None, true, "a"), 100, Need::Nothing),
            // Only a refresh token to begin with.
            (record(None, true, ""), 0, Need::Now),
            (record(None, false, ""), 0, Need::Person),
        ] {
            assert_eq!(need(Some(&record), at(now)), expected, "{record:?} at {now}");
        }
        assert_eq!(need(None, at(0)), Need::Person);
        let refused = record(None, true, "a").next(TokenState::Refused);
        assert_eq!(need(Some(&refused), at(0)), Need::Person);
    }

    #[test]
    fn the_metric_counts_down_to_the_day_a_person_is_needed() {
        let renewed = record(Some(10), true, "a");
        let fixed = record(Some(10), false, "a");
        let refused = renewed.next(TokenState::Refused);
        for (record, expected) in [
            (Some(&renewed), Some(999_999.0)),
            (Some(&fixed), Some(9.0)),
            (Some(&refused), Some(0.0)),
            (None, Some(0.0)),
        ] {
            assert_eq!(TokenStatus::of(record).expires_in_seconds(at(1)), expected);
        }
    }
}
