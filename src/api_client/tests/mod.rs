//! The client against small servers on loopback.

mod calls;
mod renewals;
mod support;
