//! Lanes loops with functions that microkernels compute.

use crate::loops::{each, int, run};
use nnc_codegen::cpu::{CpuTarget, clif_text};
use nnc_ir::tile::{Access, Expr, KernelBuilder, Local, Turns};
use nnc_ir::{DType, Dim, ScalarOp};

const SIZES: [i64; 12] = [0, 1, 3, 4, 16, 17, 100, 255, 256, 257, 512, 600];

/// `y[i] = f(x[i])` for every size.
fn elementwise(from: DType, to: DType, f: impl Fn(&mut KernelBuilder, Local, &Dim) -> Local) {
    let n = Dim::named("n");
    let mut kb = KernelBuilder::new("strips");
    let x = kb.param(from, n.clone(), Access::Read);
    let y = kb.param(to, n.clone(), Access::Write);
    let open = kb.begin(Turns::Lanes, n, &[]);
    let v = kb.load(x, open.index());
    let r = f(&mut kb, v, &open.index());
    kb.store(y, open.index(), r);
    kb.end(open, &[], &[]);
    let kernel = kb.finish(Dim::ONE);
    run(&kernel, &each(&SIZES), 0.0);
}

#[test]
fn one_function() {
    elementwise(DType::F32, DType::F32, |kb, v, _| kb.op(ScalarOp::Exp, &[v]));
    elementwise(DType::F64, DType::F64, |kb, v, _| kb.op(ScalarOp::Tanh, &[v]));
    elementwise(DType::F16, DType::BF16, |kb, v, _| kb.op(ScalarOp::Erf, &[v]));
    elementwise(DType::F32, DType::F32, |kb, v, _| {
        let e = kb.op(ScalarOp::Exp, &[v]);
        kb.op(ScalarOp::Mul, &[v, e])
    });
    elementwise(DType::F32, DType::F32, |kb, v, _| {
        let h = kb.op(ScalarOp::Sin, &[v]);
        let e = kb.op(ScalarOp::Exp, &[h]);
        kb.op(ScalarOp::Pow, &[e, v])
    });
}

#[test]
fn chains_and_branches() {
    elementwise(DType::F32, DType::F32, |kb, v, _| {
        let two = kb.float(DType::F32, 2.0);
        let a = kb.op(ScalarOp::Mul, &[v, two]);
        let b = kb.op(ScalarOp::Tanh, &[a]);
        let c = kb.op(ScalarOp::Exp, &[b]);
        let d = kb.op(ScalarOp::Sigmoid, &[v]);
        let e = kb.op(ScalarOp::Add, &[c, d]);
        let positive = kb.op(ScalarOp::Gt, &[v, b]);
        let f = kb.op(ScalarOp::Sin, &[e]);
        let g = kb.select(positive, f, a);
        kb.op(ScalarOp::Add, &[g, e])
    });
}

#[test]
fn functions_of_two_operands() {
    elementwise(DType::F32, DType::F32, |kb, v, _| {
        let size = kb.op(ScalarOp::Abs, &[v]);
        let exponent = kb.float(DType::F32, 1.7);
        let power = kb.op(ScalarOp::Pow, &[size, exponent]);
        let angle = kb.op(ScalarOp::Atan2, &[power, v]);
        let base = kb.op(ScalarOp::Pow, &[exponent, angle]);
        let divisor = kb.float(DType::F32, -0.75);
        let a = kb.op(ScalarOp::Mod, &[v, divisor]);
        let b = kb.op(ScalarOp::Rem, &[v, base]);
        kb.op(ScalarOp::Sub, &[a, b])
    });
}

#[test]
fn indices_cross_phases() {
    elementwise(DType::F32, DType::F32, |kb, v, i| {
        let index = kb.def(DType::I64, Expr::Index(i.clone() * int(3) + int(1)));
        let e = kb.op(ScalarOp::Exp, &[v]);
        let seven = kb.int(DType::I64, 700);
        let low = kb.op(ScalarOp::Lt, &[index, seven]);
        let number = kb.cast(index, DType::I32);
        let number = kb.cast(number, DType::F32);
        let sum = kb.op(ScalarOp::Add, &[e, number]);
        kb.select(low, sum, e)
    });
}

