//! Expected values by ONNX Runtime.

use super::{case, check, dims, f, n, text};
use crate::{Attr, DType, attrs};

#[test]
fn pool_matches() {
    check(vec![
        case(
            "pool",
            attrs! { kind: text("max"), kernel: Attr::Ints(vec![3, 2]), strides: Attr::Ints(vec![2, 1]), dilations: Attr::Ints(vec![1, 2]), pads_low: dims(&[1, 0]), pads_high: dims(&[0, 1]), output: dims(&[2, 3]), include_pad: Attr::Int(0), channels_last: Attr::Int(0) },
            vec![f(&[1, 2, 5, 4], 0)],
            vec![n(
                DType::F32,
                &[1, 2, 2, 3],
                &[1.0, 1.25, 1.0, 1.25, 0.75, 1.25, 0.75, 1.25, 0.25, 1.0, 1.25, 0.5],
            )],
        ),
        case(
            "max_pool_indices",
            attrs! { kernel: Attr::Ints(vec![3, 2]), strides: Attr::Ints(vec![2, 1]), dilations: Attr::Ints(vec![1, 2]), pads_low: dims(&[1, 0]), pads_high: dims(&[0, 1]), output: dims(&[2, 3]), channels_last: Attr::Int(0), column_major: Attr::Int(0) },
            vec![f(&[1, 2, 5, 4], 0)],
            vec![n(
                DType::I64,
                &[1, 2, 2, 3],
                &[6.0, 3.0, 6.0, 14.0, 9.0, 14.0, 20.0, 25.0, 26.0, 28.0, 25.0, 34.0],
            )],
        ),
        case(
            "max_pool_indices",
            attrs! { kernel: Attr::Ints(vec![3, 2]), strides: Attr::Ints(vec![2, 1]), dilations: Attr::Ints(vec![1, 2]), pads_low: dims(&[1, 0]), pads_high: dims(&[0, 1]), output: dims(&[2, 3]), channels_last: Attr::Int(0), column_major: Attr::Int(1) },
            vec![f(&[1, 2, 5, 4], 0)],
            vec![n(
                DType::I64,
                &[1, 2, 2, 3],
                &[11.0, 15.0, 11.0, 13.0, 7.0, 13.0, 20.0, 26.0, 31.0, 22.0, 26.0, 33.0],
            )],
        ),
        case(
            "pool",
            attrs! { kind: text("max"), kernel: Attr::Ints(vec![3]), strides: Attr::Ints(vec![3]), dilations: Attr::Ints(vec![1]), pads_low: dims(&[0]), pads_high: dims(&[0]), output: dims(&[3]), include_pad: Attr::Int(0), channels_last: Attr::Int(0) },
            vec![f(&[2, 1, 7], 0)],
            vec![n(DType::F32, &[2, 1, 3], &[0.5, 1.25, 1.0, 0.75, 0.5, -0.5])],
        ),
        case(
            "max_pool_indices",
            attrs! { kernel: Attr::Ints(vec![3]), strides: Attr::Ints(vec![3]), dilations: Attr::Ints(vec![1]), pads_low: dims(&[0]), pads_high: dims(&[0]), output: dims(&[3]), channels_last: Attr::Int(0), column_major: Attr::Int(0) },
            vec![f(&[2, 1, 7], 0)],
            vec![n(DType::I64, &[2, 1, 3], &[1.0, 3.0, 6.0, 9.0, 12.0, 13.0])],
        ),
        case(
            "pool",
            attrs! { kind: text("average"), kernel: Attr::Ints(vec![3, 2]), strides: Attr::Ints(vec![2, 2]), dilations: Attr::Ints(vec![1, 1]), pads_low: dims(&[1, 1]), pads_high: dims(&[0, 0]), output: dims(&[2, 3]), include_pad: Attr::Int(0), channels_last: Attr::Int(0) },
            vec![f(&[1, 1, 5, 5], 0)],
            vec![n(DType::F32, &[1, 1, 2, 3], &[-1.0, 0.25, 0.3125, -0.25, 0.08333334, -0.08333334])],
        ),
        case(
            "pool",
            attrs! { kind: text("average"), kernel: Attr::Ints(vec![3, 2]), strides: Attr::Ints(vec![2, 2]), dilations: Attr::Ints(vec![1, 1]), pads_low: dims(&[1, 1]), pads_high: dims(&[1, 0]), output: dims(&[3, 3]), include_pad: Attr::Int(1), channels_last: Attr::Int(0) },
            vec![f(&[1, 1, 5, 5], 0)],
            vec![n(
                DType::F32,
                &[1, 1, 3, 3],
                &[
                    -0.3333333,
                    0.1666667,
                    0.2083333,
                    -0.125,
                    0.08333334,
                    -0.08333334,
                    0.1666667,
                    -0.2083333,
                    -0.1666667,
                ],
            )],
        ),
        case(
            "pool",
            attrs! { kind: text("average"), kernel: Attr::Ints(vec![3]), strides: Attr::Ints(vec![2]), dilations: Attr::Ints(vec![1]), pads_low: dims(&[1]), pads_high: dims(&[1]), output: dims(&[4]), include_pad: Attr::Int(1), channels_last: Attr::Int(0) },
            vec![f(&[1, 1, 6], 0)],
            vec![n(DType::F32, &[1, 1, 4], &[-0.25, 0.4166667, 0.25, -0.375])],
        ),
        case(
            "pool",
            attrs! { kind: text("average"), kernel: Attr::Ints(vec![2, 2, 1]), strides: Attr::Ints(vec![1, 1, 1]), dilations: Attr::Ints(vec![1, 1, 1]), pads_low: dims(&[0, 1, 0]), pads_high: dims(&[0, 0, 0]), output: dims(&[2, 3, 2]), include_pad: Attr::Int(0), channels_last: Attr::Int(0) },
            vec![f(&[1, 1, 3, 3, 2], 0)],
            vec![n(
                DType::F32,
                &[1, 1, 2, 3, 2],
                &[-0.125, 0.25, -0.4375, 0.625, -0.375, 0.0, 0.75, -0.25, 0.4375, 0.125, -0.1875, 0.1875],
            )],
        ),
        case(
            "pool",
            attrs! { kind: text("sum"), kernel: Attr::Ints(vec![2, 3]), strides: Attr::Ints(vec![1, 2]), dilations: Attr::Ints(vec![1, 1]), pads_low: dims(&[0, 1]), output: dims(&[2, 3]), include_pad: Attr::Int(0), channels_last: Attr::Int(1) },
            vec![n(
                DType::F32,
                &[1, 3, 5, 2],
                &[
                    -1.25, 0.25, 0.5, -0.75, -0.5, 1.0, 1.25, 0.0, 0.25, -1.0, -0.75, 0.75, 1.0, -0.25, 0.0,
                    -1.25, -1.0, 0.5, 0.75, -0.5, -0.25, 1.25, -1.25, 0.25, 0.5, -0.75, -0.5, 1.0, 1.25, 0.0,
                ],
            )],
            vec![n(
                DType::F32,
                &[1, 2, 3, 2],
                &[-0.5, 0.0, 1.25, -0.75, 1.25, -1.0, -1.25, 2.0, -1.25, -0.5, 0.5, 1.0],
            )],
        ),
    ]);
}
