//! The rules of the house that a compiler does not know.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a broken rule should panic"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Which of our crates a crate may depend on; a crate that is not here may depend on all.
const EDGES: &[(&str, &[&str])] = &[
    ("gimlet-core", &[]),
    ("gimlet-proto", &[]),
    ("gimlet-storage-sled", &["gimlet-core", "gimlet-proto"]),
    ("gimlet-storage-mysql", &["gimlet-core"]),
    ("gimlet-transport", &["gimlet-core", "gimlet-proto"]),
    ("gimlet-transport-tcp", &["gimlet-transport"]),
    ("gimlet-transport-ws", &["gimlet-transport"]),
    ("gimlet-client", &["gimlet-proto"]),
    ("gimlet-chat", &["gimlet-client"]),
    ("gimlet-bench", &[]),
    ("gimlet-load", &["gimlet-client", "gimlet-proto"]),
];

/// What `core` must not know.
const NOT_IN_CORE: &[&str] = &[
    "sled",
    "sqlx",
    "redis",
    "prost",
    "tonic",
    "tokio-tungstenite",
];

/// Longer files need a line `//! Long because …` that says why.
const LONG: usize = 600;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

fn manifests() -> BTreeMap<String, toml::Table> {
    let text = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let workspace: toml::Table = text.parse().unwrap();
    let members = workspace["workspace"]["members"].as_array().unwrap();
    members
        .iter()
        .map(|member| {
            let path = root().join(member.as_str().unwrap()).join("Cargo.toml");
            let manifest: toml::Table = fs::read_to_string(path).unwrap().parse().unwrap();
            (
                manifest["package"]["name"].as_str().unwrap().to_owned(),
                manifest,
            )
        })
        .collect()
}

fn dependencies(manifest: &toml::Table) -> Vec<String> {
    manifest.get("dependencies").map_or_else(Vec::new, |table| {
        table.as_table().unwrap().keys().cloned().collect()
    })
}

fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && name != "data" && !name.starts_with('.') {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(found.len() > 50, "the sources are here");
    found
}

#[test]
fn who_may_know_whom() {
    let manifests = manifests();
    for (name, allowed) in EDGES {
        let Some(manifest) = manifests.get(*name) else {
            continue;
        };
        for dependency in dependencies(manifest) {
            let ours = manifests.contains_key(&dependency);
            assert!(
                !ours || allowed.contains(&dependency.as_str()),
                "{name} must not depend on {dependency}; it may know {allowed:?}"
            );
        }
    }
    for dependency in dependencies(&manifests["gimlet-core"]) {
        assert!(
            !NOT_IN_CORE.contains(&dependency.as_str()),
            "core must not know {dependency}"
        );
    }
}

#[test]
fn every_crate_keeps_the_workspace_lints() {
    for (name, manifest) in manifests() {
        let kept = manifest
            .get("lints")
            .and_then(|l| l.get("workspace")?.as_bool());
        assert_eq!(
            kept,
            Some(true),
            "{name} must have `[lints] workspace = true`"
        );
    }
}

#[test]
fn every_file_says_what_it_is_and_is_short_enough_to_read() {
    for (path, text) in sources() {
        let shown = path.display();
        assert!(
            text.starts_with("//!"),
            "{shown} must open with a `//!` line that says what it is"
        );
        let lines = text.lines().count();
        assert!(
            lines <= LONG || text.contains("//! Long because"),
            "{shown} has {lines} lines: split it, or say `//! Long because …`"
        );
    }
}

#[test]
fn ids_are_made_from_wire_integers_only_where_the_wire_is_read() {
    for (path, text) in sources() {
        let shown = path.display().to_string();
        let reads_the_wire = [
            "transport/",
            "server/",
            "tests/",
            "core/src/id.rs",
            "core/src/seq.rs",
        ];
        if !reads_the_wire.iter().any(|place| shown.contains(place)) {
            assert!(
                !text.contains("::from_wire("),
                "{shown} must not read wire integers"
            );
        }
    }
}

#[test]
fn nothing_is_left_for_later() {
    let words = [
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["un", "implemented!("].concat(),
    ];
    let attributes = [["#[ig", "nore"].concat(), ["should_", "panic]"].concat()];
    for (path, text) in sources() {
        for word in words.iter().chain(&attributes) {
            assert!(
                !text.contains(word.as_str()),
                "{} has `{word}`",
                path.display()
            );
        }
    }
}
