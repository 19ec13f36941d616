//! Webhooks: events are posted as JSON to programs of the operator, and a program is asked before a
//! message is accepted or a file is stored.
//!
//! Two adapters over `gimlet-outbound`: [`WebhookEndpoint`] implements core's
//! [`HookEndpoint`](gimlet_core::hook_delivery::HookEndpoint), and [`HttpBeforeSendHook`] its
//! [`BeforeSendHook`](gimlet_core::before_send::BeforeSendHook). Requests are signed as Standard
//! Webhooks says. Order, retries and dead letters are core's; `docs/webhooks.md` describes the whole
//! for receivers.

mod answer;
mod before_send;
mod body;
mod client;
mod endpoint;
mod file_scan;
mod settings;

pub use before_send::HttpBeforeSendHook;
pub use client::{HookConnection, WebhookStartError, check_secret, check_url};
pub use endpoint::WebhookEndpoint;
pub use file_scan::{ScanSettings, ScanStartError};
pub use gimlet_outbound::OutboundPolicy;
pub use settings::{BeforeSendSettings, WebhookSettings};
