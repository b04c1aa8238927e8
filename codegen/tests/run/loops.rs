//! Grids, loops, indices, reductions, calls.

use crate::harness::{Case, Random, Sizes, check, value};
use nnc_ir::tile::{Access, Arg, Expr, Kernel, KernelBuilder, Turns};
use nnc_ir::{DType, Dim, ScalarOp};

pub(crate) fn int(v: i64) -> Dim {
    Dim::int(v)
}

/// Runs with random inputs of the parameters' sizes, for each choice of sizes.
pub(crate) fn run(kernel: &Kernel, choices: &[Sizes], tolerance: f64) {
    let mut random = Random::new(11);
    let mut runs = Vec::new();
    for sizes in choices {
        let len = |d: &Dim| d.eval(&|s| value(sizes, s)).expect("a size").max(0) as usize;
        let inputs = kernel.params.iter().map(|p| random.elements(p.dtype, len(&p.elems))).collect();
        runs.push((sizes.clone(), inputs));
    }
    check(&Case { kernel, tolerance, runs });
}

/// One named size, many values.
pub(crate) fn each(values: &[i64]) -> Vec<Sizes> {
    values.iter().map(|v| vec![("n", *v)]).collect()
}

const TURNS: [Turns; 2] = [Turns::Serial, Turns::Lanes];

#[test]
fn broadcast_over_a_symbolic_grid() {
    for turns in TURNS {
        let (n, m, k) = (Dim::named("n"), Dim::named("m"), Dim::named("k"));
        let mut kb = KernelBuilder::new("broadcast");
        let x = kb.param(DType::F32, n.clone() * m.clone() * k.clone(), Access::Read);
        let y = kb.param(DType::F32, m.clone(), Access::Read);
        let z = kb.param(DType::F32, n.clone() * m.clone() * k.clone(), Access::Write);
        let (i, one, j) = (kb.grid(n), kb.grid(int(1)), kb.grid(m.clone()));
        let open = kb.begin(turns, k.clone(), &[]);
        let at = ((i + one) * m + j.clone()) * k + open.index();
        let (a, b) = (kb.load(x, at.clone()), kb.load(y, j));
        let sum = kb.op(ScalarOp::Mul, &[a, b]);
        kb.store(z, at, sum);
        kb.end(open, &[], &[]);
        let kernel = kb.finish(Dim::ONE);
        let sizes = [(3, 4, 5), (1, 7, 64), (5, 1, 33), (0, 3, 3), (3, 0, 3), (3, 3, 0), (2, 3, 257)];
        run(&kernel, &sizes.map(|(n, m, k)| vec![("n", n), ("m", m), ("k", k)]), 0.0);
    }
}

#[test]
fn transposes_and_strides() {
    for turns in TURNS {
        for dtype in [DType::F32, DType::I64, DType::U8, DType::F16, DType::F64] {
            let (n, m) = (37, 21);
            let mut kb = KernelBuilder::new("transpose");
            let x = kb.param(dtype, int(2 * n * m), Access::Read);
            let y = kb.param(dtype, int(n * m), Access::Write);
            let i = kb.grid(int(n));
            let open = kb.begin(turns, int(m), &[]);
            let v = kb.load(x, (open.index() * int(n) + i.clone()) * int(2) + int(1));
            kb.store(y, i * int(m) + int(m - 1) - open.index(), v);
            kb.end(open, &[], &[]);
            run(&kb.finish(Dim::ONE), &[vec![]], 0.0);
        }
    }
}

