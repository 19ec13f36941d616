//! Loads the layers of the configuration: defaults, then the file, then the environment. Collects
//! the mistakes of each.

use std::path::Path;

use super::Config;
use super::nearest::nearest;
use super::problem::{ConfigError, ConfigNotice, ConfigProblem};
use super::sections::CodeVerifier;
use super::service_link;
use super::table::{ConfigKey, SETTINGS};

/// Prefix of the keys in the environment.
const ENV_PREFIX: &str = "GIMLET_";
/// Prefix of the tests' own variables, which are never configuration.
const TEST_ENV_PREFIX: &str = "GIMLET_TEST_";

impl Config {
    /// Reads all layers and checks the result; also returns the notices for the operator.
    pub fn load(
        file: Option<&Path>,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(Self, Vec<ConfigNotice>), ConfigError> {
        let config = Self::read(file, env)?;
        let notices = config.check()?;
        Ok((config, notices))
    }

    /// Reads all layers, without the checks that a server needs.
    pub fn read(
        file: Option<&Path>,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        let mut problems = Vec::new();
        if let Some(path) = file {
            read_file(&mut config, path, &mut problems);
        }
        let from_env = config.apply_env(env, &mut problems);
        // A development run must be chosen: by no configuration at all, or by its name.
        if file.is_none() && from_env == 0 {
            config.business.code_verifier = CodeVerifier::Development;
        }
        if !problems.is_empty() {
            return Err(ConfigError(problems));
        }
        Ok(config)
    }

    /// Applies the text of a configuration file.
    pub fn apply_toml(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        let mut problems = Vec::new();
        match text.parse::<toml::Table>() {
            Ok(table) => self.apply_table(&table, &mut problems),
            Err(error) => problems.push(ConfigProblem::NotToml {
                path: path.to_owned(),
                // The line itself is left out, because it may contain a secret.
                reason: match error.span().and_then(|at| text.get(..at.start)) {
                    Some(before) => {
                        format!(
                            "line {}: {}",
                            before.matches('\n').count() + 1,
                            error.message()
                        )
                    }
                    None => error.message().to_owned(),
                },
            }),
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(ConfigError(problems))
        }
    }

    fn apply_table(&mut self, table: &toml::Table, problems: &mut Vec<ConfigProblem>) {
        for (key, value) in flatten(table) {
            match find(&key) {
                Some(setting) => match plain(&value) {
                    Some(text) => self.apply(setting, key, text, problems),
                    None => problems.push(ConfigProblem::BadValue {
                        key,
                        value: if setting.secret {
                            "***".to_owned()
                        } else {
                            value.to_string()
                        },
                        wanted: "write text, a number, true or false, or a list of text".into(),
                    }),
                },
                None => problems.push(unknown(&key, &key, ToOwned::to_owned)),
            }
        }
    }

    /// Applies the environment; returns the number of its variables that are configuration.
    fn apply_env(
        &mut self,
        env: impl IntoIterator<Item = (String, String)>,
        problems: &mut Vec<ConfigProblem>,
    ) -> usize {
        let mut ours: Vec<_> = env
            .into_iter()
            .filter(|(name, _)| name.starts_with(ENV_PREFIX) && !name.starts_with(TEST_ENV_PREFIX))
            .collect();
        ours.sort();
        // A service of this name beside the process is not configuration.
        ours.retain(|(name, value)| {
            let link = service_link::is_one(name, value);
            self.service_links |= link;
            !link
        });
        let count = ours.len();
        for (name, value) in ours {
            // Once: `GIMLET_GIMLET_LOG__LEVEL` is not the name of `log.level`.
            let key = name.strip_prefix(ENV_PREFIX).unwrap_or(&name);
            let key = key.replace("__", ".").to_ascii_lowercase();
            match find(&key) {
                Some(setting) => self.apply(setting, name, value, problems),
                None => problems.push(unknown(&name, &key, env_name)),
            }
        }
        count
    }

    fn apply(
        &mut self,
        setting: &ConfigKey,
        key: String,
        value: String,
        problems: &mut Vec<ConfigProblem>,
    ) {
        if let Err(wanted) = (setting.set)(self, &value) {
            let value = if setting.secret {
                "***".to_owned()
            } else {
                value
            };
            problems.push(ConfigProblem::BadValue { key, value, wanted });
        }
    }
}

fn read_file(config: &mut Config, path: &Path, problems: &mut Vec<ConfigProblem>) {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            // Some editors begin a file with a byte order mark.
            let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
            if let Err(ConfigError(found)) = config.apply_toml(path, text) {
                problems.extend(found);
            }
        }
        Err(error) => problems.push(ConfigProblem::Unreadable {
            path: path.to_owned(),
            reason: error.to_string(),
        }),
    }
}

fn find(key: &str) -> Option<&'static ConfigKey> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

/// Returns a key's name in the environment.
pub(crate) fn env_name(key: &str) -> String {
    format!(
        "{ENV_PREFIX}{}",
        key.replace('.', "__").to_ascii_uppercase()
    )
}

fn unknown(written: &str, key: &str, spell: impl Fn(&str) -> String) -> ConfigProblem {
    let keys = SETTINGS.iter().map(|setting| setting.key);
    ConfigProblem::UnknownKey {
        key: written.to_owned(),
        meant: nearest(key, keys).map(spell),
    }
}

/// Flattens `[a] b = 1` to `a.b`.
fn flatten(table: &toml::Table) -> Vec<(String, toml::Value)> {
    let mut all = Vec::new();
    for (key, value) in table {
        match value {
            toml::Value::Table(inner) if inner.is_empty() => {}
            toml::Value::Table(inner) => all.extend(
                flatten(inner)
                    .into_iter()
                    .map(|(name, value)| (format!("{key}.{name}"), value)),
            ),
            other => all.push((key.clone(), other.clone())),
        }
    }
    all
}

/// Returns a value as the text that it would be in the environment.
fn plain(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(switch) => Some(switch.to_string()),
        toml::Value::Array(items) => {
            let texts: Option<Vec<_>> = items.iter().map(plain).collect();
            texts.map(|texts| texts.join(","))
        }
        toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}

#[cfg(test)]
mod tests;
