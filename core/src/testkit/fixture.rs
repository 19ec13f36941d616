//! The fixture that a backend provides for a case: a fresh store, and its optional abilities.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;

use crate::memory;
use crate::store::StoreSet;

/// Closes these stores and opens them again from what they stored. The argument is the last handle
/// to them.
pub type ReopenStores =
    Box<dyn FnMut(StoreSet) -> Pin<Box<dyn Future<Output = StoreSet> + Send>> + Send>;

/// Lets a case hold back the flush that makes a change durable.
#[async_trait]
pub trait FlushControl: Send + Sync {
    /// Holds the flush: from now on no change becomes durable.
    fn hold(&self);

    /// Returns as soon as a change is applied and waits for the held flush.
    async fn reached(&self);

    /// Releases the flush: all waiting changes become durable.
    fn release(&self);
}

/// A fresh store for one case.
pub struct StoreFixture {
    /// The stores.
    pub stores: StoreSet,
    /// Set by a backend that declares [`ContractSuite::reopens`](super::ContractSuite::reopens).
    pub reopen: Option<ReopenStores>,
    /// Set by a backend that declares [`ContractSuite::holds`](super::ContractSuite::holds).
    pub flush_control: Option<Arc<dyn FlushControl>>,
    /// Dropped after the stores: a temporary folder or a private database.
    pub guard: Box<dyn Any + Send>,
}

impl StoreFixture {
    /// Creates a fixture from stores and a guard that must outlive them.
    pub fn new(stores: StoreSet, guard: impl Any + Send) -> Self {
        Self {
            stores,
            reopen: None,
            flush_control: None,
            guard: Box::new(guard),
        }
    }

    /// Sets the function that closes the stores and opens them again.
    #[must_use]
    pub fn with_reopen(mut self, reopen: ReopenStores) -> Self {
        self.reopen = Some(reopen);
        self
    }

    /// Sets the hook that holds the durable flush.
    #[must_use]
    pub fn with_flush_control(mut self, hold: Arc<dyn FlushControl>) -> Self {
        self.flush_control = Some(hold);
        self
    }

    /// Closes the stores and opens them again. The case must have dropped all other handles.
    pub(super) async fn reopen(&mut self) {
        let reopen = self
            .reopen
            .as_mut()
            .expect("the backend declared it reopens");
        // In-memory stores take the place while the real ones are closed, so that the last handle
        // moves into the function.
        let old = std::mem::replace(&mut self.stores, memory::stores());
        self.stores = reopen(old).await;
    }

    /// Returns the hook on the durable flush.
    pub(super) fn held(&self) -> Arc<dyn FlushControl> {
        Arc::clone(
            self.flush_control
                .as_ref()
                .expect("the backend declared it holds"),
        )
    }
}

impl fmt::Debug for StoreFixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            stores,
            reopen,
            flush_control: hold,
            guard: _,
        } = self;
        f.debug_struct("StoreFixture")
            .field("stores", stores)
            .field("reopens", &reopen.is_some())
            .field("holds", &hold.is_some())
            .finish_non_exhaustive()
    }
}
