//! A steady load on a cluster: four users send, one after the other each, to four others and to a
//! group of all; two by the client library, two by gRPC at either logic node, repeating by id. Six
//! of the eight are live, on both connect nodes.

use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use gimlet_client::{Client, Credentials, Endpoint};
use gimlet_proto::pb;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::ear::Ear;
use super::flow::{Plan, by_client, by_grpc};
use super::log::Log;
use super::row::Row;
use super::sender::Caller;
use super::shared::Shared;
use super::watcher;
use super::way::Way;
use crate::cluster::Cluster;
use crate::ledger::{Ledger, Verdict};
use crate::raw::Raw;

/// Senders, and receivers.
const EACH: u64 = 4;
/// How long anything may take that must happen after a fault: longer than a heartbeat.
const PATIENCE: Duration = Duration::from_secs(40);

/// Somebody of the load.
#[derive(Debug)]
struct Person {
    number: String,
    who: Credentials,
    /// The device the judge reads this inbox with.
    judge: Credentials,
}

/// A running load.
#[derive(Debug)]
pub struct Load {
    people: Vec<Person>,
    watches: Vec<usize>,
    clients: Vec<Client>,
    shared: Arc<Shared>,
    senders: JoinSet<()>,
    watchers: JoinSet<()>,
    ways: Vec<Way>,
}

impl Load {
    /// Signs everybody up and begins; returns when every sender was answered and every live client
    /// was shown something.
    pub async fn begin(cluster: &Cluster) -> Self {
        let mut people = Vec::new();
        for _ in 0..EACH * 2 {
            let number = format!("1{:010}", rand::random_range(0..10_000_000_000_u64));
            people.push(Person {
                who: cluster.sign_in(&number).await,
                judge: cluster.sign_in(&number).await,
                number,
            });
        }
        let ids: Vec<i64> = people.iter().map(|person| person.who.user_id).collect();
        let (first, rest) = people.split_first().expect("eight of them");
        let others: Vec<i64> = rest.iter().map(|person| person.who.user_id).collect();
        let api = cluster.api(0).signed_in(first.who.clone());
        let group = api.create_group("everybody", &others).await;
        let group = group.unwrap_or_else(|error| panic!("no group: {error}"));
        let tcp: Vec<_> = cluster
            .connect
            .iter()
            .map(|node| node.ports().tcp)
            .collect();
        let mut ways = Vec::new();
        for at in 0..tcp.len() {
            let mut nodes = tcp.clone();
            nodes.rotate_left(at);
            ways.push(Way::to(nodes).await);
        }
        let shared = Arc::new(Shared::new());
        let mut load = Self {
            people,
            watches: Vec::new(),
            clients: Vec::new(),
            shared,
            senders: JoinSet::new(),
            watchers: JoinSet::new(),
            ways,
        };
        // Whoever sends by gRPC is not live.
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
        let receivers = ids.get(4..).expect("eight of them").to_vec();
        for sender in 0..EACH {
            let at = usize::try_from(sender).expect("small");
            let person = load.people.get(at).expect("eight of them");
            let plan = Plan {
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
                let caller = Caller::new(&grpc, &person.who);
                load.senders.spawn(by_grpc(caller, plan, shared));
            }
        }
        load.is_served(Instant::now()).await;
        load
    }

    /// One more live client: this person's device.
    async fn watches(&mut self, at: usize) {
        let way = self.ways.get(at % self.ways.len()).expect("counted round");
        let who = &self.people.get(at).expect("one of them").who;
        let endpoint = Endpoint::Tcp(way.address.to_string());
        let (client, events) = watcher::connect(who, endpoint).await;
        let watch = self.shared.ledger().watches(who.user_id, who.device_id, 0);
        let watching = watcher::watch(events, watch, Arc::clone(&self.shared));
        self.watchers.spawn(watching);
        self.watches.push(watch);
        self.clients.push(client);
    }

    /// Listens on a bare connection of this device, which was shown these entries behind this seq
    /// and is live.
    pub fn listens(
        &mut self,
        raw: Raw,
        who: &Credentials,
        from: i64,
        entries: &[pb::Message],
    ) -> Ear {
        let watch = self
            .shared
            .ledger()
            .watches(who.user_id, who.device_id, from);
        let ear = Ear::new(watch);
        let now = Instant::now();
        for entry in entries {
            ear.hears(entry, now, &self.shared);
        }
        let listening = ear.clone().listen(raw, Arc::clone(&self.shared));
        self.watchers.spawn(listening);
        ear
    }

