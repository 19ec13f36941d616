//! Acks that are being written to the store.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use tokio::sync::Semaphore;

use super::*;
use crate::id::Epoch;
use crate::logic::{InboxPage, LogicRole, SignInGrant};
use crate::page::PageLimit;
use crate::peer::SingleNodePeer;
use crate::send_future::SendFuture;
use crate::service::LogicService;
use crate::store::{AckMark, Head};

/// The logic role with a gate in front of its acks.
#[derive(Debug)]
struct GatedAcks {
    logic: LogicService,
    reached: Semaphore,
    open: Semaphore,
    /// Writes that fail before the others succeed.
    failing: AtomicUsize,
}

#[async_trait]
impl LogicRole for GatedAcks {
    async fn sign_in(
        &self,
        user: UserId,
        device: DeviceId,
        token: &str,
        resume_after: Seq,
    ) -> Result<SignInGrant, RequestRefusal> {
        self.logic.sign_in(user, device, token, resume_after).await
    }

    async fn epoch(&self) -> Result<Epoch, RequestRefusal> {
        self.logic.epoch().await
    }

    async fn heads(&self, users: &[UserId]) -> Result<Vec<Head>, RequestRefusal> {
        self.logic.heads(users).await
    }

    async fn page(
        &self,
        user: UserId,
        after: Seq,
        limit: PageLimit,
    ) -> Result<InboxPage, RequestRefusal> {
        self.logic.page(user, after, limit).await
    }

    async fn acked(&self, user: UserId) -> Result<Vec<(DeviceId, Seq)>, RequestRefusal> {
        let acked = self.logic.acked(user).await?;
        // The write ends between the read of the stored marks and the caller's next step.
        self.open.add_permits(1);
        tokio::time::sleep(Duration::from_millis(1)).await;
        Ok(acked)
    }

    async fn ack(&self, acks: &[AckMark]) -> Result<(), RequestRefusal> {
        self.reached.add_permits(1);
        self.open.acquire().await.unwrap().forget();
        let fails = |left: usize| left.checked_sub(1);
        let order = Ordering::SeqCst;
        if self.failing.fetch_update(order, order, fails).is_ok() {
            return Err(RequestRefusal::Unavailable);
        }
        self.logic.ack(acks).await
    }

    async fn went_back(
        &self,
        user: UserId,
        seen: Seq,
        known: Epoch,
    ) -> Result<Epoch, RequestRefusal> {
        self.logic.went_back(user, seen, known).await
    }

    fn send(&self, sender: MessageSender, draft: MessageDraft) -> SendFuture {
        self.logic.send(sender, draft)
    }
}

/// Starts another gateway over the node's logic role, and returns the gate.
fn gateway(
    node: &RunningNode,
    stores: &StoreSet,
    from_zero: SyncFromZero,
) -> (ConnectGateway, Arc<GatedAcks>) {
    let logic = Arc::new(GatedAcks {
        logic: node.service().clone(),
        reached: Semaphore::new(0),
        open: Semaphore::new(0),
        failing: AtomicUsize::new(0),
    });
    let gateway = ConnectGateway::start(
        NodeId::boot("gated"),
        Arc::new(ConnectionHub::new(2)),
        Arc::clone(&logic) as _,
        Arc::clone(&stores.room),
        Arc::clone(&stores.route),
        Arc::new(SingleNodePeer),
        Limits::default(),
        from_zero,
        &TaskTracker::new(),
        &CancellationToken::new(),
    );
    (gateway, logic)
}

async fn sign_in(gateway: &ConnectGateway, on: u64, fragile: bool) -> ClientConnection {
    let request = SignInRequest {
        user: user(2),
        device: DeviceId::new(on).unwrap(),
        token: "any".to_owned(),
        client: None,
        protocol: u32::from(!fragile),
        legacy: fragile,
        echo: false,
        resume_after: Seq::ZERO,
    };
    gateway.sign_in(request).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn g2_an_old_client_that_acks_a_page_gets_the_next_one_while_the_ack_is_written() {
    let stores = memory::stores();
    let node = node(&stores);
    let (gateway, gate) = gateway(&node, &stores, SyncFromZero::All);
    for _ in 0..60 {
        send(&node, 1, 11, 2).await;
    }
    let old = sign_in(&gateway, 21, true).await;
    let page = old.sync(Seq::ZERO).await.unwrap();
    assert!(page.more, "there is a second page");
    old.synced(Seq::ZERO, page.upto, page.more);
    old.ack(Seq::new(1));
    gate.reached.acquire().await.unwrap().forget();
    gate.open.add_permits(1);
    while stores.device.acked(user(2)).await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    // The store has 1. The write of 50 is in progress when the next page is requested.
    old.ack(page.upto);
    gate.reached.acquire().await.unwrap().forget();
    let next = old.sync(page.upto).await.unwrap();
    let first = next.items.first().map(|(seq, _)| *seq);
    assert_eq!(first, Some(page.upto.next()), "the same page again");
}

#[tokio::test(start_paused = true)]
async fn g2_gims_rule_for_seq_0_counts_an_ack_of_another_device_while_it_is_written() {
    let stores = memory::stores();
    let node = node(&stores);
    let (gateway, gate) = gateway(&node, &stores, SyncFromZero::UserAck);
    for _ in 0..3 {
        send(&node, 1, 11, 2).await;
    }
    let phone = sign_in(&gateway, 21, false).await;
    let page = phone.sync(Seq::ZERO).await.unwrap();
    phone.synced(Seq::ZERO, page.upto, page.more);
    gate.open.forget_permits(usize::MAX);
    phone.ack(Seq::new(2));
    gate.reached.acquire().await.unwrap().forget();
    let laptop = sign_in(&gateway, 22, false).await;
    assert_eq!(sync(&laptop, 0).await, [3]);
}

/// The marks beyond the batches that failed waited for the next ack of any device.
#[tokio::test(start_paused = true)]
async fn acks_beyond_a_failed_batch_are_written_without_another_ack() {
    let stores = memory::stores();
    let node = node(&stores);
    let (gateway, gate) = gateway(&node, &stores, SyncFromZero::All);
    gate.failing.store(2, Ordering::SeqCst);
    gate.open.add_permits(100);
    let devices = 2 * crate::gateway::acks::ACKS_PER_CALL as u64 + 1;
    for n in 1..=devices {
        let device = DeviceId::new(n).unwrap();
        gateway.inner.acks.note(user(2), device, Seq::new(1));
    }
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(stores.device.acked(user(2)).await.unwrap().len(), 1);
}
