//! Sends are answered within their deadline, even if the store or the backend hangs.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::business::{BusinessBackend, OpenBusiness, UserInfo};
use crate::error::RequestRefusal;
use crate::id::{DeviceId, GroupId, UserId};
use crate::limits::Limits;
use crate::memory;
use crate::message::{MessageDraft, MessageSender};
use crate::node::NodeBuilder;
use crate::page::PageLimit;
use crate::seq::Seq;
use crate::store::{
    AppendOutcome, AppendRequest, InboxSlice, InboxStore, JobLease, JobStepOutcome, StoreError,
};

/// A store and a backend that never answer.
#[derive(Debug)]
struct HangingBackends;

#[async_trait]
impl InboxStore for HangingBackends {
    async fn append(&self, _: &[AppendRequest]) -> Result<Vec<AppendOutcome>, StoreError> {
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

    async fn advance_job(&self, _: &JobLease) -> Result<JobStepOutcome, StoreError> {
        pending().await
    }

    async fn sweep(&self, _: usize) -> Result<usize, StoreError> {
        pending().await
    }
}

#[async_trait]
impl BusinessBackend for HangingBackends {
    async fn auth(&self, _: UserId, _: DeviceId, _: &str) -> Result<(), RequestRefusal> {
        pending().await
    }

    async fn users(&self, _: &[UserId]) -> Result<Vec<UserInfo>, RequestRefusal> {
        pending().await
    }
}

/// Sends two messages of one user, with an id each, on a paused clock. Returns their refusals and
/// the time of each. The second one waits for the first.
async fn refused_after(business: Arc<dyn BusinessBackend>) -> [(RequestRefusal, Duration); 2] {
    let mut stores = memory::stores();
    stores.inbox = Arc::new(HangingBackends);
    let node = NodeBuilder::new(stores, business).start();
    let sender = MessageSender::User {
        user: UserId::new(1).unwrap(),
        device: DeviceId::new(1),
    };
    let begun = Instant::now();
    let sends = [2, 3].map(|to| {
        let mut draft = MessageDraft::text(UserId::new(to).unwrap(), "hi");
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
    let sends = refused_after(Arc::new(OpenBusiness)).await;
    assert_eq!(sends[0].0, RequestRefusal::Unknown);
    assert!(sends.iter().all(|(_, took)| *took <= latest), "{sends:?}");
    // The checks before the append hang as well, so nothing was stored.
    let sends = refused_after(Arc::new(HangingBackends)).await;
    let unavailable = |(refusal, _): &_| *refusal == RequestRefusal::Unavailable;
    assert!(sends.iter().all(unavailable), "{sends:?}");
    assert!(sends.iter().all(|(_, took)| *took <= latest), "{sends:?}");
}
