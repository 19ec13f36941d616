//! Recent revocations: a sign-in whose token was checked before a revocation must be refused after
//! it.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::id::{DeviceId, UserId};

/// Time that a revocation is kept; longer than a sign-in can take.
const REVOCATION_TTL: Duration = Duration::from_mins(1);

/// The revocations of the last minute.
#[derive(Debug, Default)]
pub(super) struct RecentRevocations(Mutex<VecDeque<(Instant, UserId, Option<DeviceId>)>>);

impl RecentRevocations {
    pub(super) fn note(&self, user: UserId, device: Option<DeviceId>) {
        let now = Instant::now();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while all
            .front()
            .is_some_and(|(at, ..)| *at + REVOCATION_TTL < now)
        {
            all.pop_front();
        }
        all.push_back((now, user, device));
    }

    pub(super) fn since(&self, user: UserId, device: DeviceId, since: Instant) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter()
            .rev()
            .take_while(|(at, ..)| *at >= since)
            .any(|(_, who, on)| *who == user && on.is_none_or(|on| on == device))
    }
}
