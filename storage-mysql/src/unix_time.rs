//! This machine's clock in milliseconds, to compare a server's clock with.

use gimlet_core::time::{SystemClock, TimeSource as _};

/// Returns the milliseconds since 1970 by this machine's clock.
pub(crate) fn now_ms() -> i64 {
    SystemClock.now().0
}
