//! Permits for exchanges, per host and in all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Hosts in the map at which those without an exchange are removed.
const MAX_IDLE_HOSTS: usize = 1_024;

/// Permits for exchanges.
#[derive(Debug)]
pub(crate) struct HostPermits {
    per_host: usize,
    all: Arc<Semaphore>,
    /// A plain mutex: it is held for a few map operations and never over an await.
    hosts: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// A permit for one exchange.
#[derive(Debug)]
pub(crate) struct ExchangePermit {
    _host: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl HostPermits {
    pub(crate) fn new(per_host: usize, all: usize) -> Self {
        Self {
            per_host: per_host.max(1),
            all: Arc::new(Semaphore::new(all.max(1))),
            hosts: Mutex::default(),
        }
    }

    /// Waits for a permit of this host, then for one of all: exchanges that wait for a slow host
    /// take none of the permits that other hosts need.
    pub(crate) async fn acquire(&self, authority: String) -> ExchangePermit {
        let host = self.host(authority);
        ExchangePermit {
            _host: acquire(host).await,
            _all: acquire(Arc::clone(&self.all)).await,
        }
    }

    fn host(&self, authority: String) -> Arc<Semaphore> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if hosts.len() >= MAX_IDLE_HOSTS && !hosts.contains_key(&authority) {
            // Callers that wait for a permit or have one share the semaphore.
            hosts.retain(|_, permits| Arc::strong_count(permits) > 1);
        }
        let permits = hosts.entry(authority);
        let permits = permits.or_insert_with(|| Arc::new(Semaphore::new(self.per_host)));
        Arc::clone(permits)
    }
}

async fn acquire(permits: Arc<Semaphore>) -> OwnedSemaphorePermit {
    let permit = permits.acquire_owned().await;
    permit.expect("no semaphore of this module is ever closed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn hosts_without_an_exchange_are_forgotten() {
        let permits = HostPermits::new(1, 2);
        let held = permits.acquire("held:443".into()).await;
        for host in 0..3 * MAX_IDLE_HOSTS {
            permits.acquire(format!("{host}:443")).await;
        }
        let hosts = permits.hosts.lock().unwrap();
        assert!(hosts.len() <= MAX_IDLE_HOSTS, "{}", hosts.len());
        assert_eq!(hosts["held:443"].available_permits(), 0);
        drop(held);
    }
}
