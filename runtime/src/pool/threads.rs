//! The fork-join pool: as many threads as the process has processors, asleep between runs.

use super::chunks::{Executor, for_chunks};
use crate::os::{Gate, usable_cpus};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Instant;

/// How long a thread spins for the next launch before it sleeps, in nanoseconds: launches of one
/// model follow each other within a few microseconds, and waking a sleeper takes tens.
const SPIN_NS: u64 = 20_000;

/// A pool of threads. Several sessions may share one; a session that finds it busy runs alone, and
/// the pool's own threads stand back where the sessions' threads keep the processors busy by themselves.
pub struct Pool {
    gate: Arc<Gate>,
    others: Vec<JoinHandle<()>>,
    /// Runs under way.
    callers: AtomicUsize,
}

impl Pool {
    /// A pool whose launches use up to `threads` threads, the calling one included. Where the system
    /// refuses a thread, the pool does with fewer.
    pub fn new(threads: usize) -> Pool {
        let gate = Arc::new(Gate::new(spins()));
        let spawn = |i: usize| {
            let gate = Arc::clone(&gate);
            std::thread::Builder::new()
                .name(format!("nnc-{i}"))
                .spawn(move || {
                    POOL_THREAD.set(true);
                    gate.serve();
                })
                .ok()
        };
        let others: Vec<JoinHandle<()>> = (1..threads).map_while(spawn).collect();
        gate.await_threads(others.len());
        Pool { gate, others, callers: AtomicUsize::new(0) }
    }

    /// Calls `f(worker, begin, end)` for every chunk of `grain` points of `0..grid`.
    pub fn run(&self, grid: i64, grain: i64, f: &(dyn Fn(usize, i64, i64) + Sync)) {
        for_chunks(self, grid, grain, f);
    }
}

impl Executor for Pool {
    fn threads(&self) -> usize {
        self.others.len() + 1
    }

    fn broadcast(&self, work: &(dyn Fn() + Sync)) {
        if self.callers.load(Ordering::Relaxed) >= self.threads() {
            work();
        } else {
            self.gate.broadcast(work);
        }
    }

    fn enter(&self) {
        self.callers.fetch_add(1, Ordering::Relaxed);
    }

    fn leave(&self) {
        self.callers.fetch_sub(1, Ordering::Relaxed);
    }

    fn is_crowded(&self) -> bool {
        is_pool_thread() && self.callers.load(Ordering::Relaxed) + self.gate.n_inside() > self.threads()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.gate.end();
        for thread in self.others.drain(..) {
            // A thread catches the panics of its work, so there is nothing to hear from it.
            let _ = thread.join();
        }
    }
}

thread_local!(static POOL_THREAD: Cell<bool> = const { Cell::new(false) });

/// The calling thread is a pool's, not an application's.
fn is_pool_thread() -> bool {
    POOL_THREAD.get()
}

/// Threads that a pool has unless told otherwise: processors in the affinity mask, at most the
/// control group's quota rounded up.
pub fn default_threads() -> usize {
    usable_cpus()
}

/// The pool of sessions that bring none of their own; it lives as long as the process.
pub(crate) fn shared_pool() -> Arc<Pool> {
    static POOL: OnceLock<Arc<Pool>> = OnceLock::new();
    Arc::clone(POOL.get_or_init(|| Arc::new(Pool::new(default_threads()))))
}

/// Rounds of a spinning loop that take [`SPIN_NS`], measured: a pause takes 3 to 140 cycles.
fn spins() -> u32 {
    const ROUNDS: u32 = 1000;
    let start = Instant::now();
    for _ in 0..ROUNDS {
        std::hint::spin_loop();
    }
    let ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1);
    u32::try_from(SPIN_NS * u64::from(ROUNDS) / ns).unwrap_or(u32::MAX).clamp(1, 20_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicI64;

    #[test]
    fn many_launches_in_a_row_are_all_complete() {
        for threads in [1, 2, 3, 8] {
            let pool = Pool::new(threads);
            for turn in 0..2000 {
                let sum = AtomicI64::new(0);
                pool.run(turn % 97, 1 + turn % 5, &|_, begin, end| {
                    sum.fetch_add((begin..end).sum(), Ordering::Relaxed);
                });
                let n = turn % 97;
                assert_eq!(sum.into_inner(), n * (n - 1) / 2, "{threads} threads, turn {turn}");
            }
        }
    }

    #[test]
    fn sleeping_threads_wake_up() {
        let pool = Pool::new(4);
        for _ in 0..20 {
            std::thread::sleep(std::time::Duration::from_millis(2));
            let busy = AtomicUsize::new(0);
            // Each chunk waits for the other: this ends only if two threads work at once.
            pool.run(2, 1, &|_, _, _| {
                busy.fetch_add(1, Ordering::SeqCst);
                while busy.load(Ordering::SeqCst) < 2 {
                    std::thread::yield_now();
                }
            });
        }
    }

    #[test]
    fn a_busy_pool_lets_the_caller_work_alone() {
        let pool = Pool::new(2);
        let inner = AtomicI64::new(0);
        pool.run(2, 1, &|_, _, _| {
            pool.run(10, 1, &|_, begin, _| {
                inner.fetch_add(begin, Ordering::Relaxed);
            });
        });
        assert_eq!(inner.into_inner(), 90);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        let pool = Pool::new(3);
        let run = || pool.run(100, 1, &|_, begin, _| assert_ne!(begin, 50, "fifty"));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err());
        let count = AtomicI64::new(0);
        pool.run(100, 1, &|_, _, _| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(count.into_inner(), 100);
    }

    /// As many callers as processors: the pool's own thread stays out.
    #[test]
    fn two_callers_keep_two_processors_busy() {
        let (pool, ready) = (Pool::new(2), std::sync::Barrier::new(2));
        let (busy, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    pool.enter();
                    ready.wait();
                    for _ in 0..500 {
                        pool.run(64, 1, &|_, _, _| {
                            most.fetch_max(busy.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                            std::hint::black_box((0..100).sum::<i64>());
                            busy.fetch_sub(1, Ordering::SeqCst);
                        });
                    }
                    ready.wait();
                    pool.leave();
                });
            }
        });
        assert!(most.into_inner() <= 2);
    }

    #[test]
    fn several_threads_share_a_pool() {
        let pool = Pool::new(2);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let sum = AtomicI64::new(0);
                        pool.run(64, 4, &|_, begin, end| {
                            sum.fetch_add(end - begin, Ordering::Relaxed);
                        });
                        assert_eq!(sum.into_inner(), 64);
                    }
                });
            }
        });
    }
}
