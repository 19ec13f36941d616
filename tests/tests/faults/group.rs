//! Groups: a large send whose node dies half-way, and members that are removed while sends are in
//! flight.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gimlet_client::{ApiClient, MessageTarget, pb};
use gimlet_judge::FindingKind;
use gimlet_kit::database::SqlConnection;
use gimlet_tests::cluster::{NodeCluster, NodeRole};
use gimlet_tests::fault::{FaultLoad, FaultRow, GrpcSender, request, text_bytes};
use gimlet_tests::judging::records;
use sqlx::Row as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::fault_stage::{APART, FaultStage, by_run};

/// Members of the large group: five fan-out chunks.
const MEMBERS: i64 = 5_000;
/// First user id of the members that are accounts only.
const FIRST: i64 = 1_000_000;
/// Time limit for the takeover of a job: another node looks for abandoned jobs every 30 s, then has
/// to finish it.
const TAKEOVER: Duration = Duration::from_secs(50);
/// Stream of this file's own sends.
const STREAM: u64 = 90;

fn grpc(cluster: &NodeCluster) -> Vec<std::net::SocketAddr> {
    cluster.logic.iter().map(|node| node.ports().grpc).collect()
}

pub(crate) async fn a_logic_node_dies_between_the_parts_of_a_group_send(
    stage: FaultStage,
) -> FaultRow {
    let mut place = stage.start_cluster(APART).await;
    let mut sql = SqlConnection::connect(&place.database.url).await;
    let cluster = &mut place.cluster;
    let load = FaultLoad::begin(cluster).await;
    let live: Vec<i64> = load.users();
    let api = cluster.api(0).signed_in(load.admin().clone());
    let group = api.create_group("crowd", &live[1..]).await.unwrap();
    let members = add_accounts(&mut sql, group, MEMBERS - 8).await;
    let readers: Arc<[i64]> = live.iter().chain(&members).copied().collect();
    let mut sent = HashMap::new();
    let (mut quiet, mut woken) = (Duration::ZERO, Duration::ZERO);
    let (mut interrupted, rounds) = (0, by_run(6, 2));
    let mut tries = 0;
    while interrupted < rounds {
        tries += 1;
        assert!(tries <= rounds * 5, "no job was caught between its parts");
        let at = interrupted % 2;
        let writer = GroupSender::new(cluster, &load, group, &readers);
        let text = format!("to all {tries}");
        sent.insert(writer.once(at, &text).await, text);
        // Waits until the job has stored some chunks, but not all.
        let progress = "SELECT done FROM fanout_job";
        while sql.number(progress).await == Some(1) {}
        let killed = Instant::now();
        cluster.logic[at].kill().unwrap();
        let left = sql.number(progress).await;
        let caught = left.is_some_and(|done| done < MEMBERS);
        if caught && interrupted >= rounds / 2 {
            // The next send to the group wakes the other node.
            let text = format!("to all {tries}, again");
            sent.insert(writer.once(1 - at, &text).await, text);
        }
        let over = async { while sql.number(progress).await.is_some() {} };
        timeout(TAKEOVER, over)
            .await
            .expect("another node does the rest");
        if caught {
            let took = killed.elapsed();
            if interrupted >= rounds / 2 {
                woken = woken.max(took);
            } else {
                quiet = quiet.max(took);
            }
            interrupted += 1;
        }
        cluster.restart(NodeRole::Logic, at).await.unwrap();
    }
    read_account_inboxes(&mut sql, &load, &members, &sent).await;
    let fault = format!(
        "kill -9 of a logic node between the parts of a send to {MEMBERS} members, {interrupted} \
         times"
    );
    let note = format!(
        "all parts were stored at most {:.1} s after the kill (nodes look every 30 s for jobs of \
         nodes that died), or {:.1} s if the group was sent to again",
        quiet.as_secs_f64(),
        woken.as_secs_f64()
    );
    load.row(cluster, &fault, quiet.max(woken), &note).await
}

/// Creates accounts without devices as members of the group.
async fn add_accounts(sql: &mut SqlConnection, group: i64, count: i64) -> Vec<i64> {
    let users: Vec<i64> = (FIRST..FIRST + count).collect();
    for some in users.chunks(500) {
        let rows = |row: &dyn Fn(&i64) -> String| {
            let rows: Vec<String> = some.iter().map(row).collect();
            rows.join(", ")
        };
        let accounts = rows(&|user| format!("({user}, 'c{user}', '', 0, '', '', 0, 0)"));
        sql.runs(&format!("INSERT INTO account VALUES {accounts}"))
            .await;
        let members = rows(&|user| format!("({group}, {user}, 2, '', '')"));
        sql.runs(&format!("INSERT INTO group_member VALUES {members}"))
            .await;
    }
    sql.runs(&format!(
        "UPDATE group_info SET members = members + {count}, version = version + 1 \
         WHERE group_id = {group}"
    ))
    .await;
    users
}

