//! Puts the bodies of functions in place of the nodes that call them.
//!
//! A function is a macro over nodes: its inner names are renamed to names that the model does
//! not use, its references to attributes are replaced by the call's values or the defaults, and
//! its nodes keep the operator set version of the function's own imports. Bodies may call
//! functions in turn, but never themselves.

use std::collections::{HashMap, HashSet};
use std::mem;

use crate::error::{Error, MAX_DEPTH, MAX_OPSET};
use crate::model::{Attr, AttrValue, Function, Graph, Model, Node, ValueInfo};

/// Nested calls multiply: a file of a few lines could ask for more nodes than memory holds.
const MAX_NODES: usize = 1 << 20;
/// Of names, which nested calls make longer and longer, this many bytes are carried on.
const MAX_NAME_PART: usize = 256;

/// The model with all calls of its functions replaced by their bodies.
///
/// # Errors
///
/// [`Error::RecursiveFunction`], [`Error::TooDeep`], [`Error::TooMany`],
/// [`Error::DuplicateFunction`], and those of [`expand`].
pub fn inline_functions(mut model: Model) -> Result<Model, Error> {
    let functions = mem::take(&mut model.functions);
    if functions.is_empty() {
        return Ok(model);
    }
    let mut by_key = HashMap::new();
    for function in &functions {
        let key = (function.domain.as_str(), function.name.as_str(), function.overload.as_str());
        if by_key.insert(key, function).is_some() {
            return Err(Error::DuplicateFunction { function: title(function) });
        }
    }
    let names = Names::of(&model.graph);
    let mut inliner = Inliner { functions: by_key, names, calls: Vec::new(), made: 0 };
    model.graph.nodes = inliner.nodes(mem::take(&mut model.graph.nodes), 0)?;
    Ok(model)
}

/// The body of `function` in place of `call`, with names from `names`.
///
/// This also serves the bodies that the standard gives for its operators.
///
/// # Errors
///
/// [`Error::FunctionArity`] where the call gives too many values, [`Error::Undefined`] where the
/// body reads names that it does not define.
pub fn expand(call: &Node, function: &Function, names: &mut Names) -> Result<Vec<Node>, Error> {
    let arity = |what, expected: usize, found: usize| {
        let node = call.label().to_owned();
        let error = Error::FunctionArity { node, function: title(function), what, expected, found };
        if found > expected { Err(error) } else { Ok(()) }
    };
    arity("inputs", function.inputs.len(), given_count(&call.inputs))?;
    arity("outputs", function.outputs.len(), given_count(&call.outputs))?;
    // Each reference to a subgraph copies it, so references times nodes bound what comes out.
    let given = call.attrs.iter().flat_map(|attr| attr.value.graphs()).map(node_count).sum::<usize>();
    let references = function.nodes.iter().map(reference_count).sum::<usize>();
    if given.saturating_mul(references) > MAX_NODES {
        return Err(Error::TooMany { what: "nodes after inlining", limit: MAX_NODES });
    }
    let mut expansion = Expansion { call, function, names, scopes: Vec::new(), undefined: Vec::new() };
    let nodes = expansion.body();
    if expansion.undefined.is_empty() {
        return Ok(nodes);
    }
    Err(Error::Undefined { graph: title(function), names: expansion.undefined })
}

/// The names in use, from which new ones must differ.
#[derive(Default)]
pub struct Names {
    used: HashSet<String>,
    /// The next number to try for a name that is taken.
    next: HashMap<String, usize>,
}

impl Names {
    /// All names of a graph and its subgraphs.
    pub fn of(graph: &Graph) -> Names {
        let mut names = Names::default();
        names.add(graph);
        names
    }

    /// A name not used before: `wanted`, or `wanted` with a number.
    pub fn fresh(&mut self, wanted: &str) -> String {
        let mut name = wanted.to_owned();
        while !self.used.insert(name.clone()) {
            let next = self.next.entry(wanted.to_owned()).or_insert(2);
            name = format!("{wanted}_{next}");
            *next += 1;
        }
        name
    }

    fn add(&mut self, graph: &Graph) {
        self.used.extend(local_names(graph).cloned());
        self.used.extend(graph.outputs.iter().map(|output| output.name.clone()));
        for node in &graph.nodes {
            self.used.extend(node.inputs.iter().cloned());
            node.attrs.iter().flat_map(|attr| attr.value.graphs()).for_each(|subgraph| self.add(subgraph));
        }
    }
}

/// The names that a graph defines.
fn local_names(graph: &Graph) -> impl Iterator<Item = &String> {
    let inputs = graph.inputs.iter().map(|input| &input.name);
    let initializers = graph.initializers.iter().map(|tensor| &tensor.name);
    let sparse = graph.sparse_initializers.iter().map(|tensor| &tensor.values.name);
    inputs.chain(initializers).chain(sparse).chain(graph.nodes.iter().flat_map(|node| &node.outputs))
}

