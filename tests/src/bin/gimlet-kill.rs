//! Kills the server under load repeatedly. After each start the judge checks all inboxes: every
//! answered send is there once, for its recipients only, at the seq of its answer and in its
//! sender's order.
//!
//! `cargo run --release -p gimlet-tests --bin gimlet-kill -- --kills 300`. One kill in three comes
//! within 300 ms of a start, so some of them interrupt the database's recovery; the others come
//! after at least `--between` answered sends. Every fiftieth body is 60 KiB. Each sender repeats its
//! unanswered sends in their order before it makes new ones, so its order holds across kills. At the
//! end all inboxes are read again: no entry has changed. The exit code is 1 if a promise was broken;
//! the data folder is then kept.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Parser;
use gimlet_client::{ApiClient, DeviceCredentials};
use gimlet_judge::DeliveryJudge;
use gimlet_kit::server::{ServerPorts, ServerProcess, binary};
use gimlet_kit::sign_in;
use gimlet_kit::wire::{PacketReader, PacketWriter, RawClient};
use gimlet_proto::pb::{self, PackageType, ReceiverType};
use gimlet_tests::judging::{RunVerdict, records};
use prost::Message as _;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, sleep, timeout};

type KillResult<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Options of the program.
#[derive(Debug, Parser)]
#[command(about = "Kills the server under load and checks the remaining data")]
struct KillArgs {
    /// Number of kills.
    #[arg(long, default_value_t = 300)]
    kills: u64,
    /// Minimum number of answered sends between two kills (except for the kills right after a
    /// start).
    #[arg(long, default_value_t = 100)]
    between: u64,
    /// Durability of the server: `power` or `process`.
    #[arg(long, default_value = "power")]
    durability: String,
    /// Path of the server; by default the `gimlet` beside this program.
    #[arg(long)]
    binary: Option<PathBuf>,
}

/// Unanswered sends on one connection.
const IN_FLIGHT: usize = 16;
const USERS: usize = 4;

/// A send and its recipients, kept until it is answered.
struct UnansweredSend {
    /// Number of the send in the run.
    number: u64,
    request: pb::SendMessageReq,
    recipients: Vec<i64>,
}

/// Unanswered sends of a connection, by request id.
type UnansweredById = Mutex<HashMap<i64, UnansweredSend>>;

struct KillRun {
    users: Vec<DeviceCredentials>,
    group: i64,
    judge: Mutex<DeliveryJudge>,
    /// Sends that a kill left unanswered, by user and number. They are repeated with their ids.
    unanswered: Vec<Mutex<BTreeMap<u64, UnansweredSend>>>,
    /// Sends answered since the last start.
    answered: AtomicU64,
    made: AtomicU64,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(KillArgs::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("gimlet-kill: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: KillArgs) -> KillResult<bool> {
    let binary = args.binary.map_or_else(binary, Ok)?;
    let folder = tempfile::tempdir()?;
    let ports = ServerPorts::free();
    let extra = [
        ("GIMLET_STORAGE__DURABILITY", args.durability.as_str()),
        ("GIMLET_LIMITS__SEND_RATE", "1000000"),
        ("GIMLET_LIMITS__SEND_BURST", "1000000"),
    ];
    let spawn = || ServerProcess::spawn(&binary, folder.path(), ports, &extra);
    let mut server = spawn()?;
    server.ready().await?;
    let world = Arc::new(KillRun::new(ports).await?);
    let (mut early, mut slowest) = (0, Duration::ZERO);
    for kill in 1..=args.kills {
        let load = world.load(ports);
        let is_early = kill % 3 == 0;
        if !is_early {
            let enough = async {
                while world.answered.load(Ordering::Relaxed) < args.between {
                    sleep(Duration::from_millis(1)).await;
                }
            };
            timeout(Duration::from_mins(1), enough)
                .await
                .map_err(|_| "no sends were answered")?;
            sleep(Duration::from_millis(rand::random_range(0..50))).await;
        }
        server.kill()?;
        // The load ends with its connections, and keeps what was not answered.
        load.await.ok();
        if is_early {
            // A second kill hits a server that has just started, perhaps during the recovery of its
            // database.
            early += 1;
            server = spawn()?;
            sleep(Duration::from_millis(rand::random_range(0..300))).await;
            server.kill()?;
        }
        let start = Instant::now();
        server = spawn()?;
        server
            .ready()
            .await
            .map_err(|error| format!("kill {kill}: {error}"))?;
        slowest = slowest.max(start.elapsed());
        world.look(ports, kill == args.kills).await?;
        let verdict = RunVerdict::of(&*world.judge.lock().await);
        if !verdict.is_clean() || kill % 25 == 0 || kill == args.kills {
            println!("{kill} kills: {verdict}");
        }
        if !verdict.is_clean() {
            println!("the data is left in {}", folder.keep().display());
            return Ok(false);
        }
    }
    println!(
        "{} kills, {early} of them within 300 ms of a start; slowest start {slowest:?}; durability {}",
        args.kills, args.durability
    );
    Ok(true)
}

impl KillRun {
    async fn new(ports: ServerPorts) -> KillResult<Self> {
        let api = ApiClient::new(&format!("http://{}", ports.grpc))?;
        let mut users = Vec::new();
        for n in 0..USERS {
            users.push(sign_in(&api, &format!("1380000000{n}")).await?);
        }
        let first = users.first().ok_or("no users")?.clone();
        let others: Vec<i64> = users.iter().skip(1).map(|user| user.user_id).collect();
        let group = api.signed_in(first).create_group("all", &others).await?;
        Ok(Self {
            users,
            group,
            judge: Mutex::default(),
            unanswered: (0..USERS).map(|_| Mutex::default()).collect(),
            answered: AtomicU64::new(0),
            made: AtomicU64::new(0),
        })
    }

    /// Sends from every user until the server is gone.
    #[expect(
        clippy::disallowed_methods,
        reason = "the handle is awaited after the kill"
    )]
    fn load(self: &Arc<Self>, ports: ServerPorts) -> tokio::task::JoinHandle<()> {
        self.answered.store(0, Ordering::Relaxed);
        let world = Arc::clone(self);
        tokio::spawn(async move {
            let senders = (0..USERS).map(|n| {
                let world = Arc::clone(&world);
                async move { world.send_from(n, ports).await }
            });
            futures_util::future::join_all(senders).await;
        })
    }

