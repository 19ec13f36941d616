//! Checks the directory that a killed process leaves.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gimlet_core::events::EventId;
use gimlet_core::id::{DeviceId, UserId};
use gimlet_core::page::PageLimit;
use gimlet_core::seq::Seq;
use gimlet_core::store::{AppendOutcome, JobStepOutcome, MemberRole, NewGroup, StoreSet};
use gimlet_core::time::{SystemClock, UnixTimestamp};
use gimlet_judge::{DeliveryJudge, InboxRecord};
use gimlet_storage_sled::{Config, DurabilityLevel, OpenStorage, open};
use tokio::runtime::Runtime;

use super::plan::{
    LARGE_GROUP_MEMBERS, SENDERS, SendName, USERS, hook, large_group, small_group, user,
};
use super::writer::delivered_name;
use super::{KillSummary, VictimOutput};

/// Result of a check; the error describes the fault.
type KillCheckResult<T = ()> = Result<T, String>;

/// Opens the directory after each kill.
pub(crate) struct DirectoryChecker {
    dir: PathBuf,
    runtime: Runtime,
    known: CheckedState,
}

/// Findings so far.
#[derive(Default)]
struct CheckedState {
    /// Last checked seq of each inbox.
    checked: BTreeMap<UserId, Seq>,
    /// Answered sends with their seqs.
    answered: BTreeMap<SendName, Vec<(u64, u64)>>,
}

impl DirectoryChecker {
    pub(crate) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.into(),
            runtime: Runtime::new().expect("a runtime"),
            known: CheckedState::default(),
        }
    }

    /// Creates the groups.
    pub(crate) fn prepare(&self) {
        let it = self.open().expect("a new directory opens");
        self.runtime.block_on(async {
            for (id, members) in [small_group(), large_group()] {
                let group = NewGroup {
                    id,
                    name: "group".into(),
                    avatar_url: String::new(),
                    introduction: String::new(),
                    extra: String::new(),
                    members: members
                        .into_iter()
                        .map(|it| (it, MemberRole::Member))
                        .collect(),
                    at: UnixTimestamp(1),
                };
                it.stores
                    .group
                    .create(&group, &[])
                    .await
                    .expect("it is made");
            }
        });
        self.close(it);
    }

    /// Checks the directory after a run, and returns the first error.
    pub(crate) fn check(
        &mut self,
        run: u64,
        said: &VictimOutput,
        summary: &mut KillSummary,
    ) -> KillCheckResult {
        let it = self.open()?;
        let check = self.known.check(&it.stores, run, said, summary);
        let verdict = self.runtime.block_on(check);
        self.close(it);
        verdict
    }

    /// Reads everything once more from the start, and returns the first error.
    pub(crate) fn everything(&mut self, summary: &mut KillSummary) -> KillCheckResult {
        let it = self.open()?;
        let (answered, start) = (&self.known.answered, BTreeMap::new());
        let judged = judge_inboxes(&it.stores, answered, &start, summary);
        let verdict = self.runtime.block_on(judged);
        self.close(it);
        verdict
    }

    fn open(&self) -> KillCheckResult<OpenStorage> {
        let config = Config {
            // The check itself is never killed.
            durability: DurabilityLevel::Process,
            min_free: 0,
            ..Config::new(&self.dir)
        };
        let opened = open(&config, Arc::new(SystemClock));
        opened.map_err(|error| format!("it does not open: {error}"))
    }

    /// Waits until the directory may be opened again.
    fn close(&self, it: OpenStorage) {
        let health = it.health.clone();
        drop(it);
        self.runtime.block_on(health.closed());
    }
}

