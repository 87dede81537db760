//! Which module needs which, and in which order.

use std::collections::{BTreeMap, BTreeSet};

use super::{DepmodError, Loaded};

/// Dependencies between modules, all by index.
#[derive(Debug)]
pub(super) struct Graph {
    /// Every exported symbol with the module that exports it.
    pub symbols: BTreeMap<String, usize>,
    /// What each module needs itself.
    direct: Vec<Vec<usize>>,
    /// Place in the topological order: users before what they use.
    rank: Vec<usize>,
}

impl Graph {
    /// Works out the dependencies (kmod, `depmod_load_dependencies` and `depmod_calculate_dependencies`).
    pub(super) fn new(modules: &[Loaded]) -> Result<Self, DepmodError> {
        let mut symbols = BTreeMap::new();
        for (index, loaded) in modules.iter().enumerate() {
            // Of two modules that export one symbol, the later counts.
            symbols.extend(loaded.module.exports.iter().map(|(name, _)| (name.clone(), index)));
        }
        let mut direct = vec![Vec::new(); modules.len()];
        let mut users = vec![0_usize; modules.len()];
        for (index, loaded) in modules.iter().enumerate() {
            let mut seen = BTreeSet::new();
            for need in &loaded.module.needs {
                let owner = symbols.get(need.strip_prefix('.').unwrap_or(need));
                if let Some(owner) = owner.filter(|owner| seen.insert(**owner)) {
                    direct[index].push(*owner);
                    users[*owner] += 1;
                }
            }
        }
        let rank = sort(&direct, users).map_err(|circle: Vec<usize>| {
            let mut names: Vec<_> =
                circle.into_iter().map(|index| modules[index].found.name.clone()).collect();
            names.sort();
            DepmodError::Cycle(names)
        })?;
        Ok(Self { symbols, direct, rank })
    }

    /// Everything that a module needs, directly or not, users before what they use.
    pub(super) fn all_dependencies(&self, index: usize) -> Vec<usize> {
        let mut seen = BTreeSet::new();
        let mut ahead = vec![index];
        while let Some(index) = ahead.pop() {
            ahead.extend(self.direct[index].iter().filter(|dependency| seen.insert(**dependency)));
        }
        let mut all: Vec<usize> = seen.into_iter().collect();
        all.sort_by_key(|index| self.rank[*index]);
        all
    }
}

/// The rank of every module, or those that are part of a circle or needed by one.
fn sort(direct: &[Vec<usize>], mut users: Vec<usize>) -> Result<Vec<usize>, Vec<usize>> {
    // A stack, not a queue: the order among those without users decides the order of lines.
    let mut ready: Vec<usize> = (0..direct.len()).filter(|index| users[*index] == 0).collect();
    let mut rank = vec![usize::MAX; direct.len()];
    let mut next = 0;
    while let Some(index) = ready.pop() {
        rank[index] = next;
        next += 1;
        for dependency in &direct[index] {
            users[*dependency] -= 1;
            if users[*dependency] == 0 {
                ready.push(*dependency);
            }
        }
    }
    if next < direct.len() {
        return Err((0..direct.len()).filter(|index| rank[*index] == usize::MAX).take(20).collect());
    }
    Ok(rank)
}
