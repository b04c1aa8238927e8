//! A transposed convolution as a convolution, phase by phase.
//!
//! Of the results of a transposed convolution with stride s, those at positions of one remainder
//! modulo s form a plain convolution with every s-th tap of the kernel. All phases are computed as
//! channels of one convolution and then interleaved (Shi et al. 2016, "Is the deconvolution layer the
//! same as a convolutional layer?", arXiv 1609.07009).

use crate::pass::{NodeView, Pass, Report, Target};
use nnc_ir::{Attr, Dim, Graph, OpError, Outcome, Rewriter, Tensor, ValueId, attrs};
use nnc_tensor::movers;

/// The pass.
pub(crate) const PASS: Pass = Pass {
    name: "split-phases",
    doc: "Transposed convolutions with constant weights become convolutions with a channel for every phase of the \
          stride, interleaved afterwards.",
    required: false,
    run,
};

fn run(graph: &Graph, _: &Target, report: &mut Report) -> Result<Graph, OpError> {
    report.apply(PASS.name, graph, split)
}

/// Taps of the phases together, zeros included, for each tap of the kernel, that are still worth it.
const WASTE: usize = 4;

/// Sizes of one transposed convolution; lists have an entry for each spatial axis.
struct Phases {
    groups: usize,
    /// Input and output channels of a group.
    channels: (usize, usize),
    kernel: Vec<usize>,
    strides: Vec<usize>,
    /// Taps of a phase.
    taps: Vec<usize>,
    last: bool,
}

impl Phases {
    fn of(node: &NodeView, weights: &Tensor) -> Phases {
        let groups = node.attrs.index("groups");
        let shape = weights.shape();
        let strides = node.attrs.indices("strides");
        let kernel = shape[2..].to_vec();
        Phases {
            groups,
            channels: (shape[0] / groups, shape[1]),
            taps: kernel.iter().zip(&strides).map(|(k, s)| k.div_ceil(*s)).collect(),
            kernel,
            strides,
            last: node.attrs.flag("channels_last"),
        }
    }

    fn n(&self) -> usize {
        self.kernel.len()
    }

    fn why_not(&self, dilations: &[usize]) -> Option<&'static str> {
        let n_phases: usize = self.strides.iter().product();
        let product = |sizes: &[usize]| sizes.iter().product::<usize>();
        if self.strides.iter().zip(dilations).any(|(s, d)| *s > 1 && *d > 1) {
            Some("an axis has both a stride and a dilation")
        } else if n_phases > 1 && self.groups > 1 && self.channels.0 == 1 {
            Some("each group has one channel only")
        } else if product(&self.taps) * n_phases > WASTE * product(&self.kernel) {
            Some("most phases have no tap")
        } else {
            None
        }
    }

    /// The weights `[C, O/groups, K…]` as `[groups · phases · O/groups, C/groups, taps…]`.
    fn weights(&self, w: &Tensor) -> Result<Tensor, OpError> {
        let (n, (c, o)) = (self.n(), self.channels);
        let high = (0..n).map(|i| self.taps[i] * self.strides[i] - self.kernel[i]);
        let high: Vec<i64> = [0, 0].into_iter().chain(high.map(|h| h as i64)).collect();
        let zero = Tensor::zeros(w.dtype(), &[])?;
        let padded = movers::pad_constant(w, &vec![0; n + 2], &high, &zero)?;
        let pairs = (0..n).flat_map(|i| [self.taps[i], self.strides[i]]);
        let split = padded.reshaped([self.groups, c, o].into_iter().chain(pairs).collect())?;
        let turned = movers::reverse(&split, &(0..n).map(|i| 3 + 2 * i).collect::<Vec<_>>())?;
        let phases = (0..n).map(|i| 4 + 2 * i);
        let taps = (0..n).map(|i| 3 + 2 * i);
        let order: Vec<usize> = [0].into_iter().chain(phases).chain([2, 1]).chain(taps).collect();
        let n_phases: usize = self.strides.iter().product();
        let shape = [self.groups * n_phases * o, c].into_iter().chain(self.taps.iter().copied()).collect();
        Ok(movers::transpose(&turned, &order)?.reshaped(shape)?)
    }

    /// The bias, once for each phase.
    fn bias(&self, rw: &mut Rewriter, bias: ValueId) -> Result<ValueId, OpError> {
        let o = Dim::len(self.channels.1);
        let (groups, phases) = (Dim::len(self.groups), Dim::len(self.strides.iter().product()));
        let split = rw.b.reshape(bias, &[groups.clone(), Dim::ONE, o.clone()])?;
        let each = rw.b.broadcast(split, &[groups.clone(), phases.clone(), o.clone()])?;
        rw.b.reshape(each, &[groups * phases * o])
    }

    /// Interleaves the phases of `[N, positions…, groups · phases · O/groups]` (or with channels second).
    fn interleaved(&self, rw: &mut Rewriter, y: ValueId) -> Result<ValueId, OpError> {
        let n = self.n();
        let shape = rw.b.graph.tensor_ty(y).shape.clone();
        let positions = &shape[if self.last { 1..n + 1 } else { 2..n + 2 }];
        let (groups, o) = (Dim::len(self.groups), Dim::len(self.channels.1));
        let strides: Vec<Dim> = self.strides.iter().map(|s| Dim::len(*s)).collect();
        let channels = [vec![groups.clone()], strides.clone(), vec![o.clone()]].concat();
        let whole = (0..n).map(|i| positions[i].clone() * strides[i].clone()).collect::<Vec<_>>();
        let (batch, all) = (vec![shape[0].clone()], vec![groups * o]);
        // Where positions, groups, phases and channels of a group stand after the first reshape.
        let (at, group) = if self.last { (1, n + 1) } else { (n + 3, 1) };
        let pairs = (0..n).flat_map(|i| [at + i, group + 1 + i]);
        let own = [group, group + n + 1];
        let (split, order, joined): (Vec<Dim>, Vec<usize>, Vec<Dim>) = if self.last {
            let order = [0].into_iter().chain(pairs).chain(own).collect();
            ([batch.clone(), positions.to_vec(), channels].concat(), order, [batch, whole, all].concat())
        } else {
            let order = [0].into_iter().chain(own).chain(pairs).collect();
            ([batch.clone(), channels, positions.to_vec()].concat(), order, [batch, all, whole].concat())
        };
        let y = rw.b.reshape(y, &split)?;
        let y = rw.b.transpose(y, &order)?;
        rw.b.reshape(y, &joined)
    }
}