#[test]
fn index_arithmetic_with_divisions_and_limits() {
    for turns in TURNS {
        let n = Dim::named("n");
        let mut kb = KernelBuilder::new("indices");
        let x = kb.param(DType::F32, n.clone() * int(12), Access::Read);
        let y = kb.param(DType::F32, n.clone() * int(12), Access::Write);
        let z = kb.param(DType::I64, n.clone() * int(12), Access::Write);
        let open = kb.begin(turns, n.clone() * int(12), &[]);
        let i = open.index();
        let turned = i.modulo(&int(12)) * n.clone() + i.floor_div(&int(12));
        let v = kb.load(x, turned);
        kb.store(y, i.clone(), v);
        let below = (i.clone() - int(7)).floor_div(&int(3)) + (i.clone() - n.clone()).floor_div(&int(4));
        let limited = (i.clone() - n.clone()).max_with(&int(-2)).min_with(&i.floor_div(&n));
        let index = kb.def(DType::I64, Expr::Index(below + limited));
        kb.store(z, i, index);
        kb.end(open, &[], &[]);
        let kernel = kb.finish(Dim::ONE);
        run(&kernel, &each(&[1, 2, 5, 30]), 0.0);
    }
}

#[test]
fn gathered_rows() {
    for turns in TURNS {
        for inside in [false, true] {
            let (rows, columns, picks) = (9i64, 19i64, 13i64);
            let mut kb = KernelBuilder::new("gather");
            let table = kb.param(DType::F32, int(rows * columns), Access::Read);
            let which = kb.param(DType::I64, int(picks), Access::Read);
            let out = kb.param(DType::F32, int(picks * columns), Access::Write);
            if inside {
                let c = kb.grid(int(columns));
                let open = kb.begin(turns, int(picks), &[]);
                let row = kb.load(which, open.index());
                let v = kb.load(table, row.dim() * int(columns) + c.clone());
                kb.store(out, open.index() * int(columns) + c, v);
                kb.end(open, &[], &[]);
            } else {
                let p = kb.grid(int(picks));
                let row = kb.load(which, p.clone());
                let open = kb.begin(turns, int(columns), &[]);
                let v = kb.load(table, row.dim() * int(columns) + open.index());
                kb.store(out, p * int(columns) + open.index(), v);
                kb.end(open, &[], &[]);
            }
            let kernel = kb.finish(Dim::ONE);
            let mut random = Random::new(2);
            let inputs = vec![
                random.elements(DType::F32, (rows * columns) as usize),
                (0..picks).flat_map(|_| random.below(rows as u64).to_le_bytes()).collect(),
                random.elements(DType::F32, (picks * columns) as usize),
            ];
            check(&Case { kernel: &kernel, tolerance: 0.0, runs: vec![(vec![], inputs)] });
        }
    }
}

#[test]
fn padding_by_selection() {
    for turns in TURNS {
        let (n, pad) = (Dim::named("n"), 3);
        let out_n = n.clone() + int(2 * pad);
        let mut kb = KernelBuilder::new("pad");
        let x = kb.param(DType::F32, n.clone() * n.clone(), Access::Read);
        let y = kb.param(DType::F32, out_n.clone() * out_n.clone(), Access::Write);
        let i = kb.grid(out_n.clone());
        let open = kb.begin(turns, out_n.clone(), &[]);
        let (row, column) = (i.clone() - int(pad), open.index() - int(pad));
        let (a, b) = (kb.in_range(row.clone(), n.clone()), kb.in_range(column.clone(), n.clone()));
        let inside = kb.op(ScalarOp::And, &[a, b]);
        let last = n.clone() - int(1);
        let limit = |d: Dim| d.max_with(&int(0)).min_with(&last);
        let v = kb.load(x, limit(row) * n.clone() + limit(column));
        let fill = kb.float(DType::F32, -1.0);
        let v = kb.select(inside, v, fill);
        kb.store(y, i * out_n + open.index(), v);
        kb.end(open, &[], &[]);
        let kernel = kb.finish(Dim::ONE);
        run(&kernel, &each(&[1, 4, 17, 40]), 0.0);
    }
}

