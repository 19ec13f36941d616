//! Reasons that a command failed, with their exit codes and their JSON.

use serde_json::{Map, Value};

/// Exit code of a command that was refused.
pub const EXIT_REFUSED: u8 = 1;
/// Exit code of a wrong command line.
pub const EXIT_USAGE: u8 = 2;
/// Exit code of a command whose server did not answer.
pub const EXIT_UNREACHABLE: u8 = 3;

/// A refusal of the server: a problem of its HTTP API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerRefusal {
    /// The reason, and the remedy.
    pub detail: String,
    /// HTTP status.
    pub status: u16,
    /// gimlet's code of the refusal.
    pub code: Option<i64>,
    /// The field of the request that is wrong.
    pub field: Option<String>,
    /// Time after which a repeat helps, in milliseconds.
    pub retry_after_ms: Option<i64>,
}

/// Reasons that a command failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The command line, the environment, the configuration or a given file is wrong.
    #[error("{0}")]
    Usage(String),
    /// The server refused.
    #[error("{}", .0.detail)]
    Refused(ServerRefusal),
    /// The command failed without a call of the server, for example because its storage cannot be
    /// opened.
    #[error("{0}")]
    Failed(String),
    /// The server did not answer.
    #[error("{0}")]
    Unreachable(String),
}

impl CommandError {
    /// Returns the exit code.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => EXIT_USAGE,
            Self::Refused(_) | Self::Failed(_) => EXIT_REFUSED,
            Self::Unreachable(_) => EXIT_UNREACHABLE,
        }
    }

    /// Returns the JSON: the text as `error`, and what the server said about it.
    #[must_use]
    pub fn json(&self) -> Value {
        let mut json = Map::new();
        json.insert("error".into(), self.to_string().into());
        if let Self::Refused(refusal) = self {
            json.insert("status".into(), refusal.status.into());
            json.extend(refusal.code.map(|it| ("code".to_owned(), it.into())));
            let field = refusal.field.clone();
            json.extend(field.map(|it| ("field".to_owned(), it.into())));
            let wait = refusal.retry_after_ms;
            json.extend(wait.map(|it| ("retry_after_ms".to_owned(), it.into())));
        }
        Value::Object(json)
    }

    /// Puts the place of the error before its text, for example the line of a file.
    #[must_use]
    pub(crate) fn inside(self, place: &str) -> Self {
        let within = |text: String| format!("{place}: {text}");
        match self {
            Self::Usage(text) => Self::Usage(within(text)),
            Self::Failed(text) => Self::Failed(within(text)),
            Self::Unreachable(text) => Self::Unreachable(within(text)),
            Self::Refused(refusal) => Self::Refused(ServerRefusal {
                detail: within(refusal.detail),
                ..refusal
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_refusal_keeps_what_the_server_said() {
        let refused = CommandError::Refused(ServerRefusal {
            detail: "limit is 0".into(),
            status: 400,
            code: Some(10_001),
            field: Some("limit".into()),
            retry_after_ms: None,
        });
        let refused = refused.inside("line 2");
        let want =
            json!({"error": "line 2: limit is 0", "status": 400, "code": 10_001, "field": "limit"});
        assert_eq!(refused.json(), want);
        assert_eq!(refused.exit_code(), 1);
        let unreachable = CommandError::Unreachable("no answer".into());
        assert_eq!(unreachable.json(), json!({"error": "no answer"}));
        assert_eq!(unreachable.exit_code(), 3);
    }
}
