//! The recipes of docs/development.md name files that exist and commands that run something.
//!
//! A path is text in backticks with a slash or an ending such as `.md`; with a slash at its end it
//! is a folder. A command begins with a program of this list: cargo, python3, tests/run,
//! tests/backends/with.
#![expect(clippy::unwrap_used, reason = "a broken rule should panic")]

use std::fs;
use std::path::{Path, PathBuf};

use gimlet_tests::source_code::repository;

const PAGE: &str = "docs/development.md";

/// Recipes that the page must have, by their headings.
const RECIPES: &[&str] = &[
    "a packet",
    "a request of backends",
    "a stored field",
    "a store method",
    "an engine",
    "a setting",
    "a push service",
    "a metric",
    "a log line",
    "an error code",
    "a listener",
    "a wire",
    "a scenario",
    "a fault",
];

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_default()
}

/// Returns the texts in backticks, and the lines of blocks of commands.
fn code_of(page: &str) -> (Vec<String>, Vec<String>) {
    let (mut inline, mut commands) = (Vec::new(), Vec::new());
    for (at, block) in page.split("```").enumerate() {
        if at % 2 == 1 {
            let lines = block.lines().skip(1).map(|line| {
                let command = line.split(" #").next().unwrap_or_default();
                command.trim().to_owned()
            });
            commands.extend(lines.filter(|line| !line.is_empty()));
        } else {
            inline.extend(block.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    (inline, commands)
}

/// Returns the folder of a crate of the workspace.
fn crate_folder(name: &str) -> Option<PathBuf> {
    let workspace: toml::Table = read("Cargo.toml").parse().unwrap();
    let members = workspace.get("workspace")?.get("members")?.as_array()?;
    let folders = members.iter().filter_map(|member| member.as_str());
    let wanted = format!("name = \"{name}\"");
    folders
        .map(|folder| repository().join(folder))
        .find(|folder| read(folder.join("Cargo.toml")).contains(&wanted))
}

/// Returns whether a crate has this test, example or other target.
fn has_target(folder: &Path, kind: &str, name: &str) -> bool {
    let places = [
        format!("{kind}s/{name}.rs"),
        format!("{kind}s/{name}/main.rs"),
    ];
    places.iter().any(|place| folder.join(place).is_file())
}

/// Returns whether a source below a folder has a module, function or file of this name.
fn has_test(folder: &Path, filter: &str) -> bool {
    let last = filter.rsplit("::").next().unwrap();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                let text = read(&path);
                if text.contains(&format!("fn {last}")) || text.contains(&format!("mod {last}")) {
                    return true;
                }
            }
        }
    }
    false
}

/// Returns the reason a command runs nothing.
fn fault_of(command: &str) -> Option<String> {
    let words: Vec<_> = command.split_whitespace().collect();
    match words.as_slice() {
        ["tests/backends/with", ..] => {
            let rest = command.trim_start_matches("tests/backends/with").trim();
            fault_of(rest)
        }
        ["python3", script, ..] => {
            (!repository().join(script).is_file()).then(|| format!("{script} does not exist"))
        }
        ["tests/run", steps @ ..] => {
            let script = read("tests/run");
            let missing = steps
                .iter()
                .filter(|step| !step.starts_with('-') && **step != "STEP…")
                .find(|step| !script.contains(&format!("run_{step}() {{")));
            missing.map(|step| format!("tests/run has no step {step}"))
        }
        [
            "cargo",
            "test" | "run" | "check" | "bench",
            "-p",
            package,
            arguments @ ..,
        ] => {
            let Some(folder) = crate_folder(package) else {
                return Some(format!("there is no crate {package}"));
            };
            let mut arguments = arguments.iter();
            while let Some(argument) = arguments.next() {
                match *argument {
                    "--test" | "--example" | "--bench" => {
                        let name = arguments.next().unwrap();
                        let kind = argument.trim_start_matches("--");
                        if !has_target(&folder, kind, name) {
                            return Some(format!("{package} has no {kind} {name}"));
                        }
                    }
                    "--" => return None,
                    "--features" => {
                        arguments.next();
                    }
                    option if option.starts_with('-') => {}
                    filter if !has_test(&folder, filter) => {
                        return Some(format!("{package} has no test {filter}"));
                    }
                    _ => {}
                }
            }
            None
        }
        _ => Some("is not a command that this test knows".to_owned()),
    }
}

/// Returns whether a text is the name of a page or manifest at the root.
fn is_page(text: &str) -> bool {
    let ending = Path::new(text).extension();
    ending.is_some_and(|it| it == "md" || it == "toml")
}

fn is_command(text: &str) -> bool {
    let programs = ["cargo ", "python3 ", "tests/run", "tests/backends/with"];
    programs.iter().any(|program| text.starts_with(program))
}

/// A recipe that names a missing file misleads its reader.
#[test]
fn the_files_and_commands_of_the_recipes_exist() {
    let (inline, mut commands) = code_of(&read(PAGE));
    let (mut paths, mut wrong) = (0, Vec::new());
    for text in inline {
        if is_command(&text) {
            commands.push(text);
        } else if text.contains('/') || is_page(&text) {
            paths += 1;
            let path = repository().join(&text);
            let exists = if text.ends_with('/') {
                path.is_dir()
            } else {
                path.is_file()
            };
            if !exists {
                wrong.push(format!("{text} does not exist"));
            }
        }
    }
    assert!(paths >= 100, "only {paths} paths are named");
    assert!(commands.len() >= 12, "{commands:?}");
    for command in commands {
        wrong.extend(fault_of(&command).map(|fault| format!("`{command}`: {fault}")));
    }
    assert!(wrong.is_empty(), "{PAGE}:\n{}", wrong.join("\n"));
}

#[test]
fn every_common_change_has_its_recipe() {
    let page = read(PAGE);
    for recipe in RECIPES {
        let heading = format!("\n## Add {recipe}\n");
        assert!(page.contains(&heading), "{PAGE} has no recipe for {recipe}");
    }
}

#[test]
fn a_command_without_a_target_is_found() {
    for (command, fault) in [
        ("cargo test -p gimlet-cooking", "there is no crate"),
        (
            "cargo test -p gimlet-core --test pudding",
            "has no test pudding",
        ),
        (
            "cargo test -p gimlet-core a_pudding_is_served",
            "has no test",
        ),
        (
            "cargo run -p gimlet-server --example pudding",
            "has no example pudding",
        ),
        ("tests/run pudding", "has no step pudding"),
        (
            "tests/backends/with python3 tests/pudding.py",
            "does not exist",
        ),
        ("make pudding", "is not a command"),
    ] {
        let found = fault_of(command).unwrap_or_default();
        assert!(found.contains(fault), "{command}: {found}");
    }
    assert_eq!(fault_of("cargo test -p gimlet-core --test contract"), None);
}
