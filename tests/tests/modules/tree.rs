//! The modules of one crate: their files, their items, and the names that each of them uses.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::tokens::{CodeToken, after_group, is_word, product_tokens, text};

/// Rust files by path.
pub(crate) type SourceTexts = BTreeMap<PathBuf, String>;

/// Keywords that are followed by the name of an item.
const ITEM_KEYWORDS: &[&str] = &[
    "struct", "enum", "union", "trait", "type", "fn", "const", "static", "mod",
];

/// A module; an inline module has the file of its parent.
#[derive(Debug)]
pub(crate) struct CrateModule {
    /// Names from the root of the crate down to the module.
    pub(crate) path: Vec<String>,
    pub(crate) file: PathBuf,
    parent: Option<usize>,
    is_inline: bool,
    children: BTreeMap<String, usize>,
    items: BTreeSet<String>,
    imports: Vec<ImportedName>,
    paths: Vec<UsedPath>,
}

/// One name that a `use` brings into a module; `*` for all names.
#[derive(Debug)]
struct ImportedName {
    name: String,
    is_public: bool,
    target: UsedPath,
}

/// A path that the code of a module names, for example `crate::id::UserId`.
#[derive(Debug)]
struct UsedPath {
    segments: Vec<String>,
    line: usize,
}

/// Module to which a path leads, or that defines the item to which it leads.
#[derive(Clone, Copy, Debug)]
enum PathTarget {
    Module(usize),
    ItemOf(usize),
}

/// Use of an item of another file, at its first place.
#[derive(Debug)]
pub(crate) struct ModuleUse {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) line: usize,
}

/// All modules of a crate; the first one is its root.
#[derive(Debug, Default)]
pub(crate) struct ModuleTree {
    pub(crate) all: Vec<CrateModule>,
    macros: BTreeMap<String, usize>,
}

impl ModuleTree {
    /// Reads the crate whose root is the given file.
    pub(crate) fn read(root: &Path, sources: &SourceTexts) -> Self {
        let mut modules = Self::default();
        modules.read_file(root, Vec::new(), None, sources);
        modules
    }

    /// Returns the uses of items between files, one for each pair of files.
    pub(crate) fn uses(&self) -> Vec<ModuleUse> {
        let mut found = BTreeMap::new();
        for (id, module) in self.all.iter().enumerate() {
            let from = self.file_module(id);
            let imports = module.imports.iter().filter_map(|it| {
                let to = self.imported_from(id, from, it)?;
                Some((to, it.target.line))
            });
            let paths = module.paths.iter().filter_map(|it| {
                match self.resolve(id, &it.segments, &mut BTreeSet::new())? {
                    PathTarget::ItemOf(to) => Some((to, it.line)),
                    PathTarget::Module(_) => None,
                }
            });
            for (to, line) in imports.chain(paths) {
                let to = self.file_module(to);
                if to != from {
                    found.entry((from, to)).or_insert(line);
                }
            }
        }
        let uses = found.into_iter();
        uses.map(|((from, to), line)| ModuleUse { from, to, line })
            .collect()
    }

    /// Returns the module whose item an import names, unless it is a re-export of an item below
    /// the file `from`.
    fn imported_from(&self, id: usize, from: usize, import: &ImportedName) -> Option<usize> {
        let segments = &import.target.segments;
        if segments.len() == 1 && segments[0] == import.name {
            return None;
        }
        let mut seen = BTreeSet::new();
        if segments[0] == import.name {
            seen.insert((id, import.name.clone()));
        }
        let to = match self.resolve(id, segments, &mut seen)? {
            PathTarget::ItemOf(to) => to,
            PathTarget::Module(to) if import.name == "*" => to,
            PathTarget::Module(_) => return None,
        };
        let is_below = self.all[to].path.starts_with(&self.all[from].path);
        (!(import.is_public && is_below)).then_some(to)
    }

    /// Returns the module that stands for a file: the module itself, unless it is inline.
    fn file_module(&self, mut id: usize) -> usize {
        while self.all[id].is_inline {
            id = self.all[id].parent.unwrap();
        }
        id
    }

