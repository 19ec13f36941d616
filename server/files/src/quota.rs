//! Quotas of uploads: the free space of the disk, and an amount per user and day.
//!
//! Uploads stop well before sends do, because a message matters more than a picture. The counts
//! belong to this process: a restart begins anew, and each business node counts for itself.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gimlet_core::id::UserId;
use tokio::time::Instant;

use crate::disk::free_bytes;

/// Period of a quota.
const QUOTA_PERIOD: Duration = Duration::from_hours(24);
/// Largest number of users that are counted at a time, some 64 MiB; with more, a new day begins for
/// all.
const MAX_COUNTED_USERS: usize = 1 << 20;

/// Bytes of an upload after which the free space is read again. All uploads at once may thus go
/// below the bound by 32 MiB.
const CHECK_BYTES: u64 = 1 << 20;

/// The bounds of uploads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadBounds {
    /// Bytes that stay free on the disk.
    pub min_free: u64,
    /// Bytes of a user in a day; 0 is unlimited. All uploads without a sign-in count as one user.
    pub each: u64,
}

/// Reasons there is no room for an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UploadLimitExceeded {
    /// The disk has too little free space.
    #[error(
        "the server's disk has {free} bytes free and keeps {needed} for messages; uploads are taken \
         again when there is room"
    )]
    Disk {
        /// Free bytes.
        free: u64,
        /// Bytes that must stay free.
        needed: u64,
    },
    /// The user has used up the quota.
    #[error(
        "you may upload {each} bytes a day; try again in {} minutes",
        .wait.as_secs().div_ceil(60)
    )]
    Quota {
        /// Bytes that are allowed in a day.
        each: u64,
        /// Time until the next day begins.
        wait: Duration,
    },
}

#[derive(Debug)]
struct UsageDay {
    /// Days begun before this one.
    number: u64,
    began: Instant,
    used: HashMap<Option<UserId>, u64>,
}

/// Uploaded bytes of each user.
#[derive(Clone, Debug)]
pub(crate) struct UploadQuota {
    bounds: UploadBounds,
    /// Length of a day.
    span: Duration,
    // A std mutex: held for a look-up.
    day: Arc<Mutex<UsageDay>>,
}

impl UploadQuota {
    pub(crate) fn new(bounds: UploadBounds) -> Self {
        Self {
            bounds,
            span: QUOTA_PERIOD,
            day: Arc::new(Mutex::new(UsageDay {
                number: 0,
                began: Instant::now(),
                used: HashMap::new(),
            })),
        }
    }

    /// Begins an upload of a user.
    pub(crate) fn begin(&self, user: Option<UserId>) -> UploadUsage {
        UploadUsage {
            quota: self.clone(),
            user,
            day: 0,
            taken: 0,
            unchecked: 0,
        }
    }

    /// Begins an upload whose bytes were counted before.
    pub(crate) fn begin_counted(&self, user: Option<UserId>) -> UploadUsage {
        let mut usage = self.begin(user);
        usage.quota.bounds.each = 0;
        usage
    }

    /// Counts bytes that a user may send later; they are not given back.
    pub(crate) fn reserve(&self, user: UserId, bytes: u64) -> Result<(), UploadLimitExceeded> {
        self.take(Some(user), bytes).map(|_| ())
    }

    /// Counts bytes of a user, if the quota has room for them. Returns the number of the day in
    /// which they were counted.
    fn take(&self, uploader: Option<UserId>, bytes: u64) -> Result<u64, UploadLimitExceeded> {
        let each = self.bounds.each;
        if each == 0 {
            return Ok(0);
        }
        let mut day = self.day.lock().unwrap_or_else(PoisonError::into_inner);
        if day.began.elapsed() >= self.span || day.used.len() >= MAX_COUNTED_USERS {
            *day = UsageDay {
                number: day.number + 1,
                began: Instant::now(),
                used: HashMap::new(),
            };
        }
        let (number, passed) = (day.number, day.began.elapsed());
        let used = day.used.entry(uploader).or_default();
        if used.saturating_add(bytes) > each {
            let wait = self.span.saturating_sub(passed);
            return Err(UploadLimitExceeded::Quota { each, wait });
        }
        *used += bytes;
        Ok(number)
    }

    /// Gives bytes back that were counted on this day, unless it has ended.
    fn give_back(&self, user: Option<UserId>, number: u64, bytes: u64) {
        let mut day = self.day.lock().unwrap_or_else(PoisonError::into_inner);
        if day.number == number
            && let Some(used) = day.used.get_mut(&user)
        {
            *used = used.saturating_sub(bytes);
        }
    }
}

/// One upload; its bytes are given back unless it is [`keep`](Self::keep)-ed.
#[derive(Debug)]
pub(crate) struct UploadUsage {
    quota: UploadQuota,
    user: Option<UserId>,
    /// The day of the bytes in `taken`.
    day: u64,
    taken: u64,
    /// Bytes until the free space is read again.
    unchecked: u64,
}

