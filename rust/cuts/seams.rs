//! The borders between the sources of a grown canvas, cut anew.
//!
//! 1. Labels are the (image, displacement) that at least `LEAST_PIXELS` pixels of the canvas have.
//! 2. Fixed are the seed patch, and the pixels whose 5×5 neighbours all have their label: only borders move.
//! 3. Label after label, that of the most pixels first, takes what lowers the energy of the seams most: one minimum cut.
//! 4. This is repeated until no label lowers the energy, `MOST_ROUNDS` times at most.

use super::expansion::{Expansion, Role};
use super::montage::{Label, Montage, PARTS_PER_GREY_LEVEL};
use crate::corpus::{Corpus, ImageId};
use crate::geometry::{Extent, Pixel};

/// Pixels that a source must have to be given more.
pub const LEAST_PIXELS: usize = 10;
/// Pixels are fixed whose neighbours so far away all have their label.
pub const CORE: usize = 2;
/// Rounds over all labels.
pub const MOST_ROUNDS: usize = 3;
/// Prices of a pixel are 1, 2, 4 … grey levels, so many of them.
const PRICES: u32 = 10;

/// What all canvases of a run share.
#[derive(Debug, Clone, Copy)]
pub struct Seams<'a> {
    pub corpus: Corpus<'a>,
    pub frame: Extent,
    /// `(H, W)`: the seed patch, which stays as it is.
    pub seed: &'a [bool],
    /// The most pixels that one image may have of a canvas; an image that has more already gets none.
    pub most: Option<usize>,
}

/// The buffers of one thread.
#[derive(Debug, Default)]
pub struct Workspace {
    montage: Montage,
    expansion: Expansion,
    fixed: Vec<bool>,
    /// Each label with its pixels at the start, and the state of the canvas when it last took nothing.
    labels: Vec<(Label, usize, Option<usize>)>,
    sorted: Vec<Label>,
    takers: Vec<usize>,
}

impl Seams<'_> {
    /// Cuts the borders of one canvas anew; its pixels and their sources are written. Returns the energy of its seams before
    /// and after, in grey levels.
    pub fn cut(
        &self,
        canvas: &mut [u8],
        (image_id, y, x): (&mut [i32], &mut [i32], &mut [i32]),
        barred: Option<ImageId>,
        workspace: &mut Workspace,
    ) -> [f64; 2] {
        let source = |at: usize| Pixel { y: y[at] as usize, x: x[at] as usize };
        let labels = (0..self.frame.area())
            .map(|at| Label::new(ImageId(image_id[at] as u32), source(at), self.frame.pixel(at)));
        let Workspace { montage, .. } = workspace;
        montage.start(&self.corpus, self.frame, labels);
        let before = montage.energy();
        self.fix(workspace);
        self.list(barred, workspace);
        self.expand(workspace);
        let montage = &workspace.montage;
        canvas.copy_from_slice(montage.values());
        for (at, label) in montage.labels().iter().enumerate() {
            let source = label.source(&self.corpus, self.frame.pixel(at)).expect("labels have sources");
            (image_id[at], y[at], x[at]) = (label.image.0 as i32, source.y as i32, source.x as i32);
        }
        [before, montage.energy()].map(|energy| energy as f64 / f64::from(PARTS_PER_GREY_LEVEL))
    }

    /// Marks the pixels that keep their sources.
    fn fix(&self, workspace: &mut Workspace) {
        let labels = workspace.montage.labels();
        let inside = |pixel: Pixel| {
            let own = labels[self.frame.flat(pixel)];
            self.frame.square(pixel, CORE).pixels().all(|near| labels[self.frame.flat(near)] == own)
        };
        workspace.fixed.clear();
        workspace.fixed.extend(self.frame.pixels().map(|p| self.seed[self.frame.flat(p)] || inside(p)));
    }

    /// Lists the labels that may take pixels, that of the most pixels first; of equals by (image, displacement).
    fn list(&self, barred: Option<ImageId>, workspace: &mut Workspace) {
        let Workspace { montage, labels, sorted, .. } = workspace;
        sorted.clear();
        sorted.extend_from_slice(montage.labels());
        sorted.sort_unstable();
        labels.clear();
        let same = sorted.chunk_by(|a, b| a == b).filter(|same| same.len() >= LEAST_PIXELS);
        labels.extend(
            same.filter(|same| Some(same[0].image) != barred).map(|same| (same[0], same.len(), None)),
        );
        labels.sort_unstable_by_key(|&(label, pixels, _)| (std::cmp::Reverse(pixels), label));
    }

    /// Lets the labels take pixels, round after round.
    fn expand(&self, workspace: &mut Workspace) {
        let Workspace { montage, expansion, fixed, labels, takers, .. } = workspace;
        let mut changes = 0;
        for _ in 0..MOST_ROUNDS {
            let before = changes;
            for (label, _, unchanged) in labels.iter_mut() {
                if *unchanged == Some(changes) {
                    continue; // nothing was changed since it last took nothing
                }
                let role = |at: usize| if fixed[at] { Role::Keeps } else { Role::Free };
                let given = montage.labels().iter().filter(|own| own.image == label.image).count();
                let room = self.most.map_or(usize::MAX, |most| most.saturating_sub(given));
                expansion.weigh(&self.corpus, montage, *label, role);
                let fits = |found: &[usize]| {
                    found.iter().filter(|&&at| montage.labels()[at].image != label.image).count() <= room
                };
                // If its image would have more than its share, each pixel that it gains costs a price, doubled until it fits.
                takers.clear();
                takers.extend_from_slice(expansion.takers(montage, 0));
                let mut prices = (0..PRICES).map(|power| PARTS_PER_GREY_LEVEL << power);
                while !fits(takers) {
                    takers.clear();
                    if let Some(price) = prices.next() {
                        takers.extend_from_slice(expansion.takers_at_more(montage, price));
                    }
                }
                if takers.is_empty() {
                    *unchanged = Some(changes);
                } else {
                    montage.relabel(&self.corpus, takers, *label);
                    changes += 1;
                }
            }
            if changes == before {
                break;
            }
        }
    }
}
