//! Seeded stand-ins for real data: smooth blobs, so that distances spread as they do between real images.

use npgen::geometry::Extent;

/// `count` images of `channels` channels; the same bytes for the same arguments.
pub fn images(count: usize, extent: Extent, channels: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32
    };
    let mut bytes = Vec::with_capacity(count * extent.area() * channels);
    for _ in 0..count {
        let (y0, x0, spread) = (random() * 32.0, random() * 32.0, 4.0 + 12.0 * random());
        let tint: Vec<f32> = (0..channels).map(|_| 255.0 * random()).collect();
        for pixel in extent.pixels() {
            let (dy, dx) = (pixel.y as f32 - y0, pixel.x as f32 - x0);
            let blob = (-(dy * dy + dx * dx) / (spread * spread)).exp();
            bytes.extend(tint.iter().map(|&tint| (tint * blob + 12.0 * random()).min(255.0) as u8));
        }
    }
    bytes
}
