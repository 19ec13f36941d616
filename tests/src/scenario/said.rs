//! Sends and expected receptions, written as sentences.

use std::future::{Future, IntoFuture};
use std::pin::Pin;

use gimlet_client::{Content, Draft, Error, Event, Inbound, Receiver, Sender, Sent};

use super::{Device, Person};

/// A receiver of messages.
pub trait Addressee {
    /// Returns the receiver as the client library names it.
    fn receiver(&self) -> Receiver;
}

impl Addressee for Receiver {
    fn receiver(&self) -> Receiver {
        *self
    }
}

type Told<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A text without a receiver yet.
#[derive(Debug)]
pub struct Words<'a> {
    device: &'a Device,
    text: String,
}

impl<'a> Words<'a> {
    pub(crate) const fn new(device: &'a Device, text: String) -> Self {
        Self { device, text }
    }

    /// Completes the send with its receiver.
    #[must_use]
    pub fn to(self, whom: &impl Addressee) -> Sending<'a> {
        Sending {
            device: self.device,
            draft: Draft::new(whom.receiver(), Content::Text(self.text)),
        }
    }
}

/// A send; awaiting it requires that it succeeds.
#[derive(Debug)]
pub struct Sending<'a> {
    device: &'a Device,
    draft: Draft,
}

impl Sending<'_> {
    /// Sets the client message id.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.draft.id = Some(id.into());
        self
    }

    /// Mentions these users.
    #[must_use]
    pub fn mentioning(mut self, users: &[i64]) -> Self {
        self.draft.mentions = users.to_vec();
        self
    }

    /// Turns storing off.
    #[must_use]
    pub const fn unkept(mut self) -> Self {
        self.draft.persist = false;
        self
    }

    /// Requires a refusal and returns its code and text.
    pub async fn is_refused(self) -> (i32, String) {
        match self.device.send_draft(self.draft).await {
            Err(Error::Refused { code, message }) => (code, message),
            other => panic!("{} should be refused: {other:?}", self.device.name()),
        }
    }

    /// Sends and returns the result.
    pub async fn tried(self) -> Result<Sent, Error> {
        self.device.send_draft(self.draft).await
    }
}

impl<'a> IntoFuture for Sending<'a> {
    type Output = Sent;
    type IntoFuture = Told<'a, Sent>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let name = self.device.name();
            let sent = self.device.send_draft(self.draft).await;
            sent.unwrap_or_else(|error| panic!("{name} cannot send: {error}"))
        })
    }
}

/// The next entry of an inbox; awaiting it requires that it is this text.
#[derive(Debug)]
pub struct Receiving<'a> {
    device: &'a Device,
    text: String,
    at: Option<i64>,
    from: Option<i64>,
    to: Option<Receiver>,
}

impl<'a> Receiving<'a> {
    pub(crate) const fn new(device: &'a Device, text: String) -> Self {
        Self {
            device,
            text,
            at: None,
            from: None,
            to: None,
        }
    }

    /// Requires this seq.
    #[must_use]
    pub const fn at(mut self, seq: i64) -> Self {
        self.at = Some(seq);
        self
    }

    /// Requires this sender.
    #[must_use]
    pub const fn from(mut self, person: &Person) -> Self {
        self.from = Some(person.id);
        self
    }

    /// Requires this receiver.
    #[must_use]
    pub fn within(mut self, place: &impl Addressee) -> Self {
        self.to = Some(place.receiver());
        self
    }
}

impl<'a> IntoFuture for Receiving<'a> {
    type Output = Inbound;
    type IntoFuture = Told<'a, Inbound>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let name = self.device.name();
            let inbound = match self.device.next_entry().await {
                Event::Message(inbound) => inbound,
                other => panic!("{name} should receive {:?}, got {other:?}", self.text),
            };
            assert_eq!(
                inbound.content,
                Content::Text(self.text),
                "{name}: {inbound:?}"
            );
            if let Some(seq) = self.at {
                assert_eq!(inbound.seq, seq, "{name}: its seq");
            }
            if let Some(user) = self.from {
                let is_from = matches!(inbound.sender, Sender::User { id, .. } if id == user);
                assert!(is_from, "{name}: from {user}: {inbound:?}");
            }
            if let Some(place) = self.to {
                assert_eq!(inbound.receiver, place, "{name}: its receiver");
            }
            inbound
        })
    }
}
