//! Times tract or rten on a model folder: `nnc-peers tract|rten FOLDER`.
//!
//! The folder holds model.onnx and test_data_set_0/input_K.pb. The last line printed is JSON with
//! the median latency in seconds, as `time_peers.py --command` reads it. One thread.

use nnc_tensor::file::read_tensor_proto;
use nnc_tensor::{DType, Tensor};
use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

type Failure = Box<dyn Error + Send + Sync>;

/// Inputs by name.
fn inputs(folder: &Path) -> Result<Vec<(String, Tensor)>, Failure> {
    let set = folder.join("test_data_set_0");
    let read = |i: usize| std::fs::read(set.join(format!("input_{i}.pb"))).ok();
    (0..).map_while(read).map(|bytes| Ok(read_tensor_proto(&bytes)?)).collect()
}

/// Median of the runs that fill half a second, after one to warm up.
fn median(mut run: impl FnMut() -> Result<(), Failure>) -> Result<f64, Failure> {
    run()?;
    let (begin, mut times) = (Instant::now(), Vec::new());
    while begin.elapsed() < Duration::from_millis(500) || times.len() < 3 {
        let start = Instant::now();
        run()?;
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

fn tract(folder: &Path) -> Result<f64, Failure> {
    use tract_onnx::prelude::*;
    let mut model = tract_onnx::onnx().model_for_path(folder.join("model.onnx"))?;
    let mut values: TVec<TValue> = tvec!();
    for (i, (_, t)) in inputs(folder)?.into_iter().enumerate() {
        let value: tract_onnx::prelude::Tensor = match t.dtype() {
            DType::F32 => tract_ndarray::ArrayD::from_shape_vec(t.shape(), t.elems::<f32>()?.into_owned())?.into(),
            DType::I64 => tract_ndarray::ArrayD::from_shape_vec(t.shape(), t.elems::<i64>()?.into_owned())?.into(),
            other => return Err(format!("inputs of type {other} are not passed on").into()),
        };
        model.set_input_fact(i, InferenceFact::dt_shape(value.datum_type(), value.shape()))?;
        values.push(value.into_tvalue());
    }
    let plan = model.into_optimized()?.into_runnable()?;
    median(|| {
        plan.run(values.clone())?;
        Ok(())
    })
}

fn rten(folder: &Path) -> Result<f64, Failure> {
    use rten::{Model, RunOptions, ThreadPool, Value};
    let model = Model::load_file(folder.join("model.onnx"))?;
    let mut values = Vec::new();
    for (name, t) in inputs(folder)? {
        let shape = t.shape().to_vec();
        let value: Value = match t.dtype() {
            DType::F32 => rten_tensor::Tensor::from_data(&shape[..], t.elems::<f32>()?.into_owned()).into(),
            // rten has 32-bit integers only.
            DType::I64 => {
                let narrow: Vec<i32> = t.elems::<i64>()?.iter().map(|v| *v as i32).collect();
                rten_tensor::Tensor::from_data(&shape[..], narrow).into()
            }
            other => return Err(format!("inputs of type {other} are not passed on").into()),
        };
        values.push((model.node_id(&name)?, value));
    }
    let pool = std::sync::Arc::new(ThreadPool::with_num_threads(1));
    median(|| {
        let views = values.iter().map(|(id, v)| (*id, v.as_view().into())).collect();
        let mut options = RunOptions::default();
        options.thread_pool = Some(pool.clone());
        model.run(views, model.output_ids(), Some(options))?;
        Ok(())
    })
}

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [engine, folder] = args.as_slice() else { return Err("usage: nnc-peers tract|rten FOLDER".into()) };
    let seconds = match engine.as_str() {
        "tract" => tract(Path::new(folder))?,
        "rten" => rten(Path::new(folder))?,
        other => return Err(format!("\"{other}\" is no engine").into()),
    };
    println!("{{\"median\": {seconds}}}");
    Ok(())
}