    /// Waits for a condition of what happened.
    async fn until(
        &self,
        what: &str,
        patience: Duration,
        met: impl Fn(&Shared) -> bool + Send + Sync,
    ) {
        let mut news = self.shared.news.subscribe();
        let wait = async {
            while !met(&self.shared) {
                // The sender of the news is ours: it cannot be gone.
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
    /// message that was sent after it; how long after that was.
    pub async fn is_served(&self, since: Instant) -> Duration {
        let when = |log: &Log| {
            let mut last = since;
            for sender in 0..EACH {
                last = last.max(log.answered_after(sender, since)?);
            }
            for watch in &self.watches {
                last = last.max(log.shown_after(*watch, since)?);
            }
            Some(last)
        };
        let served = |shared: &Shared| when(&shared.log()).is_some();
        self.until("served again", PATIENCE, served).await;
        let last = when(&self.shared.log()).expect("it was, and what was stays");
        last.duration_since(since)
    }

    /// Waits for so many more answers.
    pub async fn flows(&self, more: usize) {
        let before = self.shared.log().answers.len();
        let enough = |shared: &Shared| shared.log().answers.len() >= before + more;
        self.until("more answers", PATIENCE, enough).await;
    }

    /// Begins no more sends, and waits until those under way are answered.
    pub async fn pauses(&self) {
        self.shared.open.send_replace(false);
        let mut flying = self.shared.flying.subscribe();
        let landed = timeout(PATIENCE, flying.wait_for(|count| *count == 0)).await;
        assert!(landed.is_ok(), "sends are answered within {PATIENCE:?}");
    }

    /// Goes on after a pause.
    pub fn goes_on(&self) {
        self.shared.open.send_replace(true);
    }

    /// How many sends were answered so far.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.shared.log().answers.len()
    }

    /// The longest that a sender waited for an answer since an instant.
    #[must_use]
    pub fn longest_gap(&self, since: Instant) -> Duration {
        self.shared.log().longest_gap(EACH, since)
    }

    /// Waits until this connection was shown a message that was sent after an instant.
    pub async fn is_heard(&self, ear: &Ear, since: Instant) {
        let heard = |shared: &Shared| shared.log().shown_after(ear.watch(), since).is_some();
        self.until("heard", PATIENCE, heard).await;
    }

    /// The longest attempt over gRPC that ended after an instant.
    #[must_use]
    pub fn longest_attempt(&self, since: Instant) -> Duration {
        let log = self.shared.log();
        let since = log.attempts.iter().filter(|(at, _)| *at >= since);
        since.map(|(_, took)| *took).max().unwrap_or_default()
    }

    /// How many connections of live clients ended so far.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.log().dropped
    }

    /// How many answers so far said that an earlier attempt was stored.
    #[must_use]
    pub fn repeated(&self) -> u64 {
        self.shared.log().repeated
    }

    /// Attempts over gRPC that were answered with 14, and with 4.
    #[must_use]
    pub fn refused(&self) -> (u64, u64) {
        let log = self.shared.log();
        (log.refused(14), log.refused(4))
    }

    /// The judge, for what else a fault looks at.
    pub fn judge(&self) -> MutexGuard<'_, Ledger> {
        self.shared.ledger()
    }

    /// The users, senders first.
    #[must_use]
    pub fn users(&self) -> Vec<i64> {
        self.people
            .iter()
            .map(|person| person.who.user_id)
            .collect()
    }

    /// A sender that is not live: what it sends itself is shown to nobody.
    #[must_use]
    pub fn writer(&self) -> &Credentials {
        let person = self.people.get(2).expect("one of them");
        &person.who
    }

    /// Both senders that are not live.
    #[must_use]
    pub fn writers(&self) -> Vec<&Credentials> {
        let both = self.people.iter().skip(2).take(2);
        both.map(|person| &person.who).collect()
    }

    /// The admin of the groups: a sender that is live.
    #[must_use]
    pub fn admin(&self) -> &Credentials {
        &self.people.first().expect("one of them").who
    }

    /// A receiver's number, by which another device of it signs in.
    #[must_use]
    pub fn number(&self, receiver: usize) -> &str {
        let at = receiver + usize::try_from(EACH).unwrap_or(0);
        let person = self.people.get(at).expect("a receiver");
        &person.number
    }

    /// Reads on in every inbox, by SYNC at this connect node.
    pub async fn reads(&self, cluster: &Cluster, connect: usize) {
        for user in self.users() {
            self.reads_one(cluster, connect, user).await;
        }
    }

    /// Reads on in one inbox.
    pub async fn reads_one(&self, cluster: &Cluster, connect: usize, user: i64) {
        let node = cluster.connect.get(connect).expect("a node");
        let his = |person: &&Person| person.judge.user_id == user;
        let person = self.people.iter().find(his).expect("one of them");
        let seen = self.shared.ledger().seen(user);
        let read = async {
            let mut raw = Raw::sign_in(node.ports().tcp, &person.judge).await?;
            raw.sync(seen).await
        };
        let entries = read.await;
        let entries = entries.unwrap_or_else(|error| panic!("an inbox is not read: {error}"));
        self.shared.ledger().read(user, &entries);
    }

    /// Waits until every live client was shown everything that was read of its inbox; when that
    /// was.
    pub async fn is_complete(&self, patience: Duration) -> Instant {
        let complete = |shared: &Shared| shared.ledger().unshown() == 0;
        self.until("every live client complete", patience, complete)
            .await;
        let log = self.shared.log();
        let last = log.shown.iter().map(|shown| shown.at).max();
        last.unwrap_or_else(Instant::now)
    }

    /// Ends the load, and judges it: all sends are answered, all inboxes are read, all live clients
    /// are complete.
    pub async fn ends(mut self, cluster: &Cluster) -> Verdict {
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
        let verdict = self.shared.ledger().verdict();
        assert!(verdict.clean(), "{verdict:?}");
        verdict
    }

    /// Ends the load and makes the row.
    pub async fn row(self, cluster: &Cluster, fault: &str, recovery: Duration, note: &str) -> Row {
        let refused = self.refused();
        Row {
            verdict: self.ends(cluster).await,
            fault: fault.to_owned(),
            refused,
            recovery,
            note: note.to_owned(),
        }
    }
}
