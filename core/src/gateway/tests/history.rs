//! Law 10: the end of a history closes every connection, and a history that went back is ended.

use std::sync::Mutex;

use async_trait::async_trait;

use super::*;
use crate::id::Epoch;
use crate::store::{Head, IdScope, SeqStore, StoreError};

/// A store whose heads can go back, like a replica that was promoted without the last commits.
#[derive(Debug)]
struct RewindingSeqStore {
    inner: Arc<dyn SeqStore>,
    head: Mutex<Option<Seq>>,
}

#[async_trait]
impl SeqStore for RewindingSeqStore {
    async fn epoch(&self) -> Result<Epoch, StoreError> {
        self.inner.epoch().await
    }

    async fn new_epoch(&self, old: Epoch) -> Result<Epoch, StoreError> {
        self.inner.new_epoch(old).await
    }

    async fn heads(&self, users: &[UserId]) -> Result<Vec<Head>, StoreError> {
        let mut heads = self.inner.heads(users).await?;
        if let Some(head) = *self.head.lock().unwrap() {
            for it in &mut heads {
                it.head = head;
            }
        }
        Ok(heads)
    }

    async fn reserve(&self, scope: IdScope, n: u64) -> Result<u64, StoreError> {
        self.inner.reserve(scope, n).await
    }

    async fn skip(&self, scope: IdScope, upto: u64) -> Result<(), StoreError> {
        self.inner.skip(scope, upto).await
    }
}

fn is_closed(work: &ConnectionWork) -> bool {
    matches!(work, ConnectionWork::Close(CloseReason::Shutdown { .. }))
}

#[tokio::test(start_paused = true)]
async fn a_head_that_goes_back_ends_the_history_for_every_connection() {
    let mut stores = memory::stores();
    let rewound = Arc::new(RewindingSeqStore {
        inner: Arc::clone(&stores.seq),
        head: Mutex::default(),
    });
    stores.seq = Arc::clone(&rewound) as _;
    let node = node(&stores);
    for _ in 0..10 {
        send(&node, 2, 2, 1).await;
    }
    let (connection, got) = live(&node, 1, 1, 0).await;
    assert_eq!(got.last(), Some(&10));
    let (other, _) = live(&node, 3, 3, 0).await;
    let (epoch, _) = connection.head();
    *rewound.head.lock().unwrap() = Some(Seq::new(5));
    let _ = connection.heartbeat();
    assert!(is_closed(&work(&connection).await));
    assert!(
        is_closed(&work(&other).await),
        "the history ends for every connection"
    );
    let new = stores.seq.epoch().await.unwrap();
    assert_ne!(new, epoch, "the old epoch accepts nothing more");
    *rewound.head.lock().unwrap() = None;
    let (again, _) = live(&node, 1, 1, 0).await;
    assert_eq!(again.head().0, new);
}

#[tokio::test(start_paused = true)]
async fn an_epoch_that_somebody_else_has_drawn_is_noticed() {
    let stores = memory::stores();
    let node = node(&stores);
    let (connection, _) = live(&node, 1, 1, 0).await;
    let (old, _) = connection.head();
    let new = stores.seq.new_epoch(old).await.unwrap();
    assert!(is_closed(&work(&connection).await));
    let (again, _) = live(&node, 1, 1, 0).await;
    assert_eq!(again.head().0, new);
    assert_eq!(again.sync(Seq::ZERO).await.unwrap().epoch, new);
}

#[tokio::test(start_paused = true)]
async fn readings_that_passed_each_other_end_nothing() {
    let stores = memory::stores();
    let node = node(&stores);
    send(&node, 2, 2, 1).await;
    let old = stores.seq.epoch().await.unwrap();
    let logic: Arc<dyn LogicRole> = Arc::new(node.service().clone());
    let epoch = logic.went_back(user(1), Seq::new(1), old).await.unwrap();
    assert_eq!(epoch, old, "the inbox is not shorter");
    let epoch = logic.went_back(user(1), Seq::new(2), old).await.unwrap();
    assert_ne!(epoch, old);
    let again = logic.went_back(user(1), Seq::new(2), old).await.unwrap();
    assert_eq!(again, epoch, "a single end draws a single epoch");
}
