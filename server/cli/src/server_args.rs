//! Arguments that all commands have: the server, the key, and the form of the output.

use std::path::{Path, PathBuf};

/// The server that a command calls, and the form of its output.
#[derive(Clone, Default, clap::Args)]
pub struct ServerArgs {
    /// Address of the server's HTTP API [env: `GIMLET_URL`] [default: the running server of the
    /// configuration, or its `listen.http`].
    #[arg(long, value_name = "URL", global = true)]
    pub(crate) url: Option<String>,
    /// API key. Other users of this machine can read it in the list of processes: prefer
    /// `GIMLET_API_KEY` or --api-key-file.
    #[arg(long, value_name = "KEY", global = true)]
    pub(crate) api_key: Option<String>,
    /// File with the API key [default: the environment's `GIMLET_API_KEY`, else a key of the running
    /// server of the configuration, or of its `http.api_keys`].
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) api_key_file: Option<PathBuf>,
    /// File with the certificate of an authority to trust besides the public ones (PEM).
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) ca: Option<PathBuf>,
    /// Configuration file (TOML) of the server.
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,
    /// Prints one line of JSON, for scripts.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

impl ServerArgs {
    /// Returns the configuration file, if one is named.
    #[must_use]
    pub fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// Returns whether the output is JSON.
    #[must_use]
    pub const fn json(&self) -> bool {
        self.json
    }
}

impl std::fmt::Debug for ServerArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the key.
        f.debug_struct("ServerArgs")
            .field("url", &self.url)
            .field("json", &self.json)
            .finish_non_exhaustive()
    }
}
