//! Random histories on the backend and on in-memory storage, step by step: both must give the same
//! answers.

use super::StoreFixture;
use super::helpers::{NOW, found, group, head, inbox, keyed, roster, send, to_group, user, users};
use crate::id::UserId;
use crate::memory;
use crate::page::PageLimit;
use crate::seq::Seq;
use crate::store::{AppendRequest, GroupChange, RosterVersion, StoreSet};

/// Steps of one history.
const STEPS: u64 = 300;

/// A small xorshift generator: a seed gives the same history on every machine.
struct HistoryRng(u64);

impl HistoryRng {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn user(&mut self) -> UserId {
        user(1 + self.roll(6))
    }

    /// Returns one to four of six users, in random order.
    fn some(&mut self) -> Vec<UserId> {
        let mut all = users(1..=6);
        let wanted = 1 + self.roll(4);
        let mut some = Vec::new();
        for _ in 0..wanted {
            let at = usize::try_from(self.roll(all.len() as u64)).unwrap();
            some.push(all.remove(at));
        }
        some
    }
}

/// Draws a random send: to some users or to a group, with the current or an older roster, with or
/// without a key.
async fn draw(dice: &mut HistoryRng, model: &StoreSet) -> AppendRequest {
    let content = format!("{}", dice.roll(3));
    let mut one = if dice.roll(3) == 0 {
        let id = group(1 + dice.roll(2));
        let mut plan = roster(model, id).await;
        if dice.roll(4) == 0 {
            plan.version = RosterVersion(plan.version.0 - 1);
        }
        to_group(id, &plan, content)
    } else {
        send(&dice.some(), content)
    };
    if dice.roll(2) == 0 {
        let key = format!("key {}", dice.roll(40));
        one = keyed(one, &key);
    }
    one
}

/// Takes one step on both stores and compares the answers.
async fn step(dice: &mut HistoryRng, real: &StoreSet, model: &StoreSet, at: &str) {
    match dice.roll(10) {
        0..=3 => {
            let mut batch = Vec::new();
            for _ in 0..=dice.roll(4) {
                batch.push(draw(dice, model).await);
            }
            let want = model.inbox.append(&batch).await.unwrap();
            assert_eq!(
                real.inbox.append(&batch).await.unwrap(),
                want,
                "{at}: append"
            );
        }
        4 => {
            let (who, plan) = (dice.user(), roster(model, group(1)).await);
            let change = match plan.role(who) {
                // Keep the last member: a send needs a recipient.
                Some(_) if plan.members.len() == 1 => return,
                Some(_) => GroupChange::Remove(who),
                None => GroupChange::Add(vec![who]),
            };
            let version = RosterVersion(plan.version.0 - u64::from(dice.roll(4) == 0));
            let pushes = [draw(dice, model).await, draw(dice, model).await].map(|mut push| {
                push.roster = None;
                push
            });
            let want = model
                .group
                .update(group(1), version, &change, &pushes, NOW)
                .await;
            let got = real
                .group
                .update(group(1), version, &change, &pushes, NOW)
                .await;
            assert_eq!(got.unwrap(), want.unwrap(), "{at}: update");
        }
        5 => {
            let (who, upto) = (dice.user(), Seq::new(dice.roll(100)));
            model.inbox.trim(who, upto).await.unwrap();
            real.inbox.trim(who, upto).await.unwrap();
            assert_eq!(head(real, who).await, head(model, who).await, "{at}: trim");
        }
        6 => {
            let (who, after) = (dice.user(), Seq::new(dice.roll(300)));
            let limit = PageLimit::items(1 + usize::try_from(dice.roll(9)).unwrap());
            let want = model.inbox.after(who, after, limit).await.unwrap();
            assert_eq!(
                real.inbox.after(who, after, limit).await.unwrap(),
                want,
                "{at}: after"
            );
        }
        7 => {
            let want = model.inbox.claim_job(Some(group(2))).await.unwrap();
            let got = real.inbox.claim_job(Some(group(2))).await.unwrap();
            assert_eq!(got.is_some(), want.is_some(), "{at}: claim");
            if let (Some(want), Some(got)) = (want, got) {
                let want = model.inbox.advance_job(&want).await.unwrap();
                assert_eq!(
                    real.inbox.advance_job(&got).await.unwrap(),
                    want,
                    "{at}: advance"
                );
            }
        }
        8 => {
            let (a, b) = (user(1 + dice.roll(3)), user(4 + dice.roll(3)));
            let push = [send(&[a, b], "asked")];
            let want = model.friend.request(a, b, "", &push, NOW).await.unwrap();
            let got = real.friend.request(a, b, "", &push, NOW).await.unwrap();
            assert_eq!(got, want, "{at}: request");
        }
        _ => {
            let (a, b) = (user(4 + dice.roll(3)), user(1 + dice.roll(3)));
            let push = [send(&[a, b], "agreed")];
            let want = model.friend.agree(a, b, "", &push, NOW).await.unwrap();
            let got = real.friend.agree(a, b, "", &push, NOW).await.unwrap();
            assert_eq!(got, want, "{at}: agree");
        }
    }
}

async fn run(real: &StoreSet, seed: u64) {
    let model = memory::stores();
    for s in [real, &model] {
        found(s, group(1), &users(1..=3)).await;
        // Large enough that its sends become jobs.
        found(s, group(2), &users(1..=1_100)).await;
    }
    let mut dice = HistoryRng(seed);
    for n in 0..STEPS {
        step(&mut dice, real, &model, &format!("seed {seed}, step {n}")).await;
    }
    for who in users(1..=10) {
        assert_eq!(
            head(real, who).await,
            head(&model, who).await,
            "seed {seed}"
        );
        assert_eq!(
            inbox(real, who).await,
            inbox(&model, who).await,
            "seed {seed}"
        );
    }
    for id in [group(1), group(2)] {
        assert_eq!(
            roster(real, id).await,
            roster(&model, id).await,
            "seed {seed}"
        );
        let (got, want) = (real.group.get(id).await, model.group.get(id).await);
        assert_eq!(got.unwrap(), want.unwrap(), "seed {seed}");
    }
}

pub(super) async fn a_random_history_goes_as_in_memory(it: StoreFixture) {
    run(&it.stores, 2_026).await;
}

pub(super) async fn another_random_history_goes_as_in_memory(it: StoreFixture) {
    run(&it.stores, 0x9e37_79b9_7f4a_7c15).await;
}
