//! Convolutions on channels-last data by microkernels: a plain product where the kernel is 1×1, the
//! indirect product (a table of pixel addresses, no im2col; Dukhan 2019, arXiv 1907.02129) elsewhere,
//! and the depthwise kernel.

use super::PANEL;
use super::blocks::{BlockSize, Extents, block_axis, blocking};
use super::epilogue::{self, Block};
use super::gemm::{Product, Right};
use super::halves;
use super::int8::{self, Factor, Operands, Weights, Zero};
use super::requantize;
use super::widening;
use crate::fuse::Group;
use crate::lower::emit::Constant;
use crate::lower::emit::Emitter;
use crate::lower::index::unravel;
use nnc_ir::plan::{BytePanels, Packing, PanelAxis};
use nnc_ir::tile::{Access, Arg, Mem, Turns};
use nnc_ir::{DType, Dim, Graph, Node, ValueId};

/// Version of the depthwise kernel's arguments that is written here.
const DEPTHWISE: (&str, u32) = ("f32_dwconv", 1);

/// How a convolution maps onto a kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Plan {
    /// Rows of pixels times weights.
    Dense,
    /// Pixel addresses by table.
    Indirect,
    /// One weight a channel and tap.
    Depthwise,
}

/// The mapping, if there is one.
pub(crate) fn plan(graph: &Graph, node: &Node) -> Option<Plan> {
    let [x, w] = [node.inputs[0], node.inputs[1]].map(|v| graph.tensor_ty(v));
    let shape = w.fixed_shape()?;
    if !node.attrs.flag("channels_last") || !(1..=3).contains(&(shape.len() - 2)) {
        return None;
    }
    match x.dtype {
        DType::F32 => graph.constant(node.inputs[1]).map(|_| ())?,
        DType::I32 => bytes(graph, node).map(|_| ())?,
        _ => return None,
    }
    let groups = node.attrs.index("groups");
    if shape[1] == 1 && groups == shape[0] && groups > 1 {
        // Bytes by taps are too little for the matrix kernel.
        return (shape.len() <= 4 && x.dtype == DType::F32).then_some(Plan::Depthwise);
    }
    let unit = shape[2..].iter().all(|k| *k == 1) && node.attrs.ints("strides").iter().all(|s| *s == 1);
    Some(if unit && groups == 1 && unpadded(node) { Plan::Dense } else { Plan::Indirect })
}

/// The operands of a convolution of bytes, whose sums are i32.
pub(crate) fn bytes(graph: &Graph, node: &Node) -> Option<(Factor, Weights)> {
    if graph.tensor_ty(node.outputs[0]).dtype != DType::I32 {
        return None;
    }
    let x = int8::activations(graph, node.inputs[0])?;
    // What stands for the padding is written when the model is compiled.
    let padded = matches!(x.zero, Zero::Read(_)) && !unpadded(node);
    if padded { None } else { Some((x, int8::weights(graph, node.inputs[1], Some(0))?)) }
}

/// True for a convolution with one weight a channel and tap.
pub(crate) fn is_depthwise(graph: &Graph, node: &Node) -> bool {
    node.is("conv") && plan(graph, node) == Some(Plan::Depthwise)
}

fn unpadded(node: &Node) -> bool {
    let zero = |name| node.attrs.dims(name).iter().all(|d| d.is(0));
    zero("pads_low") && zero("pads_high")
}

/// Sizes of a convolution.
struct Shape<'g> {
    x: &'g [Dim],
    out: &'g [Dim],
    w: Vec<i64>,
    n: usize,
    groups: i64,
    strides: &'g [i64],
    dilations: &'g [i64],
    low: &'g [Dim],
    /// The picture in memory.
    data: ValueId,
    /// Operands of 8 bits with their zero points; without, both are f32.
    bytes: Option<(Factor, Weights)>,
    /// Type of the panels of other weights.
    panels: DType,
}

