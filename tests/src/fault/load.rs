//! A steady load on a cluster: four users send, each one message after another, to four others and
//! to a group of all. Two send with the client library, two over gRPC to either logic node,
//! repeating with the same id. Six of the eight are live, on both connect nodes.

use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use gimlet_client::{Client, DeviceCredentials, ServerEndpoint};
use gimlet_judge::DeliveryJudge;
use gimlet_kit::proxy::{FaultProxy, TargetChoice};
use gimlet_kit::random_phone;
use gimlet_kit::wire::RawClient;
use gimlet_proto::pb;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::fault_row::FaultRow;
use super::flow::{SenderPlan, by_client, by_grpc};
use super::grpc_sender::GrpcSender;
use super::load_state::LoadState;
use super::log::LoadLog;
use super::watched_connection::WatchedConnection;
use super::watcher;
use crate::cluster::NodeCluster;
use crate::judging::{RunVerdict, records};

/// Number of senders, and of receivers.
const EACH: u64 = 4;
/// Longest wait for anything that must happen after a fault: longer than a heartbeat.
const PATIENCE: Duration = Duration::from_secs(40);

/// A user of the load.
#[derive(Debug)]
struct LoadUser {
    number: String,
    who: DeviceCredentials,
    /// Device with which this inbox is read for the judge.
    judge: DeviceCredentials,
}

/// A running load.
#[derive(Debug)]
pub struct FaultLoad {
    people: Vec<LoadUser>,
    watches: Vec<usize>,
    clients: Vec<Client>,
    shared: Arc<LoadState>,
    senders: JoinSet<()>,
    watchers: JoinSet<()>,
    ways: Vec<FaultProxy>,
}

impl FaultLoad {
    /// Signs up all users and begins; returns when every sender was answered and every live client
    /// was shown a message.
    pub async fn begin(cluster: &NodeCluster) -> Self {
        let mut people = Vec::new();
        for _ in 0..EACH * 2 {
            let number = random_phone();
            people.push(LoadUser {
                who: cluster.sign_in(&number).await,
                judge: cluster.sign_in(&number).await,
                number,
            });
        }
        let ids: Vec<i64> = people.iter().map(|person| person.who.user_id).collect();
        let (first, rest) = people.split_first().expect("eight users");
        let others: Vec<i64> = rest.iter().map(|person| person.who.user_id).collect();
        let api = cluster.api(0).signed_in(first.who.clone());
        let group = api.create_group("everybody", &others).await;
        let group = group.unwrap_or_else(|error| panic!("no group: {error}"));
        let tcp: Vec<_> = cluster
            .connect
            .iter()
            .map(|node| node.ports().tcp)
            .collect();
        // One proxy per connect node, which prefers that node and falls back to the others.
        let mut ways = Vec::new();
        for at in 0..tcp.len() {
            let mut nodes = tcp.clone();
            nodes.rotate_left(at);
            ways.push(FaultProxy::balance(&nodes, TargetChoice::FirstThatAccepts).await);
        }
        let shared = Arc::new(LoadState::new());
        let mut load = Self {
            people,
            watches: Vec::new(),
            clients: Vec::new(),
            shared,
            senders: JoinSet::new(),
            watchers: JoinSet::new(),
            ways,
        };
        // The users that send over gRPC are not live.
        let by_library = |at: &usize| ![2, 3].contains(at);
        for at in (0..ids.len()).filter(by_library) {
            load.watches(at).await;
        }
        let logic = &cluster.logic;
        let nodes = if logic.is_empty() {
            &cluster.connect
        } else {
            logic
        };
        let grpc: Vec<_> = nodes.iter().map(|node| node.ports().grpc).collect();
        let receivers = ids.get(4..).expect("eight users").to_vec();
        for sender in 0..EACH {
            let at = usize::try_from(sender).expect("small");
            let person = load.people.get(at).expect("eight users");
            let plan = SenderPlan {
                sender,
                own: person.who.user_id,
                group,
                everybody: Arc::from(ids.clone()),
                receivers: receivers.clone(),
            };
            let shared = Arc::clone(&load.shared);
            if let Some(client) = load.clients.get(at).filter(|_| by_library(&at)) {
                load.senders.spawn(by_client(client.clone(), plan, shared));
            } else {
                let caller = GrpcSender::new(&grpc, &person.who);
                load.senders.spawn(by_grpc(caller, plan, shared));
            }
        }
        load.is_served(Instant::now()).await;
        load
    }

