//! Sign-ins while the store's answers hang.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use tokio::task::yield_now;

use crate::business::OpenBusiness;
use crate::gateway::SignInRequest;
use crate::id::{DeviceId, Epoch, UserId};
use crate::memory;
use crate::node::{NodeBuilder, RunningNode};
use crate::seq::Seq;
use crate::store::{Head, IdScope, SeqStore, StoreError};

/// Never answers the first call for heads.
#[derive(Debug)]
struct HangingSeqStore {
    inner: Arc<dyn SeqStore>,
    called: AtomicBool,
}

#[async_trait]
impl SeqStore for HangingSeqStore {
    async fn epoch(&self) -> Result<Epoch, StoreError> {
        self.inner.epoch().await
    }

    async fn new_epoch(&self, old: Epoch) -> Result<Epoch, StoreError> {
        self.inner.new_epoch(old).await
    }

    async fn heads(&self, users: &[UserId]) -> Result<Vec<Head>, StoreError> {
        if !self.called.swap(true, Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.inner.heads(users).await
    }

    async fn reserve(&self, scope: IdScope, n: u64) -> Result<u64, StoreError> {
        self.inner.reserve(scope, n).await
    }

    async fn skip(&self, scope: IdScope, upto: u64) -> Result<(), StoreError> {
        self.inner.skip(scope, upto).await
    }
}

fn request(n: u64) -> SignInRequest {
    SignInRequest {
        user: UserId::new(n).unwrap(),
        device: DeviceId::new(n).unwrap(),
        token: "any".to_owned(),
        client: None,
        protocol: 1,
        legacy: false,
        echo: false,
        resume_after: Seq::ZERO,
    }
}

fn sign_in(node: &RunningNode, n: u64) -> tokio::task::JoinHandle<bool> {
    let gateway = node.gateway().clone();
    #[expect(clippy::disallowed_methods, reason = "a test's own task")]
    tokio::spawn(async move { gateway.sign_in(request(n)).await.is_ok() })
}

#[tokio::test(start_paused = true)]
async fn a_head_that_hangs_holds_up_no_other_sign_in() {
    let mut stores = memory::stores();
    let hangs = Arc::new(HangingSeqStore {
        inner: Arc::clone(&stores.seq),
        called: AtomicBool::new(false),
    });
    stores.seq = Arc::clone(&hangs) as _;
    let node = NodeBuilder::new(stores, Arc::new(OpenBusiness)).start();
    let held = sign_in(&node, 1);
    while !hangs.called.load(Ordering::SeqCst) {
        yield_now().await;
    }
    for n in 2..20 {
        assert!(sign_in(&node, n).await.unwrap());
    }
    assert!(!held.is_finished());
}
