//! Runs the whole tool against a server behind a relay that plants one defect of each kind: the run
//! must fail and name the defect. Without a defect it must pass.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test should panic"
)]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use clap::Parser;
use gimlet_load::judge::Finding;
use gimlet_load::net::Packet;
use gimlet_load::report::Report;
use gimlet_load::scenario::{Stage, direct, group};
use gimlet_load::target::Target;
use gimlet_proto::pb::PackageType;
use gimlet_server::{Config, Server};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

/// Number of the packet (a push, or the answer to a send) that gets the defect.
const VICTIM: u32 = 25;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Defect {
    None,
    Drop,
    Double,
    Swap,
    Misdirect,
    /// Delivers an answer to a wrong connection.
    MisdirectAnswer,
    Damage,
}

/// State that all connections of a relay share.
struct Relay {
    server: SocketAddr,
    defect: Defect,
    packets: AtomicU32,
    clients: Mutex<Vec<mpsc::Sender<Vec<u8>>>>,
}

impl Relay {
    async fn start(server: SocketAddr, defect: Defect, tasks: &TaskTracker) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let relay = Arc::new(Self {
            server,
            defect,
            packets: AtomicU32::new(0),
            clients: Mutex::default(),
        });
        let more = tasks.clone();
        tasks.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let relay = Arc::clone(&relay);
                more.spawn(relay.connection(client, more.clone()));
            }
        });
        addr
    }

    async fn connection(self: Arc<Self>, client: TcpStream, tasks: TaskTracker) {
        let server = TcpStream::connect(self.server).await.unwrap();
        let (mut up, to_server) = client.into_split();
        let (from_server, mut down) = server.into_split();
        let (frames, outbox) = mpsc::channel(1024);
        let number = {
            let mut clients = self.clients.lock().unwrap();
            clients.push(frames.clone());
            clients.len() - 1
        };
        tasks.spawn(async move { tokio::io::copy(&mut up, &mut down).await });
        tasks.spawn(write(outbox, to_server));
        self.frames(from_server, number, frames).await;
    }

    /// Forwards the server's frames, with the defect.
    async fn frames(&self, mut server: OwnedReadHalf, number: usize, out: mpsc::Sender<Vec<u8>>) {
        let mut held = None;
        while let Ok(length) = server.read_u16().await {
            let mut frame = length.to_be_bytes().to_vec();
            frame.resize(2 + usize::from(length), 0);
            server.read_exact(&mut frame[2..]).await.unwrap();
            let kind = match self.defect {
                Defect::MisdirectAnswer => PackageType::PtSend,
                _ => PackageType::PtMessage,
            };
            let may_be = Packet::read(&frame[2..]).unwrap().is(kind);
            let victim = may_be && self.packets.fetch_add(1, Ordering::Relaxed) == VICTIM;
            let mut send = vec![frame];
            if let Some(held) = held.take_if(|_| may_be) {
                send.push(held);
            }
            if victim {
                let mut frame = send.remove(0);
                match self.defect {
                    Defect::None => send.push(frame),
                    Defect::Drop => {}
                    Defect::Double => send.extend([frame.clone(), frame]),
                    Defect::Swap => held = Some(frame),
                    Defect::Misdirect | Defect::MisdirectAnswer => {
                        let clients = self.clients.lock().unwrap().clone();
                        let other = &clients[(number + 1) % clients.len()];
                        other.send(frame).await.unwrap();
                    }
                    Defect::Damage => {
                        // Within the padding of the content, at any place in the frame.
                        let padding = frame.windows(8).position(|w| w == [w[0]; 8]);
                        frame[padding.unwrap() + 3] ^= 0x10;
                        send.push(frame);
                    }
                }
            }
            for frame in send {
                if out.send(frame).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn write(mut frames: mpsc::Receiver<Vec<u8>>, mut client: OwnedWriteHalf) {
    while let Some(frame) = frames.recv().await {
        if client.write_all(&frame).await.is_err() {
            return;
        }
    }
}

#[derive(Parser)]
struct Line<A: clap::Args> {
    #[command(flatten)]
    args: A,
}

/// Parses the arguments of a run against the relay.
fn line<A: clap::Args>(relay: SocketAddr, server: &Server, more: &[&str]) -> A {
    let grpc = format!("http://{}", server.addrs().grpc[0]);
    let relay = relay.to_string();
    let common = ["load", "--server", &relay, "--grpc", &grpc];
    let time = ["--seconds", "0.4", "--warm-up", "0", "--grace", "3"];
    Line::parse_from(common.iter().chain(&time).chain(more)).args
}

async fn direct(defect: Defect, more: &[&str]) -> Report {
    let server = Server::start(Config::embedded()).await.unwrap();
    let tasks = TaskTracker::new();
    let tcp = server.addrs().tcp.unwrap();
    let relay = Relay::start(tcp, defect, &tasks).await;
    let args: direct::Direct = line(relay, &server, more);
    let mut target = Target::open(&args.common).await.unwrap();
    let stage = Stage::new("direct", &args.common, &mut target).unwrap();
    let report = direct::run(&args, stage).await.unwrap();
    server.stop().await.unwrap();
    report
}

const FEW: &[&str] = &["--users", "3", "--peers", "1", "--rate", "200"];

async fn finds(defect: Defect, finding: Finding) {
    let report = direct(defect, FEW).await;
    let findings = &report.findings;
    assert!(!report.good(), "{defect:?}");
    assert_eq!(findings.count(finding), 1, "{defect:?}: {findings:?}");
}

#[tokio::test]
async fn a_planted_defect_of_each_kind_fails_the_run() {
    tokio::join!(
        finds(Defect::Drop, Finding::Dropped),
        finds(Defect::Double, Finding::Doubled),
        finds(Defect::Swap, Finding::Swapped),
        finds(Defect::Misdirect, Finding::Misdirected),
        finds(Defect::MisdirectAnswer, Finding::Misdirected),
        finds(Defect::Damage, Finding::Damaged),
    );
}

#[tokio::test]
async fn without_a_defect_nothing_is_found() {
    let closed = ["--users", "5", "--outstanding", "4"];
    let gim = ["--users", "4", "--wire", "gim", "--rate", "100"];
    let (open, closed, gim) = tokio::join!(
        direct(Defect::None, FEW),
        direct(Defect::None, &closed),
        direct(Defect::None, &gim),
    );
    for report in [open, closed, gim] {
        assert!(report.good(), "{}", report.table());
        assert!(
            report
                .figures
                .iter()
                .any(|f| f.name == "answered" && f.value > 10.0)
        );
    }
}

#[tokio::test]
async fn groups_are_judged_as_well() {
    for (defect, good) in [(Defect::None, true), (Defect::Drop, false)] {
        let server = Server::start(Config::embedded()).await.unwrap();
        let tasks = TaskTracker::new();
        let relay = Relay::start(server.addrs().tcp.unwrap(), defect, &tasks).await;
        let more = ["--members", "6", "--groups", "2", "--senders", "2"];
        let args: group::Group = line(relay, &server, &more);
        let mut target = Target::open(&args.common).await.unwrap();
        let stage = Stage::new("group", &args.common, &mut target).unwrap();
        let report = group::run(&args, stage).await.unwrap();
        assert_eq!(report.good(), good, "{}", report.table());
        server.stop().await.unwrap();
    }
}
