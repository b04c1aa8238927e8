//! A graph under construction: values with what is known of them, leaves, choices of operands.

use super::Counts;
use super::bound::Bound;
use super::rng::Rng;
use nnc_ir::{
    Attr, Attrs, BlockId, Builder, DType, Dim, Graph, OpError, ScalarOp, Sym, Tensor, Type, Value, ValueId,
    attrs,
};
use std::collections::BTreeMap;

/// A value that operators may take.
#[derive(Clone, Debug)]
pub(super) struct Val {
    pub(super) id: ValueId,
    pub(super) dtype: DType,
    pub(super) shape: Vec<Dim>,
    /// The shape at run time.
    pub(super) size: Vec<usize>,
    pub(super) bound: Bound,
}

impl Val {
    pub(super) fn rank(&self) -> usize {
        self.shape.len()
    }

    pub(super) fn len(&self) -> usize {
        self.size.iter().product()
    }
}

/// Floats and how often they are chosen.
const FLOATS: &[DType] = &[
    DType::F32,
    DType::F32,
    DType::F32,
    DType::F32,
    DType::F32,
    DType::F32,
    DType::F32,
    DType::F16,
    DType::BF16,
    DType::F64,
];
pub(super) const INTS: &[DType] = &[
    DType::I32,
    DType::I64,
    DType::I8,
    DType::I16,
    DType::U8,
    DType::U16,
    DType::U32,
    DType::U64,
    DType::I64,
    DType::I32,
];

/// The generator of one graph.
pub(super) struct Gen<'g> {
    pub(super) b: Builder<'g>,
    pub(super) rng: Rng,
    /// Values to choose operands from.
    pub(super) pool: Vec<Val>,
    /// Values that are too large or too far off for operands.
    pub(super) wild: Vec<Val>,
    /// Values of inputs.
    pub(super) inputs: Vec<Value>,
    pub(super) syms: BTreeMap<Sym, i64>,
    /// Sizes that shapes are made of.
    pub(super) dims: Vec<Dim>,
    pub(super) counts: &'g mut Counts,
    /// Depth of bodies.
    pub(super) depth: usize,
}

