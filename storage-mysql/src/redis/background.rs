//! The tasks that run beside the stores of one Redis, and their end.

use tokio_util::sync::DropGuard;
use tokio_util::task::TaskTracker;

/// Background tasks of one Redis. They are cancelled when this value is dropped, together with the
/// store that owns it.
#[derive(Debug)]
pub(super) struct BackgroundTasks {
    pub(super) tasks: TaskTracker,
    /// Cancels the tasks on drop. Never read.
    pub(super) _stop: DropGuard,
}
