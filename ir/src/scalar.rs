//! Scalar functions: the arithmetic that graph rows, tile programs and the interpreter share.

/// How many operands a scalar function takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arity {
    /// One operand, result of the same type.
    Unary,
    /// Two operands of one type, result of the same type.
    Binary,
    /// Two operands of one type, boolean result.
    Compare,
    /// One operand, boolean result.
    Test,
}

macro_rules! scalar_ops {
    ($($variant:ident $name:literal $arity:ident $float:expr, $int:expr, $doc:literal;)*) => {
        /// A scalar function.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub enum ScalarOp { $(#[doc = $doc] $variant,)* }

        impl ScalarOp {
            /// Every function.
            pub const ALL: &'static [ScalarOp] = &[$(ScalarOp::$variant,)*];

            /// Its name in the text form; also the name of the graph operator.
            pub const fn name(self) -> &'static str { match self { $(ScalarOp::$variant => $name,)* } }

            /// What it computes, in words.
            pub const fn doc(self) -> &'static str { match self { $(ScalarOp::$variant => $doc,)* } }

            /// Operands and result.
            pub const fn arity(self) -> Arity { match self { $(ScalarOp::$variant => Arity::$arity,)* } }

            /// Its meaning on floats, if it has one.
            pub fn on_floats(self) -> Option<fn(f64, f64) -> f64> { match self { $(ScalarOp::$variant => $float,)* } }

            /// Its meaning on integers and booleans before wrapping to the type, if it has one.
            /// The third argument is the width in bits.
            pub fn on_ints(self) -> Option<fn(i128, i128, u32) -> i128> { match self { $(ScalarOp::$variant => $int,)* } }
        }
    };
}

fn b(v: bool) -> f64 {
    f64::from(u8::from(v))
}

fn max(x: f64, y: f64) -> f64 {
    if x.is_nan() || y.is_nan() { f64::NAN } else { x.max(y) }
}

fn min(x: f64, y: f64) -> f64 {
    if x.is_nan() || y.is_nan() { f64::NAN } else { x.min(y) }
}

fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 { 1.0 / (1.0 + (-x).exp()) } else { x.exp() / (1.0 + x.exp()) }
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

fn gelu_tanh(x: f64) -> f64 {
    0.5 * x * (1.0 + (0.797_884_560_802_865_4 * (x + 0.044_715 * x * x * x)).tanh())
}

fn floor_mod(x: f64, y: f64) -> f64 {
    let r = x % y;
    if r != 0.0 && (r < 0.0) != (y < 0.0) { r + y } else { r }
}

fn int_pow(x: i128, y: i128, _: u32) -> i128 {
    match u32::try_from(y) {
        Ok(e) => {
            let (mut result, mut base, mut e) = (1i128, x, e);
            while e > 0 {
                if e & 1 == 1 {
                    result = wrap64(result.wrapping_mul(base));
                }
                base = wrap64(base.wrapping_mul(base));
                e >>= 1;
            }
            result
        }
        Err(_) => match x {
            1 => 1,
            -1 => 1 - 2 * (y & 1),
            _ => 0,
        },
    }
}

/// Keeps the low 64 bits: all that any type reads of a product.
fn wrap64(v: i128) -> i128 {
    i128::from(v as u64)
}

fn shl(x: i128, y: i128, bits: u32) -> i128 {
    if y < 0 || y >= i128::from(bits) { 0 } else { x << y }
}

fn shr(x: i128, y: i128, bits: u32) -> i128 {
    if y < 0 || y >= i128::from(bits) { if x < 0 { -1 } else { 0 } } else { x >> y }
}

fn nonzero_div(x: i128, y: i128, _: u32) -> i128 {
    if y == 0 { 0 } else { x / y }
}

