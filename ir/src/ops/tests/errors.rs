//! What rows refuse, and in which words.

use super::{dims, f, graph_for, n, text};
use crate::{Attr, Attrs, Builder, DType, Tensor, attrs};

fn refusal(op: &str, attrs: Attrs, inputs: &[Tensor]) -> String {
    let (mut g, params) = graph_for(inputs, true, false);
    Builder::new(&mut g).add(op, attrs, &params).map(|_| "accepted".to_owned()).unwrap_or_else(|e| e.0)
}

#[test]
fn refusals_say_what_was_expected() {
    let x = || f(&[2, 3], 0);
    let einsum = |lhs, rhs, out| attrs! { lhs: text(lhs), rhs: text(rhs), out: text(out), to: Attr::DType(DType::F32) };
    let conv = |groups| {
        attrs! { strides: Attr::Ints(vec![1]), dilations: Attr::Ints(vec![1]), pads_low: dims(&[0]),
        pads_high: dims(&[0]), groups: Attr::Int(groups), channels_last: Attr::Int(0) }
    };
    let cases: Vec<(String, &str)> = vec![
        (refusal("reshape", Attrs::new(), &[x()]), "attribute \"shape\" is missing"),
        (
            refusal("reshape", attrs! { shape: Attr::Int(1) }, &[x()]),
            "attribute \"shape\" must be sizes, found an integer",
        ),
        (
            refusal("reshape", attrs! { shape: dims(&[6]), axis: Attr::Int(0) }, &[x()]),
            "reshape has no attribute \"axis\"",
        ),
        (refusal("reshape", attrs! { shape: dims(&[7]) }, &[x()]), "[2, 3] has 6 elements, [7] has 7"),
        (
            refusal("broadcast", attrs! { shape: dims(&[2, 4]) }, &[x()]),
            "[2, 3] cannot be broadcast to [2, 4]",
        ),
        (
            refusal("transpose", attrs! { perm: Attr::Ints(vec![0, 0]) }, &[x()]),
            "attribute \"perm\" must list different axes below the rank 2, found [0, 0]",
        ),
        (
            refusal(
                "slice",
                attrs! { starts: dims(&[0, 1]), sizes: dims(&[2, 3]), steps: Attr::Ints(vec![1, 1]) },
                &[x()],
            ),
            "elements 1..=3 lie outside of axis 1 of size 3",
        ),
        (
            refusal("concat", attrs! { axis: Attr::Int(0) }, &[x(), f(&[2, 2], 0)]),
            "f32[2, 3] and f32[2, 2] cannot be joined along axis 0: axis 1 differs",
        ),
        (
            refusal("gather", attrs! { axis: Attr::Int(2) }, &[x(), n(DType::I64, &[], &[0.0])]),
            "attribute \"axis\" must be below the rank 2, found 2",
        ),
        (
            refusal("gather", attrs! { axis: Attr::Int(0) }, &[x(), x()]),
            "indices must be integers, found f32[2, 3]",
        ),
        (
            refusal("contract", einsum("mk", "kn", "mn"), &[x(), f(&[2, 4], 0)]),
            "axis 'k' must have size 3, found 2",
        ),
        (
            refusal("contract", einsum("mk", "kn", "mz"), &[x(), f(&[3, 4], 0)]),
            "axis 'z' of the result is in neither operand",
        ),
        (
            refusal("contract", einsum("mm", "kn", "m"), &[x(), x()]),
            "lhs must be different letters, found \"mm\"",
        ),
        (
            refusal("conv", conv(2), &[f(&[1, 64, 9], 0), f(&[8, 16, 3], 0), f(&[8], 0)]),
            "weight must have 64 input channels (16 in 2 groups), found 32",
        ),
        (
            refusal("conv", conv(1), &[f(&[1, 4, 9], 0), f(&[8, 4, 3], 0), f(&[7], 0)]),
            "the bias must have shape [8], found [7]",
        ),
        (
            refusal("reduce", attrs! { kind: text("mean"), axes: Attr::Ints(vec![0]) }, &[x()]),
            "attribute \"kind\" must be one of [\"sum\", \"prod\", \"max\", \"min\"], found \"mean\"",
        ),
    ];
    let wrong: Vec<_> = cases.iter().filter(|(found, expected)| found != expected).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
