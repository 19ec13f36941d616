//! Uploads that clients send to the storage itself, by a URL that gimlet has signed.
//!
//! Nothing that a client sends there is visible: it is completed by a call, which reads the content and
//! checks it like any upload.

use std::fmt;
use std::fmt::Debug;
use std::io;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use gimlet_core::id::UserId;

use crate::spool::FileReader;
use crate::stored_name::{is_stem, random_stem};

/// The name of an upload that is not completed: its user, 160 random bits, and the length that counts
/// against the user's quota. A signed URL does not bind the length, so the name does.
#[derive(Clone, PartialEq, Eq)]
pub struct PendingName {
    user: UserId,
    id: String,
    length: u64,
}

impl Debug for PendingName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "upload of {:?}", self.user)
    }
}

impl fmt::Display for PendingName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.user.get(), self.id)
    }
}

impl PendingName {
    /// Makes a name for an upload of this user and length.
    pub(crate) fn random(user: UserId, length: u64) -> Self {
        let id = format!("{}-{length}", random_stem());
        Self { user, id, length }
    }

    /// Returns the name of this user's upload; `None` if the server did not make the id.
    pub(crate) fn of(user: UserId, id: &str) -> Option<Self> {
        let (stem, digits) = id.split_once('-')?;
        let length = digits.parse::<u64>().ok()?;
        // One spelling only, so that an upload has one name.
        let is_own = is_stem(stem) && length.to_string() == digits;
        is_own.then(|| Self {
            user,
            id: id.to_owned(),
            length,
        })
    }

    /// Reads a name as it is displayed.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (user, id) = text.split_once('/')?;
        Self::of(UserId::new(user.parse().ok()?)?, id)
    }

    /// Returns the id that the client completes the upload by.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the length that the client announced, in bytes.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }
}

/// A storage to which clients may send files themselves.
#[async_trait]
pub trait DirectUploads: Debug + Send + Sync {
    /// Returns a URL to which a client may `PUT` the upload within this time.
    async fn address(&self, upload: &PendingName, lifetime: Duration) -> io::Result<String>;

    /// Opens what a client has sent, with its length; `None` if it has sent nothing.
    async fn received(&self, upload: &PendingName) -> io::Result<Option<(u64, FileReader)>>;

    /// Removes what a client has sent.
    async fn discard(&self, upload: &PendingName) -> io::Result<()>;

    /// Returns at most `limit` uploads that were sent before this time.
    async fn sent_before(&self, time: SystemTime, limit: usize) -> io::Result<Vec<PendingName>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_of_one_user() {
        let user = UserId::new(7).unwrap();
        let name = PendingName::random(user, 10);
        assert_eq!(name.length(), 10);
        assert_eq!(PendingName::of(user, name.id()), Some(name.clone()));
        assert_eq!(PendingName::parse(&name.to_string()), Some(name.clone()));
        let other = PendingName::of(UserId::new(8).unwrap(), name.id()).unwrap();
        assert_ne!(other.to_string(), name.to_string());
        let stem = random_stem();
        let others = ["", "x", "../7", "7/x", "0/abc", "a.png", &stem];
        let lengths = ["", "-", "-x", "-010", "-+1", "--1"].map(|end| format!("{stem}{end}"));
        for wrong in others.into_iter().chain(lengths.iter().map(String::as_str)) {
            assert_eq!(PendingName::of(user, wrong), None, "{wrong}");
            assert_eq!(PendingName::parse(wrong), None, "{wrong}");
        }
    }
}
