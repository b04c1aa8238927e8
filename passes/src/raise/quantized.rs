//! Quantized arithmetic spelled out as floats: dequantize, compute, quantize.
//!
//! A product of dequantized bytes is the product of the bytes, in integers, times the scales; the division by
//! the scale of the result goes into that factor. A movement of dequantized bytes is the dequantized movement,
//! and what is quantized as it was before is the bytes themselves. All of this must run before constants are
//! folded: dequantized weights are known numbers, but they are bytes no more.

use super::pattern::OTHER_READERS;
use crate::fold::known::{Line, line, uniform};
use crate::pass::{NodeView, Pass, Report, Target};
use nnc_ir::{Attr, DType, Dim, Graph, OpError, Outcome, Rewriter, ScalarOp, Tensor, ValueId};

/// The pass.
pub(crate) const PASS: Pass = Pass {
    name: "raise-quantized",
    doc: "Products of dequantized bytes by dequantized constants become integer products with a factor; what only \
          moves dequantized bytes moves the bytes.",
    required: false,
    run,
};

/// Products of bytes, with zero points taken off, whose sum certainly fits 32 bits.
const MOST_SUMMED: i64 = 1 << 15;

fn run(graph: &Graph, _: &Target, report: &mut Report) -> Result<Graph, OpError> {
    report.apply(PASS.name, graph, |rw, node| match node.old.op.name {
        "conv" | "contract" => product(rw, node),
        "round" => rescaled(rw, node),
        "cast" => requantized(rw, node),
        "reshape" | "transpose" | "slice" | "concat" | "pool" => moved(rw, node),
        _ => Ok(Outcome::NoMatch),
    })
}

/// `(x - zero) * scale` in f32.
struct Dequantized {
    x: ValueId,
    zero: Line,
    scale: Line,
}

impl Dequantized {
    fn of(graph: &Graph, v: ValueId) -> Option<Dequantized> {
        if graph.tensor_ty(v).dtype != DType::F32 {
            return None;
        }
        let node = graph.def_if(v, "mul")?;
        let scale = line(graph, node.inputs[1])?;
        let difference = unconverted(graph, node.inputs[0]);
        let (x, zero) = match graph.def_if(difference, "sub") {
            Some(node) if graph.tensor_ty(difference).dtype == DType::F32 => {
                (unconverted(graph, node.inputs[0]), line(graph, node.inputs[1])?)
            }
            Some(node) => (node.inputs[0], line(graph, node.inputs[1])?),
            None => (difference, Line { axis: None, values: vec![0.0] }),
        };
        matches!(graph.tensor_ty(x).dtype, DType::U8 | DType::I8 | DType::I32).then_some(Dequantized {
            x,
            zero,
            scale,
        })
    }

    /// Bytes with one scale and one zero point.
    fn uniform_bytes(graph: &Graph, v: ValueId) -> Option<Dequantized> {
        let d = Dequantized::of(graph, v)?;
        let byte = matches!(graph.tensor_ty(d.x).dtype, DType::U8 | DType::I8);
        (byte && d.zero.axis.is_none() && d.scale.axis.is_none()).then_some(d)
    }

    /// The same for other bytes.
    fn with(&self, rw: &mut Rewriter, x: ValueId) -> Result<ValueId, OpError> {
        let y = rw.b.cast(x, DType::F32)?;
        let y = match self.zero.values[0] {
            0.0 => y,
            zero => rw.b.binary_const(ScalarOp::Sub, y, zero)?,
        };
        rw.b.binary_const(ScalarOp::Mul, y, self.scale.values[0])
    }

    /// The bytes less their zero point in 32 bits; zero points other than one lie along `axis`.
    fn centered(&self, rw: &mut Rewriter, axis: usize) -> Result<ValueId, OpError> {
        let x = rw.b.cast(self.x, DType::I32)?;
        if self.zero.values.iter().all(|z| *z == 0.0) {
            return Ok(x);
        }
        let rank = rw.b.graph.tensor_ty(x).rank();
        let zero = along(rw, DType::I32, &self.zero.values, axis, rank)?;
        rw.b.binary(ScalarOp::Sub, x, zero)
    }
}

