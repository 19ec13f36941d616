//! The seam to the server's metrics.

use std::fmt::Debug;
use std::time::Duration;

/// Counts answered calls.
pub trait CallCounter: Debug + Send + Sync + 'static {
    /// Counts a call that was answered with `code` (0 is success) after `took`.
    fn answered(&self, service: &str, method: &str, code: i32, took: Duration);
}
