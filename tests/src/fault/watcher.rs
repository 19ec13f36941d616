//! A live client that records in the ledger what it is shown.

use std::sync::Arc;
use std::time::Duration;

use gimlet_client::{Client, Content, Credentials, Endpoint, Event, Events, MemoryCursor, Options};
use tokio::time::Instant;

use super::flow::text_bytes;
use super::log::Showing;
use super::shared::Shared;
use crate::scenario::soon;

/// Deadline of a send: longer than any outage.
const DEADLINE: Duration = Duration::from_mins(3);

/// Connects a client of this device to this address, starting at the beginning of its inbox.
pub(super) async fn connect(who: &Credentials, endpoint: Endpoint) -> (Client, Events) {
    let mut options = Options::new(endpoint, who.clone());
    options.cursor = Some(Arc::<MemoryCursor>::default());
    options.backoff_base = Duration::from_millis(20);
    options.backoff_cap = Duration::from_millis(300);
    options.deadline = DEADLINE;
    let connected = soon("a client", Client::connect(options)).await;
    connected.unwrap_or_else(|error| panic!("no client: {error}"))
}

/// Records what the client is shown, until it ends.
pub(super) async fn watch(mut events: Events, watch: usize, shared: Arc<Shared>) {
    while let Some(event) = events.next().await {
        let at = Instant::now();
        match event {
            Event::Message(inbound) => {
                let Content::Text(text) = &inbound.content else {
                    continue;
                };
                shared
                    .ledger()
                    .shown(watch, inbound.seq, Some(&text_bytes(text)));
                if let Some(begun) = shared.begun(text) {
                    shared.log().shown.push(Showing { watch, begun, at });
                }
            }
            Event::Push(inbound, _) => shared.ledger().shown(watch, inbound.seq, None),
            Event::Disconnected { .. } => shared.log().dropped += 1,
            Event::Superseded => shared.ledger().ended(watch),
            Event::HistoryChanged { .. }
            | Event::SignedOut { .. }
            | Event::TurnedAway { .. }
            | Event::Trimmed { .. } => {
                let text = format!("a live client received {event:?}");
                shared.log().unexpected.push(text);
            }
            _ => continue,
        }
        shared.tells();
    }
}
