//! A kernel decoded: a flat list of instructions on numbered registers, with the code of the functions that
//! it calls in the same list. Made by `decode`, run by `exec`.

use crate::types::{Space, Type};

/// A value for each lane of a warp; what is narrower than 64 bits stands in the low ones, the rest is zero.
pub(crate) type Lanes = [u64; 32];

/// The number of a register, or of a constant when the bit `CONST` is set.
pub(crate) type Reg = u32;

/// Marks a constant among operands.
pub(crate) const CONST: u32 = 1 << 31;
/// No register: a sink or an absent operand.
pub(crate) const NONE: u32 = u32::MAX;

/// How a result is rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Round {
    Nearest,
    /// To nearest, ties away from zero.
    Away,
    Zero,
    Down,
    Up,
}

/// What qualifies an arithmetic instruction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mode {
    pub(crate) round: Round,
    pub(crate) ftz: bool,
    pub(crate) sat: bool,
    pub(crate) relu: bool,
    /// `.NaN` of minimum and maximum.
    pub(crate) nan: bool,
    /// The width of the operands' type.
    pub(crate) bits: u32,
    pub(crate) signed: bool,
    /// What else an instruction needs: the table of lop3, the mode of prmt, the width of a destination.
    pub(crate) extra: u32,
}

pub(crate) type Map1 = fn(&Mode, &mut Lanes, &Lanes);
pub(crate) type Map2 = fn(&Mode, &mut Lanes, &Lanes, &Lanes);
pub(crate) type Map3 = fn(&Mode, &mut Lanes, &Lanes, &Lanes, &Lanes);
pub(crate) type Map4 = fn(&Mode, &mut Lanes, &Lanes, &Lanes, &Lanes, &Lanes);
/// The mask of the lanes for which a relation holds.
pub(crate) type Compare = fn(&Mode, &Lanes, &Lanes) -> u32;

/// How far an approximation may be off.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    Relative(f64),
    Absolute(f64),
}

/// A predicate as an operand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Predicate {
    pub(crate) index: u32,
    pub(crate) negated: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Logic {
    And,
    Or,
    Xor,
}

/// A place in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address {
    pub(crate) space: Space,
    pub(crate) base: Reg,
    pub(crate) offset: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtomicOp {
    Add,
    Min,
    Max,
    Exchange,
    CompareSwap,
    And,
    Or,
    Xor,
    Increment,
    Decrement,
}

#[derive(Debug)]
pub(crate) struct Atomic {
    pub(crate) op: AtomicOp,
    pub(crate) ty: Type,
    pub(crate) d: Reg,
    pub(crate) address: Address,
    pub(crate) b: Reg,
    pub(crate) c: Reg,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShuffleMode {
    Up,
    Down,
    Butterfly,
    Index,
}

#[derive(Debug)]
pub(crate) struct Shuffle {
    pub(crate) mode: ShuffleMode,
    pub(crate) d: Reg,
    pub(crate) p: u32,
    pub(crate) a: Reg,
    pub(crate) b: Reg,
    pub(crate) c: Reg,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VoteMode {
    All,
    Any,
    Uniform,
    Ballot,
}

/// What lanes of a warp do together, all at once.
#[derive(Debug)]
pub(crate) enum Collective {
    Barrier,
    Shuffle(Shuffle),
    Vote { mode: VoteMode, d: Reg, p: u32, a: Predicate },
    MatchAny { d: Reg, a: Reg },
    MatchAll { d: Reg, p: u32, a: Reg },
    Reduce { op: AtomicOp, signed: bool, d: Reg, a: Reg },
    Elect { d: Reg, p: u32 },
    LoadMatrix { count: usize, transposed: bool, d: [Reg; 4], address: Address },
    StoreMatrix { count: usize, transposed: bool, s: [Reg; 4], address: Address },
    MultiplyAdd(Box<MatrixOp>),
}

/// The elements of a matrix fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    F16,
    Bf16,
    Tf32,
    F32,
    F64,
    S8,
    U8,
    S32,
}

/// `d = a · b + c` by a warp.
#[derive(Debug)]
pub(crate) struct MatrixOp {
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
    pub(crate) a: Element,
    pub(crate) b: Element,
    pub(crate) c: Element,
    pub(crate) saturate: bool,
    pub(crate) d_regs: Vec<Reg>,
    pub(crate) a_regs: Vec<Reg>,
    pub(crate) b_regs: Vec<Reg>,
    pub(crate) c_regs: Vec<Reg>,
}

/// An argument or a result on its way between a call and a function.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Slot {
    Register(Reg),
    Predicate(u32),
    /// Bytes of local memory.
    Local {
        at: u32,
        bytes: u32,
    },
}

