//! Attacks by rooms.

use std::sync::Arc;
use std::time::Duration;

use gimlet_client::MessageContent;
use gimlet_proto::pb::{self, PackageType};
use prost::Message as _;
use tokio::task::JoinSet;
use tokio::time::interval;

use super::tally::AttackTally;
use super::target::AttackerAccounts;
use super::wire::{AttackSocket, frame};

/// Room with a large history.
const BUSY_ROOM: i64 = 9_000_000;
/// Messages in its history, each of [`LARGE`] bytes.
const KEPT: usize = 64;
/// Bytes of a large message.
const LARGE: usize = 60 * 1000;
/// Members that request the history at the same time.
pub(super) const SUBSCRIBERS: usize = 60;
/// Rooms that get one large message each, in turn.
const MANY: i64 = 1_000;

/// Subscribes many members at once to a room with a large history.
pub(super) async fn history(squad: AttackerAccounts, tally: Arc<AttackTally>) {
    let api = squad.as_account(&squad.spare(2));
    let mut round = interval(Duration::from_secs(3));
    loop {
        round.tick().await;
        let content = large();
        for _ in 0..KEPT {
            tally.counts(api.push_room(BUSY_ROOM, &content, true).await);
        }
        let mut tasks = JoinSet::new();
        for account in squad.members.iter().rev().take(SUBSCRIBERS) {
            let (to, tally) = (squad.field.tcp, Arc::clone(&tally));
            let account = account.clone();
            tasks.spawn(async move {
                let subscribed = async {
                    let mut socket = AttackSocket::sign_in(to, &account, 1).await?;
                    let body = pb::SubscribeRoomInput {
                        room_id: BUSY_ROOM,
                        seq: 0,
                    };
                    let body = body.encode_to_vec();
                    socket
                        .write(&frame(PackageType::PtSubscribeRoom, 3, body)?)
                        .await?;
                    for _ in 0..KEPT {
                        socket.next().await?;
                    }
                    std::io::Result::Ok(())
                };
                tally.counts(subscribed.await);
            });
        }
        tasks.join_all().await;
    }
}

/// Publishes one large kept message to each of many rooms.
pub(super) async fn many(squad: AttackerAccounts, tally: Arc<AttackTally>) {
    let api = squad.as_account(&squad.spare(3));
    let content = large();
    let mut tick = interval(Duration::from_millis(50));
    for room in (0..MANY).cycle() {
        tick.tick().await;
        tally.counts(api.push_room(BUSY_ROOM + 1 + room, &content, true).await);
    }
}

fn large() -> MessageContent {
    MessageContent::text("r".repeat(LARGE))
}
