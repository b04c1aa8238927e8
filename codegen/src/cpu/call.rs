//! Calls of microkernels through the function table.

use super::emitter::{Emitter, Result};
use super::int::is_signed;
use cranelift_codegen::ir::types::{F32, F64, I32, I64};
use cranelift_codegen::ir::{InstBuilder, StackSlot, Value};
use nnc_ir::DType;
use nnc_ir::tile::{Arg, Local};

impl Emitter<'_, '_> {
    /// Calls a microkernel with a block of words.
    pub(super) fn call(&mut self, contract: &str, version: u32, args: &[Arg]) -> Result<()> {
        let words = args.iter().map(|a| self.word(a)).collect::<Result<Vec<_>>>()?;
        self.call_with(contract, version, &words);
        Ok(())
    }

    fn word(&mut self, arg: &Arg) -> Result<Value> {
        match arg {
            Arg::Ptr(mem, index) => self.pointer(*mem, index),
            Arg::Null => Ok(self.b.ins().iconst(I64, 0)),
            Arg::Int(dim) => self.index(dim),
            Arg::F32(v) => Ok(self.b.ins().iconst(I64, i64::from(v.to_bits()))),
            Arg::Local(local) => self.local_word(*local),
        }
    }

    fn local_word(&mut self, local: Local) -> Result<Value> {
        let (value, dtype) = (self.read(local)?, self.dtype(local));
        Ok(match dtype {
            DType::F32 => {
                let bits = self.reinterpret(value, I32);
                self.b.ins().uextend(I64, bits)
            }
            DType::F64 => self.reinterpret(value, I64),
            _ => self.resize(value, is_signed(dtype), I64),
        })
    }

    fn call_with(&mut self, contract: &str, version: u32, words: &[Value]) {
        let block = self.stack("arguments", 8 * words.len().max(1) as u32);
        for (i, word) in words.iter().enumerate() {
            self.b.ins().stack_store(I64, *word, block, 8 * i as i32);
        }
        let address = self.b.ins().stack_addr(I64, block, 0);
        let pointer = self.microkernel_pointer(contract, version);
        self.b.ins().call_indirect(self.microkernel, pointer, &[address]);
    }

    /// Calls a microkernel for functions over tiles (`f32_exp`, …) on a tile of one element.
    pub(super) fn call_on_scalars(&mut self, contract: &str, dtype: DType, args: &[Value]) -> Result<Value> {
        let ty = match dtype {
            DType::F32 => F32,
            DType::F64 => F64,
            _ => return Err(format!("{contract} of {dtype}")),
        };
        let operands: StackSlot = self.stack("operands", 24);
        let mut words = vec![self.b.ins().stack_addr(I64, operands, 0)];
        for (i, arg) in args.iter().enumerate() {
            let offset = 8 * (i as i32 + 1);
            self.b.ins().stack_store(I64, *arg, operands, offset);
            words.push(self.b.ins().stack_addr(I64, operands, offset));
        }
        words.push(self.b.ins().iconst(I64, 1));
        self.call_with(contract, 1, &words);
        Ok(self.b.ins().stack_load(I64, ty, operands, 0))
    }
}
