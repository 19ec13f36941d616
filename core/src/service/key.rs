//! Idempotency keys of sends: a repeat with the same key gets the answer of the first send (law 4).

use sha2::{Digest as _, Sha256};

use crate::limits::Limits;
use crate::message::{MessageDraft, MessageReceiver, MessageSender};
use crate::store::IdempotencyKey;
use crate::time::UnixTimestamp;

/// Longest client message id that fits a key, in bytes.
pub(super) const CLIENT_ID_MAX_BYTES: usize = 80;

/// The digest of all legacy keys: such a key covers the whole message, so they never conflict.
const LEGACY_DIGEST: [u8; 16] = [0; 16];

/// The smallest plausible time in milliseconds: September 2001. A smaller number counts seconds, or
/// comes from a clock that was never set.
const MIN_PLAUSIBLE_MS: i64 = 1_000_000_000_000;

/// Returns `true` if a send time distinguishes two messages of one device. A time of whole seconds
/// does not: the same words twice within a second ("ok", "ok") would become one message.
const fn tells_apart(sent_at: UnixTimestamp) -> bool {
    sent_at.0 >= MIN_PLAUSIBLE_MS && sent_at.0 % 1_000 != 0
}

/// Returns the key of a draft. `None` if a repeat cannot be distinguished from a second message:
/// the draft is not stored, or it has neither a client id, nor a request id, nor a time in
/// milliseconds. A message that is stored twice is visible, one that is dropped is lost.
pub(super) fn key(
    sender: MessageSender,
    draft: &MessageDraft,
    limits: &Limits,
) -> Option<IdempotencyKey> {
    if !draft.persist {
        return None;
    }
    if let Some(client_id) = &draft.client_id {
        let mut id = Vec::with_capacity(10 + client_id.len());
        id.push(b'c');
        id.extend(sender_bytes(sender));
        id.extend(client_id.as_bytes());
        return Some(IdempotencyKey {
            id,
            digest: first_half(digest_of(draft)),
            window: limits.key_window,
        });
    }
    // gim's clients: only users repeat a send without an id of their own.
    let MessageSender::User { device, .. } = sender else {
        return None;
    };
    let request = draft.request_id.filter(|id| *id != 0);
    if request.is_none() && !tells_apart(draft.sent_at) {
        return None;
    }
    let mut hash = Sha256::new();
    hash.update(sender_bytes(sender));
    hash.update(device.map_or(0, crate::id::DeviceId::get).to_be_bytes());
    hash.update([u8::from(request.is_some())]);
    hash.update(request.unwrap_or_default().to_be_bytes());
    hash.update(draft.sent_at.0.to_be_bytes());
    hash.update(digest_of(draft));
    let mut id = vec![b'l'];
    id.extend(hash.finalize());
    Some(IdempotencyKey {
        id,
        digest: LEGACY_DIGEST,
        window: limits.legacy_window,
    })
}

fn sender_bytes(sender: MessageSender) -> [u8; 9] {
    let (kind, id) = match sender {
        MessageSender::System => (1, 0),
        MessageSender::User { user, .. } => (2, user.get()),
        MessageSender::Business => (3, 0),
    };
    let mut bytes = [kind; 9];
    let (_, number) = bytes.split_at_mut(1);
    number.copy_from_slice(&id.to_be_bytes());
    bytes
}

/// Hashes the content and the addressee of a draft, without its time.
fn digest_of(draft: &MessageDraft) -> [u8; 32] {
    let (kind, id) = match draft.receiver {
        MessageReceiver::User(user) => (1, user.get()),
        MessageReceiver::Group(group) => (2, group.get()),
        MessageReceiver::Room(room) => (3, room.get()),
        MessageReceiver::Everyone => (4, 0),
    };
    let mut hash = Sha256::new();
    hash.update([kind, u8::from(draft.persist)]);
    hash.update(u64::to_be_bytes(id));
    hash.update(draft.kind.to_be_bytes());
    hash.update((draft.mentions.len() as u64).to_be_bytes());
    for user in &draft.mentions {
        hash.update(user.get().to_be_bytes());
    }
    hash.update(&draft.content.0);
    hash.finalize().into()
}

