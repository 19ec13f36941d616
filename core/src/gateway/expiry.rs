//! Ends connections whose token has expired.
//!
//! Each connection stores the expiry of its token in four bytes: seconds since the gateway started,
//! by the monotonic clock. One task sleeps until the earliest expiry; a sign-in with an earlier one
//! wakes it. There is no timer per connection.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::context::GatewayContext;

/// Pause between two rounds, so that connections that expire close together are closed together.
const EXPIRY_ROUND_PAUSE: Duration = Duration::from_secs(1);

/// The expiry of tokens.
#[derive(Debug)]
pub(super) struct TokenExpiry {
    began: Instant,
    /// The earliest expiry; 0 if no token expires.
    next: AtomicU32,
    earlier: Notify,
}

impl TokenExpiry {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            next: AtomicU32::new(0),
            earlier: Notify::new(),
        }
    }

    fn seconds(&self, at: Instant) -> u32 {
        let since = at.saturating_duration_since(self.began).as_secs();
        u32::try_from(since).unwrap_or(u32::MAX)
    }

    /// Returns the second at which a token with this much time left has expired; 0 for a token that
    /// does not expire.
    pub(super) fn at(&self, left: Option<Duration>) -> u32 {
        let Some(at) = left.and_then(|left| Instant::now().checked_add(left)) else {
            return 0;
        };
        // Rounded up, so that no connection is closed too early.
        self.seconds(at).saturating_add(1)
    }

    /// Records the expiry of a connection. Must be called after the connection is in the hub.
    pub(super) fn note(&self, expires: u32) {
        if expires == 0 {
            return;
        }
        let earlier = |next: u32| (next == 0 || expires < next).then_some(expires);
        let noted = self
            .next
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, earlier);
        if noted.is_ok() {
            self.earlier.notify_one();
        }
    }
}

/// Closes connections whose token has expired, until the gateway stops.
pub(super) async fn run(expiry: &TokenExpiry, context: &GatewayContext) {
    loop {
        let next = expiry.next.load(Ordering::Acquire);
        let due = async {
            match next {
                0 => std::future::pending().await,
                at => sleep_until(expiry.began + Duration::from_secs(at.into())).await,
            }
        };
        tokio::select! {
            biased;
            () = context.token.cancelled() => return,
            () = expiry.earlier.notified() => continue,
            () = due => {}
        }
        // Cleared before the connections are examined: one that signs in meanwhile records itself
        // again.
        expiry.next.store(0, Ordering::Release);
        let next = context.hub.close_expired(expiry.seconds(Instant::now()));
        expiry.note(next);
        tokio::time::sleep(EXPIRY_ROUND_PAUSE).await;
    }
}
