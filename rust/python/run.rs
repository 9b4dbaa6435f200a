//! Runs work without the GIL on a pool of threads, and stops it when Python is interrupted.

use std::collections::HashMap;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{channel, RecvTimeoutError};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread::Builder;
use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::{require, Result};

/// Time between two checks for Ctrl-C.
const SIGNAL_INTERVAL: Duration = Duration::from_millis(50);

/// More threads than machines have: a wrong number must not exhaust a machine.
const MOST_THREADS: usize = 1024;

/// Thread pools by process and size. The threads of a parent process do not exist in a forked child, so it makes its own.
fn thread_pool(threads: usize) -> PyResult<Arc<ThreadPool>> {
    type Pools = Mutex<HashMap<(u32, usize), Arc<ThreadPool>>>;
    static POOLS: LazyLock<Pools> = LazyLock::new(Pools::default);
    require(threads <= MOST_THREADS, "threads", format!("in 0..={MOST_THREADS}"), threads)?;
    let threads = match threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        given => given,
    };
    let mut pools = POOLS.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let key = (std::process::id(), threads);
    if let Some(pool) = pools.get(&key) {
        return Ok(pool.clone());
    }
    let pool = ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|index| format!("npgen-{index}"))
        .build()
        .map_err(|error| PyRuntimeError::new_err(format!("could not start {threads} threads: {error}")))?;
    Ok(pools.entry(key).or_insert(Arc::new(pool)).clone())
}

/// Runs `work` on `threads` threads (0: one per core) without the GIL. A signal that Python turns into an exception
/// (Ctrl-C) sets the flag that is passed to `work`.
pub fn run<T: Send>(
    py: Python,
    threads: usize,
    work: impl FnOnce(&AtomicBool) -> Result<T> + Send,
) -> PyResult<T> {
    let pool = thread_pool(threads)?;
    let cancel = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (sender, mut receiver) = channel();
        let cancel = &cancel;
        let call = move || {
            let outcome = catch_unwind(AssertUnwindSafe(|| pool.install(|| work(cancel))));
            // The receiver exists until this has arrived, see below.
            let _ = sender.send(outcome);
        };
        Builder::new()
            .name("npgen-call".into())
            .spawn_scoped(scope, call)
            .map_err(|error| PyRuntimeError::new_err(format!("could not start a thread: {error}")))?;
        let mut interrupt = None;
        loop {
            let receiver = &mut receiver; // A receiver can be sent to a thread, but not shared with it.
            match py.detach(move || receiver.recv_timeout(SIGNAL_INTERVAL)) {
                Ok(Ok(outcome)) => return interrupt.map_or_else(|| Ok(outcome?), Err),
                Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => {
                    return Err(PyRuntimeError::new_err(
                        "npgen's core panicked: this is a bug, please report it",
                    ));
                }
                Err(RecvTimeoutError::Timeout) => {
                    if let Err(error) = py.check_signals() {
                        cancel.store(true, Ordering::Relaxed);
                        interrupt = Some(error);
                    }
                }
            }
        }
    })
}