    /// Starts one more live client, for this user's device.
    async fn watches(&mut self, at: usize) {
        let way = self.ways.get(at % self.ways.len()).expect("counted round");
        let who = &self.people.get(at).expect("a user of the load").who;
        let endpoint = ServerEndpoint::Tcp(way.address.to_string());
        let (client, events) = watcher::connect(who, endpoint).await;
        let watch = self.shared.judge().watch(who.user_id, who.device_id, 0);
        let watching = watcher::watch(events, watch, Arc::clone(&self.shared));
        self.watchers.spawn(watching);
        self.watches.push(watch);
        self.clients.push(client);
    }

    /// Watches a raw connection of this device, which is live and has been shown these entries
    /// above this seq.
    pub fn listens(
        &mut self,
        raw: RawClient,
        who: &DeviceCredentials,
        from: i64,
        entries: &[pb::Message],
    ) -> WatchedConnection {
        let watch = self.shared.judge().watch(who.user_id, who.device_id, from);
        let ear = WatchedConnection::new(watch);
        let now = Instant::now();
        for entry in entries {
            ear.record(entry, now, &self.shared);
        }
        let listening = ear.clone().listen(raw, Arc::clone(&self.shared));
        self.watchers.spawn(listening);
        ear
    }

    /// Waits until the recorded events meet a condition.
    async fn until(
        &self,
        what: &str,
        patience: Duration,
        met: impl Fn(&LoadState) -> bool + Send + Sync,
    ) {
        let mut news = self.shared.news.subscribe();
        let wait = async {
            while !met(&self.shared) {
                // The wait cannot fail: `shared` owns the sender.
                let _ = news.changed().await;
            }
        };
        if timeout(patience, wait).await.is_err() {
            let log = self.shared.log();
            panic!(
                "{what}: not within {patience:?}; refused {:?}, unexpected {:?}",
                log.refused, log.unexpected
            );
        }
    }

    /// Waits until every sender was answered after this instant, and every live client was shown a
    /// message that was sent after it; returns the time that this took.
    pub async fn is_served(&self, since: Instant) -> Duration {
        let when = |log: &LoadLog| {
            let mut last = since;
            for sender in 0..EACH {
                last = last.max(log.answered_after(sender, since)?);
            }
            for watch in &self.watches {
                last = last.max(log.shown_after(*watch, since)?);
            }
            Some(last)
        };
        let served = |shared: &LoadState| when(&shared.log()).is_some();
        self.until("served again", PATIENCE, served).await;
        let last = when(&self.shared.log()).expect("the condition was met, and the log only grows");
        last.duration_since(since)
    }

    /// Waits for this many more answers.
    pub async fn flows(&self, more: usize) {
        let before = self.shared.log().answers.len();
        let enough = |shared: &LoadState| shared.log().answers.len() >= before + more;
        self.until("more answers", PATIENCE, enough).await;
    }

    /// Stops further sends and waits until those in flight are answered.
    pub async fn pauses(&self) {
        self.shared.open.send_replace(false);
        let mut flying = self.shared.flying.subscribe();
        let landed = timeout(PATIENCE, flying.wait_for(|count| *count == 0)).await;
        assert!(landed.is_ok(), "sends are answered within {PATIENCE:?}");
    }

    /// Resumes the sends after a pause.
    pub fn goes_on(&self) {
        self.shared.open.send_replace(true);
    }

