//! What every client socket needs, whatever the wire above it.
//!
//! Left alone, the system lets what waits for one client grow to some megabytes: a thousand clients
//! that never read hold 1.5 GB of its memory.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// Silence after which the system asks whether the other end is still there.
const KEEPALIVE_IDLE: Duration = Duration::from_mins(2);

/// Time between two such questions.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// Unanswered questions after which the connection is dead.
const KEEPALIVE_RETRIES: u32 = 4;

/// Bounds what the system holds for each connection that this listener accepts, in each direction.
/// Linux doubles the number for its own bookkeeping. It has to be said before the connections come:
/// the window that they offer is made of it.
///
/// # Errors
/// The system refuses the number.
pub fn bound_buffers(listener: &impl AsFd, bytes: usize) -> io::Result<()> {
    let socket = SockRef::from(listener);
    socket.set_send_buffer_size(bytes)?;
    socket.set_recv_buffer_size(bytes)
}

/// Makes the system forget what waits to be written when the socket is closed. Otherwise it goes on
/// offering it to a client that does not take it, for minutes.
pub fn forget_unwritten(stream: &TcpStream) {
    // A socket that is gone already has nothing to forget.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

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

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// A superseded connection of an old client has no idle limit: only this finds the one whose
    /// client vanished.
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