/// A sender to one group.
struct GroupSender<'a> {
    load: &'a FaultLoad,
    caller: GrpcSender,
    group: i64,
    readers: Arc<[i64]>,
}

impl<'a> GroupSender<'a> {
    fn new(cluster: &NodeCluster, load: &'a FaultLoad, group: i64, readers: &Arc<[i64]>) -> Self {
        Self {
            load,
            caller: GrpcSender::new(&grpc(cluster), load.writer()),
            group,
            readers: Arc::clone(readers),
        }
    }

    /// Sends a text, which must be answered; returns the message's id.
    async fn once(&self, at: usize, text: &str) -> Vec<u8> {
        let content = text_bytes(text);
        self.load
            .judge()
            .begin_send(STREAM, &content, &self.readers);
        let request = request(MessageTarget::Group(self.group), text, text.to_owned());
        let sent = self.caller.send(at, &request).await;
        let sent = sent.unwrap_or_else(|error| panic!("{text} is not sent: {error}"));
        self.load
            .judge()
            .confirm_send(&content, Some(&sent.message_id), &self.readers);
        sent.message_id.to_vec()
    }
}

/// Reads the inboxes of the members without devices from the tables. Their content is taken from
/// the send, since a group message has one body, which the live members' inboxes check.
async fn read_account_inboxes(
    sql: &mut SqlConnection,
    load: &FaultLoad,
    members: &[i64],
    sent: &HashMap<Vec<u8>, String>,
) {
    let entries = format!(
        "SELECT user_id, seq, shared FROM inbox WHERE user_id >= {FIRST} ORDER BY user_id, seq"
    );
    let mut inboxes: HashMap<i64, Vec<pb::Message>> = HashMap::new();
    for row in sql.rows(&entries).await {
        let id: Option<Vec<u8>> = row.get_unchecked(2);
        let id = id.unwrap_or_default();
        let entry = pb::Message {
            seq: row.get_unchecked(1),
            message_content: text_bytes(sent.get(&id).map_or("", String::as_str)).into(),
            message_id: id.into(),
            ..pb::Message::default()
        };
        let user: i64 = row.get_unchecked(0);
        inboxes.entry(user).or_default().push(entry);
    }
    for user in members {
        let inbox = inboxes.remove(user).unwrap_or_default();
        load.judge().read(*user, records(&inbox));
    }
}

/// A send to the group whose members change.
struct GroupSendAttempt {
    text: String,
    begun: Instant,
    answered: Instant,
}

/// Times of all sends and of the member's absences, recorded by both sides.
#[derive(Default)]
struct MembershipTimeline {
    attempts: Mutex<Vec<GroupSendAttempt>>,
    /// Times in which the member was certainly out: from the answer to its removal to the request
    /// that adds it.
    out: Mutex<Vec<(Instant, Instant)>>,
    /// Times in which it was certainly in: from the answer to its addition to the request that
    /// removes it.
    inside: Mutex<Vec<(Instant, Instant)>>,
}

pub(crate) async fn a_member_is_removed_while_sends_are_under_way(stage: FaultStage) -> FaultRow {
    let place = stage.start_cluster(APART).await;
    let cluster = &place.cluster;
    let load = FaultLoad::begin(cluster).await;
    load.pauses().await;
    let users = load.users();
    let victim = users[7];
    let members = [users[2], users[3], users[4]];
    let admin = load.admin().clone();
    let apis = [0, 1].map(|at| cluster.api(at).signed_in(admin.clone()));
    let all = [users[2], users[3], users[4], victim];
    let group = apis[0].create_group("changing", &all).await.unwrap();
    let story = Arc::new(MembershipTimeline::default());
    let stop = CancellationToken::new();
    let mut senders = JoinSet::new();
    for (at, who) in (0..).zip(load.writers()) {
        let caller = GrpcSender::new(&grpc(cluster), who);
        senders.spawn(sends_on(
            caller,
            at,
            group,
            Arc::clone(&story),
            stop.clone(),
        ));
    }
    let rounds = by_run(1_000, 100);
    let begin = Instant::now();
    let mut added = begin;
    for round in 0..rounds {
        let removing = Instant::now();
        story.inside.lock().unwrap().push((added, removing));
        until_done(|| apis[round % 2].remove_group_member(group, victim)).await;
        let removed = Instant::now();
        two_more(&story, removed).await;
        let adding = Instant::now();
        story.out.lock().unwrap().push((removed, adding));
        until_done(|| add(&apis[(round + 1) % 2], group, victim)).await;
        added = Instant::now();
        two_more(&story, added).await;
    }
    stop.cancel();
    let readers: Vec<i64> = members
        .iter()
        .chain([&users[0], &victim])
        .copied()
        .collect();
    while let Some(ended) = senders.join_next().await {
        let (at, sent) = ended.unwrap();
        for (text, id) in sent {
            let content = text_bytes(&text);
            let mut judge = load.judge();
            judge.begin_send(STREAM + at, &content, &readers);
            judge.confirm_send(&content, Some(&id), &members);
        }
    }
    load.reads(cluster, 0).await;
    let (out, inside) = compare(&story, &load, victim);
    assert!(out >= rounds && inside >= rounds, "{out} out, {inside} in");
    let took = begin.elapsed().as_secs_f64();
    load.goes_on();
    let fault = format!("a member removed and added {rounds} times while sends are under way");
    let note = format!(
        "{out} sends accepted after a removal, none of which reached it; {inside} accepted after \
         an addition, all of which did; {took:.0} s, on two logic nodes"
    );
    let served = load.is_served(Instant::now()).await;
    load.row(cluster, &fault, served, &note).await
}

