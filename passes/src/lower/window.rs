//! Operators that loop for each element: reductions, windows, contractions and convolutions of any
//! type and layout. Templates replace them where a microkernel fits.

use super::emit::{Emitter, ints_or_empty};
use nnc_ir::tile::{Expr, Local, Turns, arithmetic_type};
use nnc_ir::{DType, Dim, Node, ScalarOp, ValueId};

/// The element of such an operator at an index.
pub(crate) fn emit(e: &mut Emitter, node: &Node, v: ValueId, idx: &[Dim]) -> Local {
    match node.op.name {
        "reduce" => reduce(e, node, idx),
        "arg_reduce" => arg_reduce(e, node, idx),
        "pool" => pool(e, node, v, idx),
        "max_pool_indices" => max_pool_indices(e, node, idx),
        "contract" => contract(e, node, v, idx),
        "conv" => conv(e, node, v, idx),
        _ => conv_transpose(e, node, v, idx),
    }
}

/// The start of a reduction: the neutral element.
fn neutral(e: &mut Emitter, op: ScalarOp, dtype: DType) -> Local {
    let extreme = |low: bool| match dtype.int_range() {
        None => Err(if low { f64::NEG_INFINITY } else { f64::INFINITY }),
        Some((a, b)) => Ok((if low { a } else { b }) as i64),
    };
    let start = match op {
        ScalarOp::Mul => {
            if dtype.is_float() {
                Err(1.0)
            } else {
                Ok(1)
            }
        }
        ScalarOp::Max => extreme(true),
        ScalarOp::Min => extreme(false),
        _ => {
            if dtype.is_float() {
                Err(0.0)
            } else {
                Ok(0)
            }
        }
    };
    match start {
        Ok(i) => e.kb.int(dtype, i),
        Err(f) => e.kb.float(dtype, f),
    }
}

/// The scalar function of a reduction kind.
pub(crate) fn reduce_op(kind: &str, dtype: DType) -> ScalarOp {
    match (kind, dtype) {
        ("max", DType::Bool) => ScalarOp::Or,
        ("min" | "prod", DType::Bool) => ScalarOp::And,
        ("sum", DType::Bool) => ScalarOp::Or,
        ("prod", _) => ScalarOp::Mul,
        ("max", _) => ScalarOp::Max,
        ("min", _) => ScalarOp::Min,
        _ => ScalarOp::Add,
    }
}

/// The start of a boolean reduction or the neutral element.
fn start_of(e: &mut Emitter, op: ScalarOp, dtype: DType) -> Local {
    if dtype == DType::Bool { e.kb.int(dtype, i64::from(op == ScalarOp::And)) } else { neutral(e, op, dtype) }
}

/// True if the innermost of a reduction's loops runs over contiguous elements: it becomes the lanes.
pub(crate) fn reduces_last_axis(e: &Emitter, node: &Node) -> bool {
    node.is("reduce") && node.attrs.indices("axes").contains(&(e.shape(node.inputs[0]).len() - 1))
}

fn reduce(e: &mut Emitter, node: &Node, idx: &[Dim]) -> Local {
    let x = node.inputs[0];
    let (shape, mut axes) = (e.shape(x), node.attrs.indices("axes"));
    // Innermost last, so that the lanes are inside all other loops.
    axes.sort_unstable();
    let dtype = arithmetic_type(e.dtype(x));
    let op = reduce_op(node.attrs.str("kind"), dtype);
    let mut kept = idx.iter().cloned();
    let mut at: Vec<Dim> =
        (0..shape.len())
            .map(|k| {
                if axes.contains(&k) { Dim::ZERO } else { kept.next().expect("as many indices as axes kept") }
            })
            .collect();
    let start = start_of(e, op, dtype);
    let lanes = reduces_last_axis(e, node) && !e.in_lanes();
    let mut opened = Vec::new();
    let mut acc = start;
    for k in &axes {
        let inner = lanes && *k == shape.len() - 1;
        let open = if inner {
            e.begin(Turns::Lanes, shape[*k].clone(), &[])
        } else {
            e.begin(Turns::Serial, shape[*k].clone(), &[acc])
        };
        at[*k] = open.index();
        if let Some(c) = open.carried().first() {
            acc = *c;
        }
        opened.push((open, inner, acc));
    }
    let mut value = e.value(x, &at);
    for (i, (open, inner, acc)) in opened.into_iter().enumerate().rev() {
        let innermost = i + 1 == axes.len();
        value = if inner {
            e.end(open, &[], &[(op, acc, value)]).1[0]
        } else {
            let next = if innermost { e.kb.op(op, &[acc, value]) } else { value };
            e.end(open, &[next], &[]).0[0]
        };
    }
    value
}

