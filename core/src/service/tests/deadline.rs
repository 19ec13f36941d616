//! A send is answered within its deadline, whatever hangs.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::business::{Business, Open, UserInfo};
use crate::error::Refusal;
use crate::id::{DeviceId, GroupId, UserId};
use crate::limits::Limits;
use crate::memory;
use crate::message::{Draft, Sender};
use crate::node::NodeBuilder;
use crate::page::PageLimit;
use crate::seq::Seq;
use crate::store::{Append, Appended, InboxSlice, InboxStore, JobLease, JobPart, StoreError};

/// A store and a backend that never answer.
#[derive(Debug)]
struct Hangs;

#[async_trait]
impl InboxStore for Hangs {
    async fn append(&self, _: &[Append]) -> Result<Vec<Appended>, StoreError> {
        pending().await
    }

    async fn after(&self, _: UserId, _: Seq, _: PageLimit) -> Result<InboxSlice, StoreError> {
        pending().await
    }

    async fn trim(&self, _: UserId, _: Seq) -> Result<(), StoreError> {
        pending().await
    }

    async fn claim_job(&self, _: Option<GroupId>) -> Result<Option<JobLease>, StoreError> {
        pending().await
    }

    async fn advance_job(&self, _: &JobLease) -> Result<JobPart, StoreError> {
        pending().await
    }

    async fn sweep(&self, _: usize) -> Result<usize, StoreError> {
        pending().await
    }
}

#[async_trait]
impl Business for Hangs {
    async fn auth(&self, _: UserId, _: DeviceId, _: &str) -> Result<(), Refusal> {
        pending().await
    }

    async fn users(&self, _: &[UserId]) -> Result<Vec<UserInfo>, Refusal> {
        pending().await
    }
}

/// How long a send with an id takes to be refused, on a paused clock.
async fn refused_after(business: Arc<dyn Business>) -> (Refusal, Duration) {
    let mut stores = memory::stores();
    stores.inbox = Arc::new(Hangs);
    let node = NodeBuilder::new(stores, business).start();
    let sender = Sender::User {
        user: UserId::new(1).unwrap(),
        device: DeviceId::new(1),
    };
    let begun = Instant::now();
    let mut draft = Draft::text(UserId::new(2).unwrap(), "hi");
    draft.client_id = Some("an id".into());
    let refusal = node.service().send(sender, draft).await.unwrap_err();
    (refusal, begun.elapsed())
}

#[tokio::test(start_paused = true)]
async fn d15_a_send_to_a_store_that_hangs_is_answered_at_its_deadline() {
    let deadline = Limits::default().send_deadline;
    // The timer counts whole milliseconds.
    let in_time = deadline..deadline + Duration::from_millis(5);
    // The append hangs.
    let (refusal, took) = refused_after(Arc::new(Open)).await;
    assert_eq!(refusal, Refusal::Unknown);
    assert!(in_time.contains(&took), "{took:?}");
    // What comes before it hangs, so nothing was stored.
    let (refusal, took) = refused_after(Arc::new(Hangs)).await;
    assert_eq!(refusal, Refusal::Unavailable);
    assert!(in_time.contains(&took), "{took:?}");
}
