//! Sums over sliding windows that only ever add.

use std::marker::PhantomData;

use super::vector::{Block, Vector};

/// Lines of memory that sliding sums need, kept between scans.
#[derive(Default)]
pub struct Scratch {
    pub across: Vec<Block>,
    pub down: Vec<Block>,
    pub prefix: Vec<Block>,
    pub last: Vec<Block>,
}

impl Scratch {
    pub fn fit(&mut self, side: usize, width: usize) {
        // The slot past the last of a stack is an empty sum.
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
/// fit the scratch.
pub trait Sliding<V: Vector> {
    fn new(side: usize, width: usize, scratch: &mut Scratch) -> Self;
    /// Before the first row of a region.
    unsafe fn begin(&mut self, columns: usize);
    /// Takes the next number of a row; the sum is whole from the `side`th on.
    unsafe fn across(&mut self, next: V) -> V;
    /// Takes the next row's number in one column; the sum is whole from the `side`th row on.
    unsafe fn down(&mut self, column: usize, next: V) -> V;
    /// What `down` last gave for a column.
    unsafe fn last(&self, column: usize) -> V;
    unsafe fn end_row(&mut self);
}

/// Sums of so few numbers that adding them all is the fastest.
pub struct Few<V, const SIDE: usize> {
    recent: [V; SIDE],
    /// `(width, SIDE)`: the `SIDE − 1` rows before this one, in no order, and the last sum.
    rows: *mut Block,
    oldest: usize,
}

impl<V: Vector, const SIDE: usize> Sliding<V> for Few<V, SIDE> {
    #[inline(always)]
    fn new(side: usize, _: usize, scratch: &mut Scratch) -> Self {
        assert_eq!(side, SIDE);
        // SAFETY: a zero is as good as any; the instructions are the caller's word, as all methods'.
        let zero = unsafe { V::zero() };
        Self { recent: [zero; SIDE], rows: scratch.down.as_mut_ptr(), oldest: 0 }
    }

    #[inline(always)]
    unsafe fn begin(&mut self, _: usize) {}

    #[inline(always)]
    unsafe fn across(&mut self, next: V) -> V {
        // A loop that moves them would become a move in memory; so they stay in registers.
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

/// A queue of two stacks: three additions a sum, however long.
///
/// Numbers are written to slots from the first on. Once these are full, each becomes the sum of itself and all later
/// ones; so the sum of the last `side` numbers is that of the ones written since, the prefix, plus the slot after
/// theirs. One slot more is always 0.
pub struct Stacks<V> {
    side: usize,
    width: usize,
    columns: usize,
    across: *mut Block,
    across_at: usize,
    across_prefix: V,
    /// `(side + 1, width)`, and a row of prefixes.
    down: *mut Block,
    down_at: usize,
    down_prefix: *mut Block,
    last: *mut Block,
    vector: PhantomData<V>,
}

impl<V: Vector> Sliding<V> for Stacks<V> {
    #[inline(always)]
    fn new(side: usize, width: usize, scratch: &mut Scratch) -> Self {
        Self {
            side,
            width,
            columns: 0,
            across: scratch.across.as_mut_ptr(),
            across_at: 0,
            // SAFETY: as for `Few`.
            across_prefix: unsafe { V::zero() },
            down: scratch.down.as_mut_ptr(),
            down_at: 0,
            down_prefix: scratch.prefix.as_mut_ptr(),
            last: scratch.last.as_mut_ptr(),
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
