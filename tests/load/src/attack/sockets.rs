//! Attacks over TCP sockets.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use gimlet_proto::pb::{self, PackageType, ReceiverType};
use prost::Message as _;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

use super::tally::AttackTally;
use super::target::AttackerAccounts;
use super::wire::{AttackSocket, PATIENCE, frame, send_body};
use crate::test_account::TestAccount;

/// Connections that never send anything.
pub(super) const SILENT_CONNECTIONS: usize = 2_000;
/// Devices that sign in, receive a large group's messages, and never read.
pub(super) const UNREADING_DEVICES: usize = 200;
/// Bytes of a message that would pin the buffer that it was read into.
const TINY: usize = 2;
/// Tiny messages in one write, so that one read of the server takes them all.
const PIPELINED: i64 = 64;
/// Unanswered sends of a greedy account.
const WINDOW: i64 = 32;
/// Entries that an old client sends to itself before it requests them repeatedly.
const OWN_ENTRIES: i64 = 1_000;
/// Pause after a refusal, so that the attackers do not spend the machine on their own loops.
const PAUSE: Duration = Duration::from_millis(200);

/// Holds connections that never send anything, and opens new ones for those that close.
pub(super) async fn silent(squad: AttackerAccounts, tally: Arc<AttackTally>) {
    let mut held = JoinSet::new();
    let mut tick = interval(Duration::from_millis(5));
    loop {
        tick.tick().await;
        while held.try_join_next().is_some() {}
        if held.len() >= SILENT_CONNECTIONS {
            continue;
        }
        if let Some(mut socket) = tally.counts(AttackSocket::connect(squad.field.tcp).await) {
            // Ends when the server closes the connection or sends anything.
            held.spawn(async move {
                while socket
                    .next()
                    .await
                    .is_err_and(|why| ran_out_of_patience(&why))
                {}
            });
        }
    }
}

fn ran_out_of_patience(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::TimedOut
}

/// Signs in devices of the large group that never read their pushes.
pub(super) async fn unreading_devices(squad: AttackerAccounts, tally: Arc<AttackTally>) {
    let mut tasks = JoinSet::new();
    for account in squad.members.iter().skip(1).take(UNREADING_DEVICES) {
        let (to, tally) = (squad.field.tcp, Arc::clone(&tally));
        let account = account.clone();
        tasks.spawn(async move {
            loop {
                let signed_in = AttackSocket::sign_in(to, &account, 1).await;
                if let Some(mut socket) = tally.counts(signed_in) {
                    let sync = pb::SyncInput { seq: 0 }.encode_to_vec();
                    let synced = socket.ask(PackageType::PtSync, 2, sync).await;
                    if synced.is_ok() {
                        // A heartbeat that cannot be written shows that the server closed the
                        // connection.
                        while send_heartbeat(&mut socket).await.is_ok() {}
                    }
                    tally.refused(&"a connection that never reads was closed");
                }
                sleep(PAUSE).await;
            }
        });
    }
    tasks.join_all().await;
}

async fn send_heartbeat(socket: &mut AttackSocket) -> io::Result<()> {
    sleep(PATIENCE).await;
    socket
        .write(&frame(PackageType::PtHeartbeat, 0, Vec::new())?)
        .await
}

/// Sends two-byte messages to itself, many in one write.
pub(super) async fn tiny(squad: AttackerAccounts, tally: Arc<AttackTally>) {
    let account = squad.spare(0);
    loop {
        let sent = pipelined(&squad, &account, &tally).await;
        if let Err(why) = sent {
            tally.refused(&why);
        }
        sleep(PAUSE).await;
    }
}

async fn pipelined(
    squad: &AttackerAccounts,
    account: &TestAccount,
    tally: &AttackTally,
) -> io::Result<()> {
    let mut socket = AttackSocket::sign_in(squad.field.tcp, account, 1).await?;
    loop {
        let mut frames = Vec::new();
        for id in 0..PIPELINED {
            let body = send_body(ReceiverType::RtUser, account.user, TINY);
            frames.extend(frame(PackageType::PtSend, id, body)?);
        }
        socket.write(&frames).await?;
        for _ in 0..PIPELINED {
            tally.tries();
            let answer = socket.next().await?;
            if answer.code != 0 {
                tally.refused(&format!("{} {}", answer.code, answer.message));
                sleep(PAUSE).await;
            }
        }
    }
}

/// Requests, as an old client, its inbox full of its own sends, repeatedly.
pub(super) async fn own_entries(squad: AttackerAccounts, tally: Arc<AttackTally>) {
    let account = squad.spare(1);
    loop {
        let asked = ask_for_own(&squad, &account, &tally).await;
        if let Err(why) = asked {
            tally.refused(&why);
        }
        sleep(PAUSE).await;
    }
}

async fn ask_for_own(
    squad: &AttackerAccounts,
    account: &TestAccount,
    tally: &AttackTally,
) -> io::Result<()> {
    let mut sender = AttackSocket::sign_in(squad.field.tcp, account, 1).await?;
    for id in 0..OWN_ENTRIES {
        let body = send_body(ReceiverType::RtUser, account.user, 100);
        sender.ask(PackageType::PtSend, id, body).await?;
    }
    drop(sender);
    let mut old = AttackSocket::sign_in(squad.field.tcp, account, 0).await?;
    loop {
        let sync = pb::SyncInput { seq: 0 }.encode_to_vec();
        let page = old.ask(PackageType::PtSync, 2, sync).await;
        if tally.counts(page).is_none() {
            sleep(PAUSE).await;
        }
    }
}

/// Sends from many accounts, each as fast as it is answered.
pub(super) async fn greedy(squad: AttackerAccounts, tally: Arc<AttackTally>) {
    let mut tasks = JoinSet::new();
    for account in squad.greedy.iter() {
        let (squad, tally) = (squad.clone(), Arc::clone(&tally));
        let account = account.clone();
        tasks.spawn(async move {
            loop {
                if let Err(why) = greedily(&squad, &account, &tally).await {
                    tally.refused(&why);
                }
                sleep(PAUSE).await;
            }
        });
    }
    tasks.join_all().await;
}

async fn greedily(
    squad: &AttackerAccounts,
    account: &TestAccount,
    tally: &AttackTally,
) -> io::Result<()> {
    let mut socket = AttackSocket::sign_in(squad.field.tcp, account, 1).await?;
    let next = |id| {
        let body = send_body(ReceiverType::RtUser, account.user, 100);
        frame(PackageType::PtSend, id, body)
    };
    for id in 0..WINDOW {
        socket.write(&next(id)?).await?;
    }
    loop {
        let answer = socket.next().await?;
        if answer.r#type != PackageType::PtSend as i32 {
            continue;
        }
        tally.tries();
        if answer.code != 0 {
            tally.refused(&format!("{} {}", answer.code, answer.message));
        }
        socket.write(&next(answer.request_id)?).await?;
    }
}
