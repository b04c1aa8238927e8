//! What lowering hands to code generation: the plan without code, its kernels and constants.
//!
//! The plan's own types live in nnc-tensor, where compiler and runtime share them.

use crate::Tensor;
use crate::tile::Kernel;
use nnc_tensor::plan::Plan;

/// One axis of a packed operand.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PanelAxis {
    /// Elements.
    pub len: i64,
    /// Distance in the unpacked constant, in elements.
    pub stride: i64,
}

/// How a constant lies in memory.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Packing {
    /// As it is.
    Plain,
    /// Panels of 16 columns, one set for each point of the batch axes: element (k, j) of panel p is
    /// column `16·p + j`; missing columns are zero.
    Panels {
        /// First element.
        offset: i64,
        /// Outermost first.
        batch: Vec<PanelAxis>,
        /// Rows: outermost first.
        k: Vec<PanelAxis>,
        /// Columns.
        n: PanelAxis,
    },
    /// Depthwise weights `[channels, 1, taps…]` as `[taps][channels]`.
    Taps {
        /// Taps.
        taps: i64,
        /// Channels.
        channels: i64,
    },
}

impl Packing {
    /// Elements of the packed form, where it differs from the plain one.
    pub fn elems(&self) -> Option<i64> {
        match self {
            Packing::Plain => None,
            Packing::Panels { batch, k, n, .. } => {
                let product = |axes: &[PanelAxis]| axes.iter().map(|a| a.len).product::<i64>();
                Some(product(batch) * product(k) * ((n.len + 15) / 16 * 16))
            }
            Packing::Taps { taps, channels } => Some(taps * channels),
        }
    }
}

/// Bytes of the weights section, in order.
#[derive(Clone, Debug)]
pub struct Weight {
    /// The elements.
    pub tensor: Tensor,
    /// The form in which they are stored.
    pub packing: Packing,
}

/// A lowered model.
#[derive(Clone, Debug)]
pub struct Program {
    /// The plan. Constant buffers name their weight by `offset`; kernels and launches have no code or
    /// size arguments yet.
    pub plan: Plan,
    /// Kernels, as [`nnc_tensor::plan::KernelId`] counts them.
    pub kernels: Vec<Kernel>,
    /// Constants.
    pub weights: Vec<Weight>,
}
