//! Ends connections whose token has expired.
//!
//! A connection knows in four bytes when its token expires: in seconds since the gateway began, by the
//! monotonic clock. One task sleeps until the first of them; a sign-in with an earlier one wakes it.
//! Nothing is kept or polled for a connection.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::Inner;

/// Connections that expire close together are closed together.
const APART: Duration = Duration::from_secs(1);

/// When tokens expire.
#[derive(Debug)]
pub(super) struct Expiry {
    began: Instant,
    /// The earliest expiry; 0 if there is none.
    next: AtomicU32,
    earlier: Notify,
}

impl Expiry {
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

    /// Returns the second at which a token that is good for so long has expired.
    pub(super) fn at(&self, left: Option<Duration>) -> u32 {
        let Some(at) = left.and_then(|left| Instant::now().checked_add(left)) else {
            return 0;
        };
        // Rounded up: nobody is closed before its time.
        self.seconds(at).saturating_add(1)
    }

    /// Notes a connection that expires then; called after it is in the hub.
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

/// Closes what expires, until the gateway ends.
pub(super) async fn run(inner: &Inner) {
    let expiry = &inner.expiry;
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
            () = inner.token.cancelled() => return,
            () = expiry.earlier.notified() => continue,
            () = due => {}
        }
        // Cleared before it is looked: what signs in meanwhile notes itself again.
        expiry.next.store(0, Ordering::Release);
        let next = inner.hub.close_expired(expiry.seconds(Instant::now()));
        expiry.note(next);
        tokio::time::sleep(APART).await;
    }
}
