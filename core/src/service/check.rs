//! Checks of texts from callers, with one sentence for each fault.

use crate::error::Refusal;
use crate::limits::Limits;
use crate::message::{Content, Draft, Receiver};

/// Longest name or remark, in bytes.
pub(crate) const NAME: usize = 255;
/// Longest URL, in bytes.
pub(crate) const URL: usize = 512;
/// Longest free text, or data of a client or a backend, in bytes.
pub(crate) const TEXT: usize = 1_024;

/// Refuses a text that is longer than `most` bytes.
pub(crate) fn text(field: &str, value: &str, most: usize) -> Result<(), Refusal> {
    if value.len() <= most {
        return Ok(());
    }
    let is = value.len();
    Err(Refusal::bad(format!(
        "{field} is {is} bytes; at most {most} are allowed"
    )))
}

/// As [`text`], for an optional text.
pub(crate) fn text_if(field: &str, value: Option<&str>, most: usize) -> Result<(), Refusal> {
    value.map_or(Ok(()), |value| text(field, value, most))
}

pub(super) fn content(limits: &Limits, content: &Content) -> Result<(), Refusal> {
    if content.len() <= limits.content {
        return Ok(());
    }
    Err(Refusal::bad(format!(
        "message_content is {} bytes; at most {} are allowed: upload it and send its address",
        content.len(),
        limits.content
    )))
}

pub(super) fn mentions(limits: &Limits, count: usize) -> Result<(), Refusal> {
    if count <= limits.mentions {
        return Ok(());
    }
    Err(Refusal::bad(format!(
        "to_user_ids names {count} users; at most {} are allowed",
        limits.mentions
    )))
}

/// Refuses a draft that no sender may send.
pub(super) fn draft(limits: &Limits, draft: &Draft) -> Result<(), Refusal> {
    match draft.receiver {
        Receiver::User(_) | Receiver::Group(_) => {}
        Receiver::Room(_) => {
            return Err(Refusal::bad(
                "receiver_type is a room: call PushRoom; SendMessage takes 1 (user) or 2 (group)",
            ));
        }
        Receiver::Everyone => {
            return Err(Refusal::bad(
                "receiver_type is everyone: call PushAll; SendMessage takes 1 (user) or 2 (group)",
            ));
        }
    }
    content(limits, &draft.content)?;
    mentions(limits, draft.mentions.len())?;
    let most = limits.client_id.min(super::key::CLIENT_ID);
    match &draft.client_id {
        Some(id) if id.is_empty() => Err(Refusal::bad(
            "client_message_id is empty; leave it out, or set it to a new id of your own",
        )),
        Some(id) => text("client_message_id", id, most),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{RoomId, UserId};
    use crate::time::Timestamp;

    fn plain() -> Draft {
        Draft {
            receiver: Receiver::User(UserId::new(2).unwrap()),
            mentions: Vec::new(),
            kind: 1,
            content: Content::default(),
            sent_at: Timestamp(1),
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
                Draft {
                    content: Content(vec![0; limits.content + 1].into()),
                    ..plain()
                },
                "message_content",
            ),
            (
                Draft {
                    mentions: vec![UserId::new(1).unwrap(); limits.mentions + 1],
                    ..plain()
                },
                "to_user_ids",
            ),
            (
                Draft {
                    client_id: Some(String::new()),
                    ..plain()
                },
                "client_message_id",
            ),
            (
                Draft {
                    client_id: Some("x".repeat(65)),
                    ..plain()
                },
                "client_message_id",
            ),
            (
                Draft {
                    receiver: Receiver::Room(RoomId::new(1).unwrap()),
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
