//! The command line of the commands for operators.

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{ArgGroup, Args, Subcommand, ValueEnum, value_parser};
use gimlet_core::id::ApiKeyId;
use gimlet_core::scope::ApiScope;

use crate::server_args::ServerArgs;

/// Largest id.
const MAX_ID: u64 = i64::MAX as u64;

/// A command that calls a server.
#[derive(Clone, Debug, Subcommand)]
pub enum ClientCommand {
    /// Creates, lists, revokes and rotates API keys, also where no server runs yet.
    Key(KeyArgs),
    /// Creates, shows, imports, bans and disconnects users.
    User(UserArgs),
    /// Issues and revokes tokens of users.
    Token(TokenArgs),
    /// Shows and tests webhooks, and delivers their dead letters again.
    Webhook(WebhookArgs),
    /// Sends a text message, as a user, the backend or the system.
    Send(SendArgs),
}

impl ClientCommand {
    /// Returns the arguments about the server.
    #[must_use]
    pub const fn server(&self) -> &ServerArgs {
        match self {
            Self::Key(KeyArgs { server, .. })
            | Self::User(UserArgs { server, .. })
            | Self::Token(TokenArgs { server, .. })
            | Self::Webhook(WebhookArgs { server, .. })
            | Self::Send(SendArgs { server, .. }) => server,
        }
    }

    /// Returns whether `name` is one of these commands.
    #[must_use]
    pub fn has_name(name: &str) -> bool {
        Self::has_subcommand(name)
    }
}

/// `gimlet key`.
#[derive(Clone, Debug, Args)]
pub struct KeyArgs {
    #[command(subcommand)]
    pub(crate) command: KeyCommand,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// Commands of `gimlet key`. Without an address and a key, they open the storage of the
/// configuration.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Creates a key, and shows it once.
    Create(CreateKeyArgs),
    /// Lists the keys, without the keys themselves.
    List,
    /// Revokes a key, at once or within ten seconds on every node.
    Revoke(KeyIdArgs),
    /// Replaces a key by a new one with the same name and scopes; the old one stays valid for a
    /// while.
    Rotate {
        #[command(flatten)]
        key: KeyIdArgs,
        /// Time for which the old key stays valid, for example 12h [default: 1d].
        #[arg(long, value_name = "TIME", value_parser = seconds)]
        overlap: Option<u32>,
    },
}

/// Arguments of `gimlet key create`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CreateKeyArgs {
    /// A name for people, for example that of the program that uses the key.
    #[arg(long, value_name = "NAME")]
    pub(crate) name: String,
    /// A right of the key; several are separated by commas.
    #[arg(
        long = "scope", value_name = "SCOPE", required = true, value_delimiter = ',',
        value_parser = scope_names()
    )]
    pub(crate) scopes: Vec<String>,
    /// Time after which the key expires, for example 90d [default: never].
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub(crate) expires: Option<u32>,
}

/// A key, named by its id.
#[derive(Clone, Debug, Args)]
pub(crate) struct KeyIdArgs {
    /// The key's id: 16 digits, as `gimlet key list` shows it.
    #[arg(value_name = "KEY_ID", value_parser = key_id)]
    pub(crate) id: ApiKeyId,
}

fn scope_names() -> PossibleValuesParser {
    let scopes = ApiScope::ALL.iter();
    let values = scopes.map(|scope| PossibleValue::new(scope.name()).help(scope.about()));
    PossibleValuesParser::new(values)
}

fn key_id(text: &str) -> Result<ApiKeyId, String> {
    ApiKeyId::parse(text).ok_or_else(|| "write 16 digits, as `gimlet key list` shows them".into())
}

/// Reads a time with its unit; returns its seconds.
fn seconds(text: &str) -> Result<u32, String> {
    let wrong = || "write a number with s, m, h or d, for example 90d".to_owned();
    let unit = text.chars().last().ok_or_else(wrong)?;
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number = text.strip_suffix(unit).unwrap_or_default();
    let number: u32 = number.parse().map_err(|_| wrong())?;
    let seconds = number.checked_mul(factor).filter(|it| *it > 0);
    seconds.ok_or_else(|| "write a time from 1s to 49710d".to_owned())
}

