//! Launches of machine code, assembled by hand.
#![cfg(all(target_arch = "x86_64", not(windows)))]

use crate::build::*;
use nnc_runtime::tensor::plan::*;
use nnc_runtime::{Artifact, DType, Dim, Executor, Pool, Session, SessionOptions};
use std::sync::Arc;

/// `buffers[1][i] = buffers[0][i] + dims[0]` for i64, by way of the scratch.
#[rustfmt::skip]
pub(crate) const ADD: &[u8] = &[
    0x48, 0x8b, 0x06,             // mov rax, [rsi]
    0x48, 0x8b, 0x76, 0x08,       // mov rsi, [rsi+8]
    0x48, 0x8b, 0x12,             // mov rdx, [rdx]
    0x4d, 0x39, 0xc8,             // loop: cmp r8, r9
    0x7d, 0x16,                   // jge end
    0x4e, 0x8b, 0x14, 0xc0,       // mov r10, [rax+r8*8]
    0x49, 0x01, 0xd2,             // add r10, rdx
    0x4c, 0x89, 0x11,             // mov [rcx], r10
    0x4c, 0x8b, 0x11,             // mov r10, [rcx]
    0x4e, 0x89, 0x14, 0xc6,       // mov [rsi+r8*8], r10
    0x49, 0xff, 0xc0,             // inc r8
    0xeb, 0xe5,                   // jmp loop
    0xc3,                         // end: ret
];

/// `y = x + 5` over `n` elements that cost `cost` nanoseconds each.
pub(crate) fn add_five(cost: i64) -> Build {
    let mut b = Build::default();
    let x = b.input("x", DType::I64, &[n()]);
    let y = b.arena(DType::I64, &[n()]);
    let kernel = b.kernel("add", ADD, 8);
    let (dims, grid, cost_ns, node) = (vec![b.dim(5)], b.dim(n()), b.dim(cost), b.node("add"));
    b.step(Step::Launch { kernel, buffers: vec![x, y], dims, grid, cost_ns, node });
    b.output("y", y);
    b
}

#[test]
fn code_runs_alone_and_in_threads_from_bytes_and_files() {
    for (cost, threads) in [(1, 1), (1000, 1), (1000, 2), (1000, 5)] {
        let path = add_five(cost).file();
        let bytes = std::fs::read(&path).unwrap();
        for artifact in [Artifact::open(&path).unwrap(), Artifact::from_bytes(bytes).unwrap()] {
            let options = SessionOptions { threads: Some(threads), executor: None };
            let mut s = Session::with_options(Arc::new(artifact), &options);
            for len in [0, 1, 7, 1000, 3] {
                let x: Vec<i64> = (0..len).collect();
                let out = s.run(&[("x", ints(&x).into())]).unwrap();
                assert_eq!(read(&out[0]), x.iter().map(|v| v + 5).collect::<Vec<_>>());
            }
        }
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn late_buffers_grow_for_a_kernel() {
    let mut b = Build::default();
    let k = Dim::named("k");
    let x = b.input("x", DType::I64, &[n()]);
    let (kept, y) =
        (b.late(DType::I64, std::slice::from_ref(&k)), b.late(DType::I64, std::slice::from_ref(&k)));
    let step = b.routine("positive", &[x], &[kept]);
    b.step(step);
    let kernel = b.kernel("add", ADD, 8);
    let (dims, grid, cost_ns, node) = (vec![b.dim(k)], b.dim(Dim::named("k")), b.dim(1), b.node("add"));
    b.step(Step::Launch { kernel, buffers: vec![kept, y], dims, grid, cost_ns, node });
    b.output("y", y);
    let mut s = b.session();
    for x in [vec![1, -1, 5], vec![-3], vec![4; 100], vec![2, 3]] {
        let kept: Vec<i64> = x.iter().copied().filter(|v| *v > 0).collect();
        let out = s.run(&[("x", ints(&x).into())]).unwrap();
        assert_eq!(read(&out[0]), kept.iter().map(|v| v + kept.len() as i64).collect::<Vec<_>>());
    }
}

/// The second half of a late buffer is written before the buffer itself has had any memory.
#[test]
fn a_view_s_address_follows_its_block() {
    let mut b = Build::default();
    let k = Dim::named("k");
    let len = b.input("len", DType::I64, &[]);
    let x = b.input("x", DType::I64, &[n()]);
    b.step(Step::Bind { source: Source::Element(len, 0), sym: sym("k") });
    let whole = b.late(DType::I64, &[k.clone() * 2.into()]);
    let offset = b.dim(k.clone());
    let half = b.buffer(DType::I64, std::slice::from_ref(&k), Place::View { of: whole, offset });
    let kernel = b.kernel("add", ADD, 8);
    let (dims, grid, cost_ns, node) = (vec![b.dim(1)], b.dim(k), b.dim(1), b.node("add"));
    b.step(Step::Launch { kernel, buffers: vec![x, half, whole], dims, grid, cost_ns, node });
    b.output("half", half);
    let mut s = b.session();
    for len in [2i64, 3000, 5] {
        let x: Vec<i64> = (0..len).collect();
        let out = s.run(&[("x", ints(&x).into()), ("len", scalar(len).into())]).unwrap();
        assert_eq!(read(&out[0]), x.iter().map(|v| v + 1).collect::<Vec<_>>());
    }
}

#[test]
fn sessions_of_several_threads_share_an_artifact_and_a_pool() {
    let artifact = add_five(1000).artifact();
    let pool: Arc<dyn Executor> = Arc::new(Pool::new(2));
    std::thread::scope(|scope| {
        for t in 0..4 {
            let options = SessionOptions { threads: None, executor: Some(Arc::clone(&pool)) };
            let mut s = Session::with_options(Arc::clone(&artifact), &options);
            scope.spawn(move || {
                for turn in 0..50i64 {
                    let x: Vec<i64> = (0..200 + turn % 3).map(|i| i * t).collect();
                    let out = s.run(&[("x", ints(&x).into())]).unwrap();
                    assert_eq!(read(&out[0]), x.iter().map(|v| v + 5).collect::<Vec<_>>());
                }
            });
        }
    });
}

#[test]
fn a_deadline_stops_between_chunks() {
    let mut s = add_five(1000).session();
    let options = nnc_runtime::RunOptions { deadline: Some(std::time::Instant::now()), ..Default::default() };
    let result = s.run_options(&[("x", ints(&[1; 1000]).into())], options);
    assert!(matches!(result, Err(nnc_runtime::RunError::Deadline)));
    assert!(s.run(&[("x", ints(&[1; 1000]).into())]).is_ok());
}
