//! Tables for people: aligned columns, whatever the width of the characters.

use serde_json::Value;
use unicode_width::UnicodeWidthStr as _;

/// Space between two columns.
const GAP: usize = 2;
/// Text of a value that is absent.
const ABSENT: &str = "-";

/// A table with a header line.
#[derive(Debug)]
pub(crate) struct TextTable {
    rows: Vec<Vec<String>>,
}

impl TextTable {
    /// Makes a table with these column names.
    pub(crate) fn new(names: &[&str]) -> Self {
        Self {
            rows: vec![names.iter().map(|name| (*name).to_owned()).collect()],
        }
    }

    /// Adds a row: these fields of a JSON object.
    pub(crate) fn push(&mut self, item: &Value, fields: &[&str]) {
        let cells = fields.iter().map(|name| cell(item.get(*name)));
        self.rows.push(cells.collect());
    }

    /// Returns the lines.
    pub(crate) fn text(&self) -> String {
        lines(&self.rows)
    }
}

/// Returns a line for each of these fields of a JSON object: its name and its value. Absent fields
/// are left out.
pub(crate) fn details(item: &Value, fields: &[&str]) -> String {
    let present = fields.iter().filter_map(|name| {
        let value = item.get(*name).filter(|it| !it.is_null());
        value.map(|value| vec![(*name).to_owned(), cell(Some(value))])
    });
    lines(&present.collect::<Vec<_>>())
}

/// Returns the text of a JSON value.
pub(crate) fn cell(value: Option<&Value>) -> String {
    let text = match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => clean(text),
        Some(Value::Bool(true)) => "yes".to_owned(),
        Some(Value::Bool(false)) => "no".to_owned(),
        Some(Value::Array(items)) => {
            let items: Vec<_> = items.iter().map(|it| cell(Some(it))).collect();
            items.join(", ")
        }
        Some(other) => other.to_string(),
    };
    if text.is_empty() {
        ABSENT.to_owned()
    } else {
        text
    }
}

/// Replaces characters of others that could steer the terminal or turn the text around.
pub(crate) fn clean(text: &str) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.replace(steers, "\u{fffd}")
}

fn lines(rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    let line = |row: &Vec<String>| {
        let padded = row.iter().zip(&widths).map(|(cell, width)| {
            let space = width.saturating_sub(cell.width()) + GAP;
            format!("{cell}{}", " ".repeat(space))
        });
        padded.collect::<String>().trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_aligned_by_the_width_of_their_characters() {
        let mut table = TextTable::new(&["NAME", "ID"]);
        table.push(&json!({"name": "王小明", "id": "7"}), &["name", "id"]);
        table.push(&json!({"name": "bob", "id": 12}), &["name", "id"]);
        table.push(&json!({"name": ""}), &["name", "id"]);
        assert_eq!(table.text(), "NAME    ID\n王小明  7\nbob     12\n-       -");
    }

    #[test]
    fn details_leave_absent_fields_out() {
        let item = json!({"name": "shop", "scopes": ["a", "b"], "ended": null, "is_new": true});
        let text = details(&item, &["name", "scopes", "ended", "is_new", "other"]);
        assert_eq!(text, "name    shop\nscopes  a, b\nis_new  yes");
    }

    #[test]
    fn text_of_others_steers_nothing() {
        let text = cell(Some(&json!("a\u{1b}[2J\nb\u{202e}c\u{9b}")));
        assert_eq!(text, "a\u{fffd}[2J\u{fffd}b\u{fffd}c\u{fffd}");
    }
}
