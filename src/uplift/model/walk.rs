//! The way through trees.

use super::forest::{LEAF, Node};
use super::{Fault, invalid};
use crate::memory::with_room;

/// The nodes in the order in which they are walked, the roots' places in it, and how many nodes a row passes at the most.
///
/// Several nodes may lead to one, as a test of several categories does. So no way may come back to where it was, each tree
/// has one root, and all nodes are reached.
pub fn walk(nodes: &[Node], has_parent: &[bool], trees: &[i64]) -> Result<(Vec<u32>, Vec<u32>, usize), Fault> {
    /// On the way from the root to where the walk is.
    const OPEN: u32 = u32::MAX;
    let (mut order, mut roots, mut stack) = (with_room(nodes.len())?, Vec::new(), Vec::new());
    let mut longest: Vec<u32> = with_room(nodes.len())?; // ways down to a leaf; 0: not seen yet
    longest.resize(nodes.len(), 0);
    let (mut depth, mut rooted) = (0usize, std::collections::HashSet::new());
    for (root, tree) in trees.iter().enumerate().filter(|(root, _)| !has_parent[*root]) {
        if !rooted.insert(*tree) {
            return invalid(format!("tree {tree} has two roots"));
        }
        roots.push(order.len() as u32);
        stack.push((root, false));
        while let Some((at, is_back)) = stack.pop() {
            let node = nodes[at];
            if is_back {
                longest[at] = 1 + node.next.map(|next| longest[next as usize]).into_iter().fold(0, u32::max);
                continue;
            }
            match longest[at] {
                0 => order.push(at as u32),
                OPEN => return invalid(format!("tree {tree} has a cycle")),
                _ => continue,
            }
            if node.feature & LEAF != 0 {
                longest[at] = 1;
            } else {
                longest[at] = OPEN;
                stack.push((at, true));
                stack.extend(node.next.map(|next| (next as usize, false)));
            }
        }
        depth += longest[root] as usize;
    }
    if order.len() != nodes.len() {
        return invalid(format!("a tree has a cycle: {} of {} nodes are reached", order.len(), nodes.len()));
    }
    Ok((order, roots, depth))
}
