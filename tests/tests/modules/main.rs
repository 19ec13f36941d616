//! The modules of every crate are layers: no module uses, directly or through others, a module
//! that uses it.
//!
//! The rule, for the modules of one crate:
//!
//! - A file uses another one if its code names an item that the other one defines, by a `use` or by
//!   a path. A re-export is followed to the file that defines the item. Comments, attributes and
//!   everything under `#[cfg(test)]` do not count, and neither do methods: a type's `impl` blocks
//!   may be spread over the children of its module.
//! - A module's own file that re-exports an item of its children (`pub use child::Item`) does not
//!   use it: callers do.
//! - The parts of a module are its own file, and each of its children with everything below. Their
//!   uses of each other have no cycle, at every level of the tree. So sibling folders are layers as
//!   sibling files are; and a module's own file either composes its children, or holds what they
//!   share, but not both.
//!
//! A cycle is cut by moving the shared type down into a file of its own, or a trait to the module
//! that calls it.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a broken rule should panic"
)]

mod graph;
mod tokens;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};

use gimlet_tests::source_code::{SourceFile, repository, rust_files};

use graph::cycles;
use tree::{ModuleTree, SourceTexts};

/// Returns the files of a member of the workspace, and the root files of its library and programs.
fn read_member(member: &str, files: &[SourceFile]) -> (SourceTexts, Vec<PathBuf>) {
    let folder = Path::new(member).join("src");
    let files = files.iter();
    let files = files.filter(|it| Path::new(&it.path).starts_with(&folder));
    let sources: SourceTexts = files
        .map(|it| (PathBuf::from(&it.path), it.text.clone()))
        .collect();
    let is_root = |path: &&PathBuf| {
        path.parent() == Some(&folder.join("bin"))
            || [folder.join("lib.rs"), folder.join("main.rs")].contains(path)
    };
    let roots: Vec<_> = sources.keys().filter(is_root).cloned().collect();
    assert!(
        !roots.is_empty(),
        "{member} has neither a library nor a program"
    );
    (sources, roots)
}

#[test]
fn the_modules_of_every_crate_are_layers() {
    let manifest = fs::read_to_string(repository().join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let files = rust_files();
    let mut found = Vec::new();
    let (mut modules, mut uses) = (0, 0);
    for member in manifest["workspace"]["members"].as_array().unwrap() {
        let (sources, roots) = read_member(member.as_str().unwrap(), &files);
        for root in roots {
            let tree = ModuleTree::read(&root, &sources);
            modules += tree.all.len();
            uses += tree.uses().len();
            found.extend(cycles(&tree));
        }
    }
    assert!(
        modules > 400 && uses > 1_000,
        "{modules} modules with {uses} uses are too few: the search is broken"
    );
    assert!(
        found.is_empty(),
        "modules use each other in a cycle; move what both need down into a file of its own:\n{}",
        found.join("\n")
    );
}

/// Returns the cycles of a crate whose files are given by their paths below `src`.
fn cycles_of(files: &[(&str, &str)]) -> Vec<String> {
    let files = files.iter();
    let sources = files.map(|(path, text)| (PathBuf::from(path), (*text).to_owned()));
    cycles(&ModuleTree::read(Path::new("lib.rs"), &sources.collect()))
}

#[test]
fn a_cycle_of_siblings_is_spelled_out() {
    let found = cycles_of(&[
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a.rs", "\nuse crate::b::B;\npub struct A(B);"),
        ("b.rs", "pub struct B;\nfn f() { super::c::g() }"),
        (
            "c.rs",
            "use super::a::{self, A as Renamed};\npub fn g() { a::h() }",
        ),
    ]);
    assert_eq!(found, ["a -> b (a.rs:2) -> c (b.rs:2) -> a (c.rs:1)"]);
}

#[test]
fn folders_are_layers_although_their_files_have_no_cycle() {
    let found = cycles_of(&[
        ("lib.rs", "mod low; mod high;"),
        ("low/mod.rs", "pub mod x; mod y;"),
        ("low/x.rs", "pub struct X;"),
        ("low/y.rs", "use crate::high::High;"),
        ("high.rs", "use crate::low::x::X; pub struct High;"),
    ]);
    assert_eq!(found, ["high -> low (high.rs:1) -> high (low/y.rs:1)"]);
}

#[test]
fn a_folders_own_file_does_not_both_compose_and_serve_its_children() {
    let child = ("a/b.rs", "use super::Shared; pub struct B;");
    let root = ("lib.rs", "mod a;");
    let serves = "pub mod b; pub use b::B; pub struct Shared;";
    assert!(cycles_of(&[root, ("a/mod.rs", serves), child]).is_empty());
    let composes = "mod b; use b::B; pub struct Shared;";
    let found = cycles_of(&[root, ("a/mod.rs", composes), child]);
    assert_eq!(found, ["a -> a::b (a/mod.rs:1) -> a (a/b.rs:1)"]);
    let found = cycles_of(&[root, ("a.rs", composes), child]);
    assert_eq!(found, ["a -> a::b (a.rs:1) -> a (a/b.rs:1)"]);
}

#[test]
fn a_re_export_leads_to_the_file_that_defines_the_item() {
    let found = cycles_of(&[
        (
            "lib.rs",
            "mod a; mod b; pub use a::*; #[macro_export] macro_rules! m { () => {} }",
        ),
        (
            "a/mod.rs",
            "mod d; mod e; pub use d::D; pub(crate) use e::*;",
        ),
        ("a/d.rs", "use super::E; pub struct D;"),
        ("a/e.rs", "pub struct E; fn f() { crate::m!() }"),
        ("b.rs", "use crate::D;"),
    ]);
    assert!(found.is_empty(), "{found:?}");
    let found = cycles_of(&[
        ("lib.rs", "mod a; mod b; pub use a::*;"),
        ("a/mod.rs", "mod d; mod e; pub use d::*;"),
        ("a/d.rs", "use super::e::E; pub struct D;"),
        ("a/e.rs", "pub enum E {}\nfn f(_: crate::D) {}"),
        ("b.rs", ""),
    ]);
    assert_eq!(found, ["a::d -> a::e (a/d.rs:1) -> a::d (a/e.rs:2)"]);
}

#[test]
fn tests_comments_inline_modules_and_other_crates_make_no_cycle() {
    let found = cycles_of(&[
        ("lib.rs", "pub mod a; pub mod b; use bytes::Bytes;"),
        (
            "a.rs",
            "//! [`crate::b::B`]\nuse crate::b::B; mod inner { use super::A; } pub struct A;",
        ),
        (
            "b.rs",
            "pub struct B; /* crate::a::A */ const T: &str = \"crate::a::A\"; use a::A;\n\
             #[cfg(test)] mod tests { use crate::a::A; } #[cfg(test)] use crate::a::A;",
        ),
    ]);
    assert!(found.is_empty(), "{found:?}");
}
