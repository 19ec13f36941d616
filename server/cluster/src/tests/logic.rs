//! Sends, reads and refusals through a logic node, and the effects of its shutdown.

use std::time::Duration;

use async_trait::async_trait;
use gimlet_core::error::RequestRefusal;
use gimlet_core::id::{Epoch, Generation, GroupId};
use gimlet_core::logic::{InboxPage, LogicRole, SignInGrant};
use gimlet_core::memory;
use gimlet_core::message::{MessageDraft, MessageReceiver};
use gimlet_core::page::PageLimit;
use gimlet_core::send_future::{SendFuture, SendReceipt};
use gimlet_core::seq::Seq;
use gimlet_core::store::{AckMark, Head};
use tokio::sync::Semaphore;

use super::*;
use crate::RemoteLogic;

const SOON: Duration = Duration::from_secs(10);
/// Time that a logic node allows a send.
const DEADLINE: Duration = Duration::from_millis(1_500);

/// The remote half, and its tasks.
struct RemoteLogicFixture {
    logic: Arc<RemoteLogic>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl RemoteLogicFixture {
    async fn to(addresses: &[String]) -> Self {
        let remote = Self::unreached(addresses);
        assert!(remote.logic.reached(SOON).await);
        remote
    }

    fn unreached(addresses: &[String]) -> Self {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let logic = RemoteLogic::start(addresses, &caller(), DEADLINE, &tasks, &stop).unwrap();
        Self {
            logic: Arc::new(logic),
            tasks,
            stop,
        }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Regression: without any address the wait ended at once, and its caller repeated it for ever.
#[tokio::test(start_paused = true)]
async fn without_an_address_the_wait_for_a_node_lasts_its_time() {
    let remote = RemoteLogicFixture::unreached(&[]);
    let begun = tokio::time::Instant::now();
    assert!(!remote.logic.reached(SOON).await);
    assert!(begun.elapsed() >= SOON);
    remote.stop().await;
}

fn with_id(draft: MessageDraft, id: &str) -> MessageDraft {
    MessageDraft {
        client_id: Some(id.into()),
        ..draft
    }
}

#[tokio::test]
async fn nothing_changes_by_splitting() {
    let stores = memory::stores();
    let node = node(&stores);
    let served = TestGrpcServer::logic(Arc::new(node.service().clone())).await;
    let remote = RemoteLogicFixture::to(&[served.address()]).await;
    let logic = &remote.logic;

    assert_eq!(logic.epoch().await, node.service().epoch().await);
    let first = logic.sign_in(user(1), device(10), "any", Seq::ZERO).await;
    let granted = SignInGrant {
        generation: Generation(1),
        token_left: None,
    };
    assert_eq!(first, Ok(granted));
    let draft = with_id(MessageDraft::text(user(2), "hi"), "a");
    let sent = logic.send(phone(1), draft.clone()).await.unwrap();
    assert_eq!((sent.seq.get(), sent.repeated), (1, false));
    let again = logic.send(phone(1), draft.clone()).await.unwrap();
    assert_eq!(
        again,
        SendReceipt {
            repeated: true,
            ..sent
        }
    );

    let page = logic
        .page(user(2), Seq::ZERO, PageLimit::items(10))
        .await
        .unwrap();
    let own = node
        .service()
        .page(user(2), Seq::ZERO, PageLimit::items(10))
        .await
        .unwrap();
    assert_eq!(
        (page.head, page.more, page.items.len()),
        (own.head, own.more, 1)
    );
    let (came, kept) = (&page.items[0], &own.items[0]);
    assert_eq!(
        (came.0, &came.1.message, &came.1.profile),
        (kept.0, &kept.1.message, &kept.1.profile)
    );
    let heads = logic.heads(&[user(2), user(9)]).await.unwrap();
    assert_eq!(
        heads.iter().map(|it| it.head.get()).collect::<Vec<_>>(),
        [1, 0]
    );

    let mark = AckMark {
        user: user(2),
        device: device(20),
        upto: Seq::new(1),
    };
    assert_eq!(logic.ack(&[mark]).await, Ok(()));
    assert_eq!(
        logic.acked(user(2)).await,
        Ok(vec![(device(20), Seq::new(1))])
    );

    // Refusals arrive with every detail.
    let other = with_id(MessageDraft::text(user(2), "other"), "a");
    assert_eq!(
        logic.send(phone(1), other).await,
        Err(RequestRefusal::Conflict)
    );
    let group = GroupId::new(77).unwrap();
    let to_group = MessageDraft {
        receiver: MessageReceiver::Group(group),
        ..with_id(draft, "b")
    };
    let refused = logic.send(phone(1), to_group.clone()).await;
    assert_eq!(refused, node.service().send(phone(1), to_group).await);
    assert_eq!(refused, Err(RequestRefusal::NoSuchGroup(group)));

    remote.stop().await;
    served.stop().await;
    node.stop().await;
}

#[tokio::test]
async fn sends_of_a_user_keep_their_order() {
    let stores = memory::stores();
    let node = node(&stores);
    let served = TestGrpcServer::logic(Arc::new(node.service().clone())).await;
    let remote = RemoteLogicFixture::to(&[served.address()]).await;
    let sends = (0..200).map(|n| {
        let draft = with_id(MessageDraft::text(user(2), "x"), &n.to_string());
        remote.logic.send(phone(1), draft)
    });
    let sent = futures_util::future::join_all(sends).await;
    let seqs: Vec<u64> = sent.into_iter().map(|it| it.unwrap().seq.get()).collect();
    assert_eq!(seqs, (1..=200).collect::<Vec<_>>());
    remote.stop().await;
    served.stop().await;
    node.stop().await;
}

#[tokio::test]
async fn a_node_that_goes_answers_all_and_the_others_go_on() {
    let stores = memory::stores();
    let (one, two) = (node(&stores), node(&stores));
    let first = TestGrpcServer::logic(Arc::new(one.service().clone())).await;
    let second = TestGrpcServer::logic(Arc::new(two.service().clone())).await;
    let remote = RemoteLogicFixture::to(&[first.address(), second.address()]).await;
    assert!(remote.logic.all_reached(SOON).await);
    let flow = async {
        let mut count = 0;
        for n in 0..400 {
            let draft = with_id(MessageDraft::text(user(2), "x"), &n.to_string());
            let sent = remote.logic.send(phone(1 + n % 16 * 2), draft).await;
            assert!(sent.is_ok(), "send {n}: {sent:?}");
            count += 1;
        }
        count
    };
    let (count, ()) = tokio::join!(flow, async {
        tokio::task::yield_now().await;
        first.stop().await;
    });
    assert_eq!(count, 400);
    let head = remote.logic.heads(&[user(2)]).await.unwrap();
    assert_eq!(head[0].head.get(), 400);
    remote.stop().await;
    second.stop().await;
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn nobody_to_ask_is_said_at_once() {
    let gone = TestGrpcServer::logic(Arc::new(SilentLogic::default())).await;
    let address = gone.address();
    gone.stop().await;
    let remote = RemoteLogicFixture::unreached(&[address]);
    let sent = remote
        .logic
        .send(phone(1), MessageDraft::text(user(2), "x"))
        .await;
    assert_eq!(sent, Err(RequestRefusal::Unavailable));
    assert_eq!(remote.logic.epoch().await, Err(RequestRefusal::Unavailable));
    remote.stop().await;
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_left_and_its_sends_are_unknown() {
    let stores = memory::stores();
    let node = node(&stores);
    let mute = TestGrpcServer::logic(Arc::new(SilentLogic::default())).await;
    let remote = RemoteLogicFixture::to(&[mute.address()]).await;
    let sends = (1..=3).map(|n| {
        remote
            .logic
            .send(phone(n), MessageDraft::text(user(9), "x"))
    });
    let sent = futures_util::future::join_all(sends).await;
    assert!(
        sent.iter().all(|it| *it == Err(RequestRefusal::Unknown)),
        "{sent:?}"
    );
    // Reads are tried, and fail within their time limit.
    assert_eq!(remote.logic.epoch().await, Err(RequestRefusal::Unavailable));
    remote.stop().await;
    mute.stop.cancel();
    node.stop().await;
}

#[tokio::test]
async fn another_version_is_refused() {
    use gimlet_proto::node::EpochRequest;
    use gimlet_proto::node::logic_node_client::LogicNodeClient;

    let served = TestGrpcServer::logic(Arc::new(SilentLogic::default())).await;
    let address = format!("http://{}", served.address());
    let mut client = LogicNodeClient::connect(address).await.unwrap();
    let status = client.epoch(EpochRequest {}).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::FailedPrecondition);
    assert!(status.message().contains("version none"), "{status}");
    drop(client);
    served.stop().await;
}

/// A logic role that never answers.
#[derive(Debug)]
struct SilentLogic(Semaphore);

impl Default for SilentLogic {
    fn default() -> Self {
        Self(Semaphore::new(0))
    }
}

impl SilentLogic {
    async fn never<T>(&self) -> T {
        let _ = self.0.acquire().await;
        std::future::pending().await
    }
}

#[async_trait]
impl LogicRole for SilentLogic {
    async fn sign_in(
        &self,
        _: UserId,
        _: DeviceId,
        _: &str,
        _: Seq,
    ) -> Result<SignInGrant, RequestRefusal> {
        self.never().await
    }

    async fn epoch(&self) -> Result<Epoch, RequestRefusal> {
        self.never().await
    }

    async fn went_back(&self, _: UserId, _: Seq, _: Epoch) -> Result<Epoch, RequestRefusal> {
        self.never().await
    }

    async fn heads(&self, _: &[UserId]) -> Result<Vec<Head>, RequestRefusal> {
        self.never().await
    }

    async fn page(&self, _: UserId, _: Seq, _: PageLimit) -> Result<InboxPage, RequestRefusal> {
        self.never().await
    }

    async fn acked(&self, _: UserId) -> Result<Vec<(DeviceId, Seq)>, RequestRefusal> {
        self.never().await
    }

    async fn ack(&self, _: &[AckMark]) -> Result<(), RequestRefusal> {
        self.never().await
    }

    fn send(&self, _: MessageSender, _: MessageDraft) -> SendFuture {
        SendFuture::started(std::future::pending())
    }
}
