//! The server that a command calls, and its key: from the command line, the environment, or the
//! configuration.

use std::io::Read as _;
use std::path::Path;

use http::HeaderValue;
use url::Url;

use crate::error::CommandError;
use crate::server_args::ServerArgs;

/// Largest file of an API key, in bytes.
const KEY_FILE_MAX_BYTES: u64 = 4_096;
/// Name of the variable with the address.
const URL_VARIABLE: &str = "GIMLET_URL";
/// Name of the variable with the key.
const KEY_VARIABLE: &str = "GIMLET_API_KEY";

/// Variables of the environment that the commands read.
#[derive(Clone, Default)]
pub struct ClientEnvironment {
    url: Option<String>,
    api_key: Option<String>,
}

impl ClientEnvironment {
    /// Names of the variables. They are not settings of the server.
    pub const NAMES: [&str; 2] = [URL_VARIABLE, KEY_VARIABLE];

    /// Takes the variables from an environment. An empty one is unset.
    pub fn read<'a>(env: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut found = Self::default();
        for (name, value) in env {
            let field = match name {
                URL_VARIABLE => &mut found.url,
                KEY_VARIABLE => &mut found.api_key,
                _ => continue,
            };
            *field = Some(value.to_owned()).filter(|it| !it.is_empty());
        }
        found
    }
}

impl std::fmt::Debug for ClientEnvironment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ClientEnvironment({:?})", self.url)
    }
}

/// The server of a configuration.
#[derive(Clone, Default)]
pub struct ConfiguredServer {
    /// Address of its HTTP API; `None` if it opens none, or on a port of the system's choice.
    pub url: Option<String>,
    /// One of its static API keys.
    pub api_key: Option<String>,
}

impl std::fmt::Debug for ConfiguredServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ConfiguredServer({:?})", self.url)
    }
}

/// The server to call.
#[derive(Debug)]
pub(crate) struct ServerTarget {
    /// Address of its HTTP API.
    pub(crate) url: Url,
    /// Header with the key.
    pub(crate) authorization: HeaderValue,
}

impl ServerTarget {
    /// Decides which server is called. `configured` is the server of the configuration, or the
    /// reason that the configuration cannot be read; it is needed only for what is not given.
    pub(crate) fn of(
        args: &ServerArgs,
        env: &ClientEnvironment,
        configured: Result<&ConfiguredServer, &str>,
    ) -> Result<Self, CommandError> {
        let usage = |text: &str| CommandError::Usage(text.to_owned());
        let given_url = args.url.clone().or_else(|| env.url.clone());
        let is_configured = given_url.is_none();
        let url = match given_url {
            Some(url) => url,
            None => configured.map_err(usage)?.url.clone().ok_or_else(|| {
                usage(
                    "the configuration has no fixed address in listen.http: give --url or GIMLET_URL",
                )
            })?,
        };
        let key = match given_key(args, env)? {
            Some(key) => key,
            // A key of the configuration is for the server of the configuration, and for no other.
            None if is_configured => configured
                .map_err(usage)?
                .api_key
                .clone()
                .ok_or_else(no_key)?,
            None => return Err(no_key()),
        };
        Ok(Self {
            url: parsed(&url, "http://127.0.0.1:8085")?,
            authorization: bearer(&key)?,
        })
    }
}

/// Returns whether the command line or the environment names a server or a key.
pub(crate) fn is_given(args: &ServerArgs, env: &ClientEnvironment) -> bool {
    let is_url = args.url.is_some() || env.url.is_some();
    is_url || args.api_key.is_some() || args.api_key_file.is_some() || env.api_key.is_some()
}

fn given_key(args: &ServerArgs, env: &ClientEnvironment) -> Result<Option<String>, CommandError> {
    match (&args.api_key, &args.api_key_file) {
        (Some(_), Some(_)) => Err(CommandError::Usage(
            "--api-key and --api-key-file are both given: give one of them".into(),
        )),
        (Some(key), None) => Ok(Some(key.clone())),
        (None, Some(file)) => key_of_file(file).map(Some),
        (None, None) => Ok(env.api_key.clone()),
    }
}

fn key_of_file(path: &Path) -> Result<String, CommandError> {
    let shown = path.display();
    let usage = |text: String| CommandError::Usage(format!("--api-key-file {shown}: {text}"));
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(KEY_FILE_MAX_BYTES).read_to_string(&mut text))
        .map_err(|error| usage(error.to_string()))?;
    let key = text.trim();
    if key.is_empty() {
        return Err(usage("the file is empty: write the API key into it".into()));
    }
    Ok(key.to_owned())
}

fn no_key() -> CommandError {
    CommandError::Usage(
        "no API key is given: set GIMLET_API_KEY, or give --api-key-file FILE; beside a running server \
         with an embedded storage, use its configuration and its user instead"
            .into(),
    )
}

