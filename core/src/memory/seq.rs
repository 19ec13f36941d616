//! Heads, the epoch and id blocks.

use async_trait::async_trait;

use crate::id::{Epoch, UserId};
use crate::memory::state::{EngineState, MemoryEngine};
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
        let mut state = self.lock();
        let last = last_reserved(&mut state, scope);
        let first = *last + 1;
        *last += n;
        Ok(first)
    }

    async fn skip(&self, scope: IdScope, upto: u64) -> Result<(), StoreError> {
        let mut state = self.lock();
        let last = last_reserved(&mut state, scope);
        *last = (*last).max(upto);
        Ok(())
    }
}

const fn last_reserved(state: &mut EngineState, scope: IdScope) -> &mut u64 {
    let [user, device, group] = &mut state.reserved;
    match scope {
        IdScope::User => user,
        IdScope::Device => device,
        IdScope::Group => group,
    }
}
