//! Expected values by numpy, running sums and positions by ONNX Runtime.

use super::{case, check, f, n, text};
use crate::{Attr, DType, attrs};

#[test]
fn linalg_matches() {
    check(vec![
        case(
            "contract",
            attrs! { lhs: text("bmk"), rhs: text("bkn"), out: text("bmn"), to: Attr::DType(DType::F32) },
            vec![f(&[2, 3, 5], 0), f(&[2, 5, 9], 1)],
            vec![n(
                DType::F32,
                &[2, 3, 9],
                &[
                    -0.5625, -2.1875, 1.0, 0.75, -2.25, -0.4375, 0.6875, 1.125, -0.5, -1.4375, 1.3125,
                    -1.4375, 1.3125, 1.3125, -1.4375, 1.3125, -1.4375, -1.4375, 1.125, 0.6875, -0.4375,
                    -2.25, 0.75, 1.0, -2.1875, -0.5625, 1.0625, -1.3125, -0.8125, 0.375, -1.1875, 2.0625,
                    0.5, -1.0625, 2.1875, -2.125, 0.125, 2.25, -1.125, 0.3125, -1.0, -0.9375, 1.875, -0.8125,
                    -2.125, 0.875, 1.875, -1.25, 0.4375, -0.625, -1.6875, 2.75, -1.0625, -2.125,
                ],
            )],
        ),
        case(
            "contract",
            attrs! { lhs: text("mk"), rhs: text("nk"), out: text("nm"), to: Attr::DType(DType::F32) },
            vec![f(&[3, 7], 0), f(&[2, 7], 1)],
            vec![n(DType::F32, &[2, 3], &[-0.5625, -1.625, -2.0, -0.625, 0.3125, 1.25])],
        ),
        case(
            "contract",
            attrs! { lhs: text("abc"), rhs: text("cde"), out: text("da"), to: Attr::DType(DType::F32) },
            vec![f(&[2, 3, 4], 0), f(&[4, 3, 2], 2)],
            vec![n(DType::F32, &[3, 2], &[0.3125, -0.4375, -2.25, 0.3125, 1.375, 0.375])],
        ),
        case(
            "contract",
            attrs! { lhs: text("a"), rhs: text("b"), out: text("ba"), to: Attr::DType(DType::F32) },
            vec![f(&[3], 0), f(&[2], 2)],
            vec![n(DType::F32, &[2, 3], &[-0.3125, 0.125, -0.125, 0.9375, -0.375, 0.375])],
        ),
        case(
            "contract",
            attrs! { lhs: text("k"), rhs: text("k"), out: text(""), to: Attr::DType(DType::F32) },
            vec![f(&[11], 0), f(&[11], 2)],
            vec![n(DType::F32, &[], &[-3.4375])],
        ),
        case(
            "contract",
            attrs! { lhs: text("mk"), rhs: text("kn"), out: text("mn"), to: Attr::DType(DType::I32) },
            vec![
                n(DType::I8, &[1, 3], &[-128.0, 127.0, 3.0]),
                n(DType::U8, &[3, 2], &[255.0, 1.0, 2.0, 250.0, 0.0, 7.0]),
            ],
            vec![n(DType::I32, &[1, 2], &[-32386.0, 31643.0])],
        ),
    ]);
}
