//! Narrow floats as integer arithmetic: decoding to f32 and encoding with ties to even.
//!
//! The results are those of `nnc_tensor::formats` with saturation on for formats without
//! infinities. The code is the same for every
//! device: instructions for these formats came one by one.

use super::kernel::{Emitter, Result};
use super::ptx::{Kind, Reg, Text};
use crate::narrow::{Format, Special, exp2, format};
use nnc_ir::DType;

impl Text {
    fn word(&mut self, name: &str, a: Reg, b: i64) -> Reg {
        self.op(Kind::Word, name, &[&a, &b])
    }

    fn choose_word(&mut self, p: Reg, a: i64, b: Reg) -> Reg {
        self.op(Kind::Word, "selp.b32", &[&a, &b, &p])
    }

    /// Shifts exponent and significand to their places in an f32 and corrects the bias by a
    /// multiplication, which also makes subnormal numbers right.
    fn decode_number(&mut self, f: Format, code: Reg) -> Reg {
        let sign_bit = 1i64 << (f.width - 1);
        let magnitude = self.word("and.b32", code, sign_bit - 1);
        let placed = self.word("shl.b32", magnitude, 23 - f.mantissa);
        let number = self.as_float(placed);
        let scale = self.float(Kind::Single, exp2(127 - f.bias));
        let number = self.mul(number, scale);
        let number = self.bits(number);
        let number = match f.special {
            Special::Finite => number,
            Special::Ieee => {
                let beyond = self.compare("gt.s32", magnitude, &f.max);
                let special = self.word("or.b32", placed, 0x7f80_0000);
                self.choose(beyond, special, number)
            }
            Special::OnesNan => {
                let beyond = self.compare("gt.s32", magnitude, &f.max);
                self.choose_word(beyond, 0x7fc0_0000, number)
            }
            Special::MinusZeroNan => {
                let nan = self.compare("eq.s32", code, &sign_bit);
                self.choose_word(nan, 0x7fc0_0000, number)
            }
        };
        let sign = self.word("and.b32", code, sign_bit);
        let sign = self.word("shl.b32", sign, 32 - f.width);
        let bits = self.op(Kind::Word, "or.b32", &[&number, &sign]);
        self.as_float(bits)
    }

    fn decode_power(&mut self, code: Reg) -> Reg {
        let bits = self.word("shl.b32", code, 23);
        let zero = self.compare("eq.s32", code, &0);
        let last = self.compare("eq.s32", code, &0xff);
        let bits = self.choose_word(zero, 0x0040_0000, bits);
        let bits = self.choose_word(last, 0x7fc0_0000, bits);
        self.as_float(bits)
    }

    /// Rounds a magnitude: normal results by adding just under half a unit, subnormal ones by adding a
    /// float whose last place is the format's.
    fn encode_magnitude(&mut self, f: Format, magnitude: Reg) -> Reg {
        let drop = 23 - f.mantissa;
        let last = self.word("shr.u32", magnitude, drop);
        let odd = self.word("and.b32", last, 1);
        let sum = self.word("add.s32", magnitude, ((1 << (drop - 1)) - 1) - ((127 - f.bias) << 23));
        let sum = self.op(Kind::Word, "add.s32", &[&sum, &odd]);
        let mut code = self.word("shr.u32", sum, drop);
        if f.bias < 127 {
            let unit = exp2(1 - f.bias - f.mantissa + 23);
            let (number, shift) = (self.as_float(magnitude), self.float(Kind::Single, unit));
            let shifted = self.add(number, shift);
            let shifted = self.bits(shifted);
            let small = self.word("sub.s32", shifted, i64::from((unit as f32).to_bits()));
            let is_small = self.compare("lt.s32", magnitude, &((128 - f.bias) << 23));
            code = self.choose(is_small, small, code);
        }
        self.word("min.s32", code, if f.saturate { f.max } else { f.max + 1 })
    }

