//! Loads the layers of the configuration: defaults, then the file, then the environment. Collects
//! the mistakes of each.

use std::path::Path;

use super::Config;
use super::nearest::nearest;
use super::problem::{ConfigError, ConfigNotice, ConfigProblem};
use super::repeated::ItemList;
use super::sections::{ConfigSetting, LISTS, all_settings};
use super::service_link;
use super::values::CodeVerifier;

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
                Some(FoundKey::Item(list, at)) if value.is_table() => {
                    if let Err(wrong) = list.reach(self, at) {
                        problems.push(ConfigProblem::Refused(wrong));
                    }
                }
                Some(found) => match plain(&value) {
                    Some(text) => self.apply(found, key.clone(), text, problems),
                    None => problems.push(ConfigProblem::BadValue {
                        value: if found.is_secret() {
                            "***".to_owned()
                        } else {
                            value.to_string()
                        },
                        key,
                        wanted: "write text, a number, true or false, or a list of text".into(),
                    }),
                },
                None => problems.push(
                    not_repeated(&key).unwrap_or_else(|| unknown(&key, &key, ToOwned::to_owned)),
                ),
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
                Some(found) => self.apply(found, name, value, problems),
                None => problems.push(unknown(&name, &key, env_name)),
            }
        }
        count
    }

    fn apply(
        &mut self,
        found: FoundKey<'_>,
        key: String,
        value: String,
        problems: &mut Vec<ConfigProblem>,
    ) {
        if let Err(wanted) = found.set(self, &value) {
            let value = if found.is_secret() {
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

/// The meaning of a known key.
#[derive(Clone, Copy)]
enum FoundKey<'k> {
    /// A setting.
    Single(&'static ConfigSetting),
    /// An item of a repeated section, itself.
    Item(&'static dyn ItemList<Config>, usize),
    /// A setting of an item.
    OfItem(&'static dyn ItemList<Config>, usize, &'k str),
}

impl FoundKey<'_> {
    fn is_secret(self) -> bool {
        match self {
            Self::Single(setting) => setting.is_secret(),
            Self::Item(..) => false,
            Self::OfItem(list, _, field) => list.is_secret(field),
        }
    }

    fn set(self, config: &mut Config, text: &str) -> Result<(), String> {
        match self {
            Self::Single(setting) => (setting.set)(config, text),
            Self::Item(list, _) => Err(format!("it is a section; set keys of [[{}]]", list.name())),
            Self::OfItem(list, at, field) => list.set(config, at, field, text),
        }
    }
}

fn find(key: &str) -> Option<FoundKey<'_>> {
    if let Some(setting) = all_settings().find(|setting| setting.key == key) {
        return Some(FoundKey::Single(setting));
    }
    let (list, rest) = list_of(key)?;
    let (number, field) = rest.split_once('.').unwrap_or((rest, ""));
    let at = number.parse().ok()?;
    if field.is_empty() {
        return Some(FoundKey::Item(list, at));
    }
    list.has(field).then_some(FoundKey::OfItem(list, at, field))
}

/// Returns the repeated section that a key belongs to, and the rest of the key.
fn list_of(key: &str) -> Option<(&'static dyn ItemList<Config>, &str)> {
    let mut lists = LISTS.iter();
    lists.find_map(|list| {
        let rest = key.strip_prefix(list.name())?.strip_prefix('.')?;
        Some((*list, rest))
    })
}

/// Returns the mistake of a file that writes a repeated section as a single one.
fn not_repeated(key: &str) -> Option<ConfigProblem> {
    let (list, rest) = list_of(key)?;
    let first = rest.split('.').next().unwrap_or_default();
    let (name, is_number) = (list.name(), first.parse::<usize>().is_ok());
    (!is_number).then(|| {
        ConfigProblem::Refused(format!(
            "{key}: [{name}] is a section that may occur several times; write [[{name}]]"
        ))
    })
}

/// Returns a key's name in the environment.
pub(crate) fn env_name(key: &str) -> String {
    format!(
        "{ENV_PREFIX}{}",
        key.replace('.', "__").to_ascii_uppercase()
    )
}

fn unknown(written: &str, key: &str, spell: impl Fn(&str) -> String) -> ConfigProblem {
    let mut keys: Vec<_> = all_settings().map(|it| it.key.to_owned()).collect();
    for list in LISTS {
        let at = list_of(key).and_then(|(_, rest)| rest.split('.').next()?.parse::<usize>().ok());
        let (name, at) = (list.name(), at.unwrap_or_default());
        let fields = list.settings().into_iter();
        keys.extend(fields.map(|field| format!("{name}.{at}.{}", field.name)));
    }
    ConfigProblem::UnknownKey {
        key: written.to_owned(),
        meant: nearest(key, keys.iter().map(String::as_str)).map(spell),
    }
}

/// Flattens `[a] b = 1` to `a.b`, and `d = 1` in the first `[[c]]`, a repeated section, to `c.0.d`.
fn flatten(table: &toml::Table) -> Vec<(String, toml::Value)> {
    let mut all = Vec::new();
    flatten_into(&mut all, "", table);
    all
}

fn flatten_into(all: &mut Vec<(String, toml::Value)>, prefix: &str, table: &toml::Table) {
    for (key, value) in table {
        let name = format!("{prefix}{key}");
        match value {
            toml::Value::Table(inner) => flatten_into(all, &format!("{name}."), inner),
            toml::Value::Array(items) if LISTS.iter().any(|list| list.name() == name) => {
                for (at, item) in items.iter().enumerate() {
                    let name = format!("{name}.{at}");
                    match item {
                        toml::Value::Table(inner) => {
                            // The item itself: it counts even if it sets nothing.
                            all.push((name.clone(), toml::Value::Table(toml::Table::new())));
                            flatten_into(all, &format!("{name}."), inner);
                        }
                        other => all.push((name, other.clone())),
                    }
                }
            }
            other => all.push((name, other.clone())),
        }
    }
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
