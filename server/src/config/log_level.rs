//! Checks `log.level`: a level, or a filter of targets and levels.
//!
//! The library that filters accepts any word as the name of a target, so `warning` would be a
//! filter for a program part called "warning", and no line would ever be logged.

use super::nearest::nearest;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Words of other programs for the same levels.
const FOREIGN_LEVELS: [(&str, &str); 14] = [
    ("warning", "warn"),
    ("err", "error"),
    ("fatal", "error"),
    ("critical", "error"),
    ("crit", "error"),
    ("panic", "error"),
    ("notice", "info"),
    ("information", "info"),
    ("default", "info"),
    ("verbose", "debug"),
    ("fine", "debug"),
    ("all", "trace"),
    ("none", "off"),
    ("quiet", "off"),
];

/// Checks a level or filter; the error says what is wrong and what would be right.
pub(super) fn check(text: &str) -> Result<(), String> {
    for part in parts(text) {
        let part = part.trim();
        if part.is_empty() {
            return Err(format!(
                "has an empty part; write {}, or a filter, for example info,gimlet_core=debug",
                levels()
            ));
        }
        let level = match part.rsplit_once('=') {
            // A filter of spans: `gimlet[connection{user=u:7}]=debug`.
            Some((target, level)) if !level.contains([']', '}']) => {
                if target.trim().is_empty() {
                    return Err(format!("has no target before \"={level}\""));
                }
                level.trim()
            }
            _ if part.contains('[') => continue,
            _ => part,
        };
        if !is_level(level) {
            return Err(unknown(level, part));
        }
    }
    Ok(())
}

/// Returns whether the filter names only targets, so that all other lines are dropped.
pub(super) fn is_partial(text: &str) -> bool {
    !parts(text).any(|part| is_level(part.trim()))
}

fn is_level(word: &str) -> bool {
    LEVELS.iter().any(|it| it.eq_ignore_ascii_case(word))
        || matches!(word, "0" | "1" | "2" | "3" | "4" | "5")
}

/// Splits a filter into its parts: commas inside a span's braces belong to the span.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    text.split(move |letter| {
        match letter {
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        letter == ',' && depth == 0
    })
}

fn unknown(word: &str, part: &str) -> String {
    let lower = word.to_ascii_lowercase();
    let known = FOREIGN_LEVELS.iter().find(|(other, _)| *other == lower);
    let known = known.map(|(_, level)| *level);
    let meant = known.or_else(|| nearest(&lower, LEVELS.into_iter()));
    if meant.is_none() && part == word && word.contains(['_', ':']) {
        return format!("names the target \"{word}\" without a level; write {word}=debug");
    }
    let meant = meant.map_or_else(String::new, |level| format!("did you mean {level}? "));
    format!(
        "has \"{word}\" where a level is needed: {meant}write {}, or a filter, for example \
         info,gimlet_core=debug",
        levels()
    )
}

fn levels() -> String {
    LEVELS.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_level_is_refused_with_the_nearest() {
        for (word, level) in [
            ("verbose", "debug"),
            ("warning", "warn"),
            ("inf", "info"),
            ("WARNING", "warn"),
            ("eror", "error"),
            ("all", "trace"),
        ] {
            let text = check(word).unwrap_err();
            assert!(text.contains(&format!("did you mean {level}?")), "{text}");
        }
        for text in [
            "info,gimlet=verbose",
            "gimlet_core",
            "info,,warn",
            "=debug",
            "loud=very",
            "xyz",
        ] {
            assert!(check(text).is_err(), "{text}");
        }
        assert!(
            check("gimlet_core")
                .unwrap_err()
                .contains("gimlet_core=debug")
        );
        assert!(!check("quixotic").unwrap_err().contains("did you mean"));
    }

    #[test]
    fn levels_and_filters_are_taken() {
        for text in [
            "info",
            " WARN ",
            "off",
            "3",
            "info,gimlet_core=debug",
            "warn, gimlet::x = trace",
            "info,gimlet[connection{user=u:7}]=debug",
            "info,[connection{user=u:7,device=d:3}]=debug",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
        assert!(is_partial("gimlet=debug") && !is_partial("gimlet=debug,warn"));
    }
}
