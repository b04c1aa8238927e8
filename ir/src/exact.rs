//! A model in double precision: how much of its result is rounding.
//!
//! A model whose outputs depend on its rounding (logarithms of near zero, long chains of quantizations)
//! has several right answers in f32. Its result in f64 tells which digits of them mean something.

use crate::verify::{VerifyError, verify};
use crate::{Attr, DType, Graph, InterpError, Interpreter, NodeId, Type, Value, ValueId};
use nnc_tensor::TensorError;

/// Why a model has no result in double precision.
#[derive(Debug, thiserror::Error)]
pub enum ExactError {
    /// An operator has no meaning in f64: one that looks at bits.
    #[error("the model has no meaning in f64: {}", .0.first().map(ToString::to_string).unwrap_or_default())]
    Graph(Vec<VerifyError>),
    /// An input or output cannot be converted.
    #[error(transparent)]
    Value(#[from] TensorError),
    /// The interpreter refuses the model.
    #[error("the interpreter refuses the model: {0}")]
    Run(#[from] InterpError),
}

/// Runs a graph in f64 by the interpreter; inputs and outputs have the types that the model states.
///
/// # Errors
/// See [`ExactError`].
pub fn run_in_f64(graph: &Graph, inputs: &[Value]) -> Result<Vec<Value>, ExactError> {
    let wide = in_f64(graph).map_err(ExactError::Graph)?;
    let convert = |values: &[Value], graph: &Graph, ids: &[ValueId]| -> Result<Vec<Value>, TensorError> {
        values.iter().zip(ids).map(|(v, id)| value_as(v, graph.ty(*id))).collect()
    };
    let inputs = convert(inputs, &wide, &wide.block(wide.body()).params)?;
    let outputs = Interpreter::new(&wide).run(&inputs)?;
    Ok(convert(&outputs, graph, &graph.block(graph.body()).results)?)
}

/// The same graph with every value, constant and cast of type f16, bf16 or f32 in f64. Integers, and
/// floats of eight bits or fewer, which a model uses to store what it quantized, stay what they are.
///
/// # Errors
/// What the verifier says where an operator has no meaning in f64: one that looks at bits.
fn in_f64(graph: &Graph) -> Result<Graph, Vec<VerifyError>> {
    let mut wide = graph.clone();
    for v in (0..graph.n_values()).map(|i| ValueId(i as u32)) {
        widen_type(&mut wide.value_mut(v).ty);
    }
    for n in (0..graph.n_nodes()).map(|i| NodeId(i as u32)) {
        let attrs: Vec<(&'static str, Attr)> =
            graph.node(n).attrs.iter().map(|(k, a)| (k, a.clone())).collect();
        for (name, mut attr) in attrs {
            match &mut attr {
                Attr::DType(d) => *d = wide_dtype(*d),
                Attr::Types(types) => types.iter_mut().for_each(widen_type),
                Attr::Tensor(t) if wide_dtype(t.dtype()) != t.dtype() => {
                    // A float is always a float of more bits.
                    let Ok(tensor) = nnc_tensor::cast(t, DType::F64, false) else { continue };
                    *t = tensor;
                }
                _ => continue,
            }
            wide.node_mut(n).attrs.set(name, attr);
        }
    }
    verify(&wide)?;
    Ok(wide)
}

/// A value with the element types of `ty`: an input for the graph in f64, or its output as the model states it.
///
/// # Errors
/// What the conversion says.
fn value_as(value: &Value, ty: &Type) -> Result<Value, TensorError> {
    Ok(match (value, ty) {
        (Value::Tensor(t), Type::Tensor(ty)) => Value::Tensor(nnc_tensor::cast(t, ty.dtype, false)?),
        (Value::Sequence(of), Type::Sequence(ty)) => {
            Value::Sequence(of.iter().map(|v| value_as(v, ty)).collect::<Result<_, _>>()?)
        }
        (Value::Optional(Some(of)), Type::Optional(ty)) => Value::Optional(Some(Box::new(value_as(of, ty)?))),
        (Value::Map(of), Type::Map(_, ty)) => {
            let entry = |(k, v): &(_, Value)| Ok((Clone::clone(k), value_as(v, ty)?));
            Value::Map(of.iter().map(entry).collect::<Result<_, TensorError>>()?)
        }
        _ => value.clone(),
    })
}

fn wide_dtype(dtype: DType) -> DType {
    match dtype {
        DType::F16 | DType::BF16 | DType::F32 => DType::F64,
        other => other,
    }
}

fn widen_type(ty: &mut Type) {
    match ty {
        Type::Tensor(t) => t.dtype = wide_dtype(t.dtype),
        Type::Sequence(t) | Type::Optional(t) | Type::Map(_, t) => widen_type(t),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text;

    #[test]
    fn digits_that_f32_loses_remain() {
        let source = "graph @lost(%x: f32[1]) -> (f32[1]) {\n\
                      %one = constant() {value = f32[1] [1.0]} : f32[1]\n\
                      %sum = add(%x, %one) : f32[1]\n\
                      %y = sub(%sum, %one) : f32[1]\n\
                      return %y\n}";
        let graph = text::parse(source, &[]).unwrap();
        let x: Value = nnc_tensor::Tensor::from_f64s(DType::F32, &[1], &[2f64.powi(-30)]).unwrap().into();
        let run =
            |graph: &Graph, x| Interpreter::new(graph).run(&[x]).unwrap()[0].tensor().unwrap().to_f64s();
        assert_eq!(run(&graph, x.clone()), [0.0]);
        let wide = in_f64(&graph).unwrap();
        assert_eq!(
            run(&wide, value_as(&x, wide.ty(wide.block(wide.body()).params[0])).unwrap()),
            [2f64.powi(-30)]
        );
    }
}
