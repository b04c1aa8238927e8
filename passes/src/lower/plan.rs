//! The plan: buffers for the values that fusion left in memory, steps in order.

use super::emit::Constant;
use super::emit::Source;
use super::kernel::{self, Lowered};
use crate::fuse::{Item, fuse};
use crate::pass::{Schedule, Target};
use nnc_ir::ops::assumptions;
use nnc_ir::plan::{Packing, Program, Weight};
use nnc_ir::tile::Kernel;
use nnc_ir::{BlockId, DType, Dim, Graph, Node, Sym, Tensor, Type, ValueId};
use nnc_tensor::plan::{
    Buffer, BufferId, Carry, Check, DimId, KernelId, Loop, Place, Plan, Port, Scan, Source as From, Step,
};
use std::collections::{BTreeSet, HashMap};

/// Why a graph has no plan.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("node \"{node}\": {message}")]
pub struct LowerError {
    /// Name of the model's node.
    pub node: String,
    /// What stands in the way.
    pub message: String,
}

struct Lowering<'g> {
    graph: &'g Graph,
    plan: Plan,
    kernels: Vec<Kernel>,
    by_text: HashMap<String, KernelId>,
    weights: Vec<Weight>,
    dims: HashMap<Dim, DimId>,
    buffers: HashMap<Source, BufferId>,
    nodes: HashMap<String, u32>,
    captured: BTreeSet<ValueId>,
    early: BTreeSet<Sym>,
    /// Late symbols that a step has given their value.
    bound: BTreeSet<Sym>,
    join: bool,
    schedule: Schedule,
}

/// Lowers a graph to kernels, constants and a plan.
pub fn lower(graph: &Graph, target: &Target) -> Result<Program, LowerError> {
    let mut l = Lowering {
        graph,
        plan: Plan { name: graph.name.clone(), ..Plan::default() },
        kernels: Vec::new(),
        by_text: HashMap::new(),
        weights: Vec::new(),
        dims: HashMap::new(),
        buffers: HashMap::new(),
        nodes: HashMap::new(),
        captured: captured(graph),
        early: BTreeSet::new(),
        bound: BTreeSet::new(),
        join: target.optimize,
        schedule: target.schedule,
    };
    l.inputs();
    l.outputs_are_named()?;
    l.plan.steps = l.block(graph.body())?;
    for (v, name) in graph.block(graph.body()).results.iter().zip(&graph.output_names) {
        let buffer = l.value(*v);
        let container = container_of(graph.ty(*v));
        l.plan.outputs.push(Port { name: name.clone(), buffer, container });
    }
    l.lifetimes();
    l.checks();
    Ok(Program { plan: l.plan, kernels: l.kernels, weights: l.weights })
}

fn container_of(ty: &Type) -> Option<String> {
    ty.as_tensor().is_none().then(|| ty.to_string())
}

/// Values that a nested block reads from around it.
fn captured(graph: &Graph) -> BTreeSet<ValueId> {
    fn walk(graph: &Graph, block: BlockId, nested: bool, out: &mut BTreeSet<ValueId>) {
        let b = graph.block(block);
        let mut own: BTreeSet<ValueId> = b.params.iter().copied().collect();
        let mut read: Vec<ValueId> = b.results.clone();
        for n in &b.nodes {
            let node = graph.node(*n);
            own.extend(&node.outputs);
            read.extend(&node.inputs);
            node.blocks.iter().for_each(|b| walk(graph, *b, true, out));
        }
        if nested {
            out.extend(read.into_iter().filter(|v| !own.contains(v)));
        }
    }
    let mut out = BTreeSet::new();
    walk(graph, graph.body(), false, &mut out);
    out
}

impl<'g> Lowering<'g> {
    fn dim(&mut self, d: &Dim) -> DimId {
        if let Some(id) = self.dims.get(d) {
            return *id;
        }
        let id = DimId(self.plan.dims.len() as u32);
        self.plan.dims.push(d.clone());
        self.dims.insert(d.clone(), id);
        id
    }

    fn node(&mut self, name: &str) -> u32 {
        if let Some(i) = self.nodes.get(name) {
            return *i;
        }
        let i = self.plan.nodes.len() as u32;
        self.plan.nodes.push(name.to_owned());
        self.nodes.insert(name.to_owned(), i);
        i
    }

    fn inputs(&mut self) {
        for (i, v) in self.graph.block(self.graph.body()).params.iter().enumerate() {
            let data = self.graph.value(*v);
            // Sizes inside a container differ by element: they are found when one is taken out.
            for d in data.ty.as_tensor().map_or(&[][..], |t| &t.shape) {
                d.visit_syms(&mut |s| {
                    self.early.insert(s.clone());
                });
            }
            let buffer = self.add_buffer(&data.ty, Place::Input(i as u32));
            self.buffers.insert(Source::Value(*v), buffer);
            let name = data.name.clone().unwrap_or_else(|| format!("input{i}"));
            self.plan.inputs.push(Port { name, buffer, container: container_of(&data.ty) });
        }
    }

