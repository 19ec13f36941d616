//! Interaction with the operating system: signals that stop or reload, the limit of file
//! descriptors, and the modes of new files.

use std::io::IsTerminal as _;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The exit code after a second signal.
const EXIT_SECOND_SIGNAL: i32 = 1;
/// A signal that follows the first one this closely belongs to the same stop: `timeout`, process
/// groups and service managers send SIGTERM and SIGINT together, or SIGTERM twice. A person is not
/// that fast.
const SAME_STOP_WINDOW: Duration = Duration::from_millis(500);

/// Returns a token that SIGTERM or Ctrl-C cancels; another signal after half a second ends the
/// process at once. SIGHUP calls `reload`, or stops the server if its terminal was closed. Signals
/// are caught from the moment this returns.
pub(crate) fn listen(reload: impl Fn() + Send + 'static) -> CancellationToken {
    let token = CancellationToken::new();
    let cancelled = token.clone();
    let mut signals = SignalStreams::new();
    let terminal = TerminalStreams::now();
    TaskTracker::new().spawn(async move {
        let mut stopping: Option<Instant> = None;
        loop {
            match (signals.next().await, stopping) {
                (ProcessSignal::Stop, None) => {
                    stopping = Some(Instant::now());
                    cancelled.cancel();
                }
                (ProcessSignal::Stop, Some(first)) if first.elapsed() < SAME_STOP_WINDOW => {
                    tracing::debug!("second signal within half a second, ignored");
                }
                (ProcessSignal::Stop, Some(_)) => {
                    crate::banner::complain("stopped at once by a second signal");
                    std::process::exit(EXIT_SECOND_SIGNAL);
                }
                (ProcessSignal::HangUp, None) if terminal.is_gone() => {
                    tracing::info!("terminal closed, stopping");
                    stopping = Some(Instant::now());
                    cancelled.cancel();
                }
                (ProcessSignal::HangUp, None) => reload(),
                (ProcessSignal::HangUp, Some(_)) => {}
            }
        }
    });
    token
}

/// The meaning of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProcessSignal {
    /// SIGTERM or Ctrl-C.
    Stop,
    /// SIGHUP.
    HangUp,
}

/// The standard streams that were a terminal at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TerminalStreams([bool; 3]);

impl TerminalStreams {
    fn now() -> Self {
        Self([
            std::io::stdin().is_terminal(),
            std::io::stdout().is_terminal(),
            std::io::stderr().is_terminal(),
        ])
    }

    /// Returns whether a stream that was a terminal is not one any more: the kernel hangs the
    /// terminal up before it sends the signal.
    fn is_gone(self) -> bool {
        let Self(now) = Self::now();
        self.0
            .into_iter()
            .zip(now)
            .any(|(before, now)| before && !now)
    }
}

/// SIGTERM, Ctrl-C and SIGHUP; a signal whose handler cannot be installed never arrives.
#[cfg(unix)]
struct SignalStreams([Option<tokio::signal::unix::Signal>; 3]);

#[cfg(unix)]
impl SignalStreams {
    fn new() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        let kinds = [
            (SignalKind::terminate(), "SIGTERM"),
            (SignalKind::interrupt(), "SIGINT"),
            (SignalKind::hangup(), "SIGHUP"),
        ];
        Self(kinds.map(|(kind, name)| {
            let installed = signal(kind)
                .inspect_err(|error| tracing::warn!(%error, "cannot install the {name} handler"));
            installed.ok()
        }))
    }

    async fn next(&mut self) -> ProcessSignal {
        let [terminate, interrupt, hang_up] = &mut self.0;
        // Biased: a stop wins over a reload that arrived with it.
        tokio::select! {
            biased;
            Some(()) = receive(terminate) => ProcessSignal::Stop,
            Some(()) = receive(interrupt) => ProcessSignal::Stop,
            Some(()) = receive(hang_up) => ProcessSignal::HangUp,
            else => std::future::pending().await,
        }
    }
}

#[cfg(unix)]
async fn receive(signal: &mut Option<tokio::signal::unix::Signal>) -> Option<()> {
    signal.as_mut()?.recv().await
}

#[cfg(not(unix))]
struct SignalStreams;

#[cfg(not(unix))]
impl SignalStreams {
    const fn new() -> Self {
        Self
    }

    async fn next(&mut self) -> ProcessSignal {
        let _ = tokio::signal::ctrl_c().await;
        ProcessSignal::Stop
    }
}

/// Raises the soft limit of descriptors to the hard one: each connection is one.
pub(crate) fn raise_descriptors() {
    match gimlet_web::descriptors::raise() {
        Ok(limit) => tracing::debug!(limit, "descriptor limit raised"),
        Err(error) => tracing::warn!(%error, "cannot raise the limit of open files"),
    }
}

/// Makes new files private to this user: they contain messages and phone numbers.
pub(crate) fn keep_files_private() {
    #[cfg(unix)]
    let _former = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
}
