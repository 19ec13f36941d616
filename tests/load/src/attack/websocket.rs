//! Attacks over WebSocket.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::tally::AttackTally;
use super::target::AttackerAccounts;
use super::wire::PATIENCE;

/// Connections that ping without reading.
pub(super) const PINGERS: usize = 8;
/// Bytes of a ping's payload, the maximum in RFC 6455.
const PAYLOAD: u8 = 125;
/// Pings in one write.
const PINGS: usize = 64;

/// Pings as fast as the server takes them, and never reads a pong.
pub(super) async fn pings(squad: AttackerAccounts, tally: Arc<AttackTally>) {
    let mut tasks = JoinSet::new();
    for _ in 0..PINGERS {
        let (to, tally) = (squad.field.ws, Arc::clone(&tally));
        tasks.spawn(async move {
            loop {
                if let Err(why) = ping(to, &tally).await {
                    tally.refused(&why);
                }
                sleep(Duration::from_millis(200)).await;
            }
        });
    }
    tasks.join_all().await;
}

async fn ping(to: std::net::SocketAddr, tally: &AttackTally) -> io::Result<()> {
    let mut stream = timeout(PATIENCE, TcpStream::connect(to)).await??;
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: {to}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut head = [0; 512];
    let read = timeout(PATIENCE, stream.read(&mut head)).await??;
    if !head
        .get(..read)
        .unwrap_or_default()
        .starts_with(b"HTTP/1.1 101")
    {
        return Err(io::Error::other("the upgrade was refused"));
    }
    // Final frame with opcode ping, masked with zeros so that the payload stays unchanged.
    let mut frame = vec![0x89, 0x80 | PAYLOAD, 0, 0, 0, 0];
    frame.resize(frame.len() + usize::from(PAYLOAD), b'p');
    let frames = frame.repeat(PINGS);
    loop {
        timeout(PATIENCE, stream.write_all(&frames)).await??;
        for _ in 0..PINGS {
            tally.tries();
        }
    }
}
