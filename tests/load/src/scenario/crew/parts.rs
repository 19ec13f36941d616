//! Crews in processes of their own, as many as the descriptors ask for. Each holds a share of the
//! users, connects to every node in turn, and judges what its users write to each other.

use serde::{Deserialize, Serialize};

use super::coming::summary;
use super::{Crew, Goal};
use crate::Fault;
use crate::account::Account;
use crate::clock;
use crate::judge::Findings;
use crate::latency::Summary;
use crate::limits::wire;
use crate::net::{Net, Place};
use crate::part::{self, Parts};
use crate::target::capacity;

/// What a part is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Nothing: it answers when it runs.
    Begin,
    /// Have these users, too; each of them writes to the next, and nobody else does.
    Gather {
        place: Place,
        protocol: u32,
        accounts: Vec<Account>,
    },
    /// Have these users, too; from now on the first so many write to them, and nobody else does.
    Backlog {
        writers: usize,
        accounts: Vec<Account>,
    },
    /// Bring to life all who have no connection, so many at a time.
    Come { at_once: usize },
    /// Reach a goal.
    Reach(Goal),
    /// End all connections without a word.
    Cut,
    /// Say what was wrong.
    Judge,
    /// Connect to bare servers, a frame there and back on each connection, and keep them open.
    Connect {
        place: Place,
        connections: usize,
        at_once: usize,
    },
}

/// What a part has done by now.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// When it was done.
    at: u64,
    /// When each user was live, after an order to come.
    back: Vec<u64>,
    /// Messages that SYNC brought the last time, and heartbeats answered.
    synced: u64,
    beats: u64,
    /// How often a busy server turned one away.
    turned_away: u64,
    /// Sends answered, refused, and of unknown fate.
    sends: [u64; 3],
    /// What was wrong, when it was asked for.
    findings: Findings,
}

/// A part at work.
#[derive(Default)]
struct Worker {
    crew: Option<(Net, Crew)>,
    /// Connections to bare servers.
    bare: Option<Net>,
}

/// Carries out the orders of a parent until it is gone.
///
/// # Errors
/// The parent cannot be talked to.
pub fn obey() -> Result<(), Fault> {
    let mut worker = Worker::default();
    part::obey(|order| worker.carry_out(order))
}

impl Worker {
    fn carry_out(&mut self, order: Order) -> Result<Answer, Fault> {
        let come = matches!(order, Order::Come { .. });
        let mut findings = Findings::default();
        match order {
            Order::Begin => {}
            Order::Gather {
                place,
                protocol,
                accounts,
            } => {
                let (_, crew) = match &mut self.crew {
                    Some(crew) => crew,
                    none => none.insert((Net::new(place)?, Crew::empty(protocol))),
                };
                let before = crew.len();
                crew.add(accounts);
                crew.people.ring(&mut crew.judge, before);
            }
            Order::Backlog { writers, accounts } => {
                let (_, crew) = self.crew()?;
                let before = crew.len();
                crew.add(accounts);
                crew.people.backlog(&mut crew.judge, writers, before);
            }
            Order::Come { at_once } => {
                let (net, crew) = self.crew()?;
                let (from, to) = (crew.people.first_away(), crew.len());
                crew.reach(net, Goal::Live { from, to, at_once })?;
            }
            Order::Reach(goal) => {
                let (net, crew) = self.crew()?;
                crew.reach(net, goal)?;
            }
            Order::Cut => {
                let (net, crew) = self.crew()?;
                crew.cut(net);
            }
            Order::Judge => {
                let crew = self.crew.take().map(|crew| crew.1);
                findings = crew.map(Crew::verdict).unwrap_or_default();
            }
            Order::Connect {
                place,
                connections,
                at_once,
            } => {
                let net = wire::open(place, connections, at_once);
                let net = net.map_err(|error| Fault::new("connecting", error))?;
                self.bare = Some(net);
            }
        }
        let mut answer = Answer {
            at: clock::now(),
            findings,
            ..Answer::default()
        };
        if let Some((_, crew)) = &mut self.crew {
            let (refused, unknown) = crew.judge.failures();
            answer.sends = [crew.judge.answers(), refused, unknown];
            (answer.synced, answer.beats) = (crew.synced(), crew.beats);
            answer.turned_away = crew.busy.turned_away();
            if come {
                answer.back = crew.coming.moments();
            }
        }
        Ok(answer)
    }

    fn crew(&mut self) -> Result<&mut (Net, Crew), Fault> {
        let crew = self.crew.as_mut();
        crew.ok_or_else(|| Fault::new("an order", "there are no users yet"))
    }
}

/// The crews, as their parent sees them.
#[derive(Debug)]
pub(crate) struct Crews {
    parts: Parts<Order, Answer>,
    place: Place,
    protocol: u32,
    sends: [u64; 3],
    synced: u64,
    beats: u64,
    turned_away: u64,
}

/// Users on their way at a time, of all processes together.
pub(crate) const AT_ONCE: usize = 256;

/// How it was when all came.
#[derive(Debug)]
pub(crate) struct Came {
    /// Nanoseconds until the last was live.
    pub(crate) took: u64,
    /// How long each took.
    pub(crate) times: Summary,
}

/// Processes that it takes for so many connections.
pub(crate) fn processes(connections: usize) -> Result<usize, Fault> {
    Ok(connections.div_ceil(capacity()?).max(1))
}

