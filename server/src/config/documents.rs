//! Writes the documents about the settings from their declaration: the template of the file, the
//! tables of docs/configuration.md, and the effective values.
//!
//! In a doc comment, a page is named by its path in backticks (`docs/tls.md`, with `#anchor` if
//! needed): the template keeps the path, and the page gets a link.

use std::fmt::Write as _;

use super::Config;
use super::load::env_name;
use super::repeated::ItemList;
use super::sections::{GROUPS, LISTS, all_settings};
use super::setting::{SettingGroup, joined};

/// The beginning of the template.
const TEMPLATE_HEAD: &str = "\
# gimlet's configuration: every key, with its default.
#
# Set business.code_verifier before the first start: \"dev\" to try gimlet on this machine, or your own
# checker. The other keys may stay as they are.
#
# Three layers: these defaults < this file (gimlet serve --config FILE) < the environment, where
# [listen] tcp is GIMLET_LISTEN__TCP and data_dir is GIMLET_DATA_DIR. An unknown key is refused.
# `gimlet check-config --config FILE` prints the effective values.
# Durations are written 500ms, 10s, 11m, 2h, 7d; sizes 512B, 60KiB, 256MiB, 4GiB.
";

/// The first line of the part of docs/configuration.md that is generated.
pub const TABLES_START: &str = "## General\n";

/// The head of a table of settings.
const TABLE_HEAD: &str = "\n| key | environment | default | meaning |\n|---|---|---|---|\n";

/// Columns of a comment in the template, without the `# ` before it.
const COMMENT_COLUMNS: usize = 98;

/// Columns of a paragraph of the page.
const PAGE_COLUMNS: usize = 110;

/// Returns a configuration file with every key at its default, and its meaning as a comment: the
/// output of `gimlet config default`.
#[must_use]
pub fn template() -> String {
    let defaults = Config::default();
    let mut text = TEMPLATE_HEAD.to_owned();
    let mut open = None;
    for group in GROUPS {
        let section = group.section();
        if open != Some(section) {
            open = Some(section);
            text.push('\n');
            if !section.is_empty() {
                let _ = writeln!(text, "[{section}]");
            }
            for paragraph in group.introduction() {
                wrap(&mut text, &paragraph, "# ", COMMENT_COLUMNS);
                text.push('\n');
            }
        }
        for setting in group.settings {
            let (_, name) = setting.split();
            wrap(&mut text, &setting.meaning(), "# ", COMMENT_COLUMNS);
            let value = file_value((setting.get)(&defaults), setting.is_bare());
            let _ = writeln!(text, "{name} = {value}");
        }
    }
    for list in LISTS {
        put_item_template(&mut text, *list);
    }
    text
}

/// Writes the template of an item as a comment: a file without such a section has no item.
fn put_item_template(text: &mut String, list: &dyn ItemList<Config>) {
    text.push('\n');
    for paragraph in introduction(list.doc()) {
        wrap(text, &paragraph, "# ", COMMENT_COLUMNS);
    }
    let _ = writeln!(text, "#\n#[[{}]]", list.name());
    for setting in list.settings() {
        wrap(text, &setting.meaning, "# ", COMMENT_COLUMNS);
        let value = file_value(setting.default, setting.is_bare);
        let _ = writeln!(text, "#{} = {value}", setting.name);
    }
}

/// Returns a value as a file writes it.
fn file_value(value: String, is_bare: bool) -> String {
    if is_bare {
        value
    } else {
        toml::Value::String(value).to_string()
    }
}

