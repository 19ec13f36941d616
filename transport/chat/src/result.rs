//! Results of the chat.

/// The result of an operation whose failure ends the chat.
pub(crate) type ChatResult<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
