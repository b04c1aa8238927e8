//! Vectors of lanes of one width as vectors of another.

use super::super::emitter::Emitter;
use super::mask_type;
use cranelift_codegen::ir::types::{F32X4, F64X2, I8X16, I32X4};
use cranelift_codegen::ir::{ConstantData, InstBuilder, Type, Value};

impl Emitter<'_, '_> {
    /// Integer lanes of `from` bits as lanes of `to` bits, widened by sign or zeros, or cut.
    pub(super) fn resize_lanes(
        &mut self,
        values: Vec<Value>,
        from: usize,
        to: usize,
        signed: bool,
    ) -> Vec<Value> {
        let (mut values, mut bits) = (values, from);
        while bits < to {
            values = values.iter().flat_map(|v| self.widen(*v, signed)).collect();
            bits *= 2;
        }
        while bits > to {
            values = values.chunks(2).map(|pair| self.cut(pair[0], pair[1], bits)).collect();
            bits /= 2;
        }
        values
    }

    fn widen(&mut self, v: Value, signed: bool) -> [Value; 2] {
        if signed {
            [self.b.ins().swiden_low(v), self.b.ins().swiden_high(v)]
        } else {
            [self.b.ins().uwiden_low(v), self.b.ins().uwiden_high(v)]
        }
    }

    /// The low halves of the lanes of two vectors.
    fn cut(&mut self, a: Value, b: Value, bits: usize) -> Value {
        if bits == 64 {
            return self.even_words(a, b, I32X4);
        }
        let ty = mask_type(bits);
        let low = self.int_of(ty, (1 << (bits / 2)) - 1);
        let (a, b) = (self.b.ins().band(a, low), self.b.ins().band(b, low));
        self.b.ins().unarrow(a, b)
    }

    /// Masks of `from` bits as masks of `to` bits.
    pub(super) fn resize_mask(&mut self, values: Vec<Value>, from: usize, to: usize) -> Vec<Value> {
        let (mut values, mut bits) = (values, from);
        while bits < to {
            values = values.iter().flat_map(|v| self.widen(*v, true)).collect();
            bits *= 2;
        }
        while bits > to {
            values = values
                .chunks(2)
                .map(|pair| match bits {
                    64 => self.even_words(pair[0], pair[1], I32X4),
                    _ => self.b.ins().snarrow(pair[0], pair[1]),
                })
                .collect();
            bits /= 2;
        }
        values
    }

    /// The 32-bit words 0 and 2 of two vectors.
    fn even_words(&mut self, a: Value, b: Value, ty: Type) -> Value {
        self.words(a, b, [0, 2, 4, 6], ty)
    }

    /// Four 32-bit words chosen from the eight of two vectors.
    fn words(&mut self, a: Value, b: Value, pick: [u8; 4], ty: Type) -> Value {
        let bytes: Vec<u8> = pick.iter().flat_map(|w| (0..4).map(move |i| 4 * w + i)).collect();
        let (a, b) = (self.reinterpret(a, I8X16), self.reinterpret(b, I8X16));
        let mask = self.b.func.dfg.immediates.push(ConstantData::from(bytes.as_slice()));
        let picked = self.b.ins().shuffle(a, b, mask);
        self.reinterpret(picked, ty)
    }

    /// f32 lanes as f64 lanes.
    pub(super) fn promote_lanes(&mut self, values: &[Value]) -> Vec<Value> {
        let mut out = Vec::new();
        for v in values {
            let high = self.words(*v, *v, [2, 3, 2, 3], F32X4);
            out.extend([self.b.ins().fvpromote_low(*v), self.b.ins().fvpromote_low(high)]);
        }
        out
    }

    /// f64 lanes as f32 lanes.
    pub(super) fn demote_lanes(&mut self, values: &[Value]) -> Vec<Value> {
        let mut out = Vec::new();
        for pair in values.chunks(2) {
            let (low, high) = (self.b.ins().fvdemote(pair[0]), self.b.ins().fvdemote(pair[1]));
            out.push(self.words(low, high, [0, 1, 4, 5], F32X4));
        }
        out
    }

    /// A vector constant.
    pub(super) fn vector_constant(&mut self, ty: Type, bytes: &[u8]) -> Value {
        let constant = self.b.func.dfg.constants.insert(ConstantData::from(bytes));
        debug_assert!(ty.bytes() as usize == bytes.len() || ty == F64X2);
        self.b.ins().vconst(ty, constant)
    }
}
