//! Names: rules of CONTRIBUTING.md that a list of words can check.
#![expect(clippy::unwrap_used, reason = "a broken rule should panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use gimlet_tests::source_code::{code_only, repository, rust_files};

/// Type names of one word: words of the glossary in ARCHITECTURE.md, and those that mean the same
/// in every Rust program. All other types have a name of at least two words.
const ONE_WORD_TYPES: &[&str] = &[
    "Args",
    "Client",
    "Config",
    "Cursor",
    "Device",
    "Envelope",
    "Epoch",
    "Friend",
    "Generation",
    "Group",
    "Head",
    "Inbox",
    "Lease",
    "Limits",
    "Member",
    "Message",
    "Roster",
    "Route",
    "Seq",
    "Server",
];

/// Private words of earlier versions, which no definition may use as a part of its name, and the
/// standard terms that replace them.
const DIALECT: &[(&str, &str)] = &[
    ("lane", "batch writer, worker"),
    ("ticket", "completion"),
    ("crowd", "room fan-out"),
    ("pulse", "pause detector"),
    ("nudge", "flush"),
    ("knock", "connect attempt"),
    ("parcel", "delivery batch"),
    ("hasty", "short delay"),
    ("patient", "long delay"),
    ("fragile", "legacy client"),
    ("deaf", "unreachable"),
    ("owed", "pending"),
    ("debt", "pending takeover"),
    ("tie", "friendship"),
    ("nonsense", "decode error"),
    ("trouble", "failure, call error"),
    ("doorman", "fake business server"),
    ("door", "entry point"),
    ("doors", "entry points, addresses"),
    ("dice", "seeded random numbers"),
    ("crew", "simulated users"),
    ("hall", "receivers"),
    ("ears", "connections"),
    ("hears", "receives"),
    ("goals", "targets"),
    ("unnumbered", "unsequenced"),
    ("outlet", "event channel"),
    ("keeper", "cursor saver"),
    ("greet", "handshake"),
    ("wakes", "wake list"),
    ("shut", "fenced"),
    ("heard", "received"),
];

/// A definition in the code.
#[derive(Debug, PartialEq)]
struct NamedItem<'a> {
    /// `struct`, `enum`, `trait`, `type`, `fn`, `const`, `static` or `mod`.
    keyword: &'a str,
    name: &'a str,
    line: usize,
}

impl NamedItem<'_> {
    fn is_type(&self) -> bool {
        ["struct", "enum", "trait", "type"].contains(&self.keyword)
    }
}

/// Splits code into words and single other characters, each with its line.
fn tokens(code: &str) -> Vec<(&str, usize)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for (at, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let end = if is_word(first) {
                rest.find(|c| !is_word(c)).unwrap_or(rest.len())
            } else {
                first.len_utf8()
            };
            let (token, after) = rest.split_at(end);
            found.push((token, at + 1));
            rest = after.trim_start();
        }
    }
    found
}

/// Returns the definitions of a file. Associated types are no definitions: a trait names them.
fn definitions(code: &str) -> Vec<NamedItem<'_>> {
    let mut found = Vec::new();
    let mut blocks: Vec<bool> = Vec::new();
    let mut opens_impl = false;
    let mut previous = ("", 0);
    for (token, line) in tokens(code) {
        match token {
            // `impl Trait` in the type of an argument is followed by `fn`'s own `{`.
            "impl" => opens_impl = ["", ";", "}", "{", "]", "unsafe"].contains(&previous.0),
            "trait" => opens_impl = true,
            "{" => {
                blocks.push(opens_impl);
                opens_impl = false;
            }
            "}" => drop(blocks.pop()),
            _ => {}
        }
        let keyword = previous.0;
        let named = token
            .chars()
            .next()
            .is_some_and(|c| c.is_alphabetic() || c == '_');
        let defines = [
            "struct", "enum", "trait", "type", "fn", "const", "static", "mod",
        ]
        .contains(&keyword);
        let is_associated = keyword == "type" && blocks.last() == Some(&true);
        if named && defines && !is_associated && !["fn", "unsafe", "mut"].contains(&token) {
            found.push(NamedItem {
                keyword,
                name: token,
                line,
            });
        }
        previous = (token, line);
    }
    found
}