    fn encode_number(&mut self, f: Format, bits: Reg) -> Reg {
        let magnitude = self.word("and.b32", bits, 0x7fff_ffff);
        let code = self.encode_magnitude(f, magnitude);
        let top = self.word("shr.u32", bits, 31);
        let sign = self.word("shl.b32", top, f.width - 1);
        let signed = self.op(Kind::Word, "or.b32", &[&code, &sign]);
        let nan = self.compare("gt.s32", magnitude, &0x7f80_0000);
        match f.special {
            Special::Finite => self.choose_word(nan, 1 << (f.width - 1), signed),
            Special::MinusZeroNan => {
                let zero = self.compare("eq.s32", code, &0);
                let unsigned = self.choose_word(zero, 0, signed);
                self.choose_word(nan, 1 << (f.width - 1), unsigned)
            }
            Special::Ieee | Special::OnesNan => {
                let quiet = if f.special == Special::Ieee { 1 << (f.mantissa - 1) } else { 0 };
                let none = self.word("or.b32", sign, (f.max + 1) | quiet);
                self.choose(nan, none, signed)
            }
        }
    }

    /// The power of two not below a magnitude.
    fn encode_power(&mut self, bits: Reg) -> Reg {
        let magnitude = self.word("and.b32", bits, 0x7fff_ffff);
        let exponent = self.word("shr.u32", magnitude, 23);
        let fraction = self.word("and.b32", magnitude, 0x007f_ffff);
        // Of the subnormal numbers only those above 2^-127 round up to 2^-126.
        let subnormal = self.compare("eq.s32", exponent, &0);
        let zero = self.int(Kind::Word, 0);
        let threshold = self.choose_word(subnormal, 0x0040_0000, zero);
        let up = self.compare("gt.s32", fraction, &threshold);
        let next = self.word("add.s32", exponent, 1);
        let code = self.choose(up, next, exponent);
        let code = self.word("min.s32", code, 254);
        let nan = self.compare("gt.s32", magnitude, &0x7f80_0000);
        self.choose_word(nan, 0xff, code)
    }
}

impl Emitter<'_> {
    /// The f32 that a code stands for; the code is in the low bits, above it zeros.
    pub(super) fn decode(&mut self, dtype: DType, code: Reg) -> Result<Reg> {
        match (dtype, format(dtype)) {
            (DType::BF16, _) => {
                let bits = self.t.word("shl.b32", code, 16);
                Ok(self.t.as_float(bits))
            }
            (DType::F8E8M0, _) => Ok(self.t.decode_power(code)),
            (_, Some(f)) => Ok(self.t.decode_number(f, code)),
            _ => Err(format!("decoding {dtype}")),
        }
    }

    /// The code nearest to an f32, in the low bits of a word.
    pub(super) fn encode(&mut self, dtype: DType, x: Reg) -> Result<Reg> {
        let bits = self.t.bits(x);
        match (dtype, format(dtype)) {
            (DType::F8E8M0, _) => Ok(self.t.encode_power(bits)),
            (_, Some(f)) => Ok(self.t.encode_number(f, bits)),
            _ => Err(format!("encoding {dtype}")),
        }
    }

    /// Rounds to a storage type and back.
    pub(super) fn round_to(&mut self, dtype: DType, x: Reg) -> Result<Reg> {
        match dtype {
            DType::U4 | DType::U2 => Ok(self.t.word("and.b32", x, (1 << dtype.bits()) - 1)),
            DType::I4 | DType::I2 => {
                let unused = 32 - dtype.bits() as i64;
                let up = self.t.word("shl.b32", x, unused);
                Ok(self.t.word("shr.s32", up, unused))
            }
            _ if nnc_ir::tile::arithmetic_type(dtype) == dtype => Ok(x),
            _ => {
                let code = self.encode(dtype, x)?;
                self.decode(dtype, code)
            }
        }
    }
}
