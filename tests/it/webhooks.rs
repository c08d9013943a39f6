//! Webhooks in, seen from outside: what is posted, what is answered, what lies in the topics.

mod answers;
mod bodies;
mod drill;
mod events;
mod limits;
mod observed;
mod published;
mod registry;
mod reread;
mod signatures;
mod spool;
mod strangers;
mod tenants;
mod unrecognized;

use wms_connector::app::Parts;

use crate::support::{app::Options, suite::Suite};

pub(crate) fn register(suite: &mut Suite) {
    answers::register(suite);
    bodies::register(suite);
    drill::register(suite);
    spool::register(suite);
    events::register(suite);
    limits::register(suite);
    observed::register(suite);
    registry::register(suite);
    reread::register(suite);
    signatures::register(suite);
    strangers::register(suite);
    tenants::register(suite);
    unrecognized::register(suite);
}

/// A connector without the command pipeline.
pub(crate) fn only_webhooks() -> Options {
    Options { only: Some(Parts { webhooks: true, commands: false }), ..Options::default() }
}
