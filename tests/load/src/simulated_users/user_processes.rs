//! Simulated users in processes of their own, as many as the descriptors ask for. Each process
//! holds a share of the users, connects to every node in turn, and checks the messages that its
//! users write to each other.

use serde::{Deserialize, Serialize};

use super::join_progress::summary;
use super::{SimulatedUsers, UserGoal};
use crate::LoadError;
use crate::client_process::{self, AT_ONCE, ClientProcesses, processes, split};
use crate::judge::JudgeFindings;
use crate::latency::LatencySummary;
use crate::net::{ClientNet, ConnectTarget};
use crate::test_account::TestAccount;
use crate::{clock, echo_client};

/// Order to a client process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum ProcessOrder {
    /// Does nothing: the answer shows that the process runs.
    Begin,
    /// Adds these users; each of them writes to the next, and no other user writes.
    Gather {
        target: ConnectTarget,
        protocol: u32,
        accounts: Vec<TestAccount>,
    },
    /// Adds these users; from now on the first `writers` users write to them, and no other user
    /// writes.
    Backlog {
        writers: usize,
        accounts: Vec<TestAccount>,
    },
    /// Connects all users that have no connection, `at_once` at a time.
    Come { at_once: usize },
    /// Reaches a goal.
    Reach(UserGoal),
    /// Closes all connections without notice.
    Disconnect,
    /// Returns the findings.
    Judge,
    /// Connects to bare servers, with a frame there and back on each connection, and keeps them
    /// open.
    Connect {
        target: ConnectTarget,
        connections: usize,
        at_once: usize,
    },
}

/// State of a client process after an order.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ProcessAnswer {
    /// Time at which the order was done.
    at: u64,
    /// Times at which users were live, after [`ProcessOrder::Come`].
    back: Vec<u64>,
    /// Messages that SYNC brought in the last join, and heartbeats answered.
    synced: u64,
    beats: u64,
    /// Rejections by a busy server.
    turned_away: u64,
    /// Sends answered, refused, and with an unknown outcome.
    sends: [u64; 3],
    /// Findings, after [`ProcessOrder::Judge`].
    findings: JudgeFindings,
}

/// State of a client process.
#[derive(Default)]
struct OrderWorker {
    users: Option<(ClientNet, SimulatedUsers)>,
    /// Connections to bare servers.
    bare: Option<ClientNet>,
}

/// Carries out the orders of a parent until it is gone.
///
/// # Errors
/// The parent cannot be reached.
pub fn obey() -> Result<(), LoadError> {
    let mut worker = OrderWorker::default();
    client_process::obey(|order| worker.carry_out(order))
}

impl OrderWorker {
    fn carry_out(&mut self, order: ProcessOrder) -> Result<ProcessAnswer, LoadError> {
        let come = matches!(order, ProcessOrder::Come { .. });
        let mut findings = JudgeFindings::default();
        match order {
            ProcessOrder::Begin => {}
            ProcessOrder::Gather {
                target: place,
                protocol,
                accounts,
            } => {
                let (_, simulated) = match &mut self.users {
                    Some(simulated) => simulated,
                    none => none.insert((ClientNet::new(place)?, SimulatedUsers::empty(protocol))),
                };
                let before = simulated.len();
                simulated.add(accounts);
                simulated.people.ring(&mut simulated.judge, before);
            }
            ProcessOrder::Backlog { writers, accounts } => {
                let (_, simulated) = self.users()?;
                let before = simulated.len();
                simulated.add(accounts);
                simulated
                    .people
                    .backlog(&mut simulated.judge, writers, before);
            }
            ProcessOrder::Come { at_once } => {
                let (net, simulated) = self.users()?;
                let (from, to) = (simulated.people.first_away(), simulated.len());
                simulated.reach(net, UserGoal::Live { from, to, at_once })?;
            }
            ProcessOrder::Reach(goal) => {
                let (net, simulated) = self.users()?;
                simulated.reach(net, goal)?;
            }
            ProcessOrder::Disconnect => {
                let (net, simulated) = self.users()?;
                simulated.disconnect_all(net);
            }
            ProcessOrder::Judge => {
                let simulated = self.users.take().map(|simulated| simulated.1);
                findings = simulated.map(SimulatedUsers::verdict).unwrap_or_default();
            }
            ProcessOrder::Connect {
                target: place,
                connections,
                at_once,
            } => {
                let net = echo_client::open(place, connections, at_once);
                let net = net.map_err(|error| LoadError::new("connecting", error))?;
                self.bare = Some(net);
            }
        }
        let mut answer = ProcessAnswer {
            at: clock::now(),
            findings,
            ..ProcessAnswer::default()
        };
        if let Some((_, simulated)) = &mut self.users {
            let (refused, unknown) = simulated.judge.failures();
            answer.sends = [simulated.judge.answers(), refused, unknown];
            (answer.synced, answer.beats) = (simulated.synced(), simulated.beats);
            answer.turned_away = simulated.busy.turned_away();
            if come {
                answer.back = simulated.coming.moments();
            }
        }
        Ok(answer)
    }

