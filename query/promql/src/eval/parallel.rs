//! Work on many series by several threads.

use std::num::NonZeroUsize;

/// Values to look at, below which threads cost more than they bring.
const WORTH_THREADS: usize = 200_000;

/// Maps items in order; by several threads if `work`, the number of values to look at, is large.
pub(super) fn map<T: Send, R: Send>(items: Vec<T>, work: usize, function: impl Fn(T) -> R + Sync) -> Vec<R> {
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get).min(items.len());
    if threads < 2 || work < WORTH_THREADS {
        return items.into_iter().map(function).collect();
    }
    let size = items.len().div_ceil(threads);
    let mut chunks: Vec<Vec<T>> = Vec::with_capacity(threads);
    let mut rest = items;
    while rest.len() > size {
        let tail = rest.split_off(size);
        chunks.push(std::mem::replace(&mut rest, tail));
    }
    let function = &function;
    std::thread::scope(|scope| {
        let run = |chunk: Vec<T>| scope.spawn(move || chunk.into_iter().map(function).collect::<Vec<R>>());
        let handles: Vec<_> = chunks.into_iter().map(run).collect();
        let last: Vec<R> = rest.into_iter().map(function).collect();
        let mut results = Vec::new();
        for handle in handles {
            match handle.join() {
                Ok(part) => results.extend(part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        results.extend(last);
        results
    })
}
