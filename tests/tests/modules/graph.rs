//! Cycles in the graph of a crate's modules, level by level.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;

use crate::tree::ModuleTree;

/// Uses between the parts of one module, each with the place of one of them.
type LevelGraph = BTreeMap<Vec<String>, BTreeMap<Vec<String>, (PathBuf, usize)>>;

/// Returns every cycle that is the shortest one of a part, spelled out with its places.
pub(crate) fn cycles(tree: &ModuleTree) -> Vec<String> {
    let mut found = Vec::new();
    for level in levels(tree).into_values() {
        let mut known = BTreeSet::new();
        for start in level.keys() {
            let Some(cycle) = shortest_cycle(&level, start) else {
                continue;
            };
            if known.insert(cycle.iter().cloned().collect::<BTreeSet<_>>()) {
                found.push(shown(&level, &cycle));
            }
        }
    }
    found
}

/// Groups the uses between files by the innermost module that contains both files.
///
/// The parts of a module are its own file, and each child together with everything below it.
fn levels(tree: &ModuleTree) -> BTreeMap<Vec<String>, LevelGraph> {
    let mut levels: BTreeMap<_, LevelGraph> = BTreeMap::new();
    for it in tree.uses() {
        let (from, to) = (&tree.all[it.from], &tree.all[it.to]);
        let shared = from.path.iter().zip(&to.path);
        let depth = shared.take_while(|(from, to)| from == to).count();
        let part = |path: &[String]| path[..path.len().min(depth + 1)].to_vec();
        let level = levels.entry(from.path[..depth].to_vec()).or_default();
        let place = (from.file.clone(), it.line);
        let uses = level.entry(part(&from.path)).or_default();
        uses.entry(part(&to.path)).or_insert(place);
    }
    levels
}

/// Returns the parts of a shortest cycle through `start`, beginning with it.
fn shortest_cycle(level: &LevelGraph, start: &[String]) -> Option<Vec<Vec<String>>> {
    let mut reached: BTreeMap<&[String], &[String]> = BTreeMap::new();
    let mut waiting = VecDeque::from([start]);
    while let Some(part) = waiting.pop_front() {
        for next in level.get(part).into_iter().flat_map(BTreeMap::keys) {
            if next == start {
                let back = std::iter::successors(Some(part), |it| reached.get(it).copied());
                let mut cycle: Vec<_> = back.map(<[String]>::to_vec).collect();
                cycle.reverse();
                return Some(cycle);
            }
            if !reached.contains_key(next.as_slice()) {
                reached.insert(next, part);
                waiting.push_back(next);
            }
        }
    }
    None
}

fn shown(level: &LevelGraph, cycle: &[Vec<String>]) -> String {
    let name = |part: &[String]| match part {
        [] => "crate".to_owned(),
        path => path.join("::"),
    };
    let steps = cycle.iter().enumerate().map(|(at, part)| {
        let next = &cycle[(at + 1) % cycle.len()];
        let (file, line) = &level[part][next];
        format!(" -> {} ({}:{line})", name(next), file.display())
    });
    std::iter::once(name(&cycle[0])).chain(steps).collect()
}
