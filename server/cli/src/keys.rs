//! `gimlet key`: the same commands through a running server and on a storage that no server has
//! open.

use async_trait::async_trait;
use gimlet_core::id::ApiKeyId;
use serde_json::{Value, json};

use crate::args::{CreateKeyArgs, KeyCommand};
use crate::error::CommandError;
use crate::output::CommandOutput;
use crate::table::{TextTable, details};

/// Fields of a created key, in the order in which they are shown.
const CREATED_FIELDS: [&str; 6] = [
    "key_id",
    "name",
    "scopes",
    "created_at",
    "expires_at",
    "key",
];
/// Reminder below a created key.
const SHOWN_ONCE: &str =
    "The key is shown only now: store it where nothing but its program can read it.";

/// The operations on keys; each returns the object that the API answers.
#[async_trait]
pub(crate) trait KeyOperations: Sync {
    /// Creates a key.
    async fn create(&self, key: &CreateKeyArgs) -> Result<Value, CommandError>;
    /// Returns all keys.
    async fn list(&self) -> Result<Vec<Value>, CommandError>;
    /// Revokes a key.
    async fn revoke(&self, id: ApiKeyId) -> Result<Value, CommandError>;
    /// Replaces a key by a new one, and keeps the old one for this many seconds, or for a day.
    async fn rotate(
        &self,
        id: ApiKeyId,
        overlap_seconds: Option<u32>,
    ) -> Result<Value, CommandError>;
}

/// Runs a command of `gimlet key`. `place` says where the keys are.
pub(crate) async fn run(
    keys: &dyn KeyOperations,
    command: &KeyCommand,
    place: &str,
) -> Result<CommandOutput, CommandError> {
    match command {
        KeyCommand::Create(args) => {
            let created = keys.create(args).await?;
            let text = details(&created, &CREATED_FIELDS);
            let text = format!("{text}\n\nIts hash is stored in {place}.\n{SHOWN_ONCE}");
            Ok(CommandOutput::new(text, created))
        }
        KeyCommand::List => {
            let found = keys.list().await?;
            let mut table = TextTable::new(&[
                "KEY ID",
                "NAME",
                "SCOPES",
                "VALID",
                "CREATED",
                "EXPIRES",
                "REVOKED",
                "LAST USED",
            ]);
            let fields = [
                "key_id",
                "name",
                "scopes",
                "is_valid",
                "created_at",
                "expires_at",
                "revoked_at",
                "last_used_at",
            ];
            for key in &found {
                table.push(key, &fields);
            }
            let json = json!({"keys": found, "more": false});
            Ok(CommandOutput::new(table.text(), json))
        }
        KeyCommand::Revoke(key) => {
            let answer = keys.revoke(key.id).await?;
            let text = format!("revoked key {}", key.id);
            Ok(CommandOutput::new(text, answer))
        }
        KeyCommand::Rotate { key, overlap } => {
            let created = keys.rotate(key.id, *overlap).await?;
            let text = details(&created, &CREATED_FIELDS);
            let text = format!("{text}\n\nIt replaces key {}.\n{SHOWN_ONCE}", key.id);
            Ok(CommandOutput::new(text, created))
        }
    }
}