scalar_ops! {
    Neg "neg" Unary Some(|x, _| -x), Some(|x, _, _| -x), "`-x`";
    Abs "abs" Unary Some(|x, _| x.abs()), Some(|x, _, _| x.abs()), "`|x|`";
    Sign "sign" Unary Some(|x, _| if x.is_nan() { x } else { b(x > 0.0) - b(x < 0.0) }), Some(|x, _, _| x.signum()), "-1, 0 or 1";
    Not "not" Unary None, Some(|x, _, w| if w == 1 { 1 - x } else { !x }), "complement of a boolean or of every bit";
    Ceil "ceil" Unary Some(|x, _| x.ceil()), None, "smallest integer not below";
    Floor "floor" Unary Some(|x, _| x.floor()), None, "largest integer not above";
    Round "round" Unary Some(|x, _| x.round_ties_even()), None, "nearest integer, ties to even";
    Trunc "trunc" Unary Some(|x, _| x.trunc()), None, "integer part";
    Sqrt "sqrt" Unary Some(|x, _| x.sqrt()), None, "square root";
    Exp "exp" Unary Some(|x, _| x.exp()), None, "e to the power x";
    Log "log" Unary Some(|x, _| x.ln()), None, "natural logarithm";
    Sin "sin" Unary Some(|x, _| x.sin()), None, "sine";
    Cos "cos" Unary Some(|x, _| x.cos()), None, "cosine";
    Tan "tan" Unary Some(|x, _| x.tan()), None, "tangent";
    Asin "asin" Unary Some(|x, _| x.asin()), None, "inverse sine";
    Acos "acos" Unary Some(|x, _| x.acos()), None, "inverse cosine";
    Atan "atan" Unary Some(|x, _| x.atan()), None, "inverse tangent";
    Sinh "sinh" Unary Some(|x, _| x.sinh()), None, "hyperbolic sine";
    Cosh "cosh" Unary Some(|x, _| x.cosh()), None, "hyperbolic cosine";
    Tanh "tanh" Unary Some(|x, _| x.tanh()), None, "hyperbolic tangent";
    Asinh "asinh" Unary Some(|x, _| x.asinh()), None, "inverse hyperbolic sine";
    Acosh "acosh" Unary Some(|x, _| x.acosh()), None, "inverse hyperbolic cosine";
    Atanh "atanh" Unary Some(|x, _| x.atanh()), None, "inverse hyperbolic tangent";
    Sigmoid "sigmoid" Unary Some(|x, _| sigmoid(x)), None, "`1 / (1 + exp(-x))`";
    Softplus "softplus" Unary Some(|x, _| softplus(x)), None, "`ln(1 + exp(x))`";
    Erf "erf" Unary Some(|x, _| erf(x)), None, "error function";
    Gelu "gelu" Unary Some(|x, _| 0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2))), None, "`x/2 * (1 + erf(x/sqrt(2)))`";
    GeluTanh "gelu_tanh" Unary Some(|x, _| gelu_tanh(x)), None, "tanh approximation of GELU";
    Silu "silu" Unary Some(|x, _| x * sigmoid(x)), None, "`x * sigmoid(x)`";
    Mish "mish" Unary Some(|x, _| x * softplus(x).tanh()), None, "`x * tanh(softplus(x))`";
    Add "add" Binary Some(|x, y| x + y), Some(|x, y, _| x + y), "sum";
    Sub "sub" Binary Some(|x, y| x - y), Some(|x, y, _| x - y), "difference";
    Mul "mul" Binary Some(|x, y| x * y), Some(|x, y, _| wrap64(x) .wrapping_mul(wrap64(y))), "product";
    Div "div" Binary Some(|x, y| x / y), Some(nonzero_div), "quotient; integers round toward zero, by zero gives zero";
    Rem "rem" Binary Some(|x, y| x % y), Some(|x, y, _| if y == 0 { 0 } else { x % y }), "remainder with the sign of x (C's fmod)";
    Mod "mod" Binary Some(floor_mod), Some(|x, y, _| if y == 0 { 0 } else { x - y * (x / y - i128::from(x % y != 0 && (x < 0) != (y < 0))) }), "remainder with the sign of y (Python's %)";
    Pow "pow" Binary Some(f64::powf), Some(int_pow), "x to the power y";
    Max "max" Binary Some(max), Some(|x, y, _| x.max(y)), "larger; NaN if either is";
    Min "min" Binary Some(min), Some(|x, y, _| x.min(y)), "smaller; NaN if either is";
    Atan2 "atan2" Binary Some(f64::atan2), None, "angle of the point (y, x)";
    And "and" Binary None, Some(|x, y, _| x & y), "boolean or bitwise and";
    Or "or" Binary None, Some(|x, y, _| x | y), "boolean or bitwise or";
    Xor "xor" Binary None, Some(|x, y, _| x ^ y), "boolean or bitwise exclusive or";
    Shl "shl" Binary None, Some(shl), "shift left; zero where the amount is not below the width";
    Shr "shr" Binary None, Some(shr), "shift right; all sign bits where the amount is not below the width";
    Eq "eq" Compare Some(|x, y| b(x == y)), Some(|x, y, _| i128::from(x == y)), "equal";
    Ne "ne" Compare Some(|x, y| b(x != y)), Some(|x, y, _| i128::from(x != y)), "not equal";
    Lt "lt" Compare Some(|x, y| b(x < y)), Some(|x, y, _| i128::from(x < y)), "less";
    Le "le" Compare Some(|x, y| b(x <= y)), Some(|x, y, _| i128::from(x <= y)), "less or equal";
    Gt "gt" Compare Some(|x, y| b(x > y)), Some(|x, y, _| i128::from(x > y)), "greater";
    Ge "ge" Compare Some(|x, y| b(x >= y)), Some(|x, y, _| i128::from(x >= y)), "greater or equal";
    IsNan "is_nan" Test Some(|x, _| b(x.is_nan())), None, "not a number";
    IsInf "is_inf" Test Some(|x, _| b(x.is_infinite())), None, "plus or minus infinity";
}

