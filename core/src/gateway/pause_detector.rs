//! Pause detector: notices that this process or its machine was stopped, and serves nothing until
//! the node knows which devices signed in elsewhere meanwhile (laws 6 and 7).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::context::GatewayContext;
use super::heads::HeadComparisons;
use super::routes::{self, RouteRegistration};
use crate::peer::TAKEOVER_TIMEOUT;

/// Interval between two ticks.
const TICK_INTERVAL: Duration = Duration::from_millis(200);
/// Gap between two ticks above which the process counts as paused. Other nodes may have taken over
/// its devices meanwhile.
const PAUSE_THRESHOLD: Duration = Duration::from_secs(2);
// A sign-in elsewhere waits this long for the acknowledgement of this node. After a longer pause
// this node finds itself paused and serves nothing; after a shorter one it has acknowledged.
// Without the margin of one tick there would be pauses for which neither holds.
const _: () = assert!(
    PAUSE_THRESHOLD.as_millis() + TICK_INTERVAL.as_millis() < TAKEOVER_TIMEOUT.as_millis(),
    "a takeover must wait longer than a pause that is not noticed"
);

/// Longest time that connections stay fenced while their routes are compared. Shorter than
/// `PAUSE_THRESHOLD`, so that a slow store is not taken for another pause.
const ROUTE_CHECK_TIMEOUT: Duration = Duration::from_millis(1_500);

#[derive(Debug)]
pub(super) struct PauseDetector {
    start: Instant,
    /// Time of the last tick, in milliseconds since the start.
    last_tick_ms: AtomicU64,
    /// Set after a pause while the routes are compared: connections are fenced.
    fenced: AtomicBool,
    opened: Notify,
}

impl PauseDetector {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            last_tick_ms: AtomicU64::new(0),
            fenced: AtomicBool::new(false),
            opened: Notify::new(),
        }
    }

    /// Returns whether the node's knowledge of its connections is recent enough to serve them.
    pub(super) fn is_current(&self, now: Instant) -> bool {
        !self.fenced.load(Ordering::Acquire) && self.silence(now) <= PAUSE_THRESHOLD
    }

    /// Waits until connections may be served.
    pub(super) async fn wait_until_current(&self) {
        while !self.is_current(Instant::now()) {
            // Registered before the second check, so that the end of a pause between the two is not
            // missed.
            let opened = self.opened.notified();
            if self.is_current(Instant::now()) {
                return;
            }
            // With a timeout, because a late tick makes the state current again without notifying.
            let _ = timeout(TICK_INTERVAL, opened).await;
        }
    }

    fn silence(&self, now: Instant) -> Duration {
        let beat = Duration::from_millis(self.last_tick_ms.load(Ordering::Acquire));
        now.saturating_duration_since(self.start)
            .saturating_sub(beat)
    }

    fn tick(&self) {
        let since = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_tick_ms.store(since, Ordering::Release);
    }
}

/// Ticks. After a pause, compares all routes and heads before anything is served.
///
/// The order matters: fence, compare, lift the fence, wake the connections. A connection that is
/// woken earlier would find itself fenced and wait on.
pub(super) async fn run(
    detector: &PauseDetector,
    routes: &RouteRegistration,
    heads: &HeadComparisons,
    context: &GatewayContext,
) {
    loop {
        tokio::select! {
            biased;
            () = context.token.cancelled() => break,
            () = tokio::time::sleep(TICK_INTERVAL) => {}
        }
        let silence = detector.silence(Instant::now());
        if silence <= PAUSE_THRESHOLD {
            detector.tick();
            continue;
        }
        let silent_ms = u64::try_from(silence.as_millis()).unwrap_or(u64::MAX);
        crate::warn_rated!(silent_ms, "process paused, verifying connection leases");
        detector.fenced.store(true, Ordering::Release);
        // A tick before and after the comparison, so that the comparison itself does not count as a
        // pause.
        detector.tick();
        if timeout(ROUTE_CHECK_TIMEOUT, routes::refresh(routes, heads, context))
            .await
            .is_err()
        {
            crate::warn_rated!("routes not fully compared after a pause, retrying");
            routes.request_registration();
        }
        detector.tick();
        detector.fenced.store(false, Ordering::Release);
        detector.opened.notify_waiters();
        context.hub.each_open(|handle| handle.wake());
    }
    // No tick follows. The connections that still drain are served without a check.
    detector.last_tick_ms.store(u64::MAX, Ordering::Release);
}
