//! Where a run's inputs come from: files of several kinds, random numbers, zeros.

use super::case::{proto_kind, read_value};
use super::failure::Failure;
use super::inputs::{Sizes, random_input, shape_of, zeros};
use super::picture::{self, PictureOptions};
use super::sound;
use nnc_runtime::{DType, Port, Tensor, Value};
use nnc_tensor::file::{read_npy, read_npz};
use std::path::Path;

/// The most that an archive may hold.
const MAX_ARCHIVE_BYTES: u64 = 64 << 30;
/// Endings of picture files.
const PICTURES: &[&str] = &["png", "jpg", "jpeg", "bmp", "gif", "tif", "tiff", "webp", "ppm", "pgm", "pbm"];

/// Values for all inputs.
pub(crate) struct Given {
    /// In the order of the ports.
    pub(crate) values: Vec<Value>,
    /// One of them came from a picture or a sound: the output is probably a classification.
    pub(crate) is_perception: bool,
}

/// Reads every input; `texts` are `name=source`, or `source` alone where the name is clear.
pub(crate) fn read_all(
    texts: &[String],
    ports: &[Port],
    sizes: &Sizes,
    pictures: &PictureOptions,
) -> Result<Given, Failure> {
    let mut values: Vec<Option<Value>> = vec![None; ports.len()];
    let mut is_perception = false;
    for text in texts {
        let (name, source) = split(text, ports);
        let ending = ending(source);
        if name.is_none() && ending == "npz" {
            for (name, tensor) in archive(Path::new(source))? {
                values[find(&name, ports)?] = Some(Value::Tensor(tensor));
            }
            continue;
        }
        let at = match name {
            Some(name) => find(name, ports)?,
            None => values.iter().position(Option::is_none).ok_or_else(|| {
                Failure::user(format!("--input {text}: the model has {} inputs", ports.len()))
            })?,
        };
        is_perception |= ending == "wav" || PICTURES.contains(&ending.as_str());
        values[at] = Some(read_one(source, &ending, &ports[at], sizes, pictures)?);
    }
    let missing: Vec<String> =
        ports.iter().zip(&values).filter(|(_, v)| v.is_none()).map(|(p, _)| describe(p)).collect();
    if !missing.is_empty() {
        let s = if missing.len() == 1 { "an input has" } else { "inputs have" };
        return Err(Failure { causes: missing, ..Failure::user(format!("{s} no value")) }
            .help("give each as --input NAME=FILE, NAME=random or NAME=zeros"));
    }
    for (port, value) in ports.iter().zip(values.iter().flatten()) {
        check_shape(port, value)?;
    }
    Ok(Given { values: values.into_iter().flatten().collect(), is_perception })
}

/// `name: f32[n, 3]`.
pub(crate) fn describe(port: &Port) -> String {
    format!("\"{}\": {}", port.name, type_of(port))
}

/// The type of a port as text.
pub(crate) fn type_of(port: &Port) -> String {
    let sizes: Vec<String> = port.shape.iter().map(ToString::to_string).collect();
    port.container.clone().unwrap_or_else(|| format!("{}[{}]", port.dtype, sizes.join(", ")))
}

/// Says what is wrong with a tensor's type or rank before the run does.
fn check_shape(port: &Port, value: &Value) -> Result<(), Failure> {
    let (Value::Tensor(t), None) = (value, &port.container) else { return Ok(()) };
    let fits = t.rank() == port.shape.len()
        && port.shape.iter().zip(t.shape()).all(|(d, n)| d.as_len().is_none_or(|d| d == *n));
    if t.dtype() == port.dtype && fits {
        return Ok(());
    }
    let found = nnc_tensor::compare::describe(value);
    Err(Failure::user(format!("input \"{}\" must be {}, found {found}", port.name, type_of(port))))
}

