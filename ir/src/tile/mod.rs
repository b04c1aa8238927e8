//! Tile programs: kernels as loop nests over a grid, the same for every backend.
//!
//! A kernel runs once per point of its grid; points are independent. Its body is static single
//! assignment over scalars: straight-line code, counted loops, calls of microkernels. A loop whose
//! turns may run side by side is marked [`Turns::Lanes`]; inside it a scalar stands for a tile along
//! that axis, so `load`, `map` and `store` act on tiles and a [`Reduce`] folds a tile. Which lanes
//! become vector registers, strips in L1 or GPU threads is the backend's business.
//!
//! Locals: variables, loop axes and grid axes share one numbering. An integer local may occur in an
//! index expression as [`Sym::Local`]; named symbols there are sizes, fixed for a launch.
//!
//! Invariants (checked by [`verify`]): every local is defined once, before its uses and in an
//! enclosing scope; indices of loads and stores stay inside the buffer for every grid point; a store
//! in one grid point or lane is not read by another one of the same loop.

mod build;
pub mod interp;
mod print;
mod verify;

pub use build::{KernelBuilder, OpenLoop};
pub use verify::verify;

use crate::{DType, Dim, ScalarOp, Sym};

/// A variable or axis of one kernel.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Local(pub u32);

impl Local {
    /// The local inside an index expression.
    pub fn dim(self) -> Dim {
        Dim::sym(Sym::Local(self.0))
    }
}

/// A memory object of a kernel.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Mem {
    /// Buffer argument number.
    Param(u32),
    /// Scratch object number: private to a grid point, contents undefined at its start.
    Scratch(u32),
}

/// How a kernel uses a buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Read only.
    Read,
    /// Written before it is read, if it is read at all.
    Write,
    /// Read and written.
    ReadWrite,
}

/// A buffer argument.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Param {
    /// Element type in memory.
    pub dtype: DType,
    /// Number of elements.
    pub elems: Dim,
    /// Use.
    pub access: Access,
}

/// A scratch object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scratch {
    /// Element type (never a packed one).
    pub dtype: DType,
    /// Number of elements; no locals.
    pub elems: Dim,
}

/// An axis of a loop or of the grid: `0 .. extent`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Axis {
    /// Its value.
    pub local: Local,
    /// Number of turns; a negative extent counts as zero.
    pub extent: Dim,
}

/// How the turns of a loop relate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turns {
    /// One after the other.
    Serial,
    /// In any order or side by side. Such a loop carries nothing but reductions.
    Lanes,
    /// The same for turns that have lanes loops of their own: rows of a matrix. Such a loop carries and reduces
    /// nothing, and has no calls of microkernels inside.
    Rows,
}

/// A value carried from turn to turn of a serial loop.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Carry {
    /// Its value inside the body.
    pub inside: Local,
    /// Its value before the first turn.
    pub init: Local,
    /// Its value after a turn, defined in the body.
    pub next: Local,
    /// Its value after the loop.
    pub result: Local,
}

/// A reduction over the turns of a loop: `result = init op value op value …`, in any association.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reduce {
    /// Associative function: add, mul, max, min, and, or.
    pub op: ScalarOp,
    /// Start.
    pub init: Local,
    /// Contribution of a turn, defined in the body.
    pub value: Local,
    /// After the loop.
    pub result: Local,
}

/// A counted loop.
#[derive(Clone, PartialEq, Debug)]
pub struct Loop {
    /// Axis.
    pub axis: Axis,
    /// Relation of the turns.
    pub turns: Turns,
    /// Carried values (serial loops).
    pub carries: Vec<Carry>,
    /// Reductions.
    pub reduces: Vec<Reduce>,
    /// Body.
    pub body: Vec<Stmt>,
}

