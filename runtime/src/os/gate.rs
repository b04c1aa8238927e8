//! The gate of a fork-join pool: hands one borrowed closure to waiting threads and takes it back.
//!
//! A job is open while its owner runs it. Threads that come in time join in and are counted; the
//! owner closes the gate when it has done its own part and waits for those inside only. So a thread
//! that wakes up late costs nobody time.
#![allow(unsafe_code)]

use super::word::Word;
use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// Set in [`Gate::state`] while a job may be joined; the other bits count the threads inside.
const OPEN: u32 = 1 << 31;

type Job = *const (dyn Fn() + Sync);

/// Where threads wait for work.
pub(crate) struct Gate {
    /// A job is under way.
    busy: AtomicBool,
    job: UnsafeCell<Option<Job>>,
    state: Word,
    /// Counts jobs; waiting threads sleep on it.
    epoch: Word,
    sleepers: AtomicU32,
    /// Counts the threads that have come to serve.
    arrived: Word,
    owner_sleeps: AtomicU32,
    ends: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    spins: u32,
}

// SAFETY: `job` is the only part that is not Sync by itself. It is written by the thread that holds
// `busy` while `state` is zero, and read by threads counted in `state`; see `broadcast`.
unsafe impl Sync for Gate {}
// SAFETY: the pointer in `job` is dead outside `broadcast`, whose borrow keeps the gate in place.
unsafe impl Send for Gate {}

impl Gate {
    /// A gate whose threads spin for `spins` rounds before they sleep.
    pub(crate) fn new(spins: u32) -> Gate {
        Gate {
            busy: AtomicBool::new(false),
            job: UnsafeCell::new(None),
            state: Word::default(),
            epoch: Word::default(),
            sleepers: AtomicU32::new(0),
            arrived: Word::default(),
            owner_sleeps: AtomicU32::new(0),
            ends: AtomicBool::new(false),
            panic: Mutex::new(None),
            spins,
        }
    }

    /// Calls `work` on this thread and on those at the gate that come before it ends; alone where
    /// another thread uses the gate.
    pub(crate) fn broadcast(&self, work: &(dyn Fn() + Sync)) {
        if self.busy.swap(true, Ordering::Acquire) {
            return work();
        }
        let job: *const (dyn Fn() + Sync + '_) = work;
        // SAFETY: only the lifetime changes. Threads use the pointer while counted in `state`, and
        // this call does not return or unwind before `state` is zero and closed.
        let job: Job = unsafe { std::mem::transmute(job) };
        // SAFETY: `busy` is ours and `state` is zero, so that no other thread looks at the cell.
        unsafe { *self.job.get() = Some(job) };
        self.state.store(OPEN, Ordering::Release);
        self.epoch.fetch_add(1, Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            self.epoch.wake_all();
        }
        let own = catch_unwind(AssertUnwindSafe(work));
        let mut left = self.state.fetch_and(!OPEN, Ordering::AcqRel) & !OPEN;
        while left != 0 {
            self.state.wait_change(left, self.spins, &self.owner_sleeps);
            left = self.state.load(Ordering::Acquire);
        }
        let theirs = self.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.busy.store(false, Ordering::Release);
        if let Some(payload) = own.err().or(theirs) {
            resume_unwind(payload);
        }
    }

    /// Number of waiting threads that are at work.
    pub(crate) fn n_inside(&self) -> usize {
        (self.state.load(Ordering::Relaxed) & !OPEN) as usize
    }

    /// Waits until so many threads serve: what a thread allocates at its start is done then.
    pub(crate) fn await_threads(&self, n: usize) {
        loop {
            let arrived = self.arrived.load(Ordering::Acquire);
            if arrived as usize >= n {
                return;
            }
            self.arrived.wait(arrived);
        }
    }

    /// Waits for jobs and joins them until [`Gate::end`].
    pub(crate) fn serve(&self) {
        self.arrived.fetch_add(1, Ordering::Release);
        self.arrived.wake_all();
        let mut seen = 0;
        while !self.ends.load(Ordering::Acquire) {
            self.epoch.wait_change(seen, self.spins, &self.sleepers);
            seen = self.epoch.load(Ordering::Acquire);
            let open = |s: u32| (s & OPEN != 0).then(|| s + 1);
            if self.state.fetch_update(Ordering::Acquire, Ordering::Relaxed, open).is_ok() {
                self.join();
            }
        }
    }

    fn join(&self) {
        // SAFETY: this thread is counted in `state`, so the owner has written the cell before it
        // opened the gate and waits for us before it returns.
        let job = unsafe { *self.job.get() };
        if let Some(job) = job {
            // SAFETY: as above, the closure is borrowed by the waiting owner.
            let work = unsafe { &*job };
            if let Err(payload) = catch_unwind(AssertUnwindSafe(work)) {
                *self.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(payload);
            }
        }
        // While the gate is open the owner is not waiting for this count.
        let after = self.state.fetch_sub(1, Ordering::SeqCst) - 1;
        if after & OPEN == 0 && self.owner_sleeps.load(Ordering::SeqCst) > 0 {
            self.state.wake_all();
        }
    }

    /// Sends the waiting threads home.
    pub(crate) fn end(&self) {
        self.ends.store(true, Ordering::SeqCst);
        self.epoch.fetch_add(1, Ordering::SeqCst);
        self.epoch.wake_all();
    }
}
