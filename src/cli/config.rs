//! Options of compilation, resolved.

use super::failure::Failure;
use super::inputs::Sizes;
use super::options::CompileOptions;
use nnc::Options;
use nnc_frontend::ImportOptions;
use nnc_frontend::model::{DimSpec, ValueType};
use nnc_runtime::DType;
use xxhash_rust::xxh3::xxh3_64;

/// What the options mean.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// For reading the model.
    pub(crate) import: ImportOptions,
    /// For compiling it.
    pub(crate) compile: Options,
}

impl Config {
    /// Makes sense of options; `types` are inputs as `name:f32[1, 3, 224, 224]`.
    pub(crate) fn new(raw: &CompileOptions, types: &[String]) -> Result<Config, Failure> {
        let mut import = ImportOptions::default();
        for text in &raw.dims {
            match parse_dim(text)? {
                (name, low, high) if low == high => drop(import.fix.insert(name, low)),
                (name, low, high) => drop(import.bound.insert(name, (low, high))),
            }
        }
        for text in types {
            let (name, ty) = parse_type(text)?;
            import.input_types.insert(name, ty);
        }
        if !raw.outputs.is_empty() {
            import.outputs = Some(raw.outputs.clone());
        }
        let optimize = raw.level > 0;
        let for_device = raw.device.is_some() && raw.target == "native";
        let target = if for_device { "cuda".to_owned() } else { raw.target.clone() };
        let device = raw.device.clone();
        let (precision, fuel) = (raw.precision, raw.fuel);
        let compile = Options { target, device, precision, optimize, fuel, ..Options::default() };
        Ok(Config { import, compile })
    }

    /// The sizes that are fixed, and the least of those that are bounded.
    pub(crate) fn sizes(&self) -> Sizes {
        let fixed = self.import.fix.iter().map(|(name, size)| (name.clone(), *size));
        let bounded = self.import.bound.iter().map(|(name, (low, _))| (name.clone(), (*low).max(1)));
        fixed.chain(bounded).collect()
    }

    /// The sizes that are fixed, and the greatest of those that are bounded.
    pub(crate) fn greatest_sizes(&self) -> Sizes {
        let fixed = self.import.fix.iter().map(|(name, size)| (name.clone(), *size));
        let bounded = self.import.bound.iter().map(|(name, (_, high))| (name.clone(), (*high).max(1)));
        fixed.chain(bounded).collect()
    }

    /// A hash of all that changes the artifact: the options, and the program itself, which may have
    /// been built anew.
    pub(crate) fn hash(&self) -> u64 {
        let program = std::env::current_exe().and_then(std::fs::metadata);
        let built = program.map(|f| (f.len(), f.modified().ok())).ok();
        let text = format!("{} {built:?} {:?} {:?}", env!("CARGO_PKG_VERSION"), self.import, self.compile);
        xxh3_64(text.as_bytes())
    }
}

/// `name=8` or `name=1..512`, inclusive.
fn parse_dim(text: &str) -> Result<(String, i64, i64), Failure> {
    let wrong =
        || Failure::user(format!("--dim must be a size (batch=8) or a range (seq=1..512), found \"{text}\""));
    let (name, size) = text.split_once('=').ok_or_else(wrong)?;
    let (low, high) = size.split_once("..").unwrap_or((size, size));
    match (low.trim().parse(), high.trim().trim_start_matches('=').parse()) {
        (Ok(low), Ok(high)) if 0 <= low && low <= high => Ok((name.trim().to_owned(), low, high)),
        _ => Err(wrong()),
    }
}

/// Tells `name:f32[1, 3]` from `name=file`.
pub(crate) fn is_type(text: &str) -> bool {
    text.ends_with(']') && !text.contains('=')
}

/// `name:f32[1, 3, h, w]`.
fn parse_type(text: &str) -> Result<(String, ValueType), Failure> {
    let wrong = |what: &str| {
        Failure::user(format!("--input \"{text}\": {what}")).help("write a type as \"x:f32[1, 3, 224, 224]\"")
    };
    let (name, ty) = text.rsplit_once(':').ok_or_else(|| wrong("a type is missing"))?;
    let (dtype, shape) = ty
        .strip_suffix(']')
        .and_then(|t| t.split_once('['))
        .ok_or_else(|| wrong("a shape in brackets is missing"))?;
    let dtype = DType::from_name(dtype.trim()).ok_or_else(|| wrong("the element type is not known"))?;
    let dims = shape.split(',').map(str::trim).filter(|d| !d.is_empty());
    let dims = dims.map(|d| match d.parse::<i64>() {
        Ok(size) if size >= 0 => Ok(DimSpec::Known(size)),
        Ok(_) => Err(wrong("sizes must not be negative")),
        Err(_) if d == "?" => Ok(DimSpec::Unknown),
        Err(_) => Ok(DimSpec::Named(d.to_owned())),
    });
    let shape = dims.collect::<Result<_, _>>()?;
    Ok((name.to_owned(), ValueType::Tensor { elem: dtype.onnx(), shape: Some(shape) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dimensions_are_sizes_or_ranges() {
        assert_eq!(parse_dim("batch=8").unwrap(), ("batch".into(), 8, 8));
        assert_eq!(parse_dim("seq=1..512").unwrap(), ("seq".into(), 1, 512));
        for bad in ["batch", "batch=", "batch=-1", "batch=x", "seq=5..2"] {
            assert!(parse_dim(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn types_name_dimensions() {
        let (name, ty) = parse_type("x:0:f32[n, 3, ?]").unwrap();
        let shape = vec![DimSpec::Named("n".into()), DimSpec::Known(3), DimSpec::Unknown];
        assert_eq!((name.as_str(), ty), ("x:0", ValueType::Tensor { elem: 1, shape: Some(shape) }));
        for bad in ["x[1]", "x:f99[1]", "x:f32[-1]", "x:f32"] {
            assert!(parse_type(bad).is_err(), "{bad}");
        }
    }
}