    /// A name for each result, and for nothing else.
    fn outputs_are_named(&self) -> Result<(), LowerError> {
        let (found, expected) =
            (self.graph.output_names.len(), self.graph.block(self.graph.body()).results.len());
        if found == expected {
            return Ok(());
        }
        let message = format!("the graph has {expected} results and {found} names of outputs");
        Err(LowerError { node: self.graph.name.clone(), message })
    }

    /// The sizes that were taken for equal: those given for the inputs may differ. What a branch or
    /// a loop assumes need not hold where it does not run.
    fn checks(&mut self) {
        let (graph, mut scratch) = (self.graph, self.graph.clone());
        let mut seen = BTreeSet::new();
        for n in &graph.block(graph.body()).nodes {
            let node = graph.node(*n);
            for a in assumptions(&mut scratch, node) {
                let (found, expected) = (self.dim(&a.found), self.dim(&a.expected));
                if seen.insert((found, expected, a.or_one)) {
                    let node = self.node(&node.origin);
                    self.plan.checks.push(Check { found, expected, or_one: a.or_one, node });
                }
            }
        }
    }

    fn add_buffer(&mut self, ty: &Type, place: Place) -> BufferId {
        let (dtype, shape) = match ty {
            Type::Tensor(t) => (t.dtype, t.shape.iter().map(|d| self.dim(d)).collect()),
            _ => (DType::Str, Vec::new()),
        };
        self.plan.buffers.push(Buffer { dtype, shape, place });
        BufferId(self.plan.buffers.len() as u32 - 1)
    }

    /// The place of a computed value: arena, late or slot.
    fn place_of(&self, ty: &Type) -> Place {
        let Type::Tensor(t) = ty else { return Place::Slot };
        if t.dtype == DType::Str {
            return Place::Slot;
        }
        let mut late = false;
        t.shape.iter().for_each(|d| d.visit_syms(&mut |s| late |= !self.early.contains(s)));
        if late { Place::Late } else { Place::Arena { first: 0, last: 0 } }
    }

    /// The buffer of a value; constants become weights when first asked for.
    fn value(&mut self, v: ValueId) -> BufferId {
        if let Some(b) = self.buffers.get(&Source::Value(v)) {
            return *b;
        }
        let ty = self.graph.ty(v).clone();
        let place = match self.graph.constant(v) {
            Some(t) => self.weight(t.clone(), Packing::Plain),
            None => self.place_of(&ty),
        };
        let b = self.add_buffer(&ty, place);
        self.buffers.insert(Source::Value(v), b);
        b
    }

    fn weight(&mut self, tensor: Tensor, packing: Packing) -> Place {
        let elems = packing.elems().map_or(tensor.len(), |n| n as usize);
        let len = packing.dtype(tensor.dtype()).bytes_for(elems).unwrap_or(0) as u64;
        self.weights.push(Weight { tensor, packing });
        Place::Constant { offset: self.weights.len() as u64 - 1, len }
    }

    fn source(&mut self, s: &Source) -> BufferId {
        if let Source::Value(v) = s {
            return self.value(*v);
        }
        if let Some(b) = self.buffers.get(s) {
            return *b;
        }
        let Source::Constant(c) = s else { unreachable!("the other case returned") };
        let (tensor, packing) = match c {
            Constant::Packed { value, packing } => {
                (self.graph.constant(*value).expect("only constants are packed").clone(), packing.clone())
            }
            Constant::Fill { dtype, value, len } => {
                let row = vec![*value as f64; len.as_len().expect("padding rows have fixed length")];
                let row = Tensor::from_f64s(*dtype, &[row.len()], &row).expect("a row fits memory");
                (row, Packing::Plain)
            }
            Constant::Integers(values) => {
                let values = Tensor::from_slice(&[values.len()], values).expect("one axis of that length");
                (values, Packing::Plain)
            }
        };
        let elems = Dim::int(packing.elems().unwrap_or(tensor.len() as i64));
        let ty = Type::tensor(packing.dtype(tensor.dtype()), vec![elems]);
        let place = self.weight(tensor, packing);
        let b = self.add_buffer(&ty, place);
        self.buffers.insert(s.clone(), b);
        b
    }

