//! Random histories on the backend and on in-memory storage, step by step: both must give the same
//! answers. A history that differs is shrunk to a short one before it is reported.

use std::cell::Cell;
use std::fmt::Debug;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, prop_oneof};
use proptest::sample::subsequence;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use super::StoreFixture;
use super::helpers::{NOW, found, group, head, inbox, keyed, roster, send, to_group, user, users};
use crate::id::{GroupId, UserId};
use crate::memory;
use crate::page::PageLimit;
use crate::seq::Seq;
use crate::store::{AppendRequest, GroupChange, RosterVersion, StoreSet};

/// Histories of one case.
const HISTORIES: u32 = 3;

/// Maximum number of steps in one history.
const MAX_STEPS: usize = 300;

/// Longest time for shrinking a history that differs, in milliseconds: the case must end before its
/// deadline.
const MAX_SHRINK_MS: u32 = 40_000;

/// Ids of one history are below the ones of the next.
const IDS_PER_HISTORY: u64 = 10_000;

/// A send of a history.
#[derive(Clone, Debug)]
struct SendPlan {
    target: SendTarget,
    content: u8,
    key: Option<u8>,
}

#[derive(Clone, Debug)]
enum SendTarget {
    /// These users, in this order.
    Users(Vec<u64>),
    /// The members of a group as of its roster, or of the one before.
    Group { id: u64, is_stale: bool },
}

/// A step of a history.
#[derive(Clone, Debug)]
enum HistoryStep {
    Append(Vec<SendPlan>),
    /// Adds the user to the first group, or removes a member.
    Change {
        who: u64,
        is_stale: bool,
        pushes: [SendPlan; 2],
    },
    Trim {
        who: u64,
        upto: u64,
    },
    Read {
        who: u64,
        after: u64,
        limit: usize,
    },
    /// Advances a job of the second group.
    Job,
    Request {
        from: u64,
        to: u64,
    },
    Agree {
        from: u64,
        to: u64,
    },
}

fn send_plan() -> impl Strategy<Value = SendPlan> {
    let some = subsequence(vec![1, 2, 3, 4, 5, 6], 1..=4).prop_shuffle();
    let target = prop_oneof![
        2 => some.prop_map(SendTarget::Users),
        1 => (1..=2_u64, prop_is_stale())
            .prop_map(|(id, is_stale)| SendTarget::Group { id, is_stale }),
    ];
    let key = prop_oneof![Just(None), (0..40_u8).prop_map(Some)];
    (target, 0..3_u8, key).prop_map(|(target, content, key)| SendPlan {
        target,
        content,
        key,
    })
}

/// Returns true in one of four cases.
fn prop_is_stale() -> impl Strategy<Value = bool> {
    prop_oneof![3 => Just(false), 1 => Just(true)]
}

fn history_step() -> impl Strategy<Value = HistoryStep> {
    let change = (1..=6_u64, prop_is_stale(), [send_plan(), send_plan()]);
    prop_oneof![
        4 => vec(send_plan(), 1..=4).prop_map(HistoryStep::Append),
        1 => change.prop_map(|(who, is_stale, pushes)| HistoryStep::Change {
            who,
            is_stale,
            pushes,
        }),
        1 => (1..=6_u64, 0..100_u64).prop_map(|(who, upto)| HistoryStep::Trim { who, upto }),
        1 => (1..=6_u64, 0..300_u64, 1..=9_usize)
            .prop_map(|(who, after, limit)| HistoryStep::Read { who, after, limit }),
        1 => Just(HistoryStep::Job),
        1 => (1..=3_u64, 4..=6_u64).prop_map(|(from, to)| HistoryStep::Request { from, to }),
        1 => (4..=6_u64, 1..=3_u64).prop_map(|(from, to)| HistoryStep::Agree { from, to }),
    ]
}

/// Both stores and the ids of one history.
struct HistoryComparison<'a> {
    real: &'a StoreSet,
    model: &'a StoreSet,
    base: u64,
}

/// Compares two answers; the error names both.
fn same<T: Debug + PartialEq>(what: &str, got: &T, want: &T) -> Result<(), String> {
    if got == want {
        Ok(())
    } else {
        Err(format!("{what}: {got:?}, in memory {want:?}"))
    }
}

/// Makes a call on both stores and compares the answers.
macro_rules! compare {
    ($stores:expr, $store:ident.$method:ident($($argument:expr),*)) => {{
        let want = $stores.model.$store.$method($($argument),*).await.unwrap();
        let got = $stores.real.$store.$method($($argument),*).await.unwrap();
        same(stringify!($method), &got, &want)
    }};
}

