//! Emits the value of a graph node at an index: the heart of fusion.
//!
//! Every fusible operator is a function from an index to a scalar. Asking for the root of a group at an
//! index asks its operands at theirs, until a value is reached that lies in memory.

use super::{index, window};
use crate::pass::Schedule;
use nnc_ir::plan::Packing;
use nnc_ir::tile::{Access, Expr, KernelBuilder, Local, Mem, OpenLoop, Turns, arithmetic_type};
use nnc_ir::{Attr, DType, Dim, Graph, Node, ScalarOp, Sym, ValueId};
use nnc_tensor::Range;
use std::collections::{BTreeSet, HashMap};

/// A constant that a kernel reads in a form of its own.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Constant {
    /// A value, packed.
    Packed {
        /// The constant.
        value: ValueId,
        /// Form.
        packing: Packing,
    },
    /// One number over and over: what convolutions read in the padding.
    Fill {
        /// Element type.
        dtype: DType,
        /// The number.
        value: i64,
        /// Elements.
        len: Dim,
    },
    /// A few integers, as i32.
    Integers(Vec<i32>),
}

/// What stands behind a parameter of a kernel.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Source {
    /// A value in memory.
    Value(ValueId),
    /// A constant in a form of its own.
    Constant(Constant),
}

/// The linear element of an index.
pub(crate) type ElementAt<'g> = Box<dyn Fn(&[Dim]) -> Dim + 'g>;

/// The kernel under construction and what it has emitted so far.
pub(crate) struct Emitter<'g> {
    /// The graph.
    pub(crate) graph: &'g Graph,
    /// What kernels look like.
    pub(crate) schedule: Schedule,
    /// The kernel.
    pub(crate) kb: KernelBuilder,
    /// Values computed inside the kernel; all others are loaded.
    inside: &'g BTreeSet<ValueId>,
    /// Buffers in the order of the kernel's parameters.
    pub(crate) params: Vec<Source>,
    mems: HashMap<Source, Mem>,
    /// Estimated nanoseconds of a grid point.
    pub(crate) cost: Dim,
    /// Scopes of values already emitted, innermost last.
    memo: Vec<HashMap<(ValueId, Vec<Dim>), Local>>,
    /// Ranges of loop axes and loaded indices.
    tops: HashMap<u32, Dim>,
    /// Axes of the open lanes loops, innermost last.
    lanes: Vec<Dim>,
    /// Turns of a lanes loop at which a concatenation goes on to its next operand.
    pub(crate) seams: BTreeSet<i64>,
    /// The anchor's result, where a template has put it.
    anchor: Option<(ValueId, Mem, ElementAt<'g>)>,
}

