//! The senders of a load: each sends one message after another, and repeats it with its id until it
//! is answered.

use std::sync::Arc;
use std::time::Duration;

use gimlet_client::{Client, MessageContent, MessageDraft, MessageTarget};
use gimlet_proto::pb;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep};

use super::grpc_sender::GrpcSender;
use super::load_state::{LoadState, SendAnswer};
use super::text::text_bytes;

/// Interval between two sends of one sender.
const PACE: Duration = Duration::from_millis(40);
/// Pause before an attempt at the other node.
const AGAIN: Duration = Duration::from_millis(25);

/// Returns a durable send of this text with this id.
#[must_use]
pub fn request(to: MessageTarget, text: &str, id: String) -> pb::SendMessageReq {
    let (receiver_type, receiver_id) = match to {
        MessageTarget::Group(id) => (pb::ReceiverType::RtGroup, id),
        MessageTarget::User(id) => (pb::ReceiverType::RtUser, id),
        other => panic!("the load does not send to {other:?}"),
    };
    pb::SendMessageReq {
        receiver_type: receiver_type.into(),
        receiver_id,
        message_type: pb::MessageType::MtText.into(),
        message_content: text_bytes(text).into(),
        is_persist: true,
        client_message_id: id,
        ..pb::SendMessageReq::default()
    }
}

/// The sends of one sender: their receivers, recipients and texts.
#[derive(Clone, Debug)]
pub(super) struct SenderPlan {
    pub(super) sender: u64,
    pub(super) own: i64,
    pub(super) group: i64,
    pub(super) everybody: Arc<[i64]>,
    pub(super) receivers: Vec<i64>,
}

impl SenderPlan {
    fn nth_send(&self, turn: u64) -> (MessageTarget, Arc<[i64]>, String) {
        let text = format!("{} of sender {}", turn, self.sender);
        if turn % 2 == 1 {
            return (
                MessageTarget::Group(self.group),
                Arc::clone(&self.everybody),
                text,
            );
        }
        let at = usize::try_from(self.sender + turn / 2).unwrap_or(0) % self.receivers.len();
        let to = self.receivers.get(at).copied().expect("counted round");
        (MessageTarget::User(to), Arc::from([self.own, to]), text)
    }
}

/// Waits for the next send; `false` when the load has ended.
async fn next_send(pace: &mut Interval, shared: &LoadState) -> bool {
    let mut open = shared.open.subscribe();
    let turn = async {
        pace.tick().await;
        // The wait cannot fail: `shared` owns the sender.
        let _ = open.wait_for(|open| *open).await;
    };
    // Biased: after the end of the load no further send may begin, also if one is due.
    tokio::select! {
        biased;
        () = shared.stop.cancelled() => false,
        () = turn => true,
    }
}

fn pace() -> Interval {
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
}

pub(super) async fn by_client(client: Client, plan: SenderPlan, shared: Arc<LoadState>) {
    let mut pace = pace();
    for turn in 0.. {
        if !next_send(&mut pace, &shared).await {
            return;
        }
        let (to, readers, text) = plan.nth_send(turn);
        let begun = shared.begins(plan.sender, &text, &readers);
        let draft = MessageDraft::new(to, MessageContent::Text(text.clone()));
        match client.send_draft(draft).await {
            Ok(sent) => {
                let sent = SendAnswer {
                    message_id: sent.message_id.to_vec(),
                    repeated: sent.repeated,
                };
                shared.answers(plan.sender, begun, &text, &readers, &sent);
            }
            Err(error) => {
                let text = format!("a client's send ended with {error}");
                shared.log().unexpected.push(text);
                return;
            }
        }
    }
}

pub(super) async fn by_grpc(caller: GrpcSender, plan: SenderPlan, shared: Arc<LoadState>) {
    let mut pace = pace();
    let mut node = usize::try_from(plan.sender).unwrap_or(0);
    for turn in 0.. {
        if !next_send(&mut pace, &shared).await {
            return;
        }
        let (to, readers, text) = plan.nth_send(turn);
        let begun = shared.begins(plan.sender, &text, &readers);
        let request = request(to, &text, format!("{}-{turn}", plan.sender));
        loop {
            let start = Instant::now();
            let answer = caller.send(node, &request).await;
            let ended = Instant::now();
            let took = ended.duration_since(start);
            shared.log().attempts.push((ended, took));
            match answer {
                Ok(sent) => {
                    let sent = SendAnswer {
                        message_id: sent.message_id.to_vec(),
                        repeated: sent.repeated,
                    };
                    shared.answers(plan.sender, begun, &text, &readers, &sent);
                    break;
                }
                Err(error) => {
                    *shared.log().refused.entry(error.code).or_default() += 1;
                    // 4 (deadline exceeded) leaves open whether the send was stored; 14
                    // (unavailable) asks for a retry. Both are repeated with the same id until an
                    // answer comes; any other code is a failure.
                    if ![4, 14].contains(&error.code) {
                        let text = format!("a send was refused with {error}");
                        shared.log().unexpected.push(text);
                        return;
                    }
                    // Tries the other node, with the same id.
                    node += 1;
                    sleep(AGAIN).await;
                }
            }
        }
    }
}
