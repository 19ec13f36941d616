//! Rust sources of this repository, for the tests that check rules of the code.

use std::fs;
use std::path::{Path, PathBuf};

/// A Rust file of the repository.
#[derive(Debug)]
pub struct SourceFile {
    /// Path relative to the root of the repository, with `/` between its parts.
    pub path: String,
    /// The whole text.
    pub text: String,
}

/// Returns the root of the repository.
#[must_use]
pub fn repository() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests)
}

/// Returns all Rust files of the repository, sorted by path. Build output (a folder with
/// `CACHEDIR.TAG`), data folders and hidden folders are left out.
///
/// # Panics
///
/// If a file cannot be read, or if too few are found: the search would be broken.
#[must_use]
pub fn rust_files() -> Vec<SourceFile> {
    let root = repository();
    let mut paths = Vec::new();
    collect(root, &mut paths);
    paths.sort();
    let files: Vec<SourceFile> = paths.iter().map(|path| read(root, path)).collect();
    assert!(files.len() > 300, "the search for sources is broken");
    files
}

fn read(root: &Path, path: &Path) -> SourceFile {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let path = path.strip_prefix(root).unwrap_or(path);
    SourceFile {
        path: path.to_string_lossy().replace('\\', "/"),
        text,
    }
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    for path in entries.flatten().map(|it| it.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            let skipped = name.starts_with('.') || name == "node_modules";
            if !skipped && !path.join("CACHEDIR.TAG").exists() {
                collect(&path, found);
            }
        } else if path.extension().is_some_and(|it| it == "rs") {
            found.push(path);
        }
    }
}

/// Returns the text with every comment, string and character literal replaced by blanks. Lines
/// keep their numbers, and characters outside of literals their columns.
#[must_use]
pub fn code_only(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code: Vec<char> = Vec::with_capacity(chars.len());
    let mut at = 0;
    while let Some(&first) = chars.get(at) {
        let rest = chars.get(at..).unwrap_or_default();
        let previous = code.last().copied().unwrap_or(' ');
        if let Some(len) = literal(rest, previous) {
            let blanked = rest.iter().take(len);
            code.extend(blanked.map(|&c| if c == '\n' { c } else { ' ' }));
            at += len;
        } else {
            code.push(first);
            at += 1;
        }
    }
    code.into_iter().collect()
}

/// Returns the length of the comment or literal that the text begins with.
fn literal(rest: &[char], previous: char) -> Option<usize> {
    let in_word = previous.is_alphanumeric() || previous == '_';
    match rest {
        ['/', '/', ..] => Some(rest.iter().take_while(|&&c| c != '\n').count()),
        ['/', '*', ..] => Some(block_comment(rest)),
        ['"', ..] => Some(quoted(rest, 1)),
        ['b' | 'c', '"', ..] if !in_word => Some(quoted(rest, 2)),
        ['r', '"' | '#', ..] if !in_word => raw_string(rest, 1),
        ['b' | 'c', 'r', '"' | '#', ..] if !in_word => raw_string(rest, 2),
        ['\'', '\\', ..] => Some(quoted_char(rest)),
        // A lifetime has no second quote after one character.
        ['\'', _, '\'', ..] => Some(3),
        _ => None,
    }
}

fn block_comment(rest: &[char]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(here) = rest.get(at..).filter(|it| !it.is_empty()) {
        match here {
            ['/', '*', ..] => {
                depth += 1;
                at += 2;
            }
            ['*', '/', ..] => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    rest.len()
}

/// Length of a string literal whose content begins at `start`.
fn quoted(rest: &[char], start: usize) -> usize {
    let mut at = start;
    while let Some(&c) = rest.get(at) {
        match c {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// Length of a character literal with an escape, such as `'\n'` or `'\u{1F600}'`.
fn quoted_char(rest: &[char]) -> usize {
    let content = rest.iter().skip(3);
    3 + content.take_while(|&&c| c != '\'').count() + 1
}

/// Length of a raw string whose hashes begin at `start`; `None` for a raw identifier.
fn raw_string(rest: &[char], start: usize) -> Option<usize> {
    let hashes = rest.iter().skip(start).take_while(|&&c| c == '#').count();
    let content = start + hashes + 1;
    if rest.get(content - 1) != Some(&'"') {
        return None;
    }
    let closes = |at: &usize| {
        rest.get(*at) == Some(&'"')
            && rest
                .iter()
                .skip(at + 1)
                .take(hashes)
                .filter(|&&c| c == '#')
                .count()
                == hashes
    };
    let end = (content..rest.len()).find(closes);
    Some(end.map_or(rest.len(), |it| it + 1 + hashes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_is_left() {
        let text = "let a = \"x // \\\" y\"; // no\nlet b = r#\"s\"t\"#; /* a /* b */ c */ let c: &'a str;\nlet d = ('\\'', 'x', b\"q\"); r#type";
        let code = code_only(text);
        let words: Vec<&str> = code.split_whitespace().collect();
        let expected = [
            "let", "a", "=", ";", "let", "b", "=", ";", "let", "c:", "&'a", "str;", "let", "d",
            "=", "(", ",", ",", ");", "r#type",
        ];
        assert_eq!(words, expected);
        assert_eq!(code.lines().count(), text.lines().count());
    }
}