impl CheckedState {
    async fn check(
        &mut self,
        stores: &StoreSet,
        run: u64,
        output: &VictimOutput,
        summary: &mut KillSummary,
    ) -> KillCheckResult {
        nothing_shown_is_gone(stores, output).await?;
        generations_go_on(stores, output).await?;
        events_are_complete(stores, run, output, summary).await?;
        let repeated = ask_again(stores, run, output, summary).await?;
        finish_jobs(stores).await?;
        let answered = output.answered.iter().map(|((sender, number), seqs)| {
            let (sender, number) = (*sender, *number);
            (
                SendName {
                    run,
                    sender,
                    number,
                },
                seqs.clone(),
            )
        });
        let answered: BTreeMap<_, _> = answered.chain(repeated).collect();
        judge_inboxes(stores, &answered, &self.checked, summary).await?;
        for (who, head) in heads(stores).await? {
            self.checked.insert(who, head);
        }
        self.answered.extend(answered);
        // The next run begins with an empty queue; those of the sends above are in it.
        stores
            .outbox
            .clear(&hook())
            .await
            .map_err(|e| e.to_string())?;
        Ok(())
    }
}

/// Returns the head of every inbox.
async fn heads(stores: &StoreSet) -> KillCheckResult<Vec<(UserId, Seq)>> {
    let users: Vec<_> = (1..=USERS + LARGE_GROUP_MEMBERS).map(user).collect();
    let heads = stores.seq.heads(&users).await.map_err(|e| e.to_string())?;
    Ok(users
        .into_iter()
        .zip(heads.iter().map(|it| it.head))
        .collect())
}

/// Judges the entries of all inboxes above these seqs. They are those of the answered sends: each in
/// all inboxes of its recipients, in the order of its sender, at the seqs of its answer.
async fn judge_inboxes(
    stores: &StoreSet,
    answered: &BTreeMap<SendName, Vec<(u64, u64)>>,
    checked: &BTreeMap<UserId, Seq>,
    summary: &mut KillSummary,
) -> KillCheckResult {
    let mut judge = DeliveryJudge::default();
    for (who, seq) in checked {
        judge.inbox_above(number(who.get()), number(seq.get()));
    }
    for (name, seqs) in answered {
        let recipients: Vec<_> = name
            .recipients()
            .iter()
            .map(|it| number(it.get()))
            .collect();
        let content = name.content();
        judge.begin_send(name.run * SENDERS + name.sender, &content, &recipients);
        judge.confirm_send(&content, None, &recipients);
        for (who, seq) in seqs {
            judge.confirm_seq(&content, number(*who), number(*seq));
        }
    }
    for (who, head) in heads(stores).await? {
        let user = number(who.get());
        while judge.seen(user) < number(head.get()) {
            let last = judge.seen(user);
            let after = Seq::new(u64::try_from(last).expect("a seq"));
            let page = stores.inbox.after(who, after, PageLimit::items(500)).await;
            let page = page.map_err(|e| format!("{who}: {e}"))?.items;
            for entry in &page {
                if judge.send_of(&entry.message.content.0).is_none() {
                    return Err(format!("{who} {:?}: differs from all sends", entry.seq));
                }
            }
            let records = page.iter().map(|entry| InboxRecord {
                seq: number(entry.seq.get()),
                message_id: entry.message.id.as_bytes(),
                content: &entry.message.content.0,
                device: 0,
            });
            judge.read(user, records);
            if judge.seen(user) <= last {
                return Err(format!("{who}: nothing above {last}, the head is {head:?}"));
            }
        }
        if judge.seen(user) > number(head.get()) {
            return Err(format!(
                "{who}: {} is above the head {head:?}",
                judge.seen(user)
            ));
        }
    }
    summary.entries += judge.entries();
    match judge.verdict() {
        findings if findings.is_empty() => Ok(()),
        findings => Err(findings.lines().join("; ")),
    }
}

/// Returns a number as the judge counts.
fn number(number: u64) -> i64 {
    i64::try_from(number).expect("a number that fits the wire")
}

/// Law 1: every entry that was shown was durable.
async fn nothing_shown_is_gone(stores: &StoreSet, said: &VictimOutput) -> KillCheckResult {
    for (who, seen) in &said.seen {
        let head = stores.seq.heads(&[user(*who)]).await;
        let head = head.map_err(|e| e.to_string())?[0].head;
        if head.get() < *seen {
            return Err(format!(
                "u:{who} was shown {seen}, and its head is {head:?}"
            ));
        }
    }
    Ok(())
}

