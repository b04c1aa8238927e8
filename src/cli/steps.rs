//! The steps of a plan as rows and as text.

use super::inputs::{Sizes, size_of};
use super::out::say;
use nnc_runtime::tensor::plan::{BufferId, DimId, KernelId, Place, Plan, Step};

/// One step, those inside branches and loops after the one that holds them.
pub(crate) struct Row {
    /// Number of the top-level step.
    pub(crate) step: usize,
    /// How many branches and loops are around it.
    pub(crate) depth: usize,
    /// Kernel, routine or kind of step.
    pub(crate) name: String,
    /// The node of the model.
    pub(crate) node: String,
    /// Its buffers.
    pub(crate) buffers: Vec<BufferId>,
    /// Its machine code.
    pub(crate) kernel: Option<KernelId>,
    /// The first that it writes.
    output: Option<BufferId>,
    routine: bool,
    /// Grid points and nanoseconds of one, for machine code.
    work: Option<(DimId, DimId)>,
}

impl Row {
    /// Type and shape of the first buffer that it writes.
    pub(crate) fn output(&self, plan: &Plan) -> String {
        self.output.map_or(String::new(), |b| type_of(plan, b))
    }

    /// It calls one of the closed list of routines.
    pub(crate) fn is_routine(&self) -> bool {
        self.routine
    }

    /// Grid points, and estimated nanoseconds on one core.
    pub(crate) fn cost(&self, plan: &Plan, sizes: &Sizes) -> (i64, f64) {
        let value = |d: DimId| plan.dims[d.index()].eval(&|s| Some(size_of(sizes, s))).unwrap_or(0);
        let Some((grid, cost)) = self.work else { return (0, 0.0) };
        (value(grid), value(grid) as f64 * value(cost) as f64)
    }
}

/// `f32[1, 8, 24, 24]`.
pub(crate) fn type_of(plan: &Plan, b: BufferId) -> String {
    let buffer = &plan.buffers[b.index()];
    let sizes: Vec<String> = buffer.shape.iter().map(|d| plan.dims[d.index()].to_string()).collect();
    format!("{}[{}]", buffer.dtype, sizes.join(", "))
}

/// Every step in order.
pub(crate) fn flatten(plan: &Plan) -> Vec<Row> {
    let mut rows = Vec::new();
    for (at, step) in plan.steps.iter().enumerate() {
        collect(plan, step, at, 0, &mut rows);
    }
    rows
}

fn collect(plan: &Plan, step: &Step, at: usize, depth: usize, rows: &mut Vec<Row>) {
    let name_of = |node: u32| plan.nodes.get(node as usize).cloned().unwrap_or_default();
    let row = |name: String, node: String| {
        let (buffers, kernel, output, work) = (Vec::new(), None, None, None);
        Row { step: at, depth, name, node, buffers, kernel, output, routine: false, work }
    };
    match step {
        Step::Launch { kernel: id, buffers, grid, cost_ns, node, .. } => {
            let kernel = &plan.kernels[id.index()];
            rows.push(Row {
                buffers: buffers.clone(),
                kernel: Some(*id),
                output: kernel.writes.first().and_then(|at| buffers.get(*at as usize)).copied(),
                work: Some((*grid, *cost_ns)),
                ..row(kernel.name.clone(), name_of(*node))
            });
        }
        Step::Routine { name, inputs, outputs, node, .. } => rows.push(Row {
            buffers: [&inputs[..], outputs].concat(),
            output: outputs.first().copied(),
            routine: true,
            ..row(format!("routine {name}"), name_of(*node))
        }),
        Step::Copy { from, to } => rows.push(Row {
            buffers: vec![*from, *to],
            output: Some(*to),
            ..row("copy".into(), String::new())
        }),
        Step::Bind { sym, .. } => rows.push(row(format!("bind {sym}"), String::new())),
        Step::If { then, otherwise, .. } => {
            rows.push(row("if".into(), String::new()));
            then.iter().for_each(|s| collect(plan, s, at, depth + 1, rows));
            rows.push(row("else".into(), String::new()));
            otherwise.iter().for_each(|s| collect(plan, s, at, depth + 1, rows));
        }
        Step::Loop(l) => {
            rows.push(row("loop".into(), name_of(l.node)));
            l.body.iter().for_each(|s| collect(plan, s, at, depth + 1, rows));
        }
    }
}

/// Buffers, ports and steps as text.
pub(crate) fn print_plan(plan: &Plan) {
    say!("plan {:?}", plan.name);
    for (what, ports) in [("input", &plan.inputs), ("output", &plan.outputs)] {
        ports.iter().for_each(|p| say!("  {what} {:?} = b{}", p.name, p.buffer.0));
    }
    for (i, b) in plan.buffers.iter().enumerate() {
        let place = match &b.place {
            Place::Input(n) => format!("input {n}"),
            Place::Constant { offset, len } => format!("weights at {offset}, {len} bytes"),
            Place::Arena { first, last: u32::MAX } => format!("arena, from step {first} to the end"),
            Place::Arena { first, last } => format!("arena, steps {first} to {last}"),
            Place::Late => "allocated during the run".into(),
            Place::Slot => "slot".into(),
            Place::View { of, offset } => format!("view of b{} at {}", of.0, plan.dims[offset.index()]),
        };
        say!("  b{i}: {}  {place}", type_of(plan, BufferId(u32::try_from(i).unwrap_or(u32::MAX))));
    }
    for row in flatten(plan) {
        let buffers: Vec<String> = row.buffers.iter().map(|b| format!("b{}", b.0)).collect();
        let node = if row.node.is_empty() { String::new() } else { format!("  from {:?}", row.node) };
        let grid = row.work.map_or(String::new(), |(g, _)| format!("  over {}", plan.dims[g.index()]));
        say!("  {:>4} {}{}({}){grid}{node}", row.step, "  ".repeat(row.depth), row.name, buffers.join(", "));
    }
}
