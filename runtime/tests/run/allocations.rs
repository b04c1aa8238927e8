//! After warm-up a run at fixed shapes allocates nothing.
#![cfg(all(target_arch = "x86_64", not(windows)))]

use crate::launch::add_five;
use nnc_runtime::{OutputMem, RunOptions, Session, SessionOptions, TensorView};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local!(static COUNT: Cell<u64> = const { Cell::new(0) });

// SAFETY: every call goes on to the system's allocator with the arguments as they came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that ends has no counter any more and nobody who asks.
        let _ = COUNT.try_with(|c| c.set(c.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: `at` came from `alloc` above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn warm_runs_allocate_nothing() {
    let artifact = add_five(1000).artifact();
    let mut s = Session::with_options(artifact, &SessionOptions { threads: Some(2), executor: None });
    let data: [Vec<i64>; 2] = [(0..500).collect(), (0..300).collect()];
    let mut out = vec![0u8; 8 * 500];
    let mut run = |len: usize, data: &[i64]| {
        let shape = [len];
        let x = TensorView::new(&shape, data).unwrap();
        let mut y = [OutputMem::new(&mut out)];
        s.run_with(&[x], &mut y, RunOptions::default()).unwrap();
        assert_eq!(y[0].shape(), [len]);
        assert_eq!(y[0].data()[8..16], 6i64.to_le_bytes());
    };
    for _ in 0..2 {
        run(500, &data[0]);
        run(300, &data[1]);
    }
    let before = COUNT.get();
    for _ in 0..100 {
        run(500, &data[0]);
        run(300, &data[1]);
    }
    assert_eq!(COUNT.get() - before, 0);
}
