//! System pushes: what gimlet itself tells users about friends and groups.

use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;

use crate::business::UserInfo;
use crate::envelope::{Envelope, Parcel};
use crate::id::{MessageId, UserId};
use crate::message::{Content, Message, Receiver, Sender, UnknownFields};
use crate::service::Service;
use crate::store::{Append, Appended};
use crate::time::Timestamp;

/// An event that gimlet tells users of; gim's push codes 100, 101, 110, 120 and 121.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SystemPush {
    /// 100, to the asked user: someone asks to be its friend.
    AddFriend {
        /// Who asks.
        user: UserId,
        /// Its name.
        nickname: String,
        /// Its picture.
        avatar_url: String,
        /// What it writes with the request.
        description: String,
    },
    /// 101, to the requester: the request was agreed to.
    AgreeAddFriend {
        /// Who agreed.
        user: UserId,
        /// Its name.
        nickname: String,
        /// Its picture.
        avatar_url: String,
    },
    /// 110, to all members: what the group is called and shows now.
    UpdateGroup {
        /// Who changed it.
        operator: UserId,
        /// Its name.
        operator_name: String,
        /// The group's name.
        name: String,
        /// The group's picture.
        avatar_url: String,
        /// The group's introduction.
        introduction: String,
        /// The group's data.
        extra: String,
    },
    /// 120, to all members with the new ones: who was added.
    AddGroupMembers {
        /// Who added them.
        operator: UserId,
        /// Its name.
        operator_name: String,
        /// The added users.
        members: Vec<UserInfo>,
    },
    /// 121, to all members with the removed one: who was removed.
    RemoveGroupMember {
        /// Who removed it.
        operator: UserId,
        /// Its name.
        operator_name: String,
        /// The removed user.
        removed: UserId,
    },
}

impl SystemPush {
    /// gim's `PushCode`.
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

/// How system pushes look on the wire: core knows no protobuf.
pub trait PushCodec: Debug + Send + Sync + 'static {
    /// The message's kind (gim's `MT_COMMAND`) and its content.
    fn encode(&self, push: &SystemPush) -> (i32, Bytes);
}

/// The append that brings a push to its readers.
pub(super) fn append(
    codec: &dyn PushCodec,
    push: &SystemPush,
    receiver: Receiver,
    recipients: Arc<[UserId]>,
    at: Timestamp,
) -> Append {
    let (kind, content) = codec.encode(push);
    let message = Message {
        id: MessageId::generate(),
        sender: Sender::System,
        receiver,
        mentions: Vec::new(),
        kind,
        content: Content(content),
        sent_at: at,
        unknown: UnknownFields::NONE,
    };
    Append {
        message: Arc::new(message),
        recipients,
        key: None,
        roster: None,
    }
}

impl Service {
    /// Hands system pushes that were stored with their change to whoever is connected, with the
    /// `request_id` of the call that made it, as gim does.
    pub(super) async fn deliver_pushes(
        &self,
        pushes: &[Append],
        appended: Vec<Appended>,
        request_id: Option<i64>,
    ) {
        let request_id = request_id.unwrap_or_default();
        let mut parcels = Vec::new();
        for (push, appended) in pushes.iter().zip(appended) {
            let Appended::Stored { seqs, job } = appended else {
                continue;
            };
            if let (true, Receiver::Group(group)) = (job, push.message.receiver) {
                self.inner.jobs.wake(group);
            }
            let message = Arc::clone(&push.message);
            let profile = self.inner.directory.nobody();
            let envelope = Arc::new(Envelope::new(message, profile, request_id));
            let to = seqs;
            parcels.push(Parcel::Entries { envelope, to });
        }
        self.inner.fanout.deliver(parcels).await;
    }
}
