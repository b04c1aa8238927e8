//! Recurrent layers (LSTM, GRU, plain): one grid point a direction. The input's products are made for
//! all time steps at once, the state's products step by step; states live in the output buffers.

use super::gemm::{PACK, Product, Right};
use super::{FMA_PER_NS, PANEL};
use crate::lower::emit::Constant;
use crate::lower::emit::Emitter;
use crate::lower::kernel::{Lowered, finished};
use crate::lower::window;
use crate::pass::Schedule;
use nnc_ir::plan::{Packing, PanelAxis};
use nnc_ir::tile::{Access, Arg, Expr, Local, Mem, Turns};
use nnc_ir::{DType, Dim, Graph, Node, ScalarOp, ValueId};
use std::collections::BTreeSet;

/// Everything the nest refers to.
struct Cell<'g> {
    node: &'g Node,
    dtype: DType,
    gates: i64,
    hidden: Dim,
    batch: Dim,
    steps: Dim,
    dir: Dim,
    n_dirs: i64,
    /// Products of the input, `[steps·batch, gates·hidden]` by gate: gate g at g·steps·batch·hidden.
    inputs: Mem,
    /// Products of the state, gate g at g·batch·hidden.
    state_products: Mem,
    h: Mem,
    c: Mem,
    y: Mem,
}

/// The kernels of a recurrent layer, if it is in f32 or f64.
pub(crate) fn kernels(
    graph: &Graph,
    node: &Node,
    inside: &BTreeSet<ValueId>,
    schedule: Schedule,
) -> Option<Vec<Lowered>> {
    if !matches!(graph.tensor_ty(node.inputs[0]).dtype, DType::F32 | DType::F64) {
        return None;
    }
    let mut e = Emitter::new(graph, node.attrs.str("cell"), inside, schedule);
    emit(&mut e, node);
    Some(vec![finished(e)])
}

fn emit<'g>(e: &mut Emitter<'g>, node: &'g Node) {
    let (x, w) = (e.shape(node.inputs[0]), e.shape(node.inputs[1]));
    let gates = match node.attrs.str("cell") {
        "lstm" => 4,
        "gru" => 3,
        _ => 1,
    };
    let (steps, batch, input) = (x[0].clone(), x[1].clone(), x[2].clone());
    let hidden = Dim::int(node.attrs.int("hidden"));
    let n_dirs = w[0].as_const().unwrap_or(1);
    let dir = if n_dirs == 1 { Dim::ZERO } else { e.grid(Dim::int(n_dirs)) };
    let state = batch.clone() * hidden.clone();
    let dtype = e.dtype(node.inputs[0]);
    let cell = Cell {
        node,
        dtype,
        gates,
        inputs: e.kb.scratch(dtype, Dim::int(gates) * steps.clone() * state.clone()),
        state_products: e.kb.scratch(dtype, Dim::int(gates) * state.clone()),
        h: e.buffer(node.outputs[1], Access::ReadWrite),
        c: e.buffer(node.outputs[2], Access::ReadWrite),
        y: e.buffer(node.outputs[0], Access::Write),
        hidden: hidden.clone(),
        batch: batch.clone(),
        steps: steps.clone(),
        dir,
        n_dirs,
    };
    let (xw, w_panels) = (e.buffer(node.inputs[0], Access::Read), weights(e, &cell, node.inputs[1], &input));
    let r_panels = weights(e, &cell, node.inputs[2], &hidden);
    for g in 0..gates {
        let rows = steps.clone() * batch.clone();
        let to = Dim::int(g) * rows.clone() * hidden.clone();
        product(e, &cell, (cell.inputs, to), rows, (xw, Dim::ZERO, &input), &w_panels, g);
    }
    initial(e, &cell, node.inputs[5], cell.h);
    initial(e, &cell, node.inputs[6], cell.c);
    let time = e.begin(Turns::Serial, steps.clone(), &[]);
    let late_gate = resets_first(node);
    let early = if late_gate { gates - 1 } else { gates };
    for g in 0..early {
        let to = Dim::int(g) * state.clone();
        let h_at = cell.state_at(&Dim::ZERO, &Dim::ZERO);
        product(e, &cell, (cell.state_products, to), batch.clone(), (cell.h, h_at, &hidden), &r_panels, g);
    }
    let reset = late_gate.then(|| reset_state(e, &cell, &time.index(), &r_panels));
    step(e, &cell, &time.index(), reset);
    e.end(time, &[], &[]);
    let work = Dim::int(gates) * state * steps * (input + hidden);
    e.cost = work.floor_div(&Dim::int(FMA_PER_NS)) + Dim::int(1000);
}

