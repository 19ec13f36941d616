//! Mistakes in a configuration, and notices about a legal one.

use std::path::PathBuf;

/// One mistake in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigProblem {
    /// The file cannot be read.
    #[error("cannot read {}: {reason}; name an existing file with --config", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        reason: String,
    },
    /// The file is not TOML.
    #[error("{} is not valid TOML: {reason}", .path.display())]
    NotToml {
        /// The file.
        path: PathBuf,
        /// The line and the parser's error.
        reason: String,
    },
    /// A key that does not exist.
    #[error("unknown key {key}: {}", did_you_mean(.meant.as_deref()))]
    UnknownKey {
        /// The key as it was written.
        key: String,
        /// A known key near enough to have been meant, in the same notation.
        meant: Option<String>,
    },
    /// A value that cannot be read.
    #[error("{key} = \"{value}\" is not understood: {wanted}")]
    BadValue {
        /// The key as it was written.
        key: String,
        /// The value as it was written.
        value: String,
        /// The values that would be right.
        wanted: String,
    },
    /// Values that exclude each other.
    #[error("{0}")]
    Refused(String),
}

fn did_you_mean(key: Option<&str>) -> String {
    match key {
        Some(key) => format!("did you mean {key}?"),
        None => "no known key is similar; `gimlet config default` lists all keys".to_owned(),
    }
}

/// All mistakes in the configuration; the exit code is 64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(pub Vec<ConfigProblem>);

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("bad configuration")?;
        for problem in &self.0 {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// A legal setting that an operator should know of: logged as a warning at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigNotice(pub &'static str);
