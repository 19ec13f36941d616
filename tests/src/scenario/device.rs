//! A device: one client of the library, and the events that it has received.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gimlet_client::{
    Api, Client, Credentials, Error, Event, Events, Inbound, MemoryCursor, Options, Push, Sent,
};
use tokio::sync::Mutex as AsyncMutex;

use super::said::{Receiving, Words};
use super::{World, soon};

/// Range of the delays before a reconnect: short, because no other client waits for the server.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(100));

/// A user's device.
#[derive(Debug)]
pub struct Device {
    /// User, device and token.
    pub who: Credentials,
    name: String,
    world: World,
    cursor: Arc<MemoryCursor>,
    client: Mutex<Option<Client>>,
    line: AsyncMutex<Line>,
}

/// Received events. Waits for one kind of event skip the other kinds; each kind keeps its order.
#[derive(Debug, Default)]
struct Line {
    events: Option<Events>,
    waiting: VecDeque<Event>,
}

impl Device {
    pub(crate) fn new(world: &World, name: &str, who: Credentials) -> Self {
        Self {
            who,
            name: name.to_owned(),
            world: world.clone(),
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
    pub async fn switches_on_with(&self, change: impl FnOnce(&mut Options)) {
        let mut options = Options::new(self.world.endpoint(), self.who.clone());
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
        *self.line.lock().await = Line::default();
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
    pub fn api(&self) -> Api {
        self.world.api().signed_in(self.who.clone())
    }

    /// Returns the fixture that the device belongs to.
    #[must_use]
    pub const fn world(&self) -> &World {
        &self.world
    }

    /// Returns the device's name in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Begins a send, which [`to`](Words::to) completes with the receiver.
    #[must_use]
    pub fn sends(&self, text: impl Into<String>) -> Words<'_> {
        Words::new(self, text.into())
    }

    /// Expects this text as the next entry of the inbox.
    #[must_use]
    pub fn receives(&self, text: impl Into<String>) -> Receiving<'_> {
        Receiving::new(self, text.into())
    }

    /// Waits for the next entry of the inbox and returns it with its seq.
    pub async fn next_entry(&self) -> Event {
        let entry = |event: &Event| matches!(event, Event::Message(_) | Event::Push(..));
        self.next("an entry of the inbox", entry).await
    }

    /// Waits for the next entry, which must be a system push.
    pub async fn receives_push(&self) -> (Inbound, Push) {
        match self.next_entry().await {
            Event::Push(inbound, push) => (inbound, push),
            other => panic!("{} should get a push, and got {other:?}", self.name),
        }
    }

    /// Waits for the next message that is not stored.
    pub async fn receives_live(&self) -> Inbound {
        match self
            .next("a live message", |e| matches!(e, Event::Live(_)))
            .await
        {
            Event::Live(inbound) => inbound,
            other => panic!("expected a live message, got {other:?}"),
        }
    }

    /// Waits for the next message of its room.
    pub async fn hears(&self) -> Inbound {
        match self
            .next("a room message", |e| matches!(e, Event::Room(_)))
            .await
        {
            Event::Room(inbound) => inbound,
            other => panic!("expected a room message, got {other:?}"),
        }
    }

    /// Waits for the next broadcast.
    pub async fn hears_all(&self) -> Inbound {
        match self
            .next("a broadcast", |e| matches!(e, Event::Broadcast(_)))
            .await
        {
            Event::Broadcast(inbound) => inbound,
            other => panic!("expected a broadcast, got {other:?}"),
        }
    }

    /// Waits until the device has received everything.
    pub async fn is_up_to_date(&self) {
        self.next("up to date", |e| matches!(e, Event::CaughtUp { .. }))
            .await;
    }

    /// Waits for a disconnection and returns its reason.
    pub async fn is_cut_off(&self) -> String {
        let lost = |event: &Event| matches!(event, Event::Disconnected { .. });
        match self.next("a disconnection", lost).await {
            Event::Disconnected { reason, .. } => reason,
            other => panic!("expected a disconnection, got {other:?}"),
        }
    }

    /// Waits for the event that ends the session: superseded, signed out or turned away.
    pub async fn is_told_the_end(&self) -> Event {
        let end = |event: &Event| {
            matches!(
                event,
                Event::Superseded | Event::SignedOut { .. } | Event::TurnedAway { .. }
            )
        };
        self.next("the end", end).await
    }

    /// Waits for the first event of a kind; the others are kept for later waits.
    async fn next(&self, what: &str, is_it: impl Fn(&Event) -> bool + Send + Sync) -> Event {
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

    pub(crate) async fn send_draft(&self, draft: gimlet_client::Draft) -> Result<Sent, Error> {
        self.client().send_draft(draft).await
    }
}
