//! Checks of what callers send, with one sentence for each fault.

use crate::error::RequestRefusal;
use crate::limits::Limits;
use crate::message::{MessageContent, MessageDraft, MessageReceiver};
use crate::seq::Seq;
pub(crate) use crate::text_limits::{
    NAME_MAX_BYTES, TEXT_MAX_BYTES, URL_MAX_BYTES, name, name_if, text, text_if,
};

/// Refuses a position above the head of the inbox: it is from another history.
///
/// # Errors
/// [`RequestRefusal::BadRequest`], whose text goes on after the name of the field.
pub fn check_after(after: Seq, head: Seq) -> Result<(), RequestRefusal> {
    if after <= head {
        return Ok(());
    }
    Err(RequestRefusal::bad(format!(
        "is {after}, above the inbox's last entry {head}: the server's history has changed; read the \
         inbox again from 0"
    )))
}

pub(super) fn content(limits: &Limits, content: &MessageContent) -> Result<(), RequestRefusal> {
    if content.len() <= limits.content {
        return Ok(());
    }
    Err(RequestRefusal::bad(format!(
        "message_content is {} bytes; at most {} are allowed: upload it and send its address",
        content.len(),
        limits.content
    )))
}

pub(super) fn mentions(limits: &Limits, count: usize) -> Result<(), RequestRefusal> {
    if count <= limits.mentions {
        return Ok(());
    }
    Err(RequestRefusal::bad(format!(
        "to_user_ids names {count} users; at most {} are allowed",
        limits.mentions
    )))
}

/// Refuses a draft that no sender may send.
pub(super) fn draft(limits: &Limits, draft: &MessageDraft) -> Result<(), RequestRefusal> {
    match draft.receiver {
        MessageReceiver::User(_) | MessageReceiver::Group(_) => {}
        MessageReceiver::Room(_) => {
            return Err(RequestRefusal::bad(
                "receiver_type is a room: call PushRoom; SendMessage takes 1 (user) or 2 (group)",
            ));
        }
        MessageReceiver::Everyone => {
            return Err(RequestRefusal::bad(
                "receiver_type is everyone: call PushAll; SendMessage takes 1 (user) or 2 (group)",
            ));
        }
    }
    content(limits, &draft.content)?;
    mentions(limits, draft.mentions.len())?;
    let max = limits.client_id.min(super::key::CLIENT_ID_MAX_BYTES);
    match &draft.client_id {
        Some(id) if id.is_empty() => Err(RequestRefusal::bad(
            "client_message_id is empty; leave it out, or set it to a new id of your own",
        )),
        Some(id) => text("client_message_id", id, max),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{RoomId, UserId};
    use crate::time::UnixTimestamp;

    fn plain() -> MessageDraft {
        MessageDraft {
            receiver: MessageReceiver::User(UserId::new(2).unwrap()),
            mentions: Vec::new(),
            kind: 1,
            content: MessageContent::default(),
            sent_at: UnixTimestamp(1),
            persist: true,
            client_id: None,
            request_id: None,
        }
    }

    #[test]
    fn each_limit_names_itself() {
        let limits = Limits::default();
        assert_eq!(draft(&limits, &plain()), Ok(()));
        let wrong = [
            (
                MessageDraft {
                    content: MessageContent(vec![0; limits.content + 1].into()),
                    ..plain()
                },
                "message_content",
            ),
            (
                MessageDraft {
                    mentions: vec![UserId::new(1).unwrap(); limits.mentions + 1],
                    ..plain()
                },
                "to_user_ids",
            ),
            (
                MessageDraft {
                    client_id: Some(String::new()),
                    ..plain()
                },
                "client_message_id",
            ),
            (
                MessageDraft {
                    client_id: Some("x".repeat(65)),
                    ..plain()
                },
                "client_message_id",
            ),
            (
                MessageDraft {
                    receiver: MessageReceiver::Room(RoomId::new(1).unwrap()),
                    ..plain()
                },
                "PushRoom",
            ),
        ];
        for (wrong, names) in wrong {
            let refusal = draft(&limits, &wrong).unwrap_err();
            assert_eq!(refusal.code(), 10001);
            assert!(refusal.to_string().contains(names), "{refusal}");
        }
    }
}