    fn block(&mut self, block: BlockId) -> Result<Vec<Step>, LowerError> {
        let captured = self.captured.clone();
        let mut steps = Vec::new();
        for item in fuse(self.graph, block, &captured, self.join) {
            match item {
                Item::Group(g) => {
                    let origin = self.graph.node(g.at).origin.clone();
                    let lowered = kernel::group(self.graph, &g, self.schedule);
                    self.launch(lowered, &origin, &mut steps);
                }
                Item::Alias(v) => {
                    let node = self.graph.def_node(v).expect("an alias is a node's output");
                    let of = self.value(node.inputs[0]);
                    let offset = self.dim(&Dim::ZERO);
                    let b = self.add_buffer(self.graph.ty(v), Place::View { of, offset });
                    self.buffers.insert(Source::Value(v), b);
                }
                Item::Node(n) => {
                    let node = self.graph.node(n);
                    self.step(node, &mut steps)?;
                }
            }
        }
        Ok(steps)
    }

    fn launch(&mut self, lowered: Lowered, origin: &str, steps: &mut Vec<Step>) {
        let buffers = lowered.params.iter().map(|s| self.source(s)).collect();
        let grid = Dim::product(lowered.kernel.grid.iter().map(|a| &a.extent));
        let (grid, cost_ns) = (self.dim(&grid), self.dim(&lowered.kernel.cost_ns));
        let text = lowered.kernel.to_string();
        let kernel = match self.by_text.get(&text) {
            Some(k) => *k,
            None => {
                self.kernels.push(lowered.kernel);
                let k = KernelId(self.kernels.len() as u32 - 1);
                self.by_text.insert(text, k);
                k
            }
        };
        let node = self.node(origin);
        steps.push(Step::Launch { kernel, buffers, dims: Vec::new(), grid, cost_ns, node });
    }

    fn step(&mut self, node: &'g Node, steps: &mut Vec<Step>) -> Result<(), LowerError> {
        match node.op.name {
            "constant" => Ok(()),
            "symbols" => {
                let from = self.value(node.inputs[0]);
                for (i, name) in node.attrs.strs("names").iter().enumerate() {
                    let sym = Sym::new(String::from_utf8_lossy(name).into_owned());
                    // A size of an input has its value already.
                    if self.early.contains(&sym) || !self.bound.insert(sym.clone()) {
                        continue;
                    }
                    steps.push(Step::Bind { source: From::Element(from, i as u32), sym });
                }
                Ok(())
            }
            "if" => self.branch(node, steps),
            "loop" => self.counted(node, steps),
            "routine" => {
                self.routine(node, steps);
                Ok(())
            }
            _ => {
                let inside = BTreeSet::new();
                let Some(kernels) = kernel::template(self.graph, node, &inside, self.schedule) else {
                    let types: Vec<String> =
                        node.inputs.iter().map(|v| self.graph.ty(*v).to_string()).collect();
                    let message = format!("no code for {} on ({})", node.op.name, types.join(", "));
                    return Err(LowerError { node: node.origin.to_string(), message });
                };
                for k in kernels {
                    self.launch(k, &node.origin, steps);
                }
                Ok(())
            }
        }
    }

    /// Binds the symbols that first appear in a value's type to the sizes its buffer is found to have.
    fn bind_sizes(&mut self, v: ValueId, steps: &mut Vec<Step>) {
        let Type::Tensor(t) = self.graph.ty(v) else { return };
        let buffer = self.value(v);
        for (axis, d) in t.shape.iter().enumerate() {
            if let Some(s) = d.as_sym()
                && !self.early.contains(s)
                && self.bound.insert(s.clone())
            {
                steps.push(Step::Bind { source: From::Size(buffer, axis as u32), sym: s.clone() });
            }
        }
    }

    fn branch(&mut self, node: &'g Node, steps: &mut Vec<Step>) -> Result<(), LowerError> {
        let cond = self.value(node.inputs[0]);
        let outs: Vec<BufferId> = node.outputs.iter().map(|v| self.value(*v)).collect();
        let mut bodies = Vec::new();
        for b in &node.blocks {
            let mut body = self.block(*b)?;
            for (from, to) in self.graph.block(*b).results.iter().zip(&outs) {
                body.push(Step::Copy { from: self.value(*from), to: *to });
            }
            bodies.push(body);
        }
        let otherwise = bodies.pop().unwrap_or_default();
        let then = bodies.pop().unwrap_or_default();
        steps.push(Step::If { cond, then, otherwise });
        node.outputs.iter().for_each(|v| self.bind_sizes(*v, steps));
        Ok(())
    }