/// Returns the sections of docs/configuration.md, from [`TABLES_START`] to its end.
#[must_use]
pub fn page_tables() -> String {
    let defaults = Config::default();
    let mut text = String::new();
    let mut open = None;
    for group in GROUPS {
        let section = group.section();
        if open != Some(section) {
            match open {
                None => text.push_str(TABLES_START),
                Some(_) => {
                    let _ = writeln!(text, "\n## [{section}]");
                }
            }
            open = Some(section);
            for paragraph in group.introduction() {
                text.push('\n');
                wrap(&mut text, &with_links(&paragraph), "", PAGE_COLUMNS);
            }
            text.push_str(TABLE_HEAD);
        }
        for setting in group.settings {
            let (_, name) = setting.split();
            let default = (setting.get)(&defaults);
            put_row(&mut text, name, setting.key, &default, &setting.meaning());
        }
    }
    for list in LISTS {
        let section = list.name();
        let _ = writeln!(text, "\n## [[{section}]]");
        for paragraph in introduction(list.doc()) {
            text.push('\n');
            wrap(&mut text, &with_links(&paragraph), "", PAGE_COLUMNS);
        }
        text.push_str(TABLE_HEAD);
        for setting in list.settings() {
            let key = format!("{section}.0.{}", setting.name);
            let (default, meaning) = (&setting.default, &setting.meaning);
            put_row(&mut text, setting.name, &key, default, meaning);
        }
    }
    text
}

/// Writes the row of a setting.
fn put_row(text: &mut String, name: &str, key: &str, default: &str, meaning: &str) {
    let default = if default.is_empty() {
        "none".to_owned()
    } else {
        format!("`{default}`")
    };
    let _ = writeln!(
        text,
        "| `{name}` | `{}` | {default} | {} |",
        env_name(key),
        with_links(meaning)
    );
}

impl Config {
    /// Returns the keys whose values differ in another configuration.
    #[must_use]
    pub fn changed(&self, other: &Self) -> Vec<&'static str> {
        let single = all_settings().filter(|setting| !(setting.same)(self, other));
        let lists = LISTS.iter().filter(|list| !list.same(self, other));
        single
            .map(|setting| setting.key)
            .chain(lists.map(|list| list.name()))
            .collect()
    }

    /// Returns the effective values as TOML, secrets masked: `gimlet check-config`.
    #[must_use]
    pub fn masked(&self) -> String {
        let mut text = String::new();
        let mut open = "";
        for setting in all_settings() {
            let (section, name) = setting.split();
            if section != open {
                let _ = write!(text, "\n[{section}]\n");
                open = section;
            }
            let value = (setting.get)(self);
            let _ = writeln!(text, "{name} = {}", toml::Value::String(value));
        }
        for list in LISTS {
            for item in list.values(self) {
                let _ = write!(text, "\n[[{}]]\n", list.name());
                for (name, value) in item {
                    let _ = writeln!(text, "{name} = {}", toml::Value::String(value));
                }
            }
        }
        text
    }
}

impl<C: 'static> SettingGroup<C> {
    /// Returns the section of these settings.
    fn section(&self) -> &'static str {
        self.settings.first().map_or("", |first| first.split().0)
    }

    /// Returns the text that introduces them.
    fn introduction(&self) -> impl Iterator<Item = String> {
        introduction(self.doc)
    }
}

/// Returns the paragraphs of a doc comment after the first, which names the struct.
fn introduction(doc: &'static str) -> impl Iterator<Item = String> {
    doc.split("\n\n").skip(1).map(joined)
}

/// Writes a text in lines of at most this many columns, each after `start`. Lines do not break within
/// backticks.
fn wrap(text: &mut String, paragraph: &str, start: &str, columns: usize) {
    let mut line = String::new();
    let mut is_code = false;
    let words = paragraph.split(|letter| {
        is_code ^= letter == '`';
        letter == ' ' && !is_code
    });
    for word in words {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > columns {
            let _ = writeln!(text, "{start}{line}");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    let _ = writeln!(text, "{start}{line}");
}

/// Replaces each page that is named in backticks by a link, as it is written in a page of docs/.
fn with_links(text: &str) -> String {
    let parts = text.split('`').enumerate().map(|(at, part)| {
        if at % 2 == 0 {
            return part.to_owned();
        }
        let page = part
            .strip_prefix("docs/")
            .filter(|page| page.contains(".md"));
        page.map_or_else(|| format!("`{part}`"), link)
    });
    parts.collect()
}

fn link(page: &str) -> String {
    match page.split_once('#') {
        Some(("configuration.md", anchor)) => {
            format!("[{}](#{anchor})", anchor.replace('-', " "))
        }
        Some((file, _)) => format!("[{file}]({page})"),
        None => format!("[{page}]({page})"),
    }
}

#[cfg(test)]
mod tests;
