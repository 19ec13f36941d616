//! Tokens, many in one statement: after a restart everybody's is asked for at once.
//!
//! Those that are asked for while others are read form the next batch; no timer. Each is read after it
//! was asked for, so a token that was set or revoked before is seen.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use gimlet_core::id::{DeviceId, UserId};
use gimlet_core::store::{Kind, StoreError, TokenRecord};
use gimlet_core::time::Timestamp;
use tokio::sync::oneshot;

use super::db::{Db, Once};
use super::session::{bytes, number, time};
use crate::error::Fault;

/// The operation's name in errors.
const OP: &str = "account.token";

/// Who waits, at the most; more are refused as unavailable.
const QUEUE: usize = 8_192;

/// Tokens of one statement.
const BATCH: usize = 250;

/// Statements at a time: one that hangs does not hold up every sign-in.
const LANES: usize = 4;

/// Somebody who asks for the token of a device and a user.
#[derive(Debug)]
struct Ask {
    user: UserId,
    device: DeviceId,
    answer: oneshot::Sender<Result<Option<TokenRecord>, StoreError>>,
}

/// A row: the hash, and when it expires.
type Row = (Vec<u8>, Timestamp);

/// Who asks, and how many statements are under way.
#[derive(Debug, Default)]
pub(super) struct Tokens(Mutex<Asked>);

#[derive(Debug, Default)]
struct Asked {
    waiting: VecDeque<Ask>,
    lanes: usize,
}

impl Tokens {
    fn lock(&self) -> MutexGuard<'_, Asked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a lane reads next; none are left if it ends here.
    fn take(&self) -> Vec<Ask> {
        let mut asked = self.lock();
        let mut batch = Vec::new();
        while batch.len() < BATCH
            && let Some(ask) = asked.waiting.pop_front()
        {
            // Who has given up is not asked for.
            if !ask.answer.is_closed() {
                batch.push(ask);
            }
        }
        if batch.is_empty() {
            asked.lanes -= 1;
        }
        batch
    }
}

/// The token of this user on this device.
pub(super) async fn token(
    db: &Db,
    user: UserId,
    device: DeviceId,
) -> Result<Option<TokenRecord>, StoreError> {
    let (answer, answered) = oneshot::channel();
    let ask = Ask {
        user,
        device,
        answer,
    };
    let begins = {
        let mut asked = db.tokens().lock();
        if asked.waiting.len() >= QUEUE {
            let text = "too many wait for tokens";
            return Err(StoreError::with(OP, Kind::Unavailable, text));
        }
        asked.waiting.push_back(ask);
        let begins = asked.lanes < LANES;
        asked.lanes += usize::from(begins);
        begins
    };
    if begins {
        db.behind(lane(db.clone()));
    }
    let lost = |_| Fault::Deadline.of(OP);
    db.in_time(OP, answered).await?.map_err(lost)?
}

/// Reads until nobody waits.
async fn lane(db: Db) {
    loop {
        let batch = db.tokens().take();
        if batch.is_empty() {
            return;
        }
        let mut devices: Vec<u64> = batch.iter().map(|ask| ask.device.get()).collect();
        devices.sort_unstable();
        devices.dedup();
        let read = db.once(OP, Once::Read, move |session| {
            let devices = devices.clone();
            async move {
                let head = "SELECT device_id, user_id, hash, expires_at FROM user_token \
                            WHERE device_id IN (";
                let mut found: HashMap<(u64, u64), Row> = HashMap::with_capacity(devices.len());
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
                    let token = row.map(|row| record(row).map_err(|fault| fault.of(OP)));
                    let _ = ask.answer.send(token.transpose());
                }
            }
            Err(error) => {
                let (kind, error) = (error.kind, Arc::new(error));
                for ask in batch {
                    let error = StoreError::with(OP, kind, Arc::clone(&error));
                    let _ = ask.answer.send(Err(error));
                }
            }
        }
    }
}

fn record((hash, expires_at): &Row) -> Result<TokenRecord, Fault> {
    let hash = hash.as_slice().try_into();
    Ok(TokenRecord {
        hash: hash.map_err(|_| Fault::Corrupt("a token's hash is not 32 bytes"))?,
        expires_at: *expires_at,
    })
}