impl<'g> Gen<'g> {
    pub(super) fn new(graph: &'g mut Graph, seed: u64, counts: &'g mut Counts) -> Result<Gen<'g>, OpError> {
        let mut rng = Rng::new(seed);
        rng.next();
        let mut g = Gen {
            b: Builder::new(graph),
            rng,
            pool: Vec::new(),
            wild: Vec::new(),
            inputs: Vec::new(),
            syms: BTreeMap::new(),
            dims: Vec::new(),
            counts,
            depth: 0,
        };
        for _ in 0..4 {
            let n = g.length();
            g.dims.push(Dim::int(n));
        }
        if g.rng.chance(35) {
            for (name, at) in [("n", 0), ("s", 1)] {
                let d = Dim::named(name);
                let n = g.length();
                g.syms.insert(d.as_sym().expect("a name").clone(), n);
                g.dims[at] = d;
                if g.rng.chance(50) {
                    break;
                }
            }
            // Every symbol is the size of an input.
            let shape: Vec<Dim> = g.dims.iter().filter(|d| d.as_const().is_none()).cloned().collect();
            let v = g.input(DType::F32, &shape)?;
            g.pool.push(v);
        }
        Ok(g)
    }

    fn length(&mut self) -> i64 {
        if self.rng.chance(12) { self.rng.range(17, 40) } else { self.rng.range(1, 9) }
    }

    pub(super) fn float(&mut self) -> DType {
        self.rng.pick(FLOATS)
    }

    pub(super) fn int(&mut self) -> DType {
        self.rng.pick(INTS)
    }

    /// Any type of numbers, sometimes bool.
    pub(super) fn dtype(&mut self) -> DType {
        match self.rng.below(10) {
            0..6 => self.float(),
            6..9 => self.int(),
            _ => DType::Bool,
        }
    }

    pub(super) fn count(&mut self, pattern: &'static str) {
        *self.counts.patterns.entry(pattern).or_default() += 1;
    }

    /// The value of a size.
    pub(super) fn eval(&self, d: &Dim) -> usize {
        let v = d.eval(&|s| self.syms.get(s).copied()).expect("sizes of known values are known");
        usize::try_from(v).expect("sizes are not negative")
    }

    /// A random shape of this rank.
    pub(super) fn shape(&mut self, rank: usize) -> Vec<Dim> {
        let mut shape: Vec<Dim> = (0..rank).map(|_| self.rng.pick(&self.dims.clone())).collect();
        while shape.iter().map(|d| self.eval(d)).product::<usize>() > 6000 {
            let at = self.rng.below(rank);
            shape[at] = Dim::int(self.rng.range(1, 3));
        }
        shape
    }

    /// Random elements.
    pub(super) fn data(&mut self, dtype: DType, size: &[usize]) -> (Tensor, Bound) {
        let n: usize = size.iter().product();
        if dtype.is_float() {
            // Few bits, so that every float type holds them.
            let x: Vec<f64> = (0..n).map(|_| self.rng.range(-32, 32) as f64 / 16.0).collect();
            return (Tensor::from_f64s(dtype, size, &x).expect("sizes agree"), Bound::exact(2.0));
        }
        let (low, high) = dtype.int_range().expect("an integer type");
        let wide = dtype != DType::Bool && self.rng.chance(15);
        let (from, to) = if wide { (low, high) } else { (low.max(-5), high.min(6)) };
        let span = (to - from + 1) as u128;
        let x: Vec<i128> = (0..n).map(|_| from + (u128::from(self.rng.next()) % span) as i128).collect();
        let t = Tensor::from_ints(dtype, size, &x).expect("sizes agree");
        (t, if wide { Bound::of_type(dtype) } else { Bound::exact(6.0) })
    }

    fn sizes(&self, shape: &[Dim]) -> Vec<usize> {
        shape.iter().map(|d| self.eval(d)).collect()
    }

    /// An input of the graph with these elements.
    pub(super) fn input_of(&mut self, shape: &[Dim], t: Tensor, bound: Bound) -> Val {
        let (dtype, size) = (t.dtype(), t.shape().to_vec());
        let body = self.b.graph.body();
        let name = format!("x{}", self.inputs.len());
        let id = self.b.graph.add_param(body, Type::tensor(dtype, shape.to_vec()), Some(name));
        self.inputs.push(t.into());
        Val { id, dtype, shape: shape.to_vec(), size, bound }
    }

    pub(super) fn input(&mut self, dtype: DType, shape: &[Dim]) -> Result<Val, OpError> {
        let (t, bound) = self.data(dtype, &self.sizes(shape));
        Ok(self.input_of(shape, t, bound))
    }

    /// A constant with these elements.
    pub(super) fn constant_of(&mut self, t: Tensor, bound: Bound) -> Val {
        let (dtype, size) = (t.dtype(), t.shape().to_vec());
        let id = self.b.constant(t);
        Val { id, dtype, shape: size.iter().map(|n| Dim::len(*n)).collect(), size, bound }
    }

    pub(super) fn constant(&mut self, dtype: DType, size: &[usize]) -> Val {
        let (t, bound) = self.data(dtype, size);
        self.constant_of(t, bound)
    }

    /// An input or a constant, the latter if all sizes are known and in `percent` of cases.
    pub(super) fn leaf_or_constant(
        &mut self,
        dtype: DType,
        shape: &[Dim],
        percent: usize,
    ) -> Result<Val, OpError> {
        let fixed = shape.iter().all(|d| d.as_const().is_some());
        if fixed && self.rng.chance(percent) {
            let size = self.sizes(shape);
            return Ok(self.constant(dtype, &size));
        }
        self.input(dtype, shape)
    }

    pub(super) fn leaf(&mut self, dtype: DType, shape: &[Dim]) -> Result<Val, OpError> {
        self.leaf_or_constant(dtype, shape, 35)
    }

    /// One number, as a constant or input.
    pub(super) fn scalar(&mut self, dtype: DType, value: f64) -> Result<Val, OpError> {
        let t = Tensor::from_f64s(dtype, &[], &[value])?;
        Ok(self.constant_of(t, Bound::exact(value.abs())))
    }

    /// An operand of this type, from the values made before or new.
    pub(super) fn operand(
        &mut self,
        dtype: DType,
        ranks: std::ops::RangeInclusive<usize>,
    ) -> Result<Val, OpError> {
        self.operand_if(dtype, ranks, |_| true)
    }

    /// An operand known to the last bit.
    pub(super) fn exact(
        &mut self,
        dtype: DType,
        ranks: std::ops::RangeInclusive<usize>,
    ) -> Result<Val, OpError> {
        self.operand_if(dtype, ranks, |v| v.bound.is_exact())
    }

    pub(super) fn operand_if(
        &mut self,
        dtype: DType,
        ranks: std::ops::RangeInclusive<usize>,
        fits: impl Fn(&Val) -> bool,
    ) -> Result<Val, OpError> {
        let good = |v: &&Val| v.dtype == dtype && ranks.contains(&v.rank()) && fits(v);
        let found: Vec<Val> = self.pool.iter().filter(good).cloned().collect();
        if !found.is_empty() && self.rng.chance(80) {
            // The latest is the likeliest, so that chains grow.
            let last = found.len() - 1;
            return Ok(if self.rng.chance(50) { found[last].clone() } else { self.rng.pick(&found) });
        }
        let rank = self.rng.range(*ranks.start() as i64, *ranks.end() as i64) as usize;
        let shape = self.shape(rank);
        self.leaf(dtype, &shape)
    }

    /// A second operand of the same type, broadcast if need be.
    pub(super) fn partner(&mut self, a: &Val, exact: bool) -> Result<Val, OpError> {
        let same = |v: &&Val| v.dtype == a.dtype && v.shape == a.shape && (!exact || v.bound.is_exact());
        let found: Vec<Val> = self.pool.iter().filter(same).cloned().collect();
        if !found.is_empty() && self.rng.chance(40) {
            return Ok(self.rng.pick(&found));
        }
        let keep = self.rng.chance(40);
        let mut shape = a.shape.clone();
        if !keep {
            for d in &mut shape {
                if self.rng.chance(50) {
                    *d = Dim::ONE;
                }
            }
            let drop = shape.iter().take_while(|d| d.is(1)).count();
            shape.drain(..if drop == 0 { 0 } else { self.rng.below(drop + 1) });
        }
        let leaf = self.leaf_or_constant(a.dtype, &shape, 50)?;
        self.broadcast(&leaf, &a.shape)
    }

    pub(super) fn broadcast(&mut self, v: &Val, shape: &[Dim]) -> Result<Val, OpError> {
        let id = self.b.broadcast(v.id, shape)?;
        Ok(self.val(id, v.bound))
    }

    /// What is known of a value just made.
    pub(super) fn val(&self, id: ValueId, bound: Bound) -> Val {
        let t = self.b.graph.tensor_ty(id).clone();
        let size = self.sizes(&t.shape);
        Val { id, dtype: t.dtype, shape: t.shape, size, bound }
    }

    /// A node with one result.
    pub(super) fn one(
        &mut self,
        op: &str,
        attrs: Attrs,
        inputs: &[&Val],
        bound: Bound,
    ) -> Result<Val, OpError> {
        let ids: Vec<ValueId> = inputs.iter().map(|v| v.id).collect();
        let id = self.b.one(op, attrs, &ids)?;
        Ok(self.val(id, bound))
    }

    /// Offers a value to later operators; what none of them takes becomes a result.
    pub(super) fn keep(&mut self, v: Val) {
        let good = v.bound.is_tame() || !v.dtype.is_float();
        if good { self.pool.push(v) } else { self.wild.push(v) }
    }

    /// The same with magnitudes of at most `limit`: clamped or scaled.
    pub(super) fn calm(&mut self, v: &Val, limit: f64) -> Result<Val, OpError> {
        if v.bound.mag <= limit {
            return Ok(v.clone());
        }
        if self.rng.chance(50) {
            let id = self.b.binary_const(ScalarOp::Max, v.id, -limit)?;
            let id = self.b.binary_const(ScalarOp::Min, id, limit)?;
            return Ok(self.val(id, Bound { mag: limit, ..v.bound }));
        }
        let by = 2f64.powf((limit / v.bound.mag).log2().floor());
        let id = self.b.binary_const(ScalarOp::Mul, v.id, by)?;
        Ok(self.val(id, v.bound.scaled(by).rounded(v.dtype, 1)))
    }

    /// `|v| + low`, with magnitudes of at most `limit`.
    pub(super) fn positive(&mut self, v: &Val, low: f64, limit: f64) -> Result<Val, OpError> {
        let v = self.calm(v, limit)?;
        let id = self.b.unary(ScalarOp::Abs, v.id)?;
        let id = self.b.binary_const(ScalarOp::Add, id, low)?;
        let bound = Bound { mag: v.bound.mag + low, ..v.bound }.rounded(v.dtype, 1);
        Ok(self.val(id, bound))
    }

    /// A scalar function with a number on the right.
    pub(super) fn with_number(
        &mut self,
        op: ScalarOp,
        v: &Val,
        x: f64,
        bound: Bound,
    ) -> Result<Val, OpError> {
        let id = self.b.binary_const(op, v.id, x)?;
        Ok(self.val(id, bound))
    }

    pub(super) fn cast(&mut self, v: &Val, to: DType, bound: Bound) -> Result<Val, OpError> {
        self.one("cast", attrs! { to: Attr::DType(to), saturate: Attr::Int(1) }, &[v], bound)
    }

    /// Builds a body. Values made inside are forgotten; those outside may be read.
    pub(super) fn inside<T>(
        &mut self,
        block: BlockId,
        f: impl FnOnce(&mut Gen<'g>) -> Result<T, OpError>,
    ) -> Result<T, OpError> {
        let outer = std::mem::replace(&mut self.b.block, block);
        let (pool, wild) = (self.pool.clone(), self.wild.clone());
        self.depth += 1;
        let result = f(self);
        self.depth -= 1;
        (self.pool, self.wild) = (pool, wild);
        self.b.block = outer;
        result
    }

    /// The results of the graph: what nothing reads, and a few others.
    pub(super) fn finish(mut self) -> (Vec<Value>, Vec<Bound>) {
        let uses = self.b.graph.use_counts();
        let mut results: Vec<Val> = self.wild.clone();
        for v in &self.pool {
            let unread = uses.get(v.id.index()).is_none_or(|n| *n == 0);
            if unread || self.rng.chance(10) {
                results.push(v.clone());
            }
        }
        let body = self.b.graph.body();
        self.b.graph.block_mut(body).results = results.iter().map(|v| v.id).collect();
        self.b.graph.output_names = (0..results.len()).map(|i| format!("y{i}")).collect();
        (self.inputs, results.iter().map(|v| v.bound).collect())
    }
}
