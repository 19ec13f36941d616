//! Files, links and names in the pages exist: a page that outlives what it describes misleads.
#![expect(clippy::unwrap_used, reason = "a broken rule should panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use gimlet_tests::source_code::{SourceFile, files_with, repository};

/// Pages whose names of types and functions are checked: they describe the code.
const OF_THE_CODE: &[&str] = &["ARCHITECTURE.md", "CONTRIBUTING.md", "docs/development.md"];

/// Endings of paths that are files of this repository.
const ENDINGS: &[&str] = &[
    ".rs", ".py", ".md", ".toml", ".proto", ".yaml", ".json", ".lua",
];

/// Returns the pages of the repository.
fn pages() -> Vec<SourceFile> {
    let found = files_with(&["md"]);
    assert!(found.len() > 15, "the search for pages is broken");
    found
}

/// Returns the folder of a page.
fn folder_of(page: &SourceFile) -> &Path {
    Path::new(&page.path).parent().unwrap()
}

/// Returns the texts in backticks, without those of blocks.
fn inline_code(page: &str) -> Vec<&str> {
    let prose = page.split("```").step_by(2);
    prose
        .flat_map(|it| it.split('`').skip(1).step_by(2))
        .collect()
}

#[test]
fn the_files_that_a_page_names_exist() {
    let (mut count, mut wrong) = (0, Vec::new());
    for page in pages() {
        for code in inline_code(&page.text) {
            // `tests/DEFECTS.md::name` is a test in a file.
            let file = code.split("::").next().unwrap_or_default();
            let is_file = file.contains('/')
                && !file.contains([' ', '*', '…', '$', '<', '{'])
                && !file.starts_with(['/', '.', '~'])
                && ENDINGS.iter().any(|ending| file.ends_with(ending));
            if !is_file || file.contains("://") {
                continue;
            }
            count += 1;
            let places = [Path::new("").join(file), folder_of(&page).join(file)];
            if !places.iter().any(|it| repository().join(it).is_file()) {
                wrong.push(format!("{}: {file} does not exist", page.path));
            }
        }
    }
    assert!(count > 200, "the search for files is broken: {count}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Returns the anchors of a page, as GitHub makes them from its headings.
fn anchors(page: &str) -> BTreeSet<String> {
    let prose = page.split("```").step_by(2).flat_map(str::lines);
    let headings = prose.filter_map(|line| line.strip_prefix('#'));
    let anchor = |heading: &str| {
        let letters = heading.trim_start_matches('#').trim().chars();
        let kept = letters.filter(|it| it.is_alphanumeric() || matches!(it, ' ' | '-' | '_'));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    headings.map(anchor).collect()
}

#[test]
fn the_links_of_a_page_lead_to_a_file_and_a_heading() {
    let (mut count, mut wrong) = (0, Vec::new());
    for page in pages() {
        let prose: String = page.text.split("```").step_by(2).collect();
        for link in prose.split("](").skip(1) {
            let Some((link, _)) = link.split_once(')') else {
                continue;
            };
            if link.contains("://") || link.contains(' ') {
                continue;
            }
            count += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let path = if file.is_empty() {
                repository().join(&page.path)
            } else {
                repository().join(folder_of(&page)).join(file)
            };
            if !path.exists() {
                wrong.push(format!("{}: {link} does not exist", page.path));
            } else if !anchor.is_empty() {
                let target = fs::read_to_string(&path).unwrap();
                if !anchors(&target).contains(anchor) {
                    wrong.push(format!("{}: {link} is not a heading", page.path));
                }
            }
        }
    }
    assert!(count > 100, "the search for links is broken: {count}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Returns the words of the sources: names of items, fields and files.
fn words_of_the_sources() -> BTreeSet<String> {
    let is_letter = |it: char| it.is_ascii_alphanumeric() || it == '_';
    let mut words = BTreeSet::new();
    for source in files_with(&["rs", "proto", "toml"]) {
        let found = source.text.split(|it| !is_letter(it));
        words.extend(found.map(str::to_owned));
    }
    words
}

#[test]
fn the_names_that_a_page_about_the_code_uses_exist() {
    let words = words_of_the_sources();
    let (mut count, mut wrong) = (0, Vec::new());
    for page in OF_THE_CODE {
        let text = fs::read_to_string(repository().join(page)).unwrap();
        for code in inline_code(&text) {
            let is_name = |part: &str| {
                !part.is_empty()
                    && part
                        .chars()
                        .all(|it| it.is_ascii_alphanumeric() || it == '_')
            };
            let parts: Vec<_> = code.trim_end_matches('!').split("::").collect();
            let is_type = parts
                .first()
                .is_some_and(|it| it.starts_with(char::is_uppercase));
            let has_words = code.trim_matches('_').contains('_') && !code.ends_with('_');
            let is_path = parts.len() > 1 || code.ends_with('!') || has_words;
            if !(is_type || is_path) || !parts.iter().all(|part| is_name(part)) {
                continue;
            }
            count += 1;
            for part in parts.iter().filter(|part| !words.contains(**part)) {
                wrong.push(format!("{page}: nothing is named {part}"));
            }
        }
    }
    assert!(count > 30, "the search for names is broken: {count}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