fn first_half(digest: [u8; 32]) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(digest.split_at(16).0);
    half
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{DeviceId, GroupId, UserId};
    use crate::message::MessageContent;
    use crate::time::UnixTimestamp;

    fn user(n: u64) -> UserId {
        UserId::new(n).unwrap()
    }

    fn from(n: u64, device: u64) -> MessageSender {
        MessageSender::User {
            user: user(n),
            device: DeviceId::new(device),
        }
    }

    fn plain() -> MessageDraft {
        MessageDraft {
            receiver: MessageReceiver::User(user(2)),
            mentions: Vec::new(),
            kind: 1,
            content: MessageContent("hi".into()),
            sent_at: UnixTimestamp(1_700_000_000_001),
            persist: true,
            client_id: None,
            request_id: None,
        }
    }

    fn of(sender: MessageSender, draft: &MessageDraft) -> IdempotencyKey {
        key(sender, draft, &Limits::default()).unwrap()
    }

    #[test]
    fn a_client_id_is_the_senders_own_and_time_is_not_content() {
        let draft = MessageDraft {
            client_id: Some("x".repeat(CLIENT_ID_MAX_BYTES)),
            ..plain()
        };
        let first = of(from(1, 1), &draft);
        assert!(first.id.len() <= 96);
        let later = MessageDraft {
            sent_at: UnixTimestamp(2_000),
            ..draft.clone()
        };
        assert_eq!(of(from(1, 2), &later), first);
        assert_ne!(of(from(3, 1), &draft).id, first.id);
        assert_ne!(of(MessageSender::Business, &draft).id, first.id);
        let others = [
            MessageDraft {
                content: MessageContent("ho".into()),
                ..draft.clone()
            },
            MessageDraft {
                receiver: MessageReceiver::Group(GroupId::new(2).unwrap()),
                ..draft.clone()
            },
            MessageDraft {
                kind: 2,
                ..draft.clone()
            },
            MessageDraft {
                mentions: vec![user(9)],
                ..draft.clone()
            },
        ];
        for other in others {
            let other = of(from(1, 1), &other);
            assert_eq!(other.id, first.id);
            assert_ne!(other.digest, first.digest);
        }
    }

    #[test]
    fn a_legacy_key_tells_messages_apart_and_never_conflicts() {
        let first = of(from(1, 1), &plain());
        assert_eq!(of(from(1, 1), &plain()), first);
        let others = [
            of(from(1, 2), &plain()),
            of(
                from(1, 1),
                &MessageDraft {
                    sent_at: UnixTimestamp(1_700_000_000_002),
                    ..plain()
                },
            ),
            of(
                from(1, 1),
                &MessageDraft {
                    content: MessageContent("ho".into()),
                    ..plain()
                },
            ),
            of(
                from(1, 1),
                &MessageDraft {
                    request_id: Some(7),
                    ..plain()
                },
            ),
        ];
        for other in others {
            assert_ne!(other.id, first.id);
            assert_eq!(other.digest, first.digest);
        }
    }

    #[test]
    fn what_says_nothing_of_itself_has_no_key() {
        let limits = Limits::default();
        let timeless = MessageDraft {
            sent_at: UnixTimestamp(0),
            ..plain()
        };
        assert_eq!(key(from(1, 1), &timeless, &limits), None);
        // The same words twice within a second, from a client that counts seconds or has an unset
        // clock, are two messages; a request id distinguishes them.
        for coarse in [1, 1_700_000_000, 1_700_000_000_000] {
            let mut draft = MessageDraft {
                sent_at: UnixTimestamp(coarse),
                ..plain()
            };
            assert_eq!(key(from(1, 1), &draft, &limits), None);
            draft.request_id = Some(7);
            assert!(key(from(1, 1), &draft, &limits).is_some());
        }
        assert_eq!(key(MessageSender::Business, &plain(), &limits), None);
        let live = MessageDraft {
            persist: false,
            client_id: Some("a".into()),
            ..plain()
        };
        assert_eq!(key(from(1, 1), &live, &limits), None);
    }
}