impl<'g> Emitter<'g> {
    /// An empty kernel that computes the values in `inside` and loads all others.
    pub(crate) fn new(
        graph: &'g Graph,
        name: &str,
        inside: &'g BTreeSet<ValueId>,
        schedule: Schedule,
    ) -> Emitter<'g> {
        Emitter {
            graph,
            schedule,
            kb: KernelBuilder::new(name),
            inside,
            params: Vec::new(),
            mems: HashMap::new(),
            cost: Dim::ONE,
            memo: vec![HashMap::new()],
            tops: HashMap::new(),
            lanes: Vec::new(),
            seams: BTreeSet::new(),
            anchor: None,
        }
    }

    /// From now on the value is found in memory at `at(index)`.
    pub(crate) fn set_anchor(&mut self, v: ValueId, mem: Mem, at: ElementAt<'g>) {
        self.anchor = Some((v, mem, at));
    }

    /// The shape of a value.
    pub(crate) fn shape(&self, v: ValueId) -> &'g [Dim] {
        &self.graph.tensor_ty(v).shape
    }

    /// The data type of a value.
    pub(crate) fn dtype(&self, v: ValueId) -> DType {
        self.graph.tensor_ty(v).dtype
    }

    /// The buffer that holds a value, as a parameter of the kernel.
    pub(crate) fn buffer(&mut self, v: ValueId, access: Access) -> Mem {
        let ty = self.graph.tensor_ty(v);
        self.param(Source::Value(v), ty.dtype, ty.elems(), access)
    }

    /// The bytes of a packed value, to be written.
    pub(crate) fn bytes_of(&mut self, v: ValueId) -> Mem {
        let ty = self.graph.tensor_ty(v);
        let elems = ty.elems().ceil_div(&Dim::int(8 / ty.dtype.bits() as i64));
        self.param(Source::Value(v), DType::U8, elems, Access::Write)
    }

    /// The bits of a number in a packed type, in the low bits of a byte.
    pub(crate) fn code_of(&mut self, dtype: DType, value: Local) -> Local {
        if dtype != DType::F4E2M1 {
            return self.kb.cast(value, DType::U8);
        }
        // The magnitudes are 0, 1/2, 1, 3/2, 2, 3, 4, 6: count the midpoints below, ties to even codes.
        let mut code = self.kb.int(DType::U8, 0);
        let magnitude = self.kb.op(ScalarOp::Abs, &[value]);
        let one = self.kb.int(DType::U8, 1);
        for (i, mid) in [0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0].into_iter().enumerate() {
            let mid = self.kb.float(DType::F32, mid);
            let above = self.kb.op(if i % 2 == 0 { ScalarOp::Gt } else { ScalarOp::Ge }, &[magnitude, mid]);
            let next = self.kb.op(ScalarOp::Add, &[code, one]);
            code = self.kb.select(above, next, code);
        }
        let bits = self.kb.def(DType::U32, Expr::Bitcast(value));
        let (sign_at, eight) = (self.kb.int(DType::U32, 28), self.kb.int(DType::U32, 8));
        let sign = self.kb.op(ScalarOp::Shr, &[bits, sign_at]);
        let sign = self.kb.op(ScalarOp::And, &[sign, eight]);
        let sign = self.kb.cast(sign, DType::U8);
        // NaN has no code: it becomes -0.
        let (nan, minus_zero) = (self.kb.op(ScalarOp::IsNan, &[value]), self.kb.int(DType::U8, 8));
        let number = self.kb.op(ScalarOp::Or, &[code, sign]);
        self.kb.select(nan, minus_zero, number)
    }

    /// A constant in a form of its own, as a parameter of the kernel.
    pub(crate) fn constant(&mut self, c: Constant) -> Mem {
        let (dtype, elems) = match &c {
            Constant::Packed { value, packing } => {
                let elems = packing.elems().map_or_else(|| self.graph.tensor_ty(*value).elems(), Dim::int);
                (packing.dtype(self.dtype(*value)), elems)
            }
            Constant::Fill { dtype, len, .. } => (*dtype, len.clone()),
            Constant::Integers(values) => (DType::I32, Dim::len(values.len())),
        };
        self.param(Source::Constant(c), dtype, elems, Access::Read)
    }

    fn param(&mut self, source: Source, dtype: DType, elems: Dim, access: Access) -> Mem {
        if let Some(m) = self.mems.get(&source) {
            return *m;
        }
        let mem = self.kb.param(dtype, elems, access);
        self.params.push(source.clone());
        self.mems.insert(source, mem);
        mem
    }

    /// What is known of a symbol.
    pub(crate) fn range(&self, s: &Sym) -> Range {
        match s {
            Sym::Local(n) => {
                let top = self.tops.get(n).cloned();
                Range { low: top.as_ref().map(|_| 0), high: top.as_ref().and_then(Dim::as_const), top }
            }
            Sym::Name(_) => Range::length(),
        }
    }

    /// Simplifies an index with the ranges of the open loops.
    pub(crate) fn simplify(&self, d: &Dim) -> Dim {
        d.simplify(&|s| self.range(s))
    }

    /// Notes that a local lies in `0 ..= top`.
    pub(crate) fn note_top(&mut self, local: u32, top: Dim) {
        self.tops.insert(local, top);
    }

    /// Notes the top of an index expression that is a local plus something: the local's own range is known.
    pub(crate) fn note_local(&mut self, d: &Dim, top: Dim) {
        if let Some(Sym::Local(n)) = d.as_sym() {
            self.note_top(*n, top);
        }
    }

    /// A new grid axis.
    pub(crate) fn grid(&mut self, extent: Dim) -> Dim {
        let d = self.kb.grid(extent.clone());
        self.note_axis(&d, extent);
        d
    }

    fn note_axis(&mut self, axis: &Dim, extent: Dim) {
        if let Some(Sym::Local(n)) = axis.as_sym() {
            self.note_top(*n, extent - Dim::ONE);
        }
    }

    /// Opens a loop and a scope.
    pub(crate) fn begin(&mut self, turns: Turns, extent: Dim, carried: &[Local]) -> OpenLoop {
        let open = self.kb.begin(turns, extent.clone(), carried);
        self.note_axis(&open.index(), extent);
        self.memo.push(HashMap::new());
        if turns == Turns::Lanes {
            self.lanes.push(open.index());
        }
        open
    }

    /// Closes a loop and its scope.
    pub(crate) fn end(
        &mut self,
        open: OpenLoop,
        next: &[Local],
        reduces: &[(ScalarOp, Local, Local)],
    ) -> (Vec<Local>, Vec<Local>) {
        self.memo.pop();
        if open.turns() == Turns::Lanes {
            self.lanes.pop();
        }
        self.kb.end(open, next, reduces)
    }

    /// The element of a value at an index.
    pub(crate) fn value(&mut self, v: ValueId, idx: &[Dim]) -> Local {
        let idx: Vec<Dim> = idx.iter().map(|d| self.simplify(d)).collect();
        let key = (v, idx);
        if let Some(l) = self.memo.iter().rev().find_map(|m| m.get(&key)) {
            return *l;
        }
        let local = self.compute(v, &key.1);
        self.memo.last_mut().expect("the outermost scope").insert(key, local);
        local
    }

    fn compute(&mut self, v: ValueId, idx: &[Dim]) -> Local {
        if let Some((anchor, mem, at)) = &self.anchor
            && *anchor == v
        {
            let (mem, at) = (*mem, at(idx));
            let at = self.simplify(&at);
            return self.kb.load(mem, at);
        }
        if let Some(c) = self.splat_constant(v) {
            return c;
        }
        if !self.inside.contains(&v) {
            let at = self.simplify(&index::row_major(self.shape(v), idx));
            let mem = self.buffer(v, Access::Read);
            return self.kb.load(mem, at);
        }
        let (node, _) = self.graph.def_output(v).expect("a value computed inside has a node");
        self.node(node, v, idx)
    }

    /// Constants of one element (or one repeated element) are immediate.
    fn splat_constant(&mut self, v: ValueId) -> Option<Local> {
        let t = self.graph.constant(v).filter(|t| t.len() == 1)?;
        let dtype = arithmetic_type(t.dtype());
        if t.dtype().is_float() {
            return Some(self.kb.float(dtype, t.to_f64s()[0]));
        }
        let value = *t.to_ints().first()?;
        Some(self.kb.int(dtype, value as i64))
    }

    fn node(&mut self, node: &'g Node, v: ValueId, idx: &[Dim]) -> Local {
        if let Some(op) = node.op.scalar {
            let args: Vec<Local> = node.inputs.iter().map(|i| self.value(*i, idx)).collect();
            return self.kb.op(op, &args);
        }
        match node.op.name {
            "select" => {
                let [c, a, b] = [0, 1, 2].map(|i| self.value(node.inputs[i], idx));
                self.kb.select(c, a, b)
            }
            "cast" => self.cast(node, v, idx),
            "bitcast" => {
                let x = self.value(node.inputs[0], idx);
                self.kb.def(self.dtype(v), Expr::Bitcast(x))
            }
            "iota" => {
                let i = self.kb.def(DType::I64, Expr::Index(idx[node.attrs.index("axis")].clone()));
                self.kb.cast(i, arithmetic_type(self.dtype(v)))
            }
            "dims" => self.dims(node, idx),
            "concat" => self.concat(node, idx),
            "pad" => self.pad(node, idx),
            "gather" | "gather_elements" | "gather_nd" => self.gathered(node, idx),
            "reduce" | "arg_reduce" | "pool" | "max_pool_indices" | "contract" | "conv"
            | "conv_transpose" => window::emit(self, node, v, idx),
            _ => {
                let moved =
                    index::source(self.graph, node, idx).expect("grouping took only fusible operators");
                self.value(node.inputs[0], &moved)
            }
        }
    }

    fn cast(&mut self, node: &Node, v: ValueId, idx: &[Dim]) -> Local {
        let x = self.value(node.inputs[0], idx);
        let (from, to) = (self.dtype(node.inputs[0]), self.dtype(v));
        let wide = arithmetic_type(to);
        if to == DType::Bool {
            let zero = self.kb.constant(self.kb.dtype(x), 0.0);
            return self.kb.op(ScalarOp::Ne, &[x, zero]);
        }
        let mut y = self.kb.cast(x, wide);
        if to == DType::F8E5M2 && node.attrs.flag("saturate") {
            // The format has infinities, and a store keeps them.
            let (least, most) = (self.kb.float(wide, -57344.0), self.kb.float(wide, 57344.0));
            y = self.kb.op(ScalarOp::Max, &[y, least]);
            y = self.kb.op(ScalarOp::Min, &[y, most]);
        }
        if !node.attrs.flag("saturate")
            && let Some((limit, op)) = overflow(to)
        {
            // A store saturates: what overflows becomes NaN before.
            let (most, nan) = (self.kb.float(wide, limit), self.kb.float(wide, f64::NAN));
            let magnitude = self.kb.op(ScalarOp::Abs, &[y]);
            let over = self.kb.op(op, &[magnitude, most]);
            y = self.kb.select(over, nan, y);
        }
        let narrows = wide != to && from != to && to.is_float();
        if narrows { self.kb.def(wide, Expr::RoundTo(to, y)) } else { y }
    }

    fn dims(&mut self, node: &Node, idx: &[Dim]) -> Local {
        let values = node.attrs.dims("values");
        if values.is_empty() {
            return self.kb.int(DType::I64, 0);
        }
        let mut result = self.kb.def(DType::I64, Expr::Index(values[0].clone()));
        for (k, d) in values.iter().enumerate().skip(1) {
            let value = self.kb.def(DType::I64, Expr::Index(d.clone()));
            let at = self.index_is(&idx[0], k as i64);
            result = self.kb.select(at, value, result);
        }
        result
    }

    fn index_is(&mut self, d: &Dim, k: i64) -> Local {
        let i = self.kb.def(DType::I64, Expr::Index(d.clone()));
        let k = self.kb.int(DType::I64, k);
        self.kb.op(ScalarOp::Eq, &[i, k])
    }

    fn concat(&mut self, node: &Node, idx: &[Dim]) -> Local {
        let axis = node.attrs.index("axis");
        let i = &idx[axis];
        let mut start = Dim::ZERO;
        let mut result = None;
        for x in &node.inputs {
            let len = self.shape(*x)[axis].clone();
            let (first, behind) = (start.clone(), start + len.clone());
            start = behind.clone();
            if self.never_negative(&(i.clone() - behind))
                || self.never_negative(&(first.clone() - i.clone() - Dim::ONE))
            {
                continue;
            }
            let mut at = idx.to_vec();
            at[axis] = clamp(&(i.clone() - first.clone()), &len);
            let value = self.value(*x, &at);
            result = Some(match result {
                None => value,
                Some(before) => {
                    self.note_seam(i, &first);
                    let i = self.kb.def(DType::I64, Expr::Index(i.clone()));
                    let s = self.kb.def(DType::I64, Expr::Index(first));
                    let from_here = self.kb.op(ScalarOp::Ge, &[i, s]);
                    self.kb.select(from_here, value, before)
                }
            });
        }
        result.expect("a concat has operands")
    }

    /// Notes that the operands at `i` change where `i` reaches `border`.
    fn note_seam(&mut self, i: &Dim, border: &Dim) {
        let Some(lane) = self.lanes.last().cloned() else { return };
        if let Some(turn) = (border.clone() - (i.clone() - lane)).as_const() {
            self.seams.insert(turn);
        }
    }

    fn pad(&mut self, node: &Node, idx: &[Dim]) -> Local {
        let (low, mode) = (node.attrs.dims("low"), node.attrs.str("mode"));
        let shape = self.shape(node.inputs[0]);
        let mut at = Vec::new();
        let mut inside: Option<Local> = None;
        for (k, i) in idx.iter().enumerate() {
            let (src, n) = (i.clone() - low[k].clone(), &shape[k]);
            let padded = !(low[k].is(0) && node.attrs.dims("high")[k].is(0));
            at.push(match mode {
                _ if !padded => src.clone(),
                "edge" | "constant" => clamp(&src, n),
                "wrap" => src.modulo(n),
                _ => index::reflect(&src, n),
            });
            if mode == "constant" && padded {
                let ok = self.kb.in_range(src, n.clone());
                inside = Some(inside.map_or(ok, |c| self.kb.op(ScalarOp::And, &[c, ok])));
            }
        }
        let value = self.value(node.inputs[0], &at);
        match inside {
            None => value,
            Some(c) => {
                let fill = self.value(node.inputs[1], &[]);
                self.kb.select(c, value, fill)
            }
        }
    }

    /// A loaded integer as an index into `0 .. extent`: negative values count from the end; what
    /// lies outside is moved to the border, so that nothing is ever read out of bounds.
    pub(crate) fn loaded_index(&mut self, v: ValueId, idx: &[Dim], extent: &Dim) -> Dim {
        let raw = self.value(v, idx);
        let i = self.kb.cast(raw, DType::I64);
        let n = self.kb.def(DType::I64, Expr::Index(extent.clone()));
        let (zero, one) = (self.kb.int(DType::I64, 0), self.kb.int(DType::I64, 1));
        let (negative, from_end) = (self.kb.op(ScalarOp::Lt, &[i, zero]), self.kb.op(ScalarOp::Add, &[i, n]));
        let i = self.kb.select(negative, from_end, i);
        let last = self.kb.op(ScalarOp::Sub, &[n, one]);
        let i = self.kb.op(ScalarOp::Min, &[i, last]);
        let i = self.kb.op(ScalarOp::Max, &[i, zero]);
        self.note_top(i.0, extent.clone() - Dim::ONE);
        i.dim()
    }

    fn gathered(&mut self, node: &Node, idx: &[Dim]) -> Local {
        let (x, indices) = (node.inputs[0], node.inputs[1]);
        let shape = self.shape(x);
        let at = match node.op.name {
            "gather" => {
                let axis = node.attrs.index("axis");
                let n = self.shape(indices).len();
                let i = self.loaded_index(indices, &idx[axis..axis + n], &shape[axis]);
                [&idx[..axis], &[i], &idx[axis + n..]].concat()
            }
            "gather_elements" => {
                let axis = node.attrs.index("axis");
                let mut at = idx.to_vec();
                at[axis] = self.loaded_index(indices, idx, &shape[axis]);
                at
            }
            _ => {
                let (batch, rank) = (node.attrs.index("batch_dims"), self.shape(indices).len());
                let depth =
                    self.shape(indices)[rank - 1].as_len().expect("inference asks for a fixed index depth");
                let mut at = idx[..batch].to_vec();
                for k in 0..depth {
                    let from = [&idx[..rank - 1], &[Dim::len(k)]].concat();
                    at.push(self.loaded_index(indices, &from, &shape[batch + k]));
                }
                at.extend_from_slice(&idx[rank - 1..]);
                at
            }
        };
        self.value(x, &at)
    }
}

