//! Reads the next events of a hook that may be delivered.

use tokio::time::Instant;

use crate::events::{EventBody, HookEvent, HookName};
use crate::hook_delivery::blocked::{BlockedReceivers, RowTreatment};
use crate::page::PageLimit;
use crate::store::{OutboxPosition, OutboxRow, OutboxStore, StoreError};

/// Content bytes of one batch; the event that passes them is its last.
const MAX_BATCH_BYTES: usize = 1 << 20;
/// Recipients of the messages of one batch, for `message.offline`; the event that passes them is its
/// last.
const MAX_BATCH_RECIPIENTS: usize = 20_000;
/// Largest number of reads of the store for one batch. What they leave is read for the next one.
const MAX_READS: usize = 16;

/// Events that are delivered together.
#[derive(Debug, Default)]
pub(super) struct EventBatch {
    /// The events, in their order; each has an event.
    pub(super) rows: Vec<OutboxRow>,
    /// Set if this is one event that failed before.
    pub(super) is_trial: bool,
}

impl EventBatch {
    /// Returns the events.
    pub(super) fn events(&self) -> Vec<&HookEvent> {
        self.rows
            .iter()
            .filter_map(|row| row.event.as_ref())
            .collect()
    }

    /// Returns the positions of the events.
    pub(super) fn positions(&self) -> Vec<OutboxPosition> {
        self.rows.iter().map(|row| row.position).collect()
    }
}

/// Result of reading the outbox.
#[derive(Debug, Default)]
pub(super) struct ReadEvents {
    /// The next batch; it may be empty.
    pub(super) batch: EventBatch,
    /// Positions of records that cannot be read.
    pub(super) unreadable: Vec<OutboxPosition>,
}

/// Reads the next batch of at most `items` events. Events that must wait are noted in `blocked`.
pub(super) async fn read_batch(
    outbox: &dyn OutboxStore,
    hook: &HookName,
    blocked: &mut BlockedReceivers,
    items: usize,
    now: Instant,
) -> Result<ReadEvents, StoreError> {
    let mut read = ReadEvents::default();
    let has_due = blocked.release_due(now);
    let (mut bytes, mut recipients) = (0_usize, 0_usize);
    for _ in 0..MAX_READS {
        let mut known = blocked.known();
        known.extend(read.batch.positions());
        known.extend(&read.unreadable);
        known.sort_unstable();
        let limit = PageLimit {
            items: items - read.batch.rows.len(),
            bytes: MAX_BATCH_BYTES - bytes.min(MAX_BATCH_BYTES - 1),
        };
        let page = outbox.read(hook, &known, limit).await?;
        if page.items.is_empty() {
            if has_due && read.batch.rows.is_empty() {
                blocked.forget_due(now);
            }
            return Ok(read);
        }
        for row in page.items {
            let Some(event) = &row.event else {
                read.unreadable.push(row.position);
                continue;
            };
            let receiver = event.body.receiver();
            match blocked.treatment(receiver, now) {
                RowTreatment::Hold if blocked.is_full() => return Ok(read),
                RowTreatment::Hold => blocked.hold(receiver, row.position),
                RowTreatment::Try if read.batch.rows.is_empty() => {
                    read.batch.rows.push(row);
                    read.batch.is_trial = true;
                    return Ok(read);
                }
                // It is the first event of the next batch.
                RowTreatment::Try => return Ok(read),
                RowTreatment::Deliver => {
                    let (content, users) = weight(event);
                    bytes = bytes.saturating_add(content);
                    recipients = recipients.saturating_add(users);
                    read.batch.rows.push(row);
                }
            }
            let is_complete = read.batch.rows.len() >= items
                || bytes >= MAX_BATCH_BYTES
                || recipients >= MAX_BATCH_RECIPIENTS;
            if is_complete {
                return Ok(read);
            }
        }
    }
    Ok(read)
}

/// Returns the content bytes of an event, and the number of its recipients.
fn weight(event: &HookEvent) -> (usize, usize) {
    match &event.body {
        EventBody::Message {
            message,
            recipients,
        } => (message.content.len(), recipients.len()),
        EventBody::RoomMessage { message, .. } => (message.content.len(), 0),
        _ => (0, 0),
    }
}