impl HistoryComparison<'_> {
    fn user(&self, n: u64) -> UserId {
        user(self.base + n)
    }

    fn group(&self, n: u64) -> GroupId {
        group(self.base + n)
    }

    /// Returns the send of a plan, with the rosters of the model.
    async fn draw(&self, plan: &SendPlan) -> AppendRequest {
        let content = plan.content.to_string();
        let one = match &plan.target {
            SendTarget::Users(users) => {
                let users: Vec<_> = users.iter().map(|n| self.user(*n)).collect();
                send(&users, content)
            }
            SendTarget::Group { id, is_stale } => {
                let id = self.group(*id);
                let mut plan = roster(self.model, id).await;
                plan.version = RosterVersion(plan.version.0 - u64::from(*is_stale));
                to_group(id, &plan, content)
            }
        };
        match plan.key {
            Some(key) => keyed(one, &format!("key {key} of {}", self.base)),
            None => one,
        }
    }

    /// Takes one step on both stores and compares the answers.
    async fn step(&self, step: &HistoryStep) -> Result<(), String> {
        let (real, model) = (self.real, self.model);
        match step {
            HistoryStep::Append(plans) => {
                let mut batch = Vec::new();
                for plan in plans {
                    batch.push(self.draw(plan).await);
                }
                compare!(self, inbox.append(&batch))
            }
            HistoryStep::Change {
                who,
                is_stale,
                pushes,
            } => {
                let (who, id) = (self.user(*who), self.group(1));
                let plan = roster(model, id).await;
                let change = match plan.role(who) {
                    // Keep the last member: a send needs a recipient.
                    Some(_) if plan.members.len() == 1 => return Ok(()),
                    Some(_) => GroupChange::Remove(who),
                    None => GroupChange::Add(vec![who]),
                };
                let version = RosterVersion(plan.version.0 - u64::from(*is_stale));
                let mut drawn = Vec::new();
                for push in pushes {
                    let push = self.draw(push).await;
                    drawn.push(AppendRequest {
                        roster: None,
                        ..push
                    });
                }
                compare!(self, group.update(id, version, &change, &drawn, &[], NOW))
            }
            HistoryStep::Trim { who, upto } => {
                let (who, upto) = (self.user(*who), Seq::new(*upto));
                compare!(self, inbox.trim(who, upto))?;
                same("head", &head(real, who).await, &head(model, who).await)
            }
            HistoryStep::Read { who, after, limit } => {
                let (who, after) = (self.user(*who), Seq::new(*after));
                compare!(self, inbox.after(who, after, PageLimit::items(*limit)))
            }
            HistoryStep::Job => {
                let id = Some(self.group(2));
                let want = model.inbox.claim_job(id).await.unwrap();
                let got = real.inbox.claim_job(id).await.unwrap();
                same("claim", &got.is_some(), &want.is_some())?;
                let (Some(want), Some(got)) = (want, got) else {
                    return Ok(());
                };
                let want = model.inbox.advance_job(&want).await.unwrap();
                let got = real.inbox.advance_job(&got).await.unwrap();
                same("advance", &got, &want)
            }
            HistoryStep::Request { from, to } => {
                let (a, b) = (self.user(*from), self.user(*to));
                let push = [send(&[a, b], "asked")];
                compare!(self, friend.request(a, b, "", &push, &[], NOW))
            }
            HistoryStep::Agree { from, to } => {
                let (a, b) = (self.user(*from), self.user(*to));
                let push = [send(&[a, b], "agreed")];
                compare!(self, friend.agree(a, b, "", &push, &[], NOW))
            }
        }
    }

    /// Takes all steps, and compares everything at the end.
    async fn run(&self, steps: &[HistoryStep]) -> Result<(), String> {
        let (real, model, base) = (self.real, self.model, self.base);
        for stores in [real, model] {
            found(stores, self.group(1), &users(base + 1..=base + 3)).await;
            // Large enough that its sends become jobs.
            found(stores, self.group(2), &users(base + 1..=base + 1_100)).await;
        }
        for (at, step) in steps.iter().enumerate() {
            let done = self.step(step).await;
            done.map_err(|error| format!("step {at}: {error}"))?;
        }
        for who in users(base + 1..=base + 10) {
            same("head", &head(real, who).await, &head(model, who).await)?;
            same("inbox", &inbox(real, who).await, &inbox(model, who).await)?;
        }
        for id in [self.group(1), self.group(2)] {
            same("roster", &roster(real, id).await, &roster(model, id).await)?;
            let (got, want) = (real.group.get(id).await, model.group.get(id).await);
            same("group", &got.unwrap(), &want.unwrap())?;
        }
        Ok(())
    }
}

/// Runs random histories, each with ids of its own. A history that differs is shrunk and reported.
fn run(real: &StoreSet, seed: u64) {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    let config = Config {
        cases: HISTORIES,
        max_shrink_time: MAX_SHRINK_MS,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let (runtime, model, base) = (Handle::current(), memory::stores(), Cell::new(0));
    let histories = vec(history_step(), 1..=MAX_STEPS);
    let compared = runner.run(&histories, |steps| {
        base.set(base.get() + IDS_PER_HISTORY);
        let (model, base) = (&model, base.get());
        let history = HistoryComparison { real, model, base };
        let compared = runtime.block_on(history.run(&steps));
        compared.map_err(TestCaseError::fail)
    });
    compared.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
}

pub(super) async fn a_random_history_goes_as_in_memory(it: StoreFixture) {
    // proptest calls the test from its own loop, which is not async.
    block_in_place(|| run(&it.stores, 2_026));
}

pub(super) async fn another_random_history_goes_as_in_memory(it: StoreFixture) {
    block_in_place(|| run(&it.stores, 0x9e37_79b9_7f4a_7c15));
}
