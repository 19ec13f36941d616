//! The attacked server, and the accounts of the attackers.

use std::net::SocketAddr;
use std::sync::Arc;

use gimlet_client::ApiClient;
use serde::{Deserialize, Serialize};

use crate::LoadError;
use crate::account::AccountCreator;
use crate::target::ServiceUrls;
use crate::test_account::TestAccount;

/// Addresses of the server and the victims, which the parent process passes as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AttackTarget {
    /// Address for clients over TCP.
    pub tcp: SocketAddr,
    /// Address for clients over WebSocket.
    pub ws: SocketAddr,
    /// Address for uploads.
    pub http: Option<SocketAddr>,
    /// gRPC URL, for example `http://127.0.0.1:50100`.
    pub grpc: String,
    /// Verification code that signs users in.
    pub code: String,
    /// Users and devices that the attackers impersonate.
    pub victims: Vec<(i64, i64)>,
}

/// Members of the large group, all of them attackers' accounts.
pub(super) const GROUP: usize = 1_000;
/// Accounts that send as fast as they are answered.
pub(super) const GREEDY: usize = 200;
/// Accounts for attacks that need an account of their own.
const SPARE: usize = 16;

/// Accounts and API clients of the attackers.
#[derive(Clone, Debug)]
pub(super) struct AttackerAccounts {
    pub(super) field: Arc<AttackTarget>,
    /// gRPC client without an account.
    pub(super) api: ApiClient,
    /// Members of the large group; the first is its admin.
    pub(super) members: Arc<[TestAccount]>,
    /// Accounts that send as fast as they are answered.
    pub(super) greedy: Arc<[TestAccount]>,
    spare: Arc<[TestAccount]>,
}

impl AttackerAccounts {
    /// Creates the accounts.
    pub(super) async fn enlist(field: &AttackTarget) -> Result<Self, LoadError> {
        let services = [ServiceUrls {
            grpc: field.grpc.clone(),
            business: field.grpc.clone(),
        }];
        let accounts = AccountCreator::new(&services, &field.code)?;
        let (mut all, _) = accounts.make(GROUP + GREEDY + SPARE).await?;
        let spare = all.split_off(GROUP + GREEDY);
        let greedy = all.split_off(GROUP);
        Ok(Self {
            field: Arc::new(field.clone()),
            api: ApiClient::new(&field.grpc).map_err(|it| LoadError::new("gRPC", it))?,
            members: all.into(),
            greedy: greedy.into(),
            spare: spare.into(),
        })
    }

    /// Returns the account that only attack `number` uses.
    pub(super) fn spare(&self, number: usize) -> TestAccount {
        let account = self.spare.get(number % self.spare.len());
        account.expect("an index below the length").clone()
    }

    /// Returns a gRPC client that acts as this account.
    pub(super) fn as_account(&self, account: &TestAccount) -> ApiClient {
        self.api.signed_in(account.credentials())
    }
}