fn arg_reduce(e: &mut Emitter, node: &Node, idx: &[Dim]) -> Local {
    let x = node.inputs[0];
    let (axis, last) = (node.attrs.index("axis"), node.attrs.flag("last"));
    let n = e.shape(x)[axis].clone();
    let better = match (node.attrs.str("kind"), last) {
        ("max", false) => ScalarOp::Gt,
        ("max", true) => ScalarOp::Ge,
        (_, false) => ScalarOp::Lt,
        (_, true) => ScalarOp::Le,
    };
    let mut at = idx.to_vec();
    at.insert(axis, Dim::ZERO);
    let first = e.value(x, &at);
    let zero = e.kb.int(DType::I64, 0);
    let open = e.begin(Turns::Serial, n, &[first, zero]);
    at[axis] = open.index();
    let (best, best_at) = (open.carried()[0], open.carried()[1]);
    let value = e.value(x, &at);
    let i = e.kb.def(DType::I64, Expr::Index(open.index()));
    let wins = e.kb.op(better, &[value, best]);
    let (best, best_at) = (e.kb.select(wins, value, best), e.kb.select(wins, i, best_at));
    e.end(open, &[best, best_at], &[]).0[1]
}

/// One tap of a window along every spatial axis: index into the input and whether it lies inside.
fn tap(e: &mut Emitter, src: &[Dim], extents: &[Dim], always: &[bool]) -> (Vec<Dim>, Option<Local>) {
    let mut inside: Option<Local> = None;
    let mut at = Vec::new();
    for ((s, n), sure) in src.iter().zip(extents).zip(always) {
        if *sure {
            at.push(s.clone());
            continue;
        }
        let ok = e.kb.in_range(s.clone(), n.clone());
        inside = Some(inside.map_or(ok, |c| e.kb.op(ScalarOp::And, &[c, ok])));
        at.push(s.min_with(&(n.clone() - Dim::ONE)).max_with(&Dim::ZERO));
    }
    (at, inside)
}

/// Where batch, channel and spatial axes lie.
pub(crate) struct Layout {
    /// The channel axis.
    pub(crate) channel: usize,
    /// The first spatial axis.
    pub(crate) spatial: usize,
    /// Number of spatial axes.
    pub(crate) n: usize,
}

/// The layout of a spatial operator's data.
pub(crate) fn layout(node: &Node, rank: usize) -> Layout {
    let last = node.attrs.flag("channels_last");
    Layout { channel: if last { rank - 1 } else { 1 }, spatial: if last { 1 } else { 2 }, n: rank - 2 }
}

impl Layout {
    /// An index from its parts.
    pub(crate) fn index(&self, batch: &Dim, channel: &Dim, spatial: &[Dim]) -> Vec<Dim> {
        let mut at = vec![batch.clone()];
        if self.channel == 1 {
            at.push(channel.clone());
        }
        at.extend_from_slice(spatial);
        if self.channel != 1 {
            at.push(channel.clone());
        }
        at
    }

    /// The spatial part of a shape or index.
    pub(crate) fn spatial_of<'d>(&self, dims: &'d [Dim]) -> &'d [Dim] {
        &dims[self.spatial..self.spatial + self.n]
    }
}

/// A stride, pad or dilation list as expressions.
fn taps_of(node: &Node, name: &str, n: usize, missing: i64) -> Vec<Dim> {
    let v = ints_or_empty(node, name);
    (0..n).map(|i| Dim::int(v.get(i).copied().unwrap_or(missing))).collect()
}

struct Loops {
    opened: Vec<(nnc_ir::tile::OpenLoop, Local)>,
    acc: Local,
}

/// Opens serial loops that carry one accumulator; gives their indices.
fn open_loops(e: &mut Emitter, extents: &[Dim], start: Local) -> (Loops, Vec<Dim>) {
    let mut loops = Loops { opened: Vec::new(), acc: start };
    let mut idx = Vec::new();
    for n in extents {
        if n.is(1) {
            idx.push(Dim::ZERO);
            continue;
        }
        let open = e.begin(Turns::Serial, n.clone(), &[loops.acc]);
        idx.push(open.index());
        loops.acc = open.carried()[0];
        loops.opened.push((open, loops.acc));
    }
    (loops, idx)
}

