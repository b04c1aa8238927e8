//! No values of inputs and attributes make a routine panic.

use super::*;
use crate::ROUTINES;
use nnc_tensor::{DType, MapKey};

/// A small linear congruential generator; the constants are Knuth's.
struct Lcg(u64);

impl Lcg {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % n
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    fn tensor(&mut self) -> Tensor {
        let sizes = [0usize, 1, 1, 2, 3, 4];
        let shape: Vec<usize> = (0..self.below(4)).map(|_| self.pick(&sizes)).collect();
        let numbers = [-3.0, -1.0, 0.0, -0.0, 0.5, 1.0, 2.0, 3.0, 1e30, f64::NAN, f64::INFINITY];
        let n: usize = shape.iter().product();
        let data: Vec<f64> = (0..n).map(|_| self.pick(&numbers)).collect();
        let dtypes = [DType::F32, DType::I64, DType::Str, DType::Bool, DType::F32, DType::I64];
        let wide = Tensor::from_f64s(DType::F64, &shape, &data).unwrap();
        let dtype = if self.below(4) == 0 { self.pick(DType::ALL) } else { self.pick(&dtypes) };
        nnc_tensor::cast(&wide, dtype, true).unwrap()
    }

    fn value(&mut self) -> Value {
        match self.below(12) {
            0 => Value::Optional(None),
            1 => Value::Optional(Some(Box::new(self.tensor().into()))),
            2 | 3 => Value::Sequence((0..self.below(4)).map(|_| self.tensor().into()).collect()),
            4 => Value::Map(
                (0..self.below(3)).map(|k| (MapKey::Int(k as i64), self.tensor().into())).collect(),
            ),
            _ => Value::Tensor(self.tensor()),
        }
    }

    /// An attribute of any type, seven times of eight of the one that the name asks for.
    fn attr(&mut self, wanted: usize) -> Attr {
        let ints = [-1, 0, 0, 1, 1, 2, 3, 7, 8, i64::MIN, i64::MAX];
        let texts = ["", "a", "TF", "IDF", "SPARSE", "LOWER", "TO_STRING", "BGR", "(", ".*", "up"];
        let n = self.below(5);
        match if self.below(8) == 0 { self.below(6) } else { wanted } {
            0 => Attr::Int(self.pick(&ints)),
            1 => Attr::Ints((0..n).map(|_| self.pick(&ints)).collect()),
            2 => Attr::Float(self.pick(&[0.0, 1.0, -1.0, f64::NAN, 1e300])),
            3 => Attr::Floats(vec![1.0; n]),
            4 => Attr::Str(self.pick(&texts).into()),
            _ => Attr::Strs((0..n).map(|_| self.pick(&texts).into()).collect()),
        }
    }
}

/// Every name that a routine asks for, by type in the order of [`Lcg::attr`].
#[rustfmt::skip]
const NAMES: [&[&str]; 6] = [
    &["axis", "largest", "k", "sorted", "center_point_box", "keepdims", "new_axis", "to", "saturate",
      "dtype", "sample_size", "maxsplit", "is_case_sensitive", "min_gram_length", "max_gram_length",
      "max_skip_count", "zeros", "max_map", "default_int64"],
    &["shape", "ngram_counts", "ngram_indexes", "pool_int64s", "keys_int64s", "values_int64s", "cats_int64s",
      "classlabels_int64s", "int64_vocabulary"],
    &["seed", "low", "high", "mean", "scale", "default_float"],
    &["weights", "keys_floats", "values_floats"],
    &["round_mode", "pattern", "delimiter", "case_change_action", "mode", "map_form", "cast_to",
      "pixel_format", "default_string"],
    &["stopwords", "pool_strings", "keys_strings", "values_strings", "cats_strings", "classlabels_strings",
      "string_vocabulary"],
];

#[test]
fn nothing_panics() {
    let mut answers = 0;
    for (number, routine) in ROUTINES.iter().enumerate() {
        let mut random = Lcg(number as u64);
        for _ in 0..3000 {
            let mut attrs: Vec<(String, Attr)> = Vec::new();
            for (wanted, names) in NAMES.iter().enumerate() {
                for name in *names {
                    if random.below(2) == 0 {
                        attrs.push(((*name).to_owned(), random.attr(wanted)));
                    }
                }
            }
            let n_inputs = random.below(5);
            let inputs: Vec<Value> = (0..n_inputs).map(|_| random.value()).collect();
            answers += usize::from((routine.run)(&Attrs(&attrs), &inputs).is_ok());
        }
    }
    // Most calls are wrong, but not all: the test reaches past the checks.
    assert!(answers > 100 * ROUTINES.len(), "{answers} answers");
}

#[test]
fn huge_sizes_are_errors() {
    let huge = Tensor::zeros(DType::F32, &[1 << 60, 0]).unwrap();
    for routine in ROUTINES {
        for axis in [0, 1] {
            let attrs = [("axis".to_owned(), Attr::Int(axis)), ("k".to_owned(), Attr::Int(1 << 59))];
            let _ = (routine.run)(&Attrs(&attrs), &[huge.clone().into()]);
        }
        let attrs = [("shape".to_owned(), Attr::Ints(vec![1 << 40, 1 << 40]))];
        assert!(!routine.name.starts_with("random") || (routine.run)(&Attrs(&attrs), &[]).is_err());
    }
}
