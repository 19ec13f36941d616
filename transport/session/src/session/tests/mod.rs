//! Tests sessions over in-memory links and an in-memory node: the answers that clients get, and
//! when connections end. The clock is paused, so waiting takes no time.

mod close;
mod flow;
mod json;
mod link;
mod requests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use gimlet_core::business::{BusinessBackend, UserInfo};
use gimlet_core::error::RequestRefusal;
use gimlet_core::id::{DeviceId, UserId};
use gimlet_core::limits::Limits;
use gimlet_core::memory;
use gimlet_core::message::{MessageDraft, MessageSender, UserProfile};
use gimlet_core::node::{NodeBuilder, RunningNode};
use gimlet_core::seq::Seq;
use gimlet_core::store::StoreSet;
use gimlet_core::time::UnixTimestamp;
use gimlet_proto::pb;
use prost::Message as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::link::LinkClient;
use super::SessionServer;
use crate::WirePushCodec;
use crate::link::{FrameCodec, OpenedLink, SignInSource, WireKind};
use crate::serve::ServeLink;
use crate::settings::SessionSettings;

const SIGN_IN: i32 = 1;
const SYNC: i32 = 2;
const HEARTBEAT: i32 = 3;
const MESSAGE: i32 = 4;
const SUBSCRIBE: i32 = 5;
const SEND: i32 = 16;
const CLOSE: i32 = 17;

/// Accepts the token `t`, accepts the token `brief` for five seconds, and has a profile for every
/// user.
#[derive(Debug)]
struct FakeBusiness;

#[async_trait]
impl BusinessBackend for FakeBusiness {
    async fn auth(
        &self,
        _user: UserId,
        _device: DeviceId,
        token: &str,
    ) -> Result<(), RequestRefusal> {
        if token == "t" {
            return Ok(());
        }
        Err(RequestRefusal::Unauthorized("the token is wrong"))
    }

    async fn auth_for(
        &self,
        user: UserId,
        device: DeviceId,
        token: &str,
    ) -> Result<Option<Duration>, RequestRefusal> {
        if token == "brief" {
            return Ok(Some(Duration::from_secs(5)));
        }
        self.auth(user, device, token).await.map(|()| None)
    }

    async fn users(&self, users: &[UserId]) -> Result<Vec<UserInfo>, RequestRefusal> {
        let info = |user: &UserId| UserInfo {
            user: *user,
            profile: UserProfile::default(),
            sex: 0,
            created_at: UnixTimestamp::default(),
            updated_at: UnixTimestamp::default(),
        };
        Ok(users.iter().map(info).collect())
    }
}

struct TestServer {
    stores: StoreSet,
    node: RunningNode,
    sessions: Arc<SessionServer>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

fn test_server() -> TestServer {
    house_with(|_| {})
}

fn house_with(change: impl FnOnce(&mut Limits)) -> TestServer {
    let stores = memory::stores();
    let mut builder = NodeBuilder::new(stores.clone(), Arc::new(FakeBusiness));
    change(&mut builder.limits);
    builder.codec = Arc::new(WirePushCodec);
    let node = builder.start();
    let stop = CancellationToken::new();
    let settings = SessionSettings::default();
    let sessions = SessionServer::new(node.gateway().clone(), settings, stop.clone());
    TestServer {
        stores,
        node,
        sessions: Arc::new(sessions),
        stop,
        tasks: TaskTracker::new(),
    }
}

fn user(raw: u64) -> UserId {
    UserId::new(raw).unwrap()
}

impl TestServer {
    fn connect_with(&self, wire: WireKind, greeting: SignInSource) -> LinkClient {
        self.connect_as([192, 0, 2, 1], wire, greeting)
    }

    fn connect_from(&self, address: [u8; 4], wire: WireKind) -> LinkClient {
        self.connect_as(address, wire, SignInSource::BySignIn)
    }

    fn connect_as(&self, address: [u8; 4], wire: WireKind, greeting: SignInSource) -> LinkClient {
        let (link, client) = link::link(wire, FrameCodec::Protobuf);
        self.serve(link, address, greeting);
        client
    }

    fn serve(&self, link: link::MemoryLink, address: [u8; 4], greeting: SignInSource) {
        let sessions = Arc::clone(&self.sessions);
        self.tasks.spawn(async move {
            let addr = (address, 9).into();
            sessions.serve(OpenedLink { link, greeting }, addr).await;
        });
    }

    fn connect(&self, wire: WireKind) -> LinkClient {
        self.connect_with(wire, SignInSource::BySignIn)
    }

    /// Connects a signed-in WebSocket client that speaks our extension.
    async fn client(&self, user: i64, device: i64) -> LinkClient {
        let mut client = self.connect(WireKind::WebSocket);
        assert_eq!(client.sign_in(user, device, "t", 1).await.code, 0);
        client
    }

    /// Connects the same kind of client and makes it live.
    async fn live(&self, user: i64, device: i64) -> LinkClient {
        let mut client = self.client(user, device).await;
        client.sync(0).await;
        client
    }

    /// Returns the page of a SYNC from the beginning, on a new connection.
    async fn live_page(&self, user: i64, device: i64) -> pb::SyncOutput {
        self.client(user, device).await.sync(0).await
    }

    async fn store(&self, from: u64, to: u64, text: &str) -> Seq {
        let sender = MessageSender::User {
            user: user(from),
            device: None,
        };
        let mut draft = MessageDraft::text(user(to), text);
        draft.client_id = Some(format!("{text:.40}"));
        self.node.service().send(sender, draft).await.unwrap().seq
    }
}

impl LinkClient {
    async fn sign_in(&mut self, user: i64, device: i64, token: &str, protocol: u32) -> pb::Output {
        let input = pb::SignInInput {
            device_id: device,
            user_id: user,
            token: token.into(),
            protocol,
        };
        let id = self.send(SIGN_IN, &input);
        let output = self.output().await;
        assert_eq!((output.r#type, output.request_id), (SIGN_IN, id));
        output
    }

    async fn sync(&mut self, seq: i64) -> pb::SyncOutput {
        let id = self.send(SYNC, &pb::SyncInput { seq });
        let output = self.output().await;
        assert_eq!((output.r#type, output.request_id), (SYNC, id));
        assert_eq!(output.code, 0, "{}", output.message);
        pb::SyncOutput::decode(output.data).unwrap()
    }

    async fn heartbeat(&mut self) -> pb::Output {
        let id = self.send(HEARTBEAT, &pb::Empty {});
        let output = self.output().await;
        assert_eq!((output.r#type, output.request_id), (HEARTBEAT, id));
        output
    }

    async fn pushed(&mut self) -> pb::Message {
        message(&self.output().await)
    }
}

fn message(output: &pb::Output) -> pb::Message {
    assert_eq!(output.r#type, MESSAGE, "{output:?}");
    let push = pb::MessageSend::decode(output.data.clone()).unwrap();
    push.message.unwrap()
}

fn to_user(to: i64, text: &str) -> pb::SendMessageReq {
    pb::SendMessageReq {
        receiver_type: 1,
        receiver_id: to,
        message_type: 1,
        message_content: text.as_bytes().to_vec().into(),
        is_persist: true,
        client_message_id: text.into(),
        ..Default::default()
    }
}