/// A GRU whose candidate multiplies the state after the reset gate.
fn resets_first(node: &Node) -> bool {
    node.attrs.str("cell") == "gru" && !node.attrs.flag("linear_before_reset")
}

impl Cell<'_> {
    fn state_at(&self, b: &Dim, j: &Dim) -> Dim {
        (self.dir.clone() * self.batch.clone() + b.clone()) * self.hidden.clone() + j.clone()
    }

    fn reversed(&self, e: &mut Emitter) -> Option<Local> {
        match self.node.attrs.str("direction") {
            "forward" => None,
            "reverse" => Some(e.kb.int(DType::Bool, 1)),
            _ => {
                let (d, zero) =
                    (e.kb.def(DType::I64, Expr::Index(self.dir.clone())), e.kb.int(DType::I64, 0));
                Some(e.kb.op(ScalarOp::Ne, &[d, zero]))
            }
        }
    }
}

/// A weight `[dirs, gates·hidden, k]`: in f32 as panels (a constant, or packed into scratch for this
/// direction) or where it lies.
struct Weights {
    value: ValueId,
    form: Option<Form>,
}

enum Form {
    Panels(Panels),
    Plain(Mem),
}

struct Panels {
    mem: Mem,
    /// First element of this direction.
    at: Dim,
    per_gate: Dim,
    panel: Dim,
}

fn weights(e: &mut Emitter, cell: &Cell, w: ValueId, k: &Dim) -> Weights {
    let plain = e.graph.constant(w).is_none() && !e.schedule.packs;
    let form = (cell.dtype == DType::F32).then(|| match plain {
        true => Form::Plain(e.buffer(w, Access::Read)),
        false => Form::Panels(panels(e, cell, w, k)),
    });
    Weights { value: w, form }
}

fn panels(e: &mut Emitter, cell: &Cell, w: ValueId, k: &Dim) -> Panels {
    let panel = k.clone() * Dim::int(PANEL);
    let per_gate = panel.clone() * cell.hidden.ceil_div(&Dim::int(PANEL));
    let per_dir = per_gate.clone() * Dim::int(cell.gates);
    if e.graph.constant(w).is_some() {
        let known = |d: &Dim| d.as_const().expect("a constant has fixed sizes");
        let (h, k) = (known(&cell.hidden), known(k));
        let packing = Packing::Panels {
            offset: 0,
            batch: vec![
                PanelAxis { len: cell.n_dirs, stride: cell.gates * h * k },
                PanelAxis { len: cell.gates, stride: h * k },
            ],
            k: vec![PanelAxis { len: k, stride: 1 }],
            n: PanelAxis { len: h, stride: k },
            dtype: DType::F32,
        };
        let mem = e.constant(Constant::Packed { value: w, packing });
        return Panels { mem, at: cell.dir.clone() * per_dir, per_gate, panel };
    }
    let (mem, from) = (e.kb.scratch(DType::F32, per_dir), e.buffer(w, Access::Read));
    for g in 0..cell.gates {
        let row = cell.dir.clone() * Dim::int(cell.gates) + Dim::int(g);
        let args = vec![
            Arg::Ptr(mem, per_gate.clone() * Dim::int(g)),
            Arg::Ptr(from, row * cell.hidden.clone() * k.clone()),
            Arg::Int(k.clone()),
            Arg::Int(cell.hidden.clone()),
            Arg::Int(Dim::ONE),
            Arg::Int(k.clone()),
            Arg::Int(panel.clone()),
        ];
        e.kb.call(PACK.0, PACK.1, args);
    }
    Panels { mem, at: Dim::ZERO, per_gate, panel }
}

