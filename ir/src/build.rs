//! The builder: appends typed nodes to a block.

use crate::{
    Attr, Attrs, Block, BlockId, DType, Dim, Graph, InferCx, Node, OpError, OpRow, ScalarOp, Sym, Tensor,
    Type, ValueId, attrs, ops,
};
use std::sync::Arc;

/// Appends nodes to one block of a graph; every node is inferred as it is made.
pub struct Builder<'g> {
    /// The graph.
    pub graph: &'g mut Graph,
    /// Where nodes go.
    pub block: BlockId,
    /// Name of the model's node that new nodes come from.
    pub origin: Arc<str>,
}

impl<'g> Builder<'g> {
    /// A builder at the end of the graph's body.
    pub fn new(graph: &'g mut Graph) -> Builder<'g> {
        let block = graph.body();
        Builder { graph, block, origin: Arc::from("") }
    }

    /// Appends a node of the named operator.
    pub fn add(&mut self, op: &str, attrs: Attrs, inputs: &[ValueId]) -> Result<Vec<ValueId>, OpError> {
        self.add_row(ops::row(op), attrs, inputs, Vec::new())
    }

    /// Appends a node with one output.
    pub fn one(&mut self, op: &str, attrs: Attrs, inputs: &[ValueId]) -> Result<ValueId, OpError> {
        Ok(self.add(op, attrs, inputs)?[0])
    }

    /// Appends a node by its row, with bodies.
    pub fn add_row(
        &mut self,
        op: &'static OpRow,
        attrs: Attrs,
        inputs: &[ValueId],
        blocks: Vec<BlockId>,
    ) -> Result<Vec<ValueId>, OpError> {
        op.check_attrs(&attrs)?;
        let mut cx = InferCx::new(self.graph, &attrs, inputs, &blocks);
        let types = (op.infer)(&mut cx)?;
        let mut contents = vec![None; types.len()];
        if let Some(ty) = types.first() {
            contents[0] = op.content_of(&cx, ty);
        }
        let node = Node {
            op,
            attrs,
            inputs: inputs.to_vec(),
            outputs: Vec::new(),
            blocks,
            origin: self.origin.clone(),
        };
        let id = self.graph.push_node(self.block, node, types, contents);
        Ok(self.graph.node(id).outputs.clone())
    }

    /// A constant.
    pub fn constant(&mut self, value: Tensor) -> ValueId {
        self.one("constant", attrs! { value: Attr::Tensor(value) }, &[])
            .expect("a constant has no operands to refuse")
    }

    /// A scalar constant of a data type.
    pub fn scalar(&mut self, dtype: DType, value: f64) -> Result<ValueId, OpError> {
        Ok(self.constant(Tensor::from_f64s(dtype, &[], &[value])?))
    }

    /// A constant filled with one number, as a broadcast scalar.
    pub fn splat(&mut self, dtype: DType, value: f64, shape: &[Dim]) -> Result<ValueId, OpError> {
        let s = self.scalar(dtype, value)?;
        self.broadcast(s, shape)
    }

    /// An i64 vector of sizes.
    pub fn dims(&mut self, values: Vec<Dim>) -> Result<ValueId, OpError> {
        self.one("dims", attrs! { values: Attr::Dims(values), scalar: Attr::Int(0) }, &[])
    }

    /// A unary scalar function.
    pub fn unary(&mut self, op: ScalarOp, x: ValueId) -> Result<ValueId, OpError> {
        self.one(op.name(), Attrs::new(), &[x])
    }

    /// A binary scalar function with numpy broadcasting.
    pub fn binary(&mut self, op: ScalarOp, a: ValueId, b: ValueId) -> Result<ValueId, OpError> {
        let (a, b) = self.broadcast_pair(a, b)?;
        self.one(op.name(), Attrs::new(), &[a, b])
    }

    /// A binary scalar function with a constant on the right.
    pub fn binary_const(&mut self, op: ScalarOp, a: ValueId, b: f64) -> Result<ValueId, OpError> {
        let c = self.scalar(self.graph.tensor_ty(a).dtype, b)?;
        self.binary(op, a, c)
    }

    /// `c ? a : b` with numpy broadcasting.
    pub fn select(&mut self, c: ValueId, a: ValueId, b: ValueId) -> Result<ValueId, OpError> {
        let shape = self.common_shape(&[c, a, b])?;
        let (c, a, b) = (self.broadcast(c, &shape)?, self.broadcast(a, &shape)?, self.broadcast(b, &shape)?);
        self.one("select", Attrs::new(), &[c, a, b])
    }

    /// A cast; nothing if the type is right already.
    pub fn cast(&mut self, x: ValueId, to: DType) -> Result<ValueId, OpError> {
        if self.graph.tensor_ty(x).dtype == to {
            return Ok(x);
        }
        self.one("cast", attrs! { to: Attr::DType(to), saturate: Attr::Int(1) }, &[x])
    }

    /// Another shape of as many elements; nothing if it is the same.
    pub fn reshape(&mut self, x: ValueId, shape: &[Dim]) -> Result<ValueId, OpError> {
        if self.graph.tensor_ty(x).shape == shape {
            return Ok(x);
        }
        self.one("reshape", attrs! { shape: Attr::Dims(shape.to_vec()) }, &[x])
    }

    /// Axes in another order; nothing if the order is the same.
    pub fn transpose(&mut self, x: ValueId, perm: &[usize]) -> Result<ValueId, OpError> {
        if perm.iter().enumerate().all(|(i, p)| i == *p) {
            return Ok(x);
        }
        let perm = perm.iter().map(|p| *p as i64).collect();
        self.one("transpose", attrs! { perm: Attr::Ints(perm) }, &[x])
    }

    /// Broadcast to a shape, right-aligned as numpy does; nothing if it is the same.
    pub fn broadcast(&mut self, x: ValueId, shape: &[Dim]) -> Result<ValueId, OpError> {
        if self.graph.tensor_ty(x).shape == shape {
            return Ok(x);
        }
        self.one("broadcast", attrs! { shape: Attr::Dims(shape.to_vec()) }, &[x])
    }

    /// Both operands in their common shape.
    pub fn broadcast_pair(&mut self, a: ValueId, b: ValueId) -> Result<(ValueId, ValueId), OpError> {
        let shape = self.common_shape(&[a, b])?;
        Ok((self.broadcast(a, &shape)?, self.broadcast(b, &shape)?))
    }

    /// The shape that numpy broadcasting gives.
    pub fn common_shape(&self, values: &[ValueId]) -> Result<Vec<Dim>, OpError> {
        let mut shape: Vec<Dim> = Vec::new();
        for v in values {
            shape = broadcast_shapes(&shape, &self.graph.tensor_ty(*v).shape)?;
        }
        Ok(shape)
    }

    /// A slice: from `starts`, `sizes` elements, every `steps`-th.
    pub fn slice(
        &mut self,
        x: ValueId,
        starts: Vec<Dim>,
        sizes: Vec<Dim>,
        steps: Vec<i64>,
    ) -> Result<ValueId, OpError> {
        let whole = steps.iter().all(|s| *s == 1) && self.graph.tensor_ty(x).shape == sizes;
        if whole && starts.iter().all(|d| d.is(0)) {
            return Ok(x);
        }
        let attrs = attrs! { starts: Attr::Dims(starts), sizes: Attr::Dims(sizes), steps: Attr::Ints(steps) };
        self.one("slice", attrs, &[x])
    }

    /// One axis cut to `start .. start + size`.
    pub fn slice_axis(&mut self, x: ValueId, axis: usize, start: Dim, size: Dim) -> Result<ValueId, OpError> {
        let mut sizes = self.graph.tensor_ty(x).shape.clone();
        let mut starts = vec![Dim::ZERO; sizes.len()];
        let steps = vec![1; sizes.len()];
        starts[axis] = start;
        sizes[axis] = size;
        self.slice(x, starts, sizes, steps)
    }

    /// Joined along an axis; nothing for a single operand.
    pub fn concat(&mut self, xs: &[ValueId], axis: usize) -> Result<ValueId, OpError> {
        match xs {
            [x] => Ok(*x),
            _ => self.one("concat", attrs! { axis: Attr::Int(axis as i64) }, xs),
        }
    }

    /// A reduction (`sum prod max min`) that drops its axes.
    pub fn reduce(&mut self, kind: &str, x: ValueId, axes: &[usize]) -> Result<ValueId, OpError> {
        let axes = axes.iter().map(|a| *a as i64).collect();
        self.one("reduce", attrs! { kind: Attr::Str(kind.into()), axes: Attr::Ints(axes) }, &[x])
    }

    /// A contraction of two operands, axes named by letters: `bmk,bkn->bmn`.
    pub fn contract(
        &mut self,
        lhs: &str,
        rhs: &str,
        out: &str,
        a: ValueId,
        b: ValueId,
    ) -> Result<ValueId, OpError> {
        let dtype = self.graph.tensor_ty(a).dtype;
        let attrs = attrs! {
            lhs: Attr::Str(lhs.into()), rhs: Attr::Str(rhs.into()), out: Attr::Str(out.into()), to: Attr::DType(dtype)
        };
        self.one("contract", attrs, &[a, b])
    }

    /// A loop over `carried` values; see the operator `loop`.
    ///
    /// `body` is given the builder of the body, the number of the turn, the condition and the carried
    /// values. Sizes that change from turn to turn become symbols of the body, which is then built again.
    pub fn looped(
        &mut self,
        trip: ValueId,
        cond: ValueId,
        carried: &[ValueId],
        body: &mut LoopBody,
    ) -> Result<Vec<ValueId>, OpError> {
        let mut types: Vec<Type> = carried.iter().map(|v| self.graph.ty(*v).clone()).collect();
        let mut own = Vec::new();
        loop {
            let block = self.graph.add_block();
            let turn = self.graph.add_param(block, Type::tensor(DType::I64, vec![]), None);
            let go_on = self.graph.add_param(block, Type::tensor(DType::Bool, vec![]), None);
            let params: Vec<ValueId> =
                types.iter().map(|ty| self.graph.add_param(block, ty.clone(), None)).collect();
            let mut inner = Builder { graph: self.graph, block, origin: self.origin.clone() };
            let turned = body(&mut inner, turn, go_on, &params)?;
            let mut wider = Vec::new();
            for (ty, after) in types.iter().zip(&turned.carried) {
                let after = self.graph.ty(*after).clone();
                wider.push(widen(self.graph, &mut own, ty, &after)?);
            }
            if wider != types && wider.len() == types.len() {
                types = wider;
                continue;
            }
            let scans = turned.scanned.len() as i64;
            self.graph.block_mut(block).results =
                [&[turned.cond][..], &turned.carried, &turned.scanned].concat();
            let inputs = [&[trip, cond][..], carried].concat();
            return self.add_row(ops::row("loop"), attrs! { scans: Attr::Int(scans) }, &inputs, vec![block]);
        }
    }

    /// A nested block built by `f`, which returns its results.
    pub fn nested(
        &mut self,
        f: impl FnOnce(&mut Builder) -> Result<Vec<ValueId>, OpError>,
    ) -> Result<BlockId, OpError> {
        let block = self.graph.add_block();
        let mut inner = Builder { graph: self.graph, block, origin: self.origin.clone() };
        let results = f(&mut inner)?;
        let Block { results: slot, .. } = self.graph.block_mut(block);
        *slot = results;
        Ok(block)
    }
}

/// What a turn of a loop computes.
pub struct Turn {
    /// Whether there is another turn.
    pub cond: ValueId,
    /// The carried values of the next turn.
    pub carried: Vec<ValueId>,
    /// Values to be joined along a new first axis.
    pub scanned: Vec<ValueId>,
}

/// Builds the body of a loop from the number of the turn, the condition and the carried values.
pub type LoopBody<'a> = dyn FnMut(&mut Builder, ValueId, ValueId, &[ValueId]) -> Result<Turn, OpError> + 'a;

/// Replaces the sizes of a parameter's type that a turn changes by symbols of the body's own.
fn widen(graph: &mut Graph, own: &mut Vec<Sym>, param: &Type, after: &Type) -> Result<Type, OpError> {
    let (Type::Tensor(before), Type::Tensor(now)) = (param, after) else {
        return ops::cover(param, after);
    };
    let mut ty = before.clone();
    for (p, q) in ty.shape.iter_mut().zip(&now.shape) {
        if p != q && !p.as_sym().is_some_and(|s| own.contains(s)) {
            own.push(graph.fresh_sym());
            *p = Dim::sym(own[own.len() - 1].clone());
        }
    }
    Ok(ty.into())
}

/// The shape of two operands broadcast against each other, right-aligned.
///
/// Where two sizes differ and neither is 1 for sure, the larger is taken: at run time one of them
/// has to be 1 or both are equal.
pub(crate) fn broadcast_shapes(a: &[Dim], b: &[Dim]) -> Result<Vec<Dim>, OpError> {
    let rank = a.len().max(b.len());
    let at = |s: &[Dim], i: usize| (i + s.len()).checked_sub(rank).map_or(Dim::ONE, |j| s[j].clone());
    (0..rank)
        .map(|i| {
            let (x, y) = (at(a, i), at(b, i));
            match (x.as_const(), y.as_const()) {
                _ if x == y => Ok(x),
                (Some(1), _) => Ok(y),
                (_, Some(1)) => Ok(x),
                (Some(_), Some(_)) => Err(OpError(format!(
                    "shapes {} and {} cannot be broadcast together",
                    crate::Type::tensor(DType::F32, a.to_vec()).to_string().trim_start_matches("f32"),
                    crate::Type::tensor(DType::F32, b.to_vec()).to_string().trim_start_matches("f32"),
                ))),
                // A size above 1 that is known wins: the other is it or 1.
                (Some(_), None) => Ok(x),
                (None, Some(_)) => Ok(y),
                (None, None) => Ok(x.max_with(&y)),
            }
        })
        .collect()
}
