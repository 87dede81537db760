//! Which recipe needs which: cycles, closures and the order in which packages are built.

use std::collections::BTreeSet;

/// The nodes that each node needs, by number, in the order in which they are visited.
#[derive(Clone, Debug, Default)]
pub(super) struct Graph {
    needs: Vec<Vec<usize>>,
}

impl Graph {
    pub(super) fn new(needs: Vec<Vec<usize>>) -> Self {
        Self { needs }
    }

    pub(super) fn needs(&self, node: usize) -> &[usize] {
        &self.needs[node]
    }

    /// All that `node` needs, directly or not, without itself unless it is on a cycle.
    pub(super) fn closure(&self, node: usize) -> BTreeSet<usize> {
        let mut seen = BTreeSet::new();
        let mut ahead = self.needs[node].clone();
        while let Some(next) = ahead.pop() {
            if seen.insert(next) {
                ahead.extend(&self.needs[next]);
            }
        }
        seen
    }

    /// `roots` and all that they need, everything behind what it needs: depth first, so that the order is the same
    /// wherever it is computed.
    pub(super) fn order(&self, roots: impl IntoIterator<Item = usize>) -> Vec<usize> {
        let mut order = Vec::new();
        self.visit(roots, |_| (), |node| order.push(node));
        order
    }

    /// Cycles, each with its smallest node first; where they overlap, those that name new nodes.
    pub(super) fn cycles(&self) -> Vec<Vec<usize>> {
        let mut named = BTreeSet::<usize>::new();
        let mut cycles = Vec::new();
        self.visit(
            0..self.needs.len(),
            |cycle| {
                if cycle.iter().all(|node| named.contains(node)) {
                    return;
                }
                named.extend(cycle);
                let smallest = (0..cycle.len()).min_by_key(|at| cycle[*at]).unwrap_or(0);
                let mut cycle = cycle.to_vec();
                cycle.rotate_left(smallest);
                cycles.push(cycle);
            },
            |_| (),
        );
        cycles
    }

    /// Visits depth first, without recursion: nobody bounds how long a chain of requirements is.
    fn visit(
        &self,
        roots: impl IntoIterator<Item = usize>,
        mut cycle: impl FnMut(&[usize]),
        mut leave: impl FnMut(usize),
    ) {
        let mut state = vec![State::New; self.needs.len()];
        // The way to the current node, and how many of each node's needs are done.
        let (mut way, mut done) = (Vec::new(), Vec::new());
        for root in roots {
            let mut next = Some(root);
            loop {
                if let Some(node) = next.take() {
                    match state[node] {
                        State::New => {
                            state[node] = State::OnTheWay(way.len());
                            way.push(node);
                            done.push(0);
                        }
                        State::OnTheWay(at) => cycle(&way[at..]),
                        State::Left => {}
                    }
                }
                let (Some(node), Some(at)) = (way.last().copied(), done.last_mut()) else { break };
                next = self.needs[node].get(*at).copied();
                *at += 1;
                if next.is_none() {
                    state[node] = State::Left;
                    way.pop();
                    done.pop();
                    leave(node);
                }
            }
        }
    }
}

#[derive(Clone, Copy)]
enum State {
    New,
    /// At this place of the way to the current node.
    OnTheWay(usize),
    Left,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_comes_first() {
        let graph = Graph::new(vec![vec![1, 2], vec![2], vec![], vec![0]]);
        assert_eq!(graph.order([0]), [2, 1, 0]);
        assert_eq!(graph.order([3, 0]), [2, 1, 0, 3]);
        assert_eq!(graph.closure(3), BTreeSet::from([0, 1, 2]));
        assert!(graph.cycles().is_empty());
    }

    #[test]
    fn a_cycle_is_named_from_its_smallest_node() {
        let graph = Graph::new(vec![vec![2], vec![1], vec![3], vec![2, 0]]);
        // The one of 2 and 3 alone names nothing new once 0, 2 and 3 are told, but is met first.
        assert_eq!(graph.cycles(), [vec![2, 3], vec![0, 2, 3], vec![1]]);
    }

    #[test]
    fn a_chain_of_any_length_is_visited() {
        let graph =
            Graph::new((0..200_000).map(|node| Vec::from_iter((node > 0).then(|| node - 1))).collect());
        assert_eq!(graph.order([199_999]).len(), 200_000);
    }
}