/// `out[rows, hidden] = a[rows, k] · weights of gate g`.
fn product(
    e: &mut Emitter,
    cell: &Cell,
    out: (Mem, Dim),
    rows: Dim,
    a: (Mem, Dim, &Dim),
    w: &Weights,
    g: i64,
) {
    let (k, hidden) = (a.2.clone(), cell.hidden.clone());
    let right = match &w.form {
        None => return plain_product(e, cell, out, rows, a, w.value, g),
        Some(Form::Panels(p)) => {
            let at = p.at.clone() + p.per_gate.clone() * Dim::int(g);
            Right::Panels(p.mem, at, p.panel.clone())
        }
        Some(Form::Plain(mem)) => {
            let gate = cell.dir.clone() * Dim::int(cell.gates) + Dim::int(g);
            Right::Strided(*mem, gate * hidden.clone() * k.clone(), Dim::ONE, k.clone())
        }
    };
    let int = |v: i64| Arg::Int(Dim::int(v));
    let left = [Arg::Null, int(0), Arg::Ptr(a.0, a.1), Arg::Int(k.clone()), int(1), Arg::Int(k)];
    let (contract, operands) = Product { left, right, zeros: Arg::Null }.operands();
    let mut args = vec![Arg::Ptr(out.0, out.1), Arg::Int(hidden.clone()), Arg::Int(rows), Arg::Int(hidden)];
    args.extend(operands);
    args.extend([int(0), Arg::Null, Arg::Null, Arg::Null, int(0), Arg::F32(0.0), Arg::F32(0.0), Arg::Null]);
    e.kb.call(contract.0, contract.1, args);
}

/// The same product by loops, for types without a matrix kernel.
fn plain_product(
    e: &mut Emitter,
    cell: &Cell,
    out: (Mem, Dim),
    rows: Dim,
    a: (Mem, Dim, &Dim),
    w: ValueId,
    g: i64,
) {
    let row = e.begin(Turns::Serial, rows, &[]);
    let lanes = e.begin(Turns::Lanes, cell.hidden.clone(), &[]);
    let (r, j) = (row.index(), lanes.index());
    let zero = e.kb.float(cell.dtype, 0.0);
    let sum = e.begin(Turns::Serial, a.2.clone(), &[zero]);
    let x = e.kb.load(a.0, a.1 + r.clone() * a.2.clone() + sum.index());
    let column = Dim::int(g) * cell.hidden.clone() + j.clone();
    let y = e.value(w, &[cell.dir.clone(), column, sum.index()]);
    let next = window::multiply_add(e, sum.carried()[0], x, y);
    let total = e.end(sum, &[next], &[]).0[0];
    e.kb.store(out.0, out.1 + r * cell.hidden.clone() + j, total);
    e.end(lanes, &[], &[]);
    e.end(row, &[], &[]);
}

/// Copies the initial state of this direction.
fn initial(e: &mut Emitter, cell: &Cell, from: ValueId, to: Mem) {
    let rows = e.begin(Turns::Serial, cell.batch.clone(), &[]);
    let lanes = e.begin(Turns::Lanes, cell.hidden.clone(), &[]);
    let v = e.value(from, &[cell.dir.clone(), rows.index(), lanes.index()]);
    e.kb.store(to, cell.state_at(&rows.index(), &lanes.index()), v);
    e.end(lanes, &[], &[]);
    e.end(rows, &[], &[]);
}

/// What a step knows of one sequence: its time and whether it still runs.
struct At {
    time: Dim,
    runs: Local,
}

fn at_step(e: &mut Emitter, cell: &Cell, step: &Dim, b: &Dim) -> At {
    let len = e.value(cell.node.inputs[4], std::slice::from_ref(b));
    let len = e.kb.cast(len, DType::I64);
    let s = e.kb.def(DType::I64, Expr::Index(step.clone()));
    let runs = e.kb.op(ScalarOp::Lt, &[s, len]);
    let time = match cell.reversed(e) {
        None => step.clone(),
        Some(reversed) => {
            let one = e.kb.int(DType::I64, 1);
            let last = e.kb.op(ScalarOp::Sub, &[len, one]);
            let back = e.kb.op(ScalarOp::Sub, &[last, s]);
            // A finished sequence writes its zeros at the step itself.
            let back = e.kb.select(runs, back, s);
            e.kb.select(reversed, back, s).dim()
        }
    };
    At { time, runs }
}

