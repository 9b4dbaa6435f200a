//! Sums over sliding windows without subtraction.

use std::marker::PhantomData;

use super::vector::{Block, Vector};

/// Memory of sliding sums, kept between scans.
#[derive(Default)]
pub struct SlidingBuffers {
    pub across: Vec<Block>,
    pub down: Vec<Block>,
    pub prefix: Vec<Block>,
    pub last: Vec<Block>,
}

impl SlidingBuffers {
    pub fn fit(&mut self, side: usize, width: usize) {
        // The slot after the last one of a stack is an empty sum.
        self.across.clear();
        self.across.resize(side + 1, Block::ZERO);
        self.down.clear();
        self.down.resize((side + 1) * width, Block::ZERO);
        self.prefix.clear();
        self.prefix.resize(width, Block::ZERO);
        self.last.resize(width, Block::ZERO);
    }
}

/// Sums over the last `side` numbers of a row, and over the same column of the last `side` rows.
///
/// # Safety
/// All methods: the CPU must have the instructions of `V`; columns must be less than the count of `begin`, which must
/// fit the buffers.
pub trait Sliding<V: Vector> {
    fn new(side: usize, width: usize, buffers: &mut SlidingBuffers) -> Self;
    /// To be called before the first row of a region.
    unsafe fn begin(&mut self, columns: usize);
    /// Takes the next number of a row and returns the sum, which is complete from the `side`th number on.
    unsafe fn across(&mut self, next: V) -> V;
    /// Takes the next row's number in one column and returns the sum, which is complete from the `side`th row on.
    unsafe fn down(&mut self, column: usize, next: V) -> V;
    /// The last result of `down` for a column.
    unsafe fn last(&self, column: usize) -> V;
    unsafe fn end_row(&mut self);
}

/// Sums of so few numbers that adding them all is fastest.
pub struct Few<V, const SIDE: usize> {
    recent: [V; SIDE],
    /// `(width, SIDE)`: the `SIDE − 1` rows before this one, in no order, and the last sum.
    rows: *mut Block,
    oldest: usize,
}

impl<V: Vector, const SIDE: usize> Sliding<V> for Few<V, SIDE> {
    #[inline(always)]
    fn new(side: usize, _: usize, buffers: &mut SlidingBuffers) -> Self {
        assert_eq!(side, SIDE);
        // SAFETY: the caller guarantees the instructions, as for all methods.
        let zero = unsafe { V::zero() };
        Self { recent: [zero; SIDE], rows: buffers.down.as_mut_ptr(), oldest: 0 }
    }

    #[inline(always)]
    unsafe fn begin(&mut self, _: usize) {}

    #[inline(always)]
    unsafe fn across(&mut self, next: V) -> V {
        // Built anew, the array stays in registers; a loop that shifts it would be compiled to a move in memory.
        let recent = self.recent;
        self.recent = std::array::from_fn(|at| if at + 1 < SIDE { recent[at + 1] } else { next });
        let mut sum = self.recent[0].add(self.recent[1]);
        for at in 2..SIDE {
            sum = sum.add(self.recent[at]);
        }
        sum
    }

    #[inline(always)]
    unsafe fn down(&mut self, column: usize, next: V) -> V {
        let rows = self.rows.add(column * SIDE);
        let mut sum = next;
        for row in 0..SIDE - 1 {
            sum = sum.add(V::load(rows.add(row)));
        }
        next.store(rows.add(self.oldest));
        sum.store(rows.add(SIDE - 1));
        sum
    }

    #[inline(always)]
    unsafe fn last(&self, column: usize) -> V {
        V::load(self.rows.add(column * SIDE + SIDE - 1))
    }

    #[inline(always)]
    unsafe fn end_row(&mut self) {
        self.oldest = if self.oldest + 2 == SIDE { 0 } else { self.oldest + 1 };
    }
}

/// A queue made of two stacks: three additions per sum, whatever its length.
///
/// Numbers are written to `side` slots in turn. Once all are full, each slot becomes the sum of itself and all later slots.
/// The sum of the last `side` numbers is then the sum of those written since (the prefix) plus the slot after theirs. One
/// more slot is always 0.
pub struct Stacks<V> {
    side: usize,
    width: usize,
    columns: usize,
    across: *mut Block,
    across_at: usize,
    across_prefix: V,
    /// `(side + 1, width)`.
    down: *mut Block,
    down_at: usize,
    down_prefix: *mut Block,
    last: *mut Block,
    vector: PhantomData<V>,
}

impl<V: Vector> Sliding<V> for Stacks<V> {
    #[inline(always)]
    fn new(side: usize, width: usize, buffers: &mut SlidingBuffers) -> Self {
        Self {
            side,
            width,
            columns: 0,
            across: buffers.across.as_mut_ptr(),
            across_at: 0,
            // SAFETY: as for `Few`.
            across_prefix: unsafe { V::zero() },
            down: buffers.down.as_mut_ptr(),
            down_at: 0,
            down_prefix: buffers.prefix.as_mut_ptr(),
            last: buffers.last.as_mut_ptr(),
            vector: PhantomData,
        }
    }

    #[inline(always)]
    unsafe fn begin(&mut self, columns: usize) {
        self.columns = columns;
        self.down_at = 0;
        for column in 0..columns {
            V::zero().store(self.down_prefix.add(column));
        }
        self.across_at = 0;
        self.across_prefix = V::zero();
    }

    #[inline(always)]
    unsafe fn across(&mut self, next: V) -> V {
        self.across_prefix = self.across_prefix.add(next);
        next.store(self.across.add(self.across_at));
        self.across_at += 1;
        let sum = self.across_prefix.add(V::load(self.across.add(self.across_at)));
        if self.across_at == self.side {
            let mut suffix = next;
            for at in (0..self.side - 1).rev() {
                let slot = self.across.add(at);
                suffix = suffix.add(V::load(slot));
                suffix.store(slot);
            }
            self.across_at = 0;
            self.across_prefix = V::zero();
        }
        sum
    }

    #[inline(always)]
    unsafe fn down(&mut self, column: usize, next: V) -> V {
        let slot = self.down.add(self.down_at * self.width + column);
        let prefix = V::load(self.down_prefix.add(column)).add(next);
        prefix.store(self.down_prefix.add(column));
        next.store(slot);
        let sum = prefix.add(V::load(slot.add(self.width)));
        sum.store(self.last.add(column));
        sum
    }

    #[inline(always)]
    unsafe fn last(&self, column: usize) -> V {
        V::load(self.last.add(column))
    }

    #[inline(always)]
    unsafe fn end_row(&mut self) {
        self.across_at = 0;
        self.across_prefix = V::zero();
        self.down_at += 1;
        if self.down_at == self.side {
            for at in (0..self.side - 1).rev() {
                for column in 0..self.columns {
                    let slot = self.down.add(at * self.width + column);
                    V::load(slot).add(V::load(slot.add(self.width))).store(slot);
                }
            }
            for column in 0..self.columns {
                V::zero().store(self.down_prefix.add(column));
            }
            self.down_at = 0;
        }
    }
}