/// How many values a call gives; those left out at the end do not count.
fn given_count(names: &[String]) -> usize {
    names.iter().rposition(|name| !name.is_empty()).map_or(0, |last| last + 1)
}

/// The nodes of a graph and its subgraphs.
fn node_count(graph: &Graph) -> usize {
    let inner = graph.nodes.iter().flat_map(|node| &node.attrs).flat_map(|attr| attr.value.graphs());
    graph.nodes.len() + inner.map(node_count).sum::<usize>()
}

/// The references to attributes of the function, in a node and its subgraphs.
fn reference_count(node: &Node) -> usize {
    let own = node.attrs.iter().filter(|attr| matches!(attr.value, AttrValue::Ref(_))).count();
    let graphs = node.attrs.iter().flat_map(|attr| attr.value.graphs());
    own + graphs.flat_map(|graph| &graph.nodes).map(reference_count).sum::<usize>()
}

/// The end of a name, where the inmost part stands.
fn tail(name: &str) -> &str {
    let start = (name.len().saturating_sub(MAX_NAME_PART)..).find(|&at| name.is_char_boundary(at));
    start.and_then(|start| name.get(start..)).unwrap_or(name)
}

fn title(function: &Function) -> String {
    let mut title = String::new();
    for part in [&function.domain, &function.name, &function.overload] {
        let separator = if title.is_empty() || part.is_empty() { "" } else { "." };
        title = title + separator + part;
    }
    title
}

struct Inliner<'a> {
    functions: HashMap<(&'a str, &'a str, &'a str), &'a Function>,
    names: Names,
    /// The functions whose bodies are being expanded, outermost first.
    calls: Vec<&'a Function>,
    made: usize,
}

impl Inliner<'_> {
    fn nodes(&mut self, nodes: Vec<Node>, graph_depth: usize) -> Result<Vec<Node>, Error> {
        if graph_depth > MAX_DEPTH {
            return Err(Error::TooDeep { what: "subgraphs" });
        }
        let mut done = Vec::with_capacity(nodes.len());
        for mut node in nodes {
            self.made += 1;
            if self.made > MAX_NODES {
                return Err(Error::TooMany { what: "nodes after inlining", limit: MAX_NODES });
            }
            for graph in node.attrs.iter_mut().flat_map(|attr| attr.value.graphs_mut()) {
                graph.nodes = self.nodes(mem::take(&mut graph.nodes), graph_depth + 1)?;
            }
            let key = (node.domain.as_str(), node.op.as_str(), node.overload.as_str());
            match self.functions.get(&key).copied() {
                None => done.push(node),
                Some(function) => {
                    self.enter(function)?;
                    let body = expand(&node, function, &mut self.names)?;
                    done.extend(self.nodes(body, graph_depth)?);
                    self.calls.pop();
                }
            }
        }
        Ok(done)
    }
}

impl<'a> Inliner<'a> {
    fn enter(&mut self, function: &'a Function) -> Result<(), Error> {
        let again = self.calls.iter().position(|&outer| std::ptr::eq(outer, function));
        self.calls.push(function);
        if let Some(start) = again {
            let calls = self.calls.iter().skip(start).map(|function| title(function)).collect();
            return Err(Error::RecursiveFunction { calls });
        }
        if self.calls.len() > MAX_DEPTH {
            return Err(Error::TooDeep { what: "function calls" });
        }
        Ok(())
    }
}

/// One function body on its way to the place of one call.
struct Expansion<'a> {
    call: &'a Node,
    function: &'a Function,
    names: &'a mut Names,
    /// New names by old ones: the function's, then those of the subgraphs around, inmost last.
    scopes: Vec<HashMap<String, String>>,
    undefined: Vec<(String, String)>,
}

