//! What the operating system says and gives: signals to stop, and descriptors for connections.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The exit code after a second signal.
const IMPATIENT: i32 = 1;

/// A token that SIGTERM or Ctrl-C cancels; a second signal ends the process at once. Both are heard
/// from the moment this returns.
pub(crate) fn shutdown() -> CancellationToken {
    let token = CancellationToken::new();
    let cancelled = token.clone();
    let mut signals = Signals::new();
    TaskTracker::new().spawn(async move {
        signals.next().await;
        cancelled.cancel();
        signals.next().await;
        crate::hello::complain("stopped at once by a second signal");
        std::process::exit(IMPATIENT);
    });
    token
}

/// SIGTERM and Ctrl-C; nothing of a kind that cannot be heard.
#[cfg(unix)]
struct Signals([Option<tokio::signal::unix::Signal>; 2]);

#[cfg(unix)]
impl Signals {
    fn new() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        let kinds = [
            (SignalKind::terminate(), "SIGTERM"),
            (SignalKind::interrupt(), "SIGINT"),
        ];
        Self(kinds.map(|(kind, name)| {
            let heard = signal(kind);
            heard
                .inspect_err(|error| tracing::warn!(%error, "{name} cannot be heard"))
                .ok()
        }))
    }

    async fn next(&mut self) {
        let [terminate, interrupt] = &mut self.0;
        tokio::select! {
            Some(()) = recv(terminate) => {}
            Some(()) = recv(interrupt) => {}
            else => std::future::pending().await,
        }
    }
}

#[cfg(unix)]
async fn recv(signal: &mut Option<tokio::signal::unix::Signal>) -> Option<()> {
    signal.as_mut()?.recv().await
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    const fn new() -> Self {
        Self
    }

    async fn next(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}

/// Raises the soft limit of descriptors to the hard one: each connection is one.
pub(crate) fn raise_descriptors() {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => tracing::debug!(limit, "descriptors"),
        Err(error) => tracing::warn!(%error, "the limit of descriptors stays as it is"),
    }
}
