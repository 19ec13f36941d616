//! Token lookups, batched into few statements: after a restart, all clients sign in at once.
//!
//! Lookups that arrive while others are being read form the next batch, without a timer. Each
//! token is read after its lookup began, so a token that was set or revoked before is seen.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::FutureExt as _;
use gimlet_core::id::{DeviceId, UserId};
use gimlet_core::store::{StoreError, StoreErrorKind, TokenRecord};
use gimlet_core::time::UnixTimestamp;
use tokio::sync::oneshot;

use super::engine::{MysqlEngine, StatementEffect};
use super::session::{bytes, number, time};
use super::token_queue::TokenLookup;
use crate::error::EngineError;

/// Name of the operation in errors.
const OPERATION: &str = "account.token";

/// Capacity of the queue of lookups; further lookups are refused as unavailable.
const TOKEN_QUEUE_LEN: usize = 8_192;

/// Concurrent statements, so that one that hangs does not block all sign-ins.
const TOKEN_CONCURRENCY: usize = 4;

/// A row: the hash and its expiry.
type TokenRow = (Vec<u8>, UnixTimestamp);

/// Returns the token of this user on this device.
pub(super) async fn token(
    db: &MysqlEngine,
    user: UserId,
    device: DeviceId,
) -> Result<Option<TokenRecord>, StoreError> {
    let (answer, answered) = oneshot::channel();
    let ask = TokenLookup {
        user,
        device,
        answer,
    };
    let begins = {
        let mut asked = db.tokens().lock();
        if asked.waiting.len() >= TOKEN_QUEUE_LEN {
            let text = "too many token lookups are waiting";
            return Err(StoreError::with(
                OPERATION,
                StoreErrorKind::Unavailable,
                text,
            ));
        }
        asked.waiting.push_back(ask);
        let begins = asked.workers < TOKEN_CONCURRENCY;
        asked.workers += usize::from(begins);
        begins
    };
    if begins {
        db.behind(run_worker(db.clone()));
    }
    let lost = |_| EngineError::Deadline.of(OPERATION);
    db.in_time(OPERATION, answered).await?.map_err(lost)?
}

/// Runs one worker: reads batches until the queue is empty.
async fn run_worker(db: MysqlEngine) {
    loop {
        let batch = db.tokens().take();
        if batch.is_empty() {
            return;
        }
        let mut devices: Vec<u64> = batch.iter().map(|ask| ask.device.get()).collect();
        devices.sort_unstable();
        devices.dedup();
        let read = db.once(OPERATION, StatementEffect::Read, move |session| {
            let devices = devices.clone();
            async move {
                let head = "SELECT device_id, user_id, hash, expires_at FROM user_token \
                            WHERE device_id IN (";
                let mut found: HashMap<(u64, u64), TokenRow> =
                    HashMap::with_capacity(devices.len());
                for row in session.rows_in(head, &devices, ")").await? {
                    let token = (bytes(&row, 2)?, time(&row, 3)?);
                    found.insert((number(&row, 0)?, number(&row, 1)?), token);
                }
                Ok(found)
            }
            .boxed()
        });
        match read.await {
            Ok(found) => {
                for ask in batch {
                    let row = found.get(&(ask.device.get(), ask.user.get()));
                    let token = row.map(|row| record(row).map_err(|fault| fault.of(OPERATION)));
                    let _ = ask.answer.send(token.transpose());
                }
            }
            Err(error) => {
                let (kind, error) = (error.kind, Arc::new(error));
                for ask in batch {
                    let error = StoreError::with(OPERATION, kind, Arc::clone(&error));
                    let _ = ask.answer.send(Err(error));
                }
            }
        }
    }
}

fn record((hash, expires_at): &TokenRow) -> Result<TokenRecord, EngineError> {
    let hash = hash.as_slice().try_into();
    Ok(TokenRecord {
        hash: hash.map_err(|_| EngineError::Corrupt("a token's hash is not 32 bytes"))?,
        expires_at: *expires_at,
    })
}
