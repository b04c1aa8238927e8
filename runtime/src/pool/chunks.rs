//! Cuts a range into chunks and lets threads claim them.
//!
//! Borders depend on the range and its cost alone, never on the number of threads: a kernel whose
//! result depends on how its range is cut still gives the same bits everywhere.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

/// Ranges cheaper than this run on the calling thread in one piece, in nanoseconds: waking another
/// thread costs about as much.
const ALONE_NS: i64 = 20_000;
/// Chunks are at least this long, in nanoseconds, so that claiming one costs nothing beside it.
const CHUNK_NS: i64 = 5_000;
/// Most chunks of a range: enough to keep 64 threads within some percent of each other.
const CHUNKS: i64 = 128;

/// Threads that run one closure together.
pub trait Executor: Send + Sync {
    /// The most threads that `broadcast` uses, the calling one included.
    fn threads(&self) -> usize;

    /// Calls `work` once on the calling thread and once on any number of other threads, and returns
    /// when all these calls have. Calls may overlap or follow each other; one call alone does all
    /// the work that the others leave.
    fn broadcast(&self, work: &(dyn Fn() + Sync));

    /// A session begins a run on the calling thread.
    fn enter(&self) {}

    /// A run that began on the calling thread ends.
    fn leave(&self) {}

    /// Asked by each thread before each piece of work: whether it should go and leave the rest to
    /// others, since there are more threads at work than processors.
    fn is_crowded(&self) -> bool {
        false
    }
}

/// Length of the chunks of a range of `grid` points that take `cost_ns` nanoseconds each.
pub(crate) fn grain(grid: i64, cost_ns: i64) -> i64 {
    let cost = cost_ns.max(1);
    if grid.saturating_mul(cost) <= ALONE_NS {
        return grid.max(1);
    }
    let ceil = |a: i64, b: i64| a / b + i64::from(a % b != 0);
    ceil(grid, CHUNKS).max(ceil(CHUNK_NS, cost)).max(1)
}

/// Calls `f(worker, begin, end)` once for every chunk of `0..grid`. Calls with the same worker number
/// never overlap; worker numbers are below `executor.threads()`, whatever the executor does.
pub(crate) fn for_chunks(
    executor: &dyn Executor,
    grid: i64,
    grain: i64,
    f: &(dyn Fn(usize, i64, i64) + Sync),
) {
    let threads = executor.threads().max(1);
    let step = grain.max(1);
    if threads == 1 || grid <= step {
        let mut begin = 0;
        while begin < grid {
            let end = begin.saturating_add(step).min(grid);
            f(0, begin, end);
            begin = end;
        }
        return;
    }
    let (next, workers) = (AtomicI64::new(0), AtomicUsize::new(0));
    // Cannot overflow in practice: every thread passes the end once, by one step.
    let work_off = |worker: usize, goes: &dyn Fn() -> bool| {
        while !goes() {
            let begin = next.fetch_add(step, Ordering::Relaxed);
            if begin >= grid || begin < 0 {
                return;
            }
            f(worker, begin, begin.saturating_add(step).min(grid));
        }
    };
    executor.broadcast(&|| {
        let worker = workers.fetch_add(1, Ordering::Relaxed);
        if worker < threads {
            work_off(worker, &|| executor.is_crowded());
        }
    });
    // What is left where all have gone; nobody else has a number now.
    work_off(0, &|| false);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Calls one after the other, more often than it says.
    struct Eager;

    impl Executor for Eager {
        fn threads(&self) -> usize {
            2
        }
        fn broadcast(&self, work: &(dyn Fn() + Sync)) {
            for _ in 0..5 {
                work();
            }
        }
    }

    #[test]
    fn every_point_is_visited_once_by_a_worker_that_exists() {
        for (grid, step) in [(0, 1), (1, 1), (10, 3), (100, 7), (5, 100)] {
            let seen = Mutex::new(Vec::new());
            for_chunks(&Eager, grid, step, &|worker, begin, end| {
                assert!(worker < 2 && begin < end);
                seen.lock().unwrap().extend(begin..end);
            });
            let mut seen = seen.into_inner().unwrap();
            seen.sort_unstable();
            assert_eq!(seen, (0..grid).collect::<Vec<_>>());
        }
    }

    /// Sends everybody home.
    struct Crowded;

    impl Executor for Crowded {
        fn threads(&self) -> usize {
            2
        }
        fn broadcast(&self, work: &(dyn Fn() + Sync)) {
            work();
        }
        fn is_crowded(&self) -> bool {
            true
        }
    }

    #[test]
    fn the_caller_does_what_others_leave() {
        let sum = AtomicI64::new(0);
        for_chunks(&Crowded, 100, 7, &|_, begin, end| {
            sum.fetch_add((begin..end).sum(), Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 4950);
    }

    #[test]
    fn cheap_ranges_stay_whole() {
        assert_eq!(grain(1000, 1), 1000);
        assert_eq!(grain(1, 1_000_000), 1);
        assert_eq!(grain(1280, 10_000), 10);
        assert_eq!(grain(1_000_000, 1), 7813);
        assert_eq!(grain(100_000, 1), 5000);
        assert_eq!(grain(i64::MAX, i64::MAX), i64::MAX / 128 + 1);
    }
}
