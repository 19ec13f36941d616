//! What is attacked, and the accounts that attack.

use std::net::SocketAddr;
use std::sync::Arc;

use gimlet_client::Api;
use serde::{Deserialize, Serialize};

use crate::Fault;
use crate::account::{Account, Accounts};
use crate::target::Services;

/// The addresses of the server and whom to attack, as the parent process tells it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Field {
    /// Clients over TCP.
    pub tcp: SocketAddr,
    /// Clients over WebSocket.
    pub ws: SocketAddr,
    /// Uploads.
    pub http: Option<SocketAddr>,
    /// gRPC, such as `http://127.0.0.1:50100`.
    pub grpc: String,
    /// The verification code that signs users in.
    pub code: String,
    /// Users and their devices in whose names is attacked.
    pub victims: Vec<(i64, i64)>,
}

/// Members of the large group, all attackers' accounts.
pub(super) const GROUP: usize = 1_000;
/// Accounts that send as fast as they are answered.
pub(super) const GREEDY: usize = 200;
/// Accounts for the attacks that need one of their own.
const SPARE: usize = 16;

/// The attackers.
#[derive(Clone, Debug)]
pub(super) struct Squad {
    pub(super) field: Arc<Field>,
    /// gRPC, as nobody.
    pub(super) api: Api,
    /// Members of the large group; the first is its admin.
    pub(super) members: Arc<[Account]>,
    /// Senders without restraint.
    pub(super) greedy: Arc<[Account]>,
    spare: Arc<[Account]>,
}

impl Squad {
    /// Makes the accounts.
    pub(super) async fn enlist(field: &Field) -> Result<Self, Fault> {
        let services = [Services {
            grpc: field.grpc.clone(),
            business: field.grpc.clone(),
        }];
        let accounts = Accounts::new(&services, &field.code)?;
        let (mut all, _) = accounts.make(GROUP + GREEDY + SPARE).await?;
        let spare = all.split_off(GROUP + GREEDY);
        let greedy = all.split_off(GROUP);
        Ok(Self {
            field: Arc::new(field.clone()),
            api: Api::new(&field.grpc).map_err(|it| Fault::new("gRPC", it))?,
            members: all.into(),
            greedy: greedy.into(),
            spare: spare.into(),
        })
    }

    /// An account that only the attack of this number uses.
    pub(super) fn spare(&self, number: usize) -> Account {
        let account = self.spare.get(number % self.spare.len());
        account.expect("an index below the length").clone()
    }

    /// gRPC as this account.
    pub(super) fn as_account(&self, account: &Account) -> Api {
        self.api.signed_in(account.credentials())
    }
}
