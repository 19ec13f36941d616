//! Delays between retries, and the end of retrying.

use std::time::Duration;

use rand::RngExt;
use tokio::time::{Instant, sleep};

/// Attempts in all; conflicts between transactions are resolved long before.
const MAX_ATTEMPTS: u32 = 8;

/// Base of the delay: the first delay is at most twice this, and the bound doubles with each
/// attempt.
const BASE_DELAY: Duration = Duration::from_millis(4);

/// Exponential backoff with random delays, so that two transactions that collided do not collide
/// again.
#[derive(Debug, Default)]
pub(crate) struct RetryBackoff {
    tries: u32,
}

impl RetryBackoff {
    /// Waits for the next attempt. Returns `false` at once if no attempt or no time is left.
    pub(crate) async fn wait(&mut self, deadline: Instant) -> bool {
        self.tries += 1;
        if self.tries >= MAX_ATTEMPTS {
            return false;
        }
        let longest = BASE_DELAY * (1 << self.tries);
        let pause = longest.mul_f64(rand::rng().random_range(0.2..1.0));
        if Instant::now() + pause >= deadline {
            return false;
        }
        sleep(pause).await;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_gives_up() {
        let mut backoff = RetryBackoff::default();
        let far = Instant::now() + Duration::from_hours(1);
        let mut tries = 1;
        while backoff.wait(far).await {
            tries += 1;
        }
        assert_eq!(tries, MAX_ATTEMPTS);
        assert!(!RetryBackoff::default().wait(Instant::now()).await);
    }
}
