//! Events of hooks, as the writer stores them: in the transaction of the change that they are about.

use gimlet_core::events::{HookEvent, HookName, NewEvent};
use gimlet_core::store::OutboxPosition;

use crate::error::EngineError;
use crate::key;
use crate::rows::SINGLE_ROW;
use crate::seq::IdCounter;
use crate::txn::WriteTransaction;

/// Appends an event to a hook's queue.
pub(crate) fn push(
    txn: &mut WriteTransaction<'_>,
    hook: &HookName,
    event: &HookEvent,
) -> Result<(), EngineError> {
    let mut value = vec![SINGLE_ROW];
    value.append(&mut gimlet_record::encode_event(event));
    push_value(txn, hook, value)
}

/// Appends an event in its stored form, whose first byte is [`SINGLE_ROW`].
pub(crate) fn push_value(
    txn: &mut WriteTransaction<'_>,
    hook: &HookName,
    value: Vec<u8>,
) -> Result<(), EngineError> {
    let position = OutboxPosition(IdCounter::Events.take(txn, 1)?);
    txn.put_value(&key::hook_row(key::EVENTS, hook, position), value)
}

/// Appends events to the queues of their hooks.
pub(crate) fn put(txn: &mut WriteTransaction<'_>, events: &[NewEvent]) -> Result<(), EngineError> {
    for new in events {
        for target in new.hooks.targets() {
            push(txn, &target.name, &new.event)?;
        }
    }
    Ok(())
}
