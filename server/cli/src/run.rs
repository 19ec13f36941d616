//! Runs a command.

use crate::args::ClientCommand;
use crate::client::ApiClient;
use crate::error::CommandError;
use crate::output::CommandOutput;
use crate::target::{ClientEnvironment, ConfiguredServer, ServerTarget};
use crate::{send, tokens, users, webhooks};

/// The surroundings of a command.
#[derive(Clone, Debug)]
pub struct ClientContext {
    /// The environment.
    pub environment: ClientEnvironment,
    /// The server of the configuration, or the reason that the configuration cannot be read.
    pub configured: Result<ConfiguredServer, String>,
}

/// Runs a command.
///
/// # Errors
/// The command line is wrong, or the server refused or did not answer.
pub async fn run(
    command: ClientCommand,
    context: &ClientContext,
) -> Result<CommandOutput, CommandError> {
    let server = command.server();
    let configured = context.configured.as_ref().map_err(String::as_str);
    let target = ServerTarget::of(server, &context.environment, configured)?;
    let client = ApiClient::new(target, server.ca.clone())?;
    match command {
        ClientCommand::User(args) => users::run(&client, args.command).await,
        ClientCommand::Token(args) => tokens::run(&client, args.command).await,
        ClientCommand::Webhook(args) => webhooks::run(&client, args.command).await,
        ClientCommand::Send(args) => send::run(&client, args).await,
    }
}
