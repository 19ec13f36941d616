//! Limits how fast new devices are registered: a registration needs no sign-in, and a device is
//! kept forever.

use std::net::{IpAddr, SocketAddr};

use crate::auth::client_address;
use crate::error::RequestRefusal;
use crate::rate::RateLimiter;

/// Registrations at once, as a multiple of those per second.
const BURST_SECONDS: u32 = 10;
/// Clients behind a proxy on this machine share one rate: this many times the rate of one address.
const SHARED_FACTOR: u32 = 10;

/// Counts registrations of each address, and of all clients without an address of their own.
#[derive(Debug)]
pub(super) struct RegistrationLimits {
    /// `None` if there is no limit.
    by_address: Option<RateLimiter<IpAddr>>,
    /// For loopback; `None` in a development run, where loopback is the developer.
    shared: Option<RateLimiter<()>>,
}

impl RegistrationLimits {
    /// Allows `per_second` registrations from each address; 0 means no limit.
    pub(super) fn new(per_second: u32, development: bool) -> Self {
        let shared = per_second.saturating_mul(SHARED_FACTOR);
        let is_limited = per_second > 0;
        Self {
            by_address: is_limited.then(|| rate(per_second)),
            shared: (is_limited && !development).then(|| rate(shared)),
        }
    }

    /// Counts one registration.
    ///
    /// # Errors
    /// [`RequestRefusal::RateLimited`] with the time to wait.
    pub(super) fn take(&self, from: Option<SocketAddr>) -> Result<(), RequestRefusal> {
        let taken = match from.and_then(|from| client_address(from.ip())) {
            Some(address) => self.by_address.as_ref().map(|rate| rate.take(address)),
            None => self.shared.as_ref().map(|rate| rate.take(())),
        };
        taken
            .unwrap_or(Ok(()))
            .map_err(|retry_after| RequestRefusal::RateLimited { retry_after })
    }
}

fn rate<K: Eq + std::hash::Hash>(per_second: u32) -> RateLimiter<K> {
    RateLimiter::per_second(per_second, per_second.saturating_mul(BURST_SECONDS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_refusal(limit: &RegistrationLimits, from: &str, max: u32) -> Option<RequestRefusal> {
        let from = Some(from.parse().unwrap());
        (0..=max).find_map(|_| limit.take(from).err())
    }

    #[test]
    fn each_address_has_a_rate_of_its_own() {
        let limit = RegistrationLimits::new(20, true);
        let refused = first_refusal(&limit, "192.0.2.1:1", 200);
        assert!(matches!(refused, Some(RequestRefusal::RateLimited { .. })));
        assert_eq!(first_refusal(&limit, "192.0.2.2:1", 100), None);
        assert_eq!(first_refusal(&limit, "127.0.0.1:1", 10_000), None);
    }

    #[test]
    fn loopback_is_limited_unless_it_is_the_developer() {
        let limit = RegistrationLimits::new(20, false);
        let refused = first_refusal(&limit, "127.0.0.1:1", 4_000);
        assert!(matches!(refused, Some(RequestRefusal::RateLimited { .. })));
    }

    #[test]
    fn zero_means_no_limit() {
        let limit = RegistrationLimits::new(0, false);
        assert_eq!(first_refusal(&limit, "127.0.0.1:1", 10_000), None);
        assert_eq!(first_refusal(&limit, "192.0.2.1:1", 10_000), None);
    }
}
