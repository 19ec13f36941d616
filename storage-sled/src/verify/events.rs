//! Checks events of hooks, dead letters and leases.

use bytes::Bytes;
use gimlet_core::events::HookName;
use gimlet_core::verify::VerifyRule;
use gimlet_proto::store::{DeadEvent, EventLease};

use super::{CheckResult, StorageCheck, shown};
use crate::key;

impl<F: FnMut(u64) -> std::io::Result<()>> StorageCheck<'_, F> {
    /// Checks that each event can be read and has a hook, and that no position will be given again.
    pub(super) fn events(&mut self) -> CheckResult {
        let mut last = 0;
        self.each(&[key::EVENTS], "events", |it, name, value| {
            let position = it.hook_row(name);
            last = last.max(position);
            let read = it.rows.value_shared(name, Bytes::copy_from_slice(value));
            let what = match read {
                Ok(value) => gimlet_record::decode_event(&value)
                    .err()
                    .map(|error| error.to_string()),
                Err(fault) => Some(crate::error::chain(&fault)),
            };
            if let Some(what) = what {
                let place = format!("event {position}");
                it.report.find(VerifyRule::Readable, place, what);
            }
            Ok(())
        })?;
        self.each(&[key::DEAD_EVENTS], "dead letters", |it, name, value| {
            let position = it.hook_row(name);
            last = last.max(position);
            let place = || format!("dead letter {position}");
            // An unreadable event may itself be the reason for the letter, so it is no finding.
            let _ = it.decode::<DeadEvent>(name, value, place);
            Ok(())
        })?;
        self.each(b"l", "leases of hooks", |it, name, value| {
            let place = || shown(name);
            let _ = it.decode::<EventLease>(name, value, place);
            Ok(())
        })?;
        self.counter(6, last, "events")
    }

    /// Returns the position in a key, and reports a key without a valid hook.
    fn hook_row(&mut self, name: &[u8]) -> u64 {
        if key::hook_name(name).is_none_or(|hook| HookName::new(hook).is_err()) {
            let what = "its key names no hook";
            self.report.find(VerifyRule::Readable, shown(name), what);
        }
        key::last_number(name).unwrap_or(0)
    }
}
