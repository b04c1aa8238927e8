//! Windows over spatial axes, shared by convolution and pooling: where each kernel tap of each output
//! position falls in the input.

use super::{EvalCx, InferCx, OpError};
use crate::{Dim, refuse};

/// A position outside of the input.
pub(super) const OUTSIDE: usize = usize::MAX;

/// Sizes and steps of a window operator, evaluated.
pub(super) struct Window {
    pub(super) input: Vec<usize>,
    pub(super) output: Vec<usize>,
    pub(super) kernel: Vec<usize>,
    pub(super) strides: Vec<i64>,
    pub(super) dilations: Vec<i64>,
    pub(super) pads_low: Vec<i64>,
}

impl Window {
    /// Output positions.
    pub(super) fn n_outputs(&self) -> usize {
        self.output.iter().product()
    }

    /// Kernel taps.
    pub(super) fn n_taps(&self) -> usize {
        self.kernel.iter().product()
    }

    /// Input positions.
    pub(super) fn n_inputs(&self) -> usize {
        self.input.iter().product()
    }

    /// For one kernel tap and the output positions `from..to`, `f(tap's coordinate)` along each axis
    /// folded to the flat input position, or [`OUTSIDE`].
    pub(super) fn positions(&self, tap: usize, from: usize, to: usize) -> Vec<usize> {
        let taps = unflatten(tap, &self.kernel);
        let mut index = unflatten(from, &self.output);
        let mut found = Vec::with_capacity(to - from);
        for _ in from..to {
            let at = (0..index.len()).try_fold(0usize, |p, a| {
                let i = self.coordinate(a, index[a], taps[a]);
                let i = usize::try_from(i).ok().filter(|i| *i < self.input[a])?;
                Some(p * self.input[a] + i)
            });
            found.push(at.unwrap_or(OUTSIDE));
            advance(&mut index, &self.output);
        }
        found
    }

    /// Where tap `k` of output position `o` lies along one axis; may be outside.
    pub(super) fn coordinate(&self, axis: usize, o: usize, k: usize) -> i64 {
        let (o, k) = (o as i64, k as i64);
        let reach = k.saturating_mul(self.dilations[axis]);
        o.saturating_mul(self.strides[axis]).saturating_sub(self.pads_low[axis]).saturating_add(reach)
    }
}

/// The coordinates of a flat position.
pub(super) fn unflatten(mut flat: usize, shape: &[usize]) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for a in (0..shape.len()).rev() {
        index[a] = flat.checked_rem(shape[a]).unwrap_or(0);
        flat = flat.checked_div(shape[a]).unwrap_or(0);
    }
    index
}

/// The next position in row-major order; after the last comes the first.
pub(super) fn advance(index: &mut [usize], shape: &[usize]) {
    for a in (0..index.len()).rev() {
        index[a] += 1;
        if index[a] < shape[a] {
            return;
        }
        index[a] = 0;
    }
}

/// Where the axes of an image tensor stand.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    pub(super) rank: usize,
    pub(super) channels_last: bool,
}

impl Layout {
    pub(super) fn of(cx: &InferCx, rank: usize) -> Result<Layout, OpError> {
        if rank < 3 {
            refuse!("an operand with batch, channel and spatial axes has at least rank 3, found {rank}");
        }
        Ok(Layout { rank, channels_last: cx.flag("channels_last")? })
    }

    /// Layout of a checked node.
    pub(super) fn checked(cx: &EvalCx, rank: usize) -> Layout {
        Layout { rank, channels_last: cx.attrs.flag("channels_last") }
    }

    /// Number of spatial axes.
    pub(super) fn n_spatial(self) -> usize {
        self.rank - 2
    }

    /// The axis of channels.
    pub(super) fn channel(self) -> usize {
        if self.channels_last { self.rank - 1 } else { 1 }
    }

    /// The first spatial axis.
    pub(super) fn spatial(self) -> usize {
        if self.channels_last { 1 } else { 2 }
    }

    /// Spatial sizes of a shape.
    pub(super) fn spatial_of<T>(self, shape: &[T]) -> &[T] {
        &shape[self.spatial()..][..self.n_spatial()]
    }

    /// A shape from its parts.
    pub(super) fn shape<T: Clone>(self, batch: T, channels: T, spatial: &[T]) -> Vec<T> {
        let mut shape = vec![batch];
        if !self.channels_last {
            shape.push(channels.clone());
        }
        shape.extend_from_slice(spatial);
        if self.channels_last {
            shape.push(channels);
        }
        shape
    }

    /// The permutation from this layout to channels first.
    pub(super) fn perm_to_channels_first(self) -> Vec<usize> {
        let mut perm = vec![0, self.channel()];
        perm.extend(self.spatial()..self.spatial() + self.n_spatial());
        perm
    }

    /// The permutation from channels first to this layout.
    pub(super) fn perm_from_channels_first(self) -> Vec<usize> {
        let order: Vec<usize> = (0..self.rank).collect();
        self.shape(0, 1, &order[2..])
    }
}

/// Output sizes of a window: ⌊(size + low + high − dilation·(kernel − 1) − 1) / stride⌋ + 1.
pub(super) fn output_sizes(cx: &InferCx, input: &[Dim], kernel: &[Dim]) -> Result<Vec<Dim>, OpError> {
    let n = input.len();
    let (strides, dilations) = (cx.positive("strides", n)?, cx.positive("dilations", n)?);
    let (low, high) = (cx.dims("pads_low", n)?, cx.dims("pads_high", n)?);
    let size = |i: usize| {
        let reach = (kernel[i].clone() - Dim::ONE) * Dim::int(dilations[i]) + Dim::ONE;
        let last = input[i].clone() + low[i].clone() + high[i].clone() - reach;
        last.floor_div(&Dim::int(strides[i])) + Dim::ONE
    };
    let sizes: Vec<Dim> = (0..n).map(size).collect();
    if sizes.iter().any(|d| d.as_const().is_some_and(|v| v < 0)) {
        refuse!("the kernel {kernel:?} exceeds the padded input {input:?}");
    }
    Ok(sizes)
}
