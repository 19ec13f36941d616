//! The scenarios, by topic.

mod bad_input;
mod friends;
mod group;
mod group_removal;
mod idempotency;
mod lagging;
mod limits;
mod multi_device;
mod old_clients;
mod reconnect;
mod revocation;
mod room;
mod send;
mod shutdown;
mod sync_offline;
mod takeover;

use crate::ScenarioCase;

/// Returns all scenarios.
pub(crate) fn all() -> Vec<ScenarioCase> {
    [
        bad_input::all(),
        friends::all(),
        group::all(),
        group_removal::all(),
        idempotency::all(),
        lagging::all(),
        limits::all(),
        multi_device::all(),
        old_clients::all(),
        reconnect::all(),
        revocation::all(),
        room::all(),
        send::all(),
        shutdown::all(),
        sync_offline::all(),
        takeover::all(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
