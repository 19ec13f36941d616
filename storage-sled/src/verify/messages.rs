//! Checks inboxes, bodies, jobs and the keys of sends.

use bytes::Bytes;
use gimlet_core::id::UserId;
use gimlet_core::verify::VerifyRule;
use gimlet_proto::store::{BodyRefs, Entry, Expiring, Job, Key, Number, Recipients, entry};

use super::{CheckResult, StorageCheck, WINDOW_BODIES, inbox, pair, shown};
use crate::error::EngineError;
use crate::key;

/// Windows of bodies, each counted in one walk. Every number with a body, or with a count of
/// references, is in one; long runs of numbers without either are in none.
struct BodyWindows {
    /// First body of each window.
    firsts: Vec<u64>,
    /// Largest number with a body or a count of references.
    last: u64,
}

impl BodyWindows {
    /// Returns true if this body is counted.
    fn cover(&self, body: u64) -> bool {
        let begun = self.firsts.partition_point(|first| *first <= body);
        let first = begun.checked_sub(1).and_then(|at| self.firsts.get(at));
        body <= self.last && first.is_some_and(|first| body - first < WINDOW_BODIES as u64)
    }
}

impl<F: FnMut(u64) -> std::io::Result<()>> StorageCheck<'_, F> {
    pub(super) fn inboxes(&mut self) -> CheckResult {
        let windows = self.windows()?;
        let (mut user, mut last) = (0, 0);
        self.each(b"E", "entries", |it, key, value| {
            let Some((owner, at)) = pair(key) else {
                it.report
                    .find(VerifyRule::Readable, shown(key), "a key of another length");
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
                it.report.find(VerifyRule::Contiguous, inbox(owner), what);
            }
            last = at;
            let place = || format!("{}, entry {at}", inbox(owner));
            let Some(found) = it.decode::<Entry>(key, value, place) else {
                return Ok(());
            };
            match found.body {
                // A missing body inside of a window is found when the window is counted.
                Some(entry::Body::Stored(body)) => {
                    if !windows.cover(body) {
                        it.report
                            .find(VerifyRule::Bodies, place(), "its message is missing");
                    }
                }
                Some(entry::Body::Message(message)) => {
                    if let Err(error) = gimlet_record::decode(&message) {
                        it.report
                            .find(VerifyRule::Readable, place(), error.to_string());
                    }
                }
                None => it
                    .report
                    .find(VerifyRule::Bodies, place(), "it has no message"),
            }
            Ok(())
        })?;
        // Only readability is checked: an inbox from which retention has removed all entries has
        // the floor as its head, so there is nothing to compare.
        self.each(b"H", "floors", |it, key, value| {
            let place = || shown(key);
            let _ = it.decode::<Number>(key, value, place);
            Ok(())
        })
    }

    /// Checks that each body exists while entries or jobs need it. The references of a window of
    /// bodies are counted in one walk over all entries.
    pub(super) fn bodies(&mut self) -> CheckResult {
        self.each(b"B", "bodies", |it, key, value| {
            let read = it.rows.value_shared(key, Bytes::copy_from_slice(value));
            if let Err(fault) = read.and_then(|it| Ok(gimlet_record::decode(&it)?)) {
                let place = format!("body {}", key::last_number(key).unwrap_or(0));
                let what = crate::error::chain(&fault);
                it.report.find(VerifyRule::Readable, place, what);
            }
            Ok(())
        })?;
        let windows = self.windows()?;
        self.counter(4, windows.last, "bodies")?;
        for from in &windows.firsts {
            self.window(*from, windows.last)?;
        }
        Ok(())
    }

    /// Divides the bodies into windows. The stored rows decide, not the counter, which may be
    /// damaged itself.
    fn windows(&self) -> Result<BodyWindows, EngineError> {
        let last = self.rows.last_with(b'B')?.max(self.rows.last_with(b'R')?);
        let (mut firsts, mut after) = (Vec::new(), 0);
        loop {
            let body = self.next_number(b"B", &key::body(after))?;
            let refs = self.next_number(b"R", &key::body_refs(after))?;
            let Some(first) = body.into_iter().chain(refs).min() else {
                return Ok(BodyWindows {
                    firsts,
                    last: last.unwrap_or(0),
                });
            };
            firsts.push(first);
            after = first.saturating_add(WINDOW_BODIES as u64 - 1);
        }
    }

    /// Returns the number in the first key behind `after` that consists of `prefix` and a number.
    fn next_number(&self, prefix: &[u8], after: &[u8]) -> Result<Option<u64>, EngineError> {
        for row in self.rows.scan(prefix, Some(after)) {
            let key = row?.0;
            if key.len() == after.len() {
                return Ok(key::last_number(&key));
            }
        }
        Ok(None)
    }

    fn window(&mut self, from: u64, last: u64) -> CheckResult {
        let size = usize::try_from(last.saturating_sub(from).saturating_add(1));
        let mut refs = vec![0_u32; size.unwrap_or(WINDOW_BODIES).min(WINDOW_BODIES)];
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
                self.report.find(VerifyRule::Bodies, place(), what);
            } else if counted == 0 && rows.has(&key::body(body))? {
                self.report
                    .find(VerifyRule::Bodies, place(), "no entry needs it");
            } else if noted != u64::from(counted) {
                let what = format!("{counted} entries need it, and it counts {noted}");
                self.report.find(VerifyRule::Bodies, place(), what);
            }
        }
        Ok(())
    }

    pub(super) fn jobs(&mut self) -> CheckResult {
        let mut largest = 0;
        self.each(key::JOBS, "jobs", |it, name, value| {
            let number = key::last_number(name).unwrap_or(0);
            largest = number;
            let place = || format!("job {number}");
            let Some(job) = it.decode::<Job>(name, value, place) else {
                return Ok(());
            };
            if job.done >= job.total {
                let what = format!("{} of {} are done, and it is open", job.done, job.total);
                it.report.find(VerifyRule::Jobs, place(), what);
            }
            let group = gimlet_core::id::GroupId::new(job.group);
            let listed = match group {
                Some(group) => it.rows.has(&key::open_job(group, number))?,
                None => false,
            };
            if !listed {
                let what = format!("it is not in the list of group {}", job.group);
                it.report.find(VerifyRule::Jobs, place(), what);
            }
            let mut recipients = 0;
            let mut chunk = 0;
            while let Some(found) = it.rows.get::<Recipients>(&key::recipients(number, chunk))? {
                recipients += found.users.len() as u64;
                chunk += 1;
            }
            if recipients != job.total {
                let what = format!("it has {recipients} recipients instead of {}", job.total);
                it.report.find(VerifyRule::Jobs, place(), what);
            }
            if !it.rows.has(&key::body(job.body))? {
                it.report
                    .find(VerifyRule::Jobs, place(), "its message is missing");
            }
            Ok(())
        })?;
        self.counter(5, largest, "jobs")?;
        self.each(b"O", "open jobs", |it, name, _| {
            let number = key::last_number(name).unwrap_or(0);
            if !it.rows.has(&key::job(number))? {
                it.report.find(
                    VerifyRule::Jobs,
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
                it.report.find(
                    VerifyRule::Jobs,
                    format!("job {job}"),
                    "recipients of a job that does not exist",
                );
            }
            Ok(())
        })
    }

    pub(super) fn keys(&mut self) -> CheckResult {
        self.each(b"K", "keys", |it, name, value| {
            let place = || format!("key {}", shown(name));
            let Some(found) = it.decode::<Key>(name, value, place) else {
                return Ok(());
            };
            if found.digest.len() != 16 || found.message.len() != 16 || found.seq == 0 {
                it.report
                    .find(VerifyRule::Keys, place(), "its answer is incomplete");
            }
            Ok(())
        })?;
        self.each(key::EXPIRIES, "expiries", |it, name, value| {
            let _ = it.decode::<Expiring>(name, value, || shown(name));
            Ok(())
        })
    }
}