impl<'g> Shape<'g> {
    fn of(e: &Emitter<'g>, node: &'g Node) -> Shape<'g> {
        let w = e.graph.tensor_ty(node.inputs[1]).fixed_shape().expect("checked by the plan");
        let (x, out) = (e.shape(node.inputs[0]), e.shape(node.outputs[0]));
        let bytes = bytes(e.graph, node);
        Shape {
            x,
            out,
            panels: if bytes.is_none() { halves::panel_type(e, node.inputs[1]) } else { DType::F32 },
            data: bytes.as_ref().map_or(node.inputs[0], |(x, _)| x.value),
            bytes,
            n: w.len() - 2,
            w: w.into_iter().map(|d| d as i64).collect(),
            groups: node.attrs.int("groups"),
            strides: node.attrs.ints("strides"),
            dilations: node.attrs.ints("dilations"),
            low: node.attrs.dims("pads_low"),
        }
    }

    fn pixels(&self) -> Dim {
        Dim::product(&self.out[1..=self.n])
    }

    fn blocks(&self, wanted: (BlockSize, BlockSize), k: i64) -> (BlockSize, BlockSize) {
        if self.panels == DType::F32 { wanted } else { widening::blocks(wanted, k) }
    }

    fn extents<'d>(&self, (m, n, k): (&'d Dim, &'d Dim, &'d Dim), results: &'d Dim) -> Extents<'d> {
        Extents { m, n, k, results, packed: true, floats: self.bytes.is_none() }
    }
}

/// Emits the kernel of a group whose anchor is a convolution.
pub(crate) fn emit(e: &mut Emitter, group: &Group, node: &Node) {
    let shape = Shape::of(e, node);
    match plan(e.graph, node).expect("fusion took this convolution for a template") {
        Plan::Dense => dense(e, group, node, &shape),
        Plan::Indirect => indirect(e, group, node, &shape),
        Plan::Depthwise => depthwise(e, group, node, &shape),
    }
}

/// The product of rows of pixels with the weights of group `g`, from its column `n0` on. Of the window's
/// axes the first `n_taps` are steps of the table of rows; the others are a run of the channels.
fn multiply(
    e: &mut Emitter,
    group: &Group,
    node: &Node,
    s: &Shape,
    (rows, n_taps, zeros): ([Arg; 4], usize, Arg),
    (g, n0): (Dim, Dim),
    block: Block,
) {
    let size: i64 = s.w[2..].iter().product();
    let (o, c) = (s.w[0] / s.groups, s.w[1]);
    let mut k = Vec::new();
    let mut stride = size;
    for len in &s.w[2..] {
        stride /= len;
        k.push(PanelAxis { len: *len, stride });
    }
    k.push(PanelAxis { len: c, stride: size });
    let batch = vec![PanelAxis { len: s.groups, stride: o * c * size }];
    let n = PanelAxis { len: o, stride: c * size };
    let (anchor, bias) = (node.outputs[0], Some(node.inputs[2]));
    if let Some((factor, weights)) = &s.bytes {
        let (taps, k) = (k[..n_taps].to_vec(), k[n_taps..].to_vec());
        let panels = BytePanels { offset: 0, batch, taps, k, n, shift: weights.shift };
        let operands = Operands::new(e, (rows, factor), (weights, panels), (g, n0));
        return requantize::call_and_finish(e, group, anchor, bias, block, operands);
    }
    let taps: i64 = s.w[2..2 + n_taps].iter().product();
    let panel = Dim::int(size * c * PANEL);
    let per_group = panel.clone() * Dim::int(o).ceil_div(&Dim::int(PANEL));
    let at = g * per_group + n0.floor_div(&Dim::int(PANEL)) * panel.clone();
    let packing = Packing::Panels { offset: 0, batch, k, n, dtype: s.panels };
    let b = e.constant(Constant::Packed { value: node.inputs[1], packing });
    let int = |v: i64| Arg::Int(Dim::int(v));
    let [table, stride, x, step] = rows;
    let left = [table, stride, x, step, int(taps), int(size / taps * c)];
    let product = Product { left, right: Right::Panels(b, at, panel), zeros };
    epilogue::call_and_finish(e, group, anchor, bias, block, product);
}

