//! Messages to rooms. An event stream follows one (`events`).

use gimlet_core::id::{RoomId, UserId};
use gimlet_core::scope::ApiScope;
use gimlet_core::seq::Seq;
use gimlet_core::service::RoomDraft;
use http::Method;

use crate::call::ApiCall;
use crate::content::JsonContent;
use crate::json::object;
use crate::operation::{ApiOperation, OperationAccess};
use crate::problem::ApiProblem;

object! {
    /// A message to a room.
    PublishToRoom {
        /// The room; it need not be created first.
        room_id: RoomId,
        /// The content.
        content: JsonContent,
        /// The mentioned users.
        mentions: Option<Vec<UserId>>,
        /// True if the message is kept for a while, for later subscribers; by default it is not.
        keep: Option<bool>,
    }
}

object! {
    /// A published message.
    PublishedToRoom {
        /// The message's seq in the room.
        seq: Seq,
    }
}

async fn publish(call: ApiCall, input: PublishToRoom) -> Result<PublishedToRoom, ApiProblem> {
    let sender = call.sender()?;
    let (kind, content) = input
        .content
        .encode()
        .map_err(|wrong| wrong.inside("content"))?;
    let draft = RoomDraft {
        room: input.room_id,
        mentions: input.mentions.unwrap_or_default(),
        kind,
        content,
        persist: input.keep.unwrap_or(false),
    };
    let seq = call.service()?.push_room(sender, draft).await?;
    Ok(PublishedToRoom { seq })
}

/// Returns the operations of this module.
pub(crate) fn operations() -> Vec<ApiOperation> {
    vec![ApiOperation::new(
        Method::POST,
        "/rooms/{room_id}/messages",
        OperationAccess::UserOrBackend(ApiScope::RoomsWrite),
        "publishToRoom",
        "Sends a message to the current subscribers of a room.",
        publish,
    )]
}