fn split(rw: &mut Rewriter, node: &NodeView) -> Result<Outcome, OpError> {
    if !node.is("conv_transpose") {
        return Ok(Outcome::NoMatch);
    }
    let Some(w) = rw.b.graph.constant(node.inputs[1]).cloned() else {
        return Ok(Outcome::Blocked("the weights are not constant"));
    };
    let (p, dilations) = (Phases::of(node, &w), node.attrs.indices("dilations"));
    if let Some(why) = p.why_not(&dilations) {
        return Ok(Outcome::Blocked(why));
    }
    let x = rw.b.graph.tensor_ty(node.inputs[0]).shape.clone();
    let (low, output) = (node.attrs.dims("pads_low"), node.attrs.dims("output"));
    let (mut starts, mut sizes) = (vec![Dim::ZERO; x.len()], Vec::new());
    let (mut pads_low, mut pads_high) = (Vec::new(), Vec::new());
    for i in 0..p.n() {
        let axis = if p.last { 1 + i } else { 2 + i };
        let s = Dim::len(p.strides[i]);
        // Positions of the first and behind the last result, in steps of the stride.
        let first = low[i].floor_div(&s);
        let behind = (low[i].clone() + output[i].clone()).ceil_div(&s);
        let reach = Dim::len((p.taps[i] - 1) * dilations[i]);
        pads_low.push(reach.clone() - first.clone());
        pads_high.push(behind - x[axis].clone());
        starts[axis] = low[i].clone() - first * s;
    }
    if !pads_low.iter().chain(&pads_high).all(|d| d.as_const().is_some_and(|d| d >= 0)) {
        return Ok(Outcome::Blocked("more is cropped than the kernel reaches"));
    }
    sizes.extend(node.types[0].as_tensor().expect("a convolution gives a tensor").shape.iter().cloned());
    let attrs = attrs! {
        channels_last: Attr::Int(p.last.into()),
        dilations: Attr::Ints(dilations.iter().map(|d| *d as i64).collect()),
        groups: Attr::Int(p.groups as i64),
        pads_high: Attr::Dims(pads_high),
        pads_low: Attr::Dims(pads_low),
        strides: Attr::Ints(vec![1; p.n()]),
    };
    let weights = rw.b.constant(p.weights(&w)?);
    let bias = p.bias(rw, node.inputs[2])?;
    let y = rw.b.one("conv", attrs, &[node.inputs[0], weights, bias])?;
    let y = p.interleaved(rw, y)?;
    let steps = vec![1; sizes.len()];
    Ok(Outcome::Applied(vec![rw.b.slice(y, starts, sizes, steps)?]))
}
