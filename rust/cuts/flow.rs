//! Maximum flow and minimum cut of a grid, exact, with integer capacities (Boykov and Kolmogorov, PAMI 2004).
//!
//! Two trees grow from source and sink over arcs that can carry more. Where they meet, flow is pushed along the path; the
//! nodes whose arcs to their parents are full look for new parents, or leave their tree.

use std::collections::VecDeque;

use crate::geometry::Extent;

/// Sides of a node: right, below, left, above. The side opposite to `s` is `(s + 2) % 4`.
pub const SIDES: usize = 4;

/// The parent of a node: at one of its sides, or one of these.
const TERMINAL: u8 = 4;
const ORPHAN: u8 = 5;
const NONE: u8 = 6;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tree {
    None,
    Source,
    Sink,
}

/// 32 bytes: all nodes of a small image fit into the first cache.
#[derive(Debug, Clone, Copy)]
struct Node {
    /// What the arcs to its four neighbours can still carry.
    room: [i32; SIDES],
    /// What the terminals can still exchange with it: from the source where above 0, to the sink where below.
    excess: i32,
    /// Its distance from the terminal, as found at the time `stamp`.
    distance: u32,
    stamp: u32,
    parent: u8,
    tree: Tree,
    active: bool,
}

const EMPTY: Node = Node {
    room: [0; SIDES],
    excess: 0,
    distance: 0,
    stamp: 0,
    parent: NONE,
    tree: Tree::None,
    active: false,
};

/// Nodes on a grid between a source and a sink. Its buffers are kept from one cut to the next.
///
/// The capacities at each node must sum up to less than 2³¹.
#[derive(Debug, Default)]
pub struct Grid {
    extent: Option<Extent>,
    /// Row-major, with a border of one node around the grid.
    nodes: Vec<Node>,
    active: VecDeque<u32>,
    orphans: VecDeque<u32>,
    flow: i64,
    time: u32,
}

fn opposite(side: usize) -> usize {
    (side + 2) % SIDES
}

impl Grid {
    /// Makes a grid of nodes without arcs.
    pub fn reset(&mut self, extent: Extent) {
        self.extent = Some(extent);
        self.nodes.clear();
        self.nodes.resize((extent.height + 2) * (extent.width + 2), EMPTY);
        self.active.clear();
        self.orphans.clear();
        (self.flow, self.time) = (0, 0);
    }

    fn width(&self) -> usize {
        self.extent.map_or(0, |extent| extent.width)
    }

    /// The node of a pixel's row-major index.
    fn at(&self, flat: usize) -> usize {
        let width = self.width();
        (flat / width + 1) * (width + 2) + flat % width + 1
    }

    fn beside(&self, at: usize, side: usize) -> usize {
        match side {
            0 => at + 1,
            1 => at + self.width() + 2,
            2 => at - 1,
            _ => at - self.width() - 2,
        }
    }

    /// Adds arcs from the source to a pixel and from there to the sink.
    pub fn add_terminals(&mut self, pixel: usize, from_source: i32, to_sink: i32) {
        // What passes through this node alone flows at once; of both arcs one is left.
        let at = self.at(pixel);
        let excess = &mut self.nodes[at].excess;
        let (from_source, to_sink) = (from_source + (*excess).max(0), to_sink + (-*excess).max(0));
        self.flow += i64::from(from_source.min(to_sink));
        *excess = from_source - to_sink;
    }

    /// Adds an arc from a pixel to its neighbour at one of the `SIDES`, which must be inside the grid.
    pub fn add_arc(&mut self, pixel: usize, side: usize, capacity: i32) {
        let at = self.at(pixel);
        self.nodes[at].room[side] += capacity;
    }

    /// Whether a pixel is on the sink's side of the smallest minimum cut: of all minimum cuts, the one with the fewest
    /// pixels there. Only after `solve`.
    pub fn on_sink_side(&self, pixel: usize) -> bool {
        self.nodes[self.at(pixel)].tree == Tree::Sink
    }

    /// Sends as much flow as there is room for, and returns how much: the capacity of a minimum cut.
    pub fn solve(&mut self) -> i64 {
        for at in 0..self.nodes.len() {
            let node = &mut self.nodes[at];
            node.tree = match node.excess {
                1.. => Tree::Source,
                0 => continue,
                _ => Tree::Sink,
            };
            (node.parent, node.distance) = (TERMINAL, 1);
            self.activate(at);
        }
        while let Some(&at) = self.active.front() {
            let at = at as usize;
            if self.nodes[at].tree != Tree::None {
                if let Some((from, side)) = self.grow(at) {
                    self.time += 1;
                    self.augment(from, side);
                    self.adopt();
                    continue; // the same node may lead to further paths
                }
            }
            self.active.pop_front();
            self.nodes[at].active = false;
        }
        self.flow
    }

    fn activate(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        if !node.active {
            node.active = true;
            self.active.push_back(at as u32);
        }
    }

