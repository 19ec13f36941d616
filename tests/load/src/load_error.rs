//! Errors that prevent a run. Defects of the server are findings of the judge, not errors.

use std::fmt;

/// Failed step of a run, and its cause.
#[derive(Debug)]
pub struct LoadError {
    what: String,
    why: String,
}

impl LoadError {
    /// Creates an error: the step `what` failed because of `why`.
    pub fn new(what: impl Into<String>, why: impl fmt::Display) -> Self {
        Self {
            what: what.into(),
            why: why.to_string(),
        }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}

impl std::error::Error for LoadError {}

impl From<std::io::Error> for LoadError {
    fn from(error: std::io::Error) -> Self {
        Self::new("the system", error)
    }
}