/// Law 7: no generation is given twice.
async fn generations_go_on(stores: &StoreSet, said: &VictimOutput) -> KillCheckResult {
    for (device, given) in &said.raised {
        let device = DeviceId::new(*device).expect("a device's number");
        let raised = stores
            .device
            .raise(&[(device, user(1))], UnixTimestamp(1))
            .await;
        let raised = raised.map_err(|e| e.to_string())?[0].0;
        if raised <= *given {
            return Err(format!("{device} was given {given}, and then {raised}"));
        }
    }
    Ok(())
}

/// Every answered send has an event that was delivered or still waits, and every event that waits
/// is of a send that is stored.
async fn events_are_complete(
    stores: &StoreSet,
    run: u64,
    output: &VictimOutput,
    summary: &mut KillSummary,
) -> KillCheckResult {
    let limit = PageLimit::items(100_000);
    let page = stores.outbox.read(&hook(), &[], limit).await;
    let page = page.map_err(|e| e.to_string())?;
    if page.more {
        return Err("more events wait than were sent".into());
    }
    let mut known = output.delivered.clone();
    for row in &page.items {
        let name = delivered_name(row);
        if name.run != run {
            return Err(format!("{name:?} has an event of an earlier run"));
        }
        match append(stores, name).await? {
            AppendOutcome::Repeated { message, .. }
                if row.event.as_ref().map(|event| event.id)
                    == Some(EventId::from_bytes(*message.as_bytes())) => {}
            other => return Err(format!("{name:?} has an event, and is {other:?}")),
        }
        known.insert((name.sender, name.number));
    }
    summary.events += known.len() as u64;
    let lost = output.answered.keys().find(|name| !known.contains(name));
    match lost {
        Some(name) => Err(format!("the send {name:?} was answered and has no event")),
        None => Ok(()),
    }
}

/// Law 4: each sender repeats its last answered send, and the one that was in flight. Returns the
/// answers to the latter.
async fn ask_again(
    stores: &StoreSet,
    run: u64,
    said: &VictimOutput,
    summary: &mut KillSummary,
) -> KillCheckResult<Vec<(SendName, Vec<(u64, u64)>)>> {
    let mut asked = Vec::new();
    for sender in 0..SENDERS {
        let mine = said.answered.range((sender, 0)..=(sender, u64::MAX));
        let last = mine.last();
        if let Some(((_, number), seqs)) = last {
            let name = SendName {
                run,
                sender,
                number: *number,
            };
            let first = seqs[0].1;
            match append(stores, name).await? {
                AppendOutcome::Repeated { seq, .. } if seq.get() == first => {}
                other => return Err(format!("{name:?} was answered {first}, now {other:?}")),
            }
        }
        let number = last.map_or(0, |((_, number), _)| number + 1);
        let name = SendName {
            run,
            sender,
            number,
        };
        let seq = match append(stores, name).await? {
            AppendOutcome::Stored { seqs, .. } => seqs[0].1,
            AppendOutcome::Repeated { seq, .. } => {
                summary.repeated.1 += 1;
                seq
            }
            other => return Err(format!("{name:?}: {other:?}")),
        };
        summary.repeated.0 += 1;
        asked.push((name, vec![(name.recipients()[0].get(), seq.get())]));
    }
    Ok(asked)
}

async fn append(stores: &StoreSet, name: SendName) -> KillCheckResult<AppendOutcome> {
    let outcome = stores.inbox.append(&[name.send()]).await;
    outcome
        .map(|mut it| it.remove(0))
        .map_err(|e| e.to_string())
}

/// Law 5: any later worker finishes a job that was begun.
async fn finish_jobs(stores: &StoreSet) -> KillCheckResult {
    while let Some(lease) = stores
        .inbox
        .claim_job(None)
        .await
        .map_err(|e| e.to_string())?
    {
        let part = stores.inbox.advance_job(&lease).await;
        if part.map_err(|e| e.to_string())? == JobStepOutcome::Lost {
            return Err(format!("{lease:?} was lost without another worker"));
        }
    }
    Ok(())
}