/// A gate before its activation: products of input and state plus biases.
fn gate(e: &mut Emitter, cell: &Cell, at: &At, b: &Dim, j: &Dim, g: i64, with_state: bool) -> Local {
    let rows = cell.steps.clone() * cell.batch.clone();
    let row = at.time.clone() * cell.batch.clone() + b.clone();
    let x = e.kb.load(cell.inputs, (Dim::int(g) * rows + row) * cell.hidden.clone() + j.clone());
    let wb = e.value(cell.node.inputs[3], &[cell.dir.clone(), Dim::int(g) * cell.hidden.clone() + j.clone()]);
    let sum = e.kb.op(ScalarOp::Add, &[x, wb]);
    if !with_state {
        return sum;
    }
    let s = state_part(e, cell, b, j, g);
    e.kb.op(ScalarOp::Add, &[sum, s])
}

/// The state's product and bias of a gate.
fn state_part(e: &mut Emitter, cell: &Cell, b: &Dim, j: &Dim, g: i64) -> Local {
    let at = (Dim::int(g) * cell.batch.clone() + b.clone()) * cell.hidden.clone() + j.clone();
    let r = e.kb.load(cell.state_products, at);
    let column = Dim::int(cell.gates + g) * cell.hidden.clone() + j.clone();
    let rb = e.value(cell.node.inputs[3], &[cell.dir.clone(), column]);
    e.kb.op(ScalarOp::Add, &[r, rb])
}

/// The constants of activation number `f`, those of the standard where none are given.
fn constants(attrs: &nnc_ir::Attrs, name: &str, f: usize) -> (f64, f64) {
    let (alpha, beta) = match name {
        "hardsigmoid" => (0.2, 0.5),
        "leakyrelu" => (0.01, 0.0),
        _ => (1.0, if name == "scaledtanh" { 1.0 } else { 0.0 }),
    };
    let given = |list: &str, or: f64| attrs.floats(list).get(f).copied().unwrap_or(or);
    (given("alphas", alpha), given("betas", beta))
}

/// Activation number `f` of a gate: what goes in is clipped.
fn activate(e: &mut Emitter, cell: &Cell, f: usize, x: Local) -> Local {
    let clip = cell.node.attrs.float("clip");
    if clip <= 0.0 {
        return function(e, cell, f, x);
    }
    let (lo, hi) = (e.kb.float(cell.dtype, -clip), e.kb.float(cell.dtype, clip));
    let x = e.kb.op(ScalarOp::Min, &[x, hi]);
    let x = e.kb.op(ScalarOp::Max, &[x, lo]);
    function(e, cell, f, x)
}

/// Activation number `f` of this direction: a bidirectional layer lists those of both.
fn function(e: &mut Emitter, cell: &Cell, f: usize, x: Local) -> Local {
    let attrs = &cell.node.attrs;
    let per_direction = attrs.strs("activations").len() / cell.n_dirs.max(1) as usize;
    let forward = named_function(e, cell, f, x);
    if cell.n_dirs < 2 || same_function(attrs, f, f + per_direction) {
        return forward;
    }
    let backward = named_function(e, cell, f + per_direction, x);
    let (d, zero) = (e.kb.def(DType::I64, Expr::Index(cell.dir.clone())), e.kb.int(DType::I64, 0));
    let first = e.kb.op(ScalarOp::Eq, &[d, zero]);
    e.kb.select(first, forward, backward)
}

fn same_function(attrs: &nnc_ir::Attrs, f: usize, g: usize) -> bool {
    let name = |i: usize| String::from_utf8_lossy(&attrs.strs("activations")[i]).to_lowercase();
    name(f) == name(g) && constants(attrs, &name(f), f) == constants(attrs, &name(g), g)
}

