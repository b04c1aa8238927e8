//! How far a result may be from the exact one: bounds carried from operator to operator.
//!
//! Two runs that both stay within the bound of a value differ by at most twice that bound. Operators
//! that are not continuous take operands without error only, so that both runs see the same numbers.

use nnc_ir::DType;

/// The largest relative error of one operator that adds up `k` numbers and rounds to `dtype`.
///
/// A sum of k products with unit roundoff u is off by at most k·u of the sum of magnitudes (Higham,
/// Accuracy and Stability of Numerical Algorithms, 3.1), in any order. Types narrower than f32
/// accumulate in f32 and round at the end, at most a few times in a fused chain; a function of the
/// vector library is within some units in the last place.
pub(super) fn rounding(dtype: DType, k: usize) -> f64 {
    let k = k as f64;
    let f32 = (k + 16.0) * 2f64.powi(-24);
    match dtype {
        DType::F64 => (k + 16.0) * 2f64.powi(-53),
        DType::F16 => f32 + 2.0 * 2f64.powi(-11),
        DType::BF16 => f32 + 2.0 * 2f64.powi(-8),
        dtype if dtype.is_float() => f32,
        _ => 0.0,
    }
}

/// What is known of every element of a value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    /// Largest magnitude.
    pub(super) mag: f64,
    /// Largest difference from the exact value.
    pub(super) err: f64,
    /// No element is infinite or NaN.
    pub(super) finite: bool,
}

impl Bound {
    /// Known to the last bit.
    pub(super) fn exact(mag: f64) -> Bound {
        Bound { mag, err: 0.0, finite: true }
    }

    /// What integers and booleans of a type can be.
    pub(super) fn of_type(dtype: DType) -> Bound {
        let (low, high) = dtype.int_range().unwrap_or((-4, 4));
        Bound::exact((high as f64).max(-(low as f64)))
    }

    pub(super) fn is_exact(self) -> bool {
        self.err == 0.0
    }

    /// After a function with this largest slope and largest result.
    pub(super) fn through(self, dtype: DType, slope: f64, mag: f64) -> Bound {
        Bound { mag, err: self.err * slope, finite: self.finite }.rounded(dtype, 1)
    }

    /// After an operator that sums `k` numbers and rounds.
    pub(super) fn rounded(self, dtype: DType, k: usize) -> Bound {
        if !dtype.is_float() {
            return Bound { err: 0.0, ..self };
        }
        // The spacing of subnormal numbers of f16.
        let smallest = if dtype == DType::F16 { 2f64.powi(-24) } else { 0.0 };
        Bound { err: self.err + rounding(dtype, k) * self.mag + smallest, ..self }
    }

    pub(super) fn plus(self, b: Bound) -> Bound {
        Bound { mag: self.mag + b.mag, err: self.err + b.err, finite: self.finite && b.finite }
    }

    pub(super) fn times(self, b: Bound) -> Bound {
        let err = self.mag * b.err + b.mag * self.err;
        Bound { mag: self.mag * b.mag, err, finite: self.finite && b.finite }
    }

    pub(super) fn scaled(self, by: f64) -> Bound {
        Bound { mag: self.mag * by, err: self.err * by, ..self }
    }

    /// Either of two.
    pub(super) fn or(self, b: Bound) -> Bound {
        let finite = self.finite && b.finite;
        Bound { mag: self.mag.max(b.mag), err: self.err.max(b.err), finite }
    }

    /// Good enough an operand: neither large nor far off.
    pub(super) fn is_tame(self) -> bool {
        self.finite && self.mag <= 1024.0 && self.err <= 0.05 && self.err <= 0.1 * self.mag
    }
}
