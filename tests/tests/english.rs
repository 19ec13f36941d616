//! Plain English: rules of CONTRIBUTING.md that a list of words can check.
#![expect(clippy::unwrap_used, reason = "a broken rule should panic")]

use std::fs;
use std::path::{Path, PathBuf};

/// First words of a doc comment that make it a riddle: a comment begins with a verb in the third
/// person ("Returns …") or with a noun phrase that names the item.
const FORBIDDEN_OPENINGS: &[&str] = &[
    "what", "who", "whoever", "whose", "whom", "which", "whether", "how", "nobody", "nothing",
];

/// Collects all Rust files below a folder, without build output.
fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                rust_files(&path, found);
            }
        } else if path.extension().is_some_and(|it| it == "rs") {
            found.push(path);
        }
    }
}

/// Returns the line numbers of the doc comments that open with a forbidden word.
fn forbidden_openings(text: &str) -> Vec<usize> {
    let mut found = Vec::new();
    let mut inside = "";
    for (at, line) in text.lines().enumerate() {
        let line = line.trim_start();
        let marker = ["///", "//!"].into_iter().find(|it| line.starts_with(it));
        let is_first = marker.is_some_and(|marker| marker != inside);
        inside = marker.unwrap_or_default();
        let words = line.get(inside.len()..).unwrap_or_default();
        let first = words.split_whitespace().next().unwrap_or_default();
        let first = first.trim_matches(|c: char| !c.is_alphanumeric());
        if is_first && FORBIDDEN_OPENINGS.contains(&first.to_lowercase().as_str()) {
            found.push(at + 1);
        }
    }
    found
}

#[test]
fn doc_comments_open_with_a_verb_or_a_noun() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut files = Vec::new();
    rust_files(root, &mut files);
    assert!(files.len() > 300, "the search for sources is broken");
    let mut wrong = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        for line in forbidden_openings(&text) {
            let shown = path.strip_prefix(root).unwrap().display();
            wrong.push(format!("{shown}:{line}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "these doc comments open with one of {FORBIDDEN_OPENINGS:?}; say what the item is or does:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn an_opening_is_found_wherever_it_stands() {
    let text = "//! What it does.\n//! Who knows.\n\n    /// Whether so.\n/// Returns it.\n/// Nothing else.\n";
    assert_eq!(forbidden_openings(text), [1, 4]);
}
