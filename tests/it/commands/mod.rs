//! Commands, end to end: what goes into Kafka, what the simulated vendors then hold in their
//! books, and what comes back as a reply.

mod afresh;
mod begin;
mod blocked;
mod carried_out;
mod crash;
mod dead_letters;
mod desk;
mod drill;
mod frozen;
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
mod reply_limits;
mod samples;
mod tokens;
mod unreadable;

use crate::support::suite::Suite;

pub(crate) fn register(suite: &mut Suite) {
    carried_out::register(suite);
    replies::register(suite);
    reply_limits::register(suite);
    key_order::register(suite);
    offsets::register(suite);
    begin::register(suite);
    afresh::register(suite);
    once::register(suite);
    given_up::register(suite);
    blocked::register(suite);
    refused::register(suite);
    tokens::register(suite);
    unreadable::register(suite);
    dead_letters::register(suite);
    registry::register(suite);
    processes::register(suite);
    crash::register(suite);
    killed::register(suite);
    interrupted::register(suite);
    frozen::register(suite);
    metrics::register(suite);
    drill::register(suite);
}