/// What one turn over k takes of the cache, in elements of f32.
fn width(s: &Shape, k: i64) -> Dim {
    Dim::int(if s.bytes.is_some() { (k + 3) / 4 } else { k })
}

fn dense(e: &mut Emitter, group: &Group, node: &Node, s: &Shape) {
    let (c, o) = (Dim::int(s.w[1]), Dim::int(s.w[0]));
    let m = s.out[0].clone() * s.pixels();
    let wanted = blocking(e.schedule, &s.extents((&m, &o, &width(s, s.w[1])), &Dim::ONE));
    let (rows, columns) = s.blocks(wanted, s.w[1]);
    let (m0, m_len) = block_axis(e, &m, rows);
    let (n0, n_len) = block_axis(e, &o, columns);
    let x = e.buffer(s.data, Access::Read);
    let outer: Vec<Dim> = s.out[..=s.n].to_vec();
    let words = [Arg::Null, Arg::Int(Dim::ZERO), Arg::Ptr(x, m0.clone() * c.clone()), Arg::Int(c)];
    let column = n0.clone();
    let block = Block {
        m0,
        m_len,
        n0,
        n_len,
        rows: rows.bound(&m),
        columns: columns.bound(&o),
        open: None,
        index: Box::new(move |m, n| [unravel(&outer, m), vec![n.clone()]].concat()),
    };
    multiply(e, group, node, s, (words, 0, Arg::Null), (Dim::ZERO, column), block);
}

fn indirect(e: &mut Emitter, group: &Group, node: &Node, s: &Shape) {
    // Without padding along the last axis the taps of a row are one run of channels.
    let last = s.n - 1;
    let run = s.groups == 1
        && s.dilations[last] == 1
        && s.low[last].is(0)
        && node.attrs.dims("pads_high")[last].is(0);
    let taps: Vec<i64> = if run { s.w[2..2 + last].to_vec() } else { s.w[2..].to_vec() };
    let (n_taps, o) = (taps.iter().product::<i64>(), Dim::int(s.w[0] / s.groups));
    let kc = Dim::int(s.w[1] * if run { s.w[2 + last] } else { 1 });
    let k = s.w[1..].iter().product();
    let image = e.grid(s.out[0].clone());
    let g = if s.groups == 1 { Dim::ZERO } else { e.grid(Dim::int(s.groups)) };
    let m = s.pixels();
    let results = s.out[0].clone() * Dim::int(s.groups);
    let wanted = blocking(e.schedule, &s.extents((&m, &o, &width(s, k)), &results));
    let (rows, columns) = s.blocks(wanted, k);
    let (m0, m_len) = block_axis(e, &m, rows);
    let (n0, n_len) = block_axis(e, &o, columns);
    let block_rows = rows.bound(&m);
    // One run of channels a pixel, pixels of a single row: they are evenly spaced, no table is needed.
    let even =
        run && n_taps == 1 && (0..last).all(|i| s.out[1 + i].is(1) && s.x[1 + i].is(1) && s.low[i].is(0));
    let mut zeros = Arg::Null;
    let rows_words = if even {
        let step = Dim::int(s.strides[last] * s.w[1]);
        let x = e.buffer(s.data, Access::Read);
        let at = image.clone() * s.x[1 + last].clone() * Dim::int(s.w[1]) + m0.clone() * step.clone();
        [Arg::Null, Arg::Int(Dim::ZERO), Arg::Ptr(x, at), Arg::Int(step)]
    } else {
        let table = e.kb.scratch(DType::U64, Dim::int(n_taps) * block_rows.clone());
        let zero = match s.bytes.as_ref().map(|(x, _)| &x.zero) {
            Some(Zero::Known(zero)) => *zero,
            _ => 0,
        };
        let padding = (e.dtype(s.data), zero);
        let form = Table { table, taps: &taps, rows: &block_rows, kc: &kc, padding };
        fill_table(e, node, s, &form, (&image, &g, &m0, &m_len));
        if s.bytes.is_none() && !unpadded(node) && finite(e.graph, node.inputs[1]) {
            zeros = Arg::Ptr(form.zeros(e), Dim::ZERO);
        }
        [Arg::Ptr(table, Dim::ZERO), Arg::Int(block_rows.clone()), Arg::Null, Arg::Int(Dim::ZERO)]
    };
    let spatial: Vec<Dim> = s.out[1..=s.n].to_vec();
    // Columns count from the first channel of the group.
    let first = g.clone() * o.clone();
    let column = n0.clone();
    let block = Block {
        m0,
        m_len,
        n0: n0 + first,
        n_len,
        rows: block_rows,
        columns: columns.bound(&o),
        open: None,
        index: Box::new(move |m, n| [vec![image.clone()], unravel(&spatial, m), vec![n.clone()]].concat()),
    };
    multiply(e, group, node, s, (rows_words, taps.len(), zeros), (g, column), block);
}

