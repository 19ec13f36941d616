//! Background tasks of one opened Redis.

use tokio_util::sync::DropGuard;
use tokio_util::task::TaskTracker;

/// Background tasks of one opened Redis; they end with the last owner.
#[derive(Debug)]
pub(super) struct BackgroundTasks {
    pub(super) tasks: TaskTracker,
    pub(super) _stop: DropGuard,
}