/// What an exact conversion of integers converts.
fn unconverted(graph: &Graph, v: ValueId) -> ValueId {
    match graph.def_if(v, "cast") {
        Some(node) if graph.tensor_ty(node.inputs[0]).dtype.is_int() => node.inputs[0],
        _ => v,
    }
}

/// Constants as a tensor whose only axis of more than one element is `axis` of `rank`.
fn along(
    rw: &mut Rewriter,
    dtype: DType,
    values: &[f64],
    axis: usize,
    rank: usize,
) -> Result<ValueId, OpError> {
    let mut shape = vec![1; if values.len() == 1 { 0 } else { rank }];
    if values.len() > 1 {
        shape[axis] = values.len();
    }
    Ok(rw.b.constant(Tensor::from_f64s(dtype, &shape, values)?))
}

/// Element by element in f32; one element stands for as many as the other has.
fn in_f32(a: &[f64], b: &[f64], f: fn(f32, f32) -> f32) -> Vec<f64> {
    let n = a.len().max(b.len());
    (0..n).map(|i| f64::from(f(a[i % a.len()] as f32, b[i % b.len()] as f32))).collect()
}

/// Where the columns of a product are.
struct Columns {
    /// Axis of the weights.
    weights: usize,
    /// Axis of the result.
    result: usize,
    /// Elements that are summed.
    depth: Dim,
}

fn columns(rw: &Rewriter, node: &NodeView) -> Option<Columns> {
    let w = rw.b.graph.tensor_ty(node.inputs[1]);
    if node.is("conv") {
        let rank = node.types[0].as_tensor()?.rank();
        let result = if node.attrs.flag("channels_last") { rank - 1 } else { 1 };
        return Some(Columns { weights: 0, result, depth: Dim::product(&w.shape[1..]) });
    }
    let [rhs, out] = ["rhs", "out"].map(|n| node.attrs.str(n).chars().collect::<Vec<char>>());
    let summed = rhs.iter().zip(&w.shape).filter(|(c, _)| !out.contains(c));
    let depth = Dim::product(summed.map(|(_, d)| d));
    // The result's last axis is the columns'.
    let column = out.last()?;
    Some(Columns { weights: rhs.iter().position(|c| c == column)?, result: out.len() - 1, depth })
}

/// A product of dequantized operands in integers.
fn product(rw: &mut Rewriter, node: &NodeView) -> Result<Outcome, OpError> {
    let graph = &*rw.b.graph;
    let Some(a) = Dequantized::uniform_bytes(graph, node.inputs[0]) else { return Ok(Outcome::NoMatch) };
    let w = Dequantized::of(graph, node.inputs[1]).filter(|w| graph.tensor_ty(w.x).dtype != DType::I32);
    let Some(w) = w else { return Ok(Outcome::Blocked("the weights are not dequantized bytes")) };
    if graph.constant(w.x).is_none() {
        return Ok(Outcome::Blocked("the weights are not constant"));
    }
    let Some(at) = columns(rw, node) else { return Ok(Outcome::NoMatch) };
    if [&w.zero, &w.scale].into_iter().any(|l| l.axis.is_some_and(|axis| axis != at.weights)) {
        return Ok(Outcome::Blocked("the scales of the weights vary along a summed axis"));
    }
    if at.depth.as_const().is_none_or(|k| k > MOST_SUMMED) {
        return Ok(Outcome::Blocked("the sum may be too long for 32 bits"));
    }
    let factor = in_f32(&a.scale.values, &w.scale.values, |x, w| x * w);
    let mut inputs = vec![a.centered(rw, 0)?, w.centered(rw, at.weights)?];
    let mut added = None;
    let mut attrs = node.attrs.clone();
    if node.is("conv") {
        let (bias, rest) = bias(rw, node.inputs[2], &factor)?;
        inputs.push(bias);
        added = rest;
    } else {
        attrs.set("to", Attr::DType(DType::I32));
    }
    let sums = rw.b.one(node.old.op.name, attrs, &inputs)?;
    let rank = rw.b.graph.tensor_ty(sums).rank();
    let sums = rw.b.cast(sums, DType::F32)?;
    let factor = along(rw, DType::F32, &factor, at.result, rank)?;
    let mut y = rw.b.binary(ScalarOp::Mul, sums, factor)?;
    if let Some(bias) = added {
        let mut shape = vec![Dim::ONE; rank];
        shape[at.result] = rw.b.graph.tensor_ty(bias).shape[0].clone();
        let bias = rw.b.reshape(bias, &shape)?;
        y = rw.b.binary(ScalarOp::Add, y, bias)?;
    }
    Ok(Outcome::Applied(vec![y]))
}

