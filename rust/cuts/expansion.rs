//! One expansion move (Boykov, Veksler and Zabih 2001): every free pixel keeps its label or takes one label, whichever
//! makes the energy of all seams smallest. For a metric this is one minimum cut.

use super::flow::{Grid, SIDES};
use super::montage::{difference, opposite, Label, Montage};
use crate::corpus::Corpus;
use crate::geometry::{Extent, Rect};

/// What a move may do to a pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Whatever is best.
    Free,
    /// It keeps its label.
    Keeps,
    /// It takes the label.
    Takes,
}

/// The buffers of moves.
///
/// A move chooses x(p) of each free pixel, 1 where it takes the label. Its energy is, but for a constant,
/// `Σ_p u(p)·x(p) + Σ_pq c(p, q)·(1 − x(p))·x(q)` over all ordered pairs of neighbours.
#[derive(Debug, Default)]
pub struct Expansion {
    grid: Grid,
    label: Option<Label>,
    /// What is said of each pixel, `(H, W)`, inside the region of the move and beside it.
    roles: Vec<Role>,
    /// u(p), `(H, W)`.
    costs: Vec<i32>,
    /// c(p, q) for q at the four sides of p, `(H, W)`; 0 unless both are free.
    couplings: Vec<[i32; SIDES]>,
    free: Vec<usize>,
    /// Pixels that the move forces to take the label.
    forced: Vec<usize>,
    /// The values of the label, `(H, W, C)`.
    plane: Vec<u8>,
    /// The differences between canvas and label, `(H, W)`.
    gaps: Vec<i32>,
    choice: Choice,
}

/// The buffers of one choice of takers.
#[derive(Debug, Default)]
struct Choice {
    /// Pixels that may take the label.
    open: Vec<usize>,
    costs: Vec<i32>,
    /// Which of them are not settled yet, `(H, W)`.
    undecided: Vec<bool>,
    /// Pixels to look at (again).
    queue: Vec<usize>,
    takers: Vec<usize>,
}

impl Expansion {
    /// Prepares a move: what a label would cost and save at each pixel of a region. Outside of it, and where the label has
    /// no source, pixels keep their own.
    pub fn weigh(
        &mut self,
        corpus: &Corpus,
        montage: &Montage,
        label: Label,
        region: Rect,
        role: impl Fn(usize) -> Role,
    ) {
        let (frame, channels) = (montage.frame(), montage.channels());
        label.plane(corpus, frame, &mut self.plane);
        self.label = Some(label);
        self.roles.resize(frame.area(), Role::Keeps);
        self.costs.resize(frame.area(), 0);
        self.couplings.resize(frame.area(), [0; SIDES]);
        self.gaps.resize(frame.area(), 0);
        self.free.clear();
        self.forced.clear();
        let around = frame.grown(region, 1);
        for pixel in around.pixels() {
            let at = frame.flat(pixel);
            let role = if region.holds(pixel) { role(at) } else { Role::Keeps };
            let role = match role {
                _ if montage.labels()[at] == label => Role::Takes,
                _ if label.source(corpus, pixel).is_none() => Role::Keeps,
                Role::Takes => {
                    self.forced.push(at);
                    Role::Takes
                }
                Role::Free => {
                    self.free.push(at);
                    Role::Free
                }
                Role::Keeps => Role::Keeps,
            };
            self.roles[at] = role;
            (self.costs[at], self.couplings[at]) = (0, [0; SIDES]);
            self.gaps[at] = difference(montage.value(at), &self.plane[at * channels..][..channels]);
        }
        let (bottom, right) = (around.y + around.height - 1, around.x + around.width - 1);
        for pixel in around.pixels() {
            let at = frame.flat(pixel);
            if pixel.x < right {
                self.weigh_seam(montage, at, at + 1, 0);
            }
            if pixel.y < bottom {
                self.weigh_seam(montage, at, at + frame.width, 1);
            }
        }
    }

    /// Adds the seam between p and its neighbour q to the right (side 0) or below (side 1).
    fn weigh_seam(&mut self, montage: &Montage, p: usize, q: usize, side: usize) {
        let roles = (self.roles[p], self.roles[q]);
        if roles.0 != Role::Free && roles.1 != Role::Free {
            return;
        }
        // The seam if neither takes the label, if q alone does, and if p alone does; it costs nothing if both do.
        let channels = montage.channels();
        let plane = |at: usize| &self.plane[at * channels..][..channels];
        let neither = montage.seam(p, side);
        let q_takes = self.gaps[p] + difference(montage.around(p, side), plane(q));
        let p_takes = difference(plane(p), montage.around(q, opposite(side))) + self.gaps[q];
        match roles {
            (Role::Free, Role::Free) => {
                // Of all ways to write the seam as costs and couplings, the one that leaves least to the costs: only real
                // seams send flow. Both couplings are at least 0, as V is a metric.
                let cost = (-neither / 2).clamp(-q_takes, p_takes - neither);
                self.costs[p] += cost;
                self.costs[q] -= neither + cost;
                self.couplings[p][side] = q_takes + cost;
                self.couplings[q][opposite(side)] = p_takes - neither - cost;
            }
            (Role::Free, Role::Keeps) => self.costs[p] += p_takes - neither,
            (Role::Free, Role::Takes) => self.costs[p] -= q_takes,
            (Role::Keeps, _) => self.costs[q] += q_takes - neither,
            (Role::Takes, _) => self.costs[q] -= p_takes,
        }
    }

