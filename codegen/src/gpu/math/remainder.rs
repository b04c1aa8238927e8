//! The exact remainder of floats.

use crate::gpu::ptx::{Kind, Reg, Text};

/// Steps of 2^512 from the least to the greatest number.
const SCALINGS: u32 = 4;

impl Text {
    /// C's `fmod`. Each turn subtracts as many divisors as a quotient has digits for; the difference has no
    /// more digits than the divisor and is exact, so the remainder is. In f64 also for f32.
    pub(in crate::gpu) fn remainder(&mut self, x: Reg, y: Reg) -> Reg {
        if x.kind == Kind::Single {
            let (a, b) = (self.widen(x), self.widen(y));
            let r = self.remainder_within(a, b, 0);
            return self.narrow(r);
        }
        self.remainder_within(x, y, SCALINGS)
    }

    /// The remainder where a quotient is below 2^(512·(scalings + 1)).
    fn remainder_within(&mut self, x: Reg, y: Reg, scalings: u32) -> Reg {
        let (ax, ay) = (self.float_unary("abs", x), self.float_unary("abs", y));
        let (finite, some) = (self.compare_const("lt", ax, f64::INFINITY), self.compare_const("gt", ay, 0.0));
        let defined = self.both(finite, some);
        let rest = self.copy(ax);
        let (turn, done) = (self.label(), self.label());
        self.jump_if(defined, false, done);
        self.place(turn);
        let more = self.compare("ge.f64", rest, &ay);
        self.jump_if(more, false, done);
        // A multiple of the divisor serves as well, and its quotient does not overflow.
        let mut by = ay;
        for _ in 0..scalings {
            let larger = self.mul_const(by, 2f64.powi(512));
            let fits = self.compare("le.f64", larger, &rest);
            by = self.choose(fits, larger, by);
        }
        let quotient = self.div(rest, by);
        let left = self.less_whole(rest, quotient, by);
        // The quotient was rounded up: the number before it is not above the true one.
        let over = self.compare_const("lt", left, 0.0);
        let bits = self.bits(quotient);
        let before = self.op(Kind::Long, "sub.s64", &[&bits, &1]);
        let before = self.as_float(before);
        let other = self.less_whole(rest, before, by);
        let next = self.choose(over, other, left);
        self.set(rest, &next);
        self.jump(turn);
        self.place(done);
        let sign = self.sign(x);
        let result = self.flip(rest, sign);
        self.choose_or_nan(defined, result)
    }

    /// `r − trunc(q)·y`
    fn less_whole(&mut self, r: Reg, q: Reg, y: Reg) -> Reg {
        let whole = self.rounded("rzi", q);
        let minus = self.float_unary("neg", whole);
        self.fma(minus, y, r)
    }

    fn choose_or_nan(&mut self, defined: Reg, value: Reg) -> Reg {
        let nan = self.float(value.kind, f64::NAN);
        self.choose(defined, value, nan)
    }
}