/// Splits at the first `=`, unless the name before it is no input and the whole is a file.
fn split<'a>(text: &'a str, ports: &[Port]) -> (Option<&'a str>, &'a str) {
    // A name may hold "=" itself: the longest input name that fits is meant.
    let named =
        ports.iter().filter(|p| text.strip_prefix(p.name.as_str()).is_some_and(|r| r.starts_with('=')));
    if let Some(port) = named.max_by_key(|p| p.name.len()) {
        let (name, rest) = text.split_at(port.name.len());
        return (Some(name), &rest[1..]);
    }
    match text.split_once('=') {
        Some((name, source)) if !Path::new(text).exists() => (Some(name), source),
        _ => (None, text),
    }
}

fn find(name: &str, ports: &[Port]) -> Result<usize, Failure> {
    ports.iter().position(|p| p.name == name).ok_or_else(|| {
        let causes = ports.iter().map(describe).collect();
        Failure { causes, ..Failure::user(format!("the model has no input \"{name}\"; its inputs are")) }
    })
}

fn ending(source: &str) -> String {
    Path::new(source).extension().and_then(|e| e.to_str()).unwrap_or("").to_ascii_lowercase()
}

fn read_one(
    source: &str,
    ending: &str,
    port: &Port,
    sizes: &Sizes,
    pictures: &PictureOptions,
) -> Result<Value, Failure> {
    if source == "zeros" {
        return Ok(Value::Tensor(zeros(port.dtype, &shape_of(port, sizes)?)?));
    }
    if source == "random" || source.starts_with("random:") {
        let seed = source.strip_prefix("random:").unwrap_or("0");
        let wrong = || Failure::user(format!("random:SEED must be a whole number, found \"{seed}\""));
        return random_input(port, sizes, seed.parse().map_err(|_| wrong())?);
    }
    let path = Path::new(source);
    let bytes = || read_file(path);
    let wrong = |e: String| Failure::user(format!("\"{source}\": {e}"));
    let tensor = match ending {
        "pb" => return read_value(path, proto_kind(port)),
        "npy" => read_npy(&bytes()?).map_err(|e| wrong(e.to_string()))?,
        "npz" => from_archive(path, port)?,
        "json" => from_json(&bytes()?, port).map_err(wrong)?,
        "wav" => sound::load(path, port)?,
        e if PICTURES.contains(&e) => picture::load(path, port, pictures)?,
        "raw" | "bin" => from_raw(&bytes()?, port, sizes)?,
        _ => {
            let known = "npy, npz, pb, png, jpg, wav, json, raw";
            return Err(Failure::user(format!("--input {source}: its kind is not known by its ending"))
                .help(format!("files end in {known}; or write random, random:SEED or zeros")));
        }
    };
    Ok(Value::Tensor(tensor))
}

fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|e| Failure::user(format!("cannot read \"{}\": {e}", path.display())))
}

fn archive(path: &Path) -> Result<Vec<(String, Tensor)>, Failure> {
    read_npz(&read_file(path)?, MAX_ARCHIVE_BYTES)
        .map_err(|e| Failure::user(format!("\"{}\": {e}", path.display())))
}

/// The array of the input's name, or the only one.
fn from_archive(path: &Path, port: &Port) -> Result<Tensor, Failure> {
    let mut arrays = archive(path)?;
    match arrays.iter().position(|(name, _)| *name == port.name) {
        Some(at) => Ok(arrays.swap_remove(at).1),
        None if arrays.len() == 1 => Ok(arrays.swap_remove(0).1),
        None => Err(Failure::user(format!("\"{}\" holds no array \"{}\"", path.display(), port.name))),
    }
}

/// Elements as they lie in memory; one free size is found from their number.
fn from_raw(bytes: &[u8], port: &Port, sizes: &Sizes) -> Result<Tensor, Failure> {
    let mut shape = shape_of(port, sizes)?;
    let elems = (bytes.len() * 8).checked_div(port.dtype.bits()).unwrap_or(0);
    let free: Vec<usize> = (0..shape.len()).filter(|a| port.shape[*a].as_len().is_none()).collect();
    if let [axis] = free[..] {
        shape[axis] = 1;
        shape[axis] = elems / shape.iter().product::<usize>().max(1);
    }
    Tensor::from_bytes(port.dtype, shape, bytes)
        .map_err(|e| Failure::user(format!("input \"{}\" must be {}: {e}", port.name, type_of(port))))
}

