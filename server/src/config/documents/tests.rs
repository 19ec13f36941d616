//! The documents agree with the declaration, and the bounds that they name are kept.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::super::sections::{ConfigSetting, LISTS, all_settings};
use super::*;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(path).unwrap()
}

/// Fails with the first line that differs.
#[cfg(all(feature = "sled", feature = "ws"))]
fn assert_same(name: &str, written: &str, declared: &str) {
    let mut lines = written.lines().zip(declared.lines()).enumerate();
    let differs = lines.find(|(_, (written, declared))| written != declared);
    let remedy = "write it anew with `cargo run -p gimlet-server --example settings`";
    if let Some((at, (written, declared))) = differs {
        panic!(
            "line {} of {name} is\n  {written}\nand the declaration of the settings says\n  {declared}\n{remedy}",
            at + 1
        );
    }
    assert_eq!(
        written.lines().count(),
        declared.lines().count(),
        "{name} is longer or shorter than the declaration of the settings; {remedy}"
    );
}

#[cfg(all(feature = "sled", feature = "ws"))]
#[test]
fn the_template_and_the_page_are_what_the_declaration_says() {
    assert_same("server/gimlet.toml", &read("gimlet.toml"), &template());
    let page = read("../docs/configuration.md");
    let (_, tables) = page.split_once(TABLES_START).unwrap();
    assert_same(
        "docs/configuration.md, from General on,",
        &format!("{TABLES_START}{tables}"),
        &page_tables(),
    );
}

#[test]
fn every_key_is_unique_and_its_doc_is_a_sentence() {
    let mut keys = BTreeSet::new();
    for setting in all_settings() {
        let key = setting.key;
        assert!(keys.insert(key), "{key} is declared twice");
        let doc = joined(setting.doc);
        assert!(doc.ends_with('.'), "the doc of {key} is not a sentence");
        assert!(
            !doc.contains(['|', '[']),
            "the doc of {key} would break its table"
        );
    }
    assert!(keys.len() > 90, "{}", keys.len());
}

#[test]
fn the_docs_of_repeated_sections_are_sentences_too() {
    let mut settings = 0;
    for list in LISTS {
        for setting in list.settings() {
            let (name, doc) = (setting.name, setting.meaning);
            settings += 1;
            assert!(doc.ends_with('.'), "the doc of {name} is not a sentence");
            assert!(!doc.contains(['|', '[']), "{name} would break its table");
        }
        let title = format!("#[[{}]]", list.name());
        assert!(template().contains(&title), "{title}");
    }
    assert!(settings >= 10, "{settings}");
}

#[test]
fn a_value_just_outside_its_bound_is_refused_with_the_key() {
    let mut bounded = 0;
    for setting in all_settings() {
        let Some(bound) = setting.bound else { continue };
        bounded += 1;
        let refusal = |number: u64| {
            let mut config = Config::default();
            let text = setting.show(number);
            (setting.set)(&mut config, &text).unwrap();
            assert_eq!(setting.measure(&config), Some(number), "{}", setting.key);
            setting.refusal(&config)
        };
        let inside = [Some(bound.min), Some(bound.max).filter(|it| *it < u64::MAX)];
        for number in inside.into_iter().flatten() {
            assert_eq!(refusal(number), None, "{} = {number}", setting.key);
        }
        let outside = [bound.min.checked_sub(1), bound.max.checked_add(1)];
        for number in outside.into_iter().flatten() {
            let text = refusal(number).unwrap_or_default();
            assert!(
                text.starts_with(setting.key),
                "{} = {number}: {text}",
                setting.key
            );
        }
        assert_eq!(setting.refusal(&Config::default()), None, "its default");
    }
    assert!(bounded > 20, "{bounded}");
}

#[test]
fn a_refusal_names_the_range_in_the_notation_of_the_key() {
    for (key, number, text) in [
        (
            "limits.content",
            61_441,
            "limits.content = 61441 is out of range; write 1 … 61440",
        ),
        (
            "limits.idle",
            0,
            "limits.idle may not be zero; leave it out for the default",
        ),
        (
            "limits.send_deadline",
            0,
            "limits.send_deadline may not be zero; leave it out for the default",
        ),
        ("rooms.age", 999, "rooms.age is out of range; write 1s … 1d"),
        (
            "rooms.messages",
            100_001,
            "rooms.messages = 100001 is out of range; write 0 … 100000",
        ),
        (
            "rooms.total_bytes",
            1,
            "rooms.total_bytes = 1 is too little for one page of a room; write 1MiB or more",
        ),
        (
            "storage.cache",
            64,
            "storage.cache = 64: it is a number of bytes; write at least \"1MiB\"",
        ),
        (
            "storage.mysql_connections",
            0,
            "storage.mysql_connections = 0; write at least 1",
        ),
    ] {
        let setting = all_settings().find(|it| it.key == key).unwrap();
        let mut config = Config::default();
        (setting.set)(&mut config, &setting.show(number)).unwrap();
        assert_eq!(setting.refusal(&config).as_deref(), Some(text));
    }
}

/// Writes a default as the table of limits in docs/operations.md does: `10,000`, `60 KiB`, `1.5 s`.
fn in_prose(setting: &ConfigSetting, value: u64) -> String {
    match setting.codec {
        "duration" => match Duration::from_millis(value) {
            it if value.is_multiple_of(86_400_000) => format!("{} days", it.as_secs() / 86_400),
            it if value.is_multiple_of(60_000) => format!("{} min", it.as_secs() / 60),
            it if value.is_multiple_of(1_000) => format!("{} s", it.as_secs()),
            it => format!("{}.{} s", it.as_secs(), it.subsec_millis() / 100),
        },
        "bytes" => {
            let text = setting.show(value);
            let unit = text.find(|it: char| !it.is_ascii_digit()).unwrap();
            format!("{} {}", &text[..unit], &text[unit..])
        }
        _ => {
            let digits = value.to_string();
            let groups = digits.as_bytes().rchunks(3).rev();
            let groups: Vec<_> = groups.map(String::from_utf8_lossy).collect();
            groups.join(",")
        }
    }
}

#[test]
fn the_table_of_limits_has_every_limit_and_its_default() {
    let page = read("../docs/operations.md");
    let (_, section) = page.split_once("\n## Limits\n").unwrap();
    let (section, _) = section.split_once("\n### ").unwrap();
    let mut listed = BTreeSet::new();
    for row in section.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<_> = row.trim_matches('|').split('|').collect();
        let (names, default) = (cells[1], cells[2]);
        for name in names.split('`').skip(1).step_by(2) {
            let is_it = |it: &&ConfigSetting| it.key == name || it.split().1 == name;
            let setting = all_settings().find(is_it);
            let setting = setting.unwrap_or_else(|| panic!("{name} of {row} is not a setting"));
            listed.insert(setting.key);
            let value = setting.measure(&Config::default());
            // Zero stands for a default that the row describes.
            if let Some(value) = value.filter(|value| *value > 0) {
                let written = in_prose(setting, value);
                assert!(default.contains(&written), "{name} is {written}: {row}");
            }
        }
    }
    for setting in all_settings().filter(|it| it.split().0 == "limits") {
        let key = setting.key;
        assert!(
            listed.contains(key),
            "docs/operations.md has no row for {key}"
        );
    }
}

#[test]
fn a_page_that_is_named_becomes_a_link() {
    let text = "See `docs/tls.md`, `docs/a.md#b`, `docs/configuration.md#a-development-run`, `x`.";
    assert_eq!(
        with_links(text),
        "See [tls.md](tls.md), [a.md](a.md#b), [a development run](#a-development-run), `x`."
    );
}
