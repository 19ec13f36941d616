//! A group with one connection that never reads: its cost for the server and the other members.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use gimlet_client::{ApiClient, DeviceCredentials};
use gimlet_core::id::{DeviceId, UserId};
use gimlet_kit::wire::RawClient;
use gimlet_kit::{random_phone, sign_in};
use gimlet_proto::pb::{self, PackageType, ReceiverType};
use gimlet_server::Server;
use tokio::time::Instant;

/// Number of members: one sends, one reads, one does not read.
const MEMBERS: usize = 3;

/// Result of a run.
#[derive(Clone, Debug)]
pub struct SlowReaderResult {
    /// Time from each send to its arrival at the reading connection, sorted.
    pub latency: Vec<Duration>,
    /// Largest number of bytes that were queued for the connection that does not read.
    pub queued: usize,
    /// Number of messages that the connection received, in order and without a hole, once it began
    /// to read.
    pub caught_up: usize,
}

impl SlowReaderResult {
    /// Returns the latency within which this share of the messages arrived.
    #[must_use]
    pub fn percentile(&self, share: f64) -> Duration {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the number of samples is small and positive"
        )]
        let at = ((self.latency.len() as f64 * share) as usize).min(self.latency.len() - 1);
        self.latency.get(at).copied().unwrap_or_default()
    }
}

/// Sends `messages` of `size` bytes to a group, one after another, while a member never reads (if
/// `there` is set); then lets that member read.
///
/// # Errors
/// A connection failed, or an entry arrived out of order.
pub async fn run(
    server: &Server,
    messages: usize,
    size: usize,
    there: bool,
) -> io::Result<SlowReaderResult> {
    let tcp = server
        .addrs()
        .tcp
        .ok_or_else(|| io::Error::other("no TCP listener"))?;
    let users = users(server).await?;
    let [sender, reader, slow] = users.as_slice() else {
        return Err(io::Error::other("three users"));
    };
    let api = api(server)?.signed_in(sender.clone());
    let others = [reader.user_id, slow.user_id];
    let group = api
        .create_group("slow", &others)
        .await
        .map_err(io::Error::other)?;
    let mut from = RawClient::sign_in(tcp, sender).await?;
    let mut to = RawClient::sign_in(tcp, reader).await?;
    to.sync(0).await?;
    let mut stalled = if there {
        Some(stall(tcp, slow).await?)
    } else {
        None
    };
    let user = UserId::from_wire(slow.user_id);
    let seat = user.zip(DeviceId::from_wire(slow.device_id));
    let node = server.node();
    let node = node.ok_or_else(|| io::Error::other("the server has not all roles"))?;
    let hub = node.gateway().hub();
    let mut outcome = SlowReaderResult {
        latency: Vec::new(),
        queued: 0,
        caught_up: 0,
    };
    for n in 0..messages {
        let start = Instant::now();
        let request = request(group, n, size);
        from.writer.write(PackageType::PtSend, 1, &request).await?;
        let pushed = to.next_push().await?;
        if pushed.message_content.len() != size {
            return Err(io::Error::other("the reader got another message"));
        }
        outcome.latency.push(start.elapsed());
        from.answer().await?;
        let queued = seat
            .and_then(|(user, device)| hub.owner(user, device))
            .map_or(0, |handle| handle.queued_bytes());
        outcome.queued = outcome.queued.max(queued);
    }
    outcome.latency.sort_unstable();
    if let Some(slow) = &mut stalled {
        for expected in 1..=messages {
            let pushed = slow.next_push().await?;
            if usize::try_from(pushed.seq).ok() != Some(expected) {
                let text = format!("received seq {} instead of {expected}", pushed.seq);
                return Err(io::Error::other(text));
            }
            outcome.caught_up = expected;
        }
    }
    Ok(outcome)
}

/// Opens a live connection that is not read until the sends have ended.
async fn stall(tcp: SocketAddr, who: &DeviceCredentials) -> io::Result<RawClient> {
    let mut raw = RawClient::sign_in(tcp, who).await?;
    raw.sync(0).await?;
    Ok(raw)
}

fn request(group: i64, n: usize, size: usize) -> pb::SendMessageReq {
    pb::SendMessageReq {
        receiver_type: ReceiverType::RtGroup as i32,
        receiver_id: group,
        message_type: 1,
        message_content: Bytes::from(vec![b'x'; size]),
        send_time: 1,
        is_persist: true,
        client_message_id: format!("slow-{n}"),
        ..pb::SendMessageReq::default()
    }
}

fn api(server: &Server) -> io::Result<ApiClient> {
    let grpc = server.addrs().grpc.first();
    let grpc = grpc.ok_or_else(|| io::Error::other("no gRPC listener"))?;
    ApiClient::new(&format!("http://{grpc}")).map_err(io::Error::other)
}

async fn users(server: &Server) -> io::Result<Vec<DeviceCredentials>> {
    let api = api(server)?;
    let mut users = Vec::new();
    for _ in 0..MEMBERS {
        let signed_in = sign_in(&api, &random_phone()).await;
        users.push(signed_in.map_err(io::Error::other)?);
    }
    Ok(users)
}
