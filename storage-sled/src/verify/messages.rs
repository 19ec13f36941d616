//! Checks inboxes, bodies, jobs and the keys of sends.

use bytes::Bytes;
use gimlet_core::id::UserId;
use gimlet_core::verify::Rule;
use gimlet_proto::store::{BodyRefs, Entry, Expiring, Job, Key, Number, Recipients, entry};

use super::{Check, Checked, WINDOW, inbox, pair, shown};
use crate::key;

impl<F: FnMut(u64) -> std::io::Result<()>> Check<'_, F> {
    pub(super) fn inboxes(&mut self) -> Checked {
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
                    if let Err(error) = gimlet_record::decode(&message) {
                        it.report.find(Rule::Readable, place(), error.to_string());
                    }
                }
                None => it.report.find(Rule::Bodies, place(), "it has no message"),
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
    pub(super) fn bodies(&mut self) -> Checked {
        self.each(b"B", "bodies", |it, key, value| {
            let read = it.rows.value_shared(key, Bytes::copy_from_slice(value));
            if let Err(fault) = read.and_then(|it| Ok(gimlet_record::decode(&it)?)) {
                let place = format!("body {}", key::last_number(key).unwrap_or(0));
                let what = crate::shared::chain(&fault);
                it.report.find(Rule::Readable, place, what);
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
                self.report.find(Rule::Bodies, place(), "no entry needs it");
            } else if noted != u64::from(counted) {
                let what = format!("{counted} entries need it, and it counts {noted}");
                self.report.find(Rule::Bodies, place(), what);
            }
        }
        Ok(())
    }

    pub(super) fn jobs(&mut self) -> Checked {
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
                it.report.find(
                    Rule::Jobs,
                    format!("job {job}"),
                    "recipients of a job that does not exist",
                );
            }
            Ok(())
        })
    }

    pub(super) fn keys(&mut self) -> Checked {
        self.each(b"K", "keys", |it, name, value| {
            let place = || format!("key {}", shown(name));
            let Some(found) = it.decode::<Key>(name, value, place) else {
                return Ok(());
            };
            if found.digest.len() != 16 || found.message.len() != 16 || found.seq == 0 {
                it.report
                    .find(Rule::Keys, place(), "its answer is incomplete");
            }
            Ok(())
        })?;
        self.each(key::EXPIRIES, "expiries", |it, name, value| {
            let _ = it.decode::<Expiring>(name, value, || shown(name));
            Ok(())
        })
    }
}
