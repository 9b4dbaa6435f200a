//! The patches of background among a pixel's heaviest: they were counted, not scanned, so they are looked up here.

use std::collections::HashMap;
use std::ops::Range;

use super::machine::Frame;
use super::tile::Tile;
use crate::corpus::{Corpus, ImageId};

/// Rows and columns of the positions that some pixels are compared with.
type Partners = (Range<usize>, Range<usize>);

/// An image and the flat position of a patch in it.
pub type PatchPlace = (ImageId, u32);

/// For each pixel the first `needed` patches among its partners that are all background, by image and position.
///
/// Images must ascend. If they hold fewer than `needed` such patches, all of them are read.
pub fn first_places<'a>(
    corpus: &Corpus,
    mut tiles: impl Iterator<Item = &'a [ImageId]>,
    tile: &mut Tile,
    frame: &Frame,
    needed: impl Fn(usize) -> usize,
) -> Vec<Vec<PatchPlace>> {
    let partners: Vec<Partners> =
        frame.extent.pixels().map(|pixel| frame.partners(pixel.y, pixel.x)).collect();
    let mut found: HashMap<&Partners, (usize, Vec<PatchPlace>)> = HashMap::new();
    for (pixel, partners) in partners.iter().enumerate() {
        found.entry(partners).or_insert((needed(pixel), Vec::new()));
    }
    while found.values().any(|(needed, places)| places.len() < *needed) {
        let Some(ids) = tiles.next() else { break };
        tile.load(corpus, ids);
        for ((rows, columns), (needed, places)) in &mut found {
            for (lane, &image) in ids.iter().enumerate() {
                let positions =
                    rows.clone().flat_map(|y| columns.clone().map(move |x| y * frame.extent.width + x));
                let plain = positions.filter(|&at| tile.alive[at] >> lane & 1 == 0);
                places.extend(plain.map(|at| (image, at as u32)).take(*needed - places.len()));
            }
        }
    }
    partners.iter().map(|partners| found[partners].1.clone()).collect()
}
