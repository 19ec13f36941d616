//! Commands for operators: `gimlet key`, `user`, `token`, `webhook` and `send`, `gimlet top`, and
//! completions of the shell.
//!
//! A command is a call of the HTTP API of a running server, so it needs an API key and is refused
//! with the server's own words. `args` has the command line, `target` decides which server is
//! called and with which key, `client` calls it, and one module for each group of commands makes the
//! calls and the tables for people. With `--json` the answer of the API is printed instead.
//!
//! `gimlet key` works without a server too, since a new installation has no key to call one with:
//! `stored_keys` does the same on the storage itself.
//!
//! `gimlet top` reads the ops listeners of nodes instead, which need no key.
//!
//! The crate opens no listener and reads no configuration: the binary passes on the parts that the
//! commands need.

mod api_keys;
mod args;
mod client;
mod completion;
mod error;
mod import;
mod keys;
mod output;
mod run;
mod send;
mod server_args;
mod stored_keys;
mod table;
mod target;
mod tokens;
mod top;
mod users;
mod webhooks;

pub use args::ClientCommand;
pub use completion::{CompletionArgs, completion};
pub use error::{CommandError, EXIT_REFUSED, EXIT_UNREACHABLE, EXIT_USAGE, ServerRefusal};
#[cfg(feature = "chat")]
pub use gimlet_chat as chat;
#[cfg(feature = "import")]
pub use gimlet_import as gim_import;
pub use output::CommandOutput;
pub use run::{ClientContext, run};
pub use server_args::ServerArgs;
pub use stored_keys::{KeyStorage, KeyStorageError, OpenedKeys, OpeningKeys};
pub use target::{ClientEnvironment, ConfiguredServer};
pub use top::{TopArgs, run_top};
