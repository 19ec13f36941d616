//! Cleans the text of others before it is shown.

/// Removes control characters, which could steer the terminal, from the text of others.
pub(crate) fn clean(text: &str) -> String {
    let shown = text.replace(['\n', '\t'], " ");
    shown.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_is_one_line_that_steers_nothing() {
        assert_eq!(clean("a\nb\u{1b}[31m\r\u{9b}c"), "a b[31mc");
    }
}