#[derive(Debug)]
pub(crate) struct Call {
    /// Where the function's code begins.
    pub(crate) target: u32,
    /// From the caller to the function.
    pub(crate) inputs: Vec<(Slot, Slot)>,
    /// From the function to the caller.
    pub(crate) outputs: Vec<(Slot, Slot)>,
}

/// A barrier of the block.
#[derive(Debug)]
pub(crate) struct BlockBarrier {
    pub(crate) id: Reg,
    /// How many threads meet; all when `NONE`.
    pub(crate) count: Reg,
    pub(crate) waits: bool,
    /// All threads of a warp come together.
    pub(crate) aligned: bool,
    pub(crate) reduction: Option<BarrierReduction>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct BarrierReduction {
    /// Number of true predicates instead of a predicate.
    pub(crate) op: Option<Logic>,
    pub(crate) d: u32,
    pub(crate) a: Predicate,
}

/// An instruction on asynchronous copies of the kind of `cp.async`.
#[derive(Debug)]
pub(crate) enum CopyOp {
    /// `bytes` to shared memory, of which the first `source` come from global memory and the rest is zero;
    /// nothing comes from there where `ignore` holds.
    Begin {
        to: Address,
        from: Address,
        bytes: u32,
        source: Reg,
        ignore: Option<Predicate>,
    },
    Commit,
    /// Waits until at most so many groups are pending.
    Wait(u32),
    WaitAll,
}

/// An instruction on an mbarrier.
#[derive(Debug)]
pub(crate) enum MbarrierOp {
    Init {
        count: Reg,
    },
    Invalidate,
    /// Arrives `count` times, after more bytes are expected where `expect` is given.
    Arrive {
        count: Reg,
        expect: Option<Reg>,
        state: Reg,
    },
    Expect {
        bytes: Reg,
    },
    /// Whether a phase is over: the one of that parity, or the one that an arrival's state is of.
    Test {
        p: u32,
        phase: Reg,
        by_parity: bool,
    },
}

/// An instruction on asynchronous copies of whole blocks or boxes of tensors.
#[derive(Debug)]
pub(crate) enum BulkOp {
    /// From global to shared memory; an mbarrier is told of the bytes.
    Load {
        to: Address,
        from: BulkSource,
        barrier: Address,
    },
    /// From shared to global memory, as part of a group.
    Store {
        from: Address,
        to: BulkSource,
    },
    Commit,
    /// Until at most so many groups are pending.
    Wait(u32),
}

/// Where in global memory a bulk copy begins or ends.
#[derive(Debug)]
pub(crate) enum BulkSource {
    Bytes { address: Address, len: Reg },
    Box { map: Address, coordinates: Vec<Reg> },
}

/// An instruction of a warpgroup: `wgmma`.
#[derive(Debug)]
pub(crate) enum GroupOp {
    Fence,
    Commit,
    Wait(u32),
    Multiply(GroupProduct),
}

/// `d = a · b + d` by a warpgroup, or without `+ d`.
#[derive(Debug)]
pub(crate) struct GroupProduct {
    pub(crate) n: usize,
    pub(crate) k: usize,
    pub(crate) a: Element,
    pub(crate) b: Element,
    pub(crate) c: Element,
    pub(crate) left: GroupLeft,
    pub(crate) right: Reg,
    pub(crate) d_regs: Vec<Reg>,
    /// Whether `d` is added.
    pub(crate) adds: Predicate,
    /// Signs of a and b.
    pub(crate) signs: [f64; 2],
    /// Whether rows of a, and columns of b, are not what is contiguous.
    pub(crate) transposed: [bool; 2],
    pub(crate) saturate: bool,
}

/// Where the left operand is.
#[derive(Debug)]
pub(crate) enum GroupLeft {
    Registers(Vec<Reg>),
    Descriptor(Reg),
}

/// What an instruction does.
#[derive(Debug)]
pub(crate) enum Op {
    Map1 {
        f: Map1,
        mode: Mode,
        d: Reg,
        a: Reg,
    },
    Map2 {
        f: Map2,
        mode: Mode,
        d: Reg,
        a: Reg,
        b: Reg,
    },
    Map3 {
        f: Map3,
        mode: Mode,
        d: Reg,
        a: Reg,
        b: Reg,
        c: Reg,
    },
    Map4 {
        f: Map4,
        mode: Box<Mode>,
        d: Reg,
        operands: [Reg; 4],
    },
    /// Map2 whose second operand must not be zero.
    Divide {
        f: Map2,
        mode: Mode,
        d: Reg,
        a: Reg,
        b: Reg,
    },
    Approximate {
        f: Map1,
        mode: Mode,
        bound: Bound,
        d: Reg,
        a: Reg,
    },
    Compare {
        f: Compare,
        mode: Mode,
        p: u32,
        q: u32,
        a: Reg,
        b: Reg,
        with: Option<(Logic, Predicate)>,
    },
    /// A comparison whose result is `one` or zero in a register.
    Set {
        f: Compare,
        mode: Mode,
        d: Reg,
        one: u64,
        a: Reg,
        b: Reg,
        with: Option<(Logic, Predicate)>,
    },
    Select {
        d: Reg,
        a: Reg,
        b: Reg,
        p: Predicate,
    },
    Predicates {
        op: Logic,
        p: u32,
        a: Predicate,
        b: Predicate,
    },
    SetPredicate {
        p: u32,
        a: Predicate,
    },
    ConstantPredicate {
        p: u32,
        value: bool,
    },
    Pack {
        d: Reg,
        n: usize,
        bits: u32,
        s: [Reg; 4],
    },
    Unpack {
        d: [Reg; 4],
        n: usize,
        bits: u32,
        s: Reg,
    },
    Clock {
        d: Reg,
        bits: u32,
    },
    ActiveMask {
        d: Reg,
    },
    Load {
        address: Address,
        n: usize,
        bytes: u32,
        signed: bool,
        bits: u32,
        d: [Reg; 4],
    },
    Store {
        address: Address,
        n: usize,
        bytes: u32,
        s: [Reg; 4],
    },
    Atomic(Box<Atomic>),
    Branch {
        target: u32,
        uniform: bool,
    },
    Table {
        index: Reg,
        targets: Box<[u32]>,
    },
    Call(Box<Call>),
    Return,
    Exit,
    Trap,
    Nothing,
    Barrier(Box<BlockBarrier>),
    Collective {
        members: Reg,
        op: Box<Collective>,
    },
    Copy(Box<CopyOp>),
    /// What the thread wrote is seen by asynchronous operations; only mbarriers that it made, with `false`.
    ProxyFence {
        all: bool,
    },
    Mbarrier {
        address: Address,
        op: MbarrierOp,
    },
    Bulk(Box<BulkOp>),
    Group(Box<GroupOp>),
}

/// An instruction with its guard and its line.
#[derive(Debug)]
pub(crate) struct Inst {
    pub(crate) op: Op,
    pub(crate) guard: Option<Predicate>,
    pub(crate) line: u32,
}

/// A value that is the same for all threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Constant {
    Value(u64),
    /// The address of a variable of the module, by its number, and an offset.
    Variable(usize, u64),
}