/// Returns the words of a name, in lower case: `TokenQueue` and `TOKEN_QUEUE` have two.
fn words(name: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    let mut before = '_';
    for c in name.chars() {
        if c == '_' || c.is_uppercase() && (before.is_lowercase() || before.is_numeric()) {
            found.push(String::new());
        }
        if c != '_' {
            found.last_mut().unwrap().extend(c.to_lowercase());
        }
        before = c;
    }
    found.retain(|it| !it.is_empty());
    found
}

/// Returns the folder of the package that a file belongs to.
fn package(path: &str) -> String {
    let folders = Path::new(path).ancestors().skip(1);
    let mut owners = folders.filter(|it| repository().join(it).join("Cargo.toml").exists());
    owners.next().unwrap().display().to_string()
}

/// Calls a function for each definition of the repository.
fn each_definition(mut visit: impl FnMut(&str, &NamedItem<'_>)) {
    for file in rust_files() {
        let code = code_only(&file.text);
        for definition in definitions(&code) {
            visit(&file.path, &definition);
        }
    }
}

#[test]
fn a_type_name_has_two_words_or_is_in_the_glossary() {
    let mut wrong = Vec::new();
    each_definition(|path, it| {
        if it.is_type() && words(it.name).len() < 2 && !ONE_WORD_TYPES.contains(&it.name) {
            wrong.push(format!("{path}:{}: {}", it.line, it.name));
        }
    });
    assert!(
        wrong.is_empty(),
        "these type names say too little; name what the type is in two words or more, or add a \
         word of the domain to ONE_WORD_TYPES:\n{}",
        wrong.join("\n")
    );
}

/// Alternatives for platforms (`cfg`) stand in one file and count as one.
#[test]
fn a_type_name_occurs_once_in_a_package() {
    let mut places: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    each_definition(|path, it| {
        if it.is_type() {
            let key = (package(path), it.name.to_owned());
            places.entry(key).or_default().insert(path.to_owned());
        }
    });
    let twice = places.iter().filter(|(_, places)| places.len() > 1);
    let twice: Vec<String> = twice
        .map(|(key, places)| format!("{}: {places:?}", key.1))
        .collect();
    assert!(
        twice.is_empty(),
        "these type names occur more than once in their package:\n{}",
        twice.join("\n")
    );
}

/// Returns the names that `let` gives, with their lines.
fn local_names(code: &str) -> Vec<(&str, usize)> {
    let mut found = Vec::new();
    let mut previous = "";
    for (token, line) in tokens(code) {
        if previous == "let" && token == "mut" {
            continue;
        }
        if previous == "let" {
            found.push((token, line));
        }
        previous = token;
    }
    found
}

#[test]
fn no_local_name_is_a_private_word() {
    let mut wrong = Vec::new();
    for file in rust_files() {
        for (name, line) in local_names(&code_only(&file.text)) {
            // `Parcel` is the type of a delivery batch on the wire between nodes.
            let private = DIALECT.iter().find(|it| it.0 == name && name != "parcel");
            if let Some((_, term)) = private {
                wrong.push(format!("{}:{line}: {name}: use the term {term}", file.path));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "private words as names of variables:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn local_names_are_found_after_let() {
    let code = "let a = 1; let mut b = 2; if let Some(c) = d {} let (e, f) = g;";
    let names: Vec<&str> = local_names(code).into_iter().map(|it| it.0).collect();
    assert_eq!(names, ["a", "b", "Some", "("]);
}

#[test]
fn no_definition_uses_a_private_word() {
    let mut wrong = Vec::new();
    each_definition(|path, it| {
        let words = words(it.name);
        for (word, term) in DIALECT {
            if words.iter().any(|it| it == word) {
                let line = it.line;
                wrong.push(format!("{path}:{line}: {}: use the term {term}", it.name));
            }
        }
    });
    assert!(
        wrong.is_empty(),
        "private words in names:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn definitions_are_found_by_their_keyword() {
    let code = "pub struct One<T> { a: T }\nimpl Two for One<u8> {\n    type Out = u8;\n    fn go() {}\n}\n\
                trait Two { type Out; }\nfn f(x: impl Two) { enum Inner {} }\nconst fn g() {} const LEN: usize = 1;";
    let found = definitions(code);
    let names: Vec<&str> = found.iter().map(|it| it.name).collect();
    assert_eq!(names, ["One", "go", "Two", "f", "Inner", "g", "LEN"]);
    let types = found.iter().filter(|it| it.is_type()).count();
    assert_eq!(types, 3);
    assert_eq!(words("TokenQueueLen"), ["token", "queue", "len"]);
    assert_eq!(words("TOKEN_QUEUE"), ["token", "queue"]);
}