/// A number in nearly equal parts.
pub(crate) fn split(count: usize, parts: usize) -> Vec<usize> {
    let cut = |part: usize| count * part / parts.max(1);
    (0..parts).map(|part| cut(part + 1) - cut(part)).collect()
}

impl Crews {
    /// Starts as many processes as it takes for so many users.
    pub(crate) async fn start(place: Place, protocol: u32, users: usize) -> Result<Self, Fault> {
        let mut parts = Parts::start(processes(users)?)?;
        parts.all(&Order::Begin).await?;
        Ok(Self {
            parts,
            place,
            protocol,
            sends: [0; 3],
            synced: 0,
            beats: 0,
            turned_away: 0,
        })
    }

    /// How many processes they are.
    pub(crate) fn len(&self) -> usize {
        self.parts.len()
    }

    /// Their process ids.
    pub(crate) fn ids(&self) -> Vec<u32> {
        self.parts.ids()
    }

    /// Spreads more users over them. From now on they write to each other, and nobody else does.
    pub(crate) async fn gather(&mut self, mut accounts: Vec<Account>) -> Result<(), Fault> {
        let parts = self.parts.len();
        let mut orders = Vec::with_capacity(parts);
        for (part, share) in split(accounts.len(), parts).into_iter().enumerate() {
            let mut place = self.place.clone();
            place.from = place.from.share(part, parts);
            orders.push(Order::Gather {
                place,
                protocol: self.protocol,
                accounts: accounts.split_off(accounts.len() - share),
            });
        }
        self.parts.each(&orders).await.map(drop)
    }

    /// More users, of a crew of one process, to whom the first `writers` write from now on.
    pub(crate) async fn backlog(
        &mut self,
        writers: usize,
        accounts: Vec<Account>,
    ) -> Result<(), Fault> {
        let order = Order::Backlog { writers, accounts };
        self.order(&order).await.map(drop)
    }

    /// Brings to life all who have no connection, so many at a time.
    pub(crate) async fn come(&mut self, at_once: usize) -> Result<Came, Fault> {
        let begun = clock::now();
        let at_once = at_once.div_ceil(self.parts.len()).max(1);
        let mut answers = self.order(&Order::Come { at_once }).await?;
        let ends = answers.iter().map(|it| it.at);
        let took = ends.max().unwrap_or(begun).saturating_sub(begun);
        let moments = answers.iter_mut().map(|it| std::mem::take(&mut it.back));
        let mut moments: Vec<u64> = moments.flatten().collect();
        moments.sort_unstable();
        Ok(Came {
            took,
            times: summary(begun, &moments),
        })
    }

    /// Reaches a goal.
    pub(crate) async fn reach(&mut self, goal: Goal) -> Result<(), Fault> {
        self.order(&Order::Reach(goal)).await.map(drop)
    }

    /// Each user writes one message to the next, and all of it comes.
    pub(crate) async fn round(&mut self) -> Result<(), Fault> {
        let round = Goal::Written {
            each: 1,
            window: 1,
            heard: true,
        };
        self.reach(round).await
    }

    /// Time passes, with a heartbeat of each user now and then.
    pub(crate) async fn sit(&mut self, span: std::time::Duration, beat: u64) -> Result<(), Fault> {
        let until = clock::now() + clock::nanos(span);
        self.reach(Goal::Sat { until, beat }).await
    }

    /// All connections end without a word.
    pub(crate) async fn cut(&mut self) -> Result<(), Fault> {
        self.order(&Order::Cut).await.map(drop)
    }

    /// Messages that SYNC brought the last time.
    pub(crate) const fn synced(&self) -> u64 {
        self.synced
    }

    /// Heartbeats answered.
    pub(crate) const fn beats(&self) -> u64 {
        self.beats
    }

    /// What one should know of those whom a busy server turned away.
    pub(crate) fn note(&self) -> Option<String> {
        let times = self.turned_away;
        (times > 0).then(|| format!("{times} times the server was too busy, and one came again"))
    }

    /// Sends answered, refused, and of unknown fate.
    pub(crate) const fn sends(&self) -> [u64; 3] {
        self.sends
    }

    /// What was wrong.
    pub(crate) async fn verdict(mut self) -> Result<Findings, Fault> {
        let mut findings = Findings::default();
        for answer in self.parts.all(&Order::Judge).await? {
            findings.merge(answer.findings);
        }
        Ok(findings)
    }

    async fn order(&mut self, order: &Order) -> Result<Vec<Answer>, Fault> {
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

/// Connects so many to these bare servers, from processes as many as it takes; gives the nanoseconds
/// until a frame was there and back on each.
pub(crate) async fn bare_connects(place: &Place, connections: usize) -> Result<u64, Fault> {
    let count = processes(connections)?;
    let mut parts: Parts<Order, Answer> = Parts::start(count)?;
    parts.all(&Order::Begin).await?;
    let mut orders = Vec::with_capacity(count);
    for (part, share) in split(connections, count).into_iter().enumerate() {
        let mut place = place.clone();
        place.from = place.from.share(part, count);
        orders.push(Order::Connect {
            place,
            connections: share,
            at_once: AT_ONCE.div_ceil(count),
        });
    }
    let begun = clock::now();
    let answers = parts.each(&orders).await?;
    let end = answers.iter().map(|it| it.at).max();
    Ok(end.unwrap_or(begun).saturating_sub(begun))
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn parts_are_nearly_equal_and_none_is_left_out() {
        assert_eq!(split(10, 3), [3, 3, 4]);
        assert_eq!(split(200_000, 11).iter().sum::<usize>(), 200_000);
    }
}
