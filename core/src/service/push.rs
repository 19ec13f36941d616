//! System pushes: gimlet's own notifications about friends and groups.

use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;

use crate::business::UserInfo;
use crate::delivery::DeliveryBatch;
use crate::envelope::Envelope;
use crate::events::EventHooks;
use crate::id::{MessageId, UserId};
use crate::message::{Message, MessageContent, MessageReceiver, MessageSender, UnknownFields};
use crate::service::LogicService;
use crate::store::{AppendOutcome, AppendRequest};
use crate::time::UnixTimestamp;

/// An event that gimlet notifies users of; gim's push codes 100, 101, 110, 120 and 121.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SystemPush {
    /// 100, to the asked user: a friend request.
    AddFriend {
        /// The requester.
        user: UserId,
        /// The user's name.
        nickname: String,
        /// URL of the user's picture.
        avatar_url: String,
        /// The text of the request.
        description: String,
    },
    /// 101, to the requester: the request was accepted.
    AgreeAddFriend {
        /// The user that accepted.
        user: UserId,
        /// The user's name.
        nickname: String,
        /// URL of the user's picture.
        avatar_url: String,
    },
    /// 110, to all members: the group's current name and data.
    UpdateGroup {
        /// The user that made the change.
        operator: UserId,
        /// The user's name.
        operator_name: String,
        /// The group's name.
        name: String,
        /// URL of the group's picture.
        avatar_url: String,
        /// The group's introduction.
        introduction: String,
        /// The group's data.
        extra: String,
    },
    /// 120, to all members including the new ones: added members.
    AddGroupMembers {
        /// The user that added them.
        operator: UserId,
        /// The user's name.
        operator_name: String,
        /// The added users.
        members: Vec<UserInfo>,
    },
    /// 121, to all members and the removed one: a removed member.
    RemoveGroupMember {
        /// The user that removed the member.
        operator: UserId,
        /// The user's name.
        operator_name: String,
        /// The removed user.
        removed: UserId,
    },
}

impl SystemPush {
    /// Returns gim's `PushCode`.
    #[must_use]
    pub const fn code(&self) -> i32 {
        match self {
            Self::AddFriend { .. } => 100,
            Self::AgreeAddFriend { .. } => 101,
            Self::UpdateGroup { .. } => 110,
            Self::AddGroupMembers { .. } => 120,
            Self::RemoveGroupMember { .. } => 121,
        }
    }
}

/// Encodes system pushes for the wire; core has no protobuf.
pub trait PushCodec: Debug + Send + Sync + 'static {
    /// Returns the message's kind (gim's `MT_COMMAND`) and its content.
    fn encode(&self, push: &SystemPush) -> (i32, Bytes);
}

/// Makes the append that stores a push for its recipients.
pub(super) fn append(
    codec: &dyn PushCodec,
    push: &SystemPush,
    receiver: MessageReceiver,
    recipients: Arc<[UserId]>,
    at: UnixTimestamp,
) -> AppendRequest {
    let (kind, content) = codec.encode(push);
    let message = Message {
        id: MessageId::generate(),
        sender: MessageSender::System,
        receiver,
        mentions: Vec::new(),
        kind,
        content: MessageContent(content),
        sent_at: at,
        unknown: UnknownFields::NONE,
    };
    AppendRequest {
        message: Arc::new(message),
        recipients,
        key: None,
        roster: None,
        // The change that the push is about has an event of its own.
        hooks: EventHooks::NONE,
    }
}

impl LogicService {
    /// Delivers system pushes, which were stored with their change, to current connections, with
    /// the `request_id` of the call, as gim does.
    pub(super) async fn deliver_pushes(
        &self,
        pushes: &[AppendRequest],
        appended: Vec<AppendOutcome>,
        request_id: Option<i64>,
    ) {
        let request_id = request_id.unwrap_or_default();
        let mut deliveries = Vec::new();
        for (push, appended) in pushes.iter().zip(appended) {
            let AppendOutcome::Stored { seqs, job } = appended else {
                continue;
            };
            if let (true, MessageReceiver::Group(group)) = (job, push.message.receiver) {
                // A push is never refused, but its entries count when later sends are admitted.
                let recipients = push.recipients.len();
                self.inner.jobs.opened(group, recipients, None);
            }
            let message = Arc::clone(&push.message);
            let profile = self.inner.directory.nobody();
            let envelope = Arc::new(Envelope::new(message, profile, request_id));
            let to = seqs;
            deliveries.push(DeliveryBatch::Entries { envelope, to });
        }
        self.inner.fanout.deliver(deliveries).await;
    }
}
