//! Loads and stores of single elements.

use super::emitter::{Emitter, Result, clif_type, plain};
use cranelift_codegen::ir::types::{I8, I16, I32};
use cranelift_codegen::ir::{InstBuilder, Value};
use nnc_ir::tile::{Mem, arithmetic_type};
use nnc_ir::{DType, Dim};

impl Emitter<'_, '_> {
    /// An element in its arithmetic type.
    pub(super) fn load(&mut self, mem: Mem, index: &Dim) -> Result<Value> {
        let dtype = self.mem_dtype(mem);
        if dtype.is_packed() {
            return self.load_packed(mem, dtype, index);
        }
        let (base, displacement) = self.address(mem, index)?;
        if arithmetic_type(dtype) == dtype {
            return Ok(self.b.ins().load(clif_type(dtype)?, plain(), base, displacement));
        }
        let code_type = if dtype.size() == 2 { I16 } else { I8 };
        let code = self.b.ins().load(code_type, plain(), base, displacement);
        let code = self.b.ins().uextend(I32, code);
        self.decode(dtype, code)
    }

    /// Elements of 2 or 4 bits, the first in the low bits of a byte.
    fn load_packed(&mut self, mem: Mem, dtype: DType, index: &Dim) -> Result<Value> {
        let bits = dtype.bits() as i64;
        let per_byte = Dim::int(8 / bits);
        let (base, displacement) = self.byte_address(mem, &index.floor_div(&per_byte))?;
        let byte = self.b.ins().load(I8, plain(), base, displacement);
        let position = self.index(&(index.modulo(&per_byte) * Dim::int(bits)))?;
        let position = self.b.ins().ireduce(I8, position);
        let low = self.b.ins().ushr(byte, position);
        if dtype == DType::F4E2M1 {
            let code = self.b.ins().uextend(I32, low);
            let code = self.b.ins().band_imm_u(code, 15);
            return self.decode(dtype, code);
        }
        self.round_to(dtype, low)
    }

    /// Stores a value of the arithmetic type.
    pub(super) fn store(&mut self, mem: Mem, index: &Dim, value: Value) -> Result<()> {
        let dtype = self.mem_dtype(mem);
        if dtype.is_packed() {
            return Err(format!("a store of single {dtype} elements"));
        }
        let mut value = value;
        if arithmetic_type(dtype) != dtype {
            let code = self.encode(dtype, value)?;
            value = self.b.ins().ireduce(if dtype.size() == 2 { I16 } else { I8 }, code);
        }
        let (base, displacement) = self.address(mem, index)?;
        self.b.ins().store(plain(), value, base, displacement);
        Ok(())
    }
}
