//! Requests to send a message; messages as clients see them are in `gimlet-json`.

use gimlet_core::id::{GroupId, UserId};
use gimlet_core::message::{MessageDraft, MessageReceiver, MessageSender};
use gimlet_core::scope::ApiScope;
use gimlet_core::seq::Seq;
use gimlet_core::time::UnixTimestamp;
use http::Method;

pub(crate) use gimlet_json::{
    EntryInfo, LiveMessageInfo, RoomMessageInfo, SenderKind, rfc3339, to_text,
};

use crate::call::ApiCall;
use crate::content::JsonContent;
use crate::json::object;
use crate::operation::{ApiOperation, OperationAccess};
use crate::problem::ApiProblem;

/// Header with the client's id of a send.
const KEY_HEADER: &str = "idempotency-key";

object! {
    /// A message to send: to a user or to a group.
    SendMessage {
        /// The receiving user; either this or `to_group`.
        to_user: Option<UserId>,
        /// The receiving group; either this or `to_user`.
        to_group: Option<GroupId>,
        /// The content.
        content: JsonContent,
        /// The mentioned users.
        mentions: Option<Vec<UserId>>,
        /// False for a message that only current connections get. By default it is stored.
        store: Option<bool>,
        /// The time of sending, in milliseconds since 1970; by default the server's time.
        sent_at_ms: Option<i64>,
        /// Sender of a message that the backend sends for itself: `business` (the default) or
        /// `system`.
        sender: Option<SenderKind>,
    }
}

object! {
    /// The answer to a send.
    SentMessage {
        /// The message's id, a UUID.
        message_id: String,
        /// Seq of the sender's own copy; of the recipient's, if a backend sent to a user; 0 if
        /// nothing was stored, and for a backend's message to a group.
        seq: Seq,
        /// True if this was the repeat of a send, and nothing more was stored.
        repeated: bool,
    }
}

impl SendMessage {
    fn receiver(&self) -> Result<MessageReceiver, ApiProblem> {
        match (self.to_user, self.to_group) {
            (Some(user), None) => Ok(MessageReceiver::User(user)),
            (None, Some(group)) => Ok(MessageReceiver::Group(group)),
            (None, None) => Err(ApiProblem::field(
                "to_user",
                "to_user and to_group are missing; set one of them to the id of the receiver",
            )),
            (Some(_), Some(_)) => Err(ApiProblem::field(
                "to_group",
                "to_user and to_group are both set; a message has one receiver",
            )),
        }
    }
}

/// Returns the sender that a backend chose.
fn sender(call: &ApiCall, chosen: Option<SenderKind>) -> Result<MessageSender, ApiProblem> {
    let sender = call.sender()?;
    match (sender, chosen) {
        (sender, None)
        | (sender @ MessageSender::Business, Some(SenderKind::Business))
        | (sender @ MessageSender::User { .. }, Some(SenderKind::User)) => Ok(sender),
        (MessageSender::Business, Some(SenderKind::System)) => Ok(MessageSender::System),
        _ => Err(ApiProblem::field(
            "sender",
            "sender is for a backend that acts for itself, without Gimlet-User: business or system",
        )),
    }
}

/// Returns the client's id of the send.
fn client_id(call: &ApiCall) -> Result<Option<String>, ApiProblem> {
    let Some(value) = call.headers.get(KEY_HEADER) else {
        return Ok(None);
    };
    let text = value.to_str().ok().filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| {
        let expected = "1 to 64 visible ASCII characters, for example a UUID";
        let detail =
            format!("the header Idempotency-Key is empty or not ASCII; it must be {expected}");
        ApiProblem::field("Idempotency-Key", detail)
    })?;
    Ok(Some(text.to_owned()))
}

async fn send(call: ApiCall, input: SendMessage) -> Result<SentMessage, ApiProblem> {
    let receiver = input.receiver()?;
    let sender = sender(&call, input.sender)?;
    let client_id = client_id(&call)?;
    let (kind, content) = input
        .content
        .encode()
        .map_err(|wrong| wrong.inside("content"))?;
    let draft = MessageDraft {
        receiver,
        mentions: input.mentions.unwrap_or_default(),
        kind,
        content,
        sent_at: UnixTimestamp(input.sent_at_ms.unwrap_or_default()),
        persist: input.store.unwrap_or(true),
        client_id,
        request_id: None,
    };
    let sent = call.service()?.send(sender, draft).await?;
    Ok(SentMessage {
        message_id: gimlet_json::message_id(sent.message),
        seq: sent.seq,
        repeated: sent.repeated,
    })
}

/// Returns the operations of this module.
pub(crate) fn operations() -> Vec<ApiOperation> {
    vec![
        ApiOperation::new(
            Method::POST,
            "/messages",
            OperationAccess::UserOrBackend(ApiScope::MessagesSend),
            "sendMessage",
            "Sends a message to a user or to a group. It is answered once the message is durable.",
            send,
        )
        .header(
            KEY_HEADER,
            "The client's id of this send: a repeat with the same id stores nothing more and gets \
             the first answer.",
        ),
    ]
}