    fn counted(&mut self, node: &'g Node, steps: &mut Vec<Step>) -> Result<(), LowerError> {
        let graph = self.graph;
        let body = graph.block(node.blocks[0]);
        let (trip, cond) = (self.value(node.inputs[0]), self.value(node.inputs[1]));
        let counter = self.value(body.params[0]);
        let n_carried = body.params.len() - 2;
        let mut inner = Vec::new();
        for p in &body.params[2..] {
            self.bind_sizes(*p, &mut inner);
        }
        // The body's own condition parameter is true whenever the body runs.
        let cond_param = self.value(body.params[1]);
        inner.extend(self.block(node.blocks[0])?);
        let mut carries = vec![Carry { init: cond, current: cond_param, next: self.value(body.results[0]) }];
        for i in 0..n_carried {
            let (init, current) = (self.value(node.inputs[2 + i]), self.value(body.params[2 + i]));
            let next = self.carried_result(body.results[1 + i], &mut inner);
            carries.push(Carry { init, current, next });
        }
        let mut scans = Vec::new();
        for (element, out) in body.results[1 + n_carried..].iter().zip(&node.outputs[n_carried..]) {
            // The number of turns is known when the loop has run.
            let output = self.add_buffer(graph.ty(*out), Place::Late);
            self.buffers.insert(Source::Value(*out), output);
            scans.push(Scan { element: self.value(*element), output });
        }
        let next_cond = Some(self.value(body.results[0]));
        let name = self.node(&node.origin);
        let l = Loop {
            trip: Some(trip),
            cond: Some(cond),
            counter,
            next_cond,
            carries,
            scans,
            body: inner,
            node: name,
        };
        let finals: Vec<BufferId> = l.carries[1..].iter().map(|c| c.current).collect();
        steps.push(Step::Loop(Box::new(l)));
        for (from, out) in finals.into_iter().zip(&node.outputs) {
            let to = self.value(*out);
            steps.push(Step::Copy { from, to });
        }
        node.outputs.iter().for_each(|v| self.bind_sizes(*v, steps));
        Ok(())
    }

    /// A buffer of its own for a carried result: a body may hand on a parameter or an outer value.
    fn carried_result(&mut self, v: ValueId, steps: &mut Vec<Step>) -> BufferId {
        let from = self.value(v);
        let place = self.place_of(self.graph.ty(v));
        let to = self.add_buffer(self.graph.ty(v), place);
        steps.push(Step::Copy { from, to });
        to
    }

    fn routine(&mut self, node: &'g Node, steps: &mut Vec<Step>) {
        let inputs = node.inputs.iter().map(|v| self.value(*v)).collect();
        let outputs = node.outputs.iter().map(|v| self.value(*v)).collect();
        let attrs = match node.attrs.get("params") {
            Some(nnc_ir::Attr::Named(params)) => params.clone(),
            _ => Vec::new(),
        };
        let at = self.node(&node.origin);
        steps.push(Step::Routine { name: node.attrs.str("name").into(), attrs, inputs, outputs, node: at });
        node.outputs.iter().for_each(|v| self.bind_sizes(*v, steps));
    }

    /// Gives every arena buffer its first and last step.
    fn lifetimes(&mut self) {
        let mut spans: Vec<Option<(u32, u32)>> = vec![None; self.plan.buffers.len()];
        let mut touch = |plan: &Plan, b: BufferId, at: u32| {
            let mut b = b;
            loop {
                let s = spans[b.index()].get_or_insert((at, at));
                s.1 = s.1.max(at);
                match plan.buffers[b.index()].place {
                    Place::View { of, .. } => b = of,
                    _ => break,
                }
            }
        };
        for (i, s) in self.plan.steps.iter().enumerate() {
            visit_buffers(s, &mut |b| touch(&self.plan, b, i as u32));
        }
        for p in &self.plan.outputs {
            touch(&self.plan, p.buffer, u32::MAX);
        }
        for (b, span) in self.plan.buffers.iter_mut().zip(spans) {
            if let (Place::Arena { first, last }, Some(s)) = (&mut b.place, span) {
                (*first, *last) = s;
            }
        }
    }
}

/// Calls `f` for every buffer that a step touches, nested steps included.
fn visit_buffers(step: &Step, f: &mut dyn FnMut(BufferId)) {
    match step {
        Step::Launch { buffers, .. } => buffers.iter().for_each(|b| f(*b)),
        Step::Routine { inputs, outputs, .. } => inputs.iter().chain(outputs).for_each(|b| f(*b)),
        Step::Copy { from, to } => [*from, *to].into_iter().for_each(f),
        Step::Bind { source: From::Element(b, _) | From::Size(b, _), .. } => f(*b),
        Step::If { cond, then, otherwise } => {
            f(*cond);
            then.iter().chain(otherwise).for_each(|s| visit_buffers(s, f));
        }
        Step::Loop(l) => {
            [l.trip, l.cond, Some(l.counter), l.next_cond].into_iter().flatten().for_each(&mut *f);
            l.carries.iter().flat_map(|c| [c.init, c.current, c.next]).for_each(&mut *f);
            l.scans.iter().flat_map(|s| [s.element, s.output]).for_each(&mut *f);
            l.body.iter().for_each(|s| visit_buffers(s, f));
        }
    }
}