#[test]
fn reductions_of_every_kind() {
    let ops = [ScalarOp::Add, ScalarOp::Mul, ScalarOp::Max, ScalarOp::Min, ScalarOp::And, ScalarOp::Or];
    for turns in TURNS {
        for dtype in
            [DType::F32, DType::F64, DType::I32, DType::U32, DType::I64, DType::U8, DType::I8, DType::Bool]
        {
            for op in ops {
                let exists = if dtype.is_float() { op.on_floats().is_some() } else { op.on_ints().is_some() };
                if !exists {
                    continue;
                }
                let n = Dim::named("n");
                let mut kb = KernelBuilder::new(&format!("{} {dtype}", op.name()));
                let x = kb.param(dtype, n.clone() * int(3), Access::Read);
                let y = kb.param(dtype, int(3), Access::Write);
                let i = kb.grid(int(3));
                let init = kb.constant(dtype, 1.0);
                let open = kb.begin(turns, n.clone(), &[]);
                let mut v = kb.load(x, i.clone() * n.clone() + open.index());
                if op == ScalarOp::Mul && dtype.is_float() {
                    // Keeps products of many numbers in range.
                    let one = kb.constant(dtype, 1.0);
                    let tenth = kb.constant(dtype, 0.01);
                    let small = kb.op(ScalarOp::Mul, &[v, tenth]);
                    v = kb.op(ScalarOp::Add, &[small, one]);
                }
                let (_, sums) = kb.end(open, &[], &[(op, init, v)]);
                kb.store(y, i, sums[0]);
                let kernel = kb.finish(Dim::ONE);
                run(
                    &kernel,
                    &each(&[0, 1, 3, 15, 16, 17, 50, 300]),
                    if dtype == DType::F32 { 2e-5 } else { 1e-12 },
                );
            }
        }
    }
}

#[test]
fn extremes_keep_nan() {
    for turns in TURNS {
        for op in [ScalarOp::Max, ScalarOp::Min] {
            for at in [0usize, 5, 21, 39] {
                let mut kb = KernelBuilder::new("nan");
                let x = kb.param(DType::F32, int(40), Access::Read);
                let y = kb.param(DType::F32, int(1), Access::Write);
                let init = kb.float(DType::F32, 0.0);
                let open = kb.begin(turns, int(40), &[]);
                let v = kb.load(x, open.index());
                let (_, r) = kb.end(open, &[], &[(op, init, v)]);
                kb.store(y, int(0), r[0]);
                let kernel = kb.finish(Dim::ONE);
                let mut x: Vec<f32> = (0..40).map(|i| i as f32 - 20.0).collect();
                x[at] = f32::NAN;
                let x = x.iter().flat_map(|v| v.to_le_bytes()).collect();
                check(&Case { kernel: &kernel, tolerance: 0.0, runs: vec![(vec![], vec![x, vec![0; 4]])] });
            }
        }
    }
}

/// Column sums by lanes outside and a serial loop inside, with carried values.
#[test]
fn serial_loops_inside_lanes() {
    for turns in TURNS {
        for extent in [int(6), Dim::named("k")] {
            let n = Dim::named("n");
            let mut kb = KernelBuilder::new("columns");
            let x = kb.param(DType::F32, n.clone() * Dim::named("k"), Access::Read);
            let y = kb.param(DType::F32, n.clone(), Access::Write);
            let z = kb.param(DType::I32, n.clone(), Access::Write);
            let lanes = kb.begin(turns, n.clone(), &[]);
            let (best, count) = (kb.float(DType::F32, -1e9), kb.int(DType::I32, 0));
            let zero = kb.float(DType::F32, 0.0);
            let rows = kb.begin(Turns::Serial, extent.clone(), &[best, count]);
            let carried = rows.carried();
            let v = kb.load(x, rows.index() * n.clone() + lanes.index());
            let better = kb.op(ScalarOp::Gt, &[v, carried[0]]);
            let next = kb.select(better, v, carried[0]);
            let one = kb.int(DType::I32, 1);
            let up = kb.op(ScalarOp::Add, &[carried[1], one]);
            let next_count = kb.select(better, up, carried[1]);
            let (results, sums) = kb.end(rows, &[next, next_count], &[(ScalarOp::Add, zero, v)]);
            let total = kb.op(ScalarOp::Add, &[results[0], sums[0]]);
            kb.store(y, lanes.index(), total);
            kb.store(z, lanes.index(), results[1]);
            kb.end(lanes, &[], &[]);
            let kernel = kb.finish(Dim::ONE);
            run(&kernel, &[1, 5, 16, 39, 64].map(|n| vec![("n", n), ("k", 6)]), 1e-5);
        }
    }
}

