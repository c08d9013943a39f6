//! The program itself: its beginning, its commands, its end.

mod accounts;
mod check;
mod commands;
mod ends;
mod schemas;
mod secrets;
mod sign;

use crate::support::suite::Suite;

pub(crate) fn register(suite: &mut Suite) {
    accounts::register(suite);
    commands::register(suite);
    ends::register(suite);
    schemas::register(suite);
    check::register(suite);
    secrets::register(suite);
    sign::register(suite);
}
