//! Log lines that strangers or an outage can cause are rate-limited: every line of level WARN and
//! ERROR is listed in `docs/log.md` with its rate, and every listed line exists in the sources.
#![expect(clippy::unwrap_used, reason = "a broken rule should panic")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Rate of a rate-limited line, as the page gives it.
const RATED: &str = "30 s";

/// A log line in the sources.
#[derive(Debug, PartialEq, Eq)]
struct LogLine {
    level: &'static str,
    rated: bool,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "tests" && name != "testkit" {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|it| it == "rs") && !name.ends_with("tests.rs") {
            found.push(path);
        }
    }
}

/// Returns the text of the event whose macro begins `rest`: its last string literal. String values
/// of fields (`key = "…"`) are not supported.
fn text_of(rest: &str) -> String {
    let mut depth = 0_usize;
    let (mut in_text, mut escaped, mut current) = (false, false, String::new());
    let mut last = String::new();
    let mut before = ' ';
    for it in rest.chars() {
        if in_text {
            match it {
                _ if escaped => {
                    escaped = false;
                    current.push(it);
                }
                '\\' => escaped = true,
                '"' => {
                    in_text = false;
                    last = std::mem::take(&mut current);
                }
                _ => current.push(it),
            }
            continue;
        }
        match it {
            '"' if before == '=' => last.clear(),
            '"' => in_text = true,
            '(' => depth += 1,
            ')' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    break;
                }
            }
            _ => {}
        }
        if !it.is_whitespace() {
            before = it;
        }
    }
    // A text over several lines is joined to one.
    last.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Collects every WARN and ERROR of the programs, by file and text.
fn lines() -> BTreeMap<(String, String), LogLine> {
    let mut files = Vec::new();
    let crates = [
        "core",
        "server",
        "server/cluster",
        "server/files",
        "server/grpc",
        "server/identity",
        "server/push",
        "server/web",
        "server/webhooks",
        "storage-sled",
        "storage-mysql",
    ];
    let wires = ["client", "listen", "outbound", "session", "tcp", "ws"];
    let crates = crates.iter().map(|it| root().join(it));
    let wires = wires.iter().map(|it| root().join("transport").join(it));
    for folder in crates.chain(wires) {
        sources(&folder.join("src"), &mut files);
    }
    let kinds = [
        ("tracing::warn!(", "WARN", false),
        ("tracing::error!(", "ERROR", false),
        ("warn_rated!(", "WARN", true),
        ("error_rated!(", "ERROR", true),
    ];
    let mut found = BTreeMap::new();
    for path in files {
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        if name == "core/src/log_rate.rs" {
            continue;
        }
        let source = fs::read_to_string(&path).unwrap();
        let code = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for (call, level, rated) in kinds {
            for (at, _) in code.match_indices(call) {
                let line = code[..at].lines().next_back().unwrap_or_default();
                if line.trim_start().starts_with("//") {
                    continue;
                }
                let open = at + call.len() - 1;
                let text = text_of(&code[open..]);
                found.insert((name.clone(), text), LogLine { level, rated });
            }
        }
    }
    assert!(
        found.len() > 30,
        "fewer log lines than expected: the search is broken"
    );
    found
}

/// Collects the rows of the page: level and rate, by file and text.
fn page() -> BTreeMap<(String, String), (String, String)> {
    let page = fs::read_to_string(root().join("docs/log.md")).unwrap();
    let rows = page.lines().filter_map(|row| {
        let row = row.strip_prefix("| ")?.strip_suffix(" |")?;
        let [level, text, rate, file] = row.split(" | ").collect::<Vec<_>>().try_into().ok()?;
        let file = file.trim_matches('`').to_owned();
        let known = level == "WARN" || level == "ERROR";
        known.then(|| ((file, text.to_owned()), (level.to_owned(), rate.to_owned())))
    });
    rows.collect()
}

#[test]
fn every_warning_has_a_rate() {
    let (lines, page) = (lines(), page());
    let mut missing = String::new();
    for (key @ (file, text), line) in &lines {
        let Some((level, rate)) = page.get(key) else {
            let rate = if line.rated { RATED } else { "…" };
            let _ = writeln!(missing, "| {} | {text} | {rate} | `{file}` |", line.level);
            continue;
        };
        assert_eq!(level, line.level, "{key:?}");
        assert_eq!(rate == RATED, line.rated, "the rate of {key:?} is {rate}");
        assert!(!rate.is_empty(), "{key:?} has no rate");
    }
    assert!(
        missing.is_empty(),
        "docs/log.md has no row for these lines. What strangers or an outage can cause is written by \
         warn_rated! or error_rated!; then add its row:\n{missing}"
    );
    for key in page.keys() {
        assert!(
            lines.contains_key(key),
            "docs/log.md names {key:?}, which is not logged"
        );
    }
}
