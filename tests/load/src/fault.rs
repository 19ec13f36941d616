//! Why a run could not be made. A fault of the server found by the judge is not one of these.

use std::fmt;

/// What was tried, and why it did not work.
#[derive(Debug)]
pub struct Fault {
    what: String,
    why: String,
}

impl Fault {
    /// `what` did not work, because of `why`.
    pub fn new(what: impl Into<String>, why: impl fmt::Display) -> Self {
        Self {
            what: what.into(),
            why: why.to_string(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}

impl std::error::Error for Fault {}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Self::new("the system", error)
    }
}
