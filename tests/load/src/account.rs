//! Creates the users of a run, each with a device and a token. Every scenario begins with this.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use gimlet_client::{ApiClient, ApiError};
use tokio::time::{Instant, sleep};

use crate::LoadError;
use crate::target::ServiceUrls;
use crate::test_account::TestAccount;

/// gRPC connections to each process that creates accounts, and concurrent calls on each.
const CONNECTIONS: usize = 4;
const CALLS: usize = 16;

/// Attempts at a call that a busy server did not serve, and the pause between two of them.
const TRIES: usize = 20;
const PAUSE: Duration = Duration::from_millis(250);

/// Creates accounts.
#[derive(Debug)]
pub struct AccountCreator {
    apis: Vec<ApiClient>,
    code: String,
    /// First phone number of this run.
    phone: u64,
    made: AtomicU64,
}

impl AccountCreator {
    /// Returns a creator of accounts on these services, with this verification code.
    ///
    /// # Errors
    /// An address is invalid.
    pub fn new(services: &[ServiceUrls], code: &str) -> Result<Self, LoadError> {
        let mut apis = Vec::new();
        for _ in 0..CONNECTIONS {
            for service in services {
                let api = ApiClient::new(&service.grpc)
                    .and_then(|it| it.with_business(&service.business));
                apis.push(api.map_err(|error| LoadError::new("gRPC", error))?);
            }
        }
        Ok(Self {
            apis,
            code: code.to_owned(),
            phone: 10_000_000_000 + rand::random_range(0..89_000_u64) * 1_000_000,
            made: AtomicU64::new(0),
        })
    }

    /// Returns the API client for call `number`, round robin.
    fn api_for_call(&self, number: usize) -> Result<&ApiClient, LoadError> {
        let api = self.apis.get(number % self.apis.len().max(1));
        api.ok_or_else(|| LoadError::new("gRPC", "there is no address"))
    }

    /// Returns an API client that acts as this account.
    ///
    /// # Errors
    /// The target has no gRPC address.
    pub fn api(&self, account: &TestAccount) -> Result<ApiClient, LoadError> {
        Ok(self.api_for_call(0)?.signed_in(account.credentials()))
    }

    /// Creates `count` users with a device each; returns them and the time it took.
    ///
    /// # Errors
    /// The server refused one.
    pub async fn make(&self, count: usize) -> Result<(Vec<TestAccount>, Duration), LoadError> {
        let begun = Instant::now();
        let accounts = stream::iter(0..count)
            .map(|i| self.one(i))
            .buffer_unordered(self.apis.len() * CALLS)
            .collect::<Vec<_>>()
            .await;
        let accounts = accounts.into_iter().collect::<Result<_, _>>()?;
        Ok((accounts, begun.elapsed()))
    }

    async fn one(&self, i: usize) -> Result<TestAccount, LoadError> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let api = self.api_for_call(i)?;
        let device = insist("RegisterDevice", || api.register_device("load")).await?;
        let phone = (self.phone + number).to_string();
        let answer = insist("SignIn", || api.sign_in(&phone, &self.code, device)).await?;
        Ok(TestAccount {
            user: answer.user_id,
            device,
            token: answer.token,
        })
    }
}

/// Repeats a call that a busy server did not serve in time. The preparation of a run is not
/// measured, so waiting is free.
async fn insist<T>(
    what: &str,
    mut call: impl AsyncFnMut() -> Result<T, ApiError>,
) -> Result<T, LoadError> {
    let mut tries = 1;
    loop {
        match call().await {
            Err(error) if matches!(error.code, 4 | 14) && tries < TRIES => {
                tries += 1;
                sleep(PAUSE).await;
            }
            answer => return answer.map_err(|error| LoadError::new(what, error)),
        }
    }
}
