//! Narrow floats as integer arithmetic: decoding to f32 and encoding with ties to even, on scalars
//! and on vectors of four.
//!
//! The results are those of `nnc_tensor::formats`, with saturation on for formats without infinities.
//! Cranelift's own f16 type is never used: its backends have no code for it.

use super::emitter::{Emitter, Result};
use crate::narrow::{Format, Special, exp2, format};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{F32, F32X4, I32, I32X4};
use cranelift_codegen::ir::{InstBuilder, Type, Value};
use nnc_ir::DType;

fn float_type(int: Type) -> Type {
    if int == I32X4 { F32X4 } else { F32 }
}

impl Emitter<'_, '_> {
    /// The f32 that a code stands for; the code is in the low bits, above it zeros.
    pub(super) fn decode(&mut self, dtype: DType, code: Value) -> Result<Value> {
        let ty = self.b.func.dfg.value_type(code);
        match (dtype, format(dtype)) {
            (DType::BF16, _) => {
                let bits = self.b.ins().ishl_imm_u(code, 16);
                Ok(self.reinterpret(bits, float_type(ty)))
            }
            (DType::F8E8M0, _) => Ok(self.decode_power(ty, code)),
            (_, Some(f)) => Ok(self.decode_number(f, ty, code)),
            _ => Err(format!("decoding {dtype}")),
        }
    }

    /// Shifts exponent and significand to their places in an f32 and corrects the bias by a
    /// multiplication, which also makes subnormal numbers right.
    fn decode_number(&mut self, f: Format, ty: Type, code: Value) -> Value {
        let sign_bit = 1i64 << (f.width - 1);
        let magnitude = self.masked(code, ty, sign_bit - 1);
        let placed = self.b.ins().ishl_imm_u(magnitude, 23 - f.mantissa);
        let number = self.reinterpret(placed, float_type(ty));
        let scale = self.float_of(float_type(ty), exp2(127 - f.bias));
        let number = self.b.ins().fmul(number, scale);
        let number = self.reinterpret(number, ty);
        let (max, ones) = (self.int_of(ty, f.max), self.int_of(ty, 0x7f80_0000));
        let nan = self.int_of(ty, 0x7fc0_0000);
        let number = match f.special {
            Special::Finite => number,
            Special::Ieee => {
                let beyond = self.b.ins().icmp(IntCC::SignedGreaterThan, magnitude, max);
                let special = self.b.ins().bor(placed, ones);
                self.choose(beyond, special, number)
            }
            Special::OnesNan => {
                let beyond = self.b.ins().icmp(IntCC::SignedGreaterThan, magnitude, max);
                self.choose(beyond, nan, number)
            }
            Special::MinusZeroNan => {
                let minus_zero = self.int_of(ty, sign_bit);
                let is_nan = self.b.ins().icmp(IntCC::Equal, code, minus_zero);
                self.choose(is_nan, nan, number)
            }
        };
        let sign = self.masked(code, ty, sign_bit);
        let sign = self.b.ins().ishl_imm_u(sign, 32 - f.width);
        let bits = self.b.ins().bor(number, sign);
        self.reinterpret(bits, float_type(ty))
    }

    fn decode_power(&mut self, ty: Type, code: Value) -> Value {
        let bits = self.b.ins().ishl_imm_u(code, 23);
        let (zero, last) = (self.int_of(ty, 0), self.int_of(ty, 0xff));
        let (tiny, nan) = (self.int_of(ty, 0x0040_0000), self.int_of(ty, 0x7fc0_0000));
        let is_zero = self.b.ins().icmp(IntCC::Equal, code, zero);
        let is_last = self.b.ins().icmp(IntCC::Equal, code, last);
        let bits = self.choose(is_zero, tiny, bits);
        let bits = self.choose(is_last, nan, bits);
        self.reinterpret(bits, float_type(ty))
    }

