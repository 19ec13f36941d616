//! The services over in-memory storage.

mod before_send;
mod deadline;
mod events;
mod friend;
mod group;
mod job;
mod order;
mod other_services;
mod presence;
mod send;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;

use super::*;
use crate::business::UserInfo;
use crate::delivery::DeliveryBatch;
use crate::id::{GroupId, UserId};
use crate::logic::LogicRole as _;
use crate::memory;
use crate::message::{MessageContent, MessageDraft, MessageReceiver, MessageSender, UserProfile};
use crate::page::PageLimit;
use crate::peer::SingleNodePeer;
use crate::seq::Seq;
use crate::test_fixtures::{RecordingSink, settle};
use crate::testkit::helpers::{device, user};
use crate::time::{ManualClock, UnixTimestamp};

/// A backend with the users 1 … `users`, which may be down.
#[derive(Debug)]
struct FakeBusinessBackend {
    users: u64,
    down: Mutex<bool>,
    calls: Mutex<usize>,
}

#[async_trait]
impl BusinessBackend for FakeBusinessBackend {
    async fn auth(&self, user: UserId, _: DeviceId, token: &str) -> Result<(), RequestRefusal> {
        if user.get() <= self.users && token == "right" {
            Ok(())
        } else {
            Err(RequestRefusal::Unauthorized("the token is wrong"))
        }
    }

    async fn users(&self, users: &[UserId]) -> Result<Vec<UserInfo>, RequestRefusal> {
        *self.calls.lock().unwrap() += 1;
        if *self.down.lock().unwrap() {
            return Err(RequestRefusal::Unavailable);
        }
        let known = users.iter().filter(|user| user.get() <= self.users);
        let infos = known.map(|user| UserInfo {
            user: *user,
            profile: UserProfile {
                nickname: format!("name{}", user.get()),
                ..UserProfile::default()
            },
            sex: 0,
            created_at: UnixTimestamp(0),
            updated_at: UnixTimestamp(0),
        });
        Ok(infos.collect())
    }
}

/// Encodes pushes as text.
#[derive(Debug)]
struct CodedTextPushCodec;

impl PushCodec for CodedTextPushCodec {
    fn encode(&self, push: &SystemPush) -> (i32, Bytes) {
        (7, format!("{} {push:?}", push.code()).into())
    }
}

struct ServiceFixture {
    service: LogicService,
    sink: Arc<RecordingSink>,
    backend: Arc<FakeBusinessBackend>,
    tracker: TaskTracker,
    token: CancellationToken,
}

/// Makes a fixture with 3,000 users.
fn service_fixture() -> ServiceFixture {
    service_fixture_with(memory::stores(), Limits::default(), ServerPolicy::default())
}

fn service_fixture_with(stores: StoreSet, limits: Limits, policy: ServerPolicy) -> ServiceFixture {
    start_fixture(stores, limits, policy, EventSubscriptions::default())
}

fn start_fixture(
    stores: StoreSet,
    limits: Limits,
    policy: ServerPolicy,
    events: EventSubscriptions,
) -> ServiceFixture {
    service_fixture_of(stores, limits, policy, events, None)
}

fn service_fixture_of(
    stores: StoreSet,
    limits: Limits,
    policy: ServerPolicy,
    events: EventSubscriptions,
    before_send: Option<Arc<BeforeSendPolicy>>,
) -> ServiceFixture {
    let sink = Arc::new(RecordingSink::default());
    let backend = Arc::new(FakeBusinessBackend {
        users: 3_000,
        down: Mutex::new(false),
        calls: Mutex::new(0),
    });
    let (tracker, token) = (TaskTracker::new(), CancellationToken::new());
    let parts = ServiceParts {
        stores,
        limits,
        clock: Arc::new(ManualClock::at(UnixTimestamp(5_000))),
        business: Arc::clone(&backend) as _,
        peer: Arc::new(SingleNodePeer),
        sink: Arc::clone(&sink) as _,
        node: NodeId::boot("here"),
        policy,
        codec: Arc::new(CodedTextPushCodec),
        events,
        before_send,
    };
    let service = LogicService::start(parts, &tracker, &token);
    ServiceFixture {
        service,
        sink,
        backend,
        tracker,
        token,
    }
}

impl ServiceFixture {
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

fn from(n: u64) -> MessageSender {
    MessageSender::User {
        user: user(n),
        device: DeviceId::new(n),
    }
}

fn says(receiver: MessageReceiver, text: &str) -> MessageDraft {
    MessageDraft {
        receiver,
        mentions: Vec::new(),
        kind: 1,
        content: MessageContent(text.to_owned().into()),
        sent_at: UnixTimestamp(1_700_000_000_001),
        persist: true,
        client_id: None,
        request_id: None,
    }
}

fn to_user(n: u64, text: &str) -> MessageDraft {
    says(MessageReceiver::User(user(n)), text)
}

fn to_group(group: GroupId, text: &str) -> MessageDraft {
    says(MessageReceiver::Group(group), text)
}
