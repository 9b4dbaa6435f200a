//! Several threads that search for one pixel together, pixel after pixel.
//!
//! A search takes some ten microseconds: less than it costs to wake a sleeping thread. So the threads of a team stay
//! awake for a whole stage. The leader sets a search; all take chunks of it until none is left; the leader merges what
//! they found. Which thread searches which chunk does not change the pool.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard, TryLockError};

use super::search::{Chunk, Finder, Limit, Search};
use super::Rasters;
use crate::pool::Candidate;

/// How often a thread looks for work before it lets other threads run: some 20 µs.
const SPINS: usize = 1_000;

/// What the threads of a team share.
#[derive(Debug)]
pub(super) struct Team<'a> {
    rasters: &'a Rasters,
    chunks: Vec<Chunk>,
    /// The search, and its number.
    search: RwLock<(usize, Search)>,
    limit: Limit,
    /// Number of the latest search.
    turn: AtomicUsize,
    /// The next chunk that nobody has taken.
    next: AtomicUsize,
    /// Chunks that were searched.
    done: AtomicUsize,
    ended: AtomicBool,
    /// Whether a helper panicked.
    failed: AtomicBool,
    /// Of each helper: the number of the search that its finder is at, and the finder.
    helpers: Vec<Mutex<(usize, Finder)>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for a condition, awake at first.
fn wait_until(condition: impl Fn() -> bool) {
    let mut spins = 0;
    while !condition() {
        if spins < SPINS {
            spins += 1;
            spin_loop();
        } else {
            std::thread::yield_now();
        }
    }
}

/// Tells the leader that a helper panicked, which otherwise would wait for it forever.
struct Watched<'t, 'a>(&'t Team<'a>);

impl Drop for Watched<'_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.failed.store(true, Ordering::Release);
        }
    }
}

/// Ends a team when the leader leaves, whatever the reason.
pub(super) struct Leave<'t, 'a>(pub(super) &'t Team<'a>);

impl Drop for Leave<'_, '_> {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Release);
    }
}

impl<'a> Team<'a> {
    pub(super) fn new(rasters: &'a Rasters, chunks: Vec<Chunk>, helpers: Vec<Finder>) -> Self {
        Self {
            rasters,
            chunks,
            search: RwLock::default(),
            limit: Limit::new(f32::INFINITY),
            turn: AtomicUsize::new(0),
            next: AtomicUsize::new(usize::MAX / 2),
            done: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            helpers: helpers.into_iter().map(|finder| Mutex::new((0, finder))).collect(),
        }
    }

    pub(super) fn rasters(&self) -> &'a Rasters {
        self.rasters
    }

    /// Takes part in all searches until the leader leaves.
    pub(super) fn help(&self, helper: usize) {
        let _watched = Watched(self);
        let mut seen = 0;
        loop {
            wait_until(|| self.turn.load(Ordering::Acquire) != seen || self.ended.load(Ordering::Acquire));
            if self.ended.load(Ordering::Acquire) {
                return;
            }
            // The leader sets no search while a helper reads one.
            let Ok(search) = self.search.try_read() else { continue };
            let (number, search) = &*search;
            seen = *number;
            let mut helper = locked(&self.helpers[helper]);
            let (at, finder) = &mut *helper;
            self.take_chunks(|chunk| {
                if *at != *number {
                    *at = *number;
                    finder.restart(search);
                }
                finder.search(self.rasters, search, chunk, &self.limit);
            });
        }
    }

    /// Searches with the whole team; `set` writes the search. Returns the pool, in the memory of `finder`.
    pub(super) fn search<'f>(
        &self,
        finder: &'f mut Finder,
        set: impl FnOnce(&mut Search),
    ) -> &'f [Candidate] {
        let number = self.turn.load(Ordering::Relaxed) + 1;
        {
            let mut search = self.free_search();
            search.0 = number;
            set(&mut search.1);
            self.limit.set(search.1.first_limit());
            self.done.store(0, Ordering::Relaxed);
            self.next.store(0, Ordering::Relaxed);
        }
        self.turn.store(number, Ordering::Release);
        let search = self.search.read().unwrap_or_else(PoisonError::into_inner);
        finder.restart(&search.1);
        self.take_chunks(|chunk| finder.search(self.rasters, &search.1, chunk, &self.limit));
        let failed = || self.failed.load(Ordering::Acquire);
        wait_until(|| failed() || self.done.load(Ordering::Acquire) == self.chunks.len());
        assert!(!failed(), "a helper panicked");
        for helper in &self.helpers {
            let helper = locked(helper);
            if helper.0 == number {
                finder.merge(&helper.1);
            }
        }
        finder.finish()
    }

    /// The search, once no helper reads it any more.
    fn free_search(&self) -> RwLockWriteGuard<'_, (usize, Search)> {
        loop {
            match self.search.try_write() {
                Ok(free) => return free,
                Err(TryLockError::Poisoned(free)) => return free.into_inner(),
                Err(TryLockError::WouldBlock) => spin_loop(),
            }
        }
    }

    fn take_chunks(&self, mut work: impl FnMut(&Chunk)) {
        while let Some(chunk) = self.chunks.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            work(chunk);
            self.done.fetch_add(1, Ordering::Release);
        }
    }

    /// Terms of one position that the helpers computed.
    pub(super) fn computed(&self) -> u64 {
        self.helpers.iter().map(|helper| std::mem::take(&mut locked(helper).1.computed)).sum()
    }
}
