//! Sends and expected receptions, written as sentences.

use std::future::{Future, IntoFuture};
use std::pin::Pin;

use gimlet_client::{
    ClientError, ClientEvent, MessageContent, MessageDraft, MessageSender, MessageTarget,
    ReceivedMessage, SendReceipt,
};

use super::{Device, ScenarioUser};

/// A receiver of messages.
pub trait MessageReceiver {
    /// Returns the receiver as the client library names it.
    fn receiver(&self) -> MessageTarget;
}

impl MessageReceiver for MessageTarget {
    fn receiver(&self) -> MessageTarget {
        *self
    }
}

impl MessageReceiver for ScenarioUser {
    fn receiver(&self) -> MessageTarget {
        MessageTarget::User(self.id)
    }
}

type ScenarioFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl Device {
    /// Begins a send, which [`to`](UnaddressedText::to) completes with the receiver.
    #[must_use]
    pub fn sends(&self, text: impl Into<String>) -> UnaddressedText<'_> {
        UnaddressedText::new(self, text.into())
    }

    /// Expects this text as the next entry of the inbox.
    #[must_use]
    pub fn receives(&self, text: impl Into<String>) -> ExpectedReception<'_> {
        ExpectedReception::new(self, text.into())
    }
}

/// A text without a receiver yet.
#[derive(Debug)]
pub struct UnaddressedText<'a> {
    device: &'a Device,
    text: String,
}

impl<'a> UnaddressedText<'a> {
    pub(crate) const fn new(device: &'a Device, text: String) -> Self {
        Self { device, text }
    }

    /// Completes the send with its receiver.
    #[must_use]
    pub fn to(self, whom: &impl MessageReceiver) -> PendingSend<'a> {
        PendingSend {
            device: self.device,
            draft: MessageDraft::new(whom.receiver(), MessageContent::Text(self.text)),
        }
    }
}

/// A send; awaiting it requires that it succeeds.
#[derive(Debug)]
pub struct PendingSend<'a> {
    device: &'a Device,
    draft: MessageDraft,
}

impl PendingSend<'_> {
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
            Err(ClientError::Refused { code, message }) => (code, message),
            other => panic!("{} should be refused: {other:?}", self.device.name()),
        }
    }

    /// Sends and returns the result.
    pub async fn tried(self) -> Result<SendReceipt, ClientError> {
        self.device.send_draft(self.draft).await
    }
}

impl<'a> IntoFuture for PendingSend<'a> {
    type Output = SendReceipt;
    type IntoFuture = ScenarioFuture<'a, SendReceipt>;

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
pub struct ExpectedReception<'a> {
    device: &'a Device,
    text: String,
    at: Option<i64>,
    from: Option<i64>,
    to: Option<MessageTarget>,
}

impl<'a> ExpectedReception<'a> {
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
    pub const fn from(mut self, person: &ScenarioUser) -> Self {
        self.from = Some(person.id);
        self
    }

    /// Requires this receiver.
    #[must_use]
    pub fn within(mut self, place: &impl MessageReceiver) -> Self {
        self.to = Some(place.receiver());
        self
    }
}

impl<'a> IntoFuture for ExpectedReception<'a> {
    type Output = ReceivedMessage;
    type IntoFuture = ScenarioFuture<'a, ReceivedMessage>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let name = self.device.name();
            let inbound = match self.device.next_entry().await {
                ClientEvent::Message(inbound) => inbound,
                other => panic!("{name} should receive {:?}, got {other:?}", self.text),
            };
            assert_eq!(
                inbound.content,
                MessageContent::Text(self.text),
                "{name}: {inbound:?}"
            );
            if let Some(seq) = self.at {
                assert_eq!(inbound.seq, seq, "{name}: its seq");
            }
            if let Some(user) = self.from {
                let is_from =
                    matches!(inbound.sender, MessageSender::User { id, .. } if id == user);
                assert!(is_from, "{name}: from {user}: {inbound:?}");
            }
            if let Some(place) = self.to {
                assert_eq!(inbound.receiver, place, "{name}: its receiver");
            }
            inbound
        })
    }
}
