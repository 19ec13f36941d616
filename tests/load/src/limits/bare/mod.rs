//! Servers as bare as tokio allows, each a process of its own: what the wire gives when nothing is
//! behind it.
//!
//! `gimlet-load bare KIND` runs one: it prints the address it listens on, and ends when its input
//! does. [`Bare`] is such a process, as its starter sees it.

mod echo;
mod fanout;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};

use clap::ValueEnum;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use super::Outcome;
use crate::target::ports::Ports;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1_024;

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Every frame comes back; all that are complete, in one write.
    Echo,
    /// A publisher's frames go to everybody, each connection has a task and a queue.
    Queue,
    /// A publisher's frames go to everybody, written by the publisher's task.
    Direct,
}

/// Serves until the input ends.
pub fn serve(kind: Kind) -> Outcome<()> {
    // Both ends of many connections need descriptors.
    rlimit::increase_nofile_limit(u64::MAX)?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        // Where clients' ports are taken from, those of a run before may linger on every one.
        socket.bind(Ports::new().free()?)?;
        let listener = socket.listen(BACKLOG)?;
        writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
        let (end, ended) = oneshot::channel();
        std::thread::spawn(move || {
            // Whatever comes in means nothing; its end means that the starter has gone.
            let read = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            drop(end.send(read));
        });
        tokio::select! {
            served = clients(kind, listener) => served,
            ended = ended => Ok(ended?.map(drop)?),
        }
    })
}

async fn clients(kind: Kind, listener: TcpListener) -> Outcome<()> {
    match kind {
        Kind::Echo => echo::serve(listener).await,
        Kind::Queue => fanout::serve(listener, fanout::Way::Queue).await,
        Kind::Direct => fanout::serve(listener, fanout::Way::Direct).await,
    }
}

/// A running bare server. Dropping it ends it.
#[derive(Debug)]
pub struct Bare {
    child: Child,
    /// Held open: the server ends when it closes.
    input: Option<ChildStdin>,
    /// Where it listens.
    pub addr: SocketAddr,
}

impl Bare {
    /// Starts one, of this very program.
    pub fn start(kind: Kind) -> Outcome<Self> {
        let name = kind.to_possible_value().ok_or("every kind has a name")?;
        let mut child = Command::new(std::env::current_exe()?)
            .args(["bare", name.get_name()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take();
        let output = child.stdout.take().ok_or("its output was asked for")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let addr = line
            .trim()
            .parse()
            .map_err(|_| "the bare server gave no address")?;
        Ok(Self { child, input, addr })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        drop(self.input.take());
        if self.child.wait().is_err() {
            // It is gone already.
        }
    }
}
