//! The services over in-memory storage.

mod deadline;
mod friend;
mod group;
mod job;
mod order;
mod rest;
mod send;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;

use super::*;
use crate::business::UserInfo;
use crate::envelope::Parcel;
use crate::fanout::LocalSink;
use crate::id::{GroupId, UserId};
use crate::logic::Logic as _;
use crate::memory;
use crate::message::{Content, Draft, Profile, Receiver, Sender};
use crate::page::PageLimit;
use crate::peer::Alone;
use crate::seq::Seq;
use crate::time::{ManualClock, Timestamp};

/// A backend with the users 1 … `users`, which may be down.
#[derive(Debug)]
struct Backend {
    users: u64,
    down: Mutex<bool>,
    asked: Mutex<usize>,
}

#[async_trait]
impl Business for Backend {
    async fn auth(&self, user: UserId, _: DeviceId, token: &str) -> Result<(), Refusal> {
        if user.get() <= self.users && token == "right" {
            Ok(())
        } else {
            Err(Refusal::Unauthorized("the token is wrong"))
        }
    }

    async fn users(&self, users: &[UserId]) -> Result<Vec<UserInfo>, Refusal> {
        *self.asked.lock().unwrap() += 1;
        if *self.down.lock().unwrap() {
            return Err(Refusal::Unavailable);
        }
        let known = users.iter().filter(|user| user.get() <= self.users);
        let infos = known.map(|user| UserInfo {
            user: *user,
            profile: Profile {
                nickname: format!("name{}", user.get()),
                ..Profile::default()
            },
            sex: 0,
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        });
        Ok(infos.collect())
    }
}

/// Records the calls to this node's connections.
#[derive(Debug, Default)]
struct Heard {
    parcels: Mutex<Vec<Parcel>>,
    closed: Mutex<Vec<(UserId, Option<DeviceId>)>>,
}

impl LocalSink for Heard {
    fn deliver(&self, parcels: &[Parcel]) {
        self.parcels.lock().unwrap().extend(parcels.iter().cloned());
    }

    fn disconnect(&self, user: UserId, device: Option<DeviceId>, _: &str) {
        self.closed.lock().unwrap().push((user, device));
    }
}

impl Heard {
    /// Returns the user and the seq of each pushed entry, in order.
    fn entries(&self) -> Vec<(u64, u64)> {
        let parcels = self.parcels.lock().unwrap();
        let entries = parcels.iter().filter_map(|parcel| match parcel {
            Parcel::Entries { to, .. } => Some(to.clone()),
            _ => None,
        });
        entries
            .flatten()
            .map(|(user, seq)| (user.get(), seq.get()))
            .collect()
    }
}

/// Encodes pushes as text.
#[derive(Debug)]
struct InWords;

impl PushCodec for InWords {
    fn encode(&self, push: &SystemPush) -> (i32, Bytes) {
        (7, format!("{} {push:?}", push.code()).into())
    }
}

struct World {
    service: Service,
    heard: Arc<Heard>,
    backend: Arc<Backend>,
    tracker: TaskTracker,
    token: CancellationToken,
}

/// Makes a fixture with 3,000 users.
fn world() -> World {
    world_of(memory::stores(), Limits::default(), Policy::default())
}

fn world_of(stores: Stores, limits: Limits, policy: Policy) -> World {
    let heard = Arc::new(Heard::default());
    let backend = Arc::new(Backend {
        users: 3_000,
        down: Mutex::new(false),
        asked: Mutex::new(0),
    });
    let (tracker, token) = (TaskTracker::new(), CancellationToken::new());
    let parts = Parts {
        stores,
        limits,
        clock: Arc::new(ManualClock::at(Timestamp(5_000))),
        business: Arc::clone(&backend) as _,
        peer: Arc::new(Alone),
        sink: Arc::clone(&heard) as _,
        node: NodeId::boot("here"),
        policy,
        codec: Arc::new(InWords),
    };
    let service = Service::start(parts, &tracker, &token);
    World {
        service,
        heard,
        backend,
        tracker,
        token,
    }
}

impl World {
    /// Returns the seq and the text of each entry of a user's inbox.
    async fn inbox(&self, of: u64) -> Vec<(u64, String)> {
        let limit = PageLimit::items(10_000);
        let page = self.service.page(user(of), Seq::ZERO, limit).await.unwrap();
        let entries = page.items.into_iter().map(|(seq, envelope)| {
            let text = String::from_utf8_lossy(&envelope.message.content.0).into_owned();
            (seq.get(), text)
        });
        entries.collect()
    }

    async fn texts(&self, of: u64) -> Vec<String> {
        let entries = self.inbox(of).await;
        for (at, (seq, _)) in entries.iter().enumerate() {
            assert_eq!(*seq, at as u64 + 1, "an inbox has no gaps");
        }
        entries.into_iter().map(|(_, text)| text).collect()
    }

    /// Returns the push codes in a user's inbox.
    async fn pushes(&self, of: u64) -> Vec<String> {
        let texts = self.texts(of).await;
        let codes = texts.iter().filter_map(|text| text.split(' ').next());
        codes.map(str::to_owned).collect()
    }

    /// Creates a group of these users; the first one is its admin.
    async fn group(&self, members: impl IntoIterator<Item = u64>) -> GroupId {
        let members: Vec<UserId> = members.into_iter().map(user).collect();
        let draft = GroupDraft {
            name: "group".into(),
            members: members.clone(),
            ..GroupDraft::default()
        };
        self.service.create_group(members[0], draft).await.unwrap()
    }

    async fn stop(self) {
        self.token.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

fn user(n: u64) -> UserId {
    UserId::new(n).unwrap()
}

fn device(n: u64) -> DeviceId {
    DeviceId::new(n).unwrap()
}

fn from(n: u64) -> Sender {
    Sender::User {
        user: user(n),
        device: DeviceId::new(n),
    }
}

fn says(receiver: Receiver, text: &str) -> Draft {
    Draft {
        receiver,
        mentions: Vec::new(),
        kind: 1,
        content: Content(text.to_owned().into()),
        sent_at: Timestamp(1_700_000_000_001),
        persist: true,
        client_id: None,
        request_id: None,
    }
}

fn to_user(n: u64, text: &str) -> Draft {
    says(Receiver::User(user(n)), text)
}

fn to_group(group: GroupId, text: &str) -> Draft {
    says(Receiver::Group(group), text)
}