    fn users(&mut self) -> Result<&mut (ClientNet, SimulatedUsers), LoadError> {
        let simulated = self.users.as_mut();
        simulated.ok_or_else(|| LoadError::new("an order", "there are no users yet"))
    }
}

/// Simulated users of all client processes, as their parent sees them.
#[derive(Debug)]
pub(crate) struct UserProcesses {
    parts: ClientProcesses<ProcessOrder, ProcessAnswer>,
    target: ConnectTarget,
    protocol: u32,
    sends: [u64; 3],
    synced: u64,
    beats: u64,
    turned_away: u64,
}

/// Figures of a join.
#[derive(Debug)]
pub(crate) struct JoinFigures {
    /// Nanoseconds until the last user was live.
    pub(crate) took: u64,
    /// Time that each user took.
    pub(crate) times: LatencySummary,
}

impl UserProcesses {
    /// Starts as many processes as this many users need.
    pub(crate) async fn start(
        place: ConnectTarget,
        protocol: u32,
        users: usize,
    ) -> Result<Self, LoadError> {
        let mut parts = ClientProcesses::start(processes(users)?)?;
        parts.all(&ProcessOrder::Begin).await?;
        Ok(Self {
            parts,
            target: place,
            protocol,
            sends: [0; 3],
            synced: 0,
            beats: 0,
            turned_away: 0,
        })
    }

    /// Returns the number of processes.
    pub(crate) fn len(&self) -> usize {
        self.parts.len()
    }

    /// Returns their process ids.
    pub(crate) fn ids(&self) -> Vec<u32> {
        self.parts.ids()
    }

    /// Spreads more users over the processes. From now on these write to each other, and no others.
    pub(crate) async fn gather(&mut self, mut accounts: Vec<TestAccount>) -> Result<(), LoadError> {
        let parts = self.parts.len();
        let mut orders = Vec::with_capacity(parts);
        for (part, share) in split(accounts.len(), parts).into_iter().enumerate() {
            let mut place = self.target.clone();
            place.from = place.from.share(part, parts);
            orders.push(ProcessOrder::Gather {
                target: place,
                protocol: self.protocol,
                accounts: accounts.split_off(accounts.len() - share),
            });
        }
        self.parts.each(&orders).await.map(drop)
    }

    /// Adds users to a single process; the first `writers` users write to them from now on.
    pub(crate) async fn backlog(
        &mut self,
        writers: usize,
        accounts: Vec<TestAccount>,
    ) -> Result<(), LoadError> {
        let order = ProcessOrder::Backlog { writers, accounts };
        self.order(&order).await.map(drop)
    }

