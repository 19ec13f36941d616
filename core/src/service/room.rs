//! Rooms and broadcasts: best effort, without inbox entries.

use std::sync::Arc;

use futures_util::future::join;

use crate::before_send::SendQuestion;
use crate::delivery::DeliveryBatch;
use crate::envelope::Envelope;
use crate::error::RequestRefusal;
use crate::events::{EventBody, EventKind};
use crate::id::{MessageId, RoomId, UserId};
use crate::message::{Message, MessageContent, MessageReceiver, MessageSender, UnknownFields};
use crate::seq::Seq;
use crate::service::policy::RoomPush;
use crate::service::{LogicService, check};
use crate::trace;

/// A message to be pushed to a room.
#[derive(Clone, Debug)]
pub struct RoomDraft {
    /// The room; it need not be created first.
    pub room: RoomId,
    /// Mentioned users.
    pub mentions: Vec<UserId>,
    /// gim's `MessageType`.
    pub kind: i32,
    /// The content. A slice of a larger request would keep all of it in memory for as long as the
    /// room keeps the message; [`MessageContent::copied_from`] makes a copy.
    pub content: MessageContent,
    /// True if the message is kept for a while, for later subscribers.
    pub persist: bool,
}

impl LogicService {
    /// Pushes to the subscribers of a room; returns the message's seq in the room.
    pub async fn push_room(
        &self,
        sender: MessageSender,
        mut draft: RoomDraft,
    ) -> Result<Seq, RequestRefusal> {
        let user = sender.user();
        if user.is_some() && self.inner.policy.room == RoomPush::Business {
            return Err(RequestRefusal::Forbidden(
                "on this server only the business backend pushes to rooms",
            ));
        }
        check::mentions(&self.inner.limits, draft.mentions.len())?;
        check::content(&self.inner.limits, &draft.content)?;
        self.take_rate(sender)?;
        let mut turn = None;
        if let (Some(user), true) = (user, self.inner.before_send.is_some()) {
            // The answers may come in another order than the calls.
            let question = SendQuestion {
                sender,
                receiver: MessageReceiver::Room(draft.room),
                mentions: &draft.mentions,
                kind: draft.kind,
                content: &draft.content,
            };
            let asked = self.decide_before_send(question);
            let (taken, replaced) = join(self.inner.order.take(user), asked).await;
            if let Some(replaced) = replaced? {
                (draft.kind, draft.content) = (replaced.kind, replaced.content);
            }
            turn = Some(taken);
        }
        let message = Message {
            id: MessageId::generate(),
            sender,
            receiver: MessageReceiver::Room(draft.room),
            mentions: draft.mentions,
            kind: draft.kind,
            content: draft.content,
            sent_at: self.inner.clock.now(),
            unknown: UnknownFields::NONE,
        };
        let profile = self.inner.directory.sender(sender).await;
        let envelope = Arc::new(Envelope::new(Arc::new(message), profile, 0));
        let rooms = &self.inner.stores.room;
        let span = trace::message_span("room.publish", &envelope.message);
        let publish = rooms.publish(draft.room, envelope, draft.persist);
        let item = trace::store_call(span, publish).await?;
        let at = self.inner.clock.now();
        self.write_event(EventKind::RoomMessage, at, || EventBody::RoomMessage {
            message: Arc::clone(&item.envelope.message),
            seq: item.seq,
        });
        // Kept until here: rooms have no queue that would keep the order.
        drop(turn);
        Ok(item.seq)
    }

    /// Pushes to every signed-in connection of every node; nothing is stored.
    pub async fn push_all(
        &self,
        sender: MessageSender,
        kind: i32,
        content: MessageContent,
    ) -> Result<(), RequestRefusal> {
        check::content(&self.inner.limits, &content)?;
        let message = Message {
            id: MessageId::generate(),
            sender,
            receiver: MessageReceiver::Everyone,
            mentions: Vec::new(),
            kind,
            content,
            sent_at: self.inner.clock.now(),
            unknown: UnknownFields::NONE,
        };
        let profile = self.inner.directory.sender(sender).await;
        let envelope = Arc::new(Envelope::new(Arc::new(message), profile, 0));
        let delivery = DeliveryBatch::Everyone { envelope };
        self.inner.fanout.deliver(vec![delivery]).await;
        Ok(())
    }
}