    /// Follows a path from a module; returns nothing for a path into another crate.
    fn resolve(
        &self,
        from: usize,
        segments: &[String],
        seen: &mut BTreeSet<(usize, String)>,
    ) -> Option<PathTarget> {
        let mut at = from;
        for (index, segment) in segments.iter().enumerate() {
            at = match segment.as_str() {
                "crate" => 0,
                "self" => at,
                "super" => self.all[at].parent?,
                name => match self.lookup(at, name, seen) {
                    Some(PathTarget::Module(id)) => id,
                    Some(item) => return Some(item),
                    // A name that a macro defines, as seen from `crate`, `self` or `super`.
                    None if index > 0 => return Some(PathTarget::ItemOf(at)),
                    None => return None,
                },
            };
        }
        Some(PathTarget::Module(at))
    }

    /// Finds a name in a module: a child, an item, an import, a macro, or a name behind a `*`.
    fn lookup(
        &self,
        id: usize,
        name: &str,
        seen: &mut BTreeSet<(usize, String)>,
    ) -> Option<PathTarget> {
        let module = &self.all[id];
        if let Some(child) = module.children.get(name) {
            return Some(PathTarget::Module(*child));
        }
        if module.items.contains(name) {
            return Some(PathTarget::ItemOf(id));
        }
        if !seen.insert((id, name.to_owned())) {
            return None;
        }
        if let Some(import) = module.imports.iter().find(|it| it.name == name) {
            return self.resolve(id, &import.target.segments, seen);
        }
        if id == 0 && self.macros.contains_key(name) {
            return self.macros.get(name).map(|it| PathTarget::ItemOf(*it));
        }
        module.imports.iter().find_map(|import| {
            if import.name != "*" {
                return None;
            }
            match self.resolve(id, &import.target.segments, seen)? {
                PathTarget::Module(all) if all != id => self.lookup(all, name, seen),
                _ => None,
            }
        })
    }

    fn read_file(
        &mut self,
        file: &Path,
        path: Vec<String>,
        parent: Option<usize>,
        sources: &SourceTexts,
    ) -> usize {
        let source = sources.get(file);
        let source = source.unwrap_or_else(|| panic!("{} is not a source", file.display()));
        let id = self.add(file, path, parent, false);
        self.read_items(&product_tokens(source), id, sources);
        id
    }

    fn add(
        &mut self,
        file: &Path,
        path: Vec<String>,
        parent: Option<usize>,
        is_inline: bool,
    ) -> usize {
        self.all.push(CrateModule {
            path,
            file: file.to_owned(),
            parent,
            is_inline,
            children: BTreeMap::new(),
            items: BTreeSet::new(),
            imports: Vec::new(),
            paths: Vec::new(),
        });
        self.all.len() - 1
    }

    fn read_items(&mut self, tokens: &[CodeToken], id: usize, sources: &SourceTexts) {
        let mut depth = 0;
        let mut at = 0;
        while at < tokens.len() {
            let word = text(tokens, at);
            let next = text(tokens, at + 1);
            let previous = at.checked_sub(1).map_or("", |it| text(tokens, it));
            match word {
                "{" => depth += 1,
                "}" => depth -= 1,
                // `use<'a>` is a bound of an `impl Trait`.
                "use" if next != "<" => {
                    at = self.read_import(tokens, at, id);
                    continue;
                }
                "mod" if is_word(next) => {
                    at = self.read_module(tokens, at, id, sources);
                    continue;
                }
                "macro_rules" => {
                    self.macros.insert(text(tokens, at + 2).to_owned(), id);
                }
                _ if ITEM_KEYWORDS.contains(&word) && is_word(next) && depth == 0 => {
                    self.all[id].items.insert(next.to_owned());
                }
                _ => {}
            }
            let begins_path = is_word(word) && previous != "." && previous != "::";
            let end = if begins_path {
                end_of_path(tokens, at)
            } else {
                at + 1
            };
            if end > at + 1 {
                let words = tokens[at..end].iter().filter(|it| it.text != "::");
                let segments = words.map(|it| it.text.clone()).collect();
                let line = tokens[at].line;
                self.all[id].paths.push(UsedPath { segments, line });
            }
            at = end;
        }
    }

