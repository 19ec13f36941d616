//! Operations of operators for webhooks: their state, a test, their dead letters.

use gimlet_core::error::RequestRefusal;
use gimlet_core::events::HookName;
use gimlet_core::hook_delivery::{HookDelivery, HookStatus};
use gimlet_core::id::MessageId;
use gimlet_core::scope::ApiScope;
use gimlet_core::store::{DeadLetter, OutboxPosition, StoreError};
use http::{Method, StatusCode};

use crate::call::ApiCall;
use crate::json::{WholeNumber, object};
use crate::lists::page_items;
use crate::message::rfc3339;
use crate::operation::{ApiOperation, NoFields, OperationAccess};
use crate::problem::ApiProblem;

/// Largest number of dead letters that one request names.
const MAX_NAMED_LETTERS: usize = 1_000;

object! {
    /// The state of a webhook.
    WebhookInfo {
        /// The name.
        name: String,
        /// The address; absent if the configuration does not name the webhook any more.
        url: Option<String>,
        /// Names of the events that it gets.
        events: Vec<String>,
        /// The number of events that wait.
        waiting: WholeNumber,
        /// Time of the oldest of them (RFC 3339, UTC).
        oldest_waiting: Option<String>,
        /// The number of dead letters.
        dead_letters: WholeNumber,
        /// Events that this node has delivered since its start.
        delivered: WholeNumber,
        /// Attempts of this node that failed.
        failed: WholeNumber,
        /// Reason of the last failure on this node.
        last_error: Option<String>,
        /// Time of the last failure on this node (RFC 3339, UTC).
        last_error_at: Option<String>,
    }
}

object! {
    /// The webhooks.
    WebhookList {
        /// The webhooks, in the order of their names.
        webhooks: Vec<WebhookInfo>,
    }
}

object! {
    /// The webhook that is meant.
    NamedWebhook {
        /// Its name.
        name: String,
    }
}

object! {
    /// Result of a test.
    WebhookTest {
        /// True if the program accepted the test.
        delivered: bool,
        /// The reason that it did not.
        error: Option<String>,
        /// Milliseconds until the answer.
        took_ms: i64,
    }
}

object! {
    /// A page of dead letters.
    ListDeadLetters {
        /// Name of the webhook.
        name: String,
        /// The position after which the page starts; by default it is the first page.
        after: Option<WholeNumber>,
        /// The number of dead letters, up to 500; by default 50.
        limit: Option<u32>,
    }
}

object! {
    /// An event that was given up.
    DeadLetterInfo {
        /// Its position, which names it.
        position: WholeNumber,
        /// The event's id; absent if its record cannot be read.
        event_id: Option<String>,
        /// Name of the event.
        event: Option<String>,
        /// Time of the event (RFC 3339, UTC).
        time: Option<String>,
        /// Reason of the last failure.
        error: String,
        /// The number of attempts.
        attempts: u32,
        /// Time at which it was given up (RFC 3339, UTC).
        given_up_at: String,
    }
}

object! {
    /// Dead letters, ascending by position.
    DeadLetterList {
        /// The dead letters.
        dead_letters: Vec<DeadLetterInfo>,
        /// True if the list goes on after the last of them.
        more: bool,
    }
}

object! {
    /// Dead letters that are meant.
    NamedDeadLetters {
        /// Name of the webhook.
        name: String,
        /// Their positions, up to 1,000; by default all dead letters of the webhook.
        positions: Option<Vec<WholeNumber>>,
    }
}

object! {
    /// The number of dead letters that were moved or removed.
    DeadLetterCount {
        /// The number.
        count: WholeNumber,
    }
}

impl WebhookInfo {
    fn of(status: HookStatus) -> Self {
        let statistics = status.statistics;
        let (last_error, last_error_at) = statistics.last_failure.unzip();
        Self {
            name: status.name.to_string(),
            url: status.address,
            events: status.events.into_iter().map(str::to_owned).collect(),
            waiting: WholeNumber(status.backlog.events),
            oldest_waiting: status.backlog.oldest.map(rfc3339),
            dead_letters: WholeNumber(status.backlog.dead_letters),
            delivered: WholeNumber(statistics.delivered),
            failed: WholeNumber(statistics.failed),
            last_error,
            last_error_at: last_error_at.map(rfc3339),
        }
    }
}

impl DeadLetterInfo {
    fn of(letter: DeadLetter) -> Self {
        let event = letter.event.as_ref();
        let id = event.map(|it| gimlet_json::message_id(MessageId::from_bytes(*it.id.as_bytes())));
        Self {
            position: WholeNumber(letter.position.0),
            event_id: id,
            event: event.map(|it| it.body.kind().name().to_owned()),
            time: event.map(|it| rfc3339(it.at)),
            error: letter.error,
            attempts: letter.attempts,
            given_up_at: rfc3339(letter.died_at),
        }
    }
}

fn refused(error: StoreError) -> ApiProblem {
    RequestRefusal::from(error).into()
}

