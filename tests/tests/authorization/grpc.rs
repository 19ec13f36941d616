//! The gRPC methods of clients and of backends, called by every kind of caller.

use std::net::SocketAddr;

use bytes::{Buf as _, BufMut as _};
use gimlet_client::pb;
use prost::Message;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use crate::callers::{CLUSTER_SECRET, CellUsers, KEY, TOKEN_COLUMNS, TestedServer, parts};
use crate::table::{AccessTable, WrongCell, outcome_of_code};

/// Files of the services.
const FILES: [&str; 5] = [
    include_str!("../../../proto/proto/pb/logic.ext.proto"),
    include_str!("../../../proto/proto/pb/business.ext.proto"),
    include_str!("../../../proto/proto/pb/logic.int.proto"),
    include_str!("../../../proto/proto/pb/business.int.proto"),
    include_str!("../../../proto/proto/pb/connect.int.proto"),
];

/// Columns of callers of the internal listener.
const BACKEND_COLUMNS: [&str; 5] = [
    "no secret",
    "wrong secret",
    "user's token",
    "API key",
    "cluster's secret",
];

/// Returns `Service/Method` of all methods of services whose name ends so.
pub(crate) fn methods(ending: &str) -> Vec<String> {
    let mut methods = Vec::new();
    for file in FILES {
        let mut service = "";
        for line in file.lines() {
            let mut words = line.split_whitespace();
            match (words.next(), words.next()) {
                (Some("service"), Some(name)) => service = name,
                (Some("rpc"), Some(rest)) if service.ends_with(ending) => {
                    let name = rest.split('(').next().unwrap_or(rest);
                    methods.push(format!("{service}/{name}"));
                }
                _ => {}
            }
        }
    }
    methods
}

async fn connect(addr: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{addr}")).expect("a good address");
    endpoint.connect().await.expect("the server listens")
}

/// Calls a method; the answer is not decoded.
async fn call(
    channel: &Channel,
    method: &str,
    request: Request<EncodedRequest>,
) -> Result<(), Status> {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.expect("a connection");
    let path = PathAndQuery::try_from(format!("/pb.{method}")).expect("a path");
    grpc.unary(request, path, AnyMethodCodec).await.map(drop)
}

/// The bytes of an encoded request.
#[derive(Clone, Debug, Default)]
struct EncodedRequest(Vec<u8>);

impl EncodedRequest {
    fn of(message: &impl Message) -> Self {
        Self(message.encode_to_vec())
    }
}

/// Sends encoded requests, and skips answers: it serves every method.
#[derive(Clone, Copy, Debug, Default)]
struct AnyMethodCodec;

impl Codec for AnyMethodCodec {
    type Encode = EncodedRequest;
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for AnyMethodCodec {
    type Item = EncodedRequest;
    type Error = Status;

    fn encode(&mut self, item: EncodedRequest, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put_slice(&item.0);
        Ok(())
    }
}

impl Decoder for AnyMethodCodec {
    type Item = ();
    type Error = Status;

