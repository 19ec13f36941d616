//! Every known defect of gim, and every finding of others in gimlet, has a named test: the tables
//! of `DEFECTS.md` are complete, and the tests that they name exist.
#![expect(clippy::unwrap_used, reason = "a broken table should panic")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Kinds of gim's defects, with the number of defects of each kind.
const KNOWN: [(char, u32); 5] = [('M', 19), ('C', 25), ('R', 9), ('S', 15), ('X', 15)];

/// Findings of others in gimlet, by source: D by review, G by comparison with gim, P from public
/// reports about other servers, A by attacks, N-A to N-C by new users. A finding that covers
/// several has the number of the first.
const FOUND: [(&str, &[u32]); 7] = [
    ("D", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]),
    ("G", &[1, 2, 3, 4, 5, 6, 7, 8, 9]),
    (
        "P",
        &[
            1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19,
        ],
    ),
    ("A", &[1, 3, 4, 6, 9, 10, 11, 12, 15, 17, 18]),
    ("N-A", &[1, 2, 3, 4, 5, 6, 18]),
    ("N-B", &[3, 4, 6, 7, 8, 10]),
    ("N-C", &[1, 3, 7, 9]),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Returns whether a cell is the id of a defect or of a finding: `M-1`, `N-A1`, `D1`.
fn is_id(cell: &str) -> bool {
    let letters = cell.trim_end_matches(|it: char| it.is_ascii_digit());
    let kind = letters.trim_end_matches('-');
    cell.contains('-') && !kind.is_empty()
        || letters.len() < cell.len() && kind.len() == 1 && kind.is_ascii()
}

/// Returns the table's text for each defect.
fn table() -> BTreeMap<String, String> {
    let text = fs::read_to_string(root().join("tests/DEFECTS.md")).unwrap();
    let rows = text.lines().filter_map(|line| {
        let (id, rest) = line.strip_prefix("| ")?.split_once(" | ")?;
        Some((id.to_owned(), rest.trim_end_matches(" |").to_owned()))
    });
    rows.filter(|(id, _)| is_id(id)).collect()
}

#[test]
fn every_defect_stands_in_the_table() {
    let table = table();
    let known = KNOWN
        .iter()
        .flat_map(|(kind, count)| (1..=*count).map(move |n| format!("{kind}-{n}")));
    let found = FOUND
        .iter()
        .flat_map(|(kind, numbers)| numbers.iter().map(move |n| format!("{kind}{n}")));
    for id in known.chain(found) {
        let said = table.get(&id);
        let said = said.unwrap_or_else(|| panic!("{id} is not in the table"));
        assert!(
            said.contains("::") || said.starts_with("cannot occur: "),
            "{id} needs a test, or a reason: {said}"
        );
    }
}

#[test]
fn every_named_test_exists() {
    for (id, said) in table() {
        for name in said.split('`').filter(|part| part.contains("::")) {
            let (path, case) = name.split_once("::").unwrap();
            let source = fs::read_to_string(root().join(path));
            let source = source.unwrap_or_else(|error| panic!("{id}: {path}: {error}"));
            let found = ["fn ", "def "]
                .iter()
                .any(|word| source.contains(&format!("{word}{case}(")));
            assert!(found, "{id}: {path} has no {case}");
        }
    }
}
