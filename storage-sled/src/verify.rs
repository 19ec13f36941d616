//! Reads a whole directory and checks every law that can be checked at rest.
//!
//! One walk over each kind of row, in the order of the keys, with look-ups across; memory does not
//! grow with what is stored, but for four bytes per body of a window.
//!
//! Long because every kind of row has its rule here, and all share one walk and its report.

use std::sync::Arc;

use gimlet_core::id::UserId;
use gimlet_core::seq::Seq;
use gimlet_core::time::SystemClock;
use gimlet_core::verify::{Report, Rule};
use gimlet_proto::store::{
    Account, BodyRefs, Device, Entry, Expiring, Friend, Group, Job, Key, Member, Message, Meta,
    Number, Recipients, Token, entry,
};
use sled::IVec;

use crate::backup::BackupError;
use crate::config::Config;
use crate::error::Fault;
use crate::heads::Heads;
use crate::rows::{Layer, PIECES, Rows};
use crate::{key, record, seq};

/// Bodies whose references are counted in one walk over the entries: 64 MiB.
const WINDOW: usize = 16 << 20;
/// Rows between two steps.
const STEP: u64 = 10_000;

/// Opens a directory that nobody has open, and checks it. It blocks.
///
/// `step` is called with the rows read so far; an error of it gives up.
pub fn verify(
    config: &Config,
    step: impl FnMut(u64) -> std::io::Result<()>,
) -> Result<Report, BackupError> {
    let opened = crate::open(config, Arc::new(SystemClock))?;
    let health = opened.health.clone();
    let outcome = opened.exporter().with_tree(|tree| {
        let none = Layer::new();
        let mut check = Check {
            rows: Rows::new(tree, &none),
            heads: Heads::default(),
            report: Report::default(),
            read: 0,
            step,
        };
        check.all().map(|()| check.report)
    });
    drop(opened);
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(health.closed());
    outcome
}

/// Why a check ended early.
enum Stop {
    Storage(Fault),
    GivenUp(std::io::Error),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Storage(fault)
    }
}

type Checked = Result<(), Stop>;

struct Check<'a, F> {
    rows: Rows<'a>,
    heads: Heads,
    report: Report,
    read: u64,
    step: F,
}

