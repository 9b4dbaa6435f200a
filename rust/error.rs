//! The error type: which parameter, what is allowed, what was given.

use std::sync::atomic::{AtomicBool, Ordering};

/// Why a call was refused or ended early.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An argument is out of range.
    #[error("{parameter} must be {allowed}, got {got}")]
    Invalid { parameter: &'static str, allowed: String, got: String },
    /// A buffer did not fit the memory.
    #[error("not enough memory for {buffer} of {bytes} bytes")]
    Memory { buffer: &'static str, bytes: usize },
    /// The caller cancelled the work; what was written so far is incomplete.
    #[error("interrupted")]
    Interrupted,
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub fn invalid(parameter: &'static str, allowed: impl ToString, got: impl ToString) -> Self {
        Self::Invalid { parameter, allowed: allowed.to_string(), got: got.to_string() }
    }
}

/// `Ok` if the condition holds, else an error that names the parameter.
pub fn require(
    holds: bool,
    parameter: &'static str,
    allowed: impl ToString,
    got: impl ToString,
) -> Result<()> {
    if holds {
        Ok(())
    } else {
        Err(Error::invalid(parameter, allowed, got))
    }
}

/// An empty vector with room for `len` elements; an error where memory is short.
pub fn reserved<T>(buffer: &'static str, len: usize) -> Result<Vec<T>> {
    let mut vector = Vec::new();
    let bytes = len.saturating_mul(size_of::<T>());
    vector.try_reserve_exact(len).map_err(|_| Error::Memory { buffer, bytes })?;
    Ok(vector)
}

/// Makes all of a vector `len` copies of a value; an error where memory is short.
pub fn refill<T: Clone>(vector: &mut Vec<T>, buffer: &'static str, len: usize, value: T) -> Result<()> {
    vector.clear();
    let bytes = len.saturating_mul(size_of::<T>());
    vector.try_reserve_exact(len).map_err(|_| Error::Memory { buffer, bytes })?;
    vector.resize(len, value);
    Ok(())
}

/// `Err` if the caller has cancelled the work.
pub fn check(cancel: &AtomicBool) -> Result<()> {
    if cancel.load(Ordering::Relaxed) {
        Err(Error::Interrupted)
    } else {
        Ok(())
    }
}
