//! A minimal client over TCP: no reconnect, no retry, no stored cursor.
//!
//! The ledger's reader uses it: the client library would hide the defects that the ledger looks
//! for.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use gimlet_client::DeviceCredentials;
use gimlet_proto::pb::{self, PackageType};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(10);

/// A connection over TCP.
#[derive(Debug)]
pub struct RawClient {
    /// Receiving half.
    pub reader: PacketReader,
    /// Sending half.
    pub writer: PacketWriter,
}

/// The receiving half.
#[derive(Debug)]
pub struct PacketReader(BufReader<OwnedReadHalf>);

/// The sending half.
#[derive(Debug)]
pub struct PacketWriter(OwnedWriteHalf);

impl RawClient {
    /// Connects and signs in, as a client that speaks our extension.
    pub async fn sign_in(tcp: SocketAddr, who: &DeviceCredentials) -> io::Result<Self> {
        let stream = timeout(ANSWER, TcpStream::connect(tcp)).await??;
        stream.set_nodelay(true)?;
        let (read, write) = stream.into_split();
        let mut raw = Self {
            reader: PacketReader(BufReader::new(read)),
            writer: PacketWriter(write),
        };
        let sign_in = pb::SignInInput {
            device_id: who.device_id,
            user_id: who.user_id,
            token: who.token.clone(),
            protocol: 1,
        };
        raw.ask(PackageType::PtSignIn, 1, sign_in.encode_to_vec())
            .await?;
        Ok(raw)
    }

    /// Returns everything in the inbox above `seq`, read page by page.
    pub async fn sync(&mut self, mut seq: i64) -> io::Result<Vec<pb::Message>> {
        let mut all = Vec::new();
        loop {
            let input = pb::SyncInput { seq };
            let output = self
                .ask(PackageType::PtSync, 2, input.encode_to_vec())
                .await?;
            let page = pb::SyncOutput::decode(output.data)?;
            seq = page.messages.last().map_or(seq, |message| message.seq);
            all.extend(page.messages);
            if !page.has_more {
                return Ok(all);
            }
        }
    }

    /// Sends one packet and waits for its answer; pushes that arrive meanwhile are dropped.
    async fn ask(&mut self, kind: PackageType, id: i64, data: Vec<u8>) -> io::Result<pb::Output> {
        self.writer.write(kind, id, data).await?;
        loop {
            let output = self.reader.next().await?;
            if output.r#type == kind as i32 {
                if output.code != 0 {
                    let text = format!("{kind:?}: {} {}", output.code, output.message);
                    return Err(io::Error::other(text));
                }
                return Ok(output);
            }
        }
    }
}

impl PacketReader {
    /// Returns the next packet, which must arrive within the answer timeout.
    pub async fn next(&mut self) -> io::Result<pb::Output> {
        timeout(ANSWER, self.whenever()).await?
    }

    /// Returns the next packet, without a time limit.
    pub async fn whenever(&mut self) -> io::Result<pb::Output> {
        let length = self.0.read_u16().await?;
        let mut body = vec![0; usize::from(length)];
        self.0.read_exact(&mut body).await?;
        Ok(pb::Output::decode(Bytes::from(body))?)
    }
}

impl PacketWriter {
    /// Writes one packet.
    pub async fn write(&mut self, kind: PackageType, id: i64, data: Vec<u8>) -> io::Result<()> {
        let body = pb::Input {
            r#type: kind as i32,
            request_id: id,
            data: data.into(),
        };
        let body = body.encode_to_vec();
        let length = u16::try_from(body.len()).map_err(io::Error::other)?;
        let mut frame = Vec::with_capacity(2 + body.len());
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(&body);
        self.0.write_all(&frame).await
    }
}
