//! The gateway over in-memory stores: the entries that connections get, and when.

mod acks;
mod history;
mod inbox;
mod on_device;
mod rooms;
mod routes;
mod takeover;

use std::future::poll_fn;
use std::sync::Arc;

use tokio::time::Instant;

use super::*;
use crate::business::OpenBusiness;
use crate::delivery::ConnectionDelivery;
use crate::hub::ConnectionWork;
use crate::memory;
use crate::message::{MessageDraft, MessageSender};
use crate::node::{NodeBuilder, RunningNode};
use crate::seq::Seq;
use crate::store::StoreSet;
use crate::testkit::helpers::user;

fn node(stores: &StoreSet) -> RunningNode {
    NodeBuilder::new(stores.clone(), Arc::new(OpenBusiness)).start()
}

async fn sign_in(
    node: &RunningNode,
    who: u64,
    on: u64,
    protocol: u32,
    fragile: bool,
) -> ClientConnection {
    let request = SignInRequest {
        user: user(who),
        device: DeviceId::new(on).unwrap(),
        token: "any".to_owned(),
        client: None,
        protocol,
        legacy: fragile,
        echo: false,
        resume_after: Seq::ZERO,
    };
    node.gateway().sign_in(request).await.unwrap()
}

/// Signs in, syncs from `seq`, and returns the seqs received.
async fn live(node: &RunningNode, who: u64, on: u64, seq: u64) -> (ClientConnection, Vec<u64>) {
    let connection = sign_in(node, who, on, 1, false).await;
    let got = sync(&connection, seq).await;
    (connection, got)
}

async fn sync(connection: &ClientConnection, mut seq: u64) -> Vec<u64> {
    let mut got = Vec::new();
    loop {
        let page = connection.sync(Seq::new(seq)).await.unwrap();
        got.extend(page.items.iter().map(|(seq, _)| seq.get()));
        connection.synced(page.from, page.upto, page.more);
        seq = page.upto.get();
        if !page.more {
            return got;
        }
    }
}

async fn work(connection: &ClientConnection) -> ConnectionWork {
    loop {
        // A wake may bring a new deadline instead of work, so the loop polls again soon.
        let soon = Instant::now() + Duration::from_millis(100);
        let deadline = connection.next_deadline().map_or(soon, |at| at.min(soon));
        tokio::select! {
            work = poll_fn(|cx| connection.poll_work(cx, Instant::now())) => match work {
                ConnectionWork::Read => connection.read().await.unwrap(),
                other => return other,
            },
            () = tokio::time::sleep_until(deadline) => {}
        }
    }
}

/// Returns the seqs of the next `n` deliveries; reads the inbox as the session would.
async fn next(connection: &ClientConnection, n: usize) -> Vec<u64> {
    let mut got = Vec::new();
    while got.len() < n {
        let ConnectionWork::Deliver(batch) = work(connection).await else {
            panic!("closed")
        };
        got.extend(
            batch
                .iter()
                .flat_map(ConnectionDelivery::seqs)
                .map(Seq::get),
        );
    }
    got
}

async fn send(node: &RunningNode, from: u64, on: u64, to: u64) -> u64 {
    let sender = MessageSender::User {
        user: user(from),
        device: DeviceId::new(on),
    };
    // gim's clients send no message id and are recognized by content, so each text is unique.
    let text = format!("{}", rand::random::<u64>());
    node.service()
        .send(sender, MessageDraft::text(user(to), &text))
        .await
        .unwrap()
        .seq
        .get()
}
