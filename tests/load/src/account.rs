//! Users made for a run: each with a device and a token. Serves every scenario's beginning.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use gimlet_client::{Api, ApiError, Credentials};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::Fault;
use crate::target::Services;

/// gRPC connections to each process that makes accounts, and calls at a time on each.
const CONNECTIONS: usize = 4;
const CALLS: usize = 16;

/// Tries of a call that a busy server did not serve, and the pause between.
const TRIES: usize = 20;
const PAUSE: Duration = Duration::from_millis(250);

/// A user on a device.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Account {
    /// The user.
    pub user: i64,
    /// The device.
    pub device: i64,
    /// The token of this user on this device.
    pub token: String,
}

impl Account {
    /// What the client library takes.
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        Credentials {
            user_id: self.user,
            device_id: self.device,
            token: self.token.clone(),
        }
    }
}

/// Makes accounts.
#[derive(Debug)]
pub struct Accounts {
    apis: Vec<Api>,
    code: String,
    /// Phone numbers of this run begin here.
    phone: u64,
    made: AtomicU64,
}

impl Accounts {
    /// Accounts of the server with these addresses, by this verification code.
    ///
    /// # Errors
    /// An address is none.
    pub fn new(services: &[Services], code: &str) -> Result<Self, Fault> {
        let mut apis = Vec::new();
        for _ in 0..CONNECTIONS {
            for service in services {
                let api =
                    Api::new(&service.grpc).and_then(|it| it.with_business(&service.business));
                apis.push(api.map_err(|error| Fault::new("gRPC", error))?);
            }
        }
        Ok(Self {
            apis,
            code: code.to_owned(),
            phone: 10_000_000_000 + rand::random_range(0..89_000_u64) * 1_000_000,
            made: AtomicU64::new(0),
        })
    }

    /// The api for the call of this number.
    fn turn(&self, number: usize) -> Result<&Api, Fault> {
        let api = self.apis.get(number % self.apis.len().max(1));
        api.ok_or_else(|| Fault::new("gRPC", "there is no address"))
    }

    /// The services, as one of the accounts.
    ///
    /// # Errors
    /// There are none.
    pub fn api(&self, account: &Account) -> Result<Api, Fault> {
        Ok(self.turn(0)?.signed_in(account.credentials()))
    }

    /// New users with a device each, and how long it took.
    ///
    /// # Errors
    /// One was refused.
    pub async fn make(&self, count: usize) -> Result<(Vec<Account>, Duration), Fault> {
        let begun = Instant::now();
        let accounts = stream::iter(0..count)
            .map(|i| self.one(i))
            .buffer_unordered(self.apis.len() * CALLS)
            .collect::<Vec<_>>()
            .await;
        let accounts = accounts.into_iter().collect::<Result<_, _>>()?;
        Ok((accounts, begun.elapsed()))
    }

    async fn one(&self, i: usize) -> Result<Account, Fault> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let api = self.turn(i)?;
        let device = insist("RegisterDevice", || api.register_device("load")).await?;
        let phone = (self.phone + number).to_string();
        let answer = insist("SignIn", || api.sign_in(&phone, &self.code, device)).await?;
        Ok(Account {
            user: answer.user_id,
            device,
            token: answer.token,
        })
    }
}

/// Repeats a call that a busy server did not serve in time: what comes before a run is not measured.
async fn insist<T>(
    what: &str,
    mut call: impl AsyncFnMut() -> Result<T, ApiError>,
) -> Result<T, Fault> {
    let mut tries = 1;
    loop {
        match call().await {
            Err(error) if matches!(error.code, 4 | 14) && tries < TRIES => {
                tries += 1;
                sleep(PAUSE).await;
            }
            answer => return answer.map_err(|error| Fault::new(what, error)),
        }
    }
}
