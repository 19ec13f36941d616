//! Echo server: sends all complete frames back in one write.

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::measured_limit::ProbeOutcome;

/// Bytes read at a time.
const READ: usize = 16 * 1024;

pub(super) async fn serve(listener: TcpListener) -> ProbeOutcome<()> {
    let mut clients = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        clients.spawn(echo(stream));
    }
}

/// Echoes frames until the client leaves.
async fn echo(mut stream: TcpStream) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let mut pending = Vec::new();
    loop {
        // An idle connection holds no buffer.
        if stream.readable().await.is_err() {
            return;
        }
        let mut scratch = [0; READ];
        let read = match stream.try_read(&mut scratch) {
            Ok(0) => return,
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(_) => return,
        };
        pending.extend_from_slice(scratch.get(..read).unwrap_or_default());
        let whole = whole(&pending);
        let written = stream
            .write_all(pending.get(..whole).unwrap_or_default())
            .await;
        if written.is_err() {
            return;
        }
        pending.drain(..whole);
        if pending.is_empty() {
            pending = Vec::new();
        }
    }
}

/// Returns the length of the complete frames at the front.
fn whole(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(length) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let end = at + 2 + usize::from(u16::from_be_bytes(*length));
        if end > bytes.len() {
            break;
        }
        at = end;
    }
    at
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_what_is_complete_goes_back() {
        assert_eq!(super::whole(&[0, 1, 9, 0, 0, 0, 2, 7]), 5);
        assert_eq!(super::whole(&[0]), 0);
    }
}
