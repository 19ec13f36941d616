//! Events of hooks, as they are written: last in the transaction of their change.
//!
//! The order of one receiver's events depends on this. The change holds a lock of its receiver (the
//! head of an inbox, the row of a group) when the INSERT takes the positions, and keeps it until the
//! COMMIT. A later change of the same receiver waits for that lock, so it takes larger positions,
//! and takes them after the earlier events were committed.

use gimlet_core::events::{HookEvent, HookName, NewEvent};
use gimlet_core::store::AppendRequest;
use gimlet_core::time::UnixTimestamp;

use super::chunks;
use super::session::MysqlSession;
use crate::error::EngineError;

/// An event to be stored for a hook.
#[derive(Clone, Debug)]
pub(super) struct EventRow {
    pub(super) hook: HookName,
    pub(super) created_at: UnixTimestamp,
    pub(super) record: Vec<u8>,
}

impl EventRow {
    fn new(hook: &HookName, event: &HookEvent) -> Self {
        Self {
            hook: hook.clone(),
            created_at: event.at,
            record: gimlet_record::encode_event(event),
        }
    }

    /// Returns the rows of sends that are stored.
    pub(super) fn of_sends<'a>(
        sends: impl Iterator<Item = &'a AppendRequest>,
        now: UnixTimestamp,
    ) -> Vec<Self> {
        let rows = sends.flat_map(|send| {
            let targets = send.hooks.targets().iter();
            targets.map(move |target| Self::new(&target.name, &send.event(target, now)))
        });
        rows.collect()
    }

    /// Returns the rows of events.
    pub(super) fn of_events(events: &[NewEvent]) -> Vec<Self> {
        let rows = events.iter().flat_map(|new| {
            let targets = new.hooks.targets().iter();
            targets.map(|target| Self::new(&target.name, &new.event))
        });
        rows.collect()
    }
}

/// Stores events of a change, whose locks must be held.
pub(super) async fn put_events(
    session: &mut MysqlSession,
    events: &[NewEvent],
) -> Result<(), EngineError> {
    put_rows(session, &EventRow::of_events(events)).await
}

/// Stores rows in their order: one statement takes consecutive positions, and of two statements the
/// later one takes larger positions.
pub(super) async fn put_rows(
    session: &mut MysqlSession,
    rows: &[EventRow],
) -> Result<(), EngineError> {
    let weight = |at: usize| rows.get(at).map_or(0, |row| row.record.len() + 96);
    for chunk in chunks::unpadded_chunks(rows.len(), session.packet, weight) {
        let mut insert = sqlx::query(chunks::text(
            "INSERT INTO event_outbox (hook, created_at, record) VALUES ",
            "(?, ?, ?)",
            chunk.size(),
            "",
        ));
        for (at, _) in chunk.rows() {
            let row = rows.get(at).expect("an index of these rows");
            insert = insert
                .bind(row.hook.as_str())
                .bind(row.created_at.0)
                .bind(row.record.as_slice());
        }
        session.run(insert).await?;
    }
    Ok(())
}
