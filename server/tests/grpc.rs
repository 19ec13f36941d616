//! gRPC over real sockets: a walk through the services, and refusals as gim's clients see them.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test should panic, its helpers too"
)]

use std::collections::HashMap;
use std::net::SocketAddr;

use gimlet_proto::pb;
use gimlet_proto::pb::business_ext_client::BusinessExtClient;
use gimlet_proto::pb::business_int_client::BusinessIntClient;
use gimlet_proto::pb::logic_ext_client::LogicExtClient;
use gimlet_proto::pb::logic_int_client::LogicIntClient;
use gimlet_proto::pb::user_ext_client::UserExtClient;
use gimlet_server::config::SecretString;
use gimlet_server::{Config, Server};
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tonic::Code;
use tonic::transport::Channel;

type GrpcTestResult = Result<(), Box<dyn std::error::Error>>;

async fn channel(addr: SocketAddr) -> Channel {
    let endpoint = Channel::from_shared(format!("http://{addr}")).unwrap();
    endpoint.connect().await.unwrap()
}

fn clients(server: &Server) -> SocketAddr {
    server.addrs().grpc[0]
}

/// A signed-in device, and its calls.
struct GrpcClient {
    channel: Channel,
    user: i64,
    device: i64,
    token: String,
}

impl GrpcClient {
    async fn sign_in(server: &Server, phone: &str) -> Self {
        let channel = channel(clients(server)).await;
        let device = LogicExtClient::new(channel.clone())
            .register_device(device())
            .await
            .unwrap()
            .into_inner()
            .device_id;
        let signed_in = BusinessExtClient::new(channel.clone())
            .sign_in(pb::SignInReq {
                phone_number: phone.into(),
                code: "000000".into(),
                device_id: device,
            })
            .await
            .unwrap()
            .into_inner();
        Self {
            channel,
            user: signed_in.user_id,
            device,
            token: signed_in.token,
        }
    }

    fn ask<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert("user_id", self.user.into());
        metadata.insert("device_id", self.device.into());
        metadata.insert("token", self.token.parse().unwrap());
        request
    }

    fn logic(&self) -> LogicExtClient<Channel> {
        LogicExtClient::new(self.channel.clone())
    }

    fn business(&self) -> BusinessExtClient<Channel> {
        BusinessExtClient::new(self.channel.clone())
    }

    async fn send(&self, receiver_type: pb::ReceiverType, to: i64, text: &str) -> i64 {
        let request = self.ask(pb::SendMessageReq {
            receiver_type: receiver_type.into(),
            receiver_id: to,
            message_type: 1,
            message_content: text.to_owned().into(),
            send_time: 1,
            is_persist: true,
            client_message_id: text.into(),
            ..Default::default()
        });
        self.logic()
            .send_message(request)
            .await
            .unwrap()
            .into_inner()
            .seq
    }
}

