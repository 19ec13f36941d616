//! Notices that this process stood still (it was stopped, or its machine was), and lets nothing be
//! served until it is known which devices signed in elsewhere meanwhile (laws 6 and 7).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::{Inner, routes};

/// How often the process shows itself that it runs.
const BEAT: Duration = Duration::from_millis(200);
/// A silence longer than this was a pause. Others may have given this node up meanwhile.
const PAUSE: Duration = Duration::from_secs(2);
/// How long serving waits for the routes after a pause; shorter than a pause, so that a slow store
/// is not taken for the next one.
const CHECK: Duration = Duration::from_millis(1_500);

#[derive(Debug)]
pub(super) struct Pulse {
    start: Instant,
    /// The last beat, in milliseconds since the start.
    beat: AtomicU64,
    /// A pause was noticed and the routes are being compared.
    shut: AtomicBool,
    opened: Notify,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            beat: AtomicU64::new(0),
            shut: AtomicBool::new(false),
            opened: Notify::new(),
        }
    }

    /// Whether what this node believes of its connections is recent enough to serve them.
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        !self.shut.load(Ordering::Acquire) && self.silence(now) <= PAUSE
    }

    /// Waits until it is.
    pub(super) async fn fresh(&self) {
        while !self.is_fresh(Instant::now()) {
            let opened = self.opened.notified();
            if self.is_fresh(Instant::now()) {
                return;
            }
            // The beat itself may come back without a pause having been noticed.
            let _ = timeout(BEAT, opened).await;
        }
    }

    fn silence(&self, now: Instant) -> Duration {
        let beat = Duration::from_millis(self.beat.load(Ordering::Acquire));
        now.saturating_duration_since(self.start)
            .saturating_sub(beat)
    }

    fn strike(&self) {
        let since = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.beat.store(since, Ordering::Release);
    }
}

/// Beats; after a pause it compares all routes and heads before anything is served again.
pub(super) async fn run(inner: &Inner) {
    let pulse = &inner.pulse;
    loop {
        tokio::select! {
            biased;
            () = inner.token.cancelled() => break,
            () = tokio::time::sleep(BEAT) => {}
        }
        let silence = pulse.silence(Instant::now());
        if silence <= PAUSE {
            pulse.strike();
            continue;
        }
        let silent_ms = u64::try_from(silence.as_millis()).unwrap_or(u64::MAX);
        crate::warn_rated!(silent_ms, "process was paused, checking its connections");
        pulse.shut.store(true, Ordering::Release);
        pulse.strike();
        if timeout(CHECK, routes::refresh(inner)).await.is_err() {
            crate::warn_rated!("not all routes could be compared in time; the rest follows");
            inner.routes.doubt();
        }
        pulse.strike();
        pulse.shut.store(false, Ordering::Release);
        pulse.opened.notify_waiters();
        inner.hub.each_open(|handle| handle.wake());
    }
    // Nobody beats any more: what still drains is served as it is.
    pulse.beat.store(u64::MAX, Ordering::Release);
}
