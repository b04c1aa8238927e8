//! What lowering hands to code generation: the plan without code, its kernels and constants.
//!
//! The plan's own types live in nnc-tensor, where compiler and runtime share them.

use crate::Tensor;
use crate::tile::Kernel;
use nnc_tensor::DType;
use nnc_tensor::plan::Plan;

/// One axis of a packed operand.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PanelAxis {
    /// Elements.
    pub len: i64,
    /// Distance in the unpacked constant, in elements.
    pub stride: i64,
}

/// An 8-bit right operand in panels of 16 columns: element (tap, k, j) of panel p, less `shift`, stands at
/// `((tap·⌈K/4⌉ + ⌊k/4⌋)·16 + j)·4 + k mod 4`, where K counts the elements of one tap; what is missing is zero.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct BytePanels {
    /// First element.
    pub offset: i64,
    /// One set of panels for each point of these axes, outermost first.
    pub batch: Vec<PanelAxis>,
    /// Taps, outermost first.
    pub taps: Vec<PanelAxis>,
    /// Rows of a tap, outermost first.
    pub k: Vec<PanelAxis>,
    /// Columns.
    pub n: PanelAxis,
    /// Taken from every element so that it fits eight bits with a sign.
    pub shift: i64,
}

fn points(axes: &[PanelAxis]) -> i64 {
    axes.iter().map(|a| a.len).product()
}

impl BytePanels {
    /// Bytes of one panel.
    pub fn panel(&self) -> i64 {
        points(&self.taps) * ((points(&self.k) + 3) / 4 * 4) * 16
    }

    /// Bytes of the panels of one point of the batch.
    pub fn set(&self) -> i64 {
        self.panel() * ((self.n.len + 15) / 16)
    }
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
        /// Type of the elements: f32, or a narrower float that holds all of them exactly.
        dtype: DType,
    },
    /// Depthwise weights `[channels, 1, taps…]` as `[taps][channels]`.
    Taps {
        /// Taps.
        taps: i64,
        /// Channels.
        channels: i64,
    },
    /// Four-bit numbers (those with a sign eight higher) in panels of 16 columns: a row of a panel is eight
    /// bytes, byte i holds column i in its low half and column i + 8 in its high half.
    Nibbles {
        /// Rows.
        k: PanelAxis,
        /// Columns.
        n: PanelAxis,
    },
    /// 8-bit panels.
    Bytes(BytePanels),
    /// Sums of the columns of 8-bit panels, as i32: those of one point of the batch after the other.
    Sums(BytePanels),
}

impl Packing {
    /// Elements of the packed form, where it differs from the plain one.
    pub fn elems(&self) -> Option<i64> {
        match self {
            Packing::Plain => None,
            Packing::Panels { batch, k, n, .. } => Some(points(batch) * points(k) * ((n.len + 15) / 16 * 16)),
            Packing::Taps { taps, channels } => Some(taps * channels),
            Packing::Nibbles { k, n } => Some((n.len + 15) / 16 * k.len * 8),
            Packing::Bytes(p) => Some(points(&p.batch) * p.set()),
            Packing::Sums(p) => Some(points(&p.batch) * p.n.len),
        }
    }

    /// The type of the packed elements of a constant of some type.
    pub fn dtype(&self, of: DType) -> DType {
        match self {
            Packing::Plain => of,
            Packing::Panels { dtype, .. } => *dtype,
            Packing::Taps { .. } => DType::F32,
            Packing::Nibbles { .. } => DType::U8,
            Packing::Bytes(_) => DType::I8,
            Packing::Sums(_) => DType::I32,
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

impl Weight {
    /// Bytes of the stored form, where it is no list of strings.
    pub fn byte_len(&self) -> u64 {
        match self.packing.elems() {
            None => self.tensor.bytes().len() as u64,
            Some(n) => u64::try_from(n).unwrap_or(0) * self.packing.dtype(self.tensor.dtype()).size() as u64,
        }
    }
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
