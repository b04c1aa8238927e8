//! The checked plan: every index is in range, every buffer's memory is known, symbols are numbered.
//!
//! What runs is this, never the stored plan, so that nothing has to be checked again but sizes.

use super::device::Group;
use super::expr::{Exprs, Symbols};
use super::routine::Routine;
use nnc_tensor::plan::{Attr, BufferId, DimId};
use nnc_tensor::{DType, Tensor};
use std::sync::Arc;

/// Whose memory a buffer is part of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Home {
    /// An input that is bytes.
    Input(usize),
    /// The weights, from this byte.
    Constant(usize),
    /// The arena; the number of its request.
    Arena(usize),
    /// A block of its own, by number, whose size is found during the run.
    Late(usize),
    /// A value that is no bytes; by number.
    Slot(usize),
}

/// One buffer.
#[derive(Debug)]
pub(crate) struct BufferInfo {
    pub(crate) dtype: DType,
    pub(crate) shape: Box<[DimId]>,
    /// The memory; for a view, that of the buffer at the end of the chain.
    pub(crate) home: Home,
    /// For a view: the offsets along the chain, each with the bits of its unit.
    pub(crate) view: Box<[(DimId, usize)]>,
    /// Address or size are found during the run.
    pub(crate) late: bool,
}

impl BufferInfo {
    pub(crate) fn is_view(&self) -> bool {
        !self.view.is_empty()
    }
}

/// An input or output.
#[derive(Debug)]
pub(crate) struct PortInfo {
    pub(crate) name: String,
    pub(crate) buffer: BufferId,
    pub(crate) container: Option<String>,
}

/// A request for room in the arena.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ArenaUse {
    pub(crate) buffer: BufferId,
    pub(crate) first: u32,
    pub(crate) last: u32,
}

/// Code and scratch of a kernel.
#[derive(Debug)]
pub(crate) struct KernelInfo {
    pub(crate) name: String,
    pub(crate) offset: usize,
    pub(crate) scratch: DimId,
}

/// Two sizes that must agree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CheckInfo {
    pub(crate) found: DimId,
    pub(crate) expected: DimId,
    pub(crate) or_one: bool,
    pub(crate) node: u32,
}

/// The checked plan.
pub(crate) struct Program {
    pub(crate) symbols: Symbols,
    pub(crate) exprs: Exprs,
    /// Text of the sizes, for messages.
    pub(crate) dims: Vec<nnc_tensor::Dim>,
    /// The sizes that are numbers; the others are unknown.
    pub(crate) fixed_dims: Vec<i64>,
    /// The sizes that the inputs' shapes give.
    pub(crate) early_dims: Vec<u32>,
    /// For each symbol, the late sizes that mention it.
    pub(crate) dims_of_symbol: Vec<Vec<DimId>>,
    /// For each symbol, whether it is late.
    pub(crate) late_symbols: Vec<bool>,
    pub(crate) buffers: Vec<BufferInfo>,
    pub(crate) arena: Vec<ArenaUse>,
    pub(crate) n_late: usize,
    pub(crate) n_slots: usize,
    /// String constants, decoded.
    pub(crate) strings: Vec<(usize, Tensor)>,
    pub(crate) inputs: Vec<PortInfo>,
    pub(crate) outputs: Vec<PortInfo>,
    pub(crate) kernels: Vec<KernelInfo>,
    pub(crate) checks: Vec<CheckInfo>,
    /// For each symbol, the checks of late sizes that mention it.
    pub(crate) checks_of_symbol: Vec<Vec<CheckInfo>>,
    pub(crate) nodes: Vec<String>,
    pub(crate) steps: Vec<Action>,
}

impl Program {
    pub(crate) fn buffer(&self, id: BufferId) -> &BufferInfo {
        &self.buffers[id.index()]
    }

    /// Place and size of a buffer follow from the inputs' shapes.
    pub(crate) fn has_early_span(&self, id: BufferId) -> bool {
        let b = self.buffer(id);
        !b.late && !matches!(b.home, Home::Slot(_))
    }

    pub(crate) fn node(&self, node: u32) -> &str {
        self.nodes.get(node as usize).map_or("", String::as_str)
    }
}

/// One checked step.
pub(crate) enum Action {
    Launch(LaunchInfo),
    /// Launches on a device.
    Group(Group),
    Routine(RoutineInfo),
    Copy {
        from: BufferId,
        to: BufferId,
    },
    BindElement {
        from: BufferId,
        element: usize,
        symbol: u32,
    },
    BindSize {
        from: BufferId,
        axis: usize,
        symbol: u32,
    },
    If {
        cond: BufferId,
        then: Vec<Action>,
        otherwise: Vec<Action>,
    },
    Loop(Box<LoopInfo>),
}

impl Action {
    /// Steps of the plan that it stands for.
    pub(crate) fn n_steps(&self) -> usize {
        if let Action::Group(g) = self { g.n_steps() } else { 1 }
    }
}

pub(crate) struct LaunchInfo {
    pub(crate) kernel: usize,
    pub(crate) buffers: Box<[BufferId]>,
    pub(crate) late: Box<[BufferId]>,
    pub(crate) dims: Box<[DimId]>,
    pub(crate) grid: DimId,
    pub(crate) cost_ns: DimId,
    pub(crate) node: u32,
}

pub(crate) struct RoutineInfo {
    pub(crate) name: String,
    pub(crate) routine: Routine,
    pub(crate) attrs: Arc<[(String, Attr)]>,
    pub(crate) inputs: Box<[BufferId]>,
    pub(crate) outputs: Box<[BufferId]>,
    pub(crate) node: u32,
}

/// How a carried value gets from `next` to `current`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Move {
    /// They are the same buffer.
    Stay,
    /// Element by element.
    Copy,
    /// The two late blocks change places: nothing outside the body knows `next`.
    Swap,
}

pub(crate) struct CarryInfo {
    pub(crate) init: BufferId,
    pub(crate) current: BufferId,
    pub(crate) next: BufferId,
    pub(crate) by: Move,
}

pub(crate) struct LoopInfo {
    pub(crate) trip: Option<BufferId>,
    pub(crate) cond: Option<BufferId>,
    pub(crate) counter: BufferId,
    pub(crate) next_cond: Option<BufferId>,
    pub(crate) carries: Vec<CarryInfo>,
    /// A move would overwrite what a later move reads: all are read first.
    pub(crate) crossed: bool,
    /// Element and collected output.
    pub(crate) scans: Vec<(BufferId, BufferId)>,
    pub(crate) body: Vec<Action>,
    pub(crate) node: u32,
}