/// The bias of a convolution in units of `factor`, if it was quantized so, and else what is added later.
fn bias(rw: &mut Rewriter, v: ValueId, factor: &[f64]) -> Result<(ValueId, Option<ValueId>), OpError> {
    let graph = &*rw.b.graph;
    if let Some(d) = Dequantized::of(graph, v).filter(|d| graph.tensor_ty(d.x).dtype == DType::I32) {
        let n = factor.len().max(d.scale.values.len());
        let same = (0..n).all(|i| {
            (factor[i % factor.len()] as f32).to_bits()
                == (d.scale.values[i % d.scale.values.len()] as f32).to_bits()
        });
        if same && d.zero.values.iter().all(|z| *z == 0.0) {
            // A short constant may have become known sizes.
            let content = graph.value(d.x).content.clone().unwrap_or_default();
            let known: Option<Vec<f64>> = content.iter().map(|c| c.as_const().map(|v| v as f64)).collect();
            let x = match known.filter(|k| !k.is_empty() && graph.constant(d.x).is_none()) {
                Some(known) => rw.b.constant(Tensor::from_f64s(DType::I32, &[known.len()], &known)?),
                None => d.x,
            };
            return Ok((x, None));
        }
    }
    let absent = uniform(graph, v) == Some(0.0);
    let zeros = match graph.tensor_ty(v).fixed_shape() {
        Some(shape) => rw.b.constant(Tensor::zeros(DType::I32, &shape)?),
        None => rw.b.splat(DType::I32, 0.0, &graph.tensor_ty(v).shape.clone())?,
    };
    Ok((zeros, (!absent).then_some(v)))
}

/// A step between a scaled integer product and its quantization.
enum Step {
    Add(Line),
    Bound(ScalarOp, f64),
}

/// `round(steps(sums · factor) / scale)` with the scale in the factor.
fn rescaled(rw: &mut Rewriter, node: &NodeView) -> Result<Outcome, OpError> {
    let graph = &*rw.b.graph;
    let Some(ratio) = graph.def_if(node.inputs[0], "div") else { return Ok(Outcome::NoMatch) };
    let Some(scale) = uniform(graph, ratio.inputs[1]).filter(|s| *s > 0.0 && s.is_finite()) else {
        return Ok(Outcome::NoMatch);
    };
    let (mut v, mut steps, mut read) = (ratio.inputs[0], Vec::new(), vec![node.inputs[0]]);
    let (sums, factor) = loop {
        read.push(v);
        let Some(step) = graph.def_node(v) else { return Ok(Outcome::NoMatch) };
        let (x, c) = match step.inputs[..] {
            [x, c] => (x, line(graph, c)),
            _ => return Ok(Outcome::NoMatch),
        };
        let Some(c) = c else { return Ok(Outcome::NoMatch) };
        match step.op.scalar {
            Some(ScalarOp::Mul) if is_converted_product(graph, x) => break (x, c),
            Some(ScalarOp::Add) => steps.push(Step::Add(c)),
            Some(op @ (ScalarOp::Max | ScalarOp::Min)) if c.axis.is_none() => {
                steps.push(Step::Bound(op, c.values[0]))
            }
            _ => return Ok(Outcome::NoMatch),
        }
        v = x;
    };
    // Values that this pass has made stand for none of the old graph and have one reader.
    if read.iter().any(|v| !matches!(rw.n_uses(*v), 1 | u32::MAX)) {
        return Ok(Outcome::Blocked(OTHER_READERS));
    }
    let rank = rw.b.graph.tensor_ty(sums).rank();
    let divided = |values: &[f64]| in_f32(values, &[scale], |v, s| v / s);
    let factor_at = factor.axis.unwrap_or(0);
    let factor = along(rw, DType::F32, &divided(&factor.values), factor_at, rank)?;
    let mut y = rw.b.binary(ScalarOp::Mul, sums, factor)?;
    for step in steps.into_iter().rev() {
        y = match step {
            Step::Add(c) => {
                let c = along(rw, DType::F32, &divided(&c.values), c.axis.unwrap_or(0), rank)?;
                rw.b.binary(ScalarOp::Add, y, c)?
            }
            Step::Bound(op, bound) => rw.b.binary_const(op, y, divided(&[bound])[0])?,
        };
    }
    Ok(Outcome::Applied(vec![rw.b.unary(ScalarOp::Round, y)?]))
}