/// What a register holds before the first instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Special {
    /// Thread, block, sizes of block and grid, by axis.
    Tid(usize),
    Ntid(usize),
    Ctaid(usize),
    Nctaid(usize),
    Lane,
    Warp,
    Warps,
    LanesEqual,
    LanesLess,
    LanesLessEqual,
    LanesGreater,
    LanesGreaterEqual,
    DynamicShared,
    TotalShared,
    Zero,
    One,
}

/// A kernel that can be run.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub(crate) name: String,
    pub(crate) code: Vec<Inst>,
    pub(crate) registers: Vec<String>,
    pub(crate) predicates: Vec<String>,
    pub(crate) specials: Vec<(Special, Reg)>,
    pub(crate) constants: Vec<Constant>,
    pub(crate) param_bytes: u64,
    /// Shared memory of a fixed size, and where that begins whose size the launch gives.
    pub(crate) shared_bytes: u64,
    pub(crate) dynamic_at: u64,
    /// The narrowest access of shared memory, in bytes, and of global memory.
    pub(crate) granule: u32,
    pub(crate) global_granule: u32,
    /// Per thread.
    pub(crate) local_bytes: u64,
    pub(crate) max_threads: Option<u64>,
    /// Mbarriers, bulk copies or warpgroup products occur; the last ones.
    pub(crate) has_agents: bool,
    pub(crate) has_groups: bool,
}
