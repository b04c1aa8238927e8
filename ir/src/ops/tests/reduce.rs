//! Expected values by numpy, running sums and positions by ONNX Runtime.

use super::{case, check, f, n, text};
use crate::{Attr, DType, attrs};

#[test]
fn reduce_matches() {
    check(vec![
        case(
            "reduce",
            attrs! { kind: text("sum"), axes: Attr::Ints(vec![0, 2]) },
            vec![f(&[2, 3, 5], 0)],
            vec![n(DType::F32, &[3], &[-0.25, -0.75, 1.5])],
        ),
        case(
            "reduce",
            attrs! { kind: text("prod"), axes: Attr::Ints(vec![0, 2]) },
            vec![f(&[2, 3, 5], 0)],
            vec![n(DType::F32, &[3], &[0.0, -0.0, 0.0])],
        ),
        case(
            "reduce",
            attrs! { kind: text("max"), axes: Attr::Ints(vec![0, 2]) },
            vec![f(&[2, 3, 5], 0)],
            vec![n(DType::F32, &[3], &[1.25, 1.0, 1.25])],
        ),
        case(
            "reduce",
            attrs! { kind: text("min"), axes: Attr::Ints(vec![0, 2]) },
            vec![f(&[2, 3, 5], 0)],
            vec![n(DType::F32, &[3], &[-1.25, -1.25, -1.25])],
        ),
        case(
            "reduce",
            attrs! { kind: text("sum"), axes: Attr::Ints(vec![1]) },
            vec![n(DType::I8, &[2, 2], &[100.0, 100.0, -3.0, 4.0])],
            vec![n(DType::I8, &[2], &[-56.0, 1.0])],
        ),
        case(
            "reduce",
            attrs! { kind: text("max"), axes: Attr::Ints(vec![0]) },
            vec![n(DType::Bool, &[2, 2], &[0.0, 1.0, 0.0, 0.0])],
            vec![n(DType::Bool, &[2], &[0.0, 1.0])],
        ),
        case(
            "reduce",
            attrs! { kind: text("max"), axes: Attr::Ints(vec![0]) },
            vec![n(DType::F32, &[0, 2], &[])],
            vec![n(DType::F32, &[2], &[f64::NEG_INFINITY, f64::NEG_INFINITY])],
        ),
        case(
            "reduce",
            attrs! { kind: text("min"), axes: Attr::Ints(vec![0]) },
            vec![n(DType::I32, &[0, 1], &[])],
            vec![n(DType::I32, &[1], &[2147483647.0])],
        ),
        case(
            "reduce",
            attrs! { kind: text("prod"), axes: Attr::Ints(vec![]) },
            vec![f(&[2, 2], 0)],
            vec![n(DType::F32, &[2, 2], &[-1.25, 0.5, -0.5, 1.25])],
        ),
        case(
            "arg_reduce",
            attrs! { kind: text("max"), axis: Attr::Int(1), last: Attr::Int(0) },
            vec![n(DType::F32, &[2, 4], &[1.0, 3.0, 3.0, -2.0, 5.0, 5.0, -2.0, -2.0])],
            vec![n(DType::I64, &[2], &[1.0, 0.0])],
        ),
        case(
            "arg_reduce",
            attrs! { kind: text("max"), axis: Attr::Int(1), last: Attr::Int(1) },
            vec![n(DType::F32, &[2, 4], &[1.0, 3.0, 3.0, -2.0, 5.0, 5.0, -2.0, -2.0])],
            vec![n(DType::I64, &[2], &[2.0, 1.0])],
        ),
        case(
            "arg_reduce",
            attrs! { kind: text("min"), axis: Attr::Int(1), last: Attr::Int(0) },
            vec![n(DType::F32, &[2, 4], &[1.0, 3.0, 3.0, -2.0, 5.0, 5.0, -2.0, -2.0])],
            vec![n(DType::I64, &[2], &[3.0, 2.0])],
        ),
        case(
            "arg_reduce",
            attrs! { kind: text("min"), axis: Attr::Int(1), last: Attr::Int(1) },
            vec![n(DType::F32, &[2, 4], &[1.0, 3.0, 3.0, -2.0, 5.0, 5.0, -2.0, -2.0])],
            vec![n(DType::I64, &[2], &[3.0, 3.0])],
        ),
        case(
            "cumulative",
            attrs! { kind: text("sum"), axis: Attr::Int(1), exclusive: Attr::Int(0), reverse: Attr::Int(0) },
            vec![f(&[2, 4, 3], 0)],
            vec![n(
                DType::F32,
                &[2, 4, 3],
                &[
                    -1.25, 0.5, -0.5, 0.0, 0.75, -1.25, 1.0, 0.75, -2.25, 1.75, 0.5, -3.5, 0.5, -0.5, 1.25,
                    0.75, -1.25, 2.25, 0.75, -2.25, 3.0, 0.5, -3.5, 3.5,
                ],
            )],
        ),
        case(
            "cumulative",
            attrs! { kind: text("sum"), axis: Attr::Int(1), exclusive: Attr::Int(0), reverse: Attr::Int(1) },
            vec![f(&[2, 4, 3], 0)],
            vec![n(
                DType::F32,
                &[2, 4, 3],
                &[
                    1.75, 0.5, -3.5, 3.0, 0.0, -3.0, 1.75, -0.25, -2.25, 0.75, -0.25, -1.25, 0.5, -3.5, 3.5,
                    0.0, -3.0, 2.25, -0.25, -2.25, 1.25, -0.25, -1.25, 0.5,
                ],
            )],
        ),
        case(
            "cumulative",
            attrs! { kind: text("sum"), axis: Attr::Int(1), exclusive: Attr::Int(1), reverse: Attr::Int(0) },
            vec![f(&[2, 4, 3], 0)],
            vec![n(
                DType::F32,
                &[2, 4, 3],
                &[
                    0.0, 0.0, 0.0, -1.25, 0.5, -0.5, 0.0, 0.75, -1.25, 1.0, 0.75, -2.25, 0.0, 0.0, 0.0, 0.5,
                    -0.5, 1.25, 0.75, -1.25, 2.25, 0.75, -2.25, 3.0,
                ],
            )],
        ),
        case(
            "cumulative",
            attrs! { kind: text("sum"), axis: Attr::Int(1), exclusive: Attr::Int(1), reverse: Attr::Int(1) },
            vec![f(&[2, 4, 3], 0)],
            vec![n(
                DType::F32,
                &[2, 4, 3],
                &[
                    3.0, 0.0, -3.0, 1.75, -0.25, -2.25, 0.75, -0.25, -1.25, 0.0, 0.0, 0.0, 0.0, -3.0, 2.25,
                    -0.25, -2.25, 1.25, -0.25, -1.25, 0.5, 0.0, 0.0, 0.0,
                ],
            )],
        ),
        case(
            "cumulative",
            attrs! { kind: text("prod"), axis: Attr::Int(0), exclusive: Attr::Int(0), reverse: Attr::Int(0) },
            vec![f(&[3, 2], 0)],
            vec![n(DType::F32, &[3, 2], &[-1.25, 0.5, 0.625, 0.625, 0.15625, -0.46875])],
        ),
    ]);
}