fn named_function(e: &mut Emitter, cell: &Cell, f: usize, x: Local) -> Local {
    let attrs = &cell.node.attrs;
    let name = String::from_utf8_lossy(&attrs.strs("activations")[f]).to_lowercase();
    let (alpha, beta) = constants(attrs, &name, f);
    let constant = |e: &mut Emitter, v: f64| e.kb.float(cell.dtype, v);
    match name.as_str() {
        "sigmoid" => e.kb.op(ScalarOp::Sigmoid, &[x]),
        "tanh" => e.kb.op(ScalarOp::Tanh, &[x]),
        "relu" => {
            let zero = constant(e, 0.0);
            e.kb.op(ScalarOp::Max, &[x, zero])
        }
        "softplus" => e.kb.op(ScalarOp::Softplus, &[x]),
        "affine" | "hardsigmoid" | "scaledtanh" => {
            let (a, b) = (constant(e, alpha), constant(e, beta));
            if name == "scaledtanh" {
                let inner = e.kb.op(ScalarOp::Mul, &[b, x]);
                let t = e.kb.op(ScalarOp::Tanh, &[inner]);
                return e.kb.op(ScalarOp::Mul, &[a, t]);
            }
            let ax = e.kb.op(ScalarOp::Mul, &[a, x]);
            let y = e.kb.op(ScalarOp::Add, &[ax, b]);
            if name == "affine" {
                return y;
            }
            let (zero, one) = (constant(e, 0.0), constant(e, 1.0));
            let y = e.kb.op(ScalarOp::Min, &[y, one]);
            e.kb.op(ScalarOp::Max, &[y, zero])
        }
        "leakyrelu" | "thresholdedrelu" | "elu" => {
            let (a, zero) = (constant(e, alpha), constant(e, 0.0));
            let limit = if name == "thresholdedrelu" { a } else { zero };
            let above = e.kb.op(ScalarOp::Gt, &[x, limit]);
            let below = match name.as_str() {
                "thresholdedrelu" => zero,
                "leakyrelu" => e.kb.op(ScalarOp::Mul, &[a, x]),
                _ => {
                    let (one, ex) = (constant(e, 1.0), e.kb.op(ScalarOp::Exp, &[x]));
                    let m = e.kb.op(ScalarOp::Sub, &[ex, one]);
                    e.kb.op(ScalarOp::Mul, &[a, m])
                }
            };
            e.kb.select(above, x, below)
        }
        _ => {
            // softsign: x / (1 + |x|)
            let (one, abs) = (constant(e, 1.0), e.kb.op(ScalarOp::Abs, &[x]));
            let d = e.kb.op(ScalarOp::Add, &[one, abs]);
            e.kb.op(ScalarOp::Div, &[x, d])
        }
    }
}

/// The reset state `r·h` of a GRU and its product with the candidate's weights.
fn reset_state(e: &mut Emitter, cell: &Cell, step: &Dim, r_panels: &Weights) -> Mem {
    let reset = e.kb.scratch(cell.dtype, cell.batch.clone() * cell.hidden.clone());
    let rows = e.begin(Turns::Serial, cell.batch.clone(), &[]);
    let b = rows.index();
    let at = at_step(e, cell, step, &b);
    let lanes = e.begin(Turns::Lanes, cell.hidden.clone(), &[]);
    let j = lanes.index();
    let r = gate(e, cell, &at, &b, &j, 1, true);
    let r = activate(e, cell, 0, r);
    let h = e.kb.load(cell.h, cell.state_at(&b, &j));
    let rh = e.kb.op(ScalarOp::Mul, &[r, h]);
    e.kb.store(reset, b * cell.hidden.clone() + j, rh);
    e.end(lanes, &[], &[]);
    e.end(rows, &[], &[]);
    let to = Dim::int(2) * cell.batch.clone() * cell.hidden.clone();
    product(
        e,
        cell,
        (cell.state_products, to),
        cell.batch.clone(),
        (reset, Dim::ZERO, &cell.hidden),
        r_panels,
        2,
    );
    reset
}

