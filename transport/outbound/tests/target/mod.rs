//! A target on loopback that answers as a test says, and lookups that a test scripts.
#![expect(clippy::unwrap_used, reason = "a broken fixture should panic")]

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use gimlet_outbound::{NameLookup, OutboundUrl};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Behaviour of a target on each connection.
#[derive(Clone, Debug)]
pub(crate) enum TargetBehavior {
    /// Reads a request, answers with these bytes and closes.
    Answers(String),
    /// Reads a request and never answers.
    Hangs,
    /// Answers with a head and a body without end.
    NeverEnds,
    /// Closes at once.
    Closes,
}

/// A target. It ends with its value.
#[derive(Debug)]
pub(crate) struct FakeTarget {
    port: u16,
    connections: watch::Receiver<usize>,
    requests: Arc<Mutex<Vec<String>>>,
    tasks: JoinSet<()>,
}

impl FakeTarget {
    /// Starts a target.
    pub(crate) async fn start(behavior: TargetBehavior) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (counted, connections) = watch::channel(0);
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let mut tasks = JoinSet::new();
        let noted = Arc::clone(&requests);
        tasks.spawn(async move {
            let mut served = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                counted.send_modify(|connections| *connections += 1);
                served.spawn(serve(socket, behavior.clone(), Arc::clone(&noted)));
            }
        });
        Self {
            port,
            connections,
            requests,
            tasks,
        }
    }

    /// Returns the target's address with this host.
    pub(crate) fn url(&self, host: &str) -> OutboundUrl {
        format!("http://{host}:{}/hook", self.port).parse().unwrap()
    }

    /// Returns the number of connections so far.
    pub(crate) fn connections(&self) -> usize {
        *self.connections.borrow()
    }

    /// Waits for this number of connections.
    pub(crate) async fn reaches(&self, connections: usize) {
        let mut counted = self.connections.clone();
        let reached = counted.wait_for(|counted| *counted >= connections).await;
        reached.unwrap();
    }

    /// Returns the heads of the requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// Returns the number of its tasks: one, until it is dropped.
    pub(crate) fn tasks(&self) -> usize {
        self.tasks.len()
    }
}

async fn serve(mut socket: TcpStream, behavior: TargetBehavior, noted: Arc<Mutex<Vec<String>>>) {
    if matches!(behavior, TargetBehavior::Closes) {
        return;
    }
    let request = read_request(&mut socket).await;
    noted.lock().unwrap().push(request);
    match behavior {
        TargetBehavior::Answers(bytes) => {
            // An error means that the client has left.
            let _ = socket.write_all(bytes.as_bytes()).await;
        }
        TargetBehavior::Hangs => {
            // Until the client closes the connection.
            let _ = socket.read(&mut [0; 1]).await;
        }
        TargetBehavior::NeverEnds => {
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            let _ = socket.write_all(head.as_bytes()).await;
            let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
            while socket.write_all(chunk.as_bytes()).await.is_ok() {}
        }
        TargetBehavior::Closes => {}
    }
}

/// Reads a request with a body of a declared length.
async fn read_request(socket: &mut TcpStream) -> String {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).to_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.split("content-length: ").nth(1);
            let length = length.and_then(|it| it.lines().next()?.trim().parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return String::from_utf8_lossy(&read).into_owned();
            }
        }
        if socket.read_buf(&mut read).await.unwrap_or(0) == 0 {
            return String::from_utf8_lossy(&read).into_owned();
        }
    }
}

/// A lookup that gives one scripted answer after the other.
#[derive(Debug)]
pub(crate) struct ScriptedLookup(Mutex<VecDeque<Vec<IpAddr>>>);

impl ScriptedLookup {
    /// Gives these answers; further lookups find no address.
    pub(crate) fn new(answers: &[&[&str]]) -> Arc<Self> {
        let parse = |answer: &&[&str]| answer.iter().map(|ip| ip.parse().unwrap()).collect();
        Arc::new(Self(Mutex::new(answers.iter().map(parse).collect())))
    }
}

#[async_trait]
impl NameLookup for ScriptedLookup {
    async fn lookup(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let next = self.0.lock().unwrap().pop_front();
        next.ok_or_else(|| io::Error::other(format!("the script has no more answers for {host}")))
    }
}
