//! The meaning of a kernel, plainly: an interpreter over byte buffers that checks every index.
//!
//! It is the oracle that backends are tested against, so it shares nothing with them but
//! [`ScalarOp`]. Arithmetic is in f64 and rounded to the type of each local; a float reduction is
//! rounded once, at its end. Scratch starts as garbage at every grid point.

use super::{Arg, Expr, Kernel, Local, Loop, Mem, Stmt, arithmetic_type};
use crate::{DType, Dim, Kind, ScalarOp, Sym};
use nnc_tensor::formats;

/// Bytes of a memory object that an address may count.
const OBJECT_BITS: u32 = 40;
/// What fills scratch at the start of a grid point.
const GARBAGE: u8 = 0xa5;

/// The memory objects of a run.
pub struct Memory {
    /// Bytes of buffer arguments.
    pub params: Vec<Vec<u8>>,
    /// Bytes of scratch objects.
    pub scratch: Vec<Vec<u8>>,
}

impl Memory {
    /// A word that stands for the address of a byte.
    pub fn address(mem: Mem, byte: u64) -> u64 {
        let object = match mem {
            Mem::Param(i) => 2 * u64::from(i) + 1,
            Mem::Scratch(i) => 2 * u64::from(i) + 2,
        };
        (object << OBJECT_BITS) + byte
    }

    /// The object from the byte an address stands for.
    pub fn at(&mut self, address: u64) -> Result<&mut [u8], String> {
        let (object, byte) = ((address >> OBJECT_BITS) as usize, address & ((1 << OBJECT_BITS) - 1));
        let list = if object % 2 == 1 { &mut self.params } else { &mut self.scratch };
        let number = object.checked_sub(1).ok_or("the null address is read")? / 2;
        let bytes = list.get_mut(number).ok_or("an address of no object")?;
        bytes.get_mut(byte as usize..).ok_or_else(|| "an address past the end".to_owned())
    }

    fn bytes(&self, mem: Mem) -> &[u8] {
        match mem {
            Mem::Param(i) => &self.params[i as usize],
            Mem::Scratch(i) => &self.scratch[i as usize],
        }
    }

    fn bytes_mut(&mut self, mem: Mem) -> &mut [u8] {
        match mem {
            Mem::Param(i) => &mut self.params[i as usize],
            Mem::Scratch(i) => &mut self.scratch[i as usize],
        }
    }
}

/// A microkernel: contract, version, words of its arguments, memory.
pub type CallFn<'c> = dyn FnMut(&str, u32, &[u64], &mut Memory) -> Result<(), String> + 'c;

/// A scalar.
#[derive(Clone, Copy, Debug)]
enum Num {
    I(i128),
    F(f64),
}

impl Num {
    fn int(self) -> i128 {
        match self {
            Num::I(v) => v,
            Num::F(v) => v as i128,
        }
    }

    fn float(self) -> f64 {
        match self {
            Num::I(v) => v as f64,
            Num::F(v) => v,
        }
    }
}

struct Run<'r, 'c> {
    kernel: &'r Kernel,
    memory: Memory,
    sizes: &'r dyn Fn(&Sym) -> Option<i64>,
    call: &'r mut CallFn<'c>,
    values: Vec<Option<(DType, Num)>>,
}

/// Runs the points `points` of a kernel's linear grid over buffers in the order of its parameters.
/// Gives the buffers back.
pub fn interpret(
    kernel: &Kernel,
    buffers: Vec<Vec<u8>>,
    points: std::ops::Range<i64>,
    sizes: &dyn Fn(&Sym) -> Option<i64>,
    call: &mut CallFn<'_>,
) -> Result<Vec<Vec<u8>>, String> {
    let memory = Memory { params: buffers, scratch: Vec::new() };
    let mut run = Run { kernel, memory, sizes, call, values: vec![None; kernel.n_locals as usize] };
    for point in points {
        run.point(point).map_err(|e| format!("kernel \"{}\", point {point}: {e}", kernel.name))?;
    }
    Ok(run.memory.params)
}

