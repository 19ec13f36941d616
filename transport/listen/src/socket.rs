//! Socket options for client connections of every wire.
//!
//! By default the operating system buffers up to some megabytes for one client: a thousand clients
//! that never read hold 1.5 GB of its memory.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// Silence after which the operating system probes the other end.
const KEEPALIVE_IDLE: Duration = Duration::from_mins(2);

/// Time between two probes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// Unanswered probes after which the connection is dead.
const KEEPALIVE_RETRIES: u32 = 4;

/// Limits the operating system's buffers, in each direction, of every connection that this listener
/// accepts. Linux doubles the number for its own bookkeeping. It must be set before connections
/// arrive, because the advertised TCP window is derived from it.
///
/// # Errors
/// The operating system rejects the number.
pub fn bound_buffers(listener: &impl AsFd, bytes: usize) -> io::Result<()> {
    let socket = SockRef::from(listener);
    socket.set_send_buffer_size(bytes)?;
    socket.set_recv_buffer_size(bytes)
}

/// Makes the operating system discard unsent output when the socket is closed. Otherwise it keeps
/// offering the output, for minutes, to a client that does not read.
pub fn forget_unwritten(stream: &TcpStream) {
    // Fails only for a socket that is closed already, which has nothing to discard.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Disables Nagle's algorithm and enables keepalive probes, which detect a vanished peer within
/// minutes.
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

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// A superseded connection of a legacy client has no idle limit: only the keepalive detects
    /// that its client has vanished.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_client_that_vanished_is_found_by_the_system_within_minutes() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await;
        let (stream, _) = listener.accept().await.unwrap();
        prepare(&stream).unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_IDLE);
        let longest = KEEPALIVE_IDLE + KEEPALIVE_INTERVAL * KEEPALIVE_RETRIES;
        assert_eq!(longest, Duration::from_mins(3));
    }
}
