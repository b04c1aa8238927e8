//! A model becomes a graph: inputs get symbolic types, nodes are lowered in order by their rows.
//!
//! A node that cannot be lowered leaves unknown values behind; what reads them is passed over in
//! silence, so that the list of problems holds every cause and no consequence. Types come from the
//! inputs and the operators alone; what the file notes of inner values is not believed.

mod inputs;
mod scope;
#[cfg(test)]
mod tests;

pub use inputs::ImportOptions;
pub(crate) use inputs::elem_type;
pub(crate) use scope::dense;

use crate::attrs::Attrs;
use crate::context::Cx;
use crate::error::MAX_DEPTH;
use crate::function::inline_functions;
use crate::model::{self, AttrValue, Model, Node, TensorData, TensorRef, check_graph};
use crate::refusal::{ImportErrors, Problem, Refusal, unsupported};
use crate::shape_values::Known;
use crate::{ops, version};
use nnc_ir::{Attr, Builder, DType, Def, Graph, Tensor, ValueId, attrs};
use nnc_tensor::Bytes;
use scope::Scopes;
use std::collections::BTreeSet;

/// A value of the graph, or nothing where a refused node should have made it.
pub(crate) type Slot = Option<ValueId>;

/// The graph of a model.
///
/// # Errors
///
/// [`ImportErrors::Model`] where the model contradicts itself, else [`ImportErrors::Refused`] with
/// every node that cannot be lowered.
pub fn import(model: &Model, options: &ImportOptions) -> Result<Graph, ImportErrors> {
    let mut model = inline_functions(model.clone())?;
    check_graph(&mut model.graph)?;
    let mut graph = Graph::new(&model.graph.name);
    let mut importer = Importer::default();
    let mut builder = Builder::new(&mut graph);
    importer.main(&mut builder, &model, options);
    if importer.problems.is_empty() { Ok(graph) } else { Err(ImportErrors::Refused(importer.problems)) }
}

/// What is known while nodes are lowered.
#[derive(Default)]
pub(crate) struct Importer<'m> {
    pub(crate) scopes: Scopes<'m>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) known: Known,
    /// Labels of the nodes whose subgraphs are being imported.
    path: Vec<&'m str>,
}

impl<'m> Importer<'m> {
    fn main(&mut self, b: &mut Builder, model: &'m Model, options: &ImportOptions) {
        let graph = &model.graph;
        let wanted = self.wanted(graph, options);
        let slots = self.inputs(b, graph, options);
        let results = self.graph(b, graph, slots, &wanted);
        let mut seen = BTreeSet::new();
        let mut values = Vec::new();
        for (name, slot) in wanted.iter().zip(results) {
            let Some(v) = slot else { continue };
            match name_output(b, v, name, &mut seen) {
                Ok(v) => values.push(v),
                Err(refusal) => self.report_model(name, refusal),
            }
        }
        b.graph.block_mut(b.block).results = values;
        b.graph.output_names = wanted.iter().map(|n| (*n).to_owned()).collect();
    }

