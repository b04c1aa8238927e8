//! What a pass is, and the report that every rewrite goes through.

use nnc_ir::{Dim, Graph, OpError, Outcome, Rewriter, rewrite};

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
    /// Larger blocks, for products of floats whose results have enough of them.
    pub large: Option<LargeBlocks>,
    /// How products of few rows are made; `None`: as all others are.
    pub few: Option<FewRows>,
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
    /// Loops over rows that a grid point takes side by side; `None`: a row a point.
    pub short_rows: Option<ShortRows>,
    /// Depthwise convolution is a microkernel; else a loop for each element.
    pub depthwise_kernel: bool,
}

/// Blocks of products of floats whose operands are worth being shared by more results.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LargeBlocks {
    /// Rows and columns; of those that keep the machine busy, the first is taken.
    pub sizes: &'static [(i64, i64)],
    /// Grid points that keep it busy: the multiprocessors of a large device.
    pub points: i64,
}

/// Products that are bound by how fast the right operand comes from memory: many small grid points.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FewRows {
    /// Most rows.
    pub rows: i64,
    /// Least columns of a grid point.
    pub columns: i64,
    /// A grid point has twice the columns as long as this many points are left.
    pub points: i64,
}

/// Rows that are too short to be shared out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShortRows {
    /// Most elements of a row.
    pub longest: i64,
    /// Rows of a grid point.
    pub at_once: i64,
}

impl Schedule {
    /// Rows of a grid point where rows of `n` elements are short.
    pub(crate) fn rows_at_once(&self, n: &Dim) -> Option<i64> {
        let n = n.as_const()?;
        self.short_rows.filter(|rows| n <= rows.longest).map(|rows| rows.at_once)
    }

    /// Threads with caches of their own and microkernels for all that is hot.
    pub const CPU: Schedule = Schedule {
        chunk: 4096,
        block: None,
        large: None,
        few: None,
        packs: true,
        unpacks: true,
        runs: Some((512, 64)),
        row_kernels: true,
        short_rows: None,
        depthwise_kernel: true,
    };
    /// Blocks of threads: small tiles, many grid points, loops that are spread over the threads.
    pub const GPU: Schedule = Schedule {
        chunk: 1024,
        block: Some((64, 64)),
        large: Some(LargeBlocks { sizes: &[(128, 128), (128, 64)], points: 132 }),
        few: Some(FewRows { rows: 8, columns: 16, points: 256 }),
        packs: false,
        unpacks: false,
        runs: None,
        row_kernels: false,
        short_rows: Some(ShortRows { longest: 1024, at_once: 8 }),
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
