//! The walk over blocks and nodes.

use super::bind::Symbols;
use super::liveness::last_uses;
use crate::ops::symbol;
use crate::{BlockId, EvalCx, Graph, Node, NodeId, OpError, Type, Value, ValueId};
use std::cell::RefCell;

/// Most elements that one result may have, so that a wrong model ends in an error and not in lack of memory.
const MAX_ELEMS: i64 = 1 << 31;

/// Why a run ended early.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InterpError {
    /// Too many or too few inputs.
    #[error("expected {expected} inputs, found {found}")]
    Count {
        /// Inputs of the graph.
        expected: usize,
        /// Inputs given.
        found: usize,
    },
    /// An input that is not of its type.
    #[error("input \"{name}\": {message}")]
    Input {
        /// Name, or number, of the input.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// A node that refused its operands or gave something else than its type says.
    #[error("node \"{origin}\" ({op}): {message}")]
    Node {
        /// Name of the model's node.
        origin: String,
        /// Name of the operator.
        op: &'static str,
        /// What is wrong.
        message: String,
    },
}

/// Runs a graph, any number of times.
pub struct Interpreter<'g> {
    graph: &'g Graph,
    dying: Vec<Vec<ValueId>>,
    types: Vec<Vec<Type>>,
}

struct Run<'a> {
    of: &'a Interpreter<'a>,
    values: RefCell<Vec<Option<Value>>>,
    syms: RefCell<Symbols>,
}

impl<'g> Interpreter<'g> {
    /// Prepares a graph.
    pub fn new(graph: &'g Graph) -> Interpreter<'g> {
        let mut types = vec![Vec::new(); graph.n_nodes()];
        graph.visit_nodes(graph.body(), &mut |n| {
            types[n.index()] = graph.node(n).outputs.iter().map(|v| graph.ty(*v).clone()).collect();
        });
        Interpreter { graph, dying: last_uses(graph), types }
    }

    /// The graph's results for these inputs.
    pub fn run(&self, inputs: &[Value]) -> Result<Vec<Value>, InterpError> {
        let body = self.graph.body();
        let params = &self.graph.block(body).params;
        if inputs.len() != params.len() {
            return Err(InterpError::Count { expected: params.len(), found: inputs.len() });
        }
        let mut syms = Symbols::default();
        let types: Vec<&Type> = params.iter().map(|v| self.graph.ty(*v)).collect();
        syms.learn_inputs(self.graph, &types, inputs).map_err(|(i, message)| {
            let name = self.graph.value(params[i]).name.clone().unwrap_or_else(|| i.to_string());
            InterpError::Input { name, message }
        })?;
        let values = RefCell::new(vec![None; self.graph.n_values()]);
        Run { of: self, values, syms: RefCell::new(syms) }.block(body, inputs)
    }
}

impl Run<'_> {
    fn block(&self, block: BlockId, args: &[Value]) -> Result<Vec<Value>, InterpError> {
        let body = self.of.graph.block(block);
        for (param, arg) in body.params.iter().zip(args) {
            self.values.borrow_mut()[param.index()] = Some(arg.clone());
        }
        for n in &body.nodes {
            self.node(*n)?;
        }
        Ok(body.results.iter().map(|v| self.value(*v)).collect())
    }

    fn value(&self, v: ValueId) -> Value {
        self.values.borrow()[v.index()]
            .clone()
            .expect("definitions come before uses, and live until the last")
    }

    fn node(&self, n: NodeId) -> Result<(), InterpError> {
        let node = self.of.graph.node(n);
        let results = self.eval(n).and_then(|r| self.keep(n, r));
        results.map_err(|e| InterpError::Node {
            origin: node.origin.to_string(),
            op: node.op.name,
            message: e.0,
        })
    }

    fn eval(&self, n: NodeId) -> Result<Vec<Value>, OpError> {
        let node = self.of.graph.node(n);
        let inputs: Vec<Value> = node.inputs.iter().map(|v| self.value(*v)).collect();
        let syms = |s: &crate::Sym| self.syms.borrow().get(s);
        let run_block = |i: usize, args: &[Value]| self.body(node, i, args);
        let outputs = &self.of.types[n.index()];
        for ty in outputs.iter().filter_map(Type::as_tensor) {
            // Sizes that only this node tells are not known yet.
            let large = match ty.elems().eval(&syms) {
                Ok(n) => n > MAX_ELEMS,
                Err(e) => e == nnc_tensor::DimError::Overflow,
            };
            if large {
                return Err(OpError(format!("{ty} has more than {MAX_ELEMS} elements")));
            }
        }
        (node.op.eval)(&EvalCx {
            attrs: &node.attrs,
            inputs: &inputs,
            outputs,
            syms: &syms,
            run_block: &run_block,
        })
    }

    /// Runs a body; its symbols are forgotten afterwards.
    fn body(&self, node: &Node, i: usize, args: &[Value]) -> Result<Vec<Value>, OpError> {
        let block = node.blocks[i];
        let mark = self.syms.borrow().mark();
        for (param, arg) in self.of.graph.block(block).params.iter().zip(args) {
            let ty = self.of.graph.ty(*param);
            self.syms.borrow_mut().learn(self.of.graph, ty, arg).map_err(OpError)?;
        }
        let results = self.block(block, args).map_err(|e| OpError(e.to_string()))?;
        self.syms.borrow_mut().forget(mark);
        Ok(results)
    }

    /// Stores results and frees what nothing reads any more.
    fn keep(&self, n: NodeId, results: Vec<Value>) -> Result<(), OpError> {
        let node = self.of.graph.node(n);
        let types = &self.of.types[n.index()];
        if results.len() != types.len() {
            return Err(OpError(format!("expected {} results, found {}", types.len(), results.len())));
        }
        let mut syms = self.syms.borrow_mut();
        for (ty, value) in types.iter().zip(&results) {
            syms.learn(self.of.graph, ty, value).map_err(OpError)?;
        }
        if node.is("symbols")
            && let Some(t) = results[0].tensor()
        {
            for (name, v) in node.attrs.strs("names").iter().zip(t.elems::<i64>()?.iter()) {
                syms.set(self.of.graph, &symbol(name), *v).map_err(OpError)?;
            }
        }
        let mut values = self.values.borrow_mut();
        for (v, value) in node.outputs.iter().zip(results) {
            values[v.index()] = Some(value);
        }
        self.of.dying[n.index()].iter().for_each(|v| values[v.index()] = None);
        Ok(())
    }
}
