//! Collapse keys of conversations.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gimlet_core::id::UserId;

use crate::conversation::PushConversation;

/// Bytes of a collapse key; 32 characters in base64url, the most that Web Push allows.
const COLLAPSE_KEY_BYTES: usize = 24;

/// Makes the collapse keys of conversations: a notification replaces the one before it that has the
/// same key.
///
/// A push service sees them, so they are a MAC: without the private key that it is made with, which
/// all nodes share, the key of a conversation tells nothing about the users in it.
#[derive(Clone)]
pub(crate) struct CollapseKeys(hmac::Key);

impl CollapseKeys {
    pub(crate) fn of_private_key(private_key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, private_key))
    }

    /// Returns the collapse key of a user's conversation: 32 letters, digits, `-` and `_`.
    pub(crate) fn of(&self, user: UserId, conversation: PushConversation) -> String {
        let text = format!("gimlet collapse key {} {conversation}", user.get());
        let tag = hmac::sign(&self.0, text.as_bytes());
        let bytes = tag.as_ref().get(..COLLAPSE_KEY_BYTES).unwrap_or_default();
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

impl fmt::Debug for CollapseKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CollapseKeys(…)")
    }
}

#[cfg(test)]
mod tests {
    use gimlet_core::id::GroupId;

    use super::*;
    use crate::fixture::user;

    #[test]
    fn collapse_keys_differ_by_user_conversation_and_private_key() {
        let (one, other) = (
            CollapseKeys::of_private_key(b"one"),
            CollapseKeys::of_private_key(b"other"),
        );
        let keys = [
            one.of(user(1), PushConversation::User(user(2))),
            one.of(user(2), PushConversation::User(user(1))),
            one.of(user(1), PushConversation::Group(GroupId::new(2).unwrap())),
            one.of(user(1), PushConversation::Business),
            other.of(user(1), PushConversation::User(user(2))),
        ];
        for (at, key) in keys.iter().enumerate() {
            assert_eq!(key.len(), 32);
            assert_eq!(keys.iter().position(|it| it == key), Some(at));
        }
        assert_eq!(keys[0], one.of(user(1), PushConversation::User(user(2))));
    }
}
