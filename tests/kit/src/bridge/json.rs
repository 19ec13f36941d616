//! JSON over WebSocket.

use std::collections::HashMap;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use gimlet_proto::pb::{self, PackageType as Kind};
use prost::Message as _;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncWriteExt as _, split};
use tokio::net::TcpStream;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use super::fields::{integer, number, text};
use super::frames::{read_frame, untranslatable, write_packet};
use super::packets::{answer, close, draft, message, page, push, refusal, sent};
use crate::wire::ByteStream;

/// Kinds of the packets whose answers have not come.
type PendingKinds = Mutex<HashMap<i64, i32>>;

/// Carries the packets of one client.
pub(super) async fn carry(client: impl ByteStream, server: SocketAddr) -> io::Result<()> {
    let socket = TcpStream::connect(server).await?;
    socket.set_nodelay(true)?;
    let url = format!("ws://{server}/ws");
    let mut request = url.into_client_request().map_err(io::Error::other)?;
    let name = HeaderValue::from_static("gimlet.json.v1");
    request.headers_mut().insert("sec-websocket-protocol", name);
    let (socket, _) = client_async(request, socket)
        .await
        .map_err(io::Error::other)?;
    let (mut sink, mut texts) = socket.split();
    let (mut read, mut write) = split(client);
    let kinds = PendingKinds::default();
    let up = async {
        while let Some(frame) = read_frame(&mut read).await? {
            let packet = to_text(&frame, &kinds)?;
            let sent = sink.send(Message::text(packet)).await;
            sent.map_err(io::Error::other)?;
        }
        sink.close().await.map_err(io::Error::other)?;
        // The server's last packets still go to the client.
        pending::<io::Result<()>>().await
    };
    let down = async {
        while let Some(message) = texts.next().await {
            match message.map_err(io::Error::other)? {
                Message::Text(text) => {
                    write_packet(&mut write, &from_text(&text, &kinds)?).await?;
                }
                Message::Close(_) => break,
                _ => {}
            }
        }
        Ok::<_, io::Error>(())
    };
    let ended = tokio::select! {
        ended = down => ended,
        ended = up => ended,
    };
    write.shutdown().await?;
    ended
}

/// Translates a packet of the client.
fn to_text(frame: &Bytes, kinds: &PendingKinds) -> io::Result<String> {
    let input = pb::Input::decode(frame.clone())?;
    let mut fields = match Kind::try_from(input.r#type) {
        Ok(Kind::PtSignIn) => {
            let it = pb::SignInInput::decode(input.data)?;
            object(json!({
                "type": "sign_in", "user_id": it.user_id.to_string(),
                "device_id": it.device_id.to_string(), "token": it.token,
            }))
        }
        Ok(Kind::PtSync) => {
            let it = pb::SyncInput::decode(input.data)?;
            object(json!({"type": "sync", "after": it.seq.to_string()}))
        }
        Ok(Kind::PtHeartbeat) => object(json!({"type": "heartbeat"})),
        Ok(Kind::PtMessage) => {
            let it = pb::MessageAck::decode(input.data)?;
            object(json!({"type": "ack", "seq": it.device_ack.to_string()}))
        }
        Ok(Kind::PtSubscribeRoom) => {
            let it = pb::SubscribeRoomInput::decode(input.data)?;
            let room = (it.room_id != 0).then(|| it.room_id.to_string());
            object(json!({"type": "subscribe_room", "room_id": room, "from": it.seq.to_string()}))
        }
        Ok(Kind::PtSend) => {
            let it = pb::SendMessageReq::decode(input.data)?;
            let mut fields = draft(&it)?;
            fields.insert("type".into(), "send".into());
            if !it.client_message_id.is_empty() {
                fields.insert("client_message_id".into(), it.client_message_id.into());
            }
            fields
        }
        Ok(Kind::PtUnknown | Kind::PtClose) | Err(_) => {
            return Err(untranslatable(format!("{input:?}")));
        }
    };
    if input.request_id != 0 {
        fields.insert("request_id".into(), input.request_id.into());
        let mut kinds = kinds.lock().unwrap_or_else(PoisonError::into_inner);
        kinds.insert(input.request_id, input.r#type);
    }
    Ok(Value::Object(fields).to_string())
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// Translates a packet of the server.
fn from_text(packet: &str, kinds: &PendingKinds) -> io::Result<pb::Output> {
    let packet: Value = serde_json::from_str(packet)?;
    match &*text(&packet, "type") {
        "message" | "live" | "room" => {
            let id = integer(&packet, "request_id");
            let pushed = push(message(&packet)?);
            return Ok(pb::Output {
                request_id: id,
                ..pushed
            });
        }
        "close" => {
            let come_back = match &*text(&packet, "come_back") {
                "now" => pb::ComeBack::NowWithJitter,
                "backoff" => pb::ComeBack::Backoff,
                "sign_in" => pb::ComeBack::SignInAgain,
                "never" => pb::ComeBack::Never,
                _ => return Err(untranslatable(packet)),
            };
            return Ok(close(&packet, come_back));
        }
        _ => {}
    }
    let id = integer(&packet, "request_id");
    let asked = kinds
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .remove(&id);
    let kind = match &*text(&packet, "type") {
        "sign_in" => Kind::PtSignIn.into(),
        "sync" => Kind::PtSync.into(),
        "heartbeat" => Kind::PtHeartbeat.into(),
        "subscribe_room" => Kind::PtSubscribeRoom.into(),
        "send" => Kind::PtSend.into(),
        "error" => asked.unwrap_or_default(),
        _ => return Err(untranslatable(packet)),
    };
    if let Some(error) = packet.get("error") {
        return Ok(refusal(kind, id, error));
    }
    let epoch = || number(&packet, "epoch").map(i64::cast_unsigned);
    Ok(match Kind::try_from(kind) {
        Ok(Kind::PtSync) => answer(kind, id, &page(&packet)?),
        Ok(Kind::PtSend) => answer(kind, id, &sent(&packet)?),
        Ok(Kind::PtSignIn) => {
            let (epoch, head) = (epoch()?, number(&packet, "head")?);
            answer(kind, id, &pb::SignInOutput { epoch, head })
        }
        Ok(Kind::PtHeartbeat) => {
            let (epoch, head) = (epoch()?, number(&packet, "head")?);
            answer(kind, id, &pb::HeartbeatOutput { epoch, head })
        }
        _ => answer(kind, id, &pb::Empty {}),
    })
}