/// `gimlet user`.
#[derive(Clone, Debug, Args)]
pub struct UserArgs {
    #[command(subcommand)]
    pub(crate) command: UserCommand,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// A user, named by the id.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct UserIdArgs {
    /// The user's id.
    #[arg(value_name = "USER", value_parser = value_parser!(u64).range(1..=MAX_ID))]
    pub(crate) user: u64,
}

/// Commands of `gimlet user`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Creates a user, unless there is one with this phone number.
    Create(CreateUserArgs),
    /// Shows the profile of a user, and the ban if there is one.
    Show(UserIdArgs),
    /// Shows the connections of a user, on all nodes.
    Connections(UserIdArgs),
    /// Creates users that are not there yet, and sets their profiles. May be repeated.
    ///
    /// The file has a JSON object on each line, or it is CSV with a header line. The fields are
    /// `phone_number`, `nickname`, `sex`, `avatar_url` and extra.
    Import(ImportArgs),
    /// Bans a user: the tokens are not valid any more, and the connections are closed.
    Ban(BanArgs),
    /// Lifts the ban of a user: the tokens are valid again.
    Unban(UserIdArgs),
    /// Closes the connections of a user. The tokens stay valid.
    Disconnect(DisconnectArgs),
}

/// Arguments of `gimlet user create`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CreateUserArgs {
    /// The phone number: 3 to 20 digits, optionally after a leading +. It identifies the user.
    #[arg(value_name = "PHONE")]
    pub(crate) phone: String,
    /// The name.
    #[arg(long, value_name = "NAME")]
    pub(crate) nickname: Option<String>,
    /// Address of the picture.
    #[arg(long, value_name = "URL")]
    pub(crate) avatar_url: Option<String>,
    /// The application's data.
    #[arg(long, value_name = "TEXT")]
    pub(crate) extra: Option<String>,
}

/// Arguments of `gimlet user import`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ImportArgs {
    /// The file. - is standard input.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Form of the file [default: csv if its name ends with .csv, else json-lines].
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<ImportFormat>,
}

/// Form of an import file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ImportFormat {
    /// A JSON object on each line.
    JsonLines,
    /// Comma-separated values with a header line.
    Csv,
}

/// Arguments of `gimlet user ban`.
#[derive(Clone, Debug, Args)]
pub(crate) struct BanArgs {
    #[command(flatten)]
    pub(crate) user: UserIdArgs,
    /// The reason, for operators; the user is not told.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
}

/// Arguments of `gimlet user disconnect`.
#[derive(Clone, Debug, Args)]
pub(crate) struct DisconnectArgs {
    #[command(flatten)]
    pub(crate) user: UserIdArgs,
    /// The device [default: all devices of the user].
    #[arg(long, value_name = "DEVICE", value_parser = value_parser!(u64).range(1..=MAX_ID))]
    pub(crate) device: Option<u64>,
    /// The reason, which the client is told.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
}

/// `gimlet token`.
#[derive(Clone, Debug, Args)]
pub struct TokenArgs {
    #[command(subcommand)]
    pub(crate) command: TokenCommand,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// Commands of `gimlet token`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Issues a token of a user on a device; an earlier one on this device ends.
    Issue {
        #[command(flatten)]
        user: UserIdArgs,
        /// The device that the token is for [default: a new one].
        #[arg(long, value_name = "DEVICE", value_parser = value_parser!(u64).range(1..=MAX_ID))]
        device: Option<u64>,
    },
    /// Revokes the token of a user on a device, and closes its connection.
    Revoke {
        #[command(flatten)]
        user: UserIdArgs,
        /// The device.
        #[arg(value_name = "DEVICE", value_parser = value_parser!(u64).range(1..=MAX_ID))]
        device: u64,
    },
}

