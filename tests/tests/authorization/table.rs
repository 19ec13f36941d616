//! The tables of docs/authorization.md.

use std::collections::BTreeMap;

/// A table: for each operation, the outcome for each kind of caller.
#[derive(Clone, Debug)]
pub(crate) struct AccessTable {
    heading: &'static str,
    pub(crate) columns: Vec<String>,
    pub(crate) rows: BTreeMap<String, Vec<String>>,
}

/// An outcome that is not the one of the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WrongCell {
    pub(crate) row: String,
    pub(crate) column: String,
    pub(crate) page: String,
    pub(crate) server: String,
}

fn cells(line: &str) -> Vec<String> {
    let cells = line.trim().trim_matches('|').split('|');
    cells.map(|it| it.trim().replace('`', "")).collect()
}

impl AccessTable {
    /// Reads the table below this heading of the page.
    pub(crate) fn read(page: &str, heading: &'static str) -> Self {
        let section = page.split("\n## ").find(|it| it.starts_with(heading));
        let section = section.unwrap_or_else(|| panic!("the page has no section {heading}"));
        let mut lines = section.lines().filter(|line| line.starts_with('|'));
        let columns = cells(lines.next().expect("a table")).split_off(1);
        let mut rows = BTreeMap::new();
        for line in lines.skip(1) {
            let mut cells = cells(line);
            let row = cells.remove(0);
            assert_eq!(cells.len(), columns.len(), "{heading}, {row}");
            let before = rows.insert(row.clone(), cells);
            assert_eq!(before, None, "{heading} has two rows {row}");
        }
        Self {
            heading,
            columns,
            rows,
        }
    }

    /// Returns the operation of a row: a row may add a case in parentheses.
    pub(crate) fn operation(row: &str) -> &str {
        row.split(' ').next().unwrap_or(row)
    }

    /// Compares the rows with the operations of the code.
    pub(crate) fn compare_operations(&self, operations: &[String]) {
        let named = |operation: &String| {
            let mut rows = self.rows.keys();
            rows.any(|row| Self::operation(row) == operation)
        };
        let missing: Vec<_> = operations.iter().filter(|it| !named(it)).collect();
        let of_page = self.rows.keys().map(|row| Self::operation(row).to_owned());
        let unknown: Vec<_> = of_page.filter(|it| !operations.contains(it)).collect();
        assert!(
            missing.is_empty() && unknown.is_empty(),
            "docs/authorization.md, {}: add a row for each of {missing:?}, and its request in \
             tests/tests/authorization; remove the rows {unknown:?}",
            self.heading
        );
    }

    /// Returns the outcome of the page.
    pub(crate) fn cell(&self, row: &str, column: &str) -> &str {
        let at = self.columns.iter().position(|it| it == column);
        let at = at.unwrap_or_else(|| panic!("{} has no column {column}", self.heading));
        &self.rows[row][at]
    }

    /// Compares an outcome of the server with the page.
    pub(crate) fn compare(&self, row: &str, column: &str, server: &str) -> Option<WrongCell> {
        let page = self.cell(row, column);
        (page != server).then(|| WrongCell {
            row: row.to_owned(),
            column: column.to_owned(),
            page: page.to_owned(),
            server: server.to_owned(),
        })
    }
}

/// Returns the word of the page for a code of gimlet.
pub(crate) fn outcome_of_code(code: i64) -> Option<&'static str> {
    match code {
        10_000 => Some("401"),
        10_011 => Some("403 member"),
        7 => Some("403"),
        _ => None,
    }
}