/// Closes the loops; `next` is the accumulator after the innermost turn.
fn close_loops(e: &mut Emitter, loops: Loops, next: Local) -> Local {
    loops.opened.into_iter().rev().fold(next, |next, (open, _)| e.end(open, &[next], &[]).0[0])
}

fn pool(e: &mut Emitter, node: &Node, v: ValueId, idx: &[Dim]) -> Local {
    let x = node.inputs[0];
    let shape = e.shape(x);
    let l = layout(node, shape.len());
    let dtype = arithmetic_type(e.dtype(v));
    let op = reduce_op(if node.attrs.str("kind") == "max" { "max" } else { "sum" }, dtype);
    let (kernel, strides) = (taps_of(node, "kernel", l.n, 1), taps_of(node, "strides", l.n, 1));
    let (dilations, low) = (taps_of(node, "dilations", l.n, 1), node.attrs.dims("pads_low").to_vec());
    let start = start_of(e, op, dtype);
    let out = l.spatial_of(idx).to_vec();
    let (loops, k) = open_loops(e, &kernel, start);
    let extents = l.spatial_of(shape).to_vec();
    let src: Vec<Dim> = (0..l.n)
        .map(|i| out[i].clone() * strides[i].clone() + k[i].clone() * dilations[i].clone() - low[i].clone())
        .collect();
    let always: Vec<bool> = (0..l.n).map(|i| e.always_inside(&src[i], &extents[i])).collect();
    let (at, inside) = tap(e, &src, &extents, &always);
    let value = e.value(x, &l.index(&idx[0], &idx[l.channel], &at));
    let value = match inside {
        None => value,
        Some(c) => {
            let none = start_of(e, op, dtype);
            e.kb.select(c, value, none)
        }
    };
    let acc = loops.acc;
    let next = e.kb.op(op, &[acc, value]);
    let sum = close_loops(e, loops, next);
    if node.attrs.str("kind") != "average" {
        return sum;
    }
    // The divisor: the window's length along each axis, cut to the input (or to input and padding).
    let mut count = Dim::ONE;
    let padded = node.attrs.flag("include_pad");
    for i in 0..l.n {
        let first = out[i].clone() * strides[i].clone() - low[i].clone();
        let (lo, hi) = match padded {
            true => (-low[i].clone(), extents[i].clone() + node.attrs.dims("pads_high")[i].clone()),
            false => (Dim::ZERO, extents[i].clone()),
        };
        let skip = (lo - first.clone()).max_with(&Dim::ZERO).ceil_div(&dilations[i]);
        let stop = (hi - first).max_with(&Dim::ZERO).ceil_div(&dilations[i]).min_with(&kernel[i]);
        count = count * (stop - skip).max_with(&Dim::ONE);
    }
    let count = e.simplify(&count);
    let n = e.kb.def(DType::I64, Expr::Index(count));
    let n = e.kb.cast(n, dtype);
    e.kb.op(ScalarOp::Div, &[sum, n])
}