    /// Connects all users that have no connection, `at_once` at a time.
    pub(crate) async fn come(&mut self, at_once: usize) -> Result<JoinFigures, LoadError> {
        let begun = clock::now();
        let at_once = at_once.div_ceil(self.parts.len()).max(1);
        let mut answers = self.order(&ProcessOrder::Come { at_once }).await?;
        let ends = answers.iter().map(|it| it.at);
        let took = ends.max().unwrap_or(begun).saturating_sub(begun);
        let moments = answers.iter_mut().map(|it| std::mem::take(&mut it.back));
        let mut moments: Vec<u64> = moments.flatten().collect();
        moments.sort_unstable();
        Ok(JoinFigures {
            took,
            times: summary(begun, &moments),
        })
    }

    /// Reaches a goal.
    pub(crate) async fn reach(&mut self, goal: UserGoal) -> Result<(), LoadError> {
        self.order(&ProcessOrder::Reach(goal)).await.map(drop)
    }

    /// Makes each user write one message to the next, until all are delivered.
    pub(crate) async fn round(&mut self) -> Result<(), LoadError> {
        let round = UserGoal::Written {
            each: 1,
            window: 1,
            delivered: true,
        };
        self.reach(round).await
    }

    /// Lets time pass, with regular heartbeats of each user.
    pub(crate) async fn sit(
        &mut self,
        span: std::time::Duration,
        beat: u64,
    ) -> Result<(), LoadError> {
        let until = clock::now() + clock::nanos(span);
        self.reach(UserGoal::Sat {
            until,
            heartbeat_nanos: beat,
        })
        .await
    }

    /// Closes all connections without notice.
    pub(crate) async fn disconnect_all(&mut self) -> Result<(), LoadError> {
        self.order(&ProcessOrder::Disconnect).await.map(drop)
    }

    /// Returns the number of messages that SYNC brought in the last join.
    pub(crate) const fn synced(&self) -> u64 {
        self.synced
    }

    /// Returns the number of heartbeats answered.
    pub(crate) const fn beats(&self) -> u64 {
        self.beats
    }

    /// Describes the rejections by a busy server, if there were any.
    pub(crate) fn note(&self) -> Option<String> {
        let times = self.turned_away;
        (times > 0).then(|| format!("the server was too busy {times} times; users tried again"))
    }

    /// Returns the numbers of sends answered, refused, and with an unknown outcome.
    pub(crate) const fn sends(&self) -> [u64; 3] {
        self.sends
    }

    /// Ends the run; returns the findings.
    pub(crate) async fn verdict(mut self) -> Result<JudgeFindings, LoadError> {
        let mut findings = JudgeFindings::default();
        for answer in self.parts.all(&ProcessOrder::Judge).await? {
            findings.merge(answer.findings);
        }
        Ok(findings)
    }

    async fn order(&mut self, order: &ProcessOrder) -> Result<Vec<ProcessAnswer>, LoadError> {
        let answers = self.parts.all(order).await?;
        self.sends = [0; 3];
        (self.synced, self.beats, self.turned_away) = (0, 0, 0);
        for answer in &answers {
            for (sum, more) in self.sends.iter_mut().zip(answer.sends) {
                *sum += more;
            }
            self.synced += answer.synced;
            self.beats += answer.beats;
            self.turned_away += answer.turned_away;
        }
        Ok(answers)
    }
}

/// Connects to these bare servers, from as many processes as needed; returns the nanoseconds until
/// a frame was there and back on each connection.
pub(crate) async fn bare_connects(
    place: &ConnectTarget,
    connections: usize,
) -> Result<u64, LoadError> {
    let count = processes(connections)?;
    let mut parts: ClientProcesses<ProcessOrder, ProcessAnswer> = ClientProcesses::start(count)?;
    parts.all(&ProcessOrder::Begin).await?;
    let mut orders = Vec::with_capacity(count);
    for (part, share) in split(connections, count).into_iter().enumerate() {
        let mut place = place.clone();
        place.from = place.from.share(part, count);
        orders.push(ProcessOrder::Connect {
            target: place,
            connections: share,
            at_once: AT_ONCE.div_ceil(count),
        });
    }
    let begun = clock::now();
    let answers = parts.each(&orders).await?;
    let end = answers.iter().map(|it| it.at).max();
    Ok(end.unwrap_or(begun).saturating_sub(begun))
}