/// `gimlet webhook`.
#[derive(Clone, Debug, Args)]
pub struct WebhookArgs {
    #[command(subcommand)]
    pub(crate) command: WebhookCommand,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// A webhook, named as in the configuration.
#[derive(Clone, Debug, Args)]
pub(crate) struct WebhookNameArgs {
    /// The webhook's name in the configuration.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

/// Commands of `gimlet webhook`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum WebhookCommand {
    /// Lists the webhooks with their state.
    List,
    /// Sends a test event to the program of a webhook. Exit code 1 if it does not accept it.
    Test(WebhookNameArgs),
    /// Lists dead letters: events that were given up.
    Dead {
        #[command(flatten)]
        hook: WebhookNameArgs,
        /// Largest number of dead letters to list.
        #[arg(long, value_name = "NUMBER", default_value_t = 50, value_parser = value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// Delivers dead letters again, after the events that wait.
    Replay {
        #[command(flatten)]
        hook: WebhookNameArgs,
        /// Position of a dead letter; may be repeated [default: all dead letters].
        #[arg(long = "position", value_name = "POSITION")]
        positions: Vec<u64>,
    },
    /// Removes dead letters.
    #[command(group = ArgGroup::new("letters").required(true))]
    Drop {
        #[command(flatten)]
        hook: WebhookNameArgs,
        /// Position of a dead letter; may be repeated.
        #[arg(long = "position", value_name = "POSITION", group = "letters")]
        positions: Vec<u64>,
        /// Removes all dead letters of the webhook.
        #[arg(long, group = "letters")]
        all: bool,
    },
}

/// `gimlet send`.
#[derive(Clone, Debug, Args)]
#[command(
    group = ArgGroup::new("sender").required(true),
    group = ArgGroup::new("receiver").required(true)
)]
pub struct SendArgs {
    /// Sends as this user.
    #[arg(long, value_name = "USER", group = "sender", value_parser = value_parser!(u64).range(1..=MAX_ID))]
    pub(crate) from: Option<u64>,
    /// Sends as the backend.
    #[arg(long, group = "sender")]
    pub(crate) business: bool,
    /// Sends as the system.
    #[arg(long, group = "sender", conflicts_with = "room")]
    pub(crate) system: bool,
    /// The receiving user.
    #[arg(long, value_name = "USER", group = "receiver", value_parser = value_parser!(u64).range(1..=MAX_ID))]
    pub(crate) to: Option<u64>,
    /// The receiving group.
    #[arg(long, value_name = "GROUP", group = "receiver", value_parser = value_parser!(u64).range(1..=MAX_ID))]
    pub(crate) group: Option<u64>,
    /// The room whose subscribers get the message.
    #[arg(long, value_name = "ROOM", group = "receiver", value_parser = value_parser!(u64).range(1..=MAX_ID))]
    pub(crate) room: Option<u64>,
    /// A mentioned user; may be repeated.
    #[arg(long = "mention", value_name = "USER", value_parser = value_parser!(u64).range(1..=MAX_ID))]
    pub(crate) mentions: Vec<u64>,
    /// Keeps the message of a room for a while, for later subscribers.
    #[arg(long, requires = "room")]
    pub(crate) keep: bool,
    /// Id of this send: a repeat with the same id sends nothing more [default: a new UUID].
    #[arg(long, value_name = "ID", conflicts_with = "room")]
    pub(crate) id: Option<String>,
    /// The text. - reads it from standard input.
    #[arg(value_name = "TEXT")]
    pub(crate) text: String,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_number_and_a_unit() {
        for (text, want) in [("1s", 1), ("5m", 300), ("12h", 43_200), ("90d", 7_776_000)] {
            assert_eq!(seconds(text), Ok(want), "{text}");
        }
        for text in ["", "d", "90", "-1d", "1.5h", "1w", "1日", "0d", "50000d"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
