//! Microkernels as device code: one row a contract, each a generator that all threads of a block run.

use super::gemm;
use super::kernel::{Emitter, Result, Space};
use super::ptx::{Kind, Reg};
use super::scalar::is_signed;
use nnc_ir::tile::{Arg, Stmt};
use nnc_ir::{DType, Dim};

/// Writes the code of one call.
type Generator = fn(&mut Emitter<'_>, &[Arg]) -> Result<()>;

/// The shared memory that it takes.
type Shared = fn(&Emitter<'_>, &[Arg]) -> i64;

/// Contracts that have device code.
const ROWS: &[(&str, u32, Generator, Shared)] = &[
    ("f32_gemm", 2, gemm::packed, gemm::shared_of_floats),
    ("f32_gemm_strided", 1, gemm::strided, gemm::shared_of_floats),
    ("f32_gemm_nibbles", 1, gemm::nibbles, gemm::shared_of_floats),
    ("i8_gemm", 1, gemm::i8, gemm::shared_of_bytes),
];

/// An address among a call's arguments.
#[derive(Clone, Copy)]
pub(super) struct Pointer {
    pub(super) space: Space,
    pub(super) at: Reg,
}

impl Emitter<'_> {
    /// Writes a microkernel's code in place of its call.
    pub(super) fn call(&mut self, contract: &str, version: u32, args: &[Arg]) -> Result<()> {
        let row = ROWS.iter().find(|(name, v, ..)| *name == contract && *v == version);
        let (_, _, generator, _) = row.ok_or_else(|| format!("microkernel {contract} version {version}"))?;
        generator(self, args)
    }

    /// The most shared memory that the tiles of a microkernel in the code take.
    pub(super) fn most_tiles(&self, body: &[Stmt]) -> i64 {
        let of = |s: &Stmt| match s {
            Stmt::For(l) => self.most_tiles(&l.body),
            Stmt::If { then, otherwise, .. } => self.most_tiles(then).max(self.most_tiles(otherwise)),
            Stmt::Call { contract, version, args } => {
                let row = ROWS.iter().find(|(name, v, ..)| name == contract && v == version);
                row.map_or(0, |(.., shared)| shared(self, args))
            }
            Stmt::Let { .. } | Stmt::Store { .. } | Stmt::StorePtr { .. } => 0,
        };
        body.iter().map(of).max().unwrap_or(0)
    }

    /// The address in an argument; `None` for null.
    pub(super) fn pointer_arg(&mut self, arg: &Arg) -> Result<Option<Pointer>> {
        match arg {
            Arg::Null => Ok(None),
            Arg::Ptr(mem, index) => {
                let (space, at) = self.pointer(*mem, index)?;
                Ok(Some(Pointer { space, at }))
            }
            other => Err(format!("{other} where an address belongs")),
        }
    }

    /// The integer in an argument.
    pub(super) fn int_arg(&mut self, arg: &Arg) -> Result<Reg> {
        match arg {
            Arg::Int(d) => self.index(d),
            Arg::Local(l) if self.dtype(*l) == DType::I64 => self.read(*l),
            other => Err(format!("{other} where an integer belongs")),
        }
    }

    /// The integer in an argument as 32 bits.
    pub(super) fn word_arg(&mut self, arg: &Arg) -> Result<Reg> {
        let (value, signed) = match arg {
            Arg::Int(d) => (self.index(d)?, true),
            Arg::Local(l) if self.dtype(*l).is_int() => (self.read(*l)?, is_signed(self.dtype(*l))),
            other => return Err(format!("{other} where an integer belongs")),
        };
        Ok(self.resize(value, signed, Kind::Word))
    }

    /// The float in an argument.
    pub(super) fn float_arg(&mut self, arg: &Arg) -> Result<Reg> {
        match arg {
            Arg::F32(v) => Ok(self.t.float(Kind::Single, f64::from(*v))),
            Arg::Local(l) if self.dtype(*l) == DType::F32 => self.read(*l),
            other => Err(format!("{other} where a float belongs")),
        }
    }
}

/// The size in an argument, as an expression.
pub(super) fn dim_arg(arg: &Arg) -> Result<&Dim> {
    match arg {
        Arg::Int(d) => Ok(d),
        other => Err(format!("{other} where a size belongs")),
    }
}

/// The flags in an argument, which have to be known.
pub(super) fn flags_arg(arg: &Arg) -> Result<i64> {
    dim_arg(arg)?.as_const().ok_or_else(|| "flags that are not constant".to_owned())
}
