//! The inbox as a stream of server-sent events.
//!
//! A stream is a connection of its device, as a socket is: the same cursor over the inbox, the same
//! order, the same takeover by a newer connection. Its events have the seq as their id, so a client
//! that reconnects with `Last-Event-ID` gets the next entry, and no entry twice.
//!
//! Nothing is buffered beyond the hub's bounded queue: an event is made when the socket takes it. The
//! connection of a client that does not read lags, and continues from the inbox when the client reads
//! again.

mod frame;
mod stream;

use std::sync::Arc;

use gimlet_core::error::RequestRefusal;
use gimlet_core::gateway::{ClientConnection, SignInRequest, was_displaced};
use gimlet_core::id::RoomId;
use gimlet_core::seq::Seq;
use http::Method;

use crate::api::StreamPermit;
use crate::call::ApiCall;
use crate::json::object;
use crate::operation::{ApiOperation, OperationAccess};
use crate::problem::ApiProblem;
use frame::{StreamPosition, seq};
use stream::EventStream;

/// Header with the id of the last event that the client has handled.
const LAST_EVENT_HEADER: &str = "last-event-id";
/// Version of the protocol extension that a stream follows: its client understands epochs and closes.
const PROTOCOL: u32 = 1;

object! {
    /// A stream of events.
    FollowInbox {
        /// The seq after which the stream starts; `head` for new entries only; by default 0, the
        /// beginning. `Last-Event-ID` goes before it.
        after: Option<String>,
        /// A room to follow as well.
        room: Option<RoomId>,
        /// The seq in the room from which its kept messages are sent; by default only new ones are.
        room_from: Option<Seq>,
    }
}

/// Start of a stream.
enum StreamStartPoint {
    /// After an entry.
    After(StreamPosition),
    /// After the last entry.
    Head,
}

/// Returns the start of a stream, and the name of the header or field that decides it, for refusals.
/// The header goes before the field: `EventSource` sends it when it reconnects, to an address that
/// still has the field of the first connection.
fn start(
    call: &ApiCall,
    after: Option<&str>,
) -> Result<(StreamStartPoint, &'static str), ApiProblem> {
    if let Some(value) = call.headers.get(LAST_EVENT_HEADER) {
        let position = value.to_str().ok().and_then(StreamPosition::parse);
        let name = "Last-Event-ID";
        return position
            .map(|it| (StreamStartPoint::After(it), name))
            .ok_or_else(|| {
                let expected = "the id of an event of this stream";
                let detail =
                    format!("the header Last-Event-ID is not a seq; it must be {expected}");
                ApiProblem::field(name, detail)
            });
    }
    match after {
        Some("head") => Ok((StreamStartPoint::Head, "after")),
        Some(text) => {
            let inbox = seq(text).ok_or_else(|| {
                let shown: String = text.chars().take(40).collect();
                let detail = format!("after is {shown:?}; it must be a seq, or head");
                ApiProblem::field("after", detail)
            })?;
            Ok((
                StreamStartPoint::After(StreamPosition { inbox, room: None }),
                "after",
            ))
        }
        None => {
            let inbox = Seq::ZERO;
            Ok((
                StreamStartPoint::After(StreamPosition { inbox, room: None }),
                "after",
            ))
        }
    }
}

async fn follow(call: ApiCall, input: FollowInbox) -> Result<EventStream, ApiProblem> {
    let token = call.token()?;
    let (start, field) = start(&call, input.after.as_deref())?;
    if input.room.is_none() && input.room_from.is_some() {
        let detail = "room_from is set without room; set room to the id of the room";
        return Err(ApiProblem::field("room_from", detail));
    }
    // Whatever can refuse the request comes before the sign-in, which ends the device's older
    // connection: a refused request must not end it.
    if call.shared.api.stop.is_cancelled() {
        return Err(RequestRefusal::Unavailable.into());
    }
    let gateway = call.gateway()?;
    gateway.check_rate(token.user, 1 + u32::from(input.room.is_some()))?;
    let permit = call.stream_permit()?;
    let request = SignInRequest {
        user: token.user,
        device: token.device,
        token: token.token,
        client: call.client,
        protocol: PROTOCOL,
        legacy: false,
        // A send of the same device over HTTP is answered elsewhere, so the stream shows it.
        echo: true,
        resume_after: match &start {
            StreamStartPoint::After(position) => position.inbox,
            StreamStartPoint::Head => Seq::ZERO,
        },
    };
    let failures = &call.shared.api.failures;
    let begun = async {
        let connection = Arc::new(gateway.sign_in_limited(failures, request).await?);
        begin(&call, connection, &start, &input, permit).await
    };
    match begun.await {
        // The token is valid. A refusal would have the client sign in again, so the stream ends as it
        // would have ended a moment later.
        Err(refusal) if was_displaced(&refusal) => Ok(EventStream::displaced()),
        Err(RequestRefusal::BadRequest(detail)) => {
            Err(ApiProblem::field(field, format!("{field} {detail}")))
        }
        begun => Ok(begun?),
    }
}

/// Begins the stream of a connection that has just signed in.
async fn begin(
    call: &ApiCall,
    connection: Arc<ClientConnection>,
    start: &StreamStartPoint,
    input: &FollowInbox,
    permit: StreamPermit,
) -> Result<EventStream, RequestRefusal> {
    // The stop closes the connections that are in the hub; this one may have entered after that.
    if call.shared.api.stop.is_cancelled() {
        return Err(RequestRefusal::Unavailable);
    }
    let position = match start {
        StreamStartPoint::After(position) => *position,
        StreamStartPoint::Head => StreamPosition {
            inbox: connection.head().1,
            room: None,
        },
    };
    let page = connection.sync(position.inbox).await?;
    // The page may have been read after a newer connection took the device.
    if connection.handle().is_superseded() {
        return Ok(EventStream::displaced());
    }
    let restart = call.restart_time_limit.clone();
    let stream = EventStream::open(&connection, (Some(permit), restart), &page, position.room);
    // The page is in the stream before the connection goes live, so that pushes come after it. The
    // connection itself reads what does not fit the page: it compares the page's end with the head.
    connection.synced(page.from, page.upto, false);
    if call.headers.contains_key(LAST_EVENT_HEADER) {
        connection.ack(position.inbox);
    }
    if let Some(room) = input.room {
        let from = position.room.map(Seq::next).or(input.room_from);
        connection
            .subscribe(Some(room), from.unwrap_or_default())
            .await?;
    }
    Ok(stream)
}

/// Returns the operations of this module.
pub(crate) fn operations() -> Vec<ApiOperation> {
    vec![
        ApiOperation::new(
            Method::GET,
            "/inbox/events",
            OperationAccess::Connection,
            "followInbox",
            "Follows the inbox as server-sent events, each entry once and in order. A stream is the \
             connection of its device: a newer one of the same device ends it.",
            follow,
        )
        .header(
            LAST_EVENT_HEADER,
            "The id of the last event that the client has handled: the stream goes on after it.",
        )
        .query_token()
        .by_connection(),
    ]
}