    /// Names of the results: the model's outputs, or those asked for.
    fn wanted(&mut self, graph: &'m model::Graph, options: &ImportOptions) -> Vec<&'m str> {
        let Some(asked) = &options.outputs else {
            return graph.outputs.iter().map(|o| o.name.as_str()).collect();
        };
        let mut names: BTreeSet<&str> =
            graph.nodes.iter().flat_map(|n| &n.outputs).map(String::as_str).collect();
        names.extend(graph.inputs.iter().map(|i| i.name.as_str()));
        names.extend(graph.initializers.iter().map(|i| i.name.as_str()));
        let mut found = Vec::new();
        for name in asked {
            match names.get(name.as_str()) {
                Some(name) => found.push(*name),
                None => self.report_model(name, Refusal::because("no value of the model has this name")),
            }
        }
        found
    }

    /// Imports a graph or subgraph into the builder's block; `inputs` are the values of its inputs.
    pub(crate) fn graph(
        &mut self,
        b: &mut Builder,
        graph: &'m model::Graph,
        inputs: Vec<(&'m str, Slot)>,
        outputs: &[&'m str],
    ) -> Vec<Slot> {
        if self.scopes.depth() >= MAX_DEPTH {
            let reason = format!("subgraphs nest deeper than {MAX_DEPTH} levels");
            self.report_model(&graph.name, Refusal::Because(reason));
            return vec![None; outputs.len()];
        }
        self.scopes.push();
        let (live, used) = scope::live_nodes(graph, outputs);
        for (name, slot) in inputs {
            self.scopes.bind(name, slot);
        }
        self.initializers(b, graph, &used);
        for (node, _) in graph.nodes.iter().zip(live).filter(|(_, live)| *live) {
            self.node(b, node);
        }
        let results = outputs.iter().map(|name| self.scopes.lookup(name).flatten()).collect();
        self.scopes.pop();
        results
    }

    fn initializers(&mut self, b: &mut Builder, graph: &'m model::Graph, used: &BTreeSet<&'m str>) {
        let dense = graph.initializers.iter().map(|t| (t.name.as_str(), tensor(t)));
        let sparse = graph.sparse_initializers.iter().map(|s| (s.values.name.as_str(), scope::dense(s)));
        let wanted = |name: &str| used.contains(name);
        let dense: Vec<_> = dense.filter(|(name, _)| wanted(name)).collect();
        for (name, value) in dense.into_iter().chain(sparse.filter(|(name, _)| wanted(name))) {
            let slot = match value {
                Ok(t) => Some(named_constant(b, t, name)),
                Err(refusal) => {
                    self.report_model(name, refusal);
                    None
                }
            };
            self.scopes.bind(name, slot);
        }
    }

    fn node(&mut self, b: &mut Builder, node: &'m Node) {
        b.origin = node.label().into();
        let slots = match self.lower(b, node) {
            Ok(slots) => slots,
            Err(refusal) => {
                self.report(node, refusal);
                vec![None; node.outputs.len()]
            }
        };
        for (name, slot) in node.outputs.iter().zip(slots).filter(|(name, _)| !name.is_empty()) {
            self.scopes.bind(name, slot);
        }
    }

    fn lower(&mut self, b: &mut Builder, node: &'m Node) -> Result<Vec<Slot>, Refusal> {
        let row = ops::find(&node.domain, &node.op).ok_or_else(|| unknown_operator(node))?;
        // Exporters leave out the import of domains that never had another version than the first.
        let opset = node.opset_version.unwrap_or(1);
        let Some(version) = version::resolve(row.since, opset) else {
            unsupported!("the operator starts with version {}, found {opset}", row.since[0]);
        };
        let inputs = match self.operands(node) {
            Ok(inputs) => inputs,
            Err(refusal) => {
                self.survey(node);
                return Err(refusal);
            }
        };
        self.path.push(node.label());
        let mut cx = Cx::new(b, self, node, Attrs::new(node), version, inputs);
        let outcome = (row.lower)(&mut cx).and_then(|()| cx.finish());
        self.path.pop();
        outcome
    }

    fn operands(&self, node: &Node) -> Result<Vec<Option<ValueId>>, Refusal> {
        let operand = |name: &String| match self.scopes.lookup(name) {
            _ if name.is_empty() => Ok(None),
            Some(Some(v)) => Ok(Some(v)),
            Some(None) => Err(Refusal::Follows),
            None => Err(Refusal::Because(format!("input \"{name}\" is defined nowhere"))),
        };
        node.inputs.iter().map(operand).collect()
    }

    /// Reports the operators inside a node that cannot be lowered for another reason.
    fn survey(&mut self, node: &'m Node) {
        self.path.push(node.label());
        let inner = node.attrs.iter().flat_map(|a| a.value.graphs()).flat_map(|g| &g.nodes);
        for node in inner.collect::<Vec<_>>() {
            if ops::find(&node.domain, &node.op).is_none() {
                self.report(node, unknown_operator(node));
            }
            self.survey(node);
        }
        self.path.pop();
    }

    fn report(&mut self, node: &Node, refusal: Refusal) {
        let Refusal::Because(reason) = refusal else { return };
        let (domain, op, version) = (node.domain.clone(), node.op.clone(), node.opset_version);
        self.push_problem(node.label(), domain, op, version, reason);
    }

    pub(crate) fn report_model(&mut self, name: &str, refusal: Refusal) {
        let Refusal::Because(reason) = refusal else { return };
        self.push_problem(name, String::new(), String::new(), None, reason);
    }

    fn push_problem(&mut self, node: &str, domain: String, op: String, version: Option<i64>, reason: String) {
        let mut path = self.path.join("/");
        if !path.is_empty() {
            path.push('/');
        }
        let problem = Problem { node: path + node, domain, op, version, reason };
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }
}

fn unknown_operator(node: &Node) -> Refusal {
    let is_function = node.attrs.iter().any(|a| matches!(a.value, AttrValue::Ref(_)));
    Refusal::because(if is_function {
        "the operator is not known, and refers to attributes of a function around it"
    } else {
        "the operator is not known"
    })
}

/// A constant that carries a name of the model.
fn named_constant(b: &mut Builder, t: Tensor, name: &str) -> ValueId {
    let v = b.constant(t);
    b.graph.value_mut(v).name = Some(name.to_owned());
    v
}

/// The value under the name of an output: renamed where it is free, else copied.
fn name_output(
    b: &mut Builder,
    v: ValueId,
    name: &str,
    seen: &mut BTreeSet<ValueId>,
) -> Result<ValueId, Refusal> {
    let taken = !seen.insert(v) || matches!(b.graph.value(v).def, Def::Param(..));
    let copied = match b.graph.ty(v).as_tensor() {
        Some(ty) if taken && b.graph.value(v).name.as_deref() != Some(name) => {
            let shape = Attr::Dims(ty.shape.clone());
            b.one("reshape", attrs! { shape: shape }, &[v])?
        }
        _ => v,
    };
    b.graph.value_mut(copied).name = Some(name.to_owned());
    Ok(copied)
}

/// A constant of the model, its bytes shared with the file.
pub(crate) fn tensor(t: &TensorRef) -> Result<Tensor, Refusal> {
    let Some(dtype) = DType::from_onnx(t.elem) else {
        unsupported!("tensor \"{}\" has element type {}, which is not supported", t.name, t.elem);
    };
    let shape: Vec<usize> = t
        .dims
        .iter()
        .map(|d| usize::try_from(*d).map_err(|_| Refusal::because(format!("dimension {d} is not a size"))))
        .collect::<Result<_, _>>()?;
    match &t.data {
        TensorData::Strings(s) => Ok(Tensor::from_strings(&shape, s.to_vec())?),
        TensorData::Bytes(range) => {
            let bytes = Bytes::shared(range.owner().clone(), range.range())
                .ok_or_else(|| Refusal::because("tensor reaches past the end of its file"))?;
            Ok(Tensor::new(dtype, shape, bytes)?)
        }
    }
}
