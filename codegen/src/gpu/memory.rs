//! Loads and stores of single elements.

use super::kernel::{Emitter, Result};
use super::ptx::{Kind, Reg};
use nnc_ir::tile::{Mem, arithmetic_type};
use nnc_ir::{DType, Dim};

/// The type of a load or store instruction and the register it uses.
fn access_type(dtype: DType) -> Result<(&'static str, Kind)> {
    Ok(match dtype {
        DType::Bool | DType::U8 => ("u8", Kind::Word),
        DType::I8 => ("s8", Kind::Word),
        DType::U16 => ("u16", Kind::Word),
        DType::I16 => ("s16", Kind::Word),
        DType::I32 | DType::U32 => ("b32", Kind::Word),
        DType::I64 | DType::U64 => ("b64", Kind::Long),
        DType::F32 => ("f32", Kind::Single),
        DType::F64 => ("f64", Kind::Double),
        d if arithmetic_type(d) == DType::F32 && d.size() == 2 => ("u16", Kind::Word),
        d if arithmetic_type(d) == DType::F32 && !d.is_packed() => ("u8", Kind::Word),
        other => return Err(format!("single elements of {other} in memory")),
    })
}

impl Emitter<'_> {
    /// An element in its arithmetic type.
    pub(super) fn load(&mut self, mem: Mem, index: &Dim) -> Result<Reg> {
        let dtype = self.mem_dtype(mem);
        if dtype.is_packed() {
            return self.load_packed(mem, dtype, index);
        }
        let (space, at) = self.address(mem, index)?;
        let (ty, kind) = access_type(dtype)?;
        let value = self.t.op(kind, &format!("ld.{}.{ty}", space.name()), &[&at]);
        match dtype {
            DType::Bool => Ok(self.t.compare("ne.s32", value, &0)),
            d if arithmetic_type(d) != d => self.decode(d, value),
            _ => Ok(value),
        }
    }

    /// Elements of 2 or 4 bits, the first in the low bits of a byte.
    fn load_packed(&mut self, mem: Mem, dtype: DType, index: &Dim) -> Result<Reg> {
        let bits = dtype.bits() as i64;
        let per_byte = Dim::int(8 / bits);
        let (space, at) = self.byte_address(mem, &index.floor_div(&per_byte))?;
        let byte = self.t.op(Kind::Word, &format!("ld.{}.u8", space.name()), &[&at]);
        let position = self.index(&(index.modulo(&per_byte) * Dim::int(bits)))?;
        let position = self.resize(position, false, Kind::Word);
        let low = self.t.op(Kind::Word, "shr.u32", &[&byte, &position]);
        if dtype == DType::F4E2M1 {
            let code = self.t.op(Kind::Word, "and.b32", &[&low, &15]);
            return self.decode(dtype, code);
        }
        self.round_to(dtype, low)
    }

    /// Stores a value of the arithmetic type: outside of lanes the first thread does.
    pub(super) fn store(&mut self, mem: Mem, index: &Dim, value: Reg) -> Result<()> {
        let dtype = self.mem_dtype(mem);
        let (ty, _) = access_type(dtype)?;
        let value = match dtype {
            DType::Bool => self.number(value),
            d if arithmetic_type(d) != d => self.encode(d, value)?,
            _ => value,
        };
        let (space, at) = self.address(mem, index)?;
        let name = format!("st.{}.{ty}", space.name());
        match self.alone {
            true => self.t.put(&name, &[&at, &value]),
            false => self.t.put_if(self.first, &name, &[&at, &value]),
        }
        Ok(())
    }
}