    /// What can still flow between a node and its neighbour: away from the source, or in the sink's tree towards the sink.
    fn room(&self, tree: Tree, at: usize, side: usize, other: usize) -> i32 {
        match tree {
            Tree::Source => self.nodes[at].room[side],
            _ => self.nodes[other].room[opposite(side)],
        }
    }

    /// Takes the free neighbours of a node into its tree. Returns an arc from the source's tree to the sink's, by its node
    /// and side, if one can carry more.
    fn grow(&mut self, at: usize) -> Option<(usize, usize)> {
        let Node { tree, distance, stamp, .. } = self.nodes[at];
        for side in 0..SIDES {
            let beside = self.beside(at, side);
            if self.room(tree, at, side, beside) == 0 {
                continue;
            }
            let other = &mut self.nodes[beside];
            if other.tree == Tree::None {
                (other.tree, other.parent) = (tree, opposite(side) as u8);
                (other.distance, other.stamp) = (distance + 1, stamp);
                self.activate(beside);
            } else if other.tree != tree {
                return Some(if tree == Tree::Source { (at, side) } else { (beside, opposite(side)) });
            } else if other.stamp <= stamp && other.distance > distance + 1 {
                // A shorter way to the terminal.
                (other.parent, other.distance, other.stamp) = (opposite(side) as u8, distance + 1, stamp);
            }
        }
        None
    }

    /// Pushes as much flow as fits through the path over an arc, from source to sink.
    fn augment(&mut self, from: usize, side: usize) {
        let ends = [(from, Tree::Source), (self.beside(from, side), Tree::Sink)];
        let mut least = self.nodes[from].room[side];
        for (mut at, tree) in ends {
            while self.nodes[at].parent != TERMINAL {
                let side = self.nodes[at].parent as usize;
                let parent = self.beside(at, side);
                least = least.min(self.room(tree, parent, opposite(side), at));
                at = parent;
            }
            least = least.min(self.nodes[at].excess.abs());
        }
        self.push(from, side, ends[1].0, least);
        for (mut at, tree) in ends {
            while self.nodes[at].parent != TERMINAL {
                let side = self.nodes[at].parent as usize;
                let parent = self.beside(at, side);
                let left = match tree {
                    Tree::Source => self.push(parent, opposite(side), at, least),
                    _ => self.push(at, side, parent, least),
                };
                if left == 0 {
                    self.orphan(at);
                }
                at = parent;
            }
            let excess = &mut self.nodes[at].excess;
            *excess -= least * excess.signum();
            if *excess == 0 {
                self.orphan(at);
            }
        }
        self.flow += i64::from(least);
    }

    /// Pushes flow through an arc, and returns what it can still carry.
    fn push(&mut self, at: usize, side: usize, other: usize, amount: i32) -> i32 {
        self.nodes[other].room[opposite(side)] += amount;
        let room = &mut self.nodes[at].room[side];
        *room -= amount;
        *room
    }

    fn orphan(&mut self, at: usize) {
        self.nodes[at].parent = ORPHAN;
        self.orphans.push_back(at as u32);
    }

    /// Finds new parents for the nodes that have lost theirs.
    fn adopt(&mut self) {
        while let Some(at) = self.orphans.pop_front() {
            let at = at as usize;
            let tree = self.nodes[at].tree;
            let (mut best, mut least) = (NONE, u32::MAX);
            for side in 0..SIDES {
                let other = self.beside(at, side);
                if self.nodes[other].tree == tree && self.room(tree, other, opposite(side), at) > 0 {
                    if let Some(distance) = self.distance(other).filter(|&distance| distance < least) {
                        (best, least) = (side as u8, distance);
                    }
                }
            }
            let node = &mut self.nodes[at];
            node.parent = best;
            if best != NONE {
                (node.distance, node.stamp) = (least + 1, self.time);
                continue;
            }
            // No parent: the node is free, its neighbours may reach it later, and its children lose their parent.
            (node.tree, node.stamp) = (Tree::None, 0);
            for side in 0..SIDES {
                let other = self.beside(at, side);
                if self.nodes[other].tree == tree {
                    if self.room(tree, other, opposite(side), at) > 0 {
                        self.activate(other);
                    }
                    if self.nodes[other].parent == opposite(side) as u8 {
                        self.orphan(other);
                    }
                }
            }
        }
    }

    /// The distance of a node from its terminal; None if its branch of the tree has lost the terminal. Marks the way, so
    /// that it is walked once.
    fn distance(&mut self, from: usize) -> Option<u32> {
        let (mut at, mut steps) = (from, 0);
        let found = loop {
            let Node { parent, stamp, distance, .. } = self.nodes[at];
            if stamp == self.time {
                break steps + distance;
            }
            match parent {
                TERMINAL => break steps + 1,
                ORPHAN | NONE => return None,
                side => (at, steps) = (self.beside(at, side as usize), steps + 1),
            }
        };
        let (mut at, mut distance) = (from, found);
        while self.nodes[at].stamp != self.time {
            let node = &mut self.nodes[at];
            (node.stamp, node.distance) = (self.time, distance);
            if node.parent == TERMINAL {
                break;
            }
            distance -= 1;
            at = self.beside(at, self.nodes[at].parent as usize);
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests;
