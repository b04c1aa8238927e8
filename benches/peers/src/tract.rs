//! tract, by its crate.

use crate::{Engine, Failure, Named};
use nnc_tensor::DType;
use std::path::Path;
use std::sync::Arc;
use tract_onnx::prelude::tract_ndarray::ArrayD;
use tract_onnx::prelude::*;

/// A model of static shapes, as its users are told to make.
pub struct Tract {
    plan: Arc<TypedRunnableModel>,
    inputs: TVec<TValue>,
    names: Vec<String>,
}

impl Tract {
    /// Loads and optimizes a model for these inputs.
    pub fn open(model: &Path, inputs: Named, threads: usize) -> Result<Tract, Failure> {
        if threads > 1 {
            return Err("it is built for one thread here: measure with --threads 1".into());
        }
        let mut model = tract_onnx::onnx().model_for_path(model)?;
        let label = |model: &InferenceModel, at: OutletId| {
            model.outlet_label(at).unwrap_or(&model.node(at.node).name).to_owned()
        };
        let known: Vec<String> = model.input_outlets()?.iter().map(|o| label(&model, *o)).collect();
        let mut values: Vec<Option<TValue>> = vec![None; known.len()];
        for (name, t) in inputs {
            let missing = || format!("there is no input \"{name}\", but {}", known.join(", "));
            let at = known.iter().position(|k| *k == name).ok_or_else(missing)?;
            let value = tensor(&t)?;
            model.set_input_fact(at, InferenceFact::dt_shape(value.datum_type(), value.shape()))?;
            values[at] = Some(value.into_tvalue());
        }
        let inputs = values.into_iter().collect::<Option<TVec<TValue>>>().ok_or("an input is missing")?;
        let names = model.output_outlets()?.iter().map(|o| label(&model, *o)).collect();
        Ok(Tract { plan: model.into_optimized()?.into_runnable()?, inputs, names })
    }
}

impl Engine for Tract {
    fn run(&mut self) -> Result<(), Failure> {
        self.plan.run(self.inputs.clone())?;
        Ok(())
    }

    fn outputs(&mut self) -> Result<Named, Failure> {
        let values = self.plan.run(self.inputs.clone())?;
        let named = self.names.iter().zip(&values);
        named.map(|(name, value)| Ok((name.clone(), plain(value)?))).collect()
    }
}

/// Runs an expression for the Rust type of an element type.
macro_rules! by_type {
    ($dtype:expr, $($case:pat => $t:ty),*; $f:ident($arg:expr)) => {
        match $dtype {
            $($case => $f::<$t>($arg),)*
            other => Err(format!("tensors of type {other:?} are not passed on").into()),
        }
    };
}

fn tensor(t: &nnc_tensor::Tensor) -> Result<Tensor, Failure> {
    fn of<T: Datum + nnc_tensor::Element>(t: &nnc_tensor::Tensor) -> Result<Tensor, Failure> {
        Ok(ArrayD::from_shape_vec(t.shape(), t.elems::<T>()?.into_owned())?.into())
    }
    by_type!(t.dtype(), DType::F32 => f32, DType::F64 => f64, DType::I64 => i64, DType::I32 => i32,
        DType::I8 => i8, DType::U8 => u8; of(t))
}

fn plain(t: &Tensor) -> Result<nnc_tensor::Tensor, Failure> {
    fn of<T: Datum + nnc_tensor::Element>(t: &Tensor) -> Result<nnc_tensor::Tensor, Failure> {
        let elems: Vec<T> = t.to_plain_array_view::<T>()?.iter().copied().collect();
        Ok(nnc_tensor::Tensor::from_slice(t.shape(), &elems)?)
    }
    by_type!(t.datum_type(), DatumType::F32 => f32, DatumType::F64 => f64, DatumType::I64 => i64,
        DatumType::I32 => i32, DatumType::I8 => i8, DatumType::U8 => u8; of(t))
}
