//! Finds the known key nearest to an unknown one.

/// Returns the candidate with the fewest edits to `word`. `None` if none is near enough to have
/// been meant: a third of its letters may differ.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .map(|candidate| (distance(word, candidate), candidate))
        .min_by_key(|(edits, _)| *edits)
        .filter(|(edits, candidate)| *edits <= (candidate.chars().count() / 3).max(1))
        .map(|(_, candidate)| candidate)
}

/// Counts the edits between two words: insertions, deletions, replacements and swaps of neighbours.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    // Three rows of the usual table: two back (for swaps), one back, and the current one.
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let cell = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX / 2);
            let mut best = (cell(&last, j) + usize::from(x != y))
                .min(cell(&last, j + 1) + 1)
                .min(cell(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                best = best.min(cell(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_edits_and_swaps() {
        assert_eq!(distance("listen.tcp", "listen.tcp"), 0);
        assert_eq!(distance("listen.tpc", "listen.tcp"), 1);
        assert_eq!(distance("listen_tcp", "listen.tcp"), 1);
        assert_eq!(distance("", "abc"), 3);
        let keys = ["listen.tcp", "listen.http", "data_dir"];
        assert_eq!(nearest("listen.tpc", keys.into_iter()), Some("listen.tcp"));
        assert_eq!(nearest("datadir", keys.into_iter()), Some("data_dir"));
        assert_eq!(nearest("colour", keys.into_iter()), None);
        assert_eq!(nearest("inf", ["info", "off"].into_iter()), Some("info"));
    }
}
