//! File descriptors: every connection of a sender takes one, and so does everything else.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;

/// For what is neither a sender's connection nor a call: brokers, the registry, files, the admin
/// listener, the runtime.
const FOR_THE_REST: usize = 128;
/// However few there are, so many senders may be connected.
const FEWEST: usize = 16;

/// Raises the process's limit as far as it may by itself, and says what it is then; `None`: there is
/// none. The soft limit of many systems, 1,024, is made for programs that use `select`.
fn raise_limit() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::debug!(%error, "the limit of file descriptors could not be raised");
            current
        }
    }
}

/// How many senders may be connected where `limit` descriptors are all there are: what calls, Kafka and
/// files need is kept.
fn connections_within(wanted: usize, calls: usize, limit: Option<u64>) -> usize {
    let Some(limit) = limit.and_then(|limit| usize::try_from(limit).ok()) else { return wanted };
    let kept = FOR_THE_REST.saturating_add(calls);
    wanted.min(limit.saturating_sub(kept).max(FEWEST))
}

/// How many senders may be connected to this process, with a word where it is fewer than configured.
pub(super) fn connections(config: &Config) -> usize {
    let limit = raise_limit();
    let wanted = config.ingress.max_connections;
    let allowed = connections_within(wanted, config.commands.max_in_flight, limit);
    if allowed < wanted {
        tracing::warn!(
            limit,
            allowed,
            wanted,
            "the process may not have as many file descriptors as `ingress.max_connections` needs: fewer \
             senders may be connected; raise the hard limit (`LimitNOFILE`, `ulimit -Hn`)"
        );
    }
    allowed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_rest_needs_is_kept() {
        for (limit, allowed) in [
            (None, 4_096),
            (Some(u64::MAX), 4_096),
            (Some(1_024), 1_024 - FOR_THE_REST - 256),
            (Some(100), FEWEST),
        ] {
            assert_eq!(connections_within(4_096, 256, limit), allowed, "{limit:?}");
        }
        assert_eq!(connections_within(8, 256, Some(1_024)), 8);
    }

    #[test]
    fn the_limit_is_raised_to_the_hard_one() {
        let raised = raise_limit();
        assert_eq!(raised, getrlimit(Resource::Nofile).maximum);
        assert_eq!(raised, getrlimit(Resource::Nofile).current);
    }
}
