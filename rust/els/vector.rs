//! Vectors of sixteen numbers: the kernel is written in terms of these, once for all instruction sets.
//!
//! Methods are inlined into the function that enables the instructions, so no call passes a value of these types.

/// Lanes of a vector, one per image: one AVX-512 register, two of AVX2, four of SSE2 or NEON. The same on every instruction
/// set, so that sums are added up in the same order.
pub const LANES: usize = 16;

/// A set of lanes, lowest bit first.
pub type Mask = u16;

/// A vector in memory.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C, align(64))]
pub struct Block(pub [f32; LANES]);

impl Block {
    pub const ZERO: Self = Self([0.0; LANES]);

    /// The sum of all lanes in double precision, by halves.
    pub fn sum(&self) -> f64 {
        let mut sums = self.0.map(f64::from);
        let mut width = LANES / 2;
        while width > 0 {
            for lane in 0..width {
                sums[lane] += sums[lane + width];
            }
            width /= 2;
        }
        sums[0]
    }
}

/// Coefficients of 2^f for |f| ≤ 1/2, of falling degree: the least relative error (9e-8) with 2^0 = 1 exactly.
#[allow(clippy::approx_constant)] // one of them is a fitted number near ln 2
pub const EXP2: [f32; 6] = [1.326_472_7e-3, 9.671_513e-3, 5.550_733_7e-2, 2.402_224_2e-1, 6.931_47e-1, 1.0];

/// Exponents below this count as this: smaller powers of 2 are not normal numbers.
pub const LEAST_EXPONENT: f32 = -126.0;

/// `LANES` numbers of single precision.
///
/// # Safety
/// All methods: the CPU must have the instructions of the type.
pub trait Vector: Copy {
    unsafe fn zero() -> Self;
    unsafe fn load(from: *const Block) -> Self;
    unsafe fn store(self, to: *mut Block);
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn splat(value: f32) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    /// `self · factor + term`; the product is not rounded.
    unsafe fn mul_add(self, factor: Self, term: Self) -> Self;
    /// The lanes that are less than those of `limit`. A lane that is not a number is not less.
    unsafe fn below(self, limit: Self) -> Mask;
    /// 2 to the power of each lane of `mask`, at least 2^`LEAST_EXPONENT`; 0 in other lanes. Up to 2^127.
    unsafe fn exp2(self, mask: Mask) -> Self;
}

/// Plain Rust; the compiler turns it into SSE2 or NEON.
#[derive(Clone, Copy)]
pub struct Portable([f32; LANES]);

impl Portable {
    #[inline(always)]
    fn with(self, other: Self, operation: impl Fn(f32, f32) -> f32) -> Self {
        Self(std::array::from_fn(|lane| operation(self.0[lane], other.0[lane])))
    }
}

impl Vector for Portable {
    #[inline(always)]
    unsafe fn zero() -> Self {
        Self([0.0; LANES])
    }

    #[inline(always)]
    unsafe fn load(from: *const Block) -> Self {
        Self((*from).0)
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut Block) {
        (*to).0 = self.0;
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        self.with(other, |a, b| a + b)
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; LANES])
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        self.with(other, |a, b| a - b)
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        self.with(other, |a, b| a * b)
    }

    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, term: Self) -> Self {
        // The product of two such numbers is exact in double precision, which large exponents need.
        Self(std::array::from_fn(|lane| {
            (f64::from(self.0[lane]) * f64::from(factor.0[lane]) + f64::from(term.0[lane])) as f32
        }))
    }

    #[inline(always)]
    unsafe fn below(self, limit: Self) -> Mask {
        (0..LANES).fold(0, |mask, lane| mask | Mask::from(self.0[lane] < limit.0[lane]) << lane)
    }

    #[inline(always)]
    unsafe fn exp2(self, mask: Mask) -> Self {
        Self(std::array::from_fn(|lane| {
            let exponent = self.0[lane].max(LEAST_EXPONENT);
            // Adding and subtracting 1.5 · 2²³ rounds to the nearest whole number on any CPU.
            const ROUND: f32 = 12_582_912.0;
            let whole = (exponent + ROUND) - ROUND;
            let fraction = exponent - whole;
            let power = EXP2[1..].iter().fold(EXP2[0], |power, &next| power * fraction + next);
            let scaled = power * f32::from_bits(((whole as i32 + 127) as u32) << 23);
            if mask >> lane & 1 == 1 {
                scaled
            } else {
                0.0
            }
        }))
    }
}
