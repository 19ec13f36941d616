//! A run: senders that repeat each send until it is answered, kills at given numbers of answers, and the
//! verdict on the events that the programs received.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::api_connection::{ApiConnection, text};
use crate::event_judge::{EventFindings, StoredMessages};
use crate::receiver_program::ReceiverProgram;
use crate::server_stage::ServerStage;

/// Number of senders, each with a connection of its own.
const SENDERS: usize = 8;

/// Number of receiving users; the senders and the first of them also are the members of a group.
const RECEIVERS: usize = 7;

/// Text of the last message to each receiver: all other events of the receiver come before it.
const LAST: &str = "last";

/// Longest time without an event while some are missing. A node that was killed with a webhook's lease
/// holds up that webhook for 12 s, and a program that failed often is left alone for longer and longer.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// Result of a run.
#[derive(Debug)]
pub(crate) struct RunResult {
    /// Number of messages that are stored.
    pub(crate) stored: usize,
    /// Kills of gimlet, of the programs, and of MariaDB.
    pub(crate) kills: [usize; 3],
    /// For each program its name, the number of events it printed, and the findings.
    pub(crate) programs: Vec<(&'static str, usize, EventFindings)>,
    /// Time from the last answer until every event was received.
    pub(crate) rest: Duration,
    /// Time of the whole run.
    pub(crate) took: Duration,
}

/// The users and the group of a run.
struct RunUsers {
    senders: Vec<String>,
    receivers: Vec<String>,
    group: String,
}

impl RunUsers {
    async fn create(api: &mut ApiConnection) -> Self {
        let mut create = async |count: usize| {
            let mut users = Vec::new();
            for _ in 0..count {
                users.push(api.create_user().await);
            }
            users
        };
        let (senders, receivers) = (create(SENDERS).await, create(RECEIVERS).await);
        let members: Vec<_> = senders.iter().skip(1).chain(receivers.first()).collect();
        let body = json!({"name": "all", "member_ids": members});
        let admin = senders.first().map(String::as_str);
        let created = api.call("POST", "/v1/groups", admin, &body, None).await;
        Self {
            senders,
            receivers,
            group: text(&created["group_id"]),
        }
    }

    /// Returns the target of a send, as the fields of its body.
    fn target(&self, number: usize) -> (&'static str, &str) {
        match self.receivers.get(number % (RECEIVERS + 1)) {
            Some(user) => ("to_user", user),
            None => ("to_group", &self.group),
        }
    }

    /// Returns the names of the receivers as the judge knows them.
    fn names(&self) -> BTreeSet<String> {
        let users = self.receivers.iter().map(|user| format!("user{user}"));
        users.chain([format!("group{}", self.group)]).collect()
    }

