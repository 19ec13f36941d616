//! Token lookups, batched into few statements: after a restart, all clients sign in at once.
//!
//! Lookups that arrive while others are being read form the next batch, without a timer. Each
//! token is read after its lookup began, so a token that was set or revoked before is seen.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use gimlet_core::coalesce::{BatchLoader, CoalescerError, CoalescerLimits, RequestCoalescer};
use gimlet_core::id::{DeviceId, UserId};
use gimlet_core::store::{StoreError, StoreErrorKind, TokenRecord};
use gimlet_core::time::UnixTimestamp;
use tokio_util::sync::CancellationToken;

use super::engine::{MysqlEngine, StatementEffect};
use super::session::{bytes, number, time};
use crate::error::EngineError;

/// Name of the operation in errors.
const OPERATION: &str = "account.token";

/// Additional time for a batch beyond the deadline of its statement: the engine gives up first, and
/// notes the reason.
const TOKEN_LOAD_GRACE: Duration = Duration::from_secs(1);

/// Returns the limits of lookups; `deadline` is that of a statement.
fn limits(deadline: Duration) -> CoalescerLimits {
    CoalescerLimits {
        queue_len: 8_192,
        batch_len: 250,
        // More than one, so that a statement that hangs does not block all sign-ins.
        concurrency: 4,
        call_timeout: deadline,
        load_timeout: deadline + TOKEN_LOAD_GRACE,
    }
}

/// A row: the hash and its expiry.
type TokenRow = (Vec<u8>, UnixTimestamp);

/// The token of a user on a device; the error is about this token alone.
type FoundToken = Result<Option<TokenRecord>, StoreError>;

/// The token lookups of an engine, in batches.
#[derive(Debug)]
pub(super) struct TokenLookups(RequestCoalescer<TokenLoader>);

impl TokenLookups {
    pub(super) fn new(engine: MysqlEngine) -> Self {
        let (limits, tasks) = (limits(engine.statement_deadline()), engine.tasks().clone());
        // Never cancelled: after the engine was closed, a lookup fails like any other statement.
        let stop = CancellationToken::new();
        Self(RequestCoalescer::new(
            TokenLoader { engine },
            limits,
            tasks,
            stop,
        ))
    }

    /// Returns the token of this user on this device.
    pub(super) async fn token(&self, user: UserId, device: DeviceId) -> FoundToken {
        match self.0.call((user, device)).await {
            Ok(found) => found,
            Err(CoalescerError::QueueFull) => Err(StoreError::with(
                OPERATION,
                StoreErrorKind::Unavailable,
                "too many token lookups are waiting",
            )),
            Err(CoalescerError::Failed(error)) => {
                Err(StoreError::with(OPERATION, error.kind, error))
            }
            Err(CoalescerError::TimedOut | CoalescerError::NoAnswer | CoalescerError::Stopped) => {
                Err(EngineError::Deadline.of(OPERATION))
            }
        }
    }
}

/// Reads the tokens of one batch in one statement.
#[derive(Debug)]
struct TokenLoader {
    engine: MysqlEngine,
}

impl BatchLoader for TokenLoader {
    type Key = (UserId, DeviceId);
    type Value = FoundToken;
    type Error = Arc<StoreError>;

    async fn load(
        &self,
        lookups: &[(UserId, DeviceId)],
    ) -> Result<Vec<FoundToken>, Arc<StoreError>> {
        let found = rows(&self.engine, lookups).await.map_err(Arc::new)?;
        let tokens = lookups.iter().map(|(user, device)| {
            let row = found.get(&(device.get(), user.get()));
            let token = row.map(|row| record(row).map_err(|fault| fault.of(OPERATION)));
            token.transpose()
        });
        Ok(tokens.collect())
    }
}

/// Reads the tokens of these devices, by device and user.
async fn rows(
    engine: &MysqlEngine,
    lookups: &[(UserId, DeviceId)],
) -> Result<HashMap<(u64, u64), TokenRow>, StoreError> {
    let mut devices: Vec<u64> = lookups.iter().map(|(_, device)| device.get()).collect();
    devices.sort_unstable();
    devices.dedup();
    let read = engine.once(OPERATION, StatementEffect::Read, move |session| {
        let devices = devices.clone();
        async move {
            // A banned user has no token.
            let head = "SELECT device_id, user_id, hash, expires_at FROM user_token \
                        WHERE NOT EXISTS (SELECT 1 FROM user_ban \
                        WHERE user_ban.user_id = user_token.user_id) AND device_id IN (";
            let mut found = HashMap::with_capacity(devices.len());
            for row in session.rows_in(head, &devices, ")").await? {
                let token = (bytes(&row, 2)?, time(&row, 3)?);
                found.insert((number(&row, 0)?, number(&row, 1)?), token);
            }
            Ok(found)
        }
        .boxed()
    });
    read.await
}

fn record((hash, expires_at): &TokenRow) -> Result<TokenRecord, EngineError> {
    let hash = hash.as_slice().try_into();
    Ok(TokenRecord {
        hash: hash.map_err(|_| EngineError::Corrupt("a token's hash is not 32 bytes"))?,
        expires_at: *expires_at,
    })
}