/// The number of points of a kernel's grid.
pub fn grid_points(kernel: &Kernel, sizes: &dyn Fn(&Sym) -> Option<i64>) -> Result<i64, String> {
    kernel.grid.iter().try_fold(1i64, |product, axis| {
        let extent = axis.extent.eval(sizes).map_err(|e| e.to_string())?;
        product.checked_mul(extent.max(0)).ok_or_else(|| "the grid is too large".to_owned())
    })
}

impl Run<'_, '_> {
    fn point(&mut self, point: i64) -> Result<(), String> {
        let kernel = self.kernel;
        let mut rest = point;
        for axis in kernel.grid.iter().rev() {
            let extent = self.eval(&axis.extent)?;
            self.set(axis.local, DType::I64, Num::I(i128::from(rest % extent)));
            rest /= extent;
        }
        self.memory.scratch.clear();
        for object in &kernel.scratch {
            let elems = usize::try_from(self.eval(&object.elems)?).unwrap_or(0);
            self.memory.scratch.push(vec![GARBAGE; elems * object.dtype.size()]);
        }
        self.body(&kernel.body)
    }

    fn set(&mut self, local: Local, dtype: DType, value: Num) {
        self.values[local.0 as usize] = Some((dtype, value));
    }

    fn get(&self, local: Local) -> Result<(DType, Num), String> {
        self.values[local.0 as usize].ok_or_else(|| format!("{local} before its definition"))
    }

    fn eval(&self, dim: &Dim) -> Result<i64, String> {
        let symbol = |s: &Sym| match s {
            Sym::Local(n) => self.values[*n as usize].and_then(|(_, v)| i64::try_from(v.int()).ok()),
            name => (self.sizes)(name),
        };
        dim.eval(&symbol).map_err(|e| format!("{dim}: {e}"))
    }

    fn body(&mut self, body: &[Stmt]) -> Result<(), String> {
        body.iter().try_for_each(|s| self.stmt(s))
    }

    fn stmt(&mut self, s: &Stmt) -> Result<(), String> {
        match s {
            Stmt::Let { local, dtype, expr } => {
                let value = self.expr(expr, *dtype)?;
                self.set(*local, *dtype, value);
                Ok(())
            }
            Stmt::Store { mem, index, value } => {
                let (_, value) = self.get(*value)?;
                self.store(*mem, index, value)
            }
            Stmt::StorePtr { table, index, mem, element } => {
                let address = self.pointer(*mem, element)?;
                self.store(*table, index, Num::I(i128::from(address)))
            }
            Stmt::For(l) => self.counted(l),
            Stmt::If { cond, then, otherwise } => {
                let taken = self.get(*cond)?.1.int() != 0;
                self.body(if taken { then } else { otherwise })
            }
            Stmt::Call { contract, version, args } => {
                let words = args.iter().map(|a| self.word(a)).collect::<Result<Vec<_>, _>>()?;
                (self.call)(contract, *version, &words, &mut self.memory)
            }
        }
    }

    fn counted(&mut self, l: &Loop) -> Result<(), String> {
        let extent = self.eval(&l.axis.extent)?;
        let mut carried = l.carries.iter().map(|c| self.get(c.init)).collect::<Result<Vec<_>, _>>()?;
        let mut sums = l.reduces.iter().map(|r| self.get(r.init)).collect::<Result<Vec<_>, _>>()?;
        for turn in 0..extent {
            self.set(l.axis.local, DType::I64, Num::I(i128::from(turn)));
            for (c, (dtype, value)) in l.carries.iter().zip(&carried) {
                self.set(c.inside, *dtype, *value);
            }
            self.body(&l.body)?;
            carried = l.carries.iter().map(|c| self.get(c.next)).collect::<Result<Vec<_>, _>>()?;
            for (r, (dtype, sum)) in l.reduces.iter().zip(&mut sums) {
                let value = self.get(r.value)?.1;
                *sum = apply(r.op, *dtype, &[*sum, value])?;
            }
        }
        let results = l.carries.iter().map(|c| c.result).chain(l.reduces.iter().map(|r| r.result));
        for (result, (dtype, value)) in results.zip(carried.into_iter().chain(sums)) {
            self.set(result, dtype, rounded(dtype, value));
        }
        Ok(())
    }

