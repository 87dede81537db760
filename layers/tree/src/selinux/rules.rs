//! The rules of a policy and the search for the one that a path goes by.
//!
//! libselinux asks rule after rule, from the last to the first, those without special characters before all others.
//! A rule can only match paths that begin with its literal prefix, and prefixes that a path has are prefixes of
//! each other: sorted, with a pointer from each to the longest that it begins with itself, one binary search and
//! a short walk find all of them, so that few expressions are tried for a path among thousands.

use super::Kind;
use super::pattern::Pattern;

/// A line of a policy.
#[derive(Debug)]
pub(super) struct Rule {
    /// Which paths.
    pub pattern: Pattern,
    /// Which kind of entry; nothing for all.
    pub kind: Option<Kind>,
    /// Their context; nothing for `<<none>>`.
    pub context: Option<Box<str>>,
}

/// All rules.
#[derive(Debug)]
pub(super) struct Rules {
    /// The later, the stronger.
    rules: Vec<Rule>,
    /// Sorted by their text.
    prefixes: Vec<Prefix>,
}

#[derive(Debug)]
struct Prefix {
    text: Box<[u8]>,
    /// The longest other one that it begins with.
    shorter: Option<usize>,
    /// Indexes of the rules.
    rules: Vec<usize>,
}

impl Rules {
    /// Takes rules in the order of their files and lines.
    pub fn new(mut rules: Vec<Rule>) -> Self {
        rules.sort_by_key(|rule| rule.pattern.exact);
        let mut order: Vec<_> = (0..rules.len()).collect();
        order.sort_by_key(|index| &rules[*index].pattern.prefix);
        let mut prefixes: Vec<Prefix> = Vec::new();
        for index in order {
            let text = &rules[index].pattern.prefix;
            match prefixes.last_mut().filter(|last| last.text == *text) {
                Some(last) => last.rules.push(index),
                None => {
                    let shorter = longest(&prefixes, prefixes.len().checked_sub(1), text);
                    prefixes.push(Prefix { text: text.clone(), shorter, rules: vec![index] });
                }
            }
        }
        Self { rules, prefixes }
    }

    /// The rule for a path, with its leading slash.
    pub fn find(&self, path: &[u8], kind: Kind) -> Option<&Rule> {
        let after = self.prefixes.partition_point(|prefix| &*prefix.text <= path);
        let mut candidates = Vec::new();
        let mut next = longest(&self.prefixes, after.checked_sub(1), path);
        while let Some(index) = next {
            candidates.extend(&self.prefixes[index].rules);
            next = self.prefixes[index].shorter;
        }
        candidates.sort_unstable();
        let candidates = candidates.into_iter().rev().map(|index: usize| &self.rules[index]);
        let mut candidates = candidates.filter(|rule| rule.kind.is_none_or(|of| of == kind));
        candidates.find(|rule| rule.pattern.matches(path))
    }
}

/// The longest prefix of `text`, from one that is its nearest before it in the order.
fn longest(prefixes: &[Prefix], mut from: Option<usize>, text: &[u8]) -> Option<usize> {
    // Between a prefix of the text and the text, there are only texts that begin with that prefix: it is
    // among those that the nearest begins with.
    while let Some(index) = from {
        if text.starts_with(&prefixes[index].text) {
            break;
        }
        from = prefixes[index].shorter;
    }
    from
}
