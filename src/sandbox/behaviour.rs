//! What can be changed while a sandbox runs: addresses for webhooks, clocks, delays, modes.

use serde::{Deserialize, Serialize};

/// The settings that can change at run time, also over the control server (`PUT /behaviour`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Behaviour {
    /// The simulated JFWMS.
    pub jfwms: JfwmsBehaviour,
    /// The simulated Qianyi.
    pub qianyi: QianyiBehaviour,
    /// How webhooks of both are sent.
    pub webhooks: WebhookBehaviour,
}

/// What the warehouse does with the cancellation of an order that is not shipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CancelMode {
    /// It is cancelled at once (code 0).
    #[default]
    Cancel,
    /// The warehouse reviews it (20023); the outcome comes as the webhook `orderIntercept`.
    Review,
    /// The warehouse forbids it (20022).
    Forbid,
}

/// What can change in the simulated JFWMS.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JfwmsBehaviour {
    /// Where webhooks go; without one they are recorded as not sent.
    pub webhook_url: Option<String>,
    /// How far the vendor's clock is ahead of ours.
    pub clock_offset_ms: i64,
    /// What a cancellation does.
    pub cancel: CancelMode,
    /// Whether a reviewed cancellation succeeds.
    pub review_succeeds: bool,
    /// How long the review takes.
    pub review_after_ms: u64,
    /// When an order is shipped after its creation; `null`: never by itself.
    pub ship_after_ms: Option<u64>,
    /// When an inbound is put away after its creation; `null`: never by itself.
    pub storage_after_ms: Option<u64>,
}

impl Default for JfwmsBehaviour {
    fn default() -> Self {
        Self {
            webhook_url: None,
            clock_offset_ms: 0,
            cancel: CancelMode::default(),
            review_succeeds: true,
            review_after_ms: 500,
            ship_after_ms: Some(3_000),
            storage_after_ms: Some(3_000),
        }
    }
}

/// What can change in the simulated Qianyi.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QianyiBehaviour {
    /// Where pushes go; without one they are recorded as not sent.
    pub push_url: Option<String>,
    /// How far the vendor's clock is ahead of ours.
    pub clock_offset_ms: i64,
    /// When an audited order is shipped; `null`: never by itself.
    pub ship_after_ms: Option<u64>,
    /// When an ASN is received; `null`: never by itself.
    pub receive_after_ms: Option<u64>,
}

impl Default for QianyiBehaviour {
    fn default() -> Self {
        Self {
            push_url: None,
            clock_offset_ms: 0,
            ship_after_ms: Some(3_000),
            receive_after_ms: Some(3_000),
        }
    }
}

/// How webhooks are sent. Neither vendor documents whether it retries at all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookBehaviour {
    /// How often a webhook is tried until it is acknowledged.
    pub attempts: u32,
    /// The pause after the first failed try; it doubles, up to `max_pause_ms`.
    pub first_pause_ms: u64,
    /// The longest pause.
    pub max_pause_ms: u64,
    /// How long one try may take.
    pub timeout_ms: u64,
    /// How often an acknowledged webhook is sent altogether; 2 sends each one twice.
    pub copies: u32,
}

impl Default for WebhookBehaviour {
    fn default() -> Self {
        Self {
            attempts: 5,
            first_pause_ms: 200,
            max_pause_ms: 5_000,
            timeout_ms: 10_000,
            copies: 1,
        }
    }
}
