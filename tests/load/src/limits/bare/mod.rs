//! Minimal tokio servers, each in a process of its own: they show what the wire gives without
//! gimlet behind it.
//!
//! `gimlet-load bare KIND` runs one: it prints its address, and ends when its standard input ends.
//! [`BareServer`] is the handle of such a process in its parent.

mod echo;
mod fanout;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};

use clap::ValueEnum;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use super::ProbeOutcome;
use crate::target::ports::FreePorts;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1_024;

/// Kinds of servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BareServerKind {
    /// Sends every frame back; all complete frames in one write.
    Echo,
    /// Sends a publisher's frames to all members; each connection has a task and a queue.
    Queue,
    /// Sends a publisher's frames to all members, written by the publisher's task.
    Direct,
}

/// Serves until standard input ends.
pub fn serve(kind: BareServerKind) -> ProbeOutcome<()> {
    // Both ends of many connections need descriptors.
    rlimit::increase_nofile_limit(u64::MAX)?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        // `FreePorts` is not in the range of clients' ports, where lingering connections of an
        // earlier run may be on every port.
        socket.bind(FreePorts::new().free()?)?;
        let listener = socket.listen(BACKLOG)?;
        writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
        let (end, ended) = oneshot::channel();
        std::thread::spawn(move || {
            // Input means nothing; its end means that the parent has gone.
            let read = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            drop(end.send(read));
        });
        tokio::select! {
            served = clients(kind, listener) => served,
            ended = ended => Ok(ended?.map(drop)?),
        }
    })
}

async fn clients(kind: BareServerKind, listener: TcpListener) -> ProbeOutcome<()> {
    match kind {
        BareServerKind::Echo => echo::serve(listener).await,
        BareServerKind::Queue => fanout::serve(listener, fanout::FanoutPath::Queue).await,
        BareServerKind::Direct => fanout::serve(listener, fanout::FanoutPath::Direct).await,
    }
}

/// Running bare server. Dropping it ends the process.
#[derive(Debug)]
pub struct BareServer {
    child: Child,
    /// Held open: the server ends when it closes.
    input: Option<ChildStdin>,
    /// Address that it listens on.
    pub addr: SocketAddr,
}

impl BareServer {
    /// Starts a server from this very program.
    pub fn start(kind: BareServerKind) -> ProbeOutcome<Self> {
        let name = kind.to_possible_value().ok_or("every kind has a name")?;
        let mut child = Command::new(std::env::current_exe()?)
            .args(["bare", name.get_name()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take();
        let output = child.stdout.take().ok_or("the bare server has no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let addr = line
            .trim()
            .parse()
            .map_err(|_| "the bare server printed no address")?;
        Ok(Self { child, input, addr })
    }

    /// Returns its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for BareServer {
    fn drop(&mut self) {
        drop(self.input.take());
        if self.child.wait().is_err() {
            // It is gone already.
        }
    }
}
