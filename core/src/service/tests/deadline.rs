//! Sends are answered within their deadline, even if the store or the backend hangs.

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

/// Sends two messages of one user, with an id each, on a paused clock. Returns their refusals and
/// the time of each. The second one waits for the first.
async fn refused_after(business: Arc<dyn Business>) -> [(Refusal, Duration); 2] {
    let mut stores = memory::stores();
    stores.inbox = Arc::new(Hangs);
    let node = NodeBuilder::new(stores, business).start();
    let sender = Sender::User {
        user: UserId::new(1).unwrap(),
        device: DeviceId::new(1),
    };
    let begun = Instant::now();
    let sends = [2, 3].map(|to| {
        let mut draft = Draft::text(UserId::new(to).unwrap(), "hi");
        draft.client_id = Some(format!("to {to}"));
        let sending = node.service().send(sender, draft);
        async move { (sending.await.unwrap_err(), begun.elapsed()) }
    });
    let [first, second] = sends;
    tokio::join!(first, second).into()
}

#[tokio::test(start_paused = true)]
async fn d15_a_send_to_a_store_that_hangs_is_answered_at_its_deadline() {
    // The timer counts whole milliseconds.
    let latest = Limits::default().send_deadline + Duration::from_millis(5);
    // The append hangs.
    let sends = refused_after(Arc::new(Open)).await;
    assert_eq!(sends[0].0, Refusal::Unknown);
    assert!(sends.iter().all(|(_, took)| *took <= latest), "{sends:?}");
    // The checks before the append hang as well, so nothing was stored.
    let sends = refused_after(Arc::new(Hangs)).await;
    let unavailable = |(refusal, _): &_| *refusal == Refusal::Unavailable;
    assert!(sends.iter().all(unavailable), "{sends:?}");
    assert!(sends.iter().all(|(_, took)| *took <= latest), "{sends:?}");
}