#[test]
fn gathered_after_a_function() {
    let n = Dim::named("n");
    let mut kb = KernelBuilder::new("gather");
    let which = kb.param(DType::U8, n.clone(), Access::Read);
    let table = kb.param(DType::F32, int(256), Access::Read);
    let y = kb.param(DType::F32, n.clone(), Access::Write);
    let open = kb.begin(Turns::Lanes, n, &[]);
    let w = kb.load(which, open.index());
    let row = kb.cast(w, DType::I64);
    let small = kb.cast(w, DType::F32);
    let scale = kb.float(DType::F32, 0.01);
    let small = kb.op(ScalarOp::Mul, &[small, scale]);
    let e = kb.op(ScalarOp::Exp, &[small]);
    let v = kb.load(table, int(255) - row.dim());
    let l = kb.op(ScalarOp::Sinh, &[v]);
    let sum = kb.op(ScalarOp::Add, &[e, l]);
    kb.store(y, open.index(), sum);
    kb.end(open, &[], &[]);
    let kernel = kb.finish(Dim::ONE);
    run(&kernel, &each(&SIZES), 0.0);
}

#[test]
fn in_place_and_through_scratch() {
    let n = Dim::named("n");
    let mut kb = KernelBuilder::new("in place");
    let x = kb.param(DType::F32, n.clone(), Access::ReadWrite);
    let s = kb.scratch(DType::F32, n.clone());
    let open = kb.begin(Turns::Lanes, n, &[]);
    let v = kb.load(x, open.index());
    kb.store(s, open.index(), v);
    let e = kb.op(ScalarOp::Exp, &[v]);
    kb.store(x, open.index(), e);
    let again = kb.load(x, open.index());
    let old = kb.load(s, open.index());
    let sum = kb.op(ScalarOp::Add, &[again, old]);
    let t = kb.op(ScalarOp::Tanh, &[sum]);
    kb.store(x, open.index(), t);
    kb.end(open, &[], &[]);
    let kernel = kb.finish(Dim::ONE);
    run(&kernel, &each(&SIZES), 0.0);
}

/// The second function must not read what the first one has stored.
#[test]
fn two_functions_of_one_row_in_place() {
    let n = Dim::named("n");
    let mut kb = KernelBuilder::new("two");
    let x = kb.param(DType::F32, n.clone(), Access::ReadWrite);
    let y = kb.param(DType::F32, n.clone(), Access::Write);
    let open = kb.begin(Turns::Lanes, n, &[]);
    let v = kb.load(x, open.index());
    let e = kb.op(ScalarOp::Exp, &[v]);
    kb.store(x, open.index(), e);
    let t = kb.op(ScalarOp::Tanh, &[v]);
    let t = kb.op(ScalarOp::Neg, &[t]);
    kb.store(y, open.index(), t);
    kb.end(open, &[], &[]);
    run(&kb.finish(Dim::ONE), &each(&SIZES), 0.0);
}

/// Rows of softmax: a maximum, a sum of exponentials, a division.
#[test]
fn softmax_rows() {
    let n = Dim::named("n");
    let mut kb = KernelBuilder::new("softmax");
    let x = kb.param(DType::F32, n.clone() * int(3), Access::Read);
    let y = kb.param(DType::F32, n.clone() * int(3), Access::Write);
    let row = kb.grid(int(3));
    let lowest = kb.float(DType::F32, f64::NEG_INFINITY);
    let first = kb.begin(Turns::Lanes, n.clone(), &[]);
    let v = kb.load(x, row.clone() * n.clone() + first.index());
    let (_, top) = kb.end(first, &[], &[(ScalarOp::Max, lowest, v)]);
    let zero = kb.float(DType::F32, 0.0);
    let second = kb.begin(Turns::Lanes, n.clone(), &[]);
    let at = row.clone() * n.clone() + second.index();
    let v = kb.load(x, at.clone());
    let less = kb.op(ScalarOp::Sub, &[v, top[0]]);
    let e = kb.op(ScalarOp::Exp, &[less]);
    kb.store(y, at, e);
    let (_, sums) = kb.end(second, &[], &[(ScalarOp::Add, zero, e), (ScalarOp::Min, zero, less)]);
    let third = kb.begin(Turns::Lanes, n.clone(), &[]);
    let at = row * n + third.index();
    let v = kb.load(y, at.clone());
    let q = kb.op(ScalarOp::Div, &[v, sums[0]]);
    let q = kb.op(ScalarOp::Add, &[q, sums[1]]);
    kb.store(y, at, q);
    kb.end(third, &[], &[]);
    let kernel = kb.finish(Dim::ONE);
    run(&kernel, &each(&SIZES), 1e-5);
}