    /// Reads `mod name;` or `mod name { … }`; returns the position behind it.
    fn read_module(
        &mut self,
        tokens: &[CodeToken],
        at: usize,
        parent: usize,
        sources: &SourceTexts,
    ) -> usize {
        let name = text(tokens, at + 1).to_owned();
        let mut path = self.all[parent].path.clone();
        path.push(name.clone());
        let body = at + 2;
        let (child, end) = if text(tokens, body) == ";" {
            let file = self.child_file(parent, &name, sources);
            let child = self.read_file(&file, path, Some(parent), sources);
            (child, body + 1)
        } else {
            let end = after_group(tokens, body);
            let file = self.all[parent].file.clone();
            let child = self.add(&file, path, Some(parent), true);
            self.read_items(&tokens[body + 1..end - 1], child, sources);
            (child, end)
        };
        self.all[parent].children.insert(name, child);
        end
    }

    fn child_file(&self, parent: usize, name: &str, sources: &SourceTexts) -> PathBuf {
        let parent = &self.all[parent];
        let stem = parent.file.file_stem().unwrap().to_string_lossy();
        let mut folder = parent.file.parent().unwrap().to_owned();
        if !parent.path.is_empty() && stem != "mod" {
            folder.push(stem.as_ref());
        }
        let files = [
            folder.join(format!("{name}.rs")),
            folder.join(name).join("mod.rs"),
        ];
        let file = files.iter().find(|it| sources.contains_key(*it));
        let file = file.unwrap_or_else(|| panic!("none of {files:?} exists"));
        file.clone()
    }

    /// Reads a `use` item; returns the position of its semicolon.
    fn read_import(&mut self, tokens: &[CodeToken], at: usize, id: usize) -> usize {
        let is_public = match at.checked_sub(1).map(|it| text(tokens, it)) {
            Some("pub") => true,
            // `pub(crate) use`, `pub(super) use`
            Some(")") => tokens[..at].iter().rev().take(6).any(|it| it.text == "pub"),
            _ => false,
        };
        let mut imports = Vec::new();
        let end = read_import_tree(tokens, at + 1, &[], &mut imports);
        let line = tokens[at].line;
        for (name, segments) in imports {
            self.all[id].imports.push(ImportedName {
                name,
                is_public,
                target: UsedPath { segments, line },
            });
        }
        end
    }
}

fn end_of_path(tokens: &[CodeToken], start: usize) -> usize {
    let mut end = start + 1;
    while text(tokens, end) == "::" && is_word(text(tokens, end + 1)) {
        end += 2;
    }
    end
}

/// Reads one branch of a `use` tree; returns the position behind it.
fn read_import_tree(
    tokens: &[CodeToken],
    mut at: usize,
    prefix: &[String],
    found: &mut Vec<(String, Vec<String>)>,
) -> usize {
    let mut path = prefix.to_vec();
    loop {
        match text(tokens, at) {
            "::" => at += 1,
            "{" => {
                at += 1;
                while text(tokens, at) != "}" {
                    at = read_import_tree(tokens, at, &path, found);
                    at += usize::from(text(tokens, at) == ",");
                }
                return at + 1;
            }
            "*" => {
                found.push(("*".to_owned(), path));
                return at + 1;
            }
            word => {
                path.push(word.to_owned());
                at += 1;
                let next = text(tokens, at);
                if next != "::" {
                    if path.len() > 1 && path.last().is_some_and(|it| it == "self") {
                        path.pop();
                    }
                    let is_renamed = next == "as";
                    let name = if is_renamed {
                        text(tokens, at + 1).to_owned()
                    } else {
                        path.last().cloned().unwrap_or_default()
                    };
                    found.push((name, path));
                    return at + if is_renamed { 2 } else { 0 };
                }
            }
        }
    }
}
