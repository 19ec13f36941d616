//! Signs many connections in and makes them live. Every scenario begins with this.

use std::io;

use gimlet_proto::pb::{self, PackageType};
use prost::Message as _;

use super::{
    ClientNet, ConnId, ConnectionActor, RawBody, ServerPacket, drive, epoch_and_head, page,
};
use crate::clock::{self, SECOND};
use crate::test_account::TestAccount;

/// Connections that are joining at a time.
const PARALLEL: usize = 256;

/// Nanoseconds without progress after which joining has failed.
const STUCK: u64 = 30 * SECOND;

/// Live connection.
#[derive(Clone, Copy, Debug)]
pub struct JoinedConnection {
    /// Id of the connection.
    pub conn: ConnId,
    /// Highest seq of its inbox that the connection has received or learned.
    pub head: i64,
}

/// Encodes the body of a `SIGN_IN`; `protocol` 0 is a client of gim.
#[must_use]
pub fn sign_in_body(account: &TestAccount, protocol: u32) -> Vec<u8> {
    pb::SignInInput {
        device_id: account.device,
        user_id: account.user,
        token: account.token.clone(),
        protocol,
    }
    .encode_to_vec()
}

/// Connects each account, signs it in, and syncs until it is live; returns the connections in the
/// order of the accounts.
///
/// # Errors
/// A connection was refused or closed, or there was no progress for half a minute.
pub fn join(
    net: &mut ClientNet,
    accounts: &[TestAccount],
    protocol: u32,
) -> io::Result<Vec<JoinedConnection>> {
    let nobody = JoinedConnection {
        conn: ConnId::MAX,
        head: 0,
    };
    let mut joiner = JoinActor {
        accounts,
        protocol,
        next: 0,
        who: Vec::new(),
        joined: vec![nobody; accounts.len()],
        live: 0,
        moved: clock::now(),
        failed: None,
    };
    drive(net, &mut joiner)?;
    match joiner.failed {
        Some(why) => Err(io::Error::other(why)),
        None => Ok(joiner.joined),
    }
}

struct JoinActor<'a> {
    accounts: &'a [TestAccount],
    protocol: u32,
    next: usize,
    /// Index of the account, by connection.
    who: Vec<usize>,
    joined: Vec<JoinedConnection>,
    live: usize,
    moved: u64,
    failed: Option<String>,
}

impl JoinActor<'_> {
    fn begin(&mut self, net: &mut ClientNet, who: usize) {
        match net.connect() {
            Ok(conn) => {
                let slot = conn as usize;
                if self.who.len() <= slot {
                    self.who.resize(slot + 1, usize::MAX);
                }
                if let (Some(at), Some(joined)) = (self.who.get_mut(slot), self.joined.get_mut(who))
                {
                    *at = who;
                    joined.conn = conn;
                }
            }
            Err(error) => self.fail(|| format!("connecting: {error}")),
        }
    }

    /// Fails the joining; the first reason is kept.
    fn fail(&mut self, why: impl FnOnce() -> String) {
        self.failed.get_or_insert_with(why);
    }

    fn of(&self, conn: ConnId) -> Option<usize> {
        self.who
            .get(conn as usize)
            .copied()
            .filter(|&who| who != usize::MAX)
    }

    fn sync(net: &mut ClientNet, conn: ConnId, seq: i64) {
        let body = pb::SyncInput { seq }.encode_to_vec();
        net.send(conn, PackageType::PtSync, 2, &RawBody(&body));
    }

    fn answer(&mut self, net: &mut ClientNet, conn: ConnId, packet: &ServerPacket<'_>) {
        let Some(joined) = self.of(conn).and_then(|who| self.joined.get_mut(who)) else {
            return;
        };
        self.moved = clock::now();
        if packet.is(PackageType::PtSignIn) {
            joined.head = epoch_and_head(packet.data).1;
            Self::sync(net, conn, joined.head);
        } else if packet.is(PackageType::PtSync) {
            let Some((messages, more)) = page(packet.data) else {
                self.fail(|| "the answer to SYNC is not a page".to_owned());
                return;
            };
            joined.head = messages.last().map_or(joined.head, |last| last.seq);
            if more {
                Self::sync(net, conn, joined.head);
            } else {
                self.live += 1;
            }
        }
    }
}

impl ConnectionActor for JoinActor<'_> {
    fn opened(&mut self, net: &mut ClientNet, id: ConnId) {
        if let Some(account) = self.of(id).and_then(|who| self.accounts.get(who)) {
            let body = sign_in_body(account, self.protocol);
            net.send(id, PackageType::PtSignIn, 1, &RawBody(&body));
        }
    }

    fn packet(&mut self, net: &mut ClientNet, id: ConnId, packet: &ServerPacket<'_>) {
        if packet.code != 0 || packet.is(PackageType::PtClose) {
            self.fail(|| format!("joining was refused: {}", packet.refusal()));
        } else if packet.is(PackageType::PtMessage) {
            // A push of the preparation, for example about a joined group, raises the head.
            if let Some(pushed) = super::read_push(packet.data)
                && let Some(joined) = self.of(id).and_then(|who| self.joined.get_mut(who))
            {
                joined.head = joined.head.max(pushed.seq);
            }
        } else {
            self.answer(net, id, packet);
        }
    }

    fn closed(&mut self, _net: &mut ClientNet, _id: ConnId, why: &str) {
        self.fail(|| format!("a connection was lost while joining: {why}"));
    }

    fn tick(&mut self, net: &mut ClientNet, now: u64) -> Option<u64> {
        if self.failed.is_some() || self.live == self.accounts.len() {
            return None;
        }
        if now.saturating_sub(self.moved) > STUCK {
            let text = format!("{} of {} are live", self.live, self.accounts.len());
            self.fail(|| format!("no progress while joining: {text}"));
            return None;
        }
        while self.failed.is_none()
            && self.next < self.accounts.len()
            && self.next - self.live < PARALLEL
        {
            self.begin(net, self.next);
            self.next += 1;
        }
        Some(now + SECOND)
    }
}
