//! Sounds as inputs: samples from −1 to 1, channels averaged to one.

use super::failure::Failure;
use nnc_runtime::{Port, Tensor};
use std::path::Path;

/// The samples of a wave file as an input of shape `[n]`, `[1, n]` or `[1, 1, n]`.
pub(crate) fn load(path: &Path, port: &Port) -> Result<Tensor, Failure> {
    let fail = |e: hound::Error| Failure::user(format!("\"{}\": {e}", path.display()));
    let mut reader = hound::WavReader::open(path).map_err(fail)?;
    let spec = reader.spec();
    let samples: Vec<f64> = match spec.sample_format {
        hound::SampleFormat::Float => {
            reader.samples::<f32>().map(|s| s.map(f64::from)).collect::<Result<_, _>>().map_err(fail)?
        }
        hound::SampleFormat::Int => {
            let scale = 2f64.powi(i32::from(spec.bits_per_sample) - 1);
            let sample = |s: Result<i32, hound::Error>| s.map(|s| f64::from(s) / scale);
            reader.samples::<i32>().map(sample).collect::<Result<_, _>>().map_err(fail)?
        }
    };
    let channels = usize::from(spec.channels.max(1));
    let mono: Vec<f64> =
        samples.chunks_exact(channels).map(|frame| frame.iter().sum::<f64>() / channels as f64).collect();
    let rank = port.shape.len();
    let fits = rank > 0 && port.shape[..rank - 1].iter().all(|d| d.as_len().is_none_or(|n| n == 1));
    if !fits {
        let name = &port.name;
        return Err(Failure::user(format!(
            "input \"{name}\" has no place for a sound: expected [n] or [1, n]"
        )));
    }
    eprintln!(
        "  input \"{}\": {} samples at {} Hz, from {channels} channels",
        port.name,
        mono.len(),
        spec.sample_rate
    );
    let mut shape = vec![1; rank - 1];
    shape.push(mono.len());
    Tensor::from_f64s(port.dtype, &shape, &mono).map_err(|e| Failure::user(e.to_string()))
}
