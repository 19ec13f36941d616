//! Plain English: rules of CONTRIBUTING.md that a list of words can check.

use gimlet_tests::source_code::rust_files;

/// First words of a doc comment that make it a riddle: a comment begins with a verb in the third
/// person ("Returns …") or with a noun phrase that names the item.
const FORBIDDEN_OPENINGS: &[&str] = &[
    "what", "who", "whoever", "whose", "whom", "which", "whether", "how", "nobody", "nothing",
];

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
    let mut wrong = Vec::new();
    for file in rust_files() {
        for line in forbidden_openings(&file.text) {
            wrong.push(format!("{}:{line}", file.path));
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