struct Table<'t> {
    table: Mem,
    taps: &'t [i64],
    rows: &'t Dim,
    kc: &'t Dim,
    /// Type and number of what the padding holds.
    padding: (DType, i64),
}

impl Table<'_> {
    /// What the pixels of the padding hold.
    fn zeros(&self, e: &mut Emitter) -> Mem {
        let (dtype, value) = self.padding;
        e.constant(Constant::Fill { dtype, value, len: self.kc.clone() })
    }
}

/// A product of a weight with zero is zero.
fn finite(graph: &Graph, weights: ValueId) -> bool {
    let tensor =
        graph.constant(weights).and_then(|t| t.elems::<f32>().ok().map(|w| w.iter().all(|x| x.is_finite())));
    tensor.unwrap_or(false)
}

/// Writes the address of the first channel of every pixel and tap; taps in the padding point to zeros
/// (of bytes, to their zero point).
fn fill_table(
    e: &mut Emitter,
    node: &Node,
    s: &Shape,
    t: &Table,
    (image, g, m0, m_len): (&Dim, &Dim, &Dim, &Dim),
) {
    let x = e.buffer(s.data, Access::Read);
    let pixel = e.begin(Turns::Lanes, m_len.clone(), &[]);
    let at = m0.clone() + pixel.index();
    e.note_local(&at, s.pixels() - Dim::ONE);
    let out = unravel(&s.out[1..=s.n], &at);
    let mut loops = Vec::new();
    let mut tap = Vec::new();
    for n in t.taps {
        if *n == 1 {
            tap.push(Dim::ZERO);
            continue;
        }
        let open = e.begin(Turns::Serial, Dim::int(*n), &[]);
        tap.push(open.index());
        loops.push(open);
    }
    tap.resize(s.n, Dim::ZERO);
    let src: Vec<Dim> = (0..s.n)
        .map(|i| {
            out[i].clone() * Dim::int(s.strides[i]) + tap[i].clone() * Dim::int(s.dilations[i])
                - s.low[i].clone()
        })
        .collect();
    let mut which = Dim::ZERO;
    for (n, k) in t.taps.iter().zip(&tap) {
        which = which * Dim::int(*n) + k.clone();
    }
    let slot = which * t.rows.clone() + pixel.index();
    let channel = g.clone() * Dim::int(s.w[1]);
    let at = [vec![image.clone()], src.clone(), vec![channel]].concat();
    let element = crate::lower::index::row_major(s.x, &at);
    let padded = (0..s.n).filter(|i| !(s.low[*i].is(0) && node.attrs.dims("pads_high")[*i].is(0)));
    let checks: Vec<_> = padded.map(|i| e.kb.in_range(src[i].clone(), s.x[1 + i].clone())).collect();
    match checks.into_iter().reduce(|a, b| e.kb.op(nnc_ir::ScalarOp::And, &[a, b])) {
        None => e.kb.store_ptr(t.table, slot, x, element),
        Some(inside) => {
            let zeros = t.zeros(e);
            e.kb.begin_if();
            e.kb.store_ptr(t.table, slot.clone(), x, element);
            e.kb.end_if(inside);
            let outside = e.kb.op(nnc_ir::ScalarOp::Not, &[inside]);
            e.kb.begin_if();
            e.kb.store_ptr(t.table, slot, zeros, Dim::ZERO);
            e.kb.end_if(outside);
        }
    }
    for open in loops.into_iter().rev() {
        e.end(open, &[], &[]);
    }
    e.end(pixel, &[], &[]);
}

