//! Whether a result is the expected one.

use crate::{DType, Kind, Tensor, Value};

/// bfloat16 outputs may differ by two units in the last place, as in the standard's runner.
const BF16_RTOL: f64 = 1.0 / 64.0;

/// What counts as equal.
#[derive(Clone, Copy, Debug)]
pub enum Tolerance {
    /// `|a − b| ≤ atol + rtol·|b|`.
    Given {
        /// Part of the expected number.
        rtol: f64,
        /// Absolute part.
        atol: f64,
    },
    /// `|a − b| ≤ rtol·|b| + atol·max|b|` everywhere, or a relative L2 error within `l2`.
    Whole {
        /// Part of the expected number.
        rtol: f64,
        /// Part of the largest expected number.
        atol: f64,
        /// For the whole tensor.
        l2: f64,
    },
}

impl Tolerance {
    /// Without a statement by the case; `coarse` for types of few bits.
    pub fn default_for(coarse: bool) -> Tolerance {
        match coarse {
            false => Tolerance::Whole { rtol: 1e-3, atol: 1e-5, l2: 1e-4 },
            true => Tolerance::Whole { rtol: 1e-2, atol: 1e-2, l2: 1e-2 },
        }
    }
}

/// How far results are off.
#[derive(Clone, Debug, Default)]
pub struct Difference {
    /// Largest absolute difference of numbers.
    pub max_abs: f64,
    /// Largest relative L2 error of a tensor.
    pub rel_l2: f64,
    /// The first difference that is too large.
    pub problem: Option<String>,
}

impl Difference {
    /// Takes over another difference, its problem under a name.
    pub fn merge(&mut self, other: Difference, name: impl Fn() -> String) {
        self.max_abs = self.max_abs.max(other.max_abs);
        self.rel_l2 = self.rel_l2.max(other.rel_l2);
        if self.problem.is_none() {
            self.problem = other.problem.map(|p| format!("{}: {p}", name()));
        }
    }

    fn wrong(problem: String) -> Difference {
        Difference { problem: Some(problem), ..Difference::default() }
    }
}

/// Compares two values.
pub fn compare(found: &Value, expected: &Value, tolerance: Tolerance) -> Difference {
    match (found, expected) {
        (Value::Tensor(f), Value::Tensor(e)) => compare_tensors(f, e, tolerance),
        (Value::Sequence(f), Value::Sequence(e)) if f.len() == e.len() => {
            let mut all = Difference::default();
            for (i, (f, e)) in f.iter().zip(e).enumerate() {
                all.merge(compare(f, e, tolerance), || format!("element {i}"));
            }
            all
        }
        (Value::Sequence(f), Value::Tensor(e)) if table(f).is_some() => {
            compare_tensors(&table(f).expect("checked above"), e, tolerance)
        }
        (Value::Optional(None), Value::Optional(None)) => Difference::default(),
        (Value::Optional(Some(f)), Value::Optional(Some(e))) => compare(f, e, tolerance),
        (Value::Map(f), Value::Map(e)) if f.len() == e.len() => {
            let mut all = Difference::default();
            for (key, e) in e {
                match f.iter().find(|(k, _)| k == key) {
                    Some((_, f)) => all.merge(compare(f, e, tolerance), || format!("key {key:?}")),
                    None => all.merge(Difference::wrong("is missing".into()), || format!("key {key:?}")),
                }
            }
            all
        }
        _ => Difference::wrong(format!("expected {}, found {}", describe(expected), describe(found))),
    }
}

/// Maps of floats with the same keys as a table: a row a map, columns in the order of the keys.
fn table(maps: &[Value]) -> Option<Tensor> {
    let mut elements = Vec::new();
    for map in maps {
        let Value::Map(entries) = map else { return None };
        let mut sorted: Vec<_> = entries.iter().collect();
        sorted.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (_, value) in sorted {
            elements.extend_from_slice(&value.tensor()?.elems::<f32>().ok()?);
        }
    }
    let columns = elements.len().checked_div(maps.len())?;
    Tensor::from_slice(&[maps.len(), columns], &elements).ok()
}

