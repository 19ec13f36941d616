//! Pauses of hosts that failed, so that the sends to other hosts do not wait for their timeouts.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Pause after a failure without a wanted one.
const PAUSE: Duration = Duration::from_secs(15);
/// Longest pause that a host can ask for.
const MAX_PAUSE: Duration = Duration::from_mins(10);
/// Largest number of hosts that are kept; more of them get no pause.
const MAX_HOSTS: usize = 256;

/// The hosts that failed a moment ago.
#[derive(Debug, Default)]
pub(crate) struct HostPauses {
    /// A plain mutex: it is held for a map operation and never over an await.
    hosts: Mutex<HashMap<String, HostPause>>,
}

#[derive(Debug)]
struct HostPause {
    until: Instant,
    reason: String,
}

impl HostPauses {
    /// Returns the reason that nothing is sent to this host now.
    pub(crate) fn reason(&self, origin: &str) -> Option<String> {
        let mut hosts = self.lock();
        let pause = hosts.get(origin)?;
        if pause.until > Instant::now() {
            return Some(pause.reason.clone());
        }
        hosts.remove(origin);
        None
    }

    /// Begins a pause.
    pub(crate) fn pause(&self, origin: String, reason: &str, wanted: Option<Duration>) {
        let mut hosts = self.lock();
        let now = Instant::now();
        if hosts.len() >= MAX_HOSTS {
            hosts.retain(|_, pause| pause.until > now);
        }
        if hosts.len() >= MAX_HOSTS {
            return;
        }
        let until = now + wanted.unwrap_or(PAUSE).clamp(PAUSE, MAX_PAUSE);
        let reason = reason.to_owned();
        hosts.insert(origin, HostPause { until, reason });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, HostPause>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_host_is_left_alone_for_its_pause_only() {
        let pauses = HostPauses::default();
        pauses.pause("https://a".into(), "busy", Some(Duration::from_mins(2)));
        assert_eq!(pauses.reason("https://a").as_deref(), Some("busy"));
        assert_eq!(pauses.reason("https://b"), None);
        tokio::time::advance(Duration::from_mins(2)).await;
        assert_eq!(pauses.reason("https://a"), None);
        pauses.pause("https://a".into(), "busy", Some(Duration::from_hours(48)));
        tokio::time::advance(MAX_PAUSE).await;
        assert_eq!(pauses.reason("https://a"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_hosts_is_bounded() {
        let pauses = HostPauses::default();
        for host in 0..3 * MAX_HOSTS {
            pauses.pause(format!("https://{host}"), "busy", None);
        }
        assert!(pauses.lock().len() <= MAX_HOSTS);
    }
}