    /// Finds the pixels that are to take the label: of all best choices the one with the fewest pixels. Each free pixel of
    /// an image other than the label's costs `price` on top.
    pub fn takers(&mut self, montage: &Montage, price: i32) -> &[usize] {
        let Self { free, choice, .. } = self;
        choice.open.clone_from(free);
        self.choose(montage, price)
    }

    /// The same at a higher price than before: only pixels that took the label at the lower price take it.
    pub fn takers_at_more(&mut self, montage: &Montage, price: i32) -> &[usize] {
        let Self { roles, choice: Choice { open, takers, .. }, .. } = self;
        open.clear();
        open.extend(takers.iter().copied().filter(|&at| roles[at] == Role::Free));
        self.choose(montage, price)
    }

    fn choose(&mut self, montage: &Montage, price: i32) -> &[usize] {
        let Self { grid, label, costs, couplings, forced, choice, .. } = self;
        let (frame, label) = (montage.frame(), label.expect("a label was weighed"));
        choice.start(frame, costs, couplings);
        for &at in choice.open.iter().filter(|&&at| montage.labels()[at].image != label.image) {
            choice.costs[at] += price;
        }
        choice.takers.clear();
        choice.takers.extend_from_slice(forced);
        choice.settle(frame, couplings);
        // What is left is one minimum cut: source side keeps, sink side takes.
        choice.open.retain(|&at| choice.undecided[at]);
        grid.reset(frame);
        for &at in &choice.open {
            let cost = choice.costs[at];
            grid.add_terminals(at, cost.max(0), (-cost).max(0));
            for (side, other) in neighbours(frame, at) {
                if choice.undecided[other] {
                    grid.add_arc(at, side, couplings[at][side]);
                }
            }
        }
        grid.solve();
        choice.takers.extend(choice.open.iter().copied().filter(|&at| grid.on_sink_side(at)));
        &choice.takers
    }
}

/// The pixels at the sides of a pixel, with their sides.
fn neighbours(frame: Extent, at: usize) -> impl Iterator<Item = (usize, usize)> {
    let (width, x) = (frame.width, at % frame.width);
    let sides = [
        (x + 1 < width).then_some(at + 1),
        (at + width < frame.area()).then_some(at + width),
        (x > 0).then(|| at - 1),
        at.checked_sub(width),
    ];
    sides.into_iter().enumerate().filter_map(|(side, other)| Some((side, other?)))
}

impl Choice {
    /// Leaves only the open pixels undecided; what the others decided is in the costs.
    fn start(&mut self, frame: Extent, costs: &[i32], couplings: &[[i32; SIDES]]) {
        self.undecided.clear();
        self.undecided.resize(frame.area(), false);
        self.costs.resize(frame.area(), 0);
        for &at in &self.open {
            (self.undecided[at], self.costs[at]) = (true, costs[at]);
        }
        for &at in &self.open {
            // Beside a free pixel that keeps its label, taking it costs the coupling.
            for (side, other) in neighbours(frame, at).filter(|&(_, other)| !self.undecided[other]) {
                self.costs[at] += couplings[other][opposite(side)];
            }
        }
    }

