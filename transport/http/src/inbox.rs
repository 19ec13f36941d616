//! Pages of an inbox, and the wait for the next message.

use std::time::Duration;

use gimlet_core::error::RequestRefusal;
use gimlet_core::logic::LogicRole as _;
use gimlet_core::scope::ApiScope;
use gimlet_core::seq::Seq;
use gimlet_core::service::check_after;
use http::Method;
use tokio::time::Instant;

use crate::bounded::WaitSeconds;
use crate::call::ApiCall;
use crate::json::{WholeNumber, object};
use crate::message::EntryInfo;
use crate::operation::{ApiOperation, NoContent, OperationAccess};
use crate::problem::ApiProblem;

object! {
    /// A page of the inbox.
    ReadInbox {
        /// The seq after which the page starts; 0, the default, is the beginning.
        after: Option<Seq>,
        /// The number of entries; at most, and by default, what the server is configured for, usually
        /// 50.
        limit: Option<u32>,
        /// Seconds to wait for an entry if there is none, up to 30; by default 0.
        wait: Option<WaitSeconds>,
    }
}

object! {
    /// Entries of an inbox, ascending.
    InboxPage {
        /// The entries.
        entries: Vec<EntryInfo>,
        /// True if the inbox continues after the last of them.
        more: bool,
        /// The seq of the inbox's last entry.
        head: Seq,
        /// The seq up to which the server has removed entries.
        floor: Seq,
        /// Identity of the inbox's history. If it changes, the server has lost entries, for example
        /// by a restore: read the inbox again from 0.
        epoch: WholeNumber,
    }
}

object! {
    /// Entries that a device has stored.
    AckInbox {
        /// The seq up to which the device has stored the entries.
        seq: Seq,
    }
}

async fn read(call: ApiCall, input: ReadInbox) -> Result<InboxPage, ApiProblem> {
    let user = call.user()?;
    let after = input.after.unwrap_or_default();
    let WaitSeconds(wait) = input.wait.unwrap_or_default();
    if input.limit == Some(0) {
        let detail = "limit is 0; it must be at least 1";
        return Err(ApiProblem::field("limit", detail));
    }
    let service = call.reading(user)?;
    if wait > 0 {
        let until = Instant::now() + Duration::from_secs(wait.into());
        let waiting = service.wait_for_entry(user, after, until);
        // A stop ends the wait, not the request.
        if let Some(waited) = call.shared.api.stop.run_until_cancelled(waiting).await {
            waited.map_err(wrong_after)?;
        }
    }
    let items = input.limit.and_then(|limit| usize::try_from(limit).ok());
    let page = service.inbox_page(user, after, items).await?;
    check_after(after, page.head.head).map_err(wrong_after)?;
    let epoch = service.epoch().await?;
    let entries = page.items.iter();
    Ok(InboxPage {
        entries: entries.map(|(seq, it)| EntryInfo::of(*seq, it)).collect(),
        more: page.more,
        head: page.head.head,
        floor: page.head.floor,
        epoch: WholeNumber(epoch.0),
    })
}

/// Names the field of a position that the inbox does not have.
fn wrong_after(refusal: RequestRefusal) -> ApiProblem {
    match refusal {
        RequestRefusal::BadRequest(detail) => ApiProblem::field("after", format!("after {detail}")),
        other => other.into(),
    }
}

async fn ack(call: ApiCall, input: AckInbox) -> Result<NoContent, ApiProblem> {
    let token = call.token()?;
    let service = call.reading(token.user)?;
    service
        .ack_of_client(token.user, token.device, input.seq)
        .await?;
    Ok(NoContent)
}

/// Returns the operations of this module.
pub(crate) fn operations() -> Vec<ApiOperation> {
    vec![
        ApiOperation::new(
            Method::GET,
            "/inbox",
            OperationAccess::User(ApiScope::MessagesRead),
            "readInbox",
            "Returns a page of the user's inbox. With `wait` it is answered when there is an entry.",
            read,
        ),
        ApiOperation::new(
            Method::POST,
            "/inbox/ack",
            OperationAccess::Device,
            "ackInbox",
            "Records up to which seq the device has stored the inbox.",
            ack,
        ),
    ]
}