/// Returns the webhook of this name.
async fn named<'a>(
    call: &'a ApiCall,
    name: &str,
) -> Result<(&'a HookDelivery, HookName), ApiProblem> {
    let hooks = call.hooks()?;
    let hook = HookName::new(name).ok();
    if let Some(hook) = hook
        && hooks.knows(&hook).await.map_err(refused)?
    {
        return Ok((hooks, hook));
    }
    let shown: String = name.chars().take(64).collect();
    let detail = format!("there is no webhook {shown:?}; GET /v1/webhooks lists them");
    Err(ApiProblem::of(
        StatusCode::NOT_FOUND,
        "no-such-webhook",
        detail,
    ))
}

fn positions(given: Option<Vec<WholeNumber>>) -> Result<Option<Vec<OutboxPosition>>, ApiProblem> {
    let Some(given) = given else {
        return Ok(None);
    };
    if given.len() > MAX_NAMED_LETTERS {
        let detail = format!(
            "positions names {} dead letters; at most {MAX_NAMED_LETTERS} are allowed: leave it out \
             for all of them",
            given.len()
        );
        return Err(ApiProblem::field("positions", detail));
    }
    let positions = given.into_iter().map(|it| OutboxPosition(it.0));
    Ok(Some(positions.collect()))
}

fn counted(count: usize) -> DeadLetterCount {
    DeadLetterCount {
        count: WholeNumber(count as u64),
    }
}

async fn list(call: ApiCall, _: NoFields) -> Result<WebhookList, ApiProblem> {
    let listed = call.hooks()?.list().await.map_err(refused)?;
    Ok(WebhookList {
        webhooks: listed.into_iter().map(WebhookInfo::of).collect(),
    })
}

async fn test(call: ApiCall, input: NamedWebhook) -> Result<WebhookTest, ApiProblem> {
    let (hooks, hook) = named(&call, &input.name).await?;
    let Some(result) = hooks.test(&hook).await else {
        let detail = format!("the configuration has no webhook {hook} any more");
        return Err(ApiProblem::of(
            StatusCode::NOT_FOUND,
            "no-such-webhook",
            detail,
        ));
    };
    Ok(WebhookTest {
        delivered: result.error.is_none(),
        error: result.error,
        took_ms: i64::try_from(result.took.as_millis()).unwrap_or(i64::MAX),
    })
}

async fn dead_letters(call: ApiCall, input: ListDeadLetters) -> Result<DeadLetterList, ApiProblem> {
    let limit = page_items(input.limit)?;
    let (hooks, hook) = named(&call, &input.name).await?;
    let after = input.after.map(|it| OutboxPosition(it.0));
    let page = hooks.dead_letters(&hook, after, limit).await;
    let page = page.map_err(refused)?;
    Ok(DeadLetterList {
        dead_letters: page.items.into_iter().map(DeadLetterInfo::of).collect(),
        more: page.more,
    })
}

async fn replay(call: ApiCall, input: NamedDeadLetters) -> Result<DeadLetterCount, ApiProblem> {
    let positions = positions(input.positions)?;
    let (hooks, hook) = named(&call, &input.name).await?;
    let moved = hooks.replay(&hook, positions.as_deref()).await;
    moved.map(counted).map_err(refused)
}

async fn drop_letters(
    call: ApiCall,
    input: NamedDeadLetters,
) -> Result<DeadLetterCount, ApiProblem> {
    let positions = positions(input.positions)?;
    let (hooks, hook) = named(&call, &input.name).await?;
    let dropped = hooks.drop_letters(&hook, positions.as_deref()).await;
    dropped.map(counted).map_err(refused)
}

/// Returns the operations of this module.
pub(crate) fn operations() -> Vec<ApiOperation> {
    vec![
        ApiOperation::new(
            Method::GET,
            "/webhooks",
            OperationAccess::Backend(ApiScope::WebhooksRead),
            "listWebhooks",
            "Lists the webhooks with their state.",
            list,
        ),
        ApiOperation::new(
            Method::POST,
            "/webhooks/{name}/test",
            OperationAccess::Backend(ApiScope::WebhooksWrite),
            "testWebhook",
            "Sends a test event to the program of a webhook, and returns its answer.",
            test,
        ),
        ApiOperation::new(
            Method::GET,
            "/webhooks/{name}/dead-letters",
            OperationAccess::Backend(ApiScope::WebhooksRead),
            "listDeadLetters",
            "Lists the events of a webhook that were given up.",
            dead_letters,
        ),
        ApiOperation::new(
            Method::POST,
            "/webhooks/{name}/dead-letters/replay",
            OperationAccess::Backend(ApiScope::WebhooksWrite),
            "replayDeadLetters",
            "Delivers dead letters again, after the events that wait.",
            replay,
        ),
        ApiOperation::new(
            Method::POST,
            "/webhooks/{name}/dead-letters/drop",
            OperationAccess::Backend(ApiScope::WebhooksWrite),
            "dropDeadLetters",
            "Removes dead letters.",
            drop_letters,
        ),
    ]
}
