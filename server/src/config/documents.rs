//! Writes the documents about the settings from their declaration: the template of the file, the
//! tables of docs/configuration.md, and the effective values.
//!
//! In a doc comment, a page is named by its path in backticks (`docs/tls.md`, with `#anchor` if
//! needed): the template keeps the path, and the page gets a link.

use std::fmt::Write as _;

use super::Config;
use super::load::env_name;
use super::sections::{GROUPS, all_settings};
use super::setting::{ConfigKey, SettingGroup};

/// The beginning of the template.
const TEMPLATE_HEAD: &str = "\
# gimlet's configuration: every key, with its default.
#
# Three layers: these defaults < this file (gimlet serve --config FILE) < the environment, where
# [listen] tcp is GIMLET_LISTEN__TCP and data_dir is GIMLET_DATA_DIR. An unknown key is refused.
# `gimlet check-config --config FILE` prints the effective values.
# Durations are written 500ms, 10s, 11m, 2h, 7d; sizes 512B, 60KiB, 256MiB, 4GiB.
";

/// The first line of the part of docs/configuration.md that is generated.
pub const TABLES_START: &str = "## General\n";

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
            let value = (setting.get)(&defaults);
            let value = match setting.codec {
                "number" | "switch" => value,
                _ => toml::Value::String(value).to_string(),
            };
            let _ = writeln!(text, "{name} = {value}");
        }
    }
    text
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
            text.push_str("\n| key | environment | default | meaning |\n|---|---|---|---|\n");
        }
        for setting in group.settings {
            let (_, name) = setting.split();
            let default = (setting.get)(&defaults);
            let default = if default.is_empty() {
                "none".to_owned()
            } else {
                format!("`{default}`")
            };
            let _ = writeln!(
                text,
                "| `{name}` | `{}` | {default} | {} |",
                env_name(setting.key),
                with_links(&setting.meaning())
            );
        }
    }
    text
}

impl Config {
    /// Returns the keys whose values differ in another configuration.
    #[must_use]
    pub fn changed(&self, other: &Self) -> Vec<&'static str> {
        all_settings()
            .filter(|setting| !(setting.same)(self, other))
            .map(|setting| setting.key)
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
        text
    }
}

impl<C: 'static> SettingGroup<C> {
    /// Returns the section of these settings.
    fn section(&self) -> &'static str {
        self.settings.first().map_or("", |first| first.split().0)
    }

    /// Returns the paragraphs of the doc comment after the first, which names the struct.
    fn introduction(&self) -> impl Iterator<Item = String> {
        self.doc.split("\n\n").skip(1).map(joined)
    }
}

impl<C> ConfigKey<C> {
    /// Returns the meaning of the setting as one line: its doc comment and the range of its values.
    fn meaning(&self) -> String {
        let mut text = joined(self.doc);
        let Some(bound) = self.bound else {
            return text;
        };
        if bound.max < u64::MAX {
            let _ = write!(
                text,
                " From {} to {}.",
                self.show(bound.min),
                self.show(bound.max)
            );
        } else if self.codec == "duration" {
            text.push_str(" Not zero.");
        } else {
            let _ = write!(text, " At least {}.", self.show(bound.min));
        }
        text
    }
}

/// Joins the lines of a doc comment.
fn joined(doc: &str) -> String {
    let words: Vec<_> = doc.split_whitespace().collect();
    words.join(" ")
}

/// Writes a text in lines of at most so many columns, each after `start`. Lines do not break within
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
