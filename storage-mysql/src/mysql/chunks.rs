//! Splits rows into statements.
//!
//! A statement's text depends only on its number of rows, and each text is prepared once per
//! connection. So only a few sizes exist, and a statement has at most 1,000 rows. If a repeated row
//! changes nothing, the last chunk is padded to the next size; otherwise the remainder is split
//! into smaller sizes.

use std::fmt::Write as _;
use std::ops::Range;

use sqlx::AssertSqlSafe;

/// Allowed sizes of a statement, each about half of the previous one.
const CHUNK_SIZES: [usize; 11] = [1_000, 500, 250, 125, 64, 32, 16, 8, 4, 2, 1];

/// Rows of one statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StatementChunk {
    range: Range<usize>,
    size: usize,
}

impl StatementChunk {
    /// Returns the number of rows in the statement, padding included.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Returns the index of each row, and whether the row is only padding.
    pub(super) fn rows(&self) -> impl Iterator<Item = (usize, bool)> + use<> {
        let padding = self.size - self.range.len();
        let last = self.range.end - 1;
        let own = self.range.clone().map(|at| (at, false));
        own.chain((0..padding).map(move |_| (last, true)))
    }
}

/// Splits rows that may be repeated: at most one statement more than the number of started
/// thousands of rows.
pub(super) fn padded_chunks(rows: usize) -> Vec<StatementChunk> {
    let mut chunks = Vec::new();
    let mut at = 0;
    while at < rows {
        let rest = rows - at;
        let next = CHUNK_SIZES
            .iter()
            .rev()
            .find(|size| **size >= rest)
            .copied();
        let size = match next {
            // Padding by more than a fifth costs more than another statement.
            Some(size) if size - rest <= size / 5 || chunks.len() % 2 == 1 || rest < 32 => size,
            _ => largest(rest),
        };
        let end = rows.min(at + size);
        chunks.push(StatementChunk {
            range: at..end,
            size,
        });
        at = end;
    }
    chunks
}

/// Splits rows that must not be repeated. No statement exceeds `max_bytes`, unless a single row
/// does.
pub(super) fn unpadded_chunks(
    rows: usize,
    max_bytes: usize,
    weight: impl Fn(usize) -> usize,
) -> Vec<StatementChunk> {
    let mut chunks = Vec::new();
    let mut from = 0;
    while from < rows {
        let (mut end, mut bytes) = (from, 0);
        while end < rows && end - from < CHUNK_SIZES[0] {
            bytes += weight(end);
            if bytes > max_bytes && end > from {
                break;
            }
            end += 1;
        }
        while from < end {
            let size = largest(end - from);
            chunks.push(StatementChunk {
                range: from..from + size,
                size,
            });
            from += size;
        }
    }
    chunks
}

/// Returns the largest size of at most `rows`, which is above zero.
fn largest(rows: usize) -> usize {
    let fitting = CHUNK_SIZES.iter().find(|size| **size <= rows);
    fitting.copied().unwrap_or(1)
}

/// Returns a statement with `row` repeated. No part of it comes from outside the program.
pub(super) fn text(head: &str, row: &str, count: usize, tail: &str) -> AssertSqlSafe<String> {
    let mut sql = String::with_capacity(head.len() + (row.len() + 1) * count + tail.len());
    sql.push_str(head);
    for at in 0..count {
        if at > 0 {
            sql.push(',');
        }
        sql.push_str(row);
    }
    sql.write_str(tail)
        .expect("writing to a String cannot fail");
    AssertSqlSafe(sql)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covered(chunks: &[StatementChunk]) -> Vec<usize> {
        let rows = chunks.iter().flat_map(StatementChunk::rows);
        rows.filter(|(_, is_padding)| !is_padding)
            .map(|(at, _)| at)
            .collect()
    }

    #[test]
    fn every_row_stands_in_one_statement() {
        for rows in 0..3_500 {
            let all: Vec<usize> = (0..rows).collect();
            let (padded, unpadded) = (
                padded_chunks(rows),
                unpadded_chunks(rows, usize::MAX, |_| 1),
            );
            assert_eq!(covered(&padded), all);
            assert_eq!(covered(&unpadded), all);
            let thousands = rows.div_ceil(1_000);
            assert!(padded.len() <= thousands + 1, "{rows}: {padded:?}");
            assert!(unpadded.len() <= thousands + 8, "{rows}: {unpadded:?}");
            for chunk in padded.iter().chain(&unpadded) {
                assert!(CHUNK_SIZES.contains(&chunk.size()));
                assert_eq!(chunk.rows().count(), chunk.size());
            }
            assert!(
                unpadded
                    .iter()
                    .all(|it| it.rows().all(|(_, is_padding)| !is_padding))
            );
        }
    }

    #[test]
    fn heavy_rows_stand_in_smaller_statements() {
        let chunks = unpadded_chunks(10, 100, |_| 60);
        assert_eq!(chunks.len(), 10);
        let chunks = unpadded_chunks(10, 100, |at| if at == 0 { 500 } else { 10 });
        assert_eq!(covered(&chunks), (0..10).collect::<Vec<_>>());
    }
}
