//! Heads, the epoch and id blocks.

use async_trait::async_trait;

use crate::id::{Epoch, UserId};
use crate::memory::state::MemoryEngine;
use crate::store::{Head, IdScope, SeqStore, StoreError, StoreErrorKind};

#[async_trait]
impl SeqStore for MemoryEngine {
    async fn epoch(&self) -> Result<Epoch, StoreError> {
        Ok(self.lock().epoch)
    }

    async fn new_epoch(&self, old: Epoch) -> Result<Epoch, StoreError> {
        let epoch = &mut self.lock().epoch;
        if *epoch == old {
            *epoch = Epoch::draw();
        }
        Ok(*epoch)
    }

    async fn heads(&self, users: &[UserId]) -> Result<Vec<Head>, StoreError> {
        let state = self.lock();
        Ok(users.iter().map(|user| state.head(*user)).collect())
    }

    async fn reserve(&self, scope: IdScope, n: u64) -> Result<u64, StoreError> {
        if !(1..=1_000).contains(&n) {
            return Err(StoreError::with(
                "seq.reserve",
                StoreErrorKind::Misuse,
                "a block holds 1 to 1,000 numbers",
            ));
        }
        let [user, device, group] = &mut self.lock().reserved;
        let last = match scope {
            IdScope::User => user,
            IdScope::Device => device,
            IdScope::Group => group,
        };
        let first = *last + 1;
        *last += n;
        Ok(first)
    }
}
