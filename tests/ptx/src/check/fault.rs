//! What a run can be stopped for, and where.

use crate::types::Space;

/// What went wrong.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum FaultKind {
    #[error("{bytes} bytes at {address:#x} lie outside of {space} memory")]
    OutOfBounds { space: &'static str, address: u64, bytes: u64 },
    #[error("address {address:#x} in {space} memory is not aligned to {align} bytes")]
    Misaligned { space: &'static str, address: u64, align: u64 },
    #[error("register \"{name}\" is read before it is written")]
    UninitializedRegister { name: String },
    #[error("{space} memory at {address:#x} is read before it is written")]
    UninitializedMemory { space: &'static str, address: u64 },
    #[error("{access} of {space} memory at {address:#x} races with a {earlier} by thread {other}")]
    Race { space: &'static str, access: Access, earlier: Access, address: u64, other: u32 },
    #[error("{access} of global memory at {address:#x}, which block {other} touches in the same launch")]
    GlobalRace { access: Access, address: u64, other: u32 },
    #[error("{access} of global memory at {address:#x}, which is there to be read")]
    ReadOnly { access: Access, address: u64 },
    #[error("shared memory at {address:#x} is touched while an asynchronous operation on it is in flight")]
    InFlight { address: u64 },
    #[error("register \"{name}\" is touched while an asynchronous product of it is in flight")]
    RegisterInFlight { name: String },
    #[error(
        "register \"{name}\" was written, and no \"wgmma.fence\" followed before an asynchronous product"
    )]
    RegisterUnfenced { name: String },
    #[error("{what} is used by an asynchronous operation without a fence in between")]
    Unfenced { what: &'static str },
    #[error("the thread ends with {what} that it did not wait for")]
    Unfinished { what: &'static str },
    #[error("{what} waits for lanes {missing:#010x}, which never come")]
    Divergence { what: &'static str, missing: u32 },
    #[error("no thread can go on: {waiting}")]
    Deadlock { waiting: String },
    #[error("barrier misuse: {why}")]
    Barrier { why: String },
    #[error("{what} reads lane {lane}, which does not take part")]
    InactiveLane { what: &'static str, lane: u32 },
    #[error("the thread is not in the member mask {mask:#010x} of its own instruction")]
    NotMember { mask: u32 },
    #[error("lanes give different values where one is required: {what}")]
    NotUniform { what: &'static str },
    #[error("integer division by zero")]
    DivisionByZero,
    #[error("an instruction was given what it does not take: {why}")]
    Operand { why: String },
    #[error("a trap instruction was reached")]
    Trap,
    #[error("the limit of {limit} instructions is reached")]
    Limit { limit: u64 },
    #[error("the launch is wrong: {why}")]
    Launch { why: String },
}

/// How memory was touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A load.
    Read,
    /// A store.
    Write,
    /// An atomic operation.
    Atomic,
}

impl std::fmt::Display for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Access::Read => "read",
            Access::Write => "write",
            Access::Atomic => "atomic operation",
        })
    }
}

/// Why a launch stopped, and where.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("kernel \"{kernel}\", line {line}, block {block:?}, thread {thread:?}: {kind}")]
pub struct Fault {
    /// The kernel's name.
    pub kernel: String,
    /// The line in the module's text.
    pub line: u32,
    /// The block's index in the grid.
    pub block: [u32; 3],
    /// The thread's index in its block.
    pub thread: [u32; 3],
    /// What went wrong.
    pub kind: FaultKind,
}

/// A fault before its place is known: the lane of the warp that is running, and the reason.
#[derive(Debug)]
pub(crate) struct Trap {
    pub(crate) lane: u32,
    pub(crate) kind: Box<FaultKind>,
}

impl Trap {
    pub(crate) fn new(lane: u32, kind: FaultKind) -> Trap {
        Trap { lane, kind: Box::new(kind) }
    }
}

/// The lowest lane of a mask.
pub(crate) fn first_lane(mask: u32) -> u32 {
    mask.trailing_zeros().min(31)
}

/// A state space in messages.
pub(crate) fn space_name(space: Space) -> &'static str {
    match space {
        Space::Generic => "generic",
        Space::Global => "global",
        Space::Shared => "shared",
        Space::Local => "local",
        Space::Const => "constant",
        Space::Param => "parameter",
    }
}
