//! The result of a command, for people and for scripts.

use serde_json::Value;

/// The result of a command.
#[derive(Clone, Debug, PartialEq)]
pub struct CommandOutput {
    text: String,
    json: Value,
    code: u8,
}

impl CommandOutput {
    /// Makes the result of a command that was done.
    pub(crate) fn new(text: impl Into<String>, json: Value) -> Self {
        Self {
            text: text.into(),
            json,
            code: 0,
        }
    }

    /// Changes the exit code, of a command that was done and found something wrong.
    pub(crate) const fn with_code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// Returns the text to print: one line of JSON, or lines for people.
    #[must_use]
    pub fn text(&self, json: bool) -> String {
        if json {
            self.json.to_string()
        } else {
            self.text.clone()
        }
    }

    /// Returns the exit code.
    #[must_use]
    pub const fn code(&self) -> u8 {
        self.code
    }
}
