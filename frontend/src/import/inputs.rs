//! Types of a model's inputs: names of dimensions become symbols.

use super::{Importer, Slot};
use crate::dims::named_dim;
use crate::model::{DimSpec, Graph, ValueInfo, ValueType};
use crate::refusal::{Refusal, unsupported};
use nnc_ir::{Builder, DType, Dim, Sym, Tensor, Type};
use std::collections::{BTreeMap, BTreeSet};

/// What the caller decides about a model's inputs and outputs.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// Dimensions, by name (`<input>_<axis>` where they have none), that are a number.
    pub fix: BTreeMap<String, i64>,
    /// Inclusive bounds of dimensions, by name.
    pub bound: BTreeMap<String, (i64, i64)>,
    /// Types of inputs in place of those in the file.
    pub input_types: BTreeMap<String, ValueType>,
    /// Inputs that have one value for good: they become part of the graph.
    pub constants: BTreeMap<String, Tensor>,
    /// The values to compute in place of the model's outputs.
    pub outputs: Option<Vec<String>>,
}

impl<'m> Importer<'m> {
    /// Makes the parameters of the body; an input that is also an initializer is a constant instead.
    pub(super) fn inputs(
        &mut self,
        b: &mut Builder,
        graph: &'m Graph,
        options: &ImportOptions,
    ) -> Vec<(&'m str, Slot)> {
        let mut constants: BTreeSet<&str> = graph.initializers.iter().map(|t| t.name.as_str()).collect();
        constants.extend(graph.sparse_initializers.iter().map(|t| t.values.name.as_str()));
        let inputs = || graph.inputs.iter().filter(|i| !constants.contains(i.name.as_str()));
        let types: Vec<Option<ValueType>> =
            inputs().map(|i| options.input_types.get(&i.name).or(i.ty.as_ref()).cloned()).collect();
        let mut plain = BTreeSet::new();
        types.iter().flatten().for_each(|t| plain_names(t, &mut plain));
        let reader = Reader { options, plain };
        let mut slots = Vec::new();
        for (input, ty) in inputs().zip(&types) {
            if let Some(t) = options.constants.get(&input.name) {
                slots.push((input.name.as_str(), Some(super::named_constant(b, t.clone(), &input.name))));
                continue;
            }
            let slot = match reader.input(input, ty.as_ref()) {
                Ok(ty) => Some(b.graph.add_param(b.block, ty, Some(input.name.clone()))),
                Err(refusal) => {
                    self.report_model(&input.name, refusal);
                    None
                }
            };
            slots.push((input.name.as_str(), slot));
        }
        for (name, (lo, hi)) in &options.bound {
            b.graph.bounds.insert(Sym::new(name.as_str()), (*lo, *hi));
        }
        slots
    }
}

/// Collects the names of dimensions.
fn plain_names<'a>(ty: &'a ValueType, names: &mut BTreeSet<&'a str>) {
    match ty {
        ValueType::Tensor { shape: Some(shape), .. } | ValueType::SparseTensor { shape: Some(shape), .. } => {
            names.extend(shape.iter().filter_map(|d| match d {
                DimSpec::Named(name) => Some(name.trim()),
                _ => None,
            }));
        }
        ValueType::Sequence(Some(t)) | ValueType::Optional(Some(t)) => plain_names(t, names),
        _ => {}
    }
}

struct Reader<'a> {
    options: &'a ImportOptions,
    plain: BTreeSet<&'a str>,
}

impl Reader<'_> {
    fn input(&self, input: &ValueInfo, ty: Option<&ValueType>) -> Result<Type, Refusal> {
        match ty {
            Some(ty) => self.ty(&input.name, ty),
            None => unsupported!(
                "the input has no type; give one: --input \"{}:f32[1, 3, 224, 224]\"",
                input.name
            ),
        }
    }

    fn ty(&self, input: &str, ty: &ValueType) -> Result<Type, Refusal> {
        Ok(match ty {
            ValueType::Tensor { elem, shape } => {
                let dtype = elem_type(*elem)?;
                let Some(shape) = shape else {
                    unsupported!(
                        "the input has no rank; give its shape: --input \"{input}:{dtype}[1, 3, 224, 224]\""
                    );
                };
                let dims = shape.iter().enumerate().map(|(axis, d)| self.dim(input, axis, d));
                Type::tensor(dtype, dims.collect())
            }
            ValueType::SparseTensor { .. } => unsupported!("sparse inputs are not supported"),
            ValueType::Sequence(Some(t)) => Type::Sequence(Box::new(self.ty(input, t)?)),
            ValueType::Optional(Some(t)) => Type::Optional(Box::new(self.ty(input, t)?)),
            ValueType::Map { key, value: Some(t) } => {
                Type::Map(elem_type(*key)?, Box::new(self.ty(input, t)?))
            }
            ValueType::Sequence(None) | ValueType::Optional(None) | ValueType::Map { .. } => {
                unsupported!("the type of the input's elements is not stated")
            }
        })
    }

    fn dim(&self, input: &str, axis: usize, spec: &DimSpec) -> Dim {
        match spec {
            DimSpec::Known(v) if *v >= 0 => Dim::int(*v),
            DimSpec::Named(name) if !name.trim().is_empty() => {
                let name = name.trim();
                match self.options.fix.get(name) {
                    Some(v) => Dim::int(*v),
                    None => named_dim(name, &self.plain, &|s| self.symbol(s)),
                }
            }
            _ => self.symbol(&format!("{input}_{axis}")),
        }
    }

    fn symbol(&self, name: &str) -> Dim {
        self.options.fix.get(name).map_or_else(|| Dim::named(name), |v| Dim::int(*v))
    }
}

/// A data type by ONNX's number.
pub(crate) fn elem_type(elem: i32) -> Result<DType, Refusal> {
    DType::from_onnx(elem).ok_or_else(|| Refusal::because(format!("element type {elem} is not supported")))
}
