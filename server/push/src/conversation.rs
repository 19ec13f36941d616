//! Conversations: the new messages of a user are notified once for each conversation.

use std::fmt;
use std::sync::Arc;

use gimlet_core::envelope::Envelope;
use gimlet_core::id::{GroupId, UserId};
use gimlet_core::message::{MessageReceiver, MessageSender};
use gimlet_core::time::UnixTimestamp;
use gimlet_json::JsonContent;

/// A conversation, as its recipient sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PushConversation {
    /// Direct messages of a user.
    User(UserId),
    /// Messages to a group.
    Group(GroupId),
    /// Direct messages of the backend.
    Business,
}

impl PushConversation {
    fn of(envelope: &Envelope) -> Option<Self> {
        let message = &envelope.message;
        match (message.receiver, message.sender) {
            (MessageReceiver::Group(group), _) => Some(Self::Group(group)),
            (MessageReceiver::User(_), MessageSender::User { user, .. }) => Some(Self::User(user)),
            (MessageReceiver::User(_), MessageSender::Business) => Some(Self::Business),
            // Such messages have no event `message.offline`.
            (MessageReceiver::User(_), MessageSender::System)
            | (MessageReceiver::Room(_) | MessageReceiver::Everyone, _) => None,
        }
    }
}

impl fmt::Display for PushConversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => write!(f, "user:{}", user.get()),
            Self::Group(group) => write!(f, "group:{}", group.get()),
            Self::Business => f.write_str("business"),
        }
    }
}

/// New messages of one conversation for one user.
#[derive(Clone, Debug)]
pub(crate) struct UnseenConversation {
    /// The user.
    pub(crate) user: UserId,
    /// The conversation.
    pub(crate) conversation: PushConversation,
    /// Time of the newest event.
    pub(crate) at: UnixTimestamp,
    /// The newest message.
    pub(crate) newest: Arc<Envelope>,
    /// The messages before it.
    pub(crate) older: Vec<Arc<Envelope>>,
}

/// Sorts the new messages of a user by conversation. Commands are for programs and are left out.
pub(crate) fn by_conversation(
    user: UserId,
    at: UnixTimestamp,
    messages: &[Arc<Envelope>],
) -> Vec<UnseenConversation> {
    let mut found: Vec<UnseenConversation> = Vec::new();
    for envelope in messages {
        let message = &envelope.message;
        let content = JsonContent::decode(message.kind, &message.content);
        let Some(conversation) = PushConversation::of(envelope) else {
            continue;
        };
        if matches!(content, JsonContent::Command(_)) {
            continue;
        }
        let newest = Arc::clone(envelope);
        match found.iter_mut().find(|it| it.conversation == conversation) {
            Some(known) => {
                let older = std::mem::replace(&mut known.newest, newest);
                known.older.push(older);
            }
            None => found.push(UnseenConversation {
                user,
                conversation,
                at,
                newest,
                older: Vec::new(),
            }),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use gimlet_json::{JsonType as _, ValueSource};

    use super::*;
    use crate::fixture::{envelope, text, user};

    #[test]
    fn messages_are_sorted_by_conversation_in_their_order() {
        let group = MessageReceiver::Group(GroupId::new(9).unwrap());
        let direct = MessageReceiver::User(user(1));
        let messages = [
            text(user(2), direct, "a"),
            text(user(3), group, "b"),
            text(user(2), direct, "c"),
            text(user(2), group, "d"),
        ];
        let found = by_conversation(user(1), UnixTimestamp(5), &messages);
        let shown: Vec<_> = found
            .iter()
            .map(|it| (it.conversation.to_string(), it.older.len()))
            .collect();
        assert_eq!(shown, [("user:2".into(), 1), ("group:9".into(), 1)]);
        assert!(Arc::ptr_eq(&found[0].newest, &messages[2]));
        assert!(Arc::ptr_eq(&found[1].newest, &messages[3]));
    }

    #[test]
    fn commands_notify_nobody() {
        let command = serde_json::json!({"type": "command", "code": 1003});
        let read = JsonContent::read(command, ValueSource::Body);
        let (kind, content) = read.unwrap().encode().unwrap();
        let direct = MessageReceiver::User(user(1));
        let message = envelope(user(2), direct, kind, content);
        assert!(by_conversation(user(1), UnixTimestamp(5), &[message]).is_empty());
    }
}
