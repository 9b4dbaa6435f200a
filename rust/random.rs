//! KeyedRandom random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
//!
//! A draw is a pure function of (seed, sample, stream, position) and has no state. So sample 17 is the same alone, in any
//! batch, on any thread and in any process.

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
const ROUNDS: usize = 10;

/// The purpose of a draw; draws of different streams are independent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Which member of the pool is copied to a pixel when it is filled (sweep 0) or drawn again in a later sweep;
    /// position = flat pixel index.
    Pixel { sweep: u16 },
    /// Which image a sample's seed patch comes from; position = 0.
    SeedImage,
    /// From where in that image, if not from the same place; position = 0 for y, 1 for x.
    SeedPlace,
    /// The order of the pixels of a sweep: sample = the sweep's number, position = place in the order.
    SweepOrder,
    /// The distance of a token's source, if distances are weighted; position = flat cell index.
    Distance { sweep: u16 },
    /// Which bits of a token are flipped; position = 64 · flat cell index + bit.
    Flip { sweep: u16 },
    /// The seed of a further draw of the samples; sample = the draw's number, position = 0.
    DrawSeed,
    /// Which images of a longer list a draw uses; position = image id.
    Half,
}

impl Stream {
    fn word(self) -> u32 {
        match self {
            Self::Pixel { sweep } => u32::from(sweep) << 16,
            Self::SeedImage => 1,
            Self::SeedPlace => 2,
            Self::SweepOrder => 3,
            Self::Distance { sweep } => u32::from(sweep) << 16 | 4,
            Self::Flip { sweep } => u32::from(sweep) << 16 | 5,
            Self::DrawSeed => 6,
            Self::Half => 7,
        }
    }
}

/// Random numbers of one sample of one run.
#[derive(Debug, Clone, Copy)]
pub struct KeyedRandom {
    pub seed: u64,
    pub sample: u64,
}

impl KeyedRandom {
    /// A uniform index in `0..len`; `len` must not be 0. The bias of the multiply-shift is below `len · 2⁻⁶⁴`.
    pub fn index(self, stream: Stream, position: u32, len: usize) -> usize {
        ((u128::from(self.bits(stream, position)) * len as u128) >> 64) as usize
    }

    /// A uniform number in [0, 1): a multiple of 2⁻⁵³.
    pub fn unit(self, stream: Stream, position: u32) -> f64 {
        (self.bits(stream, position) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// 64 random bits.
    pub fn bits(self, stream: Stream, position: u32) -> u64 {
        let halves = |word: u64| [word as u32, (word >> 32) as u32];
        let [low, high] = halves(self.sample);
        let block = philox([low, high, position, stream.word()], halves(self.seed));
        u64::from(block[0]) | u64::from(block[1]) << 32
    }
}

fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..ROUNDS {
        let product = |at: usize| u64::from(MULTIPLIERS[at]) * u64::from(counter[2 * at]);
        let (first, second) = (product(0), product(1));
        counter = [
            (second >> 32) as u32 ^ counter[1] ^ key[0],
            second as u32,
            (first >> 32) as u32 ^ counter[3] ^ key[1],
            first as u32,
        ];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_gives_the_published_vectors() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(
            philox([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
    }

    #[test]
    fn indices_are_uniform() {
        let mut counts = [0_u32; 7];
        for sample in 0..7_000 {
            counts[KeyedRandom { seed: 1, sample }.index(Stream::Pixel { sweep: 0 }, 5, 7)] += 1;
        }
        // Chi-squared with 6 degrees of freedom: 22.5 is exceeded once in a thousand.
        let chi: f64 = counts.iter().map(|&n| (f64::from(n) - 1000.0).powi(2) / 1000.0).sum();
        assert!(chi < 22.5, "{chi}");
    }

    #[test]
    fn unit_numbers_fill_the_unit_interval() {
        let units =
            (0..4_000).map(|sample| KeyedRandom { seed: 1, sample }.unit(Stream::Flip { sweep: 0 }, 5));
        let units: Vec<f64> = units.collect();
        assert!(units.iter().all(|unit| (0.0..1.0).contains(unit)));
        // The standard error of the mean is 0.0046 here; three of these.
        let mean = units.iter().sum::<f64>() / 4_000.0;
        assert!((mean - 0.5).abs() < 0.014, "{mean}");
    }

    #[test]
    fn every_part_of_the_key_counts() {
        let draw =
            |seed, sample, stream, position| KeyedRandom { seed, sample }.index(stream, position, 1 << 60);
        let pixel = Stream::Pixel { sweep: 0 };
        let base = draw(1, 2, pixel, 3);
        assert_ne!(base, draw(2, 2, pixel, 3));
        assert_ne!(base, draw(1 | 1 << 40, 2, pixel, 3));
        assert_ne!(base, draw(1, 3, pixel, 3));
        assert_ne!(base, draw(1, 2 | 1 << 40, pixel, 3));
        let sweep = 0;
        let others = [Stream::SeedImage, Stream::SeedPlace, Stream::SweepOrder, Stream::Pixel { sweep: 1 }];
        for other in others.into_iter().chain([Stream::Distance { sweep }, Stream::Flip { sweep }]) {
            assert_ne!(base, draw(1, 2, other, 3));
        }
        assert_ne!(base, draw(1, 2, pixel, 4));
    }
}