    /// The code nearest to an f32, in the low bits of an i32.
    pub(super) fn encode(&mut self, dtype: DType, x: Value) -> Result<Value> {
        let ty = if self.b.func.dfg.value_type(x).is_vector() { I32X4 } else { I32 };
        let bits = self.reinterpret(x, ty);
        let magnitude = self.masked(bits, ty, 0x7fff_ffff);
        let Some(f) = format(dtype) else {
            return match dtype {
                DType::F8E8M0 => Ok(self.encode_power(ty, magnitude)),
                _ => Err(format!("encoding {dtype}")),
            };
        };
        let code = self.encode_magnitude(f, ty, magnitude);
        let top = self.b.ins().ushr_imm_u(bits, 31);
        let sign = self.b.ins().ishl_imm_u(top, f.width - 1);
        let signed = self.b.ins().bor(code, sign);
        let infinity = self.int_of(ty, 0x7f80_0000);
        let is_nan = self.b.ins().icmp(IntCC::SignedGreaterThan, magnitude, infinity);
        Ok(match f.special {
            Special::MinusZeroNan | Special::Finite => {
                let (zero, nan) = (self.int_of(ty, 0), self.int_of(ty, 1 << (f.width - 1)));
                let is_zero = self.b.ins().icmp(IntCC::Equal, code, zero);
                let unsigned =
                    if f.special == Special::Finite { signed } else { self.choose(is_zero, zero, signed) };
                self.choose(is_nan, nan, unsigned)
            }
            Special::Ieee | Special::OnesNan => {
                let quiet = if f.special == Special::Ieee { 1 << (f.mantissa - 1) } else { 0 };
                let nan = self.int_of(ty, (f.max + 1) | quiet);
                let nan = self.b.ins().bor(nan, sign);
                self.choose(is_nan, nan, signed)
            }
        })
    }

    /// Rounds a magnitude: normal results by adding just under half a unit, subnormal ones by
    /// adding a float whose last place is the format's.
    fn encode_magnitude(&mut self, f: Format, ty: Type, magnitude: Value) -> Value {
        let drop = 23 - f.mantissa;
        let last = self.b.ins().ushr_imm_u(magnitude, drop);
        let odd = self.masked(last, ty, 1);
        let rebias = self.int_of(ty, ((1 << (drop - 1)) - 1) - ((127 - f.bias) << 23));
        let sum = self.b.ins().iadd(magnitude, rebias);
        let sum = self.b.ins().iadd(sum, odd);
        let mut code = self.b.ins().ushr_imm_u(sum, drop);
        if f.bias < 127 {
            let float = float_type(ty);
            let unit = exp2(1 - f.bias - f.mantissa + 23);
            let number = self.reinterpret(magnitude, float);
            let shift = self.float_of(float, unit);
            let shifted = self.b.ins().fadd(number, shift);
            let shifted = self.reinterpret(shifted, ty);
            let offset = self.int_of(ty, i64::from((unit as f32).to_bits()));
            let small_code = self.b.ins().isub(shifted, offset);
            let normal = self.int_of(ty, (128 - f.bias) << 23);
            let small = self.b.ins().icmp(IntCC::SignedLessThan, magnitude, normal);
            code = self.choose(small, small_code, code);
        }
        let most = self.int_of(ty, if f.saturate { f.max } else { f.max + 1 });
        self.b.ins().smin(code, most)
    }

    /// The power of two not below a magnitude.
    fn encode_power(&mut self, ty: Type, magnitude: Value) -> Value {
        let exponent = self.b.ins().ushr_imm_u(magnitude, 23);
        let fraction = self.masked(magnitude, ty, 0x007f_ffff);
        let (zero, one) = (self.int_of(ty, 0), self.int_of(ty, 1));
        // Of the subnormal numbers only those above 2^-127 round up to 2^-126.
        let (half, most) = (self.int_of(ty, 0x0040_0000), self.int_of(ty, 254));
        let subnormal = self.b.ins().icmp(IntCC::Equal, exponent, zero);
        let threshold = self.choose(subnormal, half, zero);
        let up = self.b.ins().icmp(IntCC::SignedGreaterThan, fraction, threshold);
        let next = self.b.ins().iadd(exponent, one);
        let code = self.choose(up, next, exponent);
        let code = self.b.ins().smin(code, most);
        let (infinity, nan) = (self.int_of(ty, 0x7f80_0000), self.int_of(ty, 0xff));
        let is_nan = self.b.ins().icmp(IntCC::SignedGreaterThan, magnitude, infinity);
        self.choose(is_nan, nan, code)
    }

    fn masked(&mut self, x: Value, ty: Type, mask: i64) -> Value {
        let mask = self.int_of(ty, mask);
        self.b.ins().band(x, mask)
    }

    /// Rounds to a storage type and back.
    pub(super) fn round_to(&mut self, dtype: DType, x: Value) -> Result<Value> {
        match dtype {
            DType::U4 | DType::U2 => Ok(self.b.ins().band_imm_u(x, (1 << dtype.bits()) - 1)),
            DType::I4 | DType::I2 => {
                let unused = 8 - dtype.bits() as i64;
                let up = self.b.ins().ishl_imm_u(x, unused);
                Ok(self.b.ins().sshr_imm_u(up, unused))
            }
            _ if nnc_ir::tile::arithmetic_type(dtype) == dtype => Ok(x),
            _ => {
                let code = self.encode(dtype, x)?;
                self.decode(dtype, code)
            }
        }
    }
}