fn depthwise(e: &mut Emitter, group: &Group, node: &Node, s: &Shape) {
    // One spatial axis is a picture of one row.
    let two = s.n == 2;
    let pick = |v: &[i64]| if two { (v[0], v[1]) } else { (1, v[0]) };
    let ((kh, kw), (sh, sw), (dh, dw)) = (pick(&s.w[2..]), pick(s.strides), pick(s.dilations));
    let (low_h, low_w) =
        if two { (s.low[0].clone(), s.low[1].clone()) } else { (Dim::ZERO, s.low[0].clone()) };
    let (h, w) = if two { (s.x[1].clone(), s.x[2].clone()) } else { (Dim::ONE, s.x[1].clone()) };
    let (oh, ow) = if two { (s.out[1].clone(), s.out[2].clone()) } else { (Dim::ONE, s.out[1].clone()) };
    let c = Dim::int(s.w[0]);
    let image = e.grid(s.out[0].clone());
    let row = if two { e.grid(oh) } else { Dim::ZERO };
    let x = e.buffer(node.inputs[0], Access::Read);
    let packing = Packing::Taps { taps: kh * kw, channels: s.w[0] };
    let weights = e.constant(Constant::Packed { value: node.inputs[1], packing });
    e.cost = (ow.clone() * c.clone() * Dim::int(kh * kw)).floor_div(&Dim::int(16)) + Dim::int(50);
    let (first, base) =
        (row.clone() * Dim::int(sh) - low_h, image.clone() * h.clone() * w.clone() * c.clone());
    let block = Block {
        m0: Dim::ZERO,
        m_len: ow.clone(),
        n0: Dim::ZERO,
        n_len: c.clone(),
        rows: ow.clone(),
        columns: c.clone(),
        open: None,
        index: Box::new(move |m, n| {
            let at = if two {
                vec![image.clone(), row.clone(), m.clone()]
            } else {
                vec![image.clone(), m.clone()]
            };
            [at, vec![n.clone()]].concat()
        }),
    };
    epilogue::finish_without_residual(e, group, node.outputs[0], Some(node.inputs[2]), block, |e, call| {
        let int = |v: i64| Arg::Int(Dim::int(v));
        let args = vec![
            call.out,
            Arg::Int(call.row_stride),
            Arg::Ptr(x, base),
            Arg::Int(w.clone() * c.clone()),
            Arg::Int(c.clone()),
            Arg::Int(h),
            Arg::Int(w),
            Arg::Int(c.clone()),
            Arg::Int(call.rows),
            Arg::Int(first),
            int(kh),
            int(kw),
            int(sw),
            Arg::Int(low_w),
            int(dh),
            int(dw),
            Arg::Ptr(weights, Dim::ZERO),
            Arg::Int(c),
            call.bias,
            int(call.flags),
            Arg::F32(call.clamp.0),
            Arg::F32(call.clamp.1),
        ];
        e.kb.call(DEPTHWISE.0, DEPTHWISE.1, args);
    });
}
