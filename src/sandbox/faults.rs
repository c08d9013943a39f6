//! What goes wrong on purpose, and when. Switched on in process through [`Faults`] or over the
//! control server (`PUT /faults`).

use std::sync::{Arc, Mutex};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use super::{Vendor, locked};

/// The most rules at once: each request is held against all of them.
const MAX_RULES: usize = 1_000;

/// One way to fail.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// The answer takes longer.
    Latency {
        /// How much longer.
        ms: u64,
        /// At most this much more, at random.
        #[serde(default)]
        jitter_ms: u64,
        /// Whether the work is done before the pause (a caller that gives up has then been
        /// served) or after it (a caller that gives up has not).
        #[serde(default)]
        after_work: bool,
    },
    /// The vendor refuses with a code of its own and does nothing.
    Refuse {
        /// The code: JFWMS a number (`1`), Qianyi a text (`SYSTEM_ERROR`).
        code: String,
        /// The message; default the documented one.
        #[serde(default)]
        message: Option<String>,
        /// Qianyi only: as a failure inside an outer success, its form of a business refusal.
        #[serde(default)]
        inner: bool,
    },
    /// An HTTP error, and nothing is done.
    Status {
        /// The HTTP status.
        status: u16,
        /// A `Retry-After` header.
        #[serde(default)]
        retry_after: Option<RetryAfter>,
        /// The body; default none.
        #[serde(default)]
        body: Option<String>,
    },
    /// The connection ends without an answer, and nothing is done.
    DropBeforeWork,
    /// The work is done, then the connection ends without an answer.
    DropAfterWork,
    /// The work is done, then the answer ends in the middle and so does the connection.
    Truncate,
    /// The work is done, then the answer is no JSON.
    Garbage,
    /// JFWMS only: every access token ends before the request is looked at.
    ExpireTokens,
}

impl Fault {
    /// The name by which the request log calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Latency { .. } => "latency",
            Self::Refuse { .. } => "refuse",
            Self::Status { .. } => "status",
            Self::DropBeforeWork => "drop-before-work",
            Self::DropAfterWork => "drop-after-work",
            Self::Truncate => "truncate",
            Self::Garbage => "garbage",
            Self::ExpireTokens => "expire-tokens",
        }
    }
}

/// The two forms of `Retry-After`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RetryAfter {
    /// Seconds, as a number.
    Seconds(u64),
    /// An HTTP date so many seconds from the vendor's present.
    DateIn(u64),
}

/// A fault, where it happens and how often.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// The vendor; without one, both.
    #[serde(default)]
    pub vendor: Option<Vendor>,
    /// The path (`/api/order/create`, `/api/v1/asn`) or, for Qianyi, the serviceType; `*` stands
    /// for any text. Default `*`.
    #[serde(default = "any")]
    pub endpoint: String,
    /// How likely it is, of the requests that match; default 1.
    #[serde(default = "certain")]
    pub probability: f64,
    /// How many matching requests are spared first; default 0.
    #[serde(default)]
    pub skip: u64,
    /// How often it happens at most; without it, until it is removed.
    #[serde(default)]
    pub times: Option<u64>,
    /// What happens.
    pub fault: Fault,
}

fn any() -> String {
    "*".to_owned()
}

fn certain() -> f64 {
    1.0
}

impl FaultRule {
    /// A rule for every request to `vendor` that matches `endpoint`.
    pub fn new(vendor: Vendor, endpoint: &str, fault: Fault) -> Self {
        Self {
            vendor: Some(vendor),
            endpoint: endpoint.to_owned(),
            probability: 1.0,
            skip: 0,
            times: None,
            fault,
        }
    }

    /// The same, for the next `times` requests only.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// The same, with a probability between 0 and 1.
    #[must_use]
    pub fn probability(mut self, probability: f64) -> Self {
        self.probability = probability;
        self
    }

    fn matches(&self, vendor: Vendor, names: &[&str]) -> bool {
        self.vendor.is_none_or(|of| of == vendor)
            && names.iter().any(|name| glob(self.endpoint.as_bytes(), name.as_bytes()))
    }
}

/// Whether `pattern`, in which `*` stands for any text, matches all of `text`.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, t));
            p += 1;
        } else if pattern.get(p) == text.get(t) {
            p += 1;
            t += 1;
        } else if let Some((at, from)) = star {
            // The last star takes one byte more.
            star = Some((at, from + 1));
            p = at + 1;
            t = from + 1;
        } else {
            return false;
        }
    }
    pattern.iter().skip(p).all(|byte| *byte == b'*')
}

/// A rule and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FaultState {
    /// The rule.
    #[serde(flatten)]
    pub rule: FaultRule,
    /// Requests that matched so far.
    pub matched: u64,
    /// How often it happened so far.
    pub happened: u64,
}

/// Why a rule was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// Not a probability.
    #[error("fault {0}: `probability` must lie between 0 and 1")]
    Probability(usize),
    /// Not an HTTP error status.
    #[error("fault {0}: `status` must lie between 300 and 599")]
    Status(usize),
    /// Too many rules.
    #[error("at most {MAX_RULES} faults can be switched on at once")]
    TooMany,
}

/// The handle with which faults are switched on and off while the sandbox runs.
#[derive(Debug, Clone)]
pub struct Faults {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    rules: Vec<FaultState>,
    random: StdRng,
}

