//! Checks push addresses: each belongs to one user on one device.

use gimlet_core::id::{DeviceId, UserId};
use gimlet_core::verify::VerifyRule;
use gimlet_proto::store::{PushOwner, PushToken};

use super::{CheckResult, StorageCheck, pair, shown};
use crate::{key, push_token};

impl<F: FnMut(u64) -> std::io::Result<()>> StorageCheck<'_, F> {
    pub(super) fn push_tokens(&mut self) -> CheckResult {
        self.each(b"p", "push addresses", |it, name, value| {
            let ids = pair(name)
                .and_then(|(user, device)| Some((UserId::new(user)?, DeviceId::new(device)?)));
            let Some((user, device)) = ids else {
                it.report.find(
                    VerifyRule::Readable,
                    shown(name),
                    "its ids are out of range",
                );
                return Ok(());
            };
            let place = || {
                let (user, device) = (user.get(), device.get());
                format!("push address of user {user} on device {device}")
            };
            let Some(row) = it.decode::<PushToken>(name, value, place) else {
                return Ok(());
            };
            let held = match push_token::registration(device, row) {
                Ok(held) => held,
                Err(fault) => {
                    let what = crate::error::chain(&fault);
                    it.report.find(VerifyRule::Readable, place(), what);
                    return Ok(());
                }
            };
            let owner_key = key::push_owner(&held.address.fingerprint());
            let owner: Option<PushOwner> = it.rows.get(&owner_key)?;
            let wanted = PushOwner {
                user: user.get(),
                device: device.get(),
            };
            if owner != Some(wanted) {
                it.report.find(
                    VerifyRule::PushTokens,
                    place(),
                    "its address has another owner",
                );
            }
            Ok(())
        })?;
        self.each(b"q", "push owners", |it, name, value| {
            let place = || "the owner of a push address".to_owned();
            let Some(owner) = it.decode::<PushOwner>(name, value, place) else {
                return Ok(());
            };
            let row = match (UserId::new(owner.user), DeviceId::new(owner.device)) {
                (Some(user), Some(device)) => {
                    it.rows.get::<PushToken>(&key::push_token(user, device))?
                }
                _ => None,
            };
            let device = DeviceId::new(owner.device);
            let address = row.zip(device).and_then(|(row, device)| {
                let held = push_token::registration(device, row).ok()?;
                Some(held.address.fingerprint())
            });
            if address.is_none_or(|it| key::push_owner(&it).as_slice() != &**name) {
                let what = "its user has another address on the device, or none";
                it.report.find(VerifyRule::PushTokens, place(), what);
            }
            Ok(())
        })
    }
}
