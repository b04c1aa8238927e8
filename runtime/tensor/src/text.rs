//! Numbers as text and back, for casts to and from strings.

use crate::formats::{decode, encode};
use crate::numbers::{CastOptions, write_f64s, write_ints};
use crate::{DType, Kind, Tensor, TensorError};

/// Every element as NumPy prints it.
pub(crate) fn format_all(tensor: &Tensor) -> Vec<Vec<u8>> {
    let dtype = tensor.dtype();
    let float = |x: f64| format_float(dtype, x);
    match dtype.kind() {
        Kind::Float => tensor.to_f64s().into_iter().map(|x| float(x).into_bytes()).collect(),
        Kind::Complex => {
            let join = |c: &[f64]| {
                let sign = if c[1].is_sign_negative() { "" } else { "+" };
                format!("({}{sign}{}j)", float(c[0]), float(c[1])).into_bytes()
            };
            tensor.to_f64s().chunks_exact(2).map(join).collect()
        }
        Kind::Bool => {
            let name = |v: i128| if v == 0 { b"False".to_vec() } else { b"True".to_vec() };
            tensor.to_ints().into_iter().map(name).collect()
        }
        _ => tensor.to_ints().into_iter().map(|v| v.to_string().into_bytes()).collect(),
    }
}

/// The shortest digits that read back as the same number of the type: plain from 1e-4 up to 1e16,
/// else with an exponent of at least two digits.
fn format_float(dtype: DType, x: f64) -> String {
    if x.is_nan() {
        return "nan".into();
    }
    if x.is_infinite() {
        return if x < 0.0 { "-inf".into() } else { "inf".into() };
    }
    let scientific = match dtype {
        DType::F64 | DType::C128 => format!("{x:e}"),
        DType::F32 | DType::C64 => format!("{:e}", x as f32),
        _ => shortest(dtype, x),
    };
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if x != 0.0 && !(1e-4..1e16).contains(&x.abs()) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    plain(digits, exponent)
}

fn shortest(dtype: DType, x: f64) -> String {
    let same = |s: &str| {
        let back = s.parse().ok().and_then(|v| decode(dtype, encode(dtype, v, true)?));
        back == Some(x)
    };
    (0..17).map(|n| format!("{x:.n$e}")).find(|s| same(s)).unwrap_or_else(|| format!("{x:e}"))
}

fn plain(digits: &str, exponent: i32) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |d| ("-", d));
    let digits: String = digits.chars().filter(|c| *c != '.').collect();
    let len = digits.len();
    match usize::try_from(exponent) {
        Ok(e) if len > e + 1 => format!("{sign}{}.{}", &digits[..=e], &digits[e + 1..]),
        Ok(e) => format!("{sign}{digits}{}.0", "0".repeat(e + 1 - len)),
        Err(_) => {
            let zeros = exponent.unsigned_abs() as usize - 1;
            format!("{sign}0.{}{digits}", "0".repeat(zeros))
        }
    }
}

/// Every string as a number of type `to`.
pub(crate) fn parse_all(tensor: &Tensor, to: DType, options: CastOptions) -> Result<Tensor, TensorError> {
    let mut bytes = Vec::new();
    if to.is_int() {
        let ints: Vec<i128> = tensor.strings().iter().map(|s| parse_int(s)).collect::<Result<_, _>>()?;
        write_ints(to, &ints, options, &mut bytes);
    } else {
        let numbers: Vec<f64> =
            tensor.strings().iter().map(|s| parse_float(to, s)).collect::<Result<_, _>>()?;
        let numbers = match to.kind() {
            Kind::Complex => numbers.into_iter().flat_map(|x| [x, 0.0]).collect(),
            _ => numbers,
        };
        write_f64s(to, &numbers, options, &mut bytes);
    }
    Tensor::from_bytes(to, tensor.shape().to_vec(), &bytes)
}

fn not_a_number(text: &[u8]) -> TensorError {
    TensorError::NotANumber(String::from_utf8_lossy(&text[..text.len().min(64)]).into_owned())
}

fn parse_float(to: DType, text: &[u8]) -> Result<f64, TensorError> {
    let s = std::str::from_utf8(text).map_err(|_| not_a_number(text))?.trim();
    let number = match to {
        DType::F32 => s.parse::<f32>().map(f64::from).ok(),
        DType::Bool if s.eq_ignore_ascii_case("true") => Some(1.0),
        DType::Bool if s.eq_ignore_ascii_case("false") => Some(0.0),
        _ => s.parse().ok(),
    };
    number.ok_or_else(|| not_a_number(text))
}

/// Whole numbers exactly; others as floats cut towards zero.
fn parse_int(text: &[u8]) -> Result<i128, TensorError> {
    let s = std::str::from_utf8(text).map_err(|_| not_a_number(text))?.trim();
    match s.parse() {
        Ok(v) => Ok(v),
        Err(_) => Ok(parse_float(DType::F64, text)? as i128),
    }
}