impl Faults {
    pub(super) fn new(seed: u64) -> Self {
        let inner = Inner { rules: Vec::new(), random: StdRng::seed_from_u64(seed) };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    /// Replaces all rules.
    pub fn set(&self, rules: Vec<FaultRule>) -> Result<(), FaultError> {
        for (index, rule) in rules.iter().enumerate() {
            check(index, rule)?;
        }
        if rules.len() > MAX_RULES {
            return Err(FaultError::TooMany);
        }
        locked(&self.inner).rules = rules.into_iter().map(fresh).collect();
        Ok(())
    }

    /// Adds a rule behind the others.
    pub fn add(&self, rule: FaultRule) -> Result<(), FaultError> {
        let mut inner = locked(&self.inner);
        check(inner.rules.len(), &rule)?;
        if inner.rules.len() >= MAX_RULES {
            return Err(FaultError::TooMany);
        }
        inner.rules.push(fresh(rule));
        Ok(())
    }

    /// Removes all rules.
    pub fn clear(&self) {
        locked(&self.inner).rules.clear();
    }

    /// Starts the random source anew: the same seed, rules and order of requests give the same
    /// faults.
    pub fn reseed(&self, seed: u64) {
        locked(&self.inner).random = StdRng::seed_from_u64(seed);
    }

    /// The rules and how often each has happened.
    pub fn rules(&self) -> Vec<FaultState> {
        locked(&self.inner).rules.clone()
    }

    /// The faults of one request, in the order of the rules.
    pub(super) fn strike(&self, vendor: Vendor, names: &[&str]) -> Vec<Fault> {
        let mut inner = locked(&self.inner);
        let Inner { rules, random } = &mut *inner;
        let mut faults = Vec::new();
        for state in rules.iter_mut().filter(|state| state.rule.matches(vendor, names)) {
            state.matched += 1;
            let spent = state.rule.times.is_some_and(|times| state.happened >= times);
            if state.matched <= state.rule.skip || spent {
                continue;
            }
            if state.rule.probability >= 1.0 || random.random::<f64>() < state.rule.probability {
                state.happened += 1;
                faults.push(state.rule.fault.clone());
            }
        }
        faults
    }

    /// A pause of `ms` and at most `jitter_ms` more.
    pub(super) fn pause(&self, ms: u64, jitter_ms: u64) -> std::time::Duration {
        let jitter = match jitter_ms {
            0 => 0,
            most => locked(&self.inner).random.random_range(0..=most),
        };
        std::time::Duration::from_millis(ms.saturating_add(jitter))
    }
}

fn fresh(rule: FaultRule) -> FaultState {
    FaultState { rule, matched: 0, happened: 0 }
}

fn check(index: usize, rule: &FaultRule) -> Result<(), FaultError> {
    if !(0.0..=1.0).contains(&rule.probability) {
        return Err(FaultError::Probability(index));
    }
    match rule.fault {
        Fault::Status { status, .. } if !(300..=599).contains(&status) => {
            Err(FaultError::Status(index))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        let table = [
            ("*", "", true),
            ("*", "/api/order/create", true),
            ("/api/order/*", "/api/order/create", true),
            ("/api/order/*", "/api/inbound/create", false),
            ("*/create", "/api/inbound/create", true),
            ("CREATE_*_ORDER", "CREATE_ASN_ORDER", true),
            ("CREATE_*_ORDER", "CREATE_AND_AUDIT_SALES_ORDERS", false),
            ("/api/order/get", "/api/order/get", true),
            ("/api/order/get", "/api/order/getx", false),
            ("a*b*c", "axxbxbxc", true),
        ];
        for (pattern, text, expected) in table {
            assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_count_ends_a_fault_and_a_skip_delays_it() {
        let faults = Faults::new(1);
        let mut rule = FaultRule::new(Vendor::Jfwms, "*", Fault::DropBeforeWork).times(2);
        rule.skip = 1;
        faults.set(vec![rule]).unwrap();
        let hits: Vec<bool> =
            (0..5).map(|_| !faults.strike(Vendor::Jfwms, &["/x"]).is_empty()).collect();
        assert_eq!(hits, [false, true, true, false, false]);
        assert!(faults.strike(Vendor::Qianyi, &["/x"]).is_empty());
    }

    #[test]
    fn one_seed_gives_one_drill() {
        let drill = |seed| {
            let faults = Faults::new(seed);
            let rule = FaultRule::new(Vendor::Jfwms, "*", Fault::Garbage).probability(0.5);
            faults.set(vec![rule]).unwrap();
            (0..64).map(|_| faults.strike(Vendor::Jfwms, &["/x"]).len()).collect::<Vec<_>>()
        };
        assert_eq!(drill(7), drill(7));
        assert_ne!(drill(7), drill(8));
    }

    #[test]
    fn a_rule_that_cannot_be_is_refused_and_named() {
        let faults = Faults::new(1);
        let rule = FaultRule::new(Vendor::Jfwms, "*", Fault::Garbage);
        let error = faults.set(vec![rule.clone(), rule.clone().probability(1.5)]).unwrap_err();
        assert_eq!(error.to_string(), "fault 1: `probability` must lie between 0 and 1");
        let status = Fault::Status { status: 200, retry_after: None, body: None };
        assert_eq!(faults.add(FaultRule { fault: status, ..rule }), Err(FaultError::Status(0)));
        assert!(faults.rules().is_empty());
    }

    #[test]
    fn rules_are_read_from_json() {
        let text = r#"{"endpoint":"CREATE_*","times":1,
            "fault":{"status":{"status":503,"retry_after":{"date-in":30}}}}"#;
        let rule: FaultRule = serde_json::from_str(text).unwrap();
        let fault =
            Fault::Status { status: 503, retry_after: Some(RetryAfter::DateIn(30)), body: None };
        assert_eq!((rule.vendor, rule.fault), (None, fault));
        let rule: FaultRule = serde_json::from_str(r#"{"fault":"drop-after-work"}"#).unwrap();
        assert_eq!((rule.endpoint.as_str(), rule.fault), ("*", Fault::DropAfterWork));
    }
}