    /// Returns the number of answered sends so far.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.shared.log().answers.len()
    }

    /// Returns the longest time that a sender waited for an answer since an instant.
    #[must_use]
    pub fn longest_gap(&self, since: Instant) -> Duration {
        self.shared.log().longest_gap(EACH, since)
    }

    /// Waits until this connection was shown a message that was sent after an instant.
    pub async fn wait_until_shown(&self, ear: &WatchedConnection, since: Instant) {
        let is_shown = |shared: &LoadState| shared.log().shown_after(ear.watch(), since).is_some();
        self.until("a message on the watched connection", PATIENCE, is_shown)
            .await;
    }

    /// Returns the duration of the longest attempt over gRPC that ended after an instant.
    #[must_use]
    pub fn longest_attempt(&self, since: Instant) -> Duration {
        let log = self.shared.log();
        let since = log.attempts.iter().filter(|(at, _)| *at >= since);
        since.map(|(_, took)| *took).max().unwrap_or_default()
    }

    /// Returns the number of live clients' connections that have ended so far.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.log().dropped
    }

    /// Returns the number of answers so far that reported an earlier attempt as stored.
    #[must_use]
    pub fn repeated(&self) -> u64 {
        self.shared.log().repeated
    }

    /// Returns the number of attempts over gRPC that were answered with 14, and with 4.
    #[must_use]
    pub fn refused(&self) -> (u64, u64) {
        let log = self.shared.log();
        (log.refused(14), log.refused(4))
    }

    /// Returns the judge, for further checks of a test.
    pub fn judge(&self) -> MutexGuard<'_, DeliveryJudge> {
        self.shared.judge()
    }

    /// Returns the users, senders first.
    #[must_use]
    pub fn users(&self) -> Vec<i64> {
        self.people
            .iter()
            .map(|person| person.who.user_id)
            .collect()
    }

    /// Returns a sender that is not live: its own sends are not pushed to any client of its own.
    #[must_use]
    pub fn writer(&self) -> &DeviceCredentials {
        let person = self.people.get(2).expect("a user of the load");
        &person.who
    }

    /// Returns both senders that are not live.
    #[must_use]
    pub fn writers(&self) -> Vec<&DeviceCredentials> {
        let both = self.people.iter().skip(2).take(2);
        both.map(|person| &person.who).collect()
    }

    /// Returns the admin of the groups: a live sender.
    #[must_use]
    pub fn admin(&self) -> &DeviceCredentials {
        &self.people.first().expect("a user of the load").who
    }

    /// Returns a receiver's phone number, with which another of its devices signs in.
    #[must_use]
    pub fn number(&self, receiver: usize) -> &str {
        let at = receiver + usize::try_from(EACH).unwrap_or(0);
        let person = self.people.get(at).expect("a receiver");
        &person.number
    }

    /// Reads the new entries of every inbox, by SYNC at this connect node.
    pub async fn reads(&self, cluster: &NodeCluster, connect: usize) {
        for user in self.users() {
            self.reads_one(cluster, connect, user).await;
        }
    }

    /// Reads the new entries of one inbox.
    pub async fn reads_one(&self, cluster: &NodeCluster, connect: usize, user: i64) {
        let node = cluster.connect.get(connect).expect("a node");
        let his = |person: &&LoadUser| person.judge.user_id == user;
        let person = self.people.iter().find(his).expect("a user of the load");
        let seen = self.shared.judge().seen(user);
        let read = async {
            let mut raw = RawClient::sign_in(node.ports().tcp, &person.judge).await?;
            raw.sync(seen).await
        };
        let entries = read.await;
        let entries =
            entries.unwrap_or_else(|error| panic!("cannot read the inbox of user {user}: {error}"));
        self.shared.judge().read(user, records(&entries));
    }

    /// Waits until every live client was shown everything that was read of its inbox; returns the
    /// instant of the last one.
    pub async fn is_complete(&self, patience: Duration) -> Instant {
        let complete = |shared: &LoadState| shared.judge().unshown() == 0;
        self.until("every live client complete", patience, complete)
            .await;
        let log = self.shared.log();
        let last = log.shown.iter().map(|shown| shown.at).max();
        last.unwrap_or_else(Instant::now)
    }

    /// Ends the load and checks it: all sends are answered, all inboxes are read, all live clients
    /// are complete.
    pub async fn ends(mut self, cluster: &NodeCluster) -> RunVerdict {
        // The order matters: senders finish first, so that the inboxes are read after the last
        // answer, and only what was read then can be demanded from the live clients.
        self.shared.stop.cancel();
        let last = async {
            while let Some(ended) = self.senders.join_next().await {
                ended.expect("a sender panicked");
            }
        };
        let ended = timeout(PATIENCE, last).await;
        assert!(ended.is_ok(), "the last sends are answered");
        self.reads(cluster, 0).await;
        self.is_complete(PATIENCE).await;
        let log = self.shared.log();
        assert!(log.unexpected.is_empty(), "{:?}", log.unexpected);
        let verdict = RunVerdict::of(&self.shared.judge());
        assert!(verdict.is_clean(), "{verdict}");
        verdict
    }

    /// Ends the load and returns its row of the report.
    pub async fn row(
        self,
        cluster: &NodeCluster,
        fault: &str,
        recovery: Duration,
        note: &str,
    ) -> FaultRow {
        let refused = self.refused();
        FaultRow {
            verdict: self.ends(cluster).await,
            fault: fault.to_owned(),
            refused,
            recovery,
            note: note.to_owned(),
        }
    }
}
