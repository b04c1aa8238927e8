//! Sizes from input shapes.

use crate::build::*;
use nnc_runtime::tensor::plan::*;
use nnc_runtime::{DType, Dim, RunError, Tensor, TensorView, Value};

fn zeros(shape: &[usize]) -> Value {
    Tensor::zeros(DType::I64, shape).unwrap().into()
}

/// `x[n, 4]`, `y[n + m, 2]` and an output of the shape `[m]`.
fn two_inputs() -> Build {
    let mut b = Build::default();
    let m = Dim::named("m");
    b.input("x", DType::I64, &[n(), 4.into()]);
    b.input("y", DType::I64, &[n() + m.clone() * 2.into(), n()]);
    let out = b.arena(DType::I64, &[m]);
    b.output("out", out);
    b
}

#[test]
fn symbols_are_solved_from_sums() {
    let mut s = two_inputs().session();
    for (n, m) in [(3, 2), (0, 5), (3, 0), (1, 9)] {
        let out = s.run(&[("y", zeros(&[n + 2 * m, n])), ("x", zeros(&[n, 4]))]).unwrap();
        assert_eq!(out[0].tensor().unwrap().shape(), [m]);
    }
}

#[test]
fn sizes_that_do_not_fit_are_named() {
    let mut s = two_inputs().session();
    let cases: &[(&[usize], &[usize], &str)] = &[
        (&[3, 5], &[5, 3], "input \"x\": size 1 is 5, expected 4"),
        (&[3, 4], &[5, 4], "input \"y\": size 1 is 4, expected n = 3"),
        (&[3, 4], &[5], "input \"y\" must have 2 dimensions, found 1"),
        (&[3, 4], &[6, 3], "size \"m\" is not known"),
        (&[3, 4], &[1, 3], "size \"m\" is -1"),
    ];
    for (x, y, expected) in cases {
        let message = s.run(&[("x", zeros(x)), ("y", zeros(y))]).unwrap_err().to_string();
        assert_eq!(message, *expected);
    }
    let message = s.run(&[("z", zeros(&[]))]).unwrap_err().to_string();
    assert_eq!(message, "the model has no input \"z\"; it has \"x\", \"y\"");
    let message = s.run(&[("x", zeros(&[1, 4]))]).unwrap_err().to_string();
    assert_eq!(message, "input \"y\" is missing");
    let float: Value = Tensor::zeros(DType::F32, &[1, 4]).unwrap().into();
    let message = s.run(&[("x", float), ("y", zeros(&[1, 1]))]).unwrap_err().to_string();
    assert_eq!(message, "input \"x\" must be i64, found f32");
}

#[test]
fn checks_name_the_node_and_both_sizes() {
    let mut b = Build::default();
    let x = b.input("x", DType::I64, &[n()]);
    let node = b.node("concat");
    let (found, expected) = (b.dim(n().modulo(&3.into())), b.dim(0));
    b.plan.checks.push(Check { found, expected, or_one: false, node });
    b.output("x", x);
    let mut s = b.session();
    assert!(s.run(&[("x", zeros(&[6]))]).is_ok());
    let message = s.run(&[("x", zeros(&[7]))]).unwrap_err().to_string();
    assert!(message.contains("node \"concat\": sizes must agree: 0 expected, found "), "{message}");
    assert!(message.ends_with(" = 1; n is dimension 0 of input \"x\""), "{message}");
}

#[test]
fn a_size_that_is_repeated_is_equal_or_one() {
    let mut b = Build::default();
    let m = Dim::named("m");
    let x = b.input("x", DType::I64, &[n()]);
    b.input("mask", DType::I64, &[1.into(), m.clone()]);
    let node = b.node("add");
    let (found, expected) = (b.dim(m), b.dim(n()));
    b.plan.checks.push(Check { found, expected, or_one: true, node });
    b.output("x", x);
    let mut s = b.session();
    for fits in [1, 4] {
        assert!(s.run(&[("x", zeros(&[4])), ("mask", zeros(&[1, fits]))]).is_ok());
    }
    let message = s.run(&[("x", zeros(&[4])), ("mask", zeros(&[1, 3]))]).unwrap_err().to_string();
    assert_eq!(
        message,
        "step 0, node \"add\": sizes must agree: n = 4 or 1 expected, found m = 3; \
         n is dimension 0 of input \"x\", m is dimension 1 of input \"mask\""
    );
}

#[test]
fn sizes_beyond_memory_are_errors() {
    let mut b = Build::default();
    let x = b.input("x", DType::U8, &[n()]);
    b.arena(DType::F32, &[n() * (1i64 << 40).into(), n()]);
    b.output("x", x);
    let mut s = b.session();
    let run = |s: &mut nnc_runtime::Session, len: usize, max_memory| {
        let data = vec![0u8; len];
        let x = TensorView { dtype: DType::U8, shape: &[len], data: &data };
        let options = nnc_runtime::RunOptions { max_memory, ..Default::default() };
        let mut out = vec![0u8; len];
        s.run_with(&[x], &mut [nnc_runtime::OutputMem::new(&mut out)], options)
    };
    assert!(matches!(run(&mut s, 1, Some(1 << 20)), Err(RunError::Limit { .. })));
    assert!(matches!(run(&mut s, 100_000, None), Err(RunError::TooLarge { .. } | RunError::Dim(_))));
    assert!(run(&mut s, 0, Some(0)).is_ok());
}

#[test]
fn many_shapes_in_turn_give_right_answers() {
    let mut b = Build::default();
    let x = b.input("x", DType::I64, &[n()]);
    let one = b.constant(&ints(&[1]));
    let (y, z) = (b.arena(DType::I64, &[n()]), b.arena(DType::I64, &[n()]));
    let steps = [b.routine("add", &[x, one], &[y]), b.routine("add", &[y, y], &[z])];
    b.plan.steps.extend(steps);
    b.output("z", z);
    let mut s = b.session();
    for turn in 0..60usize {
        let len = (turn * 7) % 13 + turn / 3;
        let data: Vec<i64> = (0..len as i64).collect();
        let out = s.run(&[("x", ints(&data).into())]).unwrap();
        assert_eq!(read(&out[0]), data.iter().map(|v| 2 * v + 2).collect::<Vec<_>>());
    }
}

#[test]
fn misaligned_inputs_are_copied() {
    let mut b = Build::default();
    let x = b.input("x", DType::I64, &[n()]);
    let y = b.arena(DType::I64, &[n()]);
    b.copy(x, y);
    b.output("y", y);
    let mut s = b.session();
    let mut raw = [0u8; 33];
    for (i, v) in [5i64, -6, 7].iter().enumerate() {
        raw[1 + 8 * i..][..8].copy_from_slice(&v.to_le_bytes());
    }
    let mut out = [0u8; 24];
    for start in [1, 0] {
        let x = TensorView { dtype: DType::I64, shape: &[3], data: &raw[start..start + 24] };
        s.run_with(&[x], &mut [nnc_runtime::OutputMem::new(&mut out)], Default::default()).unwrap();
        assert_eq!(out[..], raw[start..start + 24]);
    }
}
