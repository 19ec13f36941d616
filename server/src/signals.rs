//! What the operating system says and gives: signals to stop, and descriptors for connections.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The exit code after a second signal.
const IMPATIENT: i32 = 1;

/// A token that SIGTERM or Ctrl-C cancels; a second signal ends the process at once.
pub(crate) fn shutdown() -> CancellationToken {
    let token = CancellationToken::new();
    let cancelled = token.clone();
    TaskTracker::new().spawn(async move {
        signal().await;
        cancelled.cancel();
        signal().await;
        crate::hello::complain("stopped at once by a second signal");
        std::process::exit(IMPATIENT);
    });
    token
}

#[cfg(unix)]
async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        },
        Err(error) => {
            tracing::warn!(%error, "SIGTERM cannot be heard");
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}

#[cfg(not(unix))]
async fn signal() {
    let _ = tokio::signal::ctrl_c().await;
}

/// Raises the soft limit of descriptors to the hard one: each connection is one.
pub(crate) fn raise_descriptors() {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => tracing::debug!(limit, "descriptors"),
        Err(error) => tracing::warn!(%error, "the limit of descriptors stays as it is"),
    }
}
