//! Connection limits: a number of connections for the node and a number for each client address.
//!
//! Shared by the accept loops of all wires through one [`ConnectionLimiter`]. It only counts; the
//! caller turns the client away.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gimlet_core::auth::client_address;

/// The connection permits of this node.
pub struct ConnectionLimiter {
    free: AtomicUsize,
    per_address: usize,
    refused: AtomicU64,
    /// A plain mutex: it is held for one map operation and never over an await.
    addresses: Mutex<HashMap<IpAddr, usize>>,
}

impl ConnectionLimiter {
    /// Creates `connections` permits, `per_address` of them for one [client
    /// address](client_address).
    #[must_use]
    pub fn new(connections: usize, per_address: usize) -> Arc<Self> {
        Arc::new(Self {
            free: AtomicUsize::new(connections),
            per_address,
            refused: AtomicU64::new(0),
            addresses: Mutex::new(HashMap::new()),
        })
    }

    /// Takes a permit, or returns the limit that is reached.
    pub fn enter(self: &Arc<Self>, addr: SocketAddr) -> Result<ConnectionPermit, LimitReached> {
        let mut permit = self.enter_uncounted()?;
        permit.count_for(addr.ip())?;
        Ok(permit)
    }

    /// Takes a permit for a connection whose client is not known yet, as a trusted proxy makes it;
    /// [`ConnectionPermit::count_for`] counts it when the proxy has named the client.
    pub fn enter_uncounted(self: &Arc<Self>) -> Result<ConnectionPermit, LimitReached> {
        let (free, one_less) = (&self.free, |free: usize| free.checked_sub(1));
        if (free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)).is_err() {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(LimitReached::Node);
        }
        Ok(ConnectionPermit {
            admission: Arc::clone(self),
            address: None,
        })
    }

    /// Returns the number of connections turned away so far.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<IpAddr, usize>> {
        // A panic while counting cannot leave the map half-changed, so poisoning is ignored.
        self.addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self, address: IpAddr) {
        let mut addresses = self.lock();
        if let Some(taken) = addresses.get_mut(&address) {
            *taken -= 1;
            if *taken == 0 {
                addresses.remove(&address);
            }
        }
    }
}

impl fmt::Debug for ConnectionLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionLimiter")
            .field("free", &self.free.load(Ordering::Relaxed))
            .field("per_address", &self.per_address)
            .finish_non_exhaustive()
    }
}

/// The limit that is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitReached {
    /// The node is at its connection limit.
    Node,
    /// The client's address is at its connection limit.
    Address,
}

/// A permit for one connection, given back on drop.
#[derive(Debug)]
pub struct ConnectionPermit {
    admission: Arc<ConnectionLimiter>,
    /// The address that it is counted for.
    address: Option<IpAddr>,
}

impl ConnectionPermit {
    /// Returns whether the connection is counted for an address.
    pub(crate) const fn is_counted(&self) -> bool {
        self.address.is_some()
    }

    /// Counts the connection for this client instead of the one before.
    pub fn count_for(&mut self, ip: IpAddr) -> Result<(), LimitReached> {
        if let Some(former) = self.address.take() {
            self.admission.leave(former);
        }
        let Some(address) = client_address(ip) else {
            return Ok(());
        };
        let mut addresses = self.admission.lock();
        let taken = addresses.entry(address).or_insert(0);
        if *taken >= self.admission.per_address {
            self.admission.refused.fetch_add(1, Ordering::Relaxed);
            return Err(LimitReached::Address);
        }
        *taken += 1;
        drop(addresses);
        self.address = Some(address);
        Ok(())
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        if let Some(address) = self.address {
            self.admission.leave(address);
        }
        self.admission.free.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(addr: &str) -> SocketAddr {
        addr.parse().unwrap()
    }

    #[test]
    fn a_node_has_so_many_places_and_they_come_back() {
        let admission = ConnectionLimiter::new(2, 10);
        let first = admission.enter(at("127.0.0.1:1")).unwrap();
        let _second = admission.enter(at("127.0.0.1:2")).unwrap();
        assert_eq!(
            admission.enter(at("127.0.0.1:3")).unwrap_err(),
            LimitReached::Node
        );
        assert_eq!(admission.refused(), 1);
        drop(first);
        admission.enter(at("127.0.0.1:3")).unwrap();
    }

    #[test]
    fn an_address_has_so_many_and_loopback_is_exempt() {
        let admission = ConnectionLimiter::new(100, 1);
        let first = admission.enter(at("192.0.2.1:1")).unwrap();
        assert_eq!(
            admission.enter(at("192.0.2.1:2")).unwrap_err(),
            LimitReached::Address
        );
        let _other = admission.enter(at("192.0.2.2:1")).unwrap();
        let _a = admission.enter(at("127.0.0.1:1")).unwrap();
        let _b = admission.enter(at("127.0.0.1:2")).unwrap();
        drop(first);
        admission.enter(at("192.0.2.1:2")).unwrap();
    }

    #[test]
    fn what_a_proxy_connects_is_counted_for_the_client() {
        let admission = ConnectionLimiter::new(3, 1);
        let ip = |text: &str| at(text).ip();
        let mut first = admission.enter_uncounted().unwrap();
        let mut second = admission.enter_uncounted().unwrap();
        first.count_for(ip("192.0.2.1:1")).unwrap();
        assert_eq!(
            second.count_for(ip("192.0.2.1:2")),
            Err(LimitReached::Address)
        );
        drop(first);
        second.count_for(ip("192.0.2.1:2")).unwrap();
        second.count_for(ip("192.0.2.2:2")).unwrap();
        admission.enter(at("192.0.2.1:3")).unwrap();
        drop(second);
        assert!(admission.lock().is_empty());
    }

    #[test]
    fn an_ipv6_customer_is_one_address() {
        let admission = ConnectionLimiter::new(100, 1);
        let _first = admission.enter(at("[2001:db8::1]:1")).unwrap();
        assert_eq!(
            admission.enter(at("[2001:db8::2]:1")).unwrap_err(),
            LimitReached::Address
        );
        admission.enter(at("[2001:db8:0:1::1]:1")).unwrap();
    }
}
