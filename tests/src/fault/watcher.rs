//! A live client that records for the judge what it is shown.

use std::sync::Arc;
use std::time::Duration;

use gimlet_client::{
    Client, ClientEvent, ClientOptions, DeviceCredentials, EventStream, MemoryCursor,
    MessageContent, ServerEndpoint,
};
use tokio::time::Instant;

use super::load_state::LoadState;
use super::log::ShownMessage;
use super::text::text_bytes;
use crate::waiting::soon;

/// Deadline of a send: longer than any outage.
const DEADLINE: Duration = Duration::from_mins(3);

/// Connects a client of this device to this address, starting at the beginning of its inbox.
pub(super) async fn connect(
    who: &DeviceCredentials,
    endpoint: ServerEndpoint,
) -> (Client, EventStream) {
    let mut options = ClientOptions::new(endpoint, who.clone());
    options.cursor = Some(Arc::<MemoryCursor>::default());
    options.backoff_base = Duration::from_millis(20);
    options.backoff_cap = Duration::from_millis(300);
    options.deadline = DEADLINE;
    let connected = soon("a client", Client::connect(options)).await;
    connected.unwrap_or_else(|error| panic!("no client: {error}"))
}

/// Records what the client is shown, until it ends.
pub(super) async fn watch(mut events: EventStream, watch: usize, shared: Arc<LoadState>) {
    while let Some(event) = events.next().await {
        let at = Instant::now();
        match event {
            ClientEvent::Message(inbound) => {
                let MessageContent::Text(text) = &inbound.content else {
                    continue;
                };
                shared
                    .judge()
                    .shown(watch, inbound.seq, Some(&text_bytes(text)));
                if let Some(begun) = shared.begun(text) {
                    shared.log().shown.push(ShownMessage { watch, begun, at });
                }
            }
            ClientEvent::Push(inbound, _) => shared.judge().shown(watch, inbound.seq, None),
            ClientEvent::Disconnected { .. } => shared.log().dropped += 1,
            ClientEvent::Superseded => shared.judge().ended(watch),
            ClientEvent::HistoryChanged { .. }
            | ClientEvent::SignedOut { .. }
            | ClientEvent::TurnedAway { .. }
            | ClientEvent::Trimmed { .. } => {
                let text = format!("a live client received {event:?}");
                shared.log().unexpected.push(text);
            }
            _ => continue,
        }
        shared.tells();
    }
}
