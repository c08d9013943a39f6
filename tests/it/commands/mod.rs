//! Commands, end to end: what goes into Kafka, what the simulated vendors then hold in their
//! books, and what comes back as a reply.

mod afresh;
mod carried_out;
mod crash;
mod desk;
mod drill;
mod given_up;
mod interrupted;
mod key_order;
mod killed;
mod metrics;
mod offsets;
mod once;
mod processes;
mod refused;
mod registry;
mod replies;
mod samples;
mod unreadable;

use crate::support::suite::Suite;

pub(crate) fn register(suite: &mut Suite) {
    carried_out::register(suite);
    replies::register(suite);
    key_order::register(suite);
    offsets::register(suite);
    afresh::register(suite);
    once::register(suite);
    given_up::register(suite);
    refused::register(suite);
    unreadable::register(suite);
    registry::register(suite);
    processes::register(suite);
    crash::register(suite);
    killed::register(suite);
    interrupted::register(suite);
    metrics::register(suite);
    drill::register(suite);
}