impl UploadUsage {
    /// Counts the next bytes, which are about to be written below this folder.
    pub(crate) async fn take(
        &mut self,
        folder: &Path,
        bytes: u64,
    ) -> Result<(), UploadLimitExceeded> {
        let day = self.quota.take(self.user, bytes)?;
        // Bytes of a day that has ended are not given back: that would enlarge the next day.
        if day != self.day {
            (self.day, self.taken) = (day, 0);
        }
        // Bytes that this upload does not count are not its to give back.
        if self.quota.bounds.each > 0 {
            self.taken += bytes;
        }
        if let Some(unchecked) = self.unchecked.checked_sub(bytes) {
            self.unchecked = unchecked;
            return Ok(());
        }
        self.unchecked = CHECK_BYTES;
        let needed = self.quota.bounds.min_free.saturating_add(bytes);
        // Not on a thread of the runtime: a disk may hang, and every other task with it.
        let folder = folder.to_owned();
        let read = tokio::task::spawn_blocking(move || free_bytes(&folder));
        match read.await.ok().flatten() {
            // An unknown free space does not refuse the upload: the write will fail if there is
            // none.
            Some(free) if free < needed => {
                tracing::debug!(
                    free,
                    needed,
                    "upload refused, disk has too little free space"
                );
                Err(UploadLimitExceeded::Disk { free, needed })
            }
            _ => Ok(()),
        }
    }

    /// Keeps the counted bytes: the file is stored.
    pub(crate) fn keep(mut self) {
        self.taken = 0;
    }
}

impl Drop for UploadUsage {
    fn drop(&mut self) {
        if self.taken > 0 {
            self.quota.give_back(self.user, self.day, self.taken);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(min_free: u64, each: u64) -> UploadQuota {
        UploadQuota::new(UploadBounds { min_free, each })
    }

    #[tokio::test]
    async fn a_user_has_so_much_a_day_and_others_have_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let quota = quota(0, 100);
        let user = UserId::new(1);
        let mut first = quota.begin(user);
        assert_eq!(first.take(dir.path(), 60).await, Ok(()));
        first.keep();
        let mut second = quota.begin(user);
        assert_eq!(second.take(dir.path(), 40).await, Ok(()));
        let exceeded = second.take(dir.path(), 1).await.unwrap_err();
        assert!(
            matches!(exceeded, UploadLimitExceeded::Quota { each: 100, .. }),
            "{exceeded:?}"
        );
        assert_eq!(
            quota.begin(UserId::new(2)).take(dir.path(), 100).await,
            Ok(())
        );
    }

    #[tokio::test]
    async fn what_was_not_stored_is_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let quota = quota(0, 100);
        for _ in 0..5 {
            assert_eq!(quota.begin(None).take(dir.path(), 100).await, Ok(()));
        }
    }

    /// Bytes that were counted before the upload stay counted, whatever becomes of it.
    #[tokio::test]
    async fn a_reservation_is_not_given_back_by_its_upload() {
        let dir = tempfile::tempdir().unwrap();
        let quota = quota(0, 100);
        let user = UserId::new(1).unwrap();
        assert_eq!(quota.reserve(user, 100), Ok(()));
        for _ in 0..3 {
            let mut upload = quota.begin_counted(Some(user));
            assert_eq!(upload.take(dir.path(), 100).await, Ok(()));
        }
        assert!(quota.reserve(user, 1).is_err());
    }

    #[tokio::test]
    async fn a_day_ends() {
        let dir = tempfile::tempdir().unwrap();
        let mut quota = quota(0, 100);
        let mut upload = quota.begin(None);
        upload.take(dir.path(), 100).await.unwrap();
        upload.keep();
        quota.span = Duration::ZERO;
        assert_eq!(quota.begin(None).take(dir.path(), 100).await, Ok(()));
    }

    /// Regression: an upload that began before a new day and failed in it was given back to the new
    /// day, which then allowed more than its quota.
    #[tokio::test(start_paused = true)]
    async fn an_upload_of_the_day_before_is_not_given_back_to_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let quota = quota(0, 100);
        let mut before = quota.begin(None);
        before.take(dir.path(), 60).await.unwrap();
        tokio::time::advance(QUOTA_PERIOD).await;
        let mut upload = quota.begin(None);
        upload.take(dir.path(), 100).await.unwrap();
        upload.keep();
        drop(before);
        assert!(quota.begin(None).take(dir.path(), 1).await.is_err());
    }

    /// Regression: the first upload of a new day was told to try again in 0 minutes.
    #[tokio::test(start_paused = true)]
    async fn a_new_day_lasts_a_whole_day() {
        let dir = tempfile::tempdir().unwrap();
        let quota = quota(0, 100);
        tokio::time::advance(QUOTA_PERIOD).await;
        let exceeded = quota.begin(None).take(dir.path(), 101).await;
        let wait = QUOTA_PERIOD;
        assert_eq!(
            exceeded,
            Err(UploadLimitExceeded::Quota { each: 100, wait })
        );
    }

    #[tokio::test]
    async fn uploads_stop_before_the_disk_is_full() {
        let dir = tempfile::tempdir().unwrap();
        let exceeded = quota(u64::MAX / 2, 0).begin(None).take(dir.path(), 1).await;
        assert!(
            matches!(exceeded, Err(UploadLimitExceeded::Disk { .. })),
            "{exceeded:?}"
        );
    }
    /// The disk is asked once per MiB of an upload, not once per chunk.
    #[tokio::test]
    async fn the_free_space_is_read_again_after_a_mebibyte() {
        let dir = tempfile::tempdir().unwrap();
        let mut upload = quota(0, 0).begin(None);
        assert_eq!(upload.take(dir.path(), 1).await, Ok(()));
        upload.quota.bounds.min_free = u64::MAX / 2;
        assert_eq!(upload.take(dir.path(), CHECK_BYTES).await, Ok(()));
        let exceeded = upload.take(dir.path(), 1).await;
        assert!(
            matches!(exceeded, Err(UploadLimitExceeded::Disk { .. })),
            "{exceeded:?}"
        );
    }
}