impl<F: FnMut(u64) -> std::io::Result<()>> Check<'_, F> {
    fn all(&mut self) -> Result<(), BackupError> {
        let done = (|| {
            self.meta()?;
            self.inboxes()?;
            self.bodies()?;
            self.jobs()?;
            self.keys()?;
            self.devices()?;
            self.groups()?;
            self.friends()?;
            self.accounts()?;
            self.rest()
        })();
        match done {
            Ok(()) => Ok(()),
            Err(Stop::Storage(fault)) => Err(BackupError::Storage(crate::shared::chain(&fault))),
            Err(Stop::GivenUp(error)) => Err(error.into()),
        }
    }

    /// Every row with this prefix.
    fn each(
        &mut self,
        prefix: &[u8],
        kind: &'static str,
        mut look: impl FnMut(&mut Self, &IVec, &IVec) -> Checked,
    ) -> Checked {
        let rows = self.rows;
        for row in rows.scan(prefix, None) {
            let (key, value) = row?;
            self.report.count(kind, 1);
            self.read += 1;
            if self.read.is_multiple_of(STEP) {
                (self.step)(self.read).map_err(Stop::GivenUp)?;
            }
            look(self, &key, &value)?;
        }
        Ok(())
    }

    /// The record of a row; a finding if it cannot be read.
    fn decode<M: prost::Message + Default>(
        &mut self,
        key: &[u8],
        value: &[u8],
        place: impl FnOnce() -> String,
    ) -> Option<M> {
        match self.rows.decode(key, value) {
            Ok(record) => Some(record),
            Err(fault) => {
                let what = crate::shared::chain(&fault);
                self.report.find(Rule::Readable, place(), what);
                None
            }
        }
    }

    fn number(&self, key: &[u8]) -> Result<u64, Fault> {
        let found = self.rows.get::<Number>(key)?;
        Ok(found.unwrap_or_default().value)
    }

    fn meta(&mut self) -> Checked {
        match self.rows.get::<Meta>(key::META)? {
            Some(meta) if meta.epoch != 0 => {}
            _ => self.report.find(Rule::Epoch, "store", "it has no epoch"),
        }
        Ok(())
    }

    fn inboxes(&mut self) -> Checked {
        let (mut user, mut last) = (0, 0);
        self.each(b"E", "entries", |it, key, value| {
            let Some((owner, at)) = pair(key) else {
                it.report
                    .find(Rule::Readable, shown(key), "a key of another length");
                return Ok(());
            };
            if owner != user {
                user = owner;
                last = match UserId::new(owner) {
                    Some(id) => it.number(&key::floor(id))?,
                    None => 0,
                };
                it.report.count("inboxes", 1);
            }
            if at != last + 1 {
                let what = format!("entry {at} follows {last}");
                it.report.find(Rule::Contiguous, inbox(owner), what);
            }
            last = at;
            let place = || format!("{}, entry {at}", inbox(owner));
            let Some(found) = it.decode::<Entry>(key, value, place) else {
                return Ok(());
            };
            match found.body {
                Some(entry::Body::Stored(_)) => {}
                Some(entry::Body::Message(message)) => {
                    if record::read_message(message).is_err() {
                        it.report
                            .find(Rule::Readable, place(), "its message cannot be read");
                    }
                }
                None => it.report.find(Rule::Bodies, place(), "it has no message"),
            }
            Ok(())
        })?;
        // Where retention has removed entries the head is the floor at least: nothing to compare.
        self.each(b"H", "floors", |it, key, value| {
            let place = || shown(key);
            let _ = it.decode::<Number>(key, value, place);
            Ok(())
        })
    }

    /// Bodies are there as long as they are needed. The references of a window of bodies are counted
    /// in one walk over all entries.
    fn bodies(&mut self) -> Checked {
        self.each(b"B", "bodies", |it, key, value| {
            let place = || format!("body {}", key::last_number(key).unwrap_or(0));
            if let Some(message) = it.decode::<Message>(key, value, place)
                && record::read_message(message).is_err()
            {
                it.report.find(Rule::Readable, place(), "it cannot be read");
            }
            Ok(())
        })?;
        let given = self.number(&key::counter(4))?;
        let mut from = 0;
        loop {
            self.window(from)?;
            from += WINDOW as u64;
            if from > given {
                return Ok(());
            }
        }
    }

    fn window(&mut self, from: u64) -> Checked {
        let size = usize::try_from(self.number(&key::counter(4))?.saturating_sub(from) + 1);
        let mut refs = vec![0_u32; size.unwrap_or(WINDOW).min(WINDOW)];
        let mut add = |body: u64, n: u64| {
            let at = body
                .checked_sub(from)
                .and_then(|it| usize::try_from(it).ok());
            if let Some(count) = at.and_then(|at| refs.get_mut(at)) {
                *count = count.saturating_add(u32::try_from(n).unwrap_or(u32::MAX));
            }
        };
        let rows = self.rows;
        for row in rows.scan(b"E", None) {
            let (key, value) = row?;
            if let Ok(Entry {
                body: Some(entry::Body::Stored(body)),
            }) = rows.decode(&key, &value)
            {
                add(body, 1);
            }
        }
        for row in rows.scan(key::JOBS, None) {
            let (key, value) = row?;
            if let Ok(job) = rows.decode::<Job>(&key, &value) {
                add(job.body, job.total.saturating_sub(job.done));
            }
        }
        for (body, counted) in (from..).zip(refs) {
            let stored = rows.get::<BodyRefs>(&key::body_refs(body))?;
            let noted = stored.as_ref().map_or(0, |it| it.refs);
            let place = || format!("body {body}");
            if counted > 0 && !rows.has(&key::body(body))? {
                let what = format!("{counted} entries need it, and it is missing");
                self.report.find(Rule::Bodies, place(), what);
            } else if counted == 0 && rows.has(&key::body(body))? {
                self.report.find(Rule::Bodies, place(), "nothing needs it");
            } else if noted != u64::from(counted) {
                let what = format!("{counted} entries need it, and it counts {noted}");
                self.report.find(Rule::Bodies, place(), what);
            }
        }
        Ok(())
    }

    fn jobs(&mut self) -> Checked {
        self.each(key::JOBS, "jobs", |it, name, value| {
            let number = key::last_number(name).unwrap_or(0);
            let place = || format!("job {number}");
            let Some(job) = it.decode::<Job>(name, value, place) else {
                return Ok(());
            };
            if job.done >= job.total {
                let what = format!("{} of {} are done, and it is open", job.done, job.total);
                it.report.find(Rule::Jobs, place(), what);
            }
            let group = gimlet_core::id::GroupId::new(job.group);
            let listed = match group {
                Some(group) => it.rows.has(&key::open_job(group, number))?,
                None => false,
            };
            if !listed {
                let what = format!("it is not in the list of group {}", job.group);
                it.report.find(Rule::Jobs, place(), what);
            }
            let mut recipients = 0;
            let mut chunk = 0;
            while let Some(found) = it.rows.get::<Recipients>(&key::recipients(number, chunk))? {
                recipients += found.users.len() as u64;
                chunk += 1;
            }
            if recipients != job.total {
                let what = format!("it has {recipients} recipients instead of {}", job.total);
                it.report.find(Rule::Jobs, place(), what);
            }
            Ok(())
        })?;
        self.each(b"O", "open jobs", |it, name, _| {
            let number = key::last_number(name).unwrap_or(0);
            if !it.rows.has(&key::job(number))? {
                it.report.find(
                    Rule::Jobs,
                    format!("job {number}"),
                    "it is listed and missing",
                );
            }
            Ok(())
        })?;
        self.each(b"L", "recipients", |it, name, _| {
            let job = name.get(1..9).and_then(|it| it.first_chunk::<8>());
            let job = job.map_or(0, |it| u64::from_be_bytes(*it));
            if !it.rows.has(&key::job(job))? {
                it.report
                    .find(Rule::Jobs, format!("job {job}"), "recipients of no job");
            }
            Ok(())
        })
    }

    fn keys(&mut self) -> Checked {
        self.each(b"K", "keys", |it, name, value| {
            let place = || format!("key {}", shown(name));
            let Some(found) = it.decode::<Key>(name, value, place) else {
                return Ok(());
            };
            if found.digest.len() != 16 || found.message.len() != 16 || found.seq == 0 {
                it.report
                    .find(Rule::Keys, place(), "it stands for no answer");
            }
            Ok(())
        })?;
        self.each(key::EXPIRIES, "expiries", |it, name, value| {
            let _ = it.decode::<Expiring>(name, value, || shown(name));
            Ok(())
        })
    }

    fn devices(&mut self) -> Checked {
        self.each(b"D", "devices", |it, name, value| {
            let place = || format!("device {}", key::last_number(name).unwrap_or(0));
            let Some(device) = it.decode::<Device>(name, value, place) else {
                return Ok(());
            };
            if device.user != 0 && device.generation == 0 {
                it.report.find(
                    Rule::Generations,
                    place(),
                    "it has signed in, and its generation is 0",
                );
            }
            Ok(())
        })?;
        self.each(b"T", "tokens", |it, name, value| {
            // A row of an earlier version has the key of its device alone, and the user in its value.
            let place = || match pair(name) {
                Some((device, user)) => format!("token of user {user} on device {device}"),
                None => format!("token of device {}", key::last_number(name).unwrap_or(0)),
            };
            if let Some(token) = it.decode::<Token>(name, value, place)
                && (token.hash.len() != 32 || token.user == 0)
            {
                it.report.find(Rule::Readable, place(), "it is no token");
            }
            Ok(())
        })?;
        self.each(b"S", "acks", |it, name, value| {
            let Some((owner, device)) = pair(name) else {
                it.report
                    .find(Rule::Readable, shown(name), "a key of another length");
                return Ok(());
            };
            let place = || format!("{}, device {device}", inbox(owner));
            let Some(ack) = it.decode::<Number>(name, value, place) else {
                return Ok(());
            };
            let head = match UserId::new(owner) {
                Some(user) => seq::head(&it.rows, &it.heads, user)?.head,
                None => Seq::ZERO,
            };
            if ack.value > head.get() {
                let what = format!("it has acked {}, and the head is {}", ack.value, head.get());
                it.report.find(Rule::Acks, place(), what);
            }
            Ok(())
        })
    }

    fn groups(&mut self) -> Checked {
        let mut largest = 0;
        self.each(b"G", "groups", |it, name, value| {
            let number = key::last_number(name).unwrap_or(0);
            largest = number;
            let place = || format!("group {number}");
            let Some(group) = it.decode::<Group>(name, value, place) else {
                return Ok(());
            };
            let Some(id) = gimlet_core::id::GroupId::new(number) else {
                it.report
                    .find(Rule::Readable, place(), "its id is out of range");
                return Ok(());
            };
            let members = it.rows.scan(&key::members(id), None).count() as u64;
            if members != group.members {
                let what = format!("it has {members} members and counts {}", group.members);
                it.report.find(Rule::Rosters, place(), what);
            }
            Ok(())
        })?;
        self.counter(3, largest, "groups")?;
        self.each(b"M", "members", |it, name, value| {
            let Some((group, user)) = pair(name) else {
                it.report
                    .find(Rule::Readable, shown(name), "a key of another length");
                return Ok(());
            };
            let place = || format!("group {group}, user {user}");
            let _ = it.decode::<Member>(name, value, place);
            if !it.both(group, user, |group, user| {
                key::group_of(user, group).to_vec()
            })? {
                it.report.find(
                    Rule::Rosters,
                    place(),
                    "a member whose groups do not name it",
                );
            }
            if !it.both(group, user, |group, _| key::group(group).to_vec())? {
                it.report
                    .find(Rule::Rosters, place(), "a member of no group");
            }
            Ok(())
        })?;
        self.each(b"U", "memberships", |it, name, _| {
            let Some((user, group)) = pair(name) else {
                it.report
                    .find(Rule::Readable, shown(name), "a key of another length");
                return Ok(());
            };
            if !it.both(group, user, |group, user| key::member(group, user).to_vec())? {
                let place = format!("group {group}, user {user}");
                it.report.find(
                    Rule::Rosters,
                    place,
                    "a group that does not have it as a member",
                );
            }
            Ok(())
        })
    }

    /// Whether the row that belongs to a group and a user is there.
    fn both(
        &self,
        group: u64,
        user: u64,
        name: impl FnOnce(gimlet_core::id::GroupId, UserId) -> Vec<u8>,
    ) -> Result<bool, Fault> {
        match (gimlet_core::id::GroupId::new(group), UserId::new(user)) {
            (Some(group), Some(user)) => self.rows.has(&name(group, user)),
            _ => Ok(false),
        }
    }

    fn friends(&mut self) -> Checked {
        self.each(b"F", "friendships", |it, name, value| {
            let Some((user, friend)) = pair(name) else {
                it.report
                    .find(Rule::Readable, shown(name), "a key of another length");
                return Ok(());
            };
            let place = || format!("users {user} and {friend}");
            let _ = it.decode::<Friend>(name, value, place);
            let mutual = match (UserId::new(user), UserId::new(friend)) {
                (Some(user), Some(friend)) => it.rows.has(&key::friend(friend, user))?,
                _ => false,
            };
            if !mutual {
                it.report
                    .find(Rule::Friends, place(), "a friendship of one side");
            }
            Ok(())
        })?;
        self.each(b"Q", "requests", |it, name, value| {
            let _ = it.decode::<Friend>(name, value, || shown(name));
            Ok(())
        })
    }

    fn accounts(&mut self) -> Checked {
        let mut largest = 0;
        self.each(b"A", "accounts", |it, name, value| {
            let number = key::last_number(name).unwrap_or(0);
            largest = number;
            let place = || format!("user {number}");
            let Some(account) = it.decode::<Account>(name, value, place) else {
                return Ok(());
            };
            // The number itself is nobody's to read in a report.
            if it.number(&key::phone(&account.phone))? != number {
                it.report
                    .find(Rule::Accounts, place(), "its phone number leads elsewhere");
            }
            if let Some(user) = UserId::new(number)
                && !it.rows.has(&key::nickname(&account.nickname, user))?
            {
                it.report
                    .find(Rule::Accounts, place(), "its nickname is not in the index");
            }
            Ok(())
        })?;
        self.counter(1, largest, "users")?;
        self.each(b"P", "phone numbers", |it, name, value| {
            let user = it.decode::<Number>(name, value, || "a phone number".into());
            let user = user.and_then(|it| UserId::new(it.value));
            let there = match user {
                Some(user) => it.rows.has(&key::account(user))?,
                None => false,
            };
            if !there {
                it.report
                    .find(Rule::Accounts, "a phone number", "it leads to no account");
            }
            Ok(())
        })?;
        self.each(b"N", "nicknames", |it, name, _| {
            let number = key::last_number(name).unwrap_or(0);
            let there = match UserId::new(number) {
                Some(user) => it.rows.has(&key::account(user))?,
                None => false,
            };
            if !there {
                let place = format!("user {number}");
                it.report
                    .find(Rule::Accounts, place, "a nickname of no account");
            }
            Ok(())
        })
    }

    /// A counter is not below what it has given out: it would give it out again.
    fn counter(&mut self, scope: u8, largest: u64, name: &str) -> Checked {
        let value = self.number(&key::counter(scope))?;
        if value < largest {
            let what = format!("it stands at {value}, and {largest} is taken");
            self.report
                .find(Rule::Counters, format!("counter of {name}"), what);
        }
        Ok(())
    }

    /// Pieces of long values, and rows of no known kind.
    fn rest(&mut self) -> Checked {
        self.each(b"Z", "pieces", |it, name, _| {
            let of = name
                .get(1..name.len().saturating_sub(4))
                .unwrap_or_default();
            let number = name
                .last_chunk::<4>()
                .map_or(0, |it| u32::from_be_bytes(*it));
            let pieces = match it.rows.raw(of)? {
                Some(raw) => match raw.split_first() {
                    Some((&PIECES, rest)) => rest
                        .first_chunk::<4>()
                        .map_or(0, |it| u32::from_be_bytes(*it)),
                    _ => 0,
                },
                None => 0,
            };
            if number >= pieces {
                it.report.find(
                    Rule::Readable,
                    shown(of),
                    format!("piece {number} of no value"),
                );
            }
            Ok(())
        })?;
        let known = key::PREFIXES;
        let rows = self.rows;
        let mut from = 0_u8;
        for prefix in known.iter().copied().chain([u8::MAX]) {
            // What lies between two known prefixes.
            for foreign in from..prefix {
                if rows.scan(&[foreign], None).next().is_some() {
                    let place = format!("prefix {foreign:#04x}");
                    self.report
                        .find(Rule::Readable, place, "rows of no known kind");
                }
            }
            from = prefix.saturating_add(1);
        }
        Ok(())
    }
}

fn pair(key: &[u8]) -> Option<(u64, u64)> {
    let (first, rest) = key.get(1..)?.split_first_chunk::<8>()?;
    let second: &[u8; 8] = rest.try_into().ok()?;
    Some((u64::from_be_bytes(*first), u64::from_be_bytes(*second)))
}

fn inbox(user: u64) -> String {
    format!("inbox of user {user}")
}

/// A key as it may be shown: its kind and its length; phone numbers and clients' ids are in some.
fn shown(key: &[u8]) -> String {
    match key.first() {
        Some(prefix) => format!("row {}… of {} bytes", char::from(*prefix), key.len()),
        None => "an empty key".into(),
    }
}