/// The position of a window's largest element in its picture, as ONNX's MaxPool counts it.
fn max_pool_indices(e: &mut Emitter, node: &Node, idx: &[Dim]) -> Local {
    let x = node.inputs[0];
    let shape = e.shape(x);
    let l = layout(node, shape.len());
    let dtype = arithmetic_type(e.dtype(x));
    let (kernel, strides) = (taps_of(node, "kernel", l.n, 1), taps_of(node, "strides", l.n, 1));
    let (dilations, low) = (taps_of(node, "dilations", l.n, 1), node.attrs.dims("pads_low").to_vec());
    let taps = Dim::product(&kernel);
    let (best, at) = (start_of(e, ScalarOp::Max, dtype), e.kb.int(DType::I64, -1));
    let open = e.begin(Turns::Serial, taps, &[best, at]);
    let k = super::index::unravel(&kernel, &open.index());
    let out = l.spatial_of(idx).to_vec();
    let extents = l.spatial_of(shape).to_vec();
    let src: Vec<Dim> = (0..l.n)
        .map(|i| out[i].clone() * strides[i].clone() + k[i].clone() * dilations[i].clone() - low[i].clone())
        .collect();
    let (from, inside) = tap(e, &src, &extents, &vec![false; l.n]);
    let value = e.value(x, &l.index(&idx[0], &idx[l.channel], &from));
    let (spatial, order) = if node.attrs.flag("column_major") {
        (extents.iter().rev().cloned().collect::<Vec<_>>(), from.iter().rev().cloned().collect::<Vec<_>>())
    } else {
        (extents.clone(), from)
    };
    let picture = idx[0].clone() * shape[l.channel].clone() + idx[l.channel].clone();
    let position = picture * Dim::product(&extents) + super::index::row_major(&spatial, &order);
    let position = e.kb.def(DType::I64, Expr::Index(position));
    let (best, at) = (open.carried()[0], open.carried()[1]);
    let greater = e.kb.op(ScalarOp::Gt, &[value, best]);
    // The first element inside counts even if it is the least there is.
    let zero = e.kb.int(DType::I64, 0);
    let none_yet = e.kb.op(ScalarOp::Lt, &[at, zero]);
    let mut wins = e.kb.op(ScalarOp::Or, &[greater, none_yet]);
    if let Some(c) = inside {
        wins = e.kb.op(ScalarOp::And, &[wins, c]);
    }
    let (best, at) = (e.kb.select(wins, value, best), e.kb.select(wins, position, at));
    e.end(open, &[best, at], &[]).0[1]
}

/// Accumulators are wider than narrow integers.
fn accumulator(dtype: DType) -> DType {
    match dtype {
        DType::U8 | DType::I8 | DType::U16 | DType::I16 => DType::I32,
        d => d,
    }
}

/// `acc + a·b` in the type of the sum. In f64 it is rounded twice: not every CPU has an instruction that
/// rounds once, and there is no wider type to do without.
pub(crate) fn multiply_add(e: &mut Emitter, acc: Local, a: Local, b: Local) -> Local {
    let to = e.kb.dtype(acc);
    let (a, b) = (e.kb.cast(a, to), e.kb.cast(b, to));
    if to.is_float() && to != DType::F64 {
        return e.kb.def(to, Expr::Fma(a, b, acc));
    }
    let p = e.kb.op(ScalarOp::Mul, &[a, b]);
    e.kb.op(ScalarOp::Add, &[acc, p])
}

fn contract(e: &mut Emitter, node: &Node, v: ValueId, idx: &[Dim]) -> Local {
    let (a, b) = (node.inputs[0], node.inputs[1]);
    let [lhs, rhs, out] = ["lhs", "rhs", "out"].map(|n| node.attrs.str(n).chars().collect::<Vec<char>>());
    let mut at: std::collections::BTreeMap<char, Dim> =
        out.iter().copied().zip(idx.iter().cloned()).collect();
    let mut summed: Vec<(char, Dim)> = Vec::new();
    for (letters, x) in [(&lhs, a), (&rhs, b)] {
        for (k, c) in letters.iter().enumerate() {
            if !at.contains_key(c) && !summed.iter().any(|(s, _)| s == c) {
                summed.push((*c, e.shape(x)[k].clone()));
            }
        }
    }
    let dtype = arithmetic_type(e.dtype(v));
    let start = e.kb.constant(accumulator(dtype), 0.0);
    let extents: Vec<Dim> = summed.iter().map(|(_, d)| d.clone()).collect();
    let (loops, k) = open_loops(e, &extents, start);
    at.extend(summed.iter().map(|(c, _)| *c).zip(k));
    let index = |letters: &[char]| letters.iter().map(|c| at[c].clone()).collect::<Vec<_>>();
    let (x, y) = (e.value(a, &index(&lhs)), e.value(b, &index(&rhs)));
    let acc = loops.acc;
    let next = multiply_add(e, acc, x, y);
    let sum = close_loops(e, loops, next);
    e.kb.cast(sum, dtype)
}