#[tokio::test]
async fn two_users_and_their_profiles_and_friends() -> GrpcTestResult {
    let server = Server::start(Config::embedded()).await?;
    let alice = GrpcClient::sign_in(&server, "13800000001").await;
    let bob = GrpcClient::sign_in(&server, "13800000002").await;

    let change = pb::UpdateUserReq {
        nickname: Some("Bob".into()),
        ..Default::default()
    };
    bob.business().update_user(bob.ask(change)).await?;
    let me = bob.ask(pb::GetUserReq {
        user_id: alice.user,
    });
    let me = bob
        .business()
        .get_user(me)
        .await?
        .into_inner()
        .user
        .unwrap();
    assert_eq!(
        (me.user_id, me.nickname.as_str()),
        (bob.user, "Bob"),
        "it tells about the caller"
    );
    let mut older = UserExtClient::new(alice.channel.clone());
    let found = alice.ask(pb::SearchUserReq {
        key: "13800000002".into(),
    });
    assert_eq!(older.search_user(found).await?.into_inner().users.len(), 1);

    let friend = pb::AddFriendReq {
        friend_id: bob.user,
        remarks: "bobby".into(),
        description: "hi".into(),
    };
    alice.logic().add_friend(alice.ask(friend)).await?;
    let agree = pb::AgreeAddFriendReq {
        user_id: alice.user,
        remarks: String::new(),
    };
    bob.logic().agree_add_friend(bob.ask(agree)).await?;
    let friends = alice
        .logic()
        .get_friends(alice.ask(pb::GetFriendsReq::default()))
        .await?
        .into_inner();
    assert_eq!(friends.friends[0].remarks, "bobby");
    assert_eq!(friends.friends[0].nickname, "Bob");

    bob.business().sign_out(bob.ask(pb::Empty {})).await?;
    let refused = bob
        .logic()
        .get_friends(bob.ask(pb::GetFriendsReq::default()))
        .await;
    assert!(refused.is_err(), "the token is revoked");
    server.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_group_a_send_and_what_a_backend_sees_of_it() -> GrpcTestResult {
    let server = Server::start(Config::embedded()).await?;
    let alice = GrpcClient::sign_in(&server, "13800000001").await;
    let bob = GrpcClient::sign_in(&server, "13800000002").await;

    let group = pb::CreateGroupReq {
        name: "two".into(),
        introduction: "of us".into(),
        member_ids: vec![bob.user],
        ..Default::default()
    };
    let group = alice
        .logic()
        .create_group(alice.ask(group))
        .await?
        .into_inner()
        .group_id;
    let rename = pb::UpdateGroupReq {
        group_id: group,
        name: Some("both".into()),
        ..Default::default()
    };
    alice.logic().update_group(alice.ask(rename)).await?;
    let shown = bob.ask(pb::GetGroupReq { group_id: group });
    let shown = bob
        .logic()
        .get_group(shown)
        .await?
        .into_inner()
        .group
        .unwrap();
    assert_eq!(
        (shown.name.as_str(), shown.introduction.as_str()),
        ("both", "of us")
    );
    assert_eq!(shown.user_mum, 2);

    let direct = alice.send(pb::ReceiverType::RtUser, bob.user, "one").await;
    assert_eq!(
        alice.send(pb::ReceiverType::RtUser, bob.user, "one").await,
        direct,
        "a repeat"
    );
    alice.send(pb::ReceiverType::RtGroup, group, "all").await;

    let internal = channel(server.addrs().internal.unwrap()).await;
    let mut backend = LogicIntClient::new(internal.clone());
    let page = backend
        .sync(pb::SyncReq {
            user_id: bob.user,
            device_id: bob.device,
            seq: 0,
        })
        .await?
        .into_inner();
    let seqs: Vec<i64> = page.messages.iter().map(|message| message.seq).collect();
    assert_eq!(seqs, [1, 2, 3], "rename, one, all");
    assert!(!page.has_more);
    let device = pb::GetDeviceReq {
        device_id: bob.device,
    };
    let device = backend
        .get_device(device)
        .await?
        .into_inner()
        .device
        .unwrap();
    assert_eq!(
        (device.user_id, device.status, device.brand.as_str()),
        (0, 0, "b")
    );
    let user_ids = HashMap::from([(alice.user, 0), (bob.user, 0), (999, 0)]);
    let users = BusinessIntClient::new(internal)
        .get_users(pb::GetUsersReq { user_ids })
        .await?;
    assert_eq!(users.into_inner().users.len(), 2);

    server.stop().await?;
    Ok(())
}

/// Returns the headers and trailers of a call as they are on the wire, without a gRPC library's
/// interpretation.
async fn raw(addr: SocketAddr, path: &str, body: Vec<u8>) -> http::HeaderMap {
    let stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    let connection = tokio_util::task::TaskTracker::new().spawn(connection);
    let mut framed = vec![0];
    framed.extend_from_slice(&u32::try_from(body.len()).unwrap().to_be_bytes());
    framed.extend_from_slice(&body);
    let request = Request::post(format!("http://{addr}{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(bytes::Bytes::from(framed)))
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    let mut headers = response.headers().clone();
    let trailers = response.into_body().collect().await.unwrap();
    headers.extend(trailers.trailers().cloned().unwrap_or_default());
    drop(sender);
    connection.await.unwrap().unwrap();
    headers
}

#[tokio::test]
async fn gims_codes_are_on_the_wire_as_numbers() -> GrpcTestResult {
    let server = Server::start(Config::embedded()).await?;
    let addr = clients(&server);
    let refused = raw(addr, "/pb.LogicExt/GetFriends", Vec::new()).await;
    assert_eq!(refused["grpc-status"], "10000");
    assert!(
        refused["grpc-message"]
            .to_str()?
            .starts_with("unauthorized:%20the%20metadata")
    );
    assert_eq!(
        refused["gimlet-code"], "10000",
        "for who cannot read the other"
    );
    let bad = raw(addr, "/pb.LogicExt/RegisterDevice", Vec::new()).await;
    assert_eq!(bad["grpc-status"], "10001");
    // Field 3 of SignInReq, device_id, is 1: this device does not exist. The code is wrong too, and
    // it is checked first.
    let code = raw(
        addr,
        "/pb.BusinessExt/SignIn",
        b"\x0a\x03138\x12\x01x\x18\x01".to_vec(),
    )
    .await;
    assert_eq!(code["grpc-status"], "10010");
    let unknown = raw(addr, "/pb.LogicExt/NoSuchMethod", Vec::new()).await;
    assert_eq!(unknown["grpc-status"], "10000", "the guard comes first");
    let undecodable = raw(addr, "/pb.LogicExt/RegisterDevice", vec![0xFF; 9]).await;
    assert_ne!(undecodable["grpc-status"], "0");
    let internal = raw(addr, "/pb.LogicInt/PushAll", Vec::new()).await;
    assert_eq!(
        internal["grpc-status"], "12",
        "internal services are not on clients' ports"
    );
    server.stop().await?;
    Ok(())
}

#[tokio::test]
async fn backends_need_the_secret_where_there_is_one() -> GrpcTestResult {
    let mut config = Config::embedded();
    config.cluster.secret = Some(SecretString::new("s3cret"));
    let server = Server::start(config).await?;
    let internal = channel(server.addrs().internal.unwrap()).await;
    let mut backend = LogicIntClient::new(internal);
    let push = || pb::PushAllReq {
        message_type: 1,
        message_content: "x".into(),
        send_time: 0,
    };
    let refused = backend.push_all(push()).await.unwrap_err();
    assert!(
        refused.message().contains("authorization: Bearer"),
        "{refused}"
    );
    let mut request = tonic::Request::new(push());
    request
        .metadata_mut()
        .insert("authorization", "Bearer s3cret".parse()?);
    backend.push_all(request).await?;
    let room = pb::SubscribeRoomReq::default();
    let mut request = tonic::Request::new(room);
    request
        .metadata_mut()
        .insert("authorization", "Bearer s3cret".parse()?);
    let refused = backend.subscribe_room(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    server.stop().await?;
    Ok(())
}

#[tokio::test]
async fn health_and_reflection_answer_on_every_port() -> GrpcTestResult {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;

    let server = Server::start(Config::embedded()).await?;
    for addr in [clients(&server), server.addrs().internal.unwrap()] {
        let mut health = HealthClient::new(channel(addr).await);
        let service = HealthCheckRequest {
            service: String::new(),
        };
        assert_eq!(health.check(service).await?.into_inner().status, 1);
        for version in ["v1", "v1alpha"] {
            let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
            // list_services = 7
            let listed = raw(addr, &path, b"\x3a\x00".to_vec()).await;
            assert_eq!(listed["grpc-status"], "0", "{version}");
        }
    }
    server.stop().await?;
    Ok(())
}

fn device() -> pb::RegisterDeviceReq {
    pb::RegisterDeviceReq {
        r#type: 1,
        brand: "b".into(),
        model: "m".into(),
        system_version: "s".into(),
        sdk_version: "1".into(),
    }
}
