//! The command line: the command to run, and the configuration for it.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use gimlet_cli::{
    ClientCommand, ClientContext, ClientEnvironment, CompletionArgs, EXIT_USAGE, TopArgs,
};
use gimlet_push::EcSigningKey;
use gimlet_server::Config;
use gimlet_server::config::{ConfigError, template};

use crate::client_config::{configured_ops, configured_server};
#[cfg(feature = "mysql")]
use crate::gim_import::GimImportArgs;
use crate::key_storage::ConfiguredStorage;
use crate::tool_output::ToolCommand;

/// Exit code of a wrong configuration or command line of the server and its tools (`EX_USAGE`).
const EXIT_SERVER_USAGE: u8 = 64;
/// Name of the command that prints completions.
const COMPLETION: &str = "completion";
/// Name of the command that shows the state of nodes.
const TOP: &str = "top";

/// An instant-messaging server. Without a command it runs a single server with an embedded database
/// under ./data, reachable from this machine only. `gimlet chat` connects to it.
#[derive(Debug, Parser)]
#[command(
    name = "gimlet",
    version,
    after_help = "Every key of the configuration can also be set \
    in the environment: [listen] tcp is GIMLET_LISTEN__TCP."
)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<CliCommand>,
    #[command(flatten)]
    file: ConfigFileArgs,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// Runs the server.
    Serve(ConfigFileArgs),
    /// Brings the tables in MySQL up to this version.
    #[cfg(feature = "mysql")]
    Migrate(ConfigFileArgs),
    /// Writes a backup of the embedded storage to one file, also while a server uses it.
    ///
    /// The file contains every row as of one moment, and the uploaded files. Exit code 0: it is
    /// complete and on disk; 1: it was not made. Back MySQL up with its own tools.
    #[cfg(all(unix, feature = "sled"))]
    Backup(BackupArgs),
    /// Restores a backup into an empty data directory, under a new epoch.
    ///
    /// Clients that speak gimlet's extension start over by themselves. Exit code 0: the storage is
    /// ready for a start; 1: nothing was restored.
    #[cfg(all(unix, feature = "sled"))]
    Restore(RestoreArgs),
    /// Ends the history of the storage: clients of the extension start over without their state.
    ///
    /// Works on every persistent storage, also while servers use it. Needed after MySQL was
    /// restored to an earlier moment; `gimlet restore` does it by itself.
    NewEpoch(ToolArgs),
    /// Reads the whole storage, or a backup, and checks every law that can be checked at rest.
    ///
    /// MySQL may be in use; an embedded storage must not be, but a backup of it can be checked.
    /// Exit code 0: no findings; 3: findings; 1: it could not be read.
    Verify(VerifyArgs),
    /// Commands that import the data of another system into an empty storage.
    #[cfg(feature = "mysql")]
    Import {
        #[command(subcommand)]
        command: ImportCommand,
    },
    /// Examines configuration, machine, disk, certificates and databases, and says what to do.
    ///
    /// Changes nothing, and may run beside a server. Exit code 0: no problems; 3: problems.
    Doctor(ToolArgs),
    /// Chats in the terminal through a running server.
    #[cfg(feature = "chat")]
    Chat(gimlet_cli::chat::Args),
    #[command(flatten)]
    Client(ClientCommand),
    /// Shows the state of running nodes, every second: connections, rates, latencies, failures.
    ///
    /// Reads their ops listeners, which need no key. q leaves.
    Top(TopArgs),
    /// Prints a script with which a shell completes the commands.
    ///
    /// bash: eval "$(gimlet completion bash)"
    Completion(CompletionArgs),
    /// Checks the configuration and prints the effective values, secrets masked.
    CheckConfig(ConfigFileArgs),
    /// Commands about push notifications.
    Push {
        #[command(subcommand)]
        command: PushCommand,
    },
    /// Commands about the configuration.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
}

#[derive(Debug, Subcommand)]
enum PushCommand {
    /// Makes a VAPID key for Web Push and prints it: the content of the file of push.webpush.key.
    Keys,
}

#[cfg(feature = "mysql")]
#[derive(Debug, Subcommand)]
enum ImportCommand {
    /// Imports users, devices, friends, groups and messages from the MySQL database of a gim server.
    ///
    /// Ids and the seqs of messages are kept. Stop gim first; no server may use the storage. Every
    /// row is checked before the first is written. Exit code 0: the storage is ready for a start; 1:
    /// nothing can be started, and the text says what to do.
    Gim(GimImport),
}

#[cfg(feature = "mysql")]
#[derive(Debug, Args)]
struct GimImport {
    #[command(flatten)]
    args: GimImportArgs,
    #[command(flatten)]
    tool: ToolArgs,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Prints a configuration file with every key, its default, and what it means.
    Default,
}

