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
use gimlet_load::judge::FindingKind;
use gimlet_load::net::ServerPacket;
use gimlet_load::report::RunReport;
use gimlet_load::scenario::{ScenarioContext, direct, group};
use gimlet_load::target::ServerTarget;
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
enum PlantedDefect {
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
struct DefectRelay {
    server: SocketAddr,
    defect: PlantedDefect,
    packets: AtomicU32,
    clients: Mutex<Vec<mpsc::Sender<Vec<u8>>>>,
}

impl DefectRelay {
    async fn start(server: SocketAddr, defect: PlantedDefect, tasks: &TaskTracker) -> SocketAddr {
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
                PlantedDefect::MisdirectAnswer => PackageType::PtSend,
                _ => PackageType::PtMessage,
            };
            let may_be = ServerPacket::read(&frame[2..]).unwrap().is(kind);
            let victim = may_be && self.packets.fetch_add(1, Ordering::Relaxed) == VICTIM;
            let mut send = vec![frame];
            if let Some(held) = held.take_if(|_| may_be) {
                send.push(held);
            }
            if victim {
                let mut frame = send.remove(0);
                match self.defect {
                    PlantedDefect::None => send.push(frame),
                    PlantedDefect::Drop => {}
                    PlantedDefect::Double => send.extend([frame.clone(), frame]),
                    PlantedDefect::Swap => held = Some(frame),
                    PlantedDefect::Misdirect | PlantedDefect::MisdirectAnswer => {
                        let clients = self.clients.lock().unwrap().clone();
                        let other = &clients[(number + 1) % clients.len()];
                        other.send(frame).await.unwrap();
                    }
                    PlantedDefect::Damage => {
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
struct ArgsLine<A: clap::Args> {
    #[command(flatten)]
    args: A,
}

/// Parses the arguments of a run against the relay.
fn line<A: clap::Args>(relay: SocketAddr, server: &Server, more: &[&str]) -> A {
    let grpc = format!("http://{}", server.addrs().grpc[0]);
    let relay = relay.to_string();
    let common = ["load", "--server", &relay, "--grpc", &grpc];
    let time = ["--seconds", "0.4", "--warm-up", "0", "--grace", "3"];
    ArgsLine::parse_from(common.iter().chain(&time).chain(more)).args
}

async fn direct(defect: PlantedDefect, more: &[&str]) -> RunReport {
    let server = Server::start(Config::embedded()).await.unwrap();
    let tasks = TaskTracker::new();
    let tcp = server.addrs().tcp.unwrap();
    let relay = DefectRelay::start(tcp, defect, &tasks).await;
    let args: direct::DirectArgs = line(relay, &server, more);
    let mut target = ServerTarget::open(&args.common).await.unwrap();
    let stage = ScenarioContext::new("direct", &args.common, &mut target).unwrap();
    let report = direct::run(&args, stage).await.unwrap();
    server.stop().await.unwrap();
    report
}

const FEW: &[&str] = &["--users", "3", "--peers", "1", "--rate", "200"];

async fn finds(defect: PlantedDefect, finding: FindingKind) {
    let report = direct(defect, FEW).await;
    let findings = &report.findings;
    assert!(!report.good(), "{defect:?}");
    assert_eq!(findings.count(finding), 1, "{defect:?}: {findings:?}");
}

#[tokio::test]
async fn a_planted_defect_of_each_kind_fails_the_run() {
    tokio::join!(
        finds(PlantedDefect::Drop, FindingKind::Dropped),
        finds(PlantedDefect::Double, FindingKind::Doubled),
        finds(PlantedDefect::Swap, FindingKind::Swapped),
        finds(PlantedDefect::Misdirect, FindingKind::Misdirected),
        finds(PlantedDefect::MisdirectAnswer, FindingKind::Misdirected),
        finds(PlantedDefect::Damage, FindingKind::Damaged),
    );
}

#[tokio::test]
async fn without_a_defect_nothing_is_found() {
    let closed = ["--users", "5", "--outstanding", "4"];
    let gim = ["--users", "4", "--wire", "gim", "--rate", "100"];
    let (open, closed, gim) = tokio::join!(
        direct(PlantedDefect::None, FEW),
        direct(PlantedDefect::None, &closed),
        direct(PlantedDefect::None, &gim),
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
    for (defect, good) in [(PlantedDefect::None, true), (PlantedDefect::Drop, false)] {
        let server = Server::start(Config::embedded()).await.unwrap();
        let tasks = TaskTracker::new();
        let relay = DefectRelay::start(server.addrs().tcp.unwrap(), defect, &tasks).await;
        let more = ["--members", "6", "--groups", "2", "--senders", "2"];
        let args: group::GroupArgs = line(relay, &server, &more);
        let mut target = ServerTarget::open(&args.common).await.unwrap();
        let stage = ScenarioContext::new("group", &args.common, &mut target).unwrap();
        let report = group::run(&args, stage).await.unwrap();
        assert_eq!(report.good(), good, "{}", report.table());
        server.stop().await.unwrap();
    }
}