fn conv(e: &mut Emitter, node: &Node, v: ValueId, idx: &[Dim]) -> Local {
    let (x, w, bias) = (node.inputs[0], node.inputs[1], node.inputs[2]);
    let (shape, wshape) = (e.shape(x), e.shape(w));
    let l = layout(node, shape.len());
    let groups = Dim::int(node.attrs.int("groups"));
    let per_group = wshape[0].floor_div(&groups);
    let o = idx[l.channel].clone();
    let (strides, dilations) = (taps_of(node, "strides", l.n, 1), taps_of(node, "dilations", l.n, 1));
    let low = node.attrs.dims("pads_low").to_vec();
    let dtype = arithmetic_type(e.dtype(v));
    let start = e.value(bias, std::slice::from_ref(&o));
    let start = e.kb.cast(start, accumulator(dtype));
    let (loops, k) = open_loops(e, &[&wshape[2..], &wshape[1..2]].concat(), start);
    let (taps, c) = (&k[..l.n], &k[l.n]);
    let out = l.spatial_of(idx);
    let extents = l.spatial_of(shape).to_vec();
    let src: Vec<Dim> = (0..l.n)
        .map(|i| {
            out[i].clone() * strides[i].clone() + taps[i].clone() * dilations[i].clone() - low[i].clone()
        })
        .collect();
    let always: Vec<bool> = (0..l.n).map(|i| e.always_inside(&src[i], &extents[i])).collect();
    let (at, inside) = tap(e, &src, &extents, &always);
    let channel = e.simplify(&o.floor_div(&per_group)) * wshape[1].clone() + c.clone();
    let value = e.value(x, &l.index(&idx[0], &channel, &at));
    let weight = e.value(w, &[&[o, c.clone()], taps].concat());
    let acc = loops.acc;
    let next = windowed_add(e, acc, value, weight, inside);
    let sum = close_loops(e, loops, next);
    e.kb.cast(sum, dtype)
}

/// `acc + value·weight` where the tap lies inside. The weight is what becomes zero: padding is zero
/// times weight, and an infinite neighbor must not leak in.
fn windowed_add(e: &mut Emitter, acc: Local, value: Local, weight: Local, inside: Option<Local>) -> Local {
    let next = multiply_add(e, acc, value, weight);
    match inside {
        None => next,
        Some(c) => e.kb.select(c, next, acc),
    }
}

fn conv_transpose(e: &mut Emitter, node: &Node, v: ValueId, idx: &[Dim]) -> Local {
    let (x, w, bias) = (node.inputs[0], node.inputs[1], node.inputs[2]);
    let (shape, wshape) = (e.shape(x), e.shape(w));
    let l = layout(node, shape.len());
    let groups = Dim::int(node.attrs.int("groups"));
    let in_group = wshape[0].floor_div(&groups);
    let o = idx[l.channel].clone();
    let group = e.simplify(&o.floor_div(&wshape[1]));
    let within = e.simplify(&o.modulo(&wshape[1]));
    let (strides, dilations) = (taps_of(node, "strides", l.n, 1), taps_of(node, "dilations", l.n, 1));
    let low = node.attrs.dims("pads_low").to_vec();
    let dtype = arithmetic_type(e.dtype(v));
    let start = e.value(bias, std::slice::from_ref(&o));
    let start = e.kb.cast(start, accumulator(dtype));
    let (loops, k) = open_loops(e, &[&wshape[2..], std::slice::from_ref(&in_group)].concat(), start);
    let (taps, c) = (&k[..l.n], &k[l.n]);
    let out = l.spatial_of(idx);
    let extents = l.spatial_of(shape).to_vec();
    let mut inside: Option<Local> = None;
    let mut src = Vec::new();
    for i in 0..l.n {
        let scaled = out[i].clone() + low[i].clone() - taps[i].clone() * dilations[i].clone();
        let q = e.simplify(&scaled.floor_div(&strides[i]));
        if !strides[i].is(1) {
            let r = e.kb.def(DType::I64, Expr::Index(scaled - q.clone() * strides[i].clone()));
            let zero = e.kb.int(DType::I64, 0);
            let hit = e.kb.op(ScalarOp::Eq, &[r, zero]);
            inside = Some(inside.map_or(hit, |c| e.kb.op(ScalarOp::And, &[c, hit])));
        }
        src.push(q);
    }
    let (at, within_input) = tap(e, &src, &extents, &vec![false; l.n]);
    inside = match (inside, within_input) {
        (Some(a), Some(b)) => Some(e.kb.op(ScalarOp::And, &[a, b])),
        (a, b) => a.or(b),
    };
    let channel = group * in_group + c.clone();
    let value = e.value(x, &l.index(&idx[0], &channel, &at));
    let weight = e.value(w, &[&[channel, within], taps].concat());
    let acc = loops.acc;
    let next = windowed_add(e, acc, value, weight, inside);
    let sum = close_loops(e, loops, next);
    e.kb.cast(sum, dtype)
}
