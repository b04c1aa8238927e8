//! What a lowering sees: the node's inputs, attributes and version, and the builder of the graph.

use crate::attrs::Attrs;
use crate::import::Importer;
use crate::model::{self, Node};
use crate::refusal::{Refusal, unsupported};
use nnc_ir::{Attr, Builder, DType, Dim, Kind, ScalarOp, Tensor, Type, ValueId, attrs};
use std::ops::{Deref, DerefMut};

/// The lowering of one node. Dereferences to the [`Builder`] of the block that it goes to.
pub struct Cx<'c, 'g, 'm> {
    builder: &'c mut Builder<'g>,
    importer: &'c mut Importer<'m>,
    node: &'m Node,
    /// The node's attributes; each has to be read.
    pub attrs: Attrs<'m>,
    /// The version of the operator: one of its row's `since`.
    pub version: i64,
    inputs: Vec<Option<ValueId>>,
    outputs: Vec<Option<ValueId>>,
}

impl<'g> Deref for Cx<'_, 'g, '_> {
    type Target = Builder<'g>;
    fn deref(&self) -> &Builder<'g> {
        self.builder
    }
}

impl DerefMut for Cx<'_, '_, '_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.builder
    }
}

/// Makes the inputs of a subgraph of a block's parameters.
pub(crate) type Bind<'f, 'm> = dyn FnMut(&mut Cx<'_, '_, 'm>, &[ValueId]) -> Lowered<Vec<ValueId>> + 'f;

/// The outcome of a step of a lowering.
pub(crate) type Lowered<T = ()> = Result<T, Refusal>;

impl<'c, 'g, 'm> Cx<'c, 'g, 'm> {
    pub(crate) fn new(
        builder: &'c mut Builder<'g>,
        importer: &'c mut Importer<'m>,
        node: &'m Node,
        attrs: Attrs<'m>,
        version: i64,
        inputs: Vec<Option<ValueId>>,
    ) -> Self {
        Cx { builder, importer, node, attrs, version, inputs, outputs: vec![None; node.outputs.len()] }
    }

    /// The outputs, after a check that nothing was ignored or forgotten.
    pub(crate) fn finish(self) -> Lowered<Vec<Option<ValueId>>> {
        // A hint on memory use that the first operator sets carry.
        let unread: Vec<&str> = self.attrs.unread().into_iter().filter(|a| *a != "consumed_inputs").collect();
        if let Some(name) = unread.first() {
            unsupported!("attribute \"{name}\" is not supported");
        }
        for (i, (name, out)) in self.node.outputs.iter().zip(&self.outputs).enumerate() {
            let Some(v) = *out else {
                if name.is_empty() {
                    continue;
                }
                unsupported!("output {i} (\"{name}\") is not supported");
            };
            let content = self.importer.known.content(self.builder.graph, v).filter(|c| c.len() <= 64);
            let data = self.builder.graph.value_mut(v);
            data.content = data.content.take().or(content);
            if data.name.is_none() && !name.is_empty() {
                data.name = Some(name.clone());
            }
        }
        Ok(self.outputs)
    }

    /// The node as the file states it.
    pub fn node(&self) -> &'m Node {
        self.node
    }

    // Inputs and outputs.

    /// Number of inputs, left-out ones in the middle included.
    pub fn n_inputs(&self) -> usize {
        self.inputs.len()
    }

    /// Input `i` of any type, unless left out.
    pub fn input_value(&self, i: usize) -> Option<ValueId> {
        self.inputs.get(i).copied().flatten()
    }

    /// Input `i` of any type.
    pub fn value(&self, i: usize) -> Lowered<ValueId> {
        self.input_value(i).ok_or_else(|| Refusal::Because(format!("input {i} is missing")))
    }

    /// Tensor input `i`, unless left out.
    pub fn input(&self, i: usize) -> Lowered<Option<ValueId>> {
        match self.input_value(i) {
            Some(v) if self.graph.ty(v).as_tensor().is_none() => {
                unsupported!("input {i} must be a tensor, found {}", self.graph.ty(v))
            }
            v => Ok(v),
        }
    }

    /// Tensor input `i`.
    pub fn required(&self, i: usize) -> Lowered<ValueId> {
        self.input(i)?.ok_or_else(|| Refusal::Because(format!("input {i} is missing")))
    }

    /// All inputs, which must be tensors.
    pub fn variadic(&self) -> Lowered<Vec<ValueId>> {
        (0..self.inputs.len()).map(|i| self.required(i)).collect()
    }

    /// Number of outputs that the node names.
    pub fn n_outputs(&self) -> usize {
        self.node.outputs.len()
    }

    /// Whether anybody may read output `i`.
    pub fn wants(&self, i: usize) -> bool {
        self.node.outputs.get(i).is_some_and(|name| !name.is_empty())
    }

    /// Sets output `i`; nothing happens if the node does not name it.
    pub fn output(&mut self, i: usize, v: ValueId) {
        if let Some(slot) = self.outputs.get_mut(i) {
            *slot = Some(v);
        }
    }

    /// Sets the only output.
    pub fn done(&mut self, v: ValueId) -> Lowered {
        self.output(0, v);
        Ok(())
    }

    // Types.

    /// Element type of a tensor.
    pub fn dtype(&self, v: ValueId) -> DType {
        self.graph.tensor_ty(v).dtype
    }

    /// Sizes of a tensor.
    pub fn shape(&self, v: ValueId) -> Vec<Dim> {
        self.graph.tensor_ty(v).shape.clone()
    }

    /// Number of dimensions of a tensor.
    pub fn rank(&self, v: ValueId) -> usize {
        self.graph.tensor_ty(v).rank()
    }

    /// Size of one axis.
    pub fn dim(&self, v: ValueId, axis: usize) -> Dim {
        self.graph.tensor_ty(v).shape[axis].clone()
    }

    /// Refuses tensors of another rank.
    pub fn expect_rank(&self, what: &str, v: ValueId, rank: usize) -> Lowered {
        if self.rank(v) != rank {
            unsupported!("{what} must have rank {rank}, found {}", self.graph.ty(v));
        }
        Ok(())
    }

    /// Refuses elements that are no floating-point numbers.
    pub fn expect_float(&self, what: &str, v: ValueId) -> Lowered<DType> {
        let dtype = self.dtype(v);
        if dtype.kind() != Kind::Float {
            unsupported!("{what} must hold floating-point numbers, found {}", self.graph.ty(v));
        }
        Ok(dtype)
    }

    /// A size that must be known now.
    pub fn fixed(&self, what: &str, d: &Dim) -> Lowered<usize> {
        d.as_len().ok_or_else(|| Refusal::Because(format!("{what} must be known at compile time, found {d}")))
    }

    // Attributes.

    /// An axis attribute, counted from the end where negative.
    pub fn axis(&self, name: &str, default: i64, rank: usize) -> Lowered<usize> {
        normal_axis(self.attrs.int_or(name, default)?, rank)
    }

    /// An axis attribute without a default.
    pub fn required_axis(&self, name: &str, rank: usize) -> Lowered<usize> {
        normal_axis(self.attrs.required(name, self.attrs.int(name))?, rank)
    }

    /// A data type attribute, by ONNX's number.
    pub fn dtype_attr(&self, name: &str) -> Lowered<Option<DType>> {
        let Some(number) = self.attrs.int(name)? else { return Ok(None) };
        let known = i32::try_from(number).ok().and_then(DType::from_onnx);
        known.map(Some).ok_or_else(|| Refusal::Because(format!("element type {number} is not supported")))
    }

    /// A data type attribute in which 0 stands for none.
    pub fn dtype_attr_or_none(&self, name: &str) -> Lowered<Option<DType>> {
        if self.attrs.int_or(name, 0)? == 0 { Ok(None) } else { self.dtype_attr(name) }
    }

    /// An attribute as a number.
    pub fn number(&self, name: &str, default: f32) -> Lowered<f64> {
        Ok(f64::from(self.attrs.float_or(name, default)?))
    }

    // Known values.

    /// The value as a constant, if it can be computed now.
    pub fn constant_of(&mut self, v: ValueId) -> Option<Tensor> {
        self.importer.known.constant(self.builder.graph, v)
    }

    /// Elements of an integer tensor of rank 0 or 1 as expressions, where known.
    pub fn content_of(&mut self, v: ValueId) -> Option<Vec<Dim>> {
        if self.graph.tensor_ty(v).shape == [Dim::ZERO] {
            return Some(Vec::new());
        }
        self.importer.known.content(self.builder.graph, v).or_else(|| {
            let t = self.constant_of(v).filter(|t| t.dtype().int_range().is_some() && t.rank() <= 1)?;
            t.to_ints().iter().map(|v| i64::try_from(*v).ok().map(Dim::int)).collect()
        })
    }

    /// Elements of integer input `i`, which must be constant.
    pub fn const_ints(&mut self, i: usize) -> Lowered<Option<Vec<i64>>> {
        let Some(v) = self.input(i)? else { return Ok(None) };
        let content = self.content_of(v);
        match content.and_then(|c| c.iter().map(Dim::as_const).collect()) {
            Some(ints) => Ok(Some(ints)),
            None => unsupported!("input {i} must be constant"),
        }
    }

    /// Elements of a floating-point or integer input, which must be constant.
    pub fn const_numbers(&mut self, i: usize) -> Lowered<Option<Vec<f64>>> {
        let Some(v) = self.input(i)? else { return Ok(None) };
        match self.constant_of(v) {
            Some(t) if t.dtype() != DType::Str => Ok(Some(t.to_f64s())),
            _ => unsupported!("input {i} must be constant"),
        }
    }

    /// Elements of an integer tensor as expressions; what is not known becomes symbols bound at run time.
    pub fn dims_of(&mut self, v: ValueId) -> Lowered<Vec<Dim>> {
        self.bound_dims(v, false)
    }

    /// The same for integers that are sizes: never negative.
    pub fn sizes_of(&mut self, v: ValueId) -> Lowered<Vec<Dim>> {
        self.bound_dims(v, true)
    }

    fn bound_dims(&mut self, v: ValueId, sizes: bool) -> Lowered<Vec<Dim>> {
        if let Some(content) = self.content_of(v) {
            return Ok(content);
        }
        let ty = self.graph.tensor_ty(v).clone();
        let len = match ty.shape.as_slice() {
            [] => 1,
            [d] => self.fixed("the number of sizes", d)?,
            _ => unsupported!("expected a list of integers, found {ty}"),
        };
        if ty.dtype.int_range().is_none() {
            unsupported!("expected integers, found {ty}");
        }
        let symbols: Vec<_> = (0..len).map(|_| self.graph.fresh_sym()).collect();
        let names = symbols.iter().map(|s| s.to_string().into_bytes()).collect();
        self.one("symbols", attrs! { names: Attr::Strs(names) }, &[v])?;
        let dims: Vec<Dim> = symbols.iter().map(|s| Dim::sym(s.clone())).collect();
        if !sizes {
            symbols.into_iter().for_each(|s| self.importer.known.add_integer(s));
        }
        // Later readers of the same value get the same symbols, where they are certain to be bound.
        if len <= 64 && self.block == self.graph.body() {
            self.graph.value_mut(v).content = Some(dims.clone());
        }
        Ok(dims)
    }

    /// A single integer as an expression.
    pub fn dim_of(&mut self, v: ValueId) -> Lowered<Dim> {
        match self.dims_of(v)?.as_slice() {
            [d] => Ok(d.clone()),
            found => unsupported!("expected one integer, found {}", found.len()),
        }
    }

    /// Inclusive bounds of an expression, where known.
    pub fn bounds(&self, d: &Dim) -> (Option<i64>, Option<i64>) {
        self.importer.known.bounds(self.builder.graph, d)
    }

    /// The expression simplified by what is known of its symbols.
    pub fn simplify(&self, d: &Dim) -> Dim {
        d.simplify(&|s| self.importer.known.range(self.builder.graph, s))
    }

    /// `d` clamped to `lo ..= hi`.
    pub fn clamp_dim(&self, d: &Dim, lo: &Dim, hi: &Dim) -> Dim {
        self.simplify(&d.min_with(hi).max_with(lo))
    }

    /// An index or end along an axis of `size`, counted from the end where negative.
    pub fn wrap_index(&self, index: &Dim, size: &Dim) -> Dim {
        match self.bounds(index) {
            (Some(lo), _) if lo >= 0 => index.clone(),
            (_, Some(hi)) if hi < 0 => index.clone() + size.clone(),
            // The quotient is -1 below zero and 0 above, but for numbers beyond any size.
            _ => index.clone() - size.clone() * index.floor_div(&Dim::int(1 << 62)),
        }
    }

    // Small pieces of graphs that many operators share.

    /// `op(x, c)` with a constant.
    pub fn with_const(&mut self, op: ScalarOp, x: ValueId, c: f64) -> Lowered<ValueId> {
        Ok(self.binary_const(op, x, c)?)
    }

    /// `x * scale + shift`.
    pub fn affine(&mut self, x: ValueId, scale: f64, shift: f64) -> Lowered<ValueId> {
        let scaled = self.binary_const(ScalarOp::Mul, x, scale)?;
        Ok(self.binary_const(ScalarOp::Add, scaled, shift)?)
    }

    /// `x` limited to `lo ..= hi`.
    pub fn clamp(&mut self, x: ValueId, lo: f64, hi: f64) -> Lowered<ValueId> {
        let above = self.binary_const(ScalarOp::Max, x, lo)?;
        Ok(self.binary_const(ScalarOp::Min, above, hi)?)
    }

    /// `x` with axes of size 1 inserted before the given axes of the result.
    pub fn unsqueeze(&mut self, x: ValueId, axes: &[usize]) -> Lowered<ValueId> {
        let mut rest = self.shape(x).into_iter();
        let rank = self.rank(x) + axes.len();
        let shape: Vec<Dim> = (0..rank)
            .map(|i| if axes.contains(&i) { Some(Dim::ONE) } else { rest.next() })
            .collect::<Option<_>>()
            .ok_or_else(|| Refusal::because("the inserted axes repeat"))?;
        Ok(self.reshape(x, &shape)?)
    }

    /// `x` without the given axes, which have size 1.
    pub fn squeeze(&mut self, x: ValueId, axes: &[usize]) -> Lowered<ValueId> {
        let shape: Vec<Dim> = self
            .shape(x)
            .into_iter()
            .enumerate()
            .filter(|(i, _)| !axes.contains(i))
            .map(|(_, d)| d)
            .collect();
        Ok(self.reshape(x, &shape)?)
    }

    /// A reduction that keeps its axes with size 1.
    pub fn reduce_keep(&mut self, kind: &str, x: ValueId, axes: &[usize]) -> Lowered<ValueId> {
        let mut shape = self.shape(x);
        axes.iter().for_each(|a| shape[*a] = Dim::ONE);
        let reduced = self.reduce(kind, x, axes)?;
        Ok(self.reshape(reduced, &shape)?)
    }

    /// The number of elements along some axes as a scalar of a data type.
    pub fn count(&mut self, x: ValueId, axes: &[usize], dtype: DType) -> Lowered<ValueId> {
        let shape = self.shape(x);
        let count = Dim::product(axes.iter().map(|a| &shape[*a]));
        self.size_scalar(&count, dtype)
    }

    /// A size as a scalar of a data type.
    pub fn size_scalar(&mut self, d: &Dim, dtype: DType) -> Lowered<ValueId> {
        if let Some(c) = d.as_const() {
            let t = Tensor::from_ints(DType::I64, &[], &[i128::from(c)])?;
            let t = nnc_tensor::cast(&t, dtype, true)?;
            return Ok(self.builder.constant(t));
        }
        let dims = attrs! { values: Attr::Dims(vec![d.clone()]), scalar: Attr::Int(1) };
        let v = self.one("dims", dims, &[])?;
        Ok(self.builder.cast(v, dtype)?)
    }

    /// An i64 vector constant.
    pub fn int_list(&mut self, ints: &[i64]) -> Lowered<ValueId> {
        Ok(self.builder.constant(Tensor::from_slice(&[ints.len()], ints)?))
    }

    /// Indices `0 .. shape[axis]` along an axis, the same along the others.
    pub fn iota(&mut self, shape: &[Dim], axis: usize, dtype: DType) -> Lowered<ValueId> {
        let axis = i64::try_from(axis).map_err(|_| Refusal::because("too many axes"))?;
        let attrs =
            attrs! { shape: Attr::Dims(shape.to_vec()), axis: Attr::Int(axis), dtype: Attr::DType(dtype) };
        Ok(self.one("iota", attrs, &[])?)
    }

    // Subgraphs.

    /// A subgraph attribute.
    pub fn graph_attr(&self, name: &str) -> Lowered<&'m model::Graph> {
        Ok(self.attrs.required(name, self.attrs.graph(name))?)
    }

    /// Imports a subgraph into a new block with parameters of the given types.
    ///
    /// `bind` makes the subgraph's inputs of the parameters.
    pub fn body(
        &mut self,
        graph: &'m model::Graph,
        params: &[Type],
        bind: &mut Bind<'_, 'm>,
    ) -> Lowered<Body> {
        let block = self.graph.add_block();
        let params: Vec<ValueId> =
            params.iter().map(|ty| self.graph.add_param(block, ty.clone(), None)).collect();
        let inputs = self.at_block(block, |cx| bind(cx, &params))?;
        if graph.inputs.len() != inputs.len() {
            unsupported!("the subgraph takes {} inputs, found {}", graph.inputs.len(), inputs.len());
        }
        let inputs = graph.inputs.iter().zip(inputs).map(|(i, v)| (i.name.as_str(), Some(v))).collect();
        let outputs: Vec<&str> = graph.outputs.iter().map(|o| o.name.as_str()).collect();
        let origin = self.builder.origin.clone();
        let mut inner = Builder { graph: self.builder.graph, block, origin };
        let results = self.importer.graph(&mut inner, graph, inputs, &outputs);
        // What a subgraph refuses has been reported.
        let results: Vec<ValueId> = results.into_iter().collect::<Option<_>>().ok_or(Refusal::Follows)?;
        self.graph.block_mut(block).results.clone_from(&results);
        Ok(Body { block, params, results })
    }

    /// Imports a subgraph in place, into the current block.
    pub fn inline(&mut self, graph: &'m model::Graph) -> Lowered<Vec<ValueId>> {
        self.inline_with(graph, &[])
    }

    /// Imports a subgraph in place, its inputs bound to values.
    pub fn inline_with(&mut self, graph: &'m model::Graph, inputs: &[ValueId]) -> Lowered<Vec<ValueId>> {
        if graph.inputs.len() != inputs.len() {
            unsupported!("the subgraph takes {} inputs, found {}", graph.inputs.len(), inputs.len());
        }
        let inputs = graph.inputs.iter().zip(inputs).map(|(i, v)| (i.name.as_str(), Some(*v))).collect();
        let outputs: Vec<&str> = graph.outputs.iter().map(|o| o.name.as_str()).collect();
        let results = self.importer.graph(self.builder, graph, inputs, &outputs);
        results.into_iter().collect::<Option<_>>().ok_or(Refusal::Follows)
    }

    /// Forgets the problems reported since there were `n`: for bodies that are imported again.
    pub(crate) fn forget_problems(&mut self, n: usize) {
        self.importer.problems.truncate(n);
    }

    pub(crate) fn n_problems(&self) -> usize {
        self.importer.problems.len()
    }

    /// A builder of another block.
    pub fn at_block<T>(
        &mut self,
        block: nnc_ir::BlockId,
        f: impl FnOnce(&mut Cx<'_, '_, 'm>) -> Lowered<T>,
    ) -> Lowered<T> {
        let origin = self.builder.origin.clone();
        let mut inner = Builder { graph: self.builder.graph, block, origin };
        let mut cx = Cx::new(
            &mut inner,
            self.importer,
            self.node,
            Attrs::new(self.node),
            self.version,
            self.inputs.clone(),
        );
        f(&mut cx)
    }
}

/// An imported subgraph.
pub struct Body {
    /// Its block.
    pub block: nnc_ir::BlockId,
    /// The block's parameters.
    pub params: Vec<ValueId>,
    /// The block's results.
    pub results: Vec<ValueId>,
}

/// An axis counted from the end where negative.
pub(crate) fn normal_axis(axis: i64, rank: usize) -> Lowered<usize> {
    let signed = i64::try_from(rank).map_err(|_| Refusal::because("too many axes"))?;
    let at = if axis < 0 { axis + signed } else { axis };
    match usize::try_from(at) {
        Ok(at) if at < rank => Ok(at),
        _ => unsupported!("axis {axis} lies outside rank {rank}"),
    }
}

/// Axes counted from the end where negative; sorted, none twice.
pub(crate) fn normal_axes(axes: &[i64], rank: usize) -> Lowered<Vec<usize>> {
    let mut normal = axes.iter().map(|a| normal_axis(*a, rank)).collect::<Lowered<Vec<_>>>()?;
    normal.sort_unstable();
    if normal.windows(2).any(|w| w[0] == w[1]) {
        unsupported!("axes {axes:?} repeat");
    }
    Ok(normal)
}