    /// Settles the pixels that keep their labels or take the new one whatever the others do. Many are settled, so that the
    /// cut is of fewer pixels.
    fn settle(&mut self, frame: Extent, couplings: &[[i32; SIDES]]) {
        self.queue.clone_from(&self.open);
        while let Some(at) = self.queue.pop() {
            if !self.undecided[at] {
                continue;
            }
            // Where all its neighbours take the label, the pixel saves its couplings by taking it; where none does, it pays
            // theirs.
            let (mut saved, mut paid) = (0, 0);
            for (side, other) in neighbours(frame, at).filter(|&(_, other)| self.undecided[other]) {
                saved += couplings[at][side];
                paid += couplings[other][opposite(side)];
            }
            let keeps = self.costs[at] >= saved;
            if !keeps && self.costs[at] + paid >= 0 {
                continue;
            }
            self.undecided[at] = false;
            if !keeps {
                self.takers.push(at);
            }
            for (side, other) in neighbours(frame, at) {
                if self.undecided[other] {
                    let (ours, theirs) = (couplings[at][side], couplings[other][opposite(side)]);
                    self.costs[other] += if keeps { ours } else { -theirs };
                    self.queue.push(other);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::montage::tests::{labels_of, scene, slow_energy};
    use super::*;
    use crate::corpus::ImageId;
    use proptest::prelude::*;

    /// A role of each pixel of a 4×4 frame, at most nine of them free.
    fn roles() -> impl Strategy<Value = Vec<Role>> {
        let role = prop::sample::select(vec![Role::Free, Role::Free, Role::Free, Role::Keeps, Role::Takes]);
        prop::collection::vec(role, 16).prop_map(|mut roles| {
            let mut free = 0;
            for role in &mut roles {
                free += usize::from(*role == Role::Free);
                if free > 9 {
                    *role = Role::Keeps;
                }
            }
            roles
        })
    }

    proptest! {
        #[test]
        fn a_move_is_the_best_of_all_choices(
            (channels, bytes, parts) in scene(),
            roles in roles(),
            label in (0_u32..3, 0_i32..3, -1_i32..2),
            rect in (0_usize..3, 0_usize..3),
            price in prop_oneof![Just(0), 0..5000],
        ) {
            let corpus = Corpus::new(&bytes, 3, Extent::new(5, 5), channels).unwrap();
            let (frame, labels) = (Extent::new(4, 4), labels_of(&parts));
            let label = Label { image: ImageId(label.0), dy: label.1, dx: label.2 };
            let mut montage = Montage::default();
            montage.start(&corpus, frame, labels.iter().copied());
            let mut expansion = Expansion::default();
            let region = Rect { y: rect.0, x: rect.1, height: 4 - rect.0, width: 4 - rect.1 };
            let roles: Vec<Role> = frame
                .pixels()
                .map(|p| if region.holds(p) { roles[frame.flat(p)] } else { Role::Keeps })
                .collect();
            expansion.weigh(&corpus, &montage, labels[0], frame.frame(), |_| Role::Free); // stale numbers in the buffers
            expansion.weigh(&corpus, &montage, label, region, |at| roles[at]);
            let mut takers = expansion.takers(&montage, price).to_vec();
            takers.sort_unstable();
            // The same by way of a lower price.
            expansion.takers(&montage, price / 3);
            let mut stepwise = expansion.takers_at_more(&montage, price).to_vec();
            stepwise.sort_unstable();
            prop_assert_eq!(&stepwise, &takers);
            let before = montage.energy();

            let can = |at: usize| label.source(&corpus, frame.pixel(at)).is_some() && labels[at] != label;
            let forced: Vec<usize> = (0..16).filter(|&at| can(at) && roles[at] == Role::Takes).collect();
            let free: Vec<usize> = (0..16).filter(|&at| can(at) && roles[at] == Role::Free).collect();
            let mut best: Option<(i64, Vec<usize>)> = None;
            let mut keeping = 0;
            for choice in 0..1_usize << free.len() {
                let chosen = free.iter().enumerate().filter(|&(bit, _)| choice >> bit & 1 == 1).map(|(_, &at)| at);
                let mut taken: Vec<usize> = forced.iter().copied().chain(chosen).collect();
                taken.sort_unstable();
                let mut other = Montage::default();
                other.start(&corpus, frame, labels.iter().copied());
                other.relabel(&corpus, &taken, label);
                let priced = taken.iter().filter(|&&at| roles[at] == Role::Free && labels[at].image != label.image);
                let cost = other.energy() + i64::from(price) * priced.count() as i64;
                if choice == 0 {
                    keeping = cost;
                }
                if best.as_ref().is_none_or(|(least, fewest)| (cost, taken.len()) < (*least, fewest.len())) {
                    best = Some((cost, taken));
                }
            }
            // The best choice, of the best the smallest; unless pixels are forced to take the label, energy does not rise.
            let (least, fewest) = best.expect("a choice");
            prop_assert_eq!(&takers, &fewest);
            montage.relabel(&corpus, &takers, label);
            prop_assert!(least <= keeping && montage.energy() <= least);
            if forced.is_empty() {
                prop_assert!(montage.energy() < before || takers.is_empty());
                let slow = slow_energy(&corpus, frame, montage.labels());
                prop_assert!(slow <= slow_energy(&corpus, frame, &labels) + 3.0);
            }
            for &at in &takers {
                prop_assert!(label.source(&corpus, frame.pixel(at)).is_some());
            }
        }
    }
}
