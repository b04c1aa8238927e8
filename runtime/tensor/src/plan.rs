//! The plan: what an artifact stores and the runtime executes.
//!
//! Everything is an index into a flat table. Nested steps (branches, loop bodies) share the tables of
//! the plan, so a captured value is simply a buffer of an outer step. Sizes are expressions; those
//! over symbols that come from input shapes are evaluated once per binding, the others (*late* ones)
//! when the step that finds them has run.

use crate::{DType, Dim, Sym};
use serde::{Deserialize, Serialize};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
        pub struct $name(pub u32);
        impl $name {
            /// The index as a `usize`.
            pub fn index(self) -> usize { self.0 as usize }
        }
    )* };
}

ids! {
    /// Index into [`Plan::dims`].
    DimId,
    /// Index into [`Plan::buffers`].
    BufferId,
    /// Index into [`Plan::kernels`].
    KernelId,
}

/// A compiled model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The model's name.
    pub name: String,
    /// Every size that the other tables use.
    pub dims: Vec<Dim>,
    /// Every buffer.
    pub buffers: Vec<Buffer>,
    /// Inputs in the order of the model.
    pub inputs: Vec<Port>,
    /// Outputs in the order of the model.
    pub outputs: Vec<Port>,
    /// Machine code entry points.
    pub kernels: Vec<Kernel>,
    /// Microkernels that the code calls, in the order of the function table.
    pub contracts: Vec<Contract>,
    /// What to do, in order.
    pub steps: Vec<Step>,
    /// Sizes that have to agree before a run.
    pub checks: Vec<Check>,
    /// Names of nodes of the model, for messages and profiles.
    pub nodes: Vec<String>,
}

/// An input or output of the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Port {
    /// The model's name for it.
    pub name: String,
    /// Where it is kept.
    pub buffer: BufferId,
    /// What it is, in words, where it is no tensor: `seq(f32[n])`.
    pub container: Option<String>,
}

/// Memory for one value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Buffer {
    /// Element type.
    pub dtype: DType,
    /// Sizes, outermost first.
    pub shape: Vec<DimId>,
    /// Where it lives.
    pub place: Place,
}

/// Where a buffer lives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Place {
    /// Given by the caller: input number.
    Input(u32),
    /// A range of the weights section.
    Constant {
        /// Bytes from the start of the section.
        offset: u64,
        /// Bytes.
        len: u64,
    },
    /// In the arena from the first step that writes it to the last that reads it (top-level step numbers).
    Arena {
        /// First step.
        first: u32,
        /// Last step; `u32::MAX` for outputs.
        last: u32,
    },
    /// Allocated when its size is known, during the run.
    Late,
    /// A typed slot: strings, sequences, optionals, maps.
    Slot,
    /// The same bytes as another buffer, from an offset in elements.
    View {
        /// Whose bytes.
        of: BufferId,
        /// First element.
        offset: DimId,
    },
}

/// One compiled kernel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kernel {
    /// What it computes, for people: `conv+bias+relu`.
    pub name: String,
    /// Bytes from the start of the code section.
    pub offset: u64,
    /// Bytes of scratch a thread needs.
    pub scratch: DimId,
    /// Which of its buffers it writes, by position.
    pub writes: Vec<u32>,
}

/// A microkernel family that generated code calls.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Contract {
    /// Name, such as `f32_gemm`.
    pub name: String,
    /// Version of its arguments' meaning.
    pub version: u32,
}

/// Two sizes that must be equal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Found.
    pub found: DimId,
    /// Expected.
    pub expected: DimId,
    /// Size 1 will do too: the elements are then repeated.
    pub or_one: bool,
    /// Which node asks, as an index into [`Plan::nodes`].
    pub node: u32,
}

/// Where a late symbol's value comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Source {
    /// An integer element of a buffer.
    Element(BufferId, u32),
    /// A size that a buffer was found to have.
    Size(BufferId, u32),
}

/// A value of a routine's attribute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Attr {
    /// Integer or boolean.
    Int(i64),
    /// Number.
    Float(f64),
    /// Text.
    Str(String),
    /// Integers.
    Ints(Vec<i64>),
    /// Numbers.
    Floats(Vec<f64>),
    /// Texts (bytes as they came).
    Strs(Vec<Vec<u8>>),
}

/// One action of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Step {
    /// Machine code over the linear range `0..grid`.
    Launch {
        /// Which code.
        kernel: KernelId,
        /// Its buffers.
        buffers: Vec<BufferId>,
        /// Its size arguments.
        dims: Vec<DimId>,
        /// Number of grid points.
        grid: DimId,
        /// Estimated nanoseconds of one grid point on one core.
        cost_ns: DimId,
        /// Index into [`Plan::nodes`].
        node: u32,
    },
    /// A named routine of nnc-routines.
    Routine {
        /// Its name.
        name: String,
        /// Its attributes by name.
        attrs: Vec<(String, Attr)>,
        /// Arguments.
        inputs: Vec<BufferId>,
        /// Results; late or slots.
        outputs: Vec<BufferId>,
        /// Index into [`Plan::nodes`].
        node: u32,
    },
    /// Copies all elements; a late target takes the source's size.
    Copy {
        /// Source.
        from: BufferId,
        /// Target.
        to: BufferId,
    },
    /// Gives a late symbol its value.
    Bind {
        /// From where.
        source: Source,
        /// Which.
        sym: Sym,
    },
    /// One of two bodies. Results are written by copies at the end of each.
    If {
        /// One boolean.
        cond: BufferId,
        /// When true.
        then: Vec<Step>,
        /// When false.
        otherwise: Vec<Step>,
    },
    /// A counted or conditional loop.
    Loop(Box<Loop>),
}

/// A loop: `while counter < trip && cond { body; carries move from next to current }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Loop {
    /// Greatest number of turns, an i64 scalar.
    pub trip: Option<BufferId>,
    /// Condition before the first turn, a boolean.
    pub cond: Option<BufferId>,
    /// The number of the turn as the body sees it.
    pub counter: BufferId,
    /// Condition computed by the body.
    pub next_cond: Option<BufferId>,
    /// Values that go from turn to turn.
    pub carries: Vec<Carry>,
    /// Values collected along a new first axis, one a turn.
    pub scans: Vec<Scan>,
    /// Steps of one turn.
    pub body: Vec<Step>,
    /// Index into [`Plan::nodes`].
    pub node: u32,
}

/// A loop-carried value. All three may be late; after the loop `current` holds the result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Carry {
    /// Before the first turn.
    pub init: BufferId,
    /// What the body reads.
    pub current: BufferId,
    /// What the body writes.
    pub next: BufferId,
}

/// A collected output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scan {
    /// What one turn writes.
    pub element: BufferId,
    /// All turns, joined; late.
    pub output: BufferId,
}