    /// Returns the stored messages of each receiver, in the order of its inbox.
    async fn stored(&self, api: &mut ApiConnection) -> StoredMessages {
        let mut stored = StoredMessages::new();
        let names = self.names();
        for user in &self.receivers {
            for (receiver, content) in api.inbox(user).await {
                if names.contains(&receiver) {
                    stored.entry(receiver).or_default().push(content);
                }
            }
        }
        stored
    }
}

/// Sends a text and returns when it is answered.
pub(crate) async fn send(
    api: &mut ApiConnection,
    from: &str,
    (field, to): (&str, &str),
    content: &str,
) {
    let body: Value = json!({field: to, "content": {"type": "text", "text": content}});
    let key = format!("{from}:{to}:{content}");
    api.call("POST", "/v1/messages", Some(from), &body, Some(&key))
        .await;
}

/// Sends this many messages, with this many rounds of kills meanwhile, and judges the events.
pub(crate) async fn run(
    stage: &mut ServerStage,
    programs: &mut [ReceiverProgram],
    messages: usize,
    rounds: usize,
) -> RunResult {
    let begin = Instant::now();
    let nodes = stage.nodes();
    let mut api = ApiConnection::new(&nodes, 0);
    let users = Arc::new(RunUsers::create(&mut api).await);
    let (next, answers) = (Arc::new(AtomicUsize::new(0)), watch::Sender::new(0));
    let mut tasks = JoinSet::new();
    for sender in 0..SENDERS {
        let (users, next, answers) = (Arc::clone(&users), Arc::clone(&next), answers.clone());
        let mut api = ApiConnection::new(&nodes, sender);
        tasks.spawn(async move {
            let mut sent = Vec::new();
            let from = users.senders.get(sender).expect("a user");
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= messages {
                    return sent;
                }
                let content = number.to_string();
                // The targets move on with each round, so that every sender sends to every receiver.
                let target = users.target(number + number / (RECEIVERS + 1));
                send(&mut api, from, target, &content).await;
                sent.push(content);
                answers.send_modify(|count| *count += 1);
            }
        });
    }
    let kills = kill_in_turn(stage, programs, rounds, messages, answers.subscribe()).await;
    let mut answered: BTreeSet<String> = tasks.join_all().await.into_iter().flatten().collect();
    let last_answer = Instant::now();
    let from = users.senders.first().expect("a sender");
    for number in 0..=RECEIVERS {
        send(&mut api, from, users.target(number), LAST).await;
    }
    answered.insert(LAST.to_owned());
    for program in programs.iter() {
        wait_for_last(program, users.names()).await;
    }
    let rest = last_answer.elapsed();
    let stored = users.stored(&mut api).await;
    // The texts of the last messages are the same everywhere; each belongs to its receiver.
    let mut distinct = BTreeMap::new();
    for (receiver, texts) in stored {
        let texts = texts.into_iter().map(|it| own_text(&receiver, &it));
        let texts: Vec<_> = texts.collect();
        distinct.insert(receiver, texts);
    }
    answered.remove(LAST);
    answered.extend(users.names().iter().map(|name| own_text(name, LAST)));
    let judged = programs.iter().map(|program| {
        let mut log = program.log();
        for event in &mut log.events {
            event.text = own_text(&event.receiver, &event.text);
        }
        let findings = EventFindings::judge(&distinct, &answered, &log);
        (program.language.name(), log.events.len(), findings)
    });
    RunResult {
        stored: distinct.values().map(Vec::len).sum(),
        kills,
        programs: judged.collect(),
        rest,
        took: begin.elapsed(),
    }
}

/// Returns a text that occurs once in a run.
fn own_text(receiver: &str, content: &str) -> String {
    match content {
        LAST => format!("{LAST} of {receiver}"),
        _ => content.to_owned(),
    }
}

/// Waits until a program has received the last event of each receiver.
async fn wait_for_last(program: &ReceiverProgram, mut missing: BTreeSet<String>) {
    let all = program.wait_until(PATIENCE, |events, _| {
        for event in events.iter().filter(|event| event.text == LAST) {
            missing.remove(&event.receiver);
        }
        missing.is_empty()
    });
    if !all.await {
        let (name, count) = (program.language.name(), program.log().events.len());
        panic!(
            "{name} got no event for {PATIENCE:?} after {count}; the last of {missing:?} are missing"
        );
    }
}

/// Kills gimlet, a program and MariaDB in turn, this many times each, spread over the answers. The number of
/// answers triggers a kill, not the clock, so sends and deliveries are under way.
async fn kill_in_turn(
    stage: &mut ServerStage,
    programs: &mut [ReceiverProgram],
    rounds: usize,
    messages: usize,
    mut answers: watch::Receiver<usize>,
) -> [usize; 3] {
    let mut kills = [0; 3];
    let steps = rounds * 3 + 1;
    for step in 1..steps {
        let at = messages * step / steps;
        // The senders hold the other end until all is answered.
        let _ = answers.wait_for(|count| *count >= at).await;
        let round = step / 3;
        match step % 3 {
            1 => {
                stage.kill_gimlet(round).await;
                kills[0] += 1;
            }
            2 => {
                let count = programs.len();
                let program = programs.get_mut(round % count).expect("a program");
                program.kill();
                // It is away while further messages are sent.
                let until = at + messages / steps / 2;
                let _ = answers.wait_for(|count| *count >= until).await;
                program.start_again();
                kills[1] += 1;
            }
            _ if stage.has_database() => {
                stage.kill_database();
                kills[2] += 1;
            }
            _ => {}
        }
    }
    kills
}