impl ScalarOp {
    /// The function with this name.
    pub fn from_name(name: &str) -> Option<ScalarOp> {
        Self::ALL.iter().copied().find(|o| o.name() == name)
    }

    /// Operands taken.
    pub fn n_operands(self) -> usize {
        match self.arity() {
            Arity::Unary | Arity::Test => 1,
            Arity::Binary | Arity::Compare => 2,
        }
    }

    /// The result is boolean.
    pub fn is_predicate(self) -> bool {
        matches!(self.arity(), Arity::Compare | Arity::Test)
    }
}

/// The error function, by series and continued fraction, to about 1e-16.
///
/// Abramowitz and Stegun 7.1.6 for |x| < 3, 7.1.14 beyond.
fn erf(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    let a = x.abs();
    if a >= 6.0 {
        return x.signum();
    }
    let two_over_root_pi = std::f64::consts::FRAC_2_SQRT_PI;
    if a < 3.0 {
        let (mut term, mut sum, mut n) = (x, x, 0.0);
        while term.abs() > 1e-18 * sum.abs() {
            n += 1.0;
            term *= 2.0 * x * x / (2.0 * n + 1.0);
            sum += term;
        }
        return two_over_root_pi * (-x * x).exp() * sum;
    }
    let mut fraction = 0.0;
    for k in (1..=60).rev() {
        fraction = f64::from(k) / 2.0 / (a + fraction);
    }
    let erfc = (-a * a).exp() * two_over_root_pi / 2.0 / (a + fraction);
    (1.0 - erfc).copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn erf_matches_published_values() {
        // Abramowitz and Stegun, table 7.1 and 7.3.
        for (x, y) in [
            (0.5, 0.520_499_877_813_046_5),
            (1.0, 0.842_700_792_949_714_9),
            (2.9, 0.999_958_902_121_900_5),
            (3.1, 0.999_988_351_342_633_3),
        ] {
            assert!((erf(x) - y).abs() < 1e-15, "{x}");
            assert_eq!(erf(-x), -erf(x));
        }
    }

    #[test]
    fn integer_functions_follow_their_documentation() {
        let on = |o: ScalarOp, x, y| o.on_ints().expect("an integer function")(x, y, 8);
        assert_eq!(on(ScalarOp::Mod, -7, 3), 2);
        assert_eq!(on(ScalarOp::Mod, 7, -3), -2);
        assert_eq!(on(ScalarOp::Rem, -7, 3), -1);
        assert_eq!(on(ScalarOp::Div, -7, 2), -3);
        assert_eq!(on(ScalarOp::Pow, 3, 4), 81);
        assert_eq!(on(ScalarOp::Shr, -128, 9), -1);
    }
}
