//! What a pass is, and the report that every rewrite goes through.

use nnc_ir::{Graph, OpError, Outcome, Rewriter, rewrite};

pub(crate) use nnc_ir::NodeView;

/// One graph pass: a file, a name, a document, a function.
pub struct Pass {
    /// Name in kebab case; the file has it in snake case.
    pub name: &'static str,
    /// What it does and what holds after it.
    pub doc: &'static str,
    /// Runs even without optimization: others rely on what it establishes.
    pub required: bool,
    /// Makes the new graph.
    pub run: fn(&Graph, &Target, &mut Report) -> Result<Graph, OpError>,
}

/// What passes know of the machine, as plain data.
#[derive(Clone, Debug)]
pub struct Target {
    /// Spatial networks are computed with the channels innermost.
    pub channels_last: bool,
    /// Fusion and schedules; off for `-O0`.
    pub optimize: bool,
    /// Sizes and forms of kernels.
    pub schedule: Schedule,
}

/// What the kernels of a backend look like, as plain data: everything that templates ask of a machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Schedule {
    /// Elements of one grid point along a long innermost axis.
    pub chunk: i64,
    /// Rows and columns of a product in one grid point; `None`: as caches want it.
    pub block: Option<(i64, i64)>,
    /// The right operand of a product is packed into panels first; else it is read where it lies.
    pub packs: bool,
    /// A right operand of four-bit numbers is unpacked into panels of floats first; else the product reads
    /// it as it is stored.
    pub unpacks: bool,
    /// Products summed in one go, and the same for results of one panel of columns, whose few sums are
    /// quickly stored and loaded. Longer sums are cut: their rounding error grows with the length.
    pub runs: Option<(i64, i64)>,
    /// Softmax and normalization of rows are microkernels; else loops.
    pub row_kernels: bool,
    /// Depthwise convolution is a microkernel; else a loop for each element.
    pub depthwise_kernel: bool,
}

impl Schedule {
    /// Threads with caches of their own and microkernels for all that is hot.
    pub const CPU: Schedule = Schedule {
        chunk: 4096,
        block: None,
        packs: true,
        unpacks: true,
        runs: Some((512, 64)),
        row_kernels: true,
        depthwise_kernel: true,
    };
    /// Blocks of threads: small tiles, many grid points, loops that are spread over the threads.
    pub const GPU: Schedule = Schedule {
        chunk: 1024,
        block: Some((64, 64)),
        packs: false,
        unpacks: false,
        runs: None,
        row_kernels: false,
        depthwise_kernel: false,
    };
}

impl Default for Target {
    fn default() -> Target {
        Target { channels_last: true, optimize: true, schedule: Schedule::CPU }
    }
}

/// One thing that a pass did or could not do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// The pass.
    pub pass: &'static str,
    /// Name of the model's node.
    pub node: String,
    /// `None` if the rewrite was applied, else what stood in its way.
    pub blocked: Option<&'static str>,
}

/// Collects what passes did; stops rewriting when the fuel is used up.
#[derive(Debug)]
pub struct Report {
    /// Rewrites that may still be applied.
    pub fuel: u64,
    /// Everything applied or blocked, in order.
    pub events: Vec<Event>,
}

impl Default for Report {
    fn default() -> Report {
        Report { fuel: u64::MAX, events: Vec::new() }
    }
}

impl Report {
    /// Number of applied rewrites of a pass.
    pub fn n_applied(&self, pass: &str) -> usize {
        self.events.iter().filter(|e| e.pass == pass && e.blocked.is_none()).count()
    }

    /// Walks the graph with a rule, counting fuel and recording what happens.
    pub fn apply(
        &mut self,
        pass: &'static str,
        graph: &Graph,
        mut rule: impl FnMut(&mut Rewriter, &NodeView) -> Result<Outcome, OpError>,
    ) -> Result<Graph, OpError> {
        rewrite(graph, |rw, node| {
            if self.fuel == 0 {
                return Ok(Outcome::NoMatch);
            }
            let outcome = rule(rw, node)?;
            let blocked = match &outcome {
                Outcome::Applied(_) => None,
                Outcome::Blocked(why) => Some(*why),
                Outcome::NoMatch | Outcome::Kept(_) => return Ok(outcome),
            };
            self.fuel -= u64::from(blocked.is_none());
            self.events.push(Event { pass, node: node.old.origin.to_string(), blocked });
            Ok(outcome)
        })
    }
}