/// A scalar expression; operands are locals.
#[derive(Clone, PartialEq, Debug)]
pub enum Expr {
    /// A float constant.
    Float(f64),
    /// An integer or boolean constant.
    Int(i64),
    /// An index expression as an i64.
    Index(Dim),
    /// An element of a buffer; narrow floats and packed integers come widened (see [`arithmetic_type`]).
    Load(Mem, Dim),
    /// A scalar function.
    Op(ScalarOp, Vec<Local>),
    /// `a·b + c` with one rounding.
    Fma(Local, Local, Local),
    /// Conversion to the type of the result. From float to integer: toward zero, saturating, NaN gives 0.
    Cast(Local),
    /// Rounds to a narrower storage type and back, result of the arithmetic type.
    RoundTo(DType, Local),
    /// `c ? a : b`.
    Select(Local, Local, Local),
    /// The same bits in the type of the result.
    Bitcast(Local),
}

/// An argument of a microkernel: one word.
#[derive(Clone, PartialEq, Debug)]
pub enum Arg {
    /// Address of an element; the address one past the end is allowed.
    Ptr(Mem, Dim),
    /// No address.
    Null,
    /// An integer.
    Int(Dim),
    /// A float constant.
    F32(f32),
    /// A local: integers widened to i64, f32 in the low half.
    Local(Local),
}

/// A statement.
#[derive(Clone, PartialEq, Debug)]
pub enum Stmt {
    /// Defines a local.
    Let {
        /// Which.
        local: Local,
        /// Arithmetic type: bool, i8..i64, u8..u64, f32 or f64.
        dtype: DType,
        /// Value.
        expr: Expr,
    },
    /// Stores an element, narrowed to the buffer's type (integers wrap, floats round to
    /// nearest even; out of range they become infinity or, where the type has none, its largest number).
    Store {
        /// Where.
        mem: Mem,
        /// Which element.
        index: Dim,
        /// Value, of the buffer's arithmetic type.
        value: Local,
    },
    /// Stores the address of an element, as a word, into a scratch object of type u64: pointer tables.
    StorePtr {
        /// Table.
        table: Mem,
        /// Which word.
        index: Dim,
        /// Address of what.
        mem: Mem,
        /// Which element.
        element: Dim,
    },
    /// A loop.
    For(Loop),
    /// Statements under a condition; defines nothing outside.
    If {
        /// Boolean local.
        cond: Local,
        /// When true.
        then: Vec<Stmt>,
        /// When false.
        otherwise: Vec<Stmt>,
    },
    /// A microkernel.
    Call {
        /// Contract, such as `f32_gemm`.
        contract: &'static str,
        /// Version of its arguments.
        version: u32,
        /// Words of its argument block.
        args: Vec<Arg>,
    },
}

/// A kernel.
#[derive(Clone, PartialEq, Debug)]
pub struct Kernel {
    /// What it computes, for people.
    pub name: String,
    /// Buffers.
    pub params: Vec<Param>,
    /// Scratch objects.
    pub scratch: Vec<Scratch>,
    /// Parallel axes, the last one fastest in the linear order.
    pub grid: Vec<Axis>,
    /// Body of one grid point.
    pub body: Vec<Stmt>,
    /// Number of locals.
    pub n_locals: u32,
    /// Estimated nanoseconds of one grid point on one core; no locals.
    pub cost_ns: Dim,
}

impl Kernel {
    /// The positions of the buffers that it writes.
    pub fn written(&self) -> impl Iterator<Item = u32> {
        (0u32..).zip(&self.params).filter(|(_, p)| p.access != Access::Read).map(|(at, _)| at)
    }
}

/// The type in which elements of a storage type are computed: narrow floats in f32, sub-byte
/// integers in 8 bits, everything else as it is.
pub fn arithmetic_type(storage: DType) -> DType {
    match storage {
        DType::F16
        | DType::BF16
        | DType::F8E4M3FN
        | DType::F8E4M3FNUZ
        | DType::F8E5M2
        | DType::F8E5M2FNUZ
        | DType::F8E8M0
        | DType::F4E2M1 => DType::F32,
        DType::U4 | DType::U2 => DType::U8,
        DType::I4 | DType::I2 => DType::I8,
        other => other,
    }
}
