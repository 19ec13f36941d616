//! Heads, the epoch and id blocks.

use async_trait::async_trait;
use gimlet_core::id::{Epoch, UserId};
use gimlet_core::store::{Head, IdScope, SeqStore, StoreError};
use gimlet_proto::store::{Meta, Number};

use crate::error::EngineError;
use crate::heads::head;
use crate::key;
use crate::shared::SharedState;
use crate::space::SpaceEffect;
use crate::store::SledStore;
use crate::txn::WriteTransaction;

/// A counter: those of the scopes and those of this crate.
#[derive(Clone, Copy, Debug)]
pub(crate) enum IdCounter {
    /// Ids of a scope.
    Of(IdScope),
    /// Messages that are stored once.
    Bodies,
    /// Fan-out jobs.
    Jobs,
    /// Positions of hooks' events.
    Events,
}

impl IdCounter {
    const fn key(self) -> [u8; 2] {
        key::counter(match self {
            Self::Of(IdScope::User) => 1,
            Self::Of(IdScope::Device) => 2,
            Self::Of(IdScope::Group) => 3,
            Self::Bodies => 4,
            Self::Jobs => 5,
            Self::Events => return key::LAST_EVENT,
        })
    }

    /// Takes `n` numbers and returns the first.
    pub(crate) fn take(self, txn: &mut WriteTransaction<'_>, n: u64) -> Result<u64, EngineError> {
        let last = txn.get::<Number>(&self.key())?.unwrap_or_default().value;
        let value = last
            .checked_add(n)
            .ok_or(EngineError::Corrupt("a counter has run out"))?;
        txn.put(&self.key(), &Number { value })?;
        Ok(last + 1)
    }

    /// Skips the numbers up to and including `upto`.
    fn skip(self, txn: &mut WriteTransaction<'_>, upto: u64) -> Result<(), EngineError> {
        let last = txn.get::<Number>(&self.key())?.unwrap_or_default().value;
        let value = last.max(upto);
        txn.put(&self.key(), &Number { value })
    }
}

#[async_trait]
impl SeqStore for SledStore {
    async fn epoch(&self) -> Result<Epoch, StoreError> {
        let meta = self.read("seq.epoch", |rows| rows.get::<Meta>(key::META));
        let meta = meta.await?.unwrap_or_default();
        Ok(Epoch(meta.epoch))
    }

    async fn new_epoch(&self, old: Epoch) -> Result<Epoch, StoreError> {
        let renew = self.change("seq.new_epoch", SpaceEffect::Sets, move |txn| {
            let mut meta = txn
                .get::<Meta>(key::META)?
                .ok_or(EngineError::Corrupt("the store has no epoch"))?;
            if Epoch(meta.epoch) == old {
                meta.epoch = Epoch::draw().0;
                txn.put(key::META, &meta)?;
            }
            Ok(Epoch(meta.epoch))
        });
        renew.await
    }

    async fn heads(&self, users: &[UserId]) -> Result<Vec<Head>, StoreError> {
        let users = users.to_vec();
        let read = move |shared: &SharedState| {
            shared.durable(|rows| {
                let heads = users.iter().map(|user| head(rows, &shared.heads, *user));
                heads.collect()
            })
        };
        self.with("seq.heads", read).await
    }

    async fn reserve(&self, scope: IdScope, n: u64) -> Result<u64, StoreError> {
        let take = self.change("seq.reserve", SpaceEffect::Sets, move |txn| {
            if !(1..=1_000).contains(&n) {
                return Err(EngineError::Misuse("a block holds 1 to 1,000 numbers"));
            }
            IdCounter::Of(scope).take(txn, n)
        });
        take.await
    }

    async fn skip(&self, scope: IdScope, upto: u64) -> Result<(), StoreError> {
        let skip = self.change("seq.skip", SpaceEffect::Sets, move |txn| {
            IdCounter::Of(scope).skip(txn, upto)
        });
        skip.await
    }
}