/// Reads the address of a server. `example` is one that would be right.
pub(crate) fn parsed(text: &str, example: &str) -> Result<Url, CommandError> {
    let wrong = || {
        CommandError::Usage(format!(
            "{text:?} is not the address of a server: write one such as {example}"
        ))
    };
    let url = Url::parse(text.trim()).map_err(|_| wrong())?;
    let is_http = matches!(url.scheme(), "http" | "https");
    let is_bare = url.username().is_empty() && url.password().is_none();
    if !is_http || !is_bare || url.query().is_some() || url.fragment().is_some() {
        return Err(wrong());
    }
    Ok(url)
}

fn bearer(key: &str) -> Result<HeaderValue, CommandError> {
    let is_visible = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
    let value = HeaderValue::from_str(&format!("Bearer {key}"));
    let Some(mut value) = value.ok().filter(|_| is_visible) else {
        return Err(CommandError::Usage(
            "the API key is not of visible ASCII characters: check how it was copied".into(),
        ));
    };
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured() -> ConfiguredServer {
        ConfiguredServer {
            url: Some("http://127.0.0.1:8085".into()),
            api_key: Some("of-the-configuration".into()),
        }
    }

    fn decide(args: &ServerArgs, env: &[(&str, &str)]) -> Result<(String, String), String> {
        let env = ClientEnvironment::read(env.iter().copied());
        let target = ServerTarget::of(args, &env, Ok(&configured()));
        let target = target.map_err(|error| error.to_string())?;
        let key = target.authorization.to_str().unwrap().to_owned();
        Ok((target.url.to_string(), key))
    }

    fn pair(url: &str, key: &str) -> (String, String) {
        (url.to_owned(), format!("Bearer {key}"))
    }

    #[test]
    fn the_command_line_wins_over_the_environment_and_that_over_the_configuration() {
        let env = [("GIMLET_URL", "https://a"), ("GIMLET_API_KEY", "of-env")];
        let args = ServerArgs {
            url: Some("https://b/im/".into()),
            api_key: Some("of-args".into()),
            ..ServerArgs::default()
        };
        assert_eq!(decide(&args, &env), Ok(pair("https://b/im/", "of-args")));
        let none = ServerArgs::default();
        assert_eq!(decide(&none, &env), Ok(pair("https://a/", "of-env")));
        let own = pair("http://127.0.0.1:8085/", "of-the-configuration");
        assert_eq!(decide(&none, &[("GIMLET_URL", "")]), Ok(own));
    }

    #[test]
    fn the_configurations_key_goes_to_no_other_server() {
        let error = decide(&ServerArgs::default(), &[("GIMLET_URL", "https://a")]).unwrap_err();
        assert!(
            error.starts_with("no API key is given: set GIMLET_API_KEY"),
            "{error}"
        );
    }

    #[test]
    fn a_broken_configuration_matters_only_where_it_is_needed() {
        let args = ServerArgs {
            url: Some("https://a".into()),
            ..ServerArgs::default()
        };
        let env = ClientEnvironment::read([("GIMLET_API_KEY", "key")]);
        assert!(ServerTarget::of(&args, &env, Err("broken")).is_ok());
        let error = ServerTarget::of(&ServerArgs::default(), &env, Err("broken")).unwrap_err();
        assert_eq!(error, CommandError::Usage("broken".into()));
    }

    #[test]
    fn a_key_is_read_from_a_file_and_never_printed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        let args = ServerArgs {
            api_key_file: Some(file.clone()),
            ..ServerArgs::default()
        };
        let missing = decide(&args, &[]).unwrap_err();
        assert!(missing.starts_with("--api-key-file "), "{missing}");
        for (content, part) in [
            ("\n", "is empty"),
            ("two words", "visible ASCII"),
            ("ключ", "ASCII"),
        ] {
            std::fs::write(&file, content).unwrap();
            let error = decide(&args, &[]).unwrap_err();
            assert!(error.contains(part) && !error.contains("words"), "{error}");
        }
        std::fs::write(&file, "s3cret\n").unwrap();
        assert_eq!(decide(&args, &[]).unwrap().1, "Bearer s3cret");
        let both = ServerArgs {
            api_key: Some("s3cret".into()),
            ..args
        };
        assert!(decide(&both, &[]).unwrap_err().contains("both given"));
        let env = ClientEnvironment::read([("GIMLET_API_KEY", "s3cret")]);
        let target = ServerTarget::of(&ServerArgs::default(), &env, Ok(&configured())).unwrap();
        let shown = format!("{both:?} {env:?} {:?} {target:?}", configured());
        assert!(
            !shown.contains("s3cret") && !shown.contains("of-the"),
            "{shown}"
        );
    }

    #[test]
    fn an_address_that_is_not_one_of_a_server_is_refused() {
        for url in [
            "",
            "127.0.0.1:8085",
            "ftp://a",
            "https://a:b@c",
            "https://a/?q=1",
        ] {
            let args = ServerArgs {
                url: Some(url.into()),
                api_key: Some("key".into()),
                ..ServerArgs::default()
            };
            let error = decide(&args, &[]).unwrap_err();
            assert!(
                error.contains("is not the address of a server"),
                "{url}: {error}"
            );
        }
    }
}