    fn expr(&mut self, e: &Expr, to: DType) -> Result<Num, String> {
        let value = match e {
            Expr::Float(v) => Num::F(*v),
            Expr::Int(v) => Num::I(i128::from(*v)),
            Expr::Index(d) => Num::I(i128::from(self.eval(d)?)),
            Expr::Load(mem, index) => self.load(*mem, index)?,
            Expr::Op(op, args) => {
                let values = args.iter().map(|a| self.get(*a)).collect::<Result<Vec<_>, _>>()?;
                let numbers: Vec<Num> = values.iter().map(|v| v.1).collect();
                apply(*op, values[0].0, &numbers)?
            }
            Expr::Fma(a, b, c) => {
                let [a, b, c] = [self.get(*a)?, self.get(*b)?, self.get(*c)?].map(|v| v.1.float());
                Num::F(match to {
                    DType::F32 => f64::from((a as f32).mul_add(b as f32, c as f32)),
                    _ => a.mul_add(b, c),
                })
            }
            Expr::Cast(x) => {
                let (from, value) = self.get(*x)?;
                convert(value, from, to)
            }
            Expr::RoundTo(d, x) => {
                let value = self.get(*x)?.1;
                decoded(*d, encoded(*d, value))
            }
            Expr::Select(c, a, b) => self.get(if self.get(*c)?.1.int() != 0 { *a } else { *b })?.1,
            Expr::Bitcast(x) => {
                let (from, value) = self.get(*x)?;
                decoded(to, encoded(from, value))
            }
        };
        Ok(rounded(to, value))
    }

    fn dtype_of(&self, mem: Mem) -> DType {
        match mem {
            Mem::Param(i) => self.kernel.params[i as usize].dtype,
            Mem::Scratch(i) => self.kernel.scratch[i as usize].dtype,
        }
    }

    /// The element's number after a check, with the type.
    fn element(&self, mem: Mem, index: &Dim) -> Result<(DType, usize), String> {
        let dtype = self.dtype_of(mem);
        let elems = match mem {
            Mem::Param(i) => &self.kernel.params[i as usize].elems,
            Mem::Scratch(i) => &self.kernel.scratch[i as usize].elems,
        };
        let (at, limit) = (self.eval(index)?, self.eval(elems)?);
        let end = dtype.bytes_for(at.max(0) as usize + 1).ok_or("an index overflows")?;
        if at < 0 || at >= limit || end > self.memory.bytes(mem).len() {
            return Err(format!("index {at} of {mem} with {limit} elements"));
        }
        Ok((dtype, at as usize))
    }

    fn load(&mut self, mem: Mem, index: &Dim) -> Result<Num, String> {
        let (dtype, at) = self.element(mem, index)?;
        let bytes = self.memory.bytes(mem);
        let bit = at * dtype.bits();
        let mut word = [0u8; 8];
        let size = dtype.size();
        word[..size].copy_from_slice(&bytes[bit / 8..bit / 8 + size]);
        Ok(decoded(dtype, u64::from_le_bytes(word) >> (bit % 8)))
    }

    fn store(&mut self, mem: Mem, index: &Dim, value: Num) -> Result<(), String> {
        let (dtype, at) = self.element(mem, index)?;
        if dtype.is_packed() {
            return Err(format!("a store of single {dtype} elements"));
        }
        let size = dtype.size();
        let word = encoded(dtype, value).to_le_bytes();
        self.memory.bytes_mut(mem)[at * size..(at + 1) * size].copy_from_slice(&word[..size]);
        Ok(())
    }

    /// One past the end is allowed.
    fn pointer(&self, mem: Mem, index: &Dim) -> Result<u64, String> {
        let at = usize::try_from(self.eval(index)?).map_err(|_| format!("the address of {mem}[{index}]"))?;
        let byte = self.dtype_of(mem).bytes_for(at).ok_or("an address overflows")?;
        if byte > self.memory.bytes(mem).len() {
            return Err(format!("the address of {mem}[{at}] lies outside"));
        }
        Ok(Memory::address(mem, byte as u64))
    }

