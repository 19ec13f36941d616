//! Frames of the client's side.

use std::io;

use bytes::Bytes;
use gimlet_proto::pb;
use prost::Message as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::wire::frame;

/// Reads the next frame of a client; `None` at the end.
pub(super) async fn read_frame(
    client: &mut (impl AsyncRead + Send + Unpin),
) -> io::Result<Option<Bytes>> {
    let length = match client.read_u16().await {
        Ok(length) => length,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut body = vec![0; usize::from(length)];
    client.read_exact(&mut body).await?;
    Ok(Some(body.into()))
}

/// Writes a packet to a client.
pub(super) async fn write_packet(
    client: &mut (impl AsyncWrite + Send + Unpin),
    packet: &pb::Output,
) -> io::Result<()> {
    client.write_all(&frame(&packet.encode_to_vec())?).await?;
    client.flush().await
}

/// Reports something that cannot be translated.
pub(super) fn untranslatable(what: impl std::fmt::Display) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the bridge cannot translate {what}"),
    )
}