/// Kind and size of a value.
pub fn describe(value: &Value) -> String {
    match value {
        Value::Tensor(t) => {
            let sizes: Vec<String> = t.shape().iter().map(usize::to_string).collect();
            format!("{}[{}]", t.dtype(), sizes.join(", "))
        }
        Value::Sequence(v) => format!("a sequence of {}", v.len()),
        Value::Optional(None) => "an empty optional".into(),
        Value::Optional(Some(v)) => format!("an optional of {}", describe(v)),
        Value::Map(m) => format!("a map of {}", m.len()),
    }
}

fn compare_tensors(found: &Tensor, expected: &Tensor, tolerance: Tolerance) -> Difference {
    if (found.dtype(), found.shape()) != (expected.dtype(), expected.shape()) {
        let (e, f) = (Value::Tensor(expected.clone()), Value::Tensor(found.clone()));
        return Difference::wrong(format!("expected {}, found {}", describe(&e), describe(&f)));
    }
    match expected.dtype().kind() {
        Kind::Str => compare_exactly(found.strings(), expected.strings(), |s| {
            format!("\"{}\"", String::from_utf8_lossy(s))
        }),
        Kind::Float | Kind::Complex => compare_floats(found, expected, tolerance),
        Kind::Bool | Kind::Int | Kind::Uint => {
            let (f, e) = (found.to_ints(), expected.to_ints());
            let max = f.iter().zip(&e).map(|(a, b)| (a - b).unsigned_abs()).max().unwrap_or(0);
            Difference { max_abs: max as f64, ..compare_exactly(&f, &e, i128::to_string) }
        }
    }
}

fn compare_exactly<T: PartialEq>(found: &[T], expected: &[T], show: impl Fn(&T) -> String) -> Difference {
    let differs = |(f, e): &(&T, &T)| f != e;
    let n = found.iter().zip(expected).filter(differs).count();
    let Some((at, (f, e))) = found.iter().zip(expected).enumerate().find(|(_, p)| differs(p)) else {
        return Difference::default();
    };
    Difference::wrong(format!(
        "{n} of {} elements differ, element {at}: expected {}, found {}",
        expected.len(),
        show(e),
        show(f)
    ))
}

fn compare_floats(found: &Tensor, expected: &Tensor, tolerance: Tolerance) -> Difference {
    let (f, e) = (found.to_f64s(), expected.to_f64s());
    let equal = |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan());
    let (mut squares, mut norm, mut max_abs, mut largest) = (0.0f64, 0.0f64, 0.0f64, 0.0f64);
    for (&a, &b) in f.iter().zip(&e).filter(|(a, b)| !equal(**a, **b)) {
        let d = if a.is_finite() && b.is_finite() { (a - b).abs() } else { f64::INFINITY };
        squares += d * d;
        max_abs = max_abs.max(d);
    }
    for b in e.iter().filter(|b| b.is_finite()) {
        norm += b * b;
        largest = largest.max(b.abs());
    }
    let rel_l2 = if squares == 0.0 { 0.0 } else { (squares / norm).sqrt() };
    let (rtol, atol, l2) = match tolerance {
        Tolerance::Given { rtol, atol } if expected.dtype() == DType::BF16 => {
            (rtol.max(BF16_RTOL), atol, -1.0)
        }
        Tolerance::Given { rtol, atol } => (rtol, atol, -1.0),
        Tolerance::Whole { rtol, atol, l2 } => (rtol, atol * largest, l2),
    };
    let close = |a: f64, b: f64| {
        equal(a, b) || (a.is_finite() && b.is_finite() && (a - b).abs() <= atol + rtol * b.abs())
    };
    let far = f.iter().zip(&e).filter(|(a, b)| !close(**a, **b)).count();
    let first = f.iter().zip(&e).position(|(a, b)| !close(*a, *b));
    let problem = first.filter(|_| rel_l2 > l2 || l2 < 0.0).map(|at| {
        let n = f.len();
        format!("{far} of {n} elements differ, element {at}: expected {}, found {}", e[at], f[at])
    });
    Difference { max_abs, rel_l2, problem }
}