/// A product in 32-bit integers as floats.
fn is_converted_product(graph: &Graph, v: ValueId) -> bool {
    let Some(sums) = graph.def_if(v, "cast").map(|n| n.inputs[0]) else { return false };
    let node = graph.def_node(sums).filter(|n| matches!(n.op.name, "conv" | "contract"));
    node.is_some() && graph.tensor_ty(sums).dtype == DType::I32
}

/// Bytes that are quantized as they were before are the bytes; so are their positive parts.
fn requantized(rw: &mut Rewriter, node: &NodeView) -> Result<Outcome, OpError> {
    let graph = &*rw.b.graph;
    let to = node.attrs.dtype("to");
    if !matches!(to, DType::U8 | DType::I8) {
        return Ok(Outcome::NoMatch);
    }
    let Some((ratio, zero)) = unquantized(graph, node.inputs[0], to) else { return Ok(Outcome::NoMatch) };
    let Some(scale) = uniform(graph, ratio.1) else { return Ok(Outcome::NoMatch) };
    let positive = graph.def_if(ratio.0, "max").filter(|n| uniform(graph, n.inputs[1]) == Some(0.0));
    let x = positive.map_or(ratio.0, |n| n.inputs[0]);
    let Some(d) = Dequantized::uniform_bytes(graph, x) else { return Ok(Outcome::NoMatch) };
    if d.scale.values[0] != scale || d.zero.values[0] != zero || graph.tensor_ty(d.x).dtype != to {
        return Ok(Outcome::NoMatch);
    }
    if positive.is_none() || to.int_range().is_some_and(|(least, _)| least as f64 == zero) {
        return Ok(Outcome::Applied(vec![d.x]));
    }
    Ok(Outcome::Applied(vec![rw.b.binary_const(ScalarOp::Max, d.x, zero)?]))
}

/// Dividend and divisor, and the zero point, of what is rounded, moved and bounded to a type.
fn unquantized(graph: &Graph, v: ValueId, to: DType) -> Option<((ValueId, ValueId), f64)> {
    let (least, most) = to.int_range()?;
    let mut v = v;
    for (op, bound) in [("min", most), ("max", least)] {
        let node = graph.def_if(v, op)?;
        if uniform(graph, node.inputs[1]) != Some(bound as f64) {
            return None;
        }
        v = node.inputs[0];
    }
    let mut zero = 0.0;
    if let Some(node) = graph.def_if(v, "add") {
        zero = uniform(graph, node.inputs[1])?;
        v = node.inputs[0];
    }
    let ratio = graph.def_if(graph.def_if(v, "round")?.inputs[0], "div")?;
    Some(((ratio.inputs[0], ratio.inputs[1]), zero))
}

/// A movement of dequantized bytes moves the bytes.
fn moved(rw: &mut Rewriter, node: &NodeView) -> Result<Outcome, OpError> {
    if node.is("pool") && node.attrs.str("kind") != "max" {
        return Ok(Outcome::NoMatch);
    }
    let graph = &*rw.b.graph;
    let parts: Option<Vec<Dequantized>> =
        node.inputs.iter().map(|v| Dequantized::uniform_bytes(graph, *v)).collect();
    let Some((first, rest)) = parts.as_deref().and_then(<[_]>::split_first) else {
        return Ok(Outcome::NoMatch);
    };
    let dtype = |d: &Dequantized| graph.tensor_ty(d.x).dtype;
    let same = |d: &&Dequantized| d.scale == first.scale && d.zero == first.zero && dtype(d) == dtype(first);
    if !rest.iter().all(|d| same(&d)) || graph.constant(first.x).is_some() {
        return Ok(Outcome::Blocked("the operands have different scales"));
    }
    let inputs: Vec<ValueId> = std::iter::once(first).chain(rest).map(|d| d.x).collect();
    let x = rw.b.one(node.old.op.name, node.attrs.clone(), &inputs)?;
    Ok(Outcome::Applied(vec![first.with(rw, x)?]))
}