    fn word(&self, arg: &Arg) -> Result<u64, String> {
        Ok(match arg {
            Arg::Ptr(mem, index) => self.pointer(*mem, index)?,
            Arg::Null => 0,
            Arg::Int(d) => self.eval(d)?.cast_unsigned(),
            Arg::F32(v) => u64::from(v.to_bits()),
            Arg::Local(l) => match self.get(*l)? {
                (dtype, value @ Num::F(_)) => encoded(dtype, value),
                (_, Num::I(v)) => v as u64,
            },
        })
    }
}

fn apply(op: ScalarOp, dtype: DType, args: &[Num]) -> Result<Num, String> {
    let (x, y) = (args[0], args.get(1).copied().unwrap_or(args[0]));
    let refuse = || format!("{} of {dtype}", op.name());
    let value = if dtype.is_float() {
        Num::F(op.on_floats().ok_or_else(refuse)?(x.float(), y.float()))
    } else {
        let bits = if dtype == DType::Bool { 1 } else { dtype.bits() as u32 };
        Num::I(op.on_ints().ok_or_else(refuse)?(x.int(), y.int(), bits))
    };
    Ok(match (op.is_predicate(), dtype.is_float()) {
        (true, _) => Num::I(i128::from(value.float() != 0.0)),
        // A sum is rounded where it becomes a local.
        (false, true) => value,
        (false, false) => rounded(dtype, value),
    })
}

/// A number as the type holds it.
fn rounded(dtype: DType, value: Num) -> Num {
    match (dtype, value) {
        (DType::F32, v) => Num::F(f64::from(v.float() as f32)),
        (d, v) if d.is_float() => Num::F(v.float()),
        (DType::Bool, v) => Num::I(i128::from(v.int() != 0)),
        (d, v) => {
            let unused = 128 - d.bits() as u32;
            let top = v.int() << unused;
            Num::I(if d.kind() == Kind::Int {
                top >> unused
            } else {
                (top.cast_unsigned() >> unused).cast_signed()
            })
        }
    }
}

/// Floats to integers: toward zero, saturating to the type or to 32 bits where it is narrower.
fn convert(value: Num, from: DType, to: DType) -> Num {
    match value {
        Num::F(v) if to == DType::Bool => Num::I(i128::from(v != 0.0)),
        Num::F(v) if !to.is_float() => {
            let range = if to.bits() < 32 { DType::I32 } else { to };
            let (low, high) = range.int_range().unwrap_or((0, 0));
            Num::I((v as i128).clamp(low, high))
        }
        // Through f64 an integer would be rounded twice.
        Num::I(v) if to == DType::F32 => Num::F(f64::from(v as f32)),
        Num::I(v) if to.is_float() => Num::F(v as f64),
        _ => rounded(if to.is_float() { to } else { from }, value),
    }
}

/// The bits of a number in a storage type.
fn encoded(dtype: DType, value: Num) -> u64 {
    match dtype {
        DType::F32 => u64::from((value.float() as f32).to_bits()),
        DType::F64 => value.float().to_bits(),
        // Numbers out of range become infinity where the format has one.
        d if d.is_float() => u64::from(formats::encode(d, value.float(), d != DType::F8E5M2).unwrap_or(0)),
        _ => value.int() as u64,
    }
}

/// The number that the low bits stand for in a storage type, in its arithmetic type.
fn decoded(dtype: DType, bits: u64) -> Num {
    match dtype {
        DType::F32 => Num::F(f64::from(f32::from_bits(bits as u32))),
        DType::F64 => Num::F(f64::from_bits(bits)),
        d if d.is_float() => Num::F(formats::decode(d, bits as u16).unwrap_or(0.0)),
        DType::Bool => Num::I(i128::from(bits & 0xff != 0)),
        d => rounded(arithmetic_type(d), rounded(d, Num::I(i128::from(bits)))),
    }
}
