//! Runs a command.

use crate::args::{ClientCommand, KeyArgs, KeyCommand};
use crate::client::ApiClient;
use crate::error::CommandError;
use crate::output::CommandOutput;
use crate::stored_keys::{KeyStorage, KeyStorageError, StoredKeys};
use crate::target::{ClientEnvironment, ConfiguredServer, ServerTarget, is_given};
use crate::{keys, send, tokens, users, webhooks};

/// The surroundings of a command.
#[derive(Debug)]
pub struct ClientContext {
    /// The environment.
    pub environment: ClientEnvironment,
    /// The server of the configuration, or the reason that the configuration cannot be read.
    pub configured: Result<ConfiguredServer, String>,
    /// The storage of the configuration; `None` if the configuration cannot be read.
    pub storage: Option<Box<dyn KeyStorage>>,
}

/// Runs a command.
///
/// # Errors
/// The command line is wrong, or the server refused or did not answer.
pub async fn run(
    command: ClientCommand,
    context: &ClientContext,
) -> Result<CommandOutput, CommandError> {
    if let ClientCommand::Key(args) = &command
        && !is_given(&args.server, &context.environment)
        && let Some(done) = in_storage(args, context).await
    {
        return done;
    }
    let server = command.server();
    let configured = context.configured.as_ref().map_err(String::as_str);
    let target = ServerTarget::of(server, &context.environment, configured)?;
    let place = format!("the server at {}", target.url);
    let client = ApiClient::new(target, server.ca.clone())?;
    match command {
        ClientCommand::Key(args) => keys::run(&client, &args.command, &place).await,
        ClientCommand::User(args) => users::run(&client, args.command).await,
        ClientCommand::Token(args) => tokens::run(&client, args.command).await,
        ClientCommand::Webhook(args) => webhooks::run(&client, args.command).await,
        ClientCommand::Send(args) => send::run(&client, args).await,
    }
}

/// Runs a command about keys on the storage itself. `None` if a running server has it open, and can
/// be called with a key of the configuration.
async fn in_storage(
    args: &KeyArgs,
    context: &ClientContext,
) -> Option<Result<CommandOutput, CommandError>> {
    let storage = context.storage.as_ref()?;
    let create = matches!(args.command, KeyCommand::Create(_));
    let opened = match storage.open(create).await {
        Ok(opened) => opened,
        Err(KeyStorageError::InUse(text)) => {
            let configured = context.configured.as_ref().ok();
            let can_call = configured.is_some_and(|it| it.url.is_some() && it.api_key.is_some());
            return (!can_call).then_some(Err(CommandError::Failed(text)));
        }
        Err(KeyStorageError::Failed(text)) => return Some(Err(CommandError::Failed(text))),
    };
    let stored = StoredKeys(opened.service);
    let done = keys::run(&stored, &args.command, &storage.place()).await;
    drop(stored);
    opened.closed.await;
    Some(done)
}