/// Softmax down columns: a serial loop with a function inside lanes, carried values that trade places.
#[test]
fn loops_around_phases() {
    let (n, k) = (Dim::named("n"), Dim::named("k"));
    let mut kb = KernelBuilder::new("columns");
    let x = kb.param(DType::F32, n.clone() * k.clone(), Access::Read);
    let y = kb.param(DType::F32, n.clone(), Access::Write);
    let z = kb.param(DType::F32, n.clone(), Access::Write);
    let lanes = kb.begin(Turns::Lanes, n.clone(), &[]);
    let (a, zero) = (kb.load(x, lanes.index()), kb.float(DType::F32, 0.0));
    let count = kb.int(DType::I64, 5);
    let b = kb.op(ScalarOp::Neg, &[a]);
    let rows = kb.begin(Turns::Serial, k, &[a, b, count]);
    let carried = rows.carried();
    let v = kb.load(x, rows.index() * n.clone() + lanes.index());
    let e = kb.op(ScalarOp::Exp, &[v]);
    let one = kb.int(DType::I64, 1);
    let up = kb.op(ScalarOp::Add, &[carried[2], one]);
    let sum = kb.op(ScalarOp::Add, &[carried[0], e]);
    let (results, sums) =
        kb.end(rows, &[carried[1], sum, up], &[(ScalarOp::Add, zero, e), (ScalarOp::Max, count, up)]);
    let t = kb.op(ScalarOp::Tanh, &[results[0]]);
    let c = kb.cast(results[2], DType::F32);
    let d = kb.cast(sums[1], DType::F32);
    let t = kb.op(ScalarOp::Add, &[t, c]);
    let t = kb.op(ScalarOp::Mul, &[t, d]);
    kb.store(y, lanes.index(), t);
    let s = kb.op(ScalarOp::Sub, &[results[1], sums[0]]);
    kb.store(z, lanes.index(), s);
    kb.end(lanes, &[], &[]);
    let kernel = kb.finish(Dim::ONE);
    for k in [1, 4] {
        run(&kernel, &SIZES.map(|n| vec![("n", n), ("k", k)]), 1e-5);
    }
}

#[test]
fn lanes_become_vectors_and_functions_take_strips() {
    let mut kb = KernelBuilder::new("form");
    let n = Dim::int(1024);
    let x = kb.param(DType::F32, n.clone(), Access::Read);
    let y = kb.param(DType::F32, n.clone(), Access::Write);
    let open = kb.begin(Turns::Lanes, n, &[]);
    let v = kb.load(x, open.index());
    let sum = kb.op(ScalarOp::Add, &[v, v]);
    let e = kb.op(ScalarOp::Exp, &[sum]);
    let root = kb.op(ScalarOp::Sqrt, &[e]);
    kb.store(y, open.index(), root);
    kb.end(open, &[], &[]);
    let text = clif_text(&kb.finish(Dim::ONE), &CpuTarget::parse("native").expect("a target")).expect("clif");
    assert_eq!(text.matches("call_indirect").count(), 1, "{text}");
    assert_eq!(text.matches("sqrt").count(), 4, "{text}");
    assert_eq!(text.matches("fadd").count(), 4, "{text}");
    assert!(text.contains("f32x4") && text.contains("iconst.i64 256"), "{text}");
}

/// `exp` of a row needs neither strips nor loops over lanes.
#[test]
fn rows_are_read_and_written_in_place() {
    let mut kb = KernelBuilder::new("direct");
    let n = Dim::named("n");
    let x = kb.param(DType::F32, n.clone(), Access::Read);
    let y = kb.param(DType::F32, n.clone(), Access::Write);
    let open = kb.begin(Turns::Lanes, n, &[]);
    let v = kb.load(x, open.index());
    let e = kb.op(ScalarOp::Exp, &[v]);
    kb.store(y, open.index(), e);
    kb.end(open, &[], &[]);
    let text = clif_text(&kb.finish(Dim::ONE), &CpuTarget::parse("native").expect("a target")).expect("clif");
    assert_eq!(text.matches("call_indirect").count(), 1, "{text}");
    assert!(!text.contains("f32"), "{text}");
}
