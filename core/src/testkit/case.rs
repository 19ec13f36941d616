//! One case of the suite, and what it needs of a backend.

use std::future::Future;
use std::pin::Pin;

use super::fixture::StoreFixture;

/// Requirements of a case beyond the stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CaseRequirement {
    Nothing,
    Reopen,
    Hold,
}

/// A case of the list.
pub(super) struct ContractCase {
    pub(super) name: &'static str,
    pub(super) need: CaseRequirement,
    pub(super) body: fn(StoreFixture) -> Pin<Box<dyn Future<Output = ()> + Send>>,
}
