//! A device: one client of the library, and the events that it has received.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gimlet_client::{
    ApiClient, Client, ClientError, ClientEvent, ClientOptions, DeviceCredentials, EventStream,
    MemoryCursor, ReceivedMessage, SendReceipt, SystemPush,
};
use tokio::sync::Mutex as AsyncMutex;

use super::{ScenarioFixture, soon};

/// Range of the delays before a reconnect: short, because no other client waits for the server.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(100));

/// A user's device.
#[derive(Debug)]
pub struct Device {
    /// User, device and token.
    pub who: DeviceCredentials,
    name: String,
    fixture: ScenarioFixture,
    cursor: Arc<MemoryCursor>,
    client: Mutex<Option<Client>>,
    line: AsyncMutex<InboundEvents>,
}

/// Received events. Waits for one kind of event skip the other kinds; each kind keeps its order.
#[derive(Debug, Default)]
struct InboundEvents {
    events: Option<EventStream>,
    waiting: VecDeque<ClientEvent>,
}

impl Device {
    pub(crate) fn new(world: &ScenarioFixture, name: &str, who: DeviceCredentials) -> Self {
        Self {
            who,
            name: name.to_owned(),
            fixture: world.clone(),
            cursor: Arc::default(),
            client: Mutex::new(None),
            line: AsyncMutex::default(),
        }
    }

    /// Connects, from the stored cursor, and waits until the device is up to date.
    pub async fn comes_back(&self) {
        self.switches_on().await;
        self.is_up_to_date().await;
    }

    /// Connects, from the stored cursor.
    pub async fn switches_on(&self) {
        self.switches_on_with(|_| {}).await;
    }

    /// Connects with changed options.
    pub async fn switches_on_with(&self, change: impl FnOnce(&mut ClientOptions)) {
        let mut options = ClientOptions::new(self.fixture.endpoint(), self.who.clone());
        let cursor: Arc<MemoryCursor> = Arc::clone(&self.cursor);
        options.cursor = Some(cursor);
        (options.backoff_base, options.backoff_cap) = BACKOFF;
        change(&mut options);
        let connected = Client::connect(options).await;
        let (client, events) = connected.unwrap_or_else(|error| panic!("{}: {error}", self.name));
        self.keep(Some(client));
        let mut line = self.line.lock().await;
        line.events = Some(events);
        line.waiting.clear();
    }

    /// Closes the connection and keeps the cursor.
    pub async fn goes_offline(&self) {
        if let Some(client) = self.keep(None) {
            client.close().await;
        }
        *self.line.lock().await = InboundEvents::default();
    }

    fn keep(&self, client: Option<Client>) -> Option<Client> {
        let mut kept = self.client.lock().expect("no holder of the lock panics");
        std::mem::replace(&mut kept, client)
    }

    /// Returns the client of the library.
    #[must_use]
    pub fn client(&self) -> Client {
        let kept = self
            .client
            .lock()
            .expect("no holder of the lock panics")
            .clone();
        kept.unwrap_or_else(|| panic!("{} is switched off", self.name))
    }

    /// Returns the gRPC services, signed in as this device.
    #[must_use]
    pub fn api(&self) -> ApiClient {
        self.fixture.api().signed_in(self.who.clone())
    }

    /// Returns the fixture that the device belongs to.
    #[must_use]
    pub const fn fixture(&self) -> &ScenarioFixture {
        &self.fixture
    }

    /// Returns the device's name in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Waits for the next entry of the inbox and returns it with its seq.
    pub async fn next_entry(&self) -> ClientEvent {
        let entry =
            |event: &ClientEvent| matches!(event, ClientEvent::Message(_) | ClientEvent::Push(..));
        self.next("an entry of the inbox", entry).await
    }

    /// Waits for the next entry, which must be a system push.
    pub async fn receives_push(&self) -> (ReceivedMessage, SystemPush) {
        match self.next_entry().await {
            ClientEvent::Push(inbound, push) => (inbound, push),
            other => panic!("{} should get a push, and got {other:?}", self.name),
        }
    }

    /// Waits for the next message that is not stored.
    pub async fn receives_live(&self) -> ReceivedMessage {
        match self
            .next("a live message", |e| matches!(e, ClientEvent::Live(_)))
            .await
        {
            ClientEvent::Live(inbound) => inbound,
            other => panic!("expected a live message, got {other:?}"),
        }
    }

    /// Waits for the next message of its room.
    pub async fn receives_room_message(&self) -> ReceivedMessage {
        match self
            .next("a room message", |e| matches!(e, ClientEvent::Room(_)))
            .await
        {
            ClientEvent::Room(inbound) => inbound,
            other => panic!("expected a room message, got {other:?}"),
        }
    }

    /// Waits for the next broadcast.
    pub async fn receives_broadcast(&self) -> ReceivedMessage {
        match self
            .next("a broadcast", |e| matches!(e, ClientEvent::Broadcast(_)))
            .await
        {
            ClientEvent::Broadcast(inbound) => inbound,
            other => panic!("expected a broadcast, got {other:?}"),
        }
    }

    /// Waits until the device has received everything.
    pub async fn is_up_to_date(&self) {
        self.next("up to date", |e| matches!(e, ClientEvent::CaughtUp { .. }))
            .await;
    }

    /// Waits for a disconnection and returns its reason.
    pub async fn is_disconnected(&self) -> String {
        let lost = |event: &ClientEvent| matches!(event, ClientEvent::Disconnected { .. });
        match self.next("a disconnection", lost).await {
            ClientEvent::Disconnected { reason, .. } => reason,
            other => panic!("expected a disconnection, got {other:?}"),
        }
    }

    /// Waits for the event that ends the session: superseded, signed out or turned away.
    pub async fn receives_session_end(&self) -> ClientEvent {
        let end = |event: &ClientEvent| {
            matches!(
                event,
                ClientEvent::Superseded
                    | ClientEvent::SignedOut { .. }
                    | ClientEvent::TurnedAway { .. }
            )
        };
        self.next("the end", end).await
    }

    /// Waits for the first event of a kind; the others are kept for later waits.
    async fn next(
        &self,
        what: &str,
        is_it: impl Fn(&ClientEvent) -> bool + Send + Sync,
    ) -> ClientEvent {
        let what = format!("{}: {what}", self.name);
        soon(&what, async {
            let mut line = self.line.lock().await;
            if let Some(at) = line.waiting.iter().position(&is_it)
                && let Some(event) = line.waiting.remove(at)
            {
                return event;
            }
            loop {
                let events = line.events.as_mut();
                let events = events.unwrap_or_else(|| panic!("{what}: it is switched off"));
                match events.next().await {
                    Some(event) if is_it(&event) => return event,
                    Some(event) => line.waiting.push_back(event),
                    None => panic!("{what}: the client has ended; before: {:?}", line.waiting),
                }
            }
        })
        .await
    }

    pub(crate) async fn send_draft(
        &self,
        draft: gimlet_client::MessageDraft,
    ) -> Result<SendReceipt, ClientError> {
        self.client().send_draft(draft).await
    }
}
