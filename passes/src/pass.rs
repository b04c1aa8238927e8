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
}

impl Default for Target {
    fn default() -> Target {
        Target { channels_last: true, optimize: true }
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
