//! Which patches of background a pixel's trace names: they were counted, not scanned, so they are looked up.

use std::collections::HashMap;
use std::ops::Range;

use super::machine::Frame;
use super::tile::Tile;
use crate::corpus::{Corpus, ImageId};

/// Rows and columns of the positions that some pixels are compared with.
type Partners = (Range<usize>, Range<usize>);

/// An image and the flat position of a patch in it.
pub type Place = (ImageId, u32);

/// For each pixel's partners the first `wanted` patches that are all background, by image and position.
///
/// `wanted` must not be more than there are in these images, which ascend; else all of them are read.
pub fn first_places<'a>(
    corpus: &Corpus,
    mut tiles: impl Iterator<Item = &'a [ImageId]>,
    tile: &mut Tile,
    frame: &Frame,
    wanted: impl Fn(usize) -> usize,
) -> Vec<Vec<Place>> {
    let partners: Vec<Partners> =
        frame.extent.pixels().map(|pixel| frame.partners(pixel.y, pixel.x)).collect();
    let mut found: HashMap<&Partners, (usize, Vec<Place>)> = HashMap::new();
    for (pixel, partners) in partners.iter().enumerate() {
        found.entry(partners).or_insert((wanted(pixel), Vec::new()));
    }
    while found.values().any(|(wanted, places)| places.len() < *wanted) {
        let Some(ids) = tiles.next() else { break };
        tile.load(corpus, ids);
        for ((rows, columns), (wanted, places)) in &mut found {
            for (lane, &image) in ids.iter().enumerate() {
                let positions =
                    rows.clone().flat_map(|y| columns.clone().map(move |x| y * frame.extent.width + x));
                let plain = positions.filter(|&at| tile.alive[at] >> lane & 1 == 0);
                places.extend(plain.map(|at| (image, at as u32)).take(*wanted - places.len()));
            }
        }
    }
    partners.iter().map(|partners| found[partners].1.clone()).collect()
}
