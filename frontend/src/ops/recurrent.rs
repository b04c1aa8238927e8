//! Recurrent layers.

use super::conv::zeros;
use super::{OnnxOp, onnx};
use crate::context::{Cx, Lowered};
use crate::refusal::unsupported;
use nnc_ir::{Attr, DType, Dim, ValueId, attrs};

pub(super) const ROWS: &[OnnxOp] = &[
    onnx("GRU", &[1, 3, 7, 14, 22], "gated recurrent unit, one or both directions", |cx| {
        let before_reset = if cx.version >= 3 { cx.attrs.int_or("linear_before_reset", 0)? } else { 0 };
        let cell = Cell { name: "gru", gates: 3, activations: &["Sigmoid", "Tanh"] };
        recurrent(cx, &cell, before_reset, 0)
    }),
    onnx("LSTM", &[1, 7, 14, 22], "long short-term memory, one or both directions", |cx| {
        let input_forget = cx.attrs.int_or("input_forget", 0)?;
        let cell = Cell { name: "lstm", gates: 4, activations: &["Sigmoid", "Tanh", "Tanh"] };
        recurrent(cx, &cell, 0, input_forget)
    }),
    onnx("RNN", &[1, 7, 14, 22], "plain recurrent layer, one or both directions", |cx| {
        recurrent(cx, &Cell { name: "rnn", gates: 1, activations: &["Tanh"] }, 0, 0)
    }),
];

struct Cell {
    name: &'static str,
    gates: i64,
    /// Of one direction, where the node names none.
    activations: &'static [&'static str],
}

/// Names and parameters of activations.
struct Activations {
    names: Vec<Vec<u8>>,
    alphas: Vec<f64>,
    betas: Vec<f64>,
}

/// Default alpha and beta of an activation; `None` where it takes none.
fn parameters(name: &str) -> (Option<f64>, Option<f64>) {
    match name.to_ascii_lowercase().as_str() {
        "affine" => (Some(1.0), Some(0.0)),
        "leakyrelu" => (Some(0.01), None),
        "thresholdedrelu" | "elu" => (Some(1.0), None),
        "scaledtanh" => (Some(1.0), Some(1.0)),
        "hardsigmoid" => (Some(0.2), Some(0.5)),
        _ => (None, None),
    }
}

fn activations(cx: &Cx, cell: &Cell, directions: usize) -> Lowered<Activations> {
    let wanted = cell.activations.len() * directions;
    let names: Vec<&str> = match cx.attrs.strings("activations")? {
        Some(names) if names.len() == wanted => names,
        Some(names) => {
            unsupported!("attribute \"activations\" must hold {wanted} names, found {}", names.len())
        }
        None => cell.activations.repeat(directions),
    };
    // Numbers are listed for the activations that take one, in order.
    let mut given_alphas = cx.attrs.floats("activation_alpha")?.unwrap_or(&[]).iter();
    let mut given_betas = cx.attrs.floats("activation_beta")?.unwrap_or(&[]).iter();
    let (mut alphas, mut betas) = (Vec::new(), Vec::new());
    for name in &names {
        let (alpha, beta) = parameters(name);
        let number = |default: Option<f64>, given: &mut std::slice::Iter<f32>| match default {
            Some(default) => given.next().map_or(default, |v| f64::from(*v)),
            None => 0.0,
        };
        alphas.push(number(alpha, &mut given_alphas));
        betas.push(number(beta, &mut given_betas));
    }
    Ok(Activations { names: names.iter().map(|n| n.as_bytes().to_vec()).collect(), alphas, betas })
}

/// The sequence, and sizes: length, batch, directions, units.
struct Sizes {
    steps: Dim,
    batch: Dim,
    directions: Dim,
    hidden: Dim,
}

fn recurrent(cx: &mut Cx, cell: &Cell, before_reset: i64, input_forget: i64) -> Lowered {
    let direction = cx.attrs.string_or("direction", "forward")?;
    let directions = if direction == "bidirectional" { 2 } else { 1 };
    let batch_first = cx.attrs.flag_or("layout", false)?;
    if cx.version < 7 {
        cx.attrs.int("output_sequence")?;
    }
    let found = activations(cx, cell, directions)?;
    let (mut x, w, r) = (cx.required(0)?, cx.required(1)?, cx.required(2)?);
    cx.expect_rank("the sequence", x, 3)?;
    cx.expect_rank("the recurrence weight", r, 3)?;
    if batch_first {
        x = cx.transpose(x, &[1, 0, 2])?;
    }
    let units = cx.dim(r, 2);
    let hidden = match cx.attrs.int("hidden_size")? {
        Some(h) => h,
        None => cx.fixed("the number of units", &units)? as i64,
    };
    let sizes = Sizes {
        steps: cx.dim(x, 0),
        batch: cx.dim(x, 1),
        directions: Dim::len(directions),
        hidden: Dim::int(hidden),
    };
    let rest = states(cx, cell, x, &sizes, batch_first)?;
    let attrs = attrs! {
        cell: Attr::Str(cell.name.into()), direction: Attr::Str(direction.into()), hidden: Attr::Int(hidden),
        activations: Attr::Strs(found.names), alphas: Attr::Floats(found.alphas), betas: Attr::Floats(found.betas),
        clip: Attr::Float(cx.number("clip", 0.0)?), linear_before_reset: Attr::Int(before_reset),
        input_forget: Attr::Int(input_forget)
    };
    let operands = [[x, w, r].as_slice(), &rest].concat();
    let results = cx.add("recurrent", attrs, &operands)?;
    for (i, v) in results.into_iter().enumerate().take(cx.n_outputs()) {
        let perm: &[usize] = if i == 0 { &[2, 0, 1, 3] } else { &[1, 0, 2] };
        let v = if batch_first { cx.transpose(v, perm)? } else { v };
        cx.output(i, v);
    }
    Ok(())
}

/// Bias, lengths, initial states and peepholes: given ones or neutral ones.
fn states(cx: &mut Cx, cell: &Cell, x: ValueId, s: &Sizes, batch_first: bool) -> Lowered<Vec<ValueId>> {
    let dtype = cx.dtype(x);
    let lstm = cell.name == "lstm";
    let gates = s.hidden.clone() * Dim::int(2 * cell.gates);
    let bias = or_zeros(cx, 3, dtype, &[s.directions.clone(), gates])?;
    let lens = match cx.input(4)? {
        Some(lens) => lens,
        None => {
            let steps = cx.size_scalar(&s.steps, DType::I32)?;
            cx.broadcast(steps, std::slice::from_ref(&s.batch))?
        }
    };
    let shape = [s.directions.clone(), s.batch.clone(), s.hidden.clone()];
    let mut initial = |i: usize, used: bool| match cx.input(i)? {
        Some(v) if used && batch_first => Ok(cx.transpose(v, &[1, 0, 2])?),
        Some(v) if used => Ok(v),
        _ => zeros(cx, dtype, &shape),
    };
    let (h, c) = (initial(5, true)?, initial(6, lstm)?);
    let peephole = [s.directions.clone(), s.hidden.clone() * Dim::int(3)];
    let peepholes = if lstm { or_zeros(cx, 7, dtype, &peephole)? } else { zeros(cx, dtype, &peephole)? };
    Ok(vec![bias, lens, h, c, peepholes])
}

fn or_zeros(cx: &mut Cx, i: usize, dtype: DType, shape: &[Dim]) -> Lowered<ValueId> {
    match cx.input(i)? {
        Some(v) => Ok(v),
        None => zeros(cx, dtype, shape),
    }
}
