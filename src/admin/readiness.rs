//! One question: can this process do its work now?
//!
//! One account's token, circuit or refusal is a metric and an alert, never readiness: it must
//! not take the other accounts down.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use serde::Serialize;

/// What the process must be able to do, and whether it can. A clone shares the same answers.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// `Err`: why not.
    checks: BTreeMap<&'static str, Result<(), String>>,
    listen: BTreeMap<&'static str, SocketAddr>,
    stopping: bool,
}

/// The answer of `/readyz`.
#[derive(Debug, Serialize)]
pub struct Report {
    pub ready: bool,
    /// `ok`, or why not.
    pub checks: BTreeMap<&'static str, String>,
    /// The addresses that were taken.
    pub listen: BTreeMap<&'static str, SocketAddr>,
}

impl Readiness {
    /// Sets what one part answers. A part that never answered holds readiness back only once it
    /// is declared, with an `Err` to begin with.
    pub fn set(&self, check: &'static str, state: Result<(), String>) {
        let mut shared = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = shared.checks.insert(check, state.clone());
        let stopping = shared.stopping;
        drop(shared);
        match (before, state) {
            // A group that is left on purpose is nothing to be alarmed by.
            (Some(Ok(())), Err(reason)) if stopping => tracing::debug!(check, reason, "not ready"),
            (Some(Ok(())), Err(reason)) => tracing::error!(check, reason, "not ready"),
            (Some(Err(_)), Ok(())) => tracing::info!(check, "ready"),
            (None, _) | (Some(Ok(())), Ok(())) | (Some(Err(_)), Err(_)) => {}
        }
    }

    /// Names an address that was taken.
    pub fn listening(&self, name: &'static str, address: SocketAddr) {
        let mut shared = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        shared.listen.insert(name, address);
    }

    /// From now on no new work is wanted.
    pub fn stopping(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).stopping = true;
    }

    /// The present answer.
    pub fn report(&self) -> Report {
        let shared = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut checks: BTreeMap<_, _> = shared
            .checks
            .iter()
            .map(|(name, state)| {
                (*name, state.as_ref().err().cloned().unwrap_or_else(|| "ok".into()))
            })
            .collect();
        if shared.stopping {
            checks.insert("process", "stopping".into());
        }
        Report {
            ready: !shared.stopping && shared.checks.values().all(Result::is_ok),
            checks,
            listen: shared.listen.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_has_to_be_able_and_stopping_is_not_ready() {
        let readiness = Readiness::default();
        readiness.set("webhooks", Err("Kafka was not asked yet".into()));
        assert!(!readiness.report().ready);
        readiness.set("webhooks", Ok(()));
        readiness.set("commands", Ok(()));
        assert!(readiness.report().ready);
        readiness.set("commands", Err("the group is not joined".into()));
        let report = readiness.report();
        assert!(!report.ready);
        assert_eq!(report.checks["commands"], "the group is not joined");
        readiness.set("commands", Ok(()));
        readiness.stopping();
        assert!(!readiness.report().ready);
    }
}
