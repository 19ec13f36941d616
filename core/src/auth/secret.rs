//! The secret that backends and other nodes share with this server.

use std::fmt;

use subtle::ConstantTimeEq as _;

/// A secret that callers must present; it is never printed.
#[derive(Clone)]
pub struct SharedSecret(String);

impl SharedSecret {
    /// Wraps the configured secret.
    #[must_use]
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// Returns whether a caller presents this secret. The time that it takes does not tell how much
    /// of it was right.
    #[must_use]
    pub fn matches(&self, presented: &str) -> bool {
        presented.as_bytes().ct_eq(self.0.as_bytes()).into()
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_secret_matches() {
        let secret = SharedSecret::new("s3cret");
        assert!(secret.matches("s3cret"));
        for wrong in ["", "s3cre", "s3cret ", "S3cret"] {
            assert!(!secret.matches(wrong), "{wrong:?}");
        }
        assert!(!format!("{secret:?}").contains("s3cret"));
    }
}
