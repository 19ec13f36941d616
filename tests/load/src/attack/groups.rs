//! Attacks by groups.

use std::sync::Arc;
use std::time::Duration;

use gimlet_proto::pb::{PackageType, ReceiverType};
use tokio::time::sleep;

use super::tally::AttackTally;
use super::target::AttackerAccounts;
use super::wire::{AttackSocket, send_body};

/// Bytes of a message.
const SIZE: usize = 100;
/// Pause after a refusal.
const PAUSE: Duration = Duration::from_millis(100);

/// Sends to a group of a thousand from one account, each send as soon as the last is answered.
pub(super) async fn sends(squad: AttackerAccounts, tally: Arc<AttackTally>) {
    let Some((admin, others)) = squad.members.split_first() else {
        return;
    };
    let ids: Vec<i64> = others.iter().map(|it| it.user).collect();
    let api = squad.as_account(admin);
    loop {
        let Some(group) = tally.counts(api.create_group("abuse", &ids).await) else {
            sleep(PAUSE).await;
            continue;
        };
        while let Some(mut socket) =
            tally.counts(AttackSocket::sign_in(squad.field.tcp, admin, 1).await)
        {
            loop {
                let body = send_body(ReceiverType::RtGroup, group, SIZE);
                let sent = socket.ask(PackageType::PtSend, 4, body).await;
                if let Err(why) = &sent {
                    let closed = why.kind() != std::io::ErrorKind::Other;
                    tally.counts(sent);
                    sleep(PAUSE).await;
                    if closed {
                        break;
                    }
                    continue;
                }
                tally.tries();
            }
        }
        sleep(PAUSE).await;
    }
}
