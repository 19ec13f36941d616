//! A replica that lacks the latest commits becomes the primary: numbers that were given out are
//! given out again. The storage's epoch must rise before, so that every client reads its inbox
//! anew.

use std::sync::Arc;
use std::time::Duration;

use gimlet_client::{ClientEvent, DeviceCredentials, MemoryCursor, MessageTarget};
use gimlet_judge::DeliveryJudge;
use gimlet_kit::random_phone;
use gimlet_kit::wire::RawClient;
use gimlet_tests::cluster::{ClusterDevice, NodeCluster};
use gimlet_tests::fault::{FaultRow, GrpcSender, request, text_bytes};
use gimlet_tests::judging::{RunVerdict, records};
use tokio::time::{Instant, sleep};

use crate::failover::{PROMISE, start_pair_and_cluster};
use crate::fault_stage::FaultStage;

/// Messages of each part: replicated, lost with the old primary, sent to the new one.
const MESSAGES: usize = 10;
/// Before the next attempt of a send.
const AGAIN: Duration = Duration::from_millis(25);

/// One sender, one receiver with two devices, and the judge of what they see.
struct TestConversation {
    caller: GrpcSender,
    receiver: DeviceCredentials,
    readers: Arc<[i64]>,
    history: DeliveryJudge,
    refused: (u64, u64),
}

impl TestConversation {
    /// Sends the texts one after the other; repeats each by its id until it is answered.
    async fn sends(&mut self, texts: &[String], kept: bool) {
        for text in texts {
            let content = text_bytes(text);
            if kept {
                self.history.begin_send(1, &content, &self.readers);
            }
            let to = MessageTarget::User(self.receiver.user_id);
            let message = request(to, text, text.clone());
            let id = self.until_answered(&message).await;
            if kept {
                self.history
                    .confirm_send(&content, Some(&id), &self.readers);
            }
        }
    }

    async fn until_answered(&mut self, message: &gimlet_proto::pb::SendMessageReq) -> Vec<u8> {
        let begun = Instant::now();
        for node in 0.. {
            match self.caller.send(node, message).await {
                Ok(sent) => return sent.message_id.to_vec(),
                Err(error) => match error.code {
                    14 => self.refused.0 += 1,
                    4 => self.refused.1 += 1,
                    _ => panic!("a send was refused with {error}"),
                },
            }
            assert!(begun.elapsed() < PROMISE * 2, "a send is answered");
            sleep(AGAIN).await;
        }
        unreachable!("there is always a next node")
    }
}

/// The texts of one part.
fn texts(part: &str) -> Vec<String> {
    (1..=MESSAGES).map(|at| format!("{part} {at}")).collect()
}

/// Checks that the device is notified of the change, and is then shown exactly these from 1 on.
async fn starts_over(phone: &mut ClusterDevice, all: &[String], judge: &mut DeliveryJudge) -> u64 {
    let changed = |event| match event {
        ClientEvent::HistoryChanged { epoch } => Some(epoch),
        _ => None,
    };
    let epoch = phone.next("the change of the history", changed).await;
    let watch = judge.watch(phone.who.user_id, phone.who.device_id, 0);
    for (at, text) in all.iter().enumerate() {
        let seq = i64::try_from(at + 1).unwrap();
        phone.receives(text, seq).await;
        judge.shown(watch, seq, Some(&text_bytes(text)));
    }
    epoch
}

pub(crate) async fn a_replica_without_the_latest_commits_is_promoted(
    stage: FaultStage,
) -> FaultRow {
    let (mut pair, cluster) = start_pair_and_cluster(&stage).await;
    let (mut talk, away_who) = conversation(&cluster).await;
    let (replicated, forgotten, after) = (texts("kept"), texts("forgotten"), texts("after"));

    let mut live = ClusterDevice::new(&talk.receiver, cluster.endpoint(0)).await;
    let cursor = Arc::<MemoryCursor>::default();
    let mut away =
        ClusterDevice::with_cursor(&away_who, cluster.endpoint(1), Arc::clone(&cursor)).await;
    talk.sends(&replicated, true).await;
    pair.loses_its_follower().await;
    talk.sends(&forgotten, false).await;
    for (at, text) in replicated.iter().chain(&forgotten).enumerate() {
        let seq = i64::try_from(at + 1).unwrap();
        live.receives(text, seq).await;
        away.receives(text, seq).await;
    }
    // This device comes back with a cursor of the old numbering.
    drop(away);

    let there = pair.fails_over().await;
    talk.sends(&after, true).await;
    let all = [replicated, after].concat();
    let epoch = starts_over(&mut live, &all, &mut talk.history).await;
    let served = there.elapsed();
    assert!(served < PROMISE, "served {served:?} after the promotion");
    let mut away = ClusterDevice::with_cursor(&away_who, cluster.endpoint(1), cursor).await;
    let again = starts_over(&mut away, &all, &mut talk.history).await;
    assert_eq!(epoch, again, "one change of the history");

    judged(talk, &cluster, served).await
}

/// A sender without a connection, and a receiver: the first device in the conversation, another
/// beside it.
async fn conversation(cluster: &NodeCluster) -> (TestConversation, DeviceCredentials) {
    let sender = cluster.sign_up().await;
    let number = random_phone();
    let receiver = cluster.sign_in(&number).await;
    let away = cluster.sign_in(&number).await;
    let nodes: Vec<_> = cluster.logic.iter().map(|it| it.ports().grpc).collect();
    let talk = TestConversation {
        caller: GrpcSender::new(&nodes, &sender),
        readers: Arc::from([sender.user_id, receiver.user_id]),
        receiver,
        history: DeliveryJudge::default(),
        refused: (0, 0),
    };
    (talk, away)
}

/// Reads both inboxes and makes the row.
async fn judged(mut talk: TestConversation, cluster: &NodeCluster, recovery: Duration) -> FaultRow {
    let readers = [talk.caller.credentials(), &talk.receiver].map(Clone::clone);
    for who in readers {
        let tcp = cluster.connect[0].ports().tcp;
        // A device that is live keeps its connection: the judge takes it over, as nothing follows.
        let mut raw = RawClient::sign_in(tcp, &who).await.unwrap();
        let entries = raw.sync(0).await.unwrap();
        talk.history.read(who.user_id, records(&entries));
    }
    let verdict = RunVerdict::of(&talk.history);
    assert!(verdict.is_clean(), "{verdict}");
    FaultRow {
        fault: "kill -9 of the primary MariaDB, a replica without its last ten commits promoted"
            .to_owned(),
        verdict,
        refused: talk.refused,
        recovery,
        note: "from the promotion until a live client had read its inbox anew; what the replica \
               lacked is not counted"
            .to_owned(),
    }
}
