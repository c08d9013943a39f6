//! Qianyi ERP (千易ERP): MD5-signed multipart calls out, pushes signed the same way in.

mod answer;
mod api;
#[cfg(test)]
mod api_tests;
mod asn;
mod check;
mod codes;
mod compare;
mod event;
mod json;
mod json_out;
mod judge;
#[cfg(test)]
mod judge_tests;
mod limits;
mod look_up;
mod order;
mod reader;
mod settings;
mod sign;
mod webhook;
#[cfg(test)]
mod webhook_tests;

pub use api::Qianyi;
pub use codes::{Class, Code};
pub use event::EVENT_TYPES;
pub use limits::{LIMITS, Limit, OTHER_CALLS, limit_of, operation_limits};
pub use settings::{Settings, SettingsError, base_url};
pub use sign::SignedRequest;