    fn decode(&mut self, answer: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
        answer.advance(answer.remaining());
        Ok(Some(()))
    }
}

/// Returns the word for a status. A success and a refusal for another reason are different things,
/// so the latter is shown as it is.
fn outcome(result: Result<(), Status>) -> String {
    let Err(status) = result else {
        return "yes".to_owned();
    };
    let code = status.metadata().get("gimlet-code");
    let code = code.and_then(|it| it.to_str().ok()?.parse::<i64>().ok());
    let code = code.unwrap_or_else(|| (status.code() as i32).into());
    outcome_of_code(code).map_or_else(|| format!("{code}: {status}"), str::to_owned)
}

fn number(id: &str) -> i64 {
    id.parse().expect("an id")
}

/// Returns a valid request of a client's method.
fn client_request(row: &str, server: &TestedServer, users: &CellUsers) -> EncodedRequest {
    let (group_id, third) = (number(&users.group), number(&users.third.id));
    let guest = number(&users.guest.id);
    let text = || pb::Text { text: "hi".into() }.encode_to_vec();
    let send = |receiver: pb::ReceiverType, receiver_id| pb::SendMessageReq {
        receiver_type: receiver.into(),
        receiver_id,
        message_type: 1,
        message_content: text().into(),
        send_time: 1,
        is_persist: true,
        client_message_id: "one".into(),
        ..pb::SendMessageReq::default()
    };
    let name = || Some("x".to_owned());
    match row {
        "LogicExt/RegisterDevice" => EncodedRequest::of(&pb::RegisterDeviceReq {
            r#type: 1,
            brand: "x".into(),
            model: "x".into(),
            system_version: "x".into(),
            sdk_version: "x".into(),
        }),
        "LogicExt/SendMessage (to a user)" => {
            EncodedRequest::of(&send(pb::ReceiverType::RtUser, guest))
        }
        "LogicExt/SendMessage (to a group)" => {
            EncodedRequest::of(&send(pb::ReceiverType::RtGroup, group_id))
        }
        "LogicExt/PushRoom" => EncodedRequest::of(&pb::PushRoomReq {
            room_id: 1,
            message_type: 1,
            message_content: text().into(),
            send_time: 1,
            ..pb::PushRoomReq::default()
        }),
        "LogicExt/AddFriend" => EncodedRequest::of(&pb::AddFriendReq {
            friend_id: guest,
            ..pb::AddFriendReq::default()
        }),
        "LogicExt/AgreeAddFriend" => EncodedRequest::of(&pb::AgreeAddFriendReq {
            user_id: third,
            ..pb::AgreeAddFriendReq::default()
        }),
        "LogicExt/SetFriend" => EncodedRequest::of(&pb::SetFriendReq {
            friend_id: third,
            remarks: name(),
            ..pb::SetFriendReq::default()
        }),
        "LogicExt/CreateGroup" => EncodedRequest::of(&pb::CreateGroupReq {
            name: "x".into(),
            ..pb::CreateGroupReq::default()
        }),
        "LogicExt/UpdateGroup" => EncodedRequest::of(&pb::UpdateGroupReq {
            group_id,
            name: name(),
            ..pb::UpdateGroupReq::default()
        }),
        "LogicExt/GetGroup" => EncodedRequest::of(&pb::GetGroupReq { group_id }),
        "LogicExt/AddGroupMembers" => EncodedRequest::of(&pb::AddGroupMembersReq {
            group_id,
            user_ids: vec![guest],
        }),
        "LogicExt/UpdateGroupMember" => EncodedRequest::of(&pb::UpdateGroupMemberReq {
            group_id,
            user_id: third,
            remarks: name(),
            ..pb::UpdateGroupMemberReq::default()
        }),
        "LogicExt/DeleteGroupMember" => EncodedRequest::of(&pb::DeleteGroupMemberReq {
            group_id,
            user_id: third,
        }),
        "LogicExt/GetGroupMembers" => EncodedRequest::of(&pb::GetGroupMembersReq {
            group_id,
            ..pb::GetGroupMembersReq::default()
        }),
        "BusinessExt/SignIn" | "UserExt/SignIn" => EncodedRequest::of(&pb::SignInReq {
            phone_number: server.phone(),
            code: "000000".into(),
            device_id: number(parts(&users.guest.token).1),
        }),
        "BusinessExt/GetUser" | "UserExt/GetUser" => {
            EncodedRequest::of(&pb::GetUserReq { user_id: third })
        }
        "BusinessExt/UpdateUser" | "UserExt/UpdateUser" => EncodedRequest::of(&pb::UpdateUserReq {
            nickname: name(),
            ..pb::UpdateUserReq::default()
        }),
        "BusinessExt/SearchUser" | "UserExt/SearchUser" => {
            EncodedRequest::of(&pb::SearchUserReq { key: "x".into() })
        }
        _ => EncodedRequest::default(),
    }
}

/// Calls each method of clients as each kind of caller; returns the wrong cells.
pub(crate) async fn wrong_client_cells(
    server: &TestedServer,
    table: &AccessTable,
) -> Vec<WrongCell> {
    let channel = connect(server.grpc()).await;
    let mut wrong = Vec::new();
    for row in table.rows.keys() {
        let method = AccessTable::operation(row);
        let name = method.rsplit('/').next().unwrap_or(method);
        for column in TOKEN_COLUMNS {
            let users = CellUsers::new(server).await;
            users.prepare(server, name, users.caller(column)).await;
            let mut request = Request::new(client_request(row, server, &users));
            if column != "no token" {
                let who = users.credentials(column);
                let metadata = request.metadata_mut();
                metadata.insert("user_id", who.user_id.into());
                metadata.insert("device_id", who.device_id.into());
                metadata.insert("token", who.token.parse().expect("plain ASCII"));
            }
            let outcome = outcome(call(&channel, method, request).await);
            wrong.extend(table.compare(row, column, &outcome));
        }
    }
    wrong
}

/// Calls each method of backends as each kind of caller; returns the wrong cells. The requests are
/// empty: a caller with rights may be refused for their content.
pub(crate) async fn wrong_backend_cells(
    server: &TestedServer,
    table: &AccessTable,
) -> Vec<WrongCell> {
    let channel = connect(server.internal()).await;
    let users = CellUsers::new(server).await;
    let token = users.token("member");
    let mut wrong = Vec::new();
    for row in table.rows.keys() {
        for column in BACKEND_COLUMNS {
            let bearer = match column {
                "no secret" => "",
                "wrong secret" => "wrong",
                "user's token" => token.as_str(),
                "API key" => KEY,
                _ => CLUSTER_SECRET,
            };
            let mut request = Request::new(EncodedRequest::default());
            if !bearer.is_empty() {
                let value = format!("Bearer {bearer}").parse().expect("plain ASCII");
                request.metadata_mut().insert("authorization", value);
            }
            let result = call(&channel, row, request).await;
            let is_content = result
                .as_ref()
                .is_err_and(|status| status.code() != Code::Unauthenticated);
            let outcome = match outcome(result) {
                refused if ["401", "403"].contains(&refused.as_str()) => refused,
                _ if is_content => "yes".to_owned(),
                outcome => outcome,
            };
            wrong.extend(table.compare(row, column, &outcome));
        }
    }
    wrong
}
