//! Whether an account can call its vendor: one signed look-up of an order that cannot exist.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio::time::Instant;

use super::Connected;
use crate::{
    api_client::{ApiClient, Caller, Report, SendError},
    domain::{AccountName, Command, Details, LookUp, Verdict, command::CreateOrder},
};

/// How long it may take, renewals and waits for the vendor's limit included.
const PATIENCE: Duration = Duration::from_secs(20);

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tried {
    Works(String),
    /// It says nothing about the account.
    Unsure(String),
    Broken(String),
}

/// Makes the call. Nothing takes effect at the vendor.
pub async fn try_account(client: &ApiClient, name: &AccountName, account: &Connected) -> Tried {
    let Some(command) = probe(name) else {
        return Tried::Unsure("the call cannot be made".to_owned());
    };
    let vendor = Arc::clone(&account.vendor);
    // Which vendors give something to look up by does not depend on the moment.
    let plan = |attempt: &crate::domain::Attempt<'_>| vendor.look_up(&command, attempt);
    let attempt = crate::domain::Attempt {
        now: crate::clock::now(),
        nonce: 0,
        nonce_digits: 9,
        tokens: None,
        vendor_reference: None,
    };
    let Some(planned) = plan(&attempt) else {
        return Tried::Unsure(
            "the vendor has nothing that can be asked without an effect".to_owned(),
        );
    };
    let caller = Caller {
        label: super::commands::look_up_label(command.operation()),
        operation: command.operation().name(),
        command: 0,
        own_path: false,
        look_up: true,
    };
    let plan = |attempt: &crate::domain::Attempt<'_>| plan(attempt).unwrap_or(planned.clone());
    let sent = match client.send(name, caller, plan, Instant::now() + PATIENCE).await {
        Ok(sent) => sent,
        Err(error) => return failed(&error),
    };
    let look_up = account.vendor.judge_look_up(&command, &sent.answer);
    client.report(&sent, Report::of_look_up(&look_up));
    judged(sent.answer.status, &look_up)
}

/// An order whose number nobody gives.
fn probe(account: &AccountName) -> Option<Command> {
    let number = format!("wms-connector-check-{:08x}", rand::random::<u32>());
    let order = json!({
        "account": account.as_str(),
        "orderNumber": number,
        "recipient": {"name": "check", "country": "CN", "address1": "check"},
        "lines": [],
    });
    serde_json::from_value::<CreateOrder>(order)
        .ok()
        .map(|order| Command::CreateOrder(order.into()))
}

fn failed(error: &SendError) -> Tried {
    match error {
        SendError::NotSent(why) => Tried::Broken(format!(
            "the vendor cannot be reached: {why}; look at `base_url`, `[http]`, the network and the \
             certificates"
        )),
        SendError::NoAnswer(why) => Tried::Broken(format!(
            "the vendor did not answer: {why}; look at `base_url` (its scheme and port too), the network \
             and the certificates"
        )),
        SendError::BodyTooLarge => Tried::Broken(
            "the answer is too large to be the vendor's; look at `base_url`".to_owned(),
        ),
        SendError::CircuitOpen { .. }
        | SendError::Parked { .. }
        | SendError::NoTokens { .. }
        | SendError::Stopped { .. } => Tried::Broken(error.to_string()),
    }
}

/// What the vendor said, its code and message.
fn vendors(details: &Details) -> String {
    let code = details.vendor_code.as_deref().unwrap_or("none");
    let message = details.vendor_message.as_deref().unwrap_or("no message");
    format!("code {code}: {message}")
}

fn judged(status: u16, look_up: &LookUp) -> Tried {
    match look_up {
        LookUp::NotFound { .. } | LookUp::Found { .. } | LookUp::Ambiguous(_) => {
            Tried::Works("answers a signed call (it knows no order that was not made)".to_owned())
        }
        LookUp::Failed(verdict) => match verdict {
            Verdict::Misconfigured(details) => Tried::Broken(format!(
                "the vendor refuses the account as it is configured, {}; look at its ids and secrets",
                vendors(details)
            )),
            Verdict::SessionExpired(details) => Tried::Broken(format!(
                "the vendor refuses the access token, {}; run `wms-connector authorize`, or renew the \
                 account's `access_token`",
                vendors(details)
            )),
            Verdict::ClockSkew(details) => Tried::Broken(format!(
                "the vendor refuses the time of the call, {}; set this machine's clock (NTP)",
                vendors(details)
            )),
            Verdict::Blocked { status, .. } => Tried::Broken(format!(
                "something before the vendor refused the call with HTTP {status}: a proxy, a firewall, or \
                 a wrong `base_url`"
            )),
            Verdict::Transient { details, .. } => Tried::Broken(format!(
                "the vendor is not able to answer now (HTTP {status}), {}",
                vendors(details)
            )),
            Verdict::Throttled { .. } => Tried::Unsure(
                "the vendor is called too often now; other processes use the account".to_owned(),
            ),
            Verdict::Refused { details, .. } => Tried::Unsure(format!(
                "the vendor answers, and refuses the call: {}",
                vendors(details)
            )),
            Verdict::NonceRepeated(details) | Verdict::NonceFormat(details) => {
                Tried::Broken(format!("the vendor refuses the nonce, {}", vendors(details)))
            }
            Verdict::Succeeded(_)
            | Verdict::Accepted(_)
            | Verdict::AlreadyDone(_)
            | Verdict::Duplicate(_) => Tried::Works("answers a signed call".to_owned()),
        },
    }
}
