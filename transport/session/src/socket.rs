//! What every client socket needs, whatever the wire above it.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// Silence after which the system asks whether the other end is still there.
const KEEPALIVE_IDLE: Duration = Duration::from_mins(2);

/// Time between two such questions.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// Unanswered questions after which the connection is dead.
const KEEPALIVE_RETRIES: u32 = 4;

/// Frames leave at once, and a peer that vanished without a goodbye is found within minutes.
///
/// # Errors
/// The socket is closed already.
pub fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_RETRIES);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}
