//! Waits for what must happen.

#![expect(
    clippy::missing_panics_doc,
    reason = "a failed expectation panics: this is code for tests"
)]

use std::fmt;
use std::future::Future;
use std::time::Duration;

use tokio::time::timeout;

/// Longest wait for anything that must happen.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Waits for something that must happen, with a time limit.
pub async fn soon<T>(what: impl fmt::Display, work: impl Future<Output = T>) -> T {
    let done = timeout(PATIENCE, work).await;
    done.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}
