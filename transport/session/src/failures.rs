//! Failed sign-ins, counted per address, so that tokens cannot be guessed in bulk.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gimlet_core::error::Refusal;
use tokio::time::Instant;

/// What is counted together.
const WINDOW: Duration = Duration::from_mins(1);

/// Addresses at which old ones are forgotten.
const CROWD: usize = 10_000;

/// Failed sign-ins of the last minute.
#[derive(Debug)]
pub(crate) struct Failures {
    most: u32,
    /// A plain mutex: it is held for one map operation and never over a wait.
    counts: Mutex<HashMap<IpAddr, (Instant, u32)>>,
}

impl Failures {
    /// `most` failures in a minute; from then on an address is refused until the minute is over.
    pub(crate) fn new(most: u32) -> Self {
        Self {
            most,
            counts: Mutex::default(),
        }
    }

    /// Whether this address may try. Loopback always may: it is where proxies come from, and then
    /// everybody has one address.
    pub(crate) fn check(&self, address: IpAddr) -> Result<(), Refusal> {
        let counts = self.lock();
        let Some((since, count)) = counts.get(&address) else {
            return Ok(());
        };
        let left = WINDOW.saturating_sub(since.elapsed());
        if *count < self.most || left.is_zero() {
            return Ok(());
        }
        Err(Refusal::RateLimited { retry_after: left })
    }

    /// A sign-in from this address has failed.
    pub(crate) fn note(&self, address: IpAddr) {
        if address.is_loopback() {
            return;
        }
        let mut counts = self.lock();
        if counts.len() >= CROWD && !counts.contains_key(&address) {
            counts.retain(|_, (since, _)| since.elapsed() < WINDOW);
            if counts.len() >= CROWD {
                return;
            }
        }
        let place = counts.entry(address).or_insert((Instant::now(), 0));
        if place.0.elapsed() >= WINDOW {
            *place = (Instant::now(), 0);
        }
        place.1 = place.1.saturating_add(1);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, (Instant, u32)>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_address_is_refused_for_the_rest_of_a_minute() {
        let failures = Failures::new(2);
        let address = IpAddr::from([192, 0, 2, 1]);
        failures.note(address);
        failures.check(address).unwrap();
        failures.note(address);
        let refusal = failures.check(address).unwrap_err();
        assert_eq!(refusal.code(), 8);
        failures.check(IpAddr::from([192, 0, 2, 2])).unwrap();
        tokio::time::advance(WINDOW).await;
        failures.check(address).unwrap();
        failures.note(address);
        failures.check(address).unwrap();
    }

    #[test]
    fn loopback_is_everybody_behind_a_proxy_and_not_counted() {
        let failures = Failures::new(1);
        for address in ["127.0.0.1", "::1"] {
            let address = crate::admission::address(address.parse().unwrap());
            failures.note(address);
            failures.check(address).unwrap();
        }
    }
}
