//! Plain socket of gim's wire over TCP that does exactly what an attack asks.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use gimlet_proto::pb::{self, PackageType, ReceiverType};
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::net::sign_in_body;
use crate::test_account::TestAccount;

/// Timeout of each step of an attack.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Connection of an attacker.
#[derive(Debug)]
pub(super) struct AttackSocket(BufReader<TcpStream>);

impl AttackSocket {
    pub(super) async fn connect(to: SocketAddr) -> io::Result<Self> {
        let stream = timeout(PATIENCE, TcpStream::connect(to)).await??;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Connects and signs in; protocol 0 is a client of gim.
    pub(super) async fn sign_in(
        to: SocketAddr,
        account: &TestAccount,
        protocol: u32,
    ) -> io::Result<Self> {
        let mut socket = Self::connect(to).await?;
        let body = sign_in_body(account, protocol);
        socket.ask(PackageType::PtSignIn, 1, body).await?;
        Ok(socket)
    }

    /// Writes packets in one write.
    pub(super) async fn write(&mut self, frames: &[u8]) -> io::Result<()> {
        timeout(PATIENCE, self.0.get_mut().write_all(frames)).await?
    }

    /// Writes one packet and waits for its answer; packets before the answer are skipped.
    pub(super) async fn ask(
        &mut self,
        kind: PackageType,
        id: i64,
        data: Vec<u8>,
    ) -> io::Result<Bytes> {
        self.write(&frame(kind, id, data)?).await?;
        loop {
            let output = self.next().await?;
            if output.r#type == kind as i32 || output.r#type == 0 {
                return match output.code {
                    0 => Ok(output.data),
                    code => Err(io::Error::other(format!("{code} {}", output.message))),
                };
            }
        }
    }

    /// Reads the next packet.
    pub(super) async fn next(&mut self) -> io::Result<pb::Output> {
        let read = async {
            let length = self.0.read_u16().await?;
            let mut body = vec![0; usize::from(length)];
            self.0.read_exact(&mut body).await?;
            Ok(pb::Output::decode(Bytes::from(body))?)
        };
        timeout(PATIENCE, read).await?
    }
}

/// Encodes a packet with its two bytes of length in front.
pub(super) fn frame(kind: PackageType, id: i64, data: Vec<u8>) -> io::Result<Vec<u8>> {
    let body = pb::Input {
        r#type: kind as i32,
        request_id: id,
        data: data.into(),
    }
    .encode_to_vec();
    let length = u16::try_from(body.len()).map_err(io::Error::other)?;
    let mut frame = Vec::with_capacity(2 + body.len());
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&body);
    Ok(frame)
}

/// Encodes the body of a send with `size` bytes of content.
pub(super) fn send_body(kind: ReceiverType, receiver: i64, size: usize) -> Vec<u8> {
    pb::SendMessageReq {
        receiver_type: kind as i32,
        receiver_id: receiver,
        message_type: 1,
        message_content: Bytes::from(vec![b'x'; size]),
        send_time: 1,
        is_persist: true,
        client_message_id: format!("{:016x}", rand::random::<u64>()),
        ..pb::SendMessageReq::default()
    }
    .encode_to_vec()
}
