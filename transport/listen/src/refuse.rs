//! Last answers to connections that are not served.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::development::PROXY_REFUSAL;
use crate::wrong_port::ForeignProtocol;

/// Time that a refused client gets to read its answer.
const REFUSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Writes an answer and lets the client read it: closing a socket with unread input resets the
/// connection, which can destroy the answer on its way.
pub async fn refuse(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &[u8]) {
    let answered = async {
        stream.write_all(answer).await?;
        stream.flush().await?;
        stream.shutdown().await?;
        let mut rest = [0; 512];
        while stream.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    // An error means that the client has already left, so it is ignored.
    let _ = tokio::time::timeout(REFUSE_TIMEOUT, answered).await;
}

/// Refuses a connection that begins with the PROXY protocol, in words that a proxy's log can show.
pub async fn refuse_proxy(stream: impl AsyncRead + AsyncWrite + Unpin) {
    refuse(stream, &ForeignProtocol::Http1.answer(PROXY_REFUSAL)).await;
}
