//! Expected values by ONNX Runtime.

use super::{case, check, f, n, text, texts};
use crate::{Attr, DType, attrs};

#[test]
fn recurrent_matches() {
    check(vec![
        case(
            "recurrent",
            attrs! { cell: text("lstm"), direction: text("bidirectional"), hidden: Attr::Int(3), activations: texts(&["Sigmoid", "Tanh", "Tanh", "Sigmoid", "Tanh", "Tanh"]), alphas: Attr::Floats(vec![]), betas: Attr::Floats(vec![]), clip: Attr::Float(0.0), linear_before_reset: Attr::Int(0), input_forget: Attr::Int(0) },
            vec![
                f(&[3, 2, 2], 0),
                f(&[2, 12, 2], 1),
                f(&[2, 12, 3], 2),
                f(&[2, 24], 3),
                n(DType::I32, &[2], &[3.0, 2.0]),
                f(&[2, 2, 3], 4),
                f(&[2, 2, 3], 5),
                f(&[2, 9], 6),
            ],
            vec![
                n(
                    DType::F32,
                    &[3, 2, 2, 3],
                    &[
                        -0.6755483,
                        -0.4920081,
                        0.2607672,
                        -0.7740855,
                        0.06870057,
                        0.2102105,
                        -0.05096765,
                        0.02495067,
                        -0.2144323,
                        -0.1527127,
                        0.0902805,
                        -0.3442924,
                        -0.2292895,
                        -0.249424,
                        0.3975019,
                        -0.3667576,
                        -0.03417229,
                        0.4001089,
                        -0.2427002,
                        0.2060313,
                        -0.1689112,
                        -0.2091102,
                        0.1180107,
                        -0.1941574,
                        -0.6807945,
                        -0.03021919,
                        0.2541037,
                        0.0,
                        0.0,
                        0.0,
                        -0.07395861,
                        0.2278587,
                        -0.06695677,
                        0.0,
                        0.0,
                        0.0,
                    ],
                ),
                n(
                    DType::F32,
                    &[2, 2, 3],
                    &[
                        -0.6807945,
                        -0.03021919,
                        0.2541037,
                        -0.3667576,
                        -0.03417229,
                        0.4001089,
                        -0.05096765,
                        0.02495067,
                        -0.2144323,
                        -0.1527127,
                        0.0902805,
                        -0.3442924,
                    ],
                ),
                n(
                    DType::F32,
                    &[2, 2, 3],
                    &[
                        -1.118446, -0.2738611, 0.994772, -1.299047, -0.1281875, 0.5919653, -0.1450245,
                        0.06077298, -0.5701281, -1.025273, 0.2110384, -0.5668052,
                    ],
                ),
            ],
        ),
        case(
            "recurrent",
            attrs! { cell: text("lstm"), direction: text("forward"), hidden: Attr::Int(2), activations: texts(&["Sigmoid", "Tanh", "Tanh"]), alphas: Attr::Floats(vec![]), betas: Attr::Floats(vec![]), clip: Attr::Float(0.6), linear_before_reset: Attr::Int(0), input_forget: Attr::Int(0) },
            vec![
                f(&[2, 1, 3], 0),
                f(&[1, 8, 3], 1),
                f(&[1, 8, 2], 2),
                f(&[1, 16], 3),
                n(DType::I32, &[1], &[2.0]),
                f(&[1, 1, 2], 4),
                f(&[1, 1, 2], 5),
                n(DType::F32, &[1, 6], &[0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
            ],
            vec![
                n(DType::F32, &[2, 1, 1, 2], &[0.1630779, -0.4249885, 0.1674688, -0.3452401]),
                n(DType::F32, &[1, 1, 2], &[0.1674688, -0.3452401]),
                n(DType::F32, &[1, 1, 2], &[0.5134344, -0.5967206]),
            ],
        ),
        case(
            "recurrent",
            attrs! { cell: text("gru"), direction: text("forward"), hidden: Attr::Int(2), activations: texts(&["Sigmoid", "Tanh"]), alphas: Attr::Floats(vec![]), betas: Attr::Floats(vec![]), clip: Attr::Float(0.0), linear_before_reset: Attr::Int(0), input_forget: Attr::Int(0) },
            vec![
                f(&[3, 2, 2], 0),
                f(&[1, 6, 2], 1),
                f(&[1, 6, 2], 2),
                f(&[1, 12], 3),
                n(DType::I32, &[2], &[3.0, 3.0]),
                f(&[1, 2, 2], 4),
                n(DType::F32, &[1, 2, 2], &[0.0, 0.0, 0.0, 0.0]),
                n(DType::F32, &[1, 6], &[0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
            ],
            vec![
                n(
                    DType::F32,
                    &[3, 1, 2, 2],
                    &[
                        -0.9950887, -0.7715037, -0.2605076, -0.9566177, -0.7332639, -0.6930963, -0.3387932,
                        -0.4582747, -0.7394353, -0.899634, 0.05939586, -0.2550212,
                    ],
                ),
                n(DType::F32, &[1, 2, 2], &[-0.7394353, -0.899634, 0.05939586, -0.2550212]),
                n(DType::F32, &[1, 2, 2], &[0.0, 0.0, 0.0, 0.0]),
            ],
        ),
        case(
            "recurrent",
            attrs! { cell: text("gru"), direction: text("reverse"), hidden: Attr::Int(2), activations: texts(&["Sigmoid", "Tanh"]), alphas: Attr::Floats(vec![]), betas: Attr::Floats(vec![]), clip: Attr::Float(0.0), linear_before_reset: Attr::Int(1), input_forget: Attr::Int(0) },
            vec![
                f(&[3, 2, 2], 0),
                f(&[1, 6, 2], 1),
                f(&[1, 6, 2], 2),
                f(&[1, 12], 3),
                n(DType::I32, &[2], &[3.0, 1.0]),
                f(&[1, 2, 2], 4),
                n(DType::F32, &[1, 2, 2], &[0.0, 0.0, 0.0, 0.0]),
                n(DType::F32, &[1, 6], &[0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
            ],
            vec![
                n(
                    DType::F32,
                    &[3, 1, 2, 2],
                    &[
                        -0.6768184, -0.952439, -0.2603542, -0.9853036, -0.6783856, -0.8099898, 0.0, 0.0,
                        -0.9966095, -0.8193396, 0.0, 0.0,
                    ],
                ),
                n(DType::F32, &[1, 2, 2], &[-0.6768184, -0.952439, -0.2603542, -0.9853036]),
                n(DType::F32, &[1, 2, 2], &[0.0, 0.0, 0.0, 0.0]),
            ],
        ),
        case(
            "recurrent",
            attrs! { cell: text("rnn"), direction: text("bidirectional"), hidden: Attr::Int(3), activations: texts(&["Relu", "LeakyRelu"]), alphas: Attr::Floats(vec![0.0, 0.25]), betas: Attr::Floats(vec![0.0, 0.0]), clip: Attr::Float(0.0), linear_before_reset: Attr::Int(0), input_forget: Attr::Int(0) },
            vec![
                f(&[2, 2, 2], 0),
                f(&[2, 3, 2], 1),
                f(&[2, 3, 3], 2),
                f(&[2, 6], 3),
                n(DType::I32, &[2], &[2.0, 2.0]),
                f(&[2, 2, 3], 4),
                n(DType::F32, &[2, 2, 3], &[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
                n(
                    DType::F32,
                    &[2, 9],
                    &[
                        0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0,
                        0.0,
                    ],
                ),
            ],
            vec![
                n(
                    DType::F32,
                    &[2, 2, 2, 3],
                    &[
                        1.9375, 0.0, 0.0, 2.375, 0.0, 0.0, 2.582031, -0.4306641, 0.8476562, 2.109375,
                        -0.765625, 0.703125, 1.171875, 0.375, 0.0, 1.84375, 0.0, 0.0, -0.140625, -0.265625,
                        1.875, -0.25, -0.5625, 2.0,
                    ],
                ),
                n(
                    DType::F32,
                    &[2, 2, 3],
                    &[
                        1.171875, 0.375, 0.0, 1.84375, 0.0, 0.0, 2.582031, -0.4306641, 0.8476562, 2.109375,
                        -0.765625, 0.703125,
                    ],
                ),
                n(DType::F32, &[2, 2, 3], &[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
            ],
        ),
    ]);
}
