//! The borders between the sources of a grown canvas, cut anew.
//!
//! 1. Labels are the (image, displacement) that at least `LEAST_PIXELS` pixels of the canvas have.
//! 2. Fixed are the seed patch, and the pixels whose 5×5 neighbours all have their label: only borders move.
//! 3. Label after label, that of the most pixels first, takes what lowers the energy of the seams most, of the pixels within
//!    `REACH` of its own: one minimum cut.
//! 4. This is repeated until no label lowers the energy, `MOST_ROUNDS` times at most.

use super::expansion::{Expansion, Role};
use super::montage::{Label, Montage, PARTS_PER_GREY_LEVEL};
use crate::corpus::{Corpus, ImageId};
use crate::geometry::{Extent, Pixel, Rect};

/// Pixels that a source must have to be given more.
pub const LEAST_PIXELS: usize = 10;
/// Pixels are fixed whose neighbours so far away all have their label.
pub const CORE: usize = 2;
/// Rounds over all labels.
pub const MOST_ROUNDS: usize = 3;
/// A label takes no pixels farther than this from the rectangle around those that it has at the start.
pub const REACH: usize = 8;
/// What a pixel costs an image that would have more than its share, in grey levels: the first price that does.
const PRICES: [i32; 11] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];

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
    labels: Vec<Expanding>,
    sorted: Vec<(Label, Pixel)>,
    takers: Vec<usize>,
}

/// A label that may take pixels.
#[derive(Debug, Clone, Copy)]
struct Expanding {
    label: Label,
    /// How many pixels it has at the start.
    pixels: usize,
    /// Where it may take pixels.
    region: Rect,
    /// The state of the canvas when it last took nothing.
    unchanged: Option<usize>,
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
        sorted.extend(montage.labels().iter().copied().zip(self.frame.pixels()));
        sorted.sort_unstable();
        labels.clear();
        for same in sorted.chunk_by(|a, b| a.0 == b.0).filter(|same| same.len() >= LEAST_PIXELS) {
            let label = same[0].0;
            if Some(label.image) != barred {
                let region = self.frame.grown(bounds(same.iter().map(|&(_, pixel)| pixel)), REACH);
                labels.push(Expanding { label, pixels: same.len(), region, unchanged: None });
            }
        }
        labels.sort_unstable_by_key(|one| (std::cmp::Reverse(one.pixels), one.label));
    }

    /// Lets the labels take pixels, round after round.
    fn expand(&self, workspace: &mut Workspace) {
        let Workspace { montage, expansion, fixed, labels, takers, .. } = workspace;
        let mut changes = 0;
        for _ in 0..MOST_ROUNDS {
            let before = changes;
            for Expanding { label, region, unchanged, .. } in labels.iter_mut() {
                if *unchanged == Some(changes) {
                    continue; // nothing was changed since it last took nothing
                }
                let role = |at: usize| if fixed[at] { Role::Keeps } else { Role::Free };
                let given = montage.labels().iter().filter(|own| own.image == label.image).count();
                let room = self.most.map_or(usize::MAX, |most| most.saturating_sub(given));
                expansion.weigh(&self.corpus, montage, *label, *region, role);
                let fits = |found: &[usize]| {
                    found.iter().filter(|&&at| montage.labels()[at].image != label.image).count() <= room
                };
                // If its image would have more than its share, each pixel that it gains costs a price, more and more until it fits.
                takers.clear();
                takers.extend_from_slice(expansion.takers(montage, 0));
                let mut prices = PRICES.iter();
                while !fits(takers) {
                    takers.clear();
                    if let Some(price) = prices.next() {
                        takers.extend_from_slice(
                            expansion.takers_at_more(montage, price * PARTS_PER_GREY_LEVEL),
                        );
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

/// The smallest rectangle that holds some pixels, at least one.
fn bounds(pixels: impl Iterator<Item = Pixel>) -> Rect {
    let (mut low, mut high) = ((usize::MAX, usize::MAX), (0, 0));
    for Pixel { y, x } in pixels {
        low = (low.0.min(y), low.1.min(x));
        high = (high.0.max(y + 1), high.1.max(x + 1));
    }
    Rect { y: low.0, x: low.1, height: high.0 - low.0, width: high.1 - low.1 }
}