/// The magnitude from which on (or above which) rounding to a format without infinity overflows.
fn overflow(to: DType) -> Option<(f64, ScalarOp)> {
    match to {
        // Half way to the next number is even below 464, odd below 248 and 61440.
        DType::F8E4M3FN => Some((464.0, ScalarOp::Gt)),
        DType::F8E4M3FNUZ => Some((248.0, ScalarOp::Ge)),
        DType::F8E5M2FNUZ => Some((61440.0, ScalarOp::Ge)),
        _ => None,
    }
}

/// An index moved to the nearest inside `0 .. n`.
fn clamp(i: &Dim, n: &Dim) -> Dim {
    i.min_with(&(n.clone() - Dim::ONE)).max_with(&Dim::ZERO)
}

/// An integer list attribute of any node, empty if it is missing.
pub(crate) fn ints_or_empty<'n>(node: &'n Node, name: &str) -> &'n [i64] {
    match node.attrs.get(name) {
        Some(Attr::Ints(v)) => v,
        _ => &[],
    }
}

impl Emitter<'_> {
    /// True if an index certainly lies in `0 .. extent`.
    pub(crate) fn always_inside(&self, i: &Dim, extent: &Dim) -> bool {
        self.never_negative(i) && self.never_negative(&(extent.clone() - Dim::ONE - i.clone()))
    }

    fn never_negative(&self, d: &Dim) -> bool {
        d.at_least(0, &|s| self.range(s))
    }

    /// True inside a lanes loop.
    pub(crate) fn in_lanes(&self) -> bool {
        !self.lanes.is_empty()
    }
}