impl Expansion<'_> {
    fn body(&mut self) -> Vec<Node> {
        let (function, call) = (self.function, self.call);
        let mut scope = HashMap::new();
        let arguments = call.inputs.iter().map(String::as_str).chain(std::iter::repeat(""));
        for (input, argument) in function.inputs.iter().zip(arguments) {
            scope.insert(input.clone(), argument.to_owned());
        }
        // An output that is an input, or another output, needs a node of its own to have a name.
        let mut copies = Vec::new();
        let results = call.outputs.iter().map(String::as_str).chain(std::iter::repeat(""));
        for (output, result) in function.outputs.iter().zip(results) {
            match scope.get(output) {
                Some(_) if result.is_empty() => {}
                Some(source) => copies.push(self.copy(source.clone(), result)),
                None if result.is_empty() => {
                    scope.insert(output.clone(), self.inner_name(output));
                }
                None => {
                    scope.insert(output.clone(), result.to_owned());
                }
            }
        }
        for output in function.nodes.iter().flat_map(|node| &node.outputs) {
            if !scope.contains_key(output) && !output.is_empty() {
                scope.insert(output.clone(), self.inner_name(output));
            }
        }
        self.scopes.push(scope);
        let mut nodes: Vec<Node> = function.nodes.iter().map(|node| self.node(node)).collect();
        self.check_outputs();
        self.scopes.pop();
        nodes.extend(copies);
        nodes
    }

    /// An output that no node and no input makes is as undefined as any other name.
    fn check_outputs(&mut self) {
        let function = self.function;
        let made: HashSet<&String> =
            function.nodes.iter().flat_map(|node| &node.outputs).chain(&function.inputs).collect();
        for output in function.outputs.iter().filter(|output| !made.contains(output)) {
            self.undefined.push((output.clone(), "the function's outputs".to_owned()));
        }
    }

    fn copy(&self, source: String, result: &str) -> Node {
        Node {
            name: format!("{}/{}", tail(self.call.label()), tail(result)),
            op: "Identity".to_owned(),
            opset_version: Some(self.function.opsets.get("").copied().unwrap_or(MAX_OPSET)),
            inputs: vec![source],
            outputs: vec![result.to_owned()],
            ..Node::default()
        }
    }

    fn inner_name(&mut self, name: &str) -> String {
        self.names.fresh(&format!("{}/{}", tail(self.call.label()), tail(name)))
    }

    fn node(&mut self, node: &Node) -> Node {
        let reader = node.label();
        Node {
            name: format!("{}/{}", tail(self.call.label()), tail(reader)),
            domain: node.domain.clone(),
            op: node.op.clone(),
            overload: node.overload.clone(),
            opset_version: node.opset_version,
            inputs: node.inputs.iter().map(|name| self.renamed(name, reader)).collect(),
            outputs: node.outputs.iter().map(|name| self.renamed(name, reader)).collect(),
            attrs: node.attrs.iter().filter_map(|attr| self.attr(attr)).collect(),
        }
    }

    /// The attribute for this call; `None` where it refers to one that the call leaves out.
    fn attr(&mut self, attr: &Attr) -> Option<Attr> {
        let value = match &attr.value {
            AttrValue::Ref(name) => self.argument(name)?,
            value => self.value(value),
        };
        Some(Attr { name: attr.name.clone(), value })
    }

    /// The call's own value lives among the caller's names and stays as it is.
    fn argument(&mut self, name: &str) -> Option<AttrValue> {
        let function = self.function;
        if let Some(given) = self.call.attrs.iter().find(|attr| attr.name == name) {
            return Some(given.value.clone());
        }
        let default = function.default_attrs.iter().find(|attr| attr.name == name)?;
        // A default sees nothing of the body.
        let scopes = mem::take(&mut self.scopes);
        let value = self.value(&default.value);
        self.scopes = scopes;
        Some(value)
    }

    fn value(&mut self, value: &AttrValue) -> AttrValue {
        match value {
            AttrValue::Graph(graph) => AttrValue::Graph(Box::new(self.graph(graph))),
            AttrValue::Graphs(graphs) => {
                AttrValue::Graphs(graphs.iter().map(|graph| self.graph(graph)).collect())
            }
            other => other.clone(),
        }
    }

    fn graph(&mut self, graph: &Graph) -> Graph {
        let mut scope = HashMap::new();
        for name in local_names(graph).filter(|name| !name.is_empty()) {
            if !scope.contains_key(name) {
                scope.insert(name.clone(), self.inner_name(name));
            }
        }
        self.scopes.push(scope);
        let mut renamed = Graph {
            name: graph.name.clone(),
            inputs: self.value_infos(&graph.inputs),
            outputs: self.value_infos(&graph.outputs),
            value_infos: Vec::new(),
            initializers: graph.initializers.clone(),
            sparse_initializers: graph.sparse_initializers.clone(),
            nodes: graph.nodes.iter().map(|node| self.node(node)).collect(),
        };
        for tensor in &mut renamed.initializers {
            tensor.name = self.renamed(&tensor.name, "the initializers");
        }
        for tensor in &mut renamed.sparse_initializers {
            tensor.values.name = self.renamed(&tensor.values.name, "the initializers");
        }
        // Notes about values that do not exist are no error.
        let noted = graph.value_infos.iter().filter(|info| self.lookup(&info.name).is_some());
        let noted: Vec<ValueInfo> = noted.cloned().collect();
        renamed.value_infos = self.value_infos(&noted);
        self.scopes.pop();
        renamed
    }

    fn value_infos(&mut self, infos: &[ValueInfo]) -> Vec<ValueInfo> {
        let renamed = |info: &ValueInfo| ValueInfo {
            name: self.renamed(&info.name, "the subgraph's interface"),
            ty: info.ty.clone(),
        };
        infos.iter().map(renamed).collect()
    }

    fn lookup(&self, name: &str) -> Option<&String> {
        self.scopes.iter().rev().find_map(|scope| scope.get(name))
    }

    fn renamed(&mut self, name: &str, reader: &str) -> String {
        if name.is_empty() {
            return String::new();
        }
        if let Some(renamed) = self.lookup(name) {
            return renamed.clone();
        }
        self.undefined.push((name.to_owned(), format!("node \"{reader}\"")));
        name.to_owned()
    }
}

#[cfg(test)]
mod tests;