    async fn send_from(&self, n: usize, ports: ServerPorts) {
        let Some(who) = self.users.get(n) else { return };
        let Ok(raw) = RawClient::sign_in(ports.tcp, who).await else {
            return;
        };
        let slots = Semaphore::new(IN_FLIGHT);
        let waiting = Mutex::new(HashMap::new());
        let RawClient { reader, writer, .. } = raw;
        tokio::join!(
            async {
                let _ = self.write(n, writer, &slots, &waiting).await;
                slots.close();
            },
            async {
                let _ = self.read(who.user_id, reader, &slots, &waiting).await;
                // Closing the semaphore ends the other half: a writer that waits for a slot would
                // wait forever after the reader has failed.
                slots.close();
            },
        );
        if let Some(unanswered) = self.unanswered.get(n) {
            let waiting = waiting.into_inner().into_values();
            let waiting = waiting.map(|send| (send.number, send));
            unanswered.lock().await.extend(waiting);
        }
    }

    async fn write(
        &self,
        n: usize,
        mut writer: PacketWriter,
        slots: &Semaphore,
        waiting: &UnansweredById,
    ) -> KillResult<()> {
        for id in 1.. {
            slots.acquire().await?.forget();
            let again = match self.unanswered.get(n) {
                Some(unanswered) => unanswered.lock().await.pop_first(),
                None => None,
            };
            let send = match again {
                Some((_, send)) => send,
                None => self.make(n).await,
            };
            let request = send.request.clone();
            // Inserted before the write: the answer may arrive before the write returns.
            waiting.lock().await.insert(id, send);
            writer.write(PackageType::PtSend, id, &request).await?;
        }
        Ok(())
    }

    /// Makes a new send of the user: every fourth goes to the group, every fiftieth has a body of
    /// 60 KiB.
    async fn make(&self, n: usize) -> UnansweredSend {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let size = if number.is_multiple_of(50) {
            60 * 1024 - 8
        } else {
            rand::random_range(0..400)
        };
        let mut content = number.to_be_bytes().to_vec();
        content.extend((0..size).map(|_| rand::random::<u8>()));
        let id = |n: usize| self.users.get(n % USERS).map_or(0, |user| user.user_id);
        let (kind, receiver_id, recipients) = if number.is_multiple_of(4) {
            let all = self.users.iter().map(|user| user.user_id).collect();
            (ReceiverType::RtGroup, self.group, all)
        } else {
            (ReceiverType::RtUser, id(n + 1), vec![id(n), id(n + 1)])
        };
        let mut judge = self.judge.lock().await;
        judge.begin_send(n as u64, &content, &recipients);
        let request = pb::SendMessageReq {
            receiver_type: kind as i32,
            receiver_id,
            message_type: 1,
            message_content: content.into(),
            send_time: 1,
            is_persist: true,
            client_message_id: format!("kill-{number}"),
            ..pb::SendMessageReq::default()
        };
        UnansweredSend {
            number,
            request,
            recipients,
        }
    }

    async fn read(
        &self,
        sender: i64,
        mut reader: PacketReader,
        slots: &Semaphore,
        waiting: &UnansweredById,
    ) -> KillResult<()> {
        loop {
            let output = reader.next().await?;
            if output.r#type != PackageType::PtSend as i32 {
                continue;
            }
            let Some(send) = waiting.lock().await.remove(&output.request_id) else {
                return Err("an answer to an unknown request".into());
            };
            slots.add_permits(1);
            if output.code == 0 {
                let answer = pb::SendMessageResp::decode(output.data)?;
                let content = &send.request.message_content;
                let mut judge = self.judge.lock().await;
                judge.confirm_send(content, Some(&answer.message_id), &send.recipients);
                judge.confirm_seq(content, sender, answer.seq);
                self.answered.fetch_add(1, Ordering::Relaxed);
            } else if !matches!(output.code, 4 | 8 | 14) {
                eprintln!("a send was refused: {} {}", output.code, output.message);
            }
        }
    }

    /// Reads the new entries of every inbox; at the end, everything once more from the start.
    async fn look(&self, ports: ServerPorts, is_last: bool) -> KillResult<()> {
        for who in &self.users {
            let mut raw = RawClient::sign_in(ports.tcp, who).await?;
            let mut judge = self.judge.lock().await;
            let entries = raw.sync(judge.seen(who.user_id)).await?;
            judge.read(who.user_id, records(&entries));
            if is_last {
                let entries = raw.sync(0).await?;
                judge.read_again(who.user_id, records(&entries));
            }
        }
        Ok(())
    }
}
