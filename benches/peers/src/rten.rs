//! rten, by its crate. It has no 64-bit integers: those become 32 bits wide on the way in.

use crate::{Engine, Failure, Named};
use ::rten::{Model, NodeId, RunOptions, ThreadPool, Value};
use nnc_tensor::DType;
use rten_tensor::prelude::*;
use std::path::Path;
use std::sync::Arc;

/// A model with its inputs.
pub struct Rten {
    model: Model,
    inputs: Vec<(NodeId, Value)>,
    pool: Arc<ThreadPool>,
}

impl Rten {
    /// Loads a model.
    pub fn open(model: &Path, inputs: Named, threads: usize) -> Result<Rten, Failure> {
        let model = Model::load_file(model)?;
        let mut values = Vec::new();
        for (name, t) in inputs {
            let shape = t.shape();
            let value: Value = match t.dtype() {
                DType::F32 => rten_tensor::Tensor::from_data(shape, t.elems::<f32>()?.into_owned()).into(),
                DType::I32 => rten_tensor::Tensor::from_data(shape, t.elems::<i32>()?.into_owned()).into(),
                DType::I8 => rten_tensor::Tensor::from_data(shape, t.elems::<i8>()?.into_owned()).into(),
                DType::U8 => rten_tensor::Tensor::from_data(shape, t.elems::<u8>()?.into_owned()).into(),
                DType::I64 => {
                    let narrow: Vec<i32> = t.elems::<i64>()?.iter().map(|v| *v as i32).collect();
                    rten_tensor::Tensor::from_data(shape, narrow).into()
                }
                other => return Err(format!("inputs of type {other} are not passed on").into()),
            };
            values.push((model.node_id(&name)?, value));
        }
        Ok(Rten { model, inputs: values, pool: Arc::new(ThreadPool::with_num_threads(threads)) })
    }

    fn values(&self) -> Result<Vec<Value>, Failure> {
        let views = self.inputs.iter().map(|(id, v)| (*id, v.as_view().into())).collect();
        let mut options = RunOptions::default();
        options.thread_pool = Some(self.pool.clone());
        Ok(self.model.run(views, self.model.output_ids(), Some(options))?)
    }
}

impl Engine for Rten {
    fn run(&mut self) -> Result<(), Failure> {
        self.values().map(drop)
    }

    fn outputs(&mut self) -> Result<Named, Failure> {
        let name =
            |id: &NodeId| self.model.node_info(*id).and_then(|n| n.name()).unwrap_or_default().to_owned();
        let names: Vec<String> = self.model.output_ids().iter().map(name).collect();
        names.into_iter().zip(self.values()?).map(|(name, value)| Ok((name, plain(value)?))).collect()
    }
}

fn plain(value: Value) -> Result<nnc_tensor::Tensor, Failure> {
    use nnc_tensor::Tensor;
    Ok(match value {
        Value::FloatTensor(t) => Tensor::from_slice(t.shape().as_ref(), &t.to_vec())?,
        Value::Int32Tensor(t) => Tensor::from_slice(t.shape().as_ref(), &t.to_vec())?,
        Value::Int8Tensor(t) => Tensor::from_slice(t.shape().as_ref(), &t.to_vec())?,
        Value::UInt8Tensor(t) => Tensor::from_slice(t.shape().as_ref(), &t.to_vec())?,
        _ => return Err("sequences are not passed on".into()),
    })
}
