//! Kills the server under load repeatedly and checks for every answered send after each start.
//!
//! `cargo run --release -p gimlet-tests --bin gimlet-kill -- --kills 300`. One kill in three comes
//! within 300 ms of a start, so some of them interrupt the database's recovery; the others come
//! after at least `--between` answered sends. Every fiftieth body is 60 KiB. The exit code is 1 if
//! a promise was broken; the data folder is then kept.

use std::collections::HashMap;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Parser;
use gimlet_client::{ApiClient, DeviceCredentials};
use gimlet_proto::pb::{self, PackageType, ReceiverType};
use gimlet_tests::ledger::RunLedger;
use gimlet_tests::process::{ServerPorts, ServerProcess, binary};
use gimlet_tests::raw::{PacketReader, PacketWriter, RawClient};
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
#[derive(Clone)]
struct UnansweredSend {
    request: pb::SendMessageReq,
    recipients: Vec<i64>,
}

/// Unanswered sends of a connection, by request id.
type UnansweredById = Mutex<HashMap<i64, UnansweredSend>>;

struct KillRun {
    users: Vec<DeviceCredentials>,
    group: i64,
    ledger: Mutex<RunLedger>,
    /// Sends that a kill left unanswered, by user. They are repeated with their ids.
    unanswered: Vec<Mutex<Vec<UnansweredSend>>>,
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
        if kill % 3 == 0 {
            // A second kill follows below: it hits a server that has just started, perhaps during
            // the recovery of its database.
            early += 1;
            server.kill()?;
            load.abort();
            server = spawn()?;
            sleep(Duration::from_millis(rand::random_range(0..300))).await;
        } else {
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
        load.await.ok();
        let start = Instant::now();
        server = spawn()?;
        server
            .ready()
            .await
            .map_err(|error| format!("kill {kill}: {error}"))?;
        slowest = slowest.max(start.elapsed());
        world.look(ports).await?;
        let verdict = world.ledger.lock().await.verdict();
        if !verdict.clean() || kill % 25 == 0 || kill == args.kills {
            println!("{kill} kills: {verdict:?}");
        }
        if !verdict.clean() {
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
            let device_id = api.register_device("kill").await?;
            let phone = format!("1380000000{n}");
            let signed_in = api.sign_in(&phone, "000000", device_id).await?;
            let token = signed_in.token.clone();
            users.push(DeviceCredentials {
                user_id: signed_in.user_id,
                device_id,
                token,
            });
        }
        let first = users.first().ok_or("no users")?.clone();
        let others: Vec<i64> = users.iter().skip(1).map(|user| user.user_id).collect();
        let group = api.signed_in(first).create_group("all", &others).await?;
        Ok(Self {
            users,
            group,
            ledger: Mutex::default(),
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
        let RawClient { reader, writer } = raw;
        tokio::join!(
            async {
                let _ = self.write(n, writer, &slots, &waiting).await;
                slots.close();
            },
            async {
                let _ = self.read(reader, &slots, &waiting).await;
                // Closing the semaphore ends the other half: a writer that waits for a slot would
                // wait forever after the reader has failed.
                slots.close();
            },
        );
        if let Some(unanswered) = self.unanswered.get(n) {
            unanswered
                .lock()
                .await
                .extend(waiting.into_inner().into_values());
        }
    }

    async fn write(
        &self,
        n: usize,
        mut writer: PacketWriter,
        slots: &Semaphore,
        waiting: &UnansweredById,
    ) -> KillResult<()> {
        loop {
            slots.acquire().await?.forget();
            let made = self.made.fetch_add(1, Ordering::Relaxed);
            let again = match self.unanswered.get(n) {
                Some(unanswered) => unanswered.lock().await.pop(),
                None => None,
            };
            let send = again.unwrap_or_else(|| self.make(n, made));
            let request = send.request.encode_to_vec();
            let id = i64::try_from(made)? + 1;
            // Inserted before the write: the answer may arrive before the write returns.
            waiting.lock().await.insert(id, send);
            writer.write(PackageType::PtSend, id, request).await?;
        }
    }

    /// Returns a new send of the user: every fourth goes to the group, every fiftieth has a body of
    /// 60 KiB.
    fn make(&self, n: usize, made: u64) -> UnansweredSend {
        let size = if made.is_multiple_of(50) {
            60 * 1024 - 8
        } else {
            rand::random_range(0..400)
        };
        let mut content = made.to_be_bytes().to_vec();
        content.extend((0..size).map(|_| rand::random::<u8>()));
        let id = |n: usize| self.users.get(n % USERS).map_or(0, |user| user.user_id);
        let (kind, receiver_id, readers) = if made.is_multiple_of(4) {
            let all = self.users.iter().map(|user| user.user_id).collect();
            (ReceiverType::RtGroup, self.group, all)
        } else {
            (ReceiverType::RtUser, id(n + 1), vec![id(n), id(n + 1)])
        };
        let request = pb::SendMessageReq {
            receiver_type: kind as i32,
            receiver_id,
            message_type: 1,
            message_content: content.into(),
            send_time: 1,
            is_persist: true,
            client_message_id: format!("kill-{made}"),
            ..pb::SendMessageReq::default()
        };
        UnansweredSend {
            request,
            recipients: readers,
        }
    }

    async fn read(
        &self,
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
                self.ledger
                    .lock()
                    .await
                    .answered(&answer.message_id, content, &send.recipients);
                self.answered.fetch_add(1, Ordering::Relaxed);
            } else if !matches!(output.code, 4 | 8 | 14) {
                eprintln!("a send was refused: {} {}", output.code, output.message);
            }
        }
    }

    /// Reads the new entries of every inbox.
    async fn look(&self, ports: ServerPorts) -> KillResult<()> {
        for who in &self.users {
            let mut raw = RawClient::sign_in(ports.tcp, who).await?;
            let from = self.ledger.lock().await.seen(who.user_id);
            let entries = raw.sync(from).await?;
            self.ledger.lock().await.read(who.user_id, &entries);
        }
        Ok(())
    }
}
