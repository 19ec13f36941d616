//! Attacks by uploads.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};

use super::tally::AttackTally;
use super::target::AttackerAccounts;
use super::wire::PATIENCE;
use crate::test_account::TestAccount;

/// Bytes of an upload.
pub(super) const UPLOAD: usize = 5 << 20;

/// Uploads one file after another.
pub(super) async fn uploads(squad: AttackerAccounts, tally: Arc<AttackTally>) {
    let Some(to) = squad.field.http else { return };
    let account = squad.spare(4);
    let mut tick = interval(Duration::from_millis(500));
    loop {
        tick.tick().await;
        tally.counts(upload(to, &account).await);
    }
}

async fn upload(to: SocketAddr, account: &TestAccount) -> io::Result<()> {
    let boundary = "gimlet-abuse";
    let mut body = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\n"
    )
    .into_bytes();
    body.resize(body.len() + UPLOAD, b'u');
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    let head = format!(
        "POST /upload HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\nuser-id: {}\r\n\
         device-id: {}\r\ntoken: {}\r\nContent-Type: multipart/form-data; boundary={boundary}\r\n\
         Content-Length: {}\r\n\r\n",
        account.user,
        account.device,
        account.token,
        body.len()
    );
    let sent = async {
        let mut stream = TcpStream::connect(to).await?;
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&body).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let status = answer.lines().next().unwrap_or_default().to_owned();
        if status.starts_with("HTTP/1.1 200") {
            Ok(())
        } else {
            Err(io::Error::other(status))
        }
    };
    timeout(PATIENCE, sent).await?
}
