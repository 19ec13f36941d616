//! Every defect that gim is known for has a test with a name: the table `DEFECTS.md` is complete,
//! and what it names exists.
#![expect(clippy::unwrap_used, reason = "a broken table should panic")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The kinds of defects, and how many there are of each.
const KNOWN: [(char, u32); 5] = [('M', 19), ('C', 25), ('R', 9), ('S', 15), ('X', 15)];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Whether a cell is the number of a defect or of a finding: `M-1`, `N-A1`, `D1`.
fn is_id(cell: &str) -> bool {
    let letters = cell.trim_end_matches(|it: char| it.is_ascii_digit());
    let kind = letters.trim_end_matches('-');
    cell.contains('-') && !kind.is_empty()
        || letters.len() < cell.len() && kind.len() == 1 && kind.is_ascii()
}

/// What the table says of each defect.
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
    let all = KNOWN
        .iter()
        .flat_map(|(kind, count)| (1..=*count).map(move |n| format!("{kind}-{n}")));
    for id in all {
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