/// One time step of every sequence.
fn step(e: &mut Emitter, cell: &Cell, step: &Dim, reset: Option<Mem>) {
    let rows = e.begin(Turns::Serial, cell.batch.clone(), &[]);
    let b = rows.index();
    let at = at_step(e, cell, step, &b);
    let lanes = e.begin(Turns::Lanes, cell.hidden.clone(), &[]);
    let j = lanes.index();
    let place = cell.state_at(&b, &j);
    let h = e.kb.load(cell.h, place.clone());
    let new = match cell.node.attrs.str("cell") {
        "lstm" => lstm(e, cell, &at, &b, &j),
        "gru" => gru(e, cell, &at, &b, &j, h, reset.is_some()),
        _ => {
            let g = gate(e, cell, &at, &b, &j, 0, true);
            activate(e, cell, 0, g)
        }
    };
    let kept = e.kb.select(at.runs, new, h);
    e.kb.store(cell.h, place, kept);
    let zero = e.kb.float(cell.dtype, 0.0);
    let out = e.kb.select(at.runs, new, zero);
    let row = at.time.clone() * Dim::int(cell.n_dirs) + cell.dir.clone();
    e.kb.store(cell.y, (row * cell.batch.clone() + b) * cell.hidden.clone() + j, out);
    e.end(lanes, &[], &[]);
    e.end(rows, &[], &[]);
}

fn lstm(e: &mut Emitter, cell: &Cell, at: &At, b: &Dim, j: &Dim) -> Local {
    let place = cell.state_at(b, j);
    let c = e.kb.load(cell.c, place.clone());
    let peep = |e: &mut Emitter, which: i64, c: Local, x: Local| {
        let column = Dim::int(which) * cell.hidden.clone() + j.clone();
        let p = e.value(cell.node.inputs[7], &[cell.dir.clone(), column]);
        let pc = e.kb.op(ScalarOp::Mul, &[p, c]);
        e.kb.op(ScalarOp::Add, &[x, pc])
    };
    let i = gate(e, cell, at, b, j, 0, true);
    let i = peep(e, 0, c, i);
    let i = activate(e, cell, 0, i);
    let f = if cell.node.attrs.flag("input_forget") {
        let one = e.kb.float(cell.dtype, 1.0);
        e.kb.op(ScalarOp::Sub, &[one, i])
    } else {
        let f = gate(e, cell, at, b, j, 2, true);
        let f = peep(e, 2, c, f);
        activate(e, cell, 0, f)
    };
    let g = gate(e, cell, at, b, j, 3, true);
    let g = activate(e, cell, 1, g);
    let (fc, ig) = (e.kb.op(ScalarOp::Mul, &[f, c]), e.kb.op(ScalarOp::Mul, &[i, g]));
    let new = e.kb.op(ScalarOp::Add, &[fc, ig]);
    let kept = e.kb.select(at.runs, new, c);
    e.kb.store(cell.c, place, kept);
    let o = gate(e, cell, at, b, j, 1, true);
    let o = peep(e, 1, new, o);
    let o = activate(e, cell, 0, o);
    let squashed = function(e, cell, 2, new);
    e.kb.op(ScalarOp::Mul, &[o, squashed])
}

fn gru(e: &mut Emitter, cell: &Cell, at: &At, b: &Dim, j: &Dim, h: Local, reset_first: bool) -> Local {
    let z = gate(e, cell, at, b, j, 0, true);
    let z = activate(e, cell, 0, z);
    let candidate = if reset_first {
        gate(e, cell, at, b, j, 2, true)
    } else {
        let r = gate(e, cell, at, b, j, 1, true);
        let r = activate(e, cell, 0, r);
        let (x, s) = (gate(e, cell, at, b, j, 2, false), state_part(e, cell, b, j, 2));
        let rs = e.kb.op(ScalarOp::Mul, &[r, s]);
        e.kb.op(ScalarOp::Add, &[x, rs])
    };
    let candidate = activate(e, cell, 1, candidate);
    let one = e.kb.float(cell.dtype, 1.0);
    let keep = e.kb.op(ScalarOp::Sub, &[one, z]);
    let (new, old) = (e.kb.op(ScalarOp::Mul, &[keep, candidate]), e.kb.op(ScalarOp::Mul, &[z, h]));
    e.kb.op(ScalarOp::Add, &[new, old])
}