#[derive(Debug, Args)]
struct ToolArgs {
    #[command(flatten)]
    file: ConfigFileArgs,
    /// Prints one line of JSON, for scripts.
    #[arg(long)]
    json: bool,
}

#[cfg(all(unix, feature = "sled"))]
#[derive(Debug, Args)]
struct BackupArgs {
    /// The file to write; it must not exist. - is standard output.
    #[arg(value_name = "FILE")]
    to: PathBuf,
    #[command(flatten)]
    tool: ToolArgs,
}

#[cfg(all(unix, feature = "sled"))]
#[derive(Debug, Args)]
struct RestoreArgs {
    /// The backup. - is standard input.
    #[arg(value_name = "FILE")]
    from: PathBuf,
    #[command(flatten)]
    tool: ToolArgs,
}

#[derive(Debug, Args)]
struct VerifyArgs {
    /// A backup to check instead of the storage; it is unpacked beside its file and removed again.
    #[arg(value_name = "BACKUP")]
    backup: Option<PathBuf>,
    #[command(flatten)]
    tool: ToolArgs,
}

#[derive(Debug, Args)]
struct ConfigFileArgs {
    /// A configuration file (TOML); the environment takes precedence over it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The command to run.
#[derive(Debug)]
pub(crate) enum ParsedCommand {
    /// Run the server, with the file that the configuration came from.
    Serve(Box<Config>, Option<PathBuf>),
    /// Bring the tables up to date.
    #[cfg(feature = "mysql")]
    Migrate(Box<Config>),
    /// Run a tool; `true` prints JSON.
    Tool(Box<Config>, ToolCommand, bool),
    /// Import from gim; `true` prints JSON.
    #[cfg(feature = "mysql")]
    ImportGim(Box<Config>, Box<GimImportArgs>, bool),
    /// Examine the installation with this configuration file and environment; `true` prints JSON.
    Doctor(Option<PathBuf>, Vec<(String, String)>, bool),
    /// Chat.
    #[cfg(feature = "chat")]
    Chat(Box<gimlet_cli::chat::Args>),
    /// Call a server.
    Client(Box<ClientCommand>, Box<ClientContext>),
    /// Show the state of nodes; with the address of the configuration's ops listener, or the reason
    /// that the configuration cannot be read.
    Top(Box<TopArgs>, Result<Option<String>, String>),
    /// Print this text.
    Print(String),
}

/// Text for the user that is shown instead of running a command.
#[derive(Debug)]
pub(crate) struct CliMessage {
    /// The text.
    pub(crate) text: String,
    /// Exit code; 0 if the user asked for the text.
    pub(crate) code: u8,
}

fn refuse(error: &ConfigError) -> CliMessage {
    CliMessage {
        text: error.to_string(),
        code: EXIT_SERVER_USAGE,
    }
}

/// Returns the environment of this process, without the variables that are not configuration.
pub(crate) fn environment() -> impl Iterator<Item = (String, String)> {
    readable(std::env::vars_os()).filter(is_setting)
}

fn is_setting((name, _): &(String, String)) -> bool {
    !ClientEnvironment::NAMES.contains(&name.as_str())
}

fn readable(
    env: impl IntoIterator<Item = (OsString, OsString)>,
) -> impl Iterator<Item = (String, String)> {
    env.into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Returns the exit code of a command line that is wrong: commands that call a server have their
/// own.
fn usage_code(args: &[OsString]) -> u8 {
    let mut args = args
        .iter()
        .skip(1)
        .map(|arg| arg.to_str().unwrap_or_default());
    let mut command = args.next();
    while let Some(option) = command.filter(|arg| arg.starts_with('-')) {
        if option == "--config" {
            args.next();
        }
        command = args.next();
    }
    let is_client = |name| ClientCommand::has_name(name) || [COMPLETION, TOP].contains(&name);
    if command.is_some_and(is_client) {
        EXIT_USAGE
    } else {
        EXIT_SERVER_USAGE
    }
}

/// Returns what a command of a client knows of this machine's configuration. A configuration that cannot be
/// read stops nothing here: the server may be on another machine, where none of it matters.
fn client_context(
    environment: ClientEnvironment,
    read: Result<Config, ConfigError>,
) -> ClientContext {
    match read {
        Ok(config) => ClientContext {
            environment,
            configured: Ok(configured_server(&config)),
            storage: Some(Box::new(ConfiguredStorage(config))),
        },
        Err(error) => ClientContext {
            environment,
            configured: Err(error.to_string()),
            storage: None,
        },
    }
}

/// Parses arguments and environment. A variable that is not UTF-8 cannot be one of gimlet's keys.
pub(crate) fn parse(
    args: impl IntoIterator<Item = OsString>,
    env: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<ParsedCommand, CliMessage> {
    let args: Vec<_> = args.into_iter().collect();
    let cli = CommandLine::try_parse_from(&args).map_err(|error| CliMessage {
        text: error.render().to_string(),
        code: if error.use_stderr() {
            usage_code(&args)
        } else {
            0
        },
    })?;
    let env: Vec<_> = readable(env).collect();
    let client = ClientEnvironment::read(env.iter().map(|(k, v)| (k.as_str(), v.as_str())));
    let env: Vec<_> = env.into_iter().filter(is_setting).collect();
    let before = cli.file.config;
    let load = |file: ConfigFileArgs| {
        let file = file.config.or(before.clone());
        let loaded =
            Config::load(file.as_deref(), env.iter().cloned()).map_err(|error| refuse(&error));
        loaded.map(|(config, notices)| (config, notices, file))
    };
    let serve = |(config, _, file): (Config, Vec<_>, Option<PathBuf>)| {
        ParsedCommand::Serve(Box::new(config), file)
    };
    // A tool needs only the storage's keys: a configuration that a server would refuse for other
    // reasons does not stop it.
    let read = |file: ConfigFileArgs| {
        let file = file.config.or(before.clone());
        let read = Config::read(file.as_deref(), env.iter().cloned());
        read.map(Box::new).map_err(|error| refuse(&error))
    };
    let run = |tool: ToolCommand, args: ToolArgs| {
        Ok(ParsedCommand::Tool(read(args.file)?, tool, args.json))
    };
    match cli.command {
        None => load(ConfigFileArgs { config: None }).map(serve),
        Some(CliCommand::Serve(file)) => load(file).map(serve),
        #[cfg(feature = "mysql")]
        Some(CliCommand::Migrate(file)) => Ok(ParsedCommand::Migrate(Box::new(load(file)?.0))),
        #[cfg(all(unix, feature = "sled"))]
        Some(CliCommand::Backup(BackupArgs { to, tool })) => run(ToolCommand::Backup(to), tool),
        #[cfg(all(unix, feature = "sled"))]
        Some(CliCommand::Restore(RestoreArgs { from, tool })) => {
            run(ToolCommand::Restore(from), tool)
        }
        Some(CliCommand::NewEpoch(tool)) => run(ToolCommand::NewEpoch, tool),
        Some(CliCommand::Verify(VerifyArgs { backup, tool })) => {
            run(ToolCommand::Verify(backup), tool)
        }
        #[cfg(feature = "mysql")]
        Some(CliCommand::Import {
            command: ImportCommand::Gim(GimImport { args, tool }),
        }) => {
            let config = read(tool.file)?;
            Ok(ParsedCommand::ImportGim(config, Box::new(args), tool.json))
        }
        Some(CliCommand::Doctor(args)) => {
            let file = args.file.config.or(before.clone());
            Ok(ParsedCommand::Doctor(file, env.clone(), args.json))
        }
        #[cfg(feature = "chat")]
        Some(CliCommand::Chat(args)) => Ok(ParsedCommand::Chat(Box::new(args))),
        Some(CliCommand::Client(command)) => {
            let file = command.server().config().map(ToOwned::to_owned).or(before);
            let context =
                client_context(client, Config::read(file.as_deref(), env.iter().cloned()));
            Ok(ParsedCommand::Client(Box::new(command), Box::new(context)))
        }
        Some(CliCommand::Top(args)) => {
            let file = args.config().map(ToOwned::to_owned).or(before);
            let read = Config::read(file.as_deref(), env.iter().cloned());
            let ops = read.map(|config| configured_ops(&config));
            let ops = ops.map_err(|error| error.to_string());
            Ok(ParsedCommand::Top(Box::new(args), ops))
        }
        Some(CliCommand::Completion(args)) => Ok(ParsedCommand::Print(gimlet_cli::completion(
            args,
            &mut CommandLine::command(),
        ))),
        Some(CliCommand::CheckConfig(file)) => {
            let (config, notices, _) = load(file)?;
            let mut text = String::new();
            for notice in notices {
                let _ = writeln!(text, "# note: {}", notice.0);
            }
            text.push_str(&config.masked());
            Ok(ParsedCommand::Print(text))
        }
        Some(CliCommand::Push {
            command: PushCommand::Keys,
        }) => made_key().map(ParsedCommand::Print),
        Some(CliCommand::Config {
            command: ConfigCommand::Default,
        }) => Ok(ParsedCommand::Print(template())),
    }
}

/// Makes a key for Web Push, as the content of its file: the public key is in front of it.
fn made_key() -> Result<String, CliMessage> {
    let failed = |text: String| CliMessage { text, code: 1 };
    let pem = EcSigningKey::generate_pem();
    let pem =
        pem.map_err(|_| failed("no key was made: the system has no random numbers".into()))?;
    let key = EcSigningKey::from_pem(pem.as_bytes());
    let public = key
        .map_err(|error| failed(error.to_string()))?
        .public_text();
    Ok(format!(
        "Public key (applicationServerKey): {public}\n{pem}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(args: &[&str], env: &[(&str, &str)]) -> Result<ParsedCommand, CliMessage> {
        let args = std::iter::once(&"gimlet").chain(args).map(OsString::from);
        parse(args, env.iter().map(|(k, v)| (k.into(), v.into())))
    }

    #[test]
    fn alone_it_serves() {
        for args in [&[][..], &["serve"]] {
            assert!(matches!(run(args, &[]), Ok(ParsedCommand::Serve(..))));
        }
    }

    #[test]
    fn check_config_shows_what_is_in_force_and_default_the_template() {
        let Ok(ParsedCommand::Print(text)) = run(
            &["check-config"],
            &[
                ("GIMLET_LOG__LEVEL", "debug"),
                ("GIMLET_BUSINESS__CODE_VERIFIER", "dev"),
            ],
        ) else {
            panic!("it prints");
        };
        assert!(
            text.contains("level = \"debug\"") && text.contains("# note: "),
            "{text}"
        );
        let Ok(ParsedCommand::Print(text)) = run(&["config", "default"], &[]) else {
            panic!("it prints");
        };
        assert_eq!(text, template());
    }

    #[test]
    fn push_keys_prints_the_content_of_a_key_file() {
        let Ok(ParsedCommand::Print(text)) = run(&["push", "keys"], &[]) else {
            panic!("it prints");
        };
        let key = EcSigningKey::from_pem(text.as_bytes()).unwrap();
        assert!(
            text.contains(&key.public_text()),
            "the private key stays out of this message"
        );
    }

    #[test]
    fn mistakes_are_reported_and_help_is_not_a_mistake() {
        let shown = run(&["serve"], &[("GIMLET_LISTEN__TPC", "x")]).unwrap_err();
        assert!(shown.text.contains("did you mean GIMLET_LISTEN__TCP?") && shown.code == 64);
        assert_eq!(run(&["--help"], &[]).unwrap_err().code, 0);
        for args in [
            &["serv"][..],
            &["--config", "user", "serv"],
            &["verify", "user", "x"],
        ] {
            assert_eq!(run(args, &[]).unwrap_err().code, 64, "{args:?}");
        }
        for args in [
            &["user", "show"][..],
            &["--config", "x", "user", "show", "0"],
            &["--config=x", "send", "--from", "1", "hi"],
            &["completion", "cmd"],
            &["top", "--never"],
        ] {
            assert_eq!(run(args, &[]).unwrap_err().code, 2, "{args:?}");
        }
    }

    #[test]
    fn the_variables_of_the_commands_are_not_configuration() {
        let client = [("GIMLET_URL", "http://a"), ("GIMLET_API_KEY", "key")];
        let Ok(ParsedCommand::Serve(config, _)) = run(&[], &client) else {
            panic!("it serves");
        };
        // Without any configuration, this is a development run.
        assert!(config.is_development());
    }

    #[test]
    fn top_reads_the_ops_listener_of_the_configuration() {
        let ops = [("GIMLET_LISTEN__OPS", "127.0.0.1:81")];
        let Ok(ParsedCommand::Top(_, Ok(url))) = run(&["top", "--once"], &ops) else {
            panic!("it is a command");
        };
        assert_eq!(url.unwrap(), "http://127.0.0.1:81");
        let broken = run(&["top"], &[("GIMLET_LISTEN__TPC", "x")]);
        assert!(matches!(broken, Ok(ParsedCommand::Top(_, Err(_)))));
    }

    #[test]
    fn a_command_reads_the_configuration_that_it_is_given() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("gimlet.toml");
        std::fs::write(&file, "[listen]\nhttp = \"0.0.0.0:81\"\n").unwrap();
        let file = file.to_str().unwrap();
        for args in [
            ["--config", file, "user", "show", "1"],
            ["user", "--config", file, "show", "1"],
            ["user", "show", "1", "--config", file],
        ] {
            let Ok(ParsedCommand::Client(_, context)) = run(&args, &[]) else {
                panic!("{args:?} is a command");
            };
            let server = context.configured.unwrap();
            assert_eq!(server.url.unwrap(), "http://127.0.0.1:81", "{args:?}");
        }
        let broken = run(&["user", "show", "1"], &[("GIMLET_LISTEN__TPC", "x")]);
        let Ok(ParsedCommand::Client(_, context)) = broken else {
            panic!("it is a command");
        };
        assert!(
            context
                .configured
                .unwrap_err()
                .contains("GIMLET_LISTEN__TPC")
        );
    }
}
