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

/// The name of an upload that is not completed: its user, and 160 random bits.
#[derive(Clone, PartialEq, Eq)]
pub struct PendingName {
    user: UserId,
    id: String,
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
    /// Makes a name for an upload of this user.
    pub(crate) fn random(user: UserId) -> Self {
        let id = random_stem();
        Self { user, id }
    }

    /// Returns the name of this user's upload; `None` if the server did not make the id.
    pub(crate) fn of(user: UserId, id: &str) -> Option<Self> {
        let id = Some(id.to_owned()).filter(|id| is_stem(id))?;
        Some(Self { user, id })
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
}

/// A storage to which clients may send files themselves.
#[async_trait]
pub trait DirectUploads: Debug + Send + Sync {
    /// Returns a URL to which a client may `PUT` this many bytes within this time.
    async fn address(
        &self,
        upload: &PendingName,
        length: u64,
        lifetime: Duration,
    ) -> io::Result<String>;

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
        let name = PendingName::random(user);
        assert_eq!(PendingName::of(user, name.id()), Some(name.clone()));
        assert_eq!(PendingName::parse(&name.to_string()), Some(name.clone()));
        let other = PendingName::of(UserId::new(8).unwrap(), name.id()).unwrap();
        assert_ne!(other.to_string(), name.to_string());
        for wrong in ["", "x", "../7", "7/x", "0/abc", "a.png"] {
            assert_eq!(PendingName::of(user, wrong), None, "{wrong}");
            assert_eq!(PendingName::parse(wrong), None, "{wrong}");
        }
    }
}