/// Nested lists of numbers or strings, also as the member of an object named like the input.
fn from_json(bytes: &[u8], port: &Port) -> Result<Tensor, String> {
    let json: serde_json::Value = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    let json = match &json {
        serde_json::Value::Object(members) => {
            members.get(&port.name).ok_or_else(|| format!("there is no member \"{}\"", port.name))?
        }
        other => other,
    };
    let mut shape = Vec::new();
    let mut level = json;
    while let serde_json::Value::Array(list) = level {
        shape.push(list.len());
        match list.first() {
            Some(first) => level = first,
            None => break,
        }
    }
    let mut leaves = Vec::new();
    flatten(json, &shape, &mut leaves)?;
    tensor_of(&leaves, &shape, port.dtype)
}

fn flatten<'a>(
    json: &'a serde_json::Value,
    shape: &[usize],
    leaves: &mut Vec<&'a serde_json::Value>,
) -> Result<(), String> {
    match (json, shape) {
        (serde_json::Value::Array(list), [n, rest @ ..]) if list.len() == *n => {
            list.iter().try_for_each(|item| flatten(item, rest, leaves))
        }
        (serde_json::Value::Array(_), _) | (_, [_, ..]) => Err("the lists are not of equal length".into()),
        (leaf, []) => {
            leaves.push(leaf);
            Ok(())
        }
    }
}

fn tensor_of(leaves: &[&serde_json::Value], shape: &[usize], dtype: DType) -> Result<Tensor, String> {
    let wrong = |v: &serde_json::Value| format!("{v} is no value of type {dtype}");
    let made = if dtype == DType::Str {
        let text = |v: &&serde_json::Value| v.as_str().map(|s| s.as_bytes().to_vec()).ok_or_else(|| wrong(v));
        Tensor::from_strings(shape, leaves.iter().map(text).collect::<Result<_, _>>()?)
    } else if dtype.is_float() {
        let number = |v: &&serde_json::Value| v.as_f64().ok_or_else(|| wrong(v));
        Tensor::from_f64s(dtype, shape, &leaves.iter().map(number).collect::<Result<Vec<_>, _>>()?)
    } else {
        let int = |v: &&serde_json::Value| {
            let whole = v.as_i64().map(i128::from).or(v.as_u64().map(i128::from));
            whole.or(v.as_bool().map(i128::from)).ok_or_else(|| wrong(v))
        };
        Tensor::from_ints(dtype, shape, &leaves.iter().map(int).collect::<Result<Vec<_>, _>>()?)
    };
    made.map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nnc_runtime::Dim;

    fn port(name: &str, shape: Vec<Dim>) -> Port {
        Port { name: name.into(), dtype: DType::F32, shape, container: None }
    }

    #[test]
    fn names_may_hold_equal_signs() {
        let ports = [port("a=b", vec![]), port("a", vec![])];
        assert_eq!(split("a=b=zeros", &ports), (Some("a=b"), "zeros"));
        assert_eq!(split("a=zeros", &ports), (Some("a"), "zeros"));
        assert_eq!(split("zeros", &ports), (None, "zeros"));
    }

    #[test]
    fn json_lists_are_rectangular() {
        let p = port("x", vec![Dim::int(2), Dim::int(2)]);
        let t = from_json(b"[[1, 2], [3, 4.5]]", &p).unwrap();
        assert_eq!((t.shape(), t.to_f64s()), (&[2usize, 2][..], vec![1.0, 2.0, 3.0, 4.5]));
        assert!(from_json(b"{\"x\": [[1, 2], [3]]}", &p).is_err());
        assert!(from_json(b"{\"y\": [1]}", &p).is_err());
        assert!(from_json(b"[[1, [2]], [3, 4]]", &p).is_err());
    }

    #[test]
    fn raw_bytes_find_a_free_size() {
        let p = port("x", vec![Dim::named("n"), Dim::int(2)]);
        assert_eq!(from_raw(&[0; 24], &p, &Sizes::new()).unwrap().shape(), [3, 2]);
        assert!(from_raw(&[0; 23], &p, &Sizes::new()).is_err());
    }
}
