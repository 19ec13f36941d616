//! Splits a Rust source into tokens, without attributes and items that only tests compile.

use gimlet_tests::source_code::code_only;

/// A word, a path separator (`::`) or one punctuation mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CodeToken {
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// Returns the tokens of a file, without its attributes and without items under `#[cfg(test)]`.
pub(crate) fn product_tokens(source: &str) -> Vec<CodeToken> {
    let tokens = tokens(&code_only(source));
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let inner = usize::from(text(&tokens, at + 1) == "!");
        if text(&tokens, at) == "#" && text(&tokens, at + 1 + inner) == "[" {
            let end = after_group(&tokens, at);
            let attribute: String = tokens[at..end].iter().map(|it| it.text.as_str()).collect();
            let for_tests = attribute == "#[cfg(test)]" || attribute.starts_with("#[cfg(all(test,");
            at = if for_tests {
                after_item(&tokens, end)
            } else {
                end
            };
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

/// Returns the text of a token, or nothing behind the last one.
pub(crate) fn text(tokens: &[CodeToken], at: usize) -> &str {
    tokens.get(at).map_or("", |it| it.text.as_str())
}

/// Returns whether a token is a name or a keyword.
pub(crate) fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Returns the position behind the first bracketed group at or after `from`.
pub(crate) fn after_group(tokens: &[CodeToken], from: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(from) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    tokens.len()
}

/// Returns the position behind the item, variant or field at `at`, with its further attributes.
fn after_item(tokens: &[CodeToken], mut at: usize) -> usize {
    while text(tokens, at) == "#" {
        at = after_group(tokens, at);
    }
    let mut keyword = at + usize::from(text(tokens, at) == "pub");
    if text(tokens, keyword) == "(" {
        keyword = after_group(tokens, keyword);
    }
    let is_import = text(tokens, keyword) == "use";
    while at < tokens.len() {
        match text(tokens, at) {
            ";" | "," => return at + 1,
            ")" | "]" | "}" => return at,
            "{" if !is_import => return after_group(tokens, at),
            "(" | "[" | "{" => at = after_group(tokens, at),
            _ => at += 1,
        }
    }
    at
}

fn tokens(code: &str) -> Vec<CodeToken> {
    let mut found = Vec::new();
    for (line, code) in (1..).zip(code.lines()) {
        let mut rest = code.trim_start();
        while !rest.is_empty() {
            let (token, behind) = split_token(rest);
            // A lifetime is not a part of a path.
            if !token.starts_with('\'') {
                let text = token.trim_start_matches("r#").to_owned();
                found.push(CodeToken { text, line });
            }
            rest = behind.trim_start();
        }
    }
    found
}

/// Splits off the first token: a word, a raw word, a lifetime, `::` or one character.
fn split_token(code: &str) -> (&str, &str) {
    let prefixes = ["r#", "'", "::"].into_iter();
    let prefix = prefixes.filter(|it| code.starts_with(it)).map(str::len);
    let prefix = prefix.sum();
    let is_separator = code.starts_with("::");
    let word = code[prefix..].chars();
    let word = word.take_while(|c| !is_separator && (c.is_alphanumeric() || *c == '_'));
    let end = prefix + word.map(char::len_utf8).sum::<usize>();
    let first = code.chars().next().map_or(0, char::len_utf8);
    code.split_at(end.max(first))
}

#[test]
fn attributes_and_items_of_tests_are_not_code_of_the_product() {
    let source = "
        #![warn(x)] // crate::a
        fn f<'a>(it: &'a r#type) -> crate::g::H { 'b: loop {} }
        #[cfg(test)] #[derive(X)] mod tests { use crate::i; }
        #[cfg(test)] pub(crate) use crate::{j, k};
        enum E { #[cfg(test)] A(crate::l), B }
        #[must_use] fn r() { b(\"crate::m\") }";
    let read: Vec<_> = product_tokens(source)
        .into_iter()
        .map(|it| it.text)
        .collect();
    assert_eq!(
        read.join(" "),
        "fn f < > ( it : & type ) - > crate :: g :: H { : loop { } } enum E { B } fn r ( ) { b ( ) }"
    );
    assert_eq!(tokens("a\n\nb")[1].line, 3);
}