/// Checks the inbox of the member that was removed and added; returns the number of sends that were
/// certainly made while it was out, and while it was in.
fn compare(story: &MembershipTimeline, load: &FaultLoad, victim: i64) -> (usize, usize) {
    let attempts = story.attempts.lock().unwrap();
    let within = |spans: &[(Instant, Instant)], it: &GroupSendAttempt| {
        spans
            .iter()
            .any(|(from, to)| it.begun > *from && it.answered < *to)
    };
    let (outs, insides) = (story.out.lock().unwrap(), story.inside.lock().unwrap());
    let (mut out, mut inside) = (0, 0);
    for it in attempts.iter() {
        let has = load.judge().has(victim, &text_bytes(&it.text));
        if within(&outs, it) {
            out += 1;
            if has {
                load.judge().note(FindingKind::Misdirected, || {
                    format!("{:?} reached a member that was removed before", it.text)
                });
            }
        } else if within(&insides, it) {
            inside += 1;
            if !has {
                load.judge().note(FindingKind::Dropped, || {
                    format!("{:?} did not reach a member that was added before", it.text)
                });
            }
        }
    }
    (out, inside)
}

async fn add(api: &ApiClient, group: i64, user: i64) -> Result<(), gimlet_client::ApiError> {
    api.add_group_members(group, &[user]).await.map(drop)
}

/// Repeats a roster change that is refused as unavailable because concurrent changes win.
async fn until_done<F>(change: impl Fn() -> F)
where
    F: Future<Output = Result<(), gimlet_client::ApiError>>,
{
    loop {
        match change().await {
            Ok(()) => return,
            Err(error) if [4, 14].contains(&error.code) => sleep(Duration::from_millis(5)).await,
            Err(error) => panic!("the roster is not changed: {error}"),
        }
    }
}

/// Waits for two answered sends that began after this instant.
async fn two_more(story: &MembershipTimeline, since: Instant) {
    let enough = async {
        let count = || {
            let attempts = story.attempts.lock().unwrap();
            let later = attempts.iter().rev().take(8).filter(|it| it.begun > since);
            later.count()
        };
        while count() < 2 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(20), enough)
        .await
        .expect("sends go on");
}

/// Sends to the group, one message after another, until stopped; returns the answered sends.
async fn sends_on(
    caller: GrpcSender,
    at: u64,
    group: i64,
    story: Arc<MembershipTimeline>,
    stop: CancellationToken,
) -> (u64, Vec<(String, Vec<u8>)>) {
    let mut sent = Vec::new();
    while !stop.is_cancelled() {
        let text = format!("{} of {at} to the changing group", sent.len());
        let request = request(MessageTarget::Group(group), &text, text.clone());
        let begun = Instant::now();
        let mut node = usize::try_from(at).unwrap();
        let id = loop {
            match caller.send(node, &request).await {
                Ok(answer) => break answer.message_id.to_vec(),
                Err(error) if [4, 14].contains(&error.code) => node += 1,
                Err(error) => panic!("{text} is not sent: {error}"),
            }
        };
        let answered = Instant::now();
        let mut attempts = story.attempts.lock().unwrap();
        attempts.push(GroupSendAttempt {
            text: text.clone(),
            begun,
            answered,
        });
        drop(attempts);
        sent.push((text, id));
    }
    (at, sent)
}
