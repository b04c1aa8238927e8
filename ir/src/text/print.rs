//! Printing graphs.

use super::lex::{is_word, quote};
use super::{attr, lex, usual_output_name};
use crate::{BlockId, Graph, InferCx, NodeId, ValueId};
use std::collections::HashSet;
use std::fmt::Write;

/// The graph as text, and the bytes of its large constants.
pub fn print(graph: &Graph) -> (String, Vec<u8>) {
    let mut printer = Printer {
        graph,
        scratch: graph.clone(),
        ids: vec![String::new(); graph.n_values()],
        out: String::new(),
        data: Vec::new(),
    };
    printer.name_values();
    printer.graph();
    (printer.out, printer.data)
}

struct Printer<'a> {
    graph: &'a Graph,
    /// A copy, since asking a row for known elements takes a graph that may change.
    scratch: Graph,
    /// What stands after `%`, by value.
    ids: Vec<String>,
    out: String,
    data: Vec<u8>,
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

impl Printer<'_> {
    fn name_values(&mut self) {
        let mut order = self.graph.block(self.graph.body()).params.clone();
        let graph = self.graph;
        graph.visit_nodes(graph.body(), &mut |n| {
            let node = graph.node(n);
            order.extend(&node.outputs);
            node.blocks.iter().for_each(|b| order.extend(&graph.block(*b).params));
        });
        let (mut taken, mut count) = (HashSet::new(), 0);
        for v in order {
            let name = graph.value(v).name.as_deref().filter(|n| is_word(n) && taken.insert(n.to_string()));
            self.ids[v.index()] = name.map(str::to_owned).unwrap_or_else(|| {
                count += 1;
                (count - 1).to_string()
            });
        }
    }

    fn use_of(&self, v: &ValueId) -> String {
        format!("%{}", self.ids[v.index()])
    }

    /// The value where it is defined: with its name if that is not what stands after `%`.
    fn definition(&self, v: &ValueId) -> String {
        match &self.graph.value(*v).name {
            Some(name) if *name != self.ids[v.index()] => {
                format!("{} {}", self.use_of(v), quote(name.as_bytes()))
            }
            _ => self.use_of(v),
        }
    }

    fn params(&self, b: BlockId) -> String {
        let one = |v: &ValueId| {
            let content = self.content(v, None);
            format!("{}: {}{content}", self.definition(v), self.graph.ty(*v))
        };
        list(self.graph.block(b).params.iter().map(one))
    }

    /// Known elements, where they differ from those that would be known anyway.
    fn content(&self, v: &ValueId, usual: Option<Vec<nnc_tensor::Dim>>) -> String {
        match &self.graph.value(*v).content {
            c if *c == usual => String::new(),
            Some(c) => format!(" = [{}]", list(c.iter().map(ToString::to_string))),
            None => " = none".into(),
        }
    }

    fn line(&mut self, depth: usize, text: &str) {
        writeln!(self.out, "{:1$}{text}", "", 2 * depth).expect("a string takes any text");
    }

    fn graph(&mut self) {
        let (g, body) = (self.graph, self.graph.body());
        let name = if is_word(&g.name) { g.name.clone() } else { lex::quote(g.name.as_bytes()) };
        let results = list(g.block(body).results.iter().map(|v| g.ty(*v).to_string()));
        let head = format!("graph @{name}({}) -> ({results}) {{", self.params(body));
        self.line(0, &head);
        for (s, (lo, hi)) in &g.bounds {
            self.line(1, &format!("size {s} in {lo}..={hi}"));
        }
        let names: Vec<String> = (0..g.block(body).results.len()).map(|i| self.output_name(i)).collect();
        self.nodes(body, 1, "return", &names);
        self.line(0, "}");
    }

    /// ` as "name"` for an output that is not called as its value.
    fn output_name(&self, i: usize) -> String {
        match self.graph.output_names.get(i) {
            Some(name) if *name != usual_output_name(self.graph, i) => {
                format!(" as {}", quote(name.as_bytes()))
            }
            _ => String::new(),
        }
    }

    /// The nodes of a block and its results, each with what `names` holds after it.
    fn nodes(&mut self, b: BlockId, depth: usize, end: &str, names: &[String]) {
        for n in &self.graph.block(b).nodes {
            self.node(*n, depth);
        }
        let names = names.iter().map(String::as_str).chain(std::iter::repeat(""));
        let results = self.graph.block(b).results.iter().zip(names);
        let results = list(results.map(|(v, name)| self.use_of(v) + name));
        self.line(depth, format!("{end} {results}").trim_end());
    }

    fn node(&mut self, n: NodeId, depth: usize) {
        let node = self.graph.node(n);
        let outputs = list(node.outputs.iter().map(|v| self.definition(v)));
        let inputs = list(node.inputs.iter().map(|v| self.use_of(v)));
        let equals = if node.outputs.is_empty() { "" } else { " = " };
        let mut text = format!("{outputs}{equals}{}({inputs})", node.op.name);
        if node.attrs.iter().next().is_some() {
            let one = |(name, a)| format!("{name} = {}", attr::print(a, &mut self.data));
            let attrs = list(node.attrs.iter().map(one));
            write!(text, " {{{attrs}}}").expect("a string takes any text");
        }
        let mut usual = self.usual_content(n);
        let types = list(node.outputs.iter().map(|v| {
            let content = self.content(v, usual.take());
            format!("{}{content}", self.graph.ty(*v))
        }));
        if !types.is_empty() {
            write!(text, " : {types}").expect("a string takes any text");
        }
        if !node.origin.is_empty() {
            write!(text, " from {}", quote(node.origin.as_bytes())).expect("a string takes any text");
        }
        if node.blocks.is_empty() {
            return self.line(depth, &text);
        }
        for (i, b) in node.blocks.iter().enumerate() {
            let head = if i == 0 { text.clone() } else { "}".into() };
            let params = self.params(*b);
            self.line(depth, &format!("{head} do ({params}) {{"));
            self.nodes(*b, depth + 1, "yield", &[]);
        }
        self.line(depth, "}");
    }

    fn usual_content(&mut self, n: NodeId) -> Option<Vec<nnc_tensor::Dim>> {
        let node = self.graph.node(n);
        let ty = self.graph.ty(*node.outputs.first()?);
        let cx = InferCx::new(&mut self.scratch, &node.attrs, &node.inputs, &node.blocks);
        node.op.content_of(&cx, ty)
    }
}