#[test]
fn carried_values_of_a_serial_loop() {
    let mut kb = KernelBuilder::new("fibonacci");
    let y = kb.param(DType::U64, int(20), Access::Write);
    let n = kb.grid(int(20));
    let (a, b) = (kb.int(DType::U64, 0), kb.int(DType::U64, 1));
    let open = kb.begin(Turns::Serial, n.clone(), &[a, b]);
    let carried = open.carried();
    let sum = kb.op(ScalarOp::Add, &[carried[0], carried[1]]);
    let (results, _) = kb.end(open, &[carried[1], sum], &[]);
    kb.store(y, n, results[0]);
    run(&kb.finish(Dim::ONE), &[vec![]], 0.0);
}

#[test]
fn conditions() {
    let mut kb = KernelBuilder::new("if");
    let x = kb.param(DType::F32, int(50), Access::Read);
    let y = kb.param(DType::F32, int(50), Access::ReadWrite);
    let i = kb.grid(int(50));
    let (v, zero) = (kb.load(x, i.clone()), kb.float(DType::F32, 0.0));
    let positive = kb.op(ScalarOp::Gt, &[v, zero]);
    kb.begin_if();
    let root = kb.op(ScalarOp::Sqrt, &[v]);
    kb.store(y, i, root);
    kb.end_if(positive);
    run(&kb.finish(Dim::ONE), &[vec![]], 0.0);
}

#[test]
fn scratch_of_constant_and_symbolic_size() {
    for turns in TURNS {
        let n = Dim::named("n");
        let mut kb = KernelBuilder::new("scratch");
        let x = kb.param(DType::F32, n.clone() * int(4), Access::Read);
        let y = kb.param(DType::F32, n.clone() * int(4), Access::Write);
        let a = kb.scratch(DType::F16, n.clone());
        let b = kb.scratch(DType::F32, int(5));
        let c = kb.scratch(DType::F64, n.clone());
        let i = kb.grid(int(4));
        let first = kb.begin(turns, n.clone(), &[]);
        let v = kb.load(x, i.clone() * n.clone() + first.index());
        kb.store(a, first.index(), v);
        let wide = kb.cast(v, DType::F64);
        kb.store(c, n.clone() - int(1) - first.index(), wide);
        kb.end(first, &[], &[]);
        let half = kb.float(DType::F32, 0.5);
        kb.store(b, int(3), half);
        let second = kb.begin(turns, n.clone(), &[]);
        let (v, w, h) = (kb.load(a, second.index()), kb.load(c, second.index()), kb.load(b, int(3)));
        let w = kb.cast(w, DType::F32);
        let sum = kb.op(ScalarOp::Add, &[v, w]);
        let product = kb.op(ScalarOp::Mul, &[sum, h]);
        kb.store(y, i * n.clone() + second.index(), product);
        kb.end(second, &[], &[]);
        let kernel = kb.finish(Dim::ONE);
        run(&kernel, &each(&[1, 31, 64, 100]), 0.0);
    }
}

#[test]
fn microkernel_calls() {
    let mut kb = KernelBuilder::new("call");
    let n = Dim::named("n");
    let x = kb.param(DType::F32, n.clone() * int(3), Access::Read);
    let y = kb.param(DType::F32, n.clone() * int(3), Access::Write);
    let i = kb.grid(int(3));
    let at = i * n.clone();
    kb.call("f32_exp", 1, vec![Arg::Ptr(y, at.clone()), Arg::Ptr(x, at), Arg::Int(n)]);
    let kernel = kb.finish(Dim::ONE);
    run(&kernel, &each(&[0, 1, 100]), 1e-6);
}
