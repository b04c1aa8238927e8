//! A page about a compiled model: one file of HTML without scripts and without anything from elsewhere.

use super::compile::nodes;
use super::costs::{Cost, costs, total};
use super::inputs::Sizes;
use super::memory::{Live, arena, at_sizes};
use super::out::{bytes, operations, seconds};
use nnc::Compiled;
use nnc_ir::Graph;
use nnc_ir::plan::Program;
use nnc_runtime::tensor::plan::{DimId, Kernel, Plan};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

const STYLE: &str = include_str!("page.css");
/// Width and height of the picture of memory, in its own units.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 240.0;

/// What the page is about.
pub(crate) struct About<'a> {
    /// The model's file.
    pub(crate) model: &'a Path,
    /// What was made.
    pub(crate) compiled: &'a Compiled,
    /// The graph as it was read.
    pub(crate) imported: &'a Graph,
    /// The graph after all passes.
    pub(crate) optimized: &'a Graph,
}

/// Writing to a string cannot fail.
macro_rules! put {
    ($out:expr, $($t:tt)*) => { let _ = write!($out, $($t)*); };
}

/// Text with the characters that mean something in HTML written out.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            c => f.write_char(c),
        })
    }
}

/// The whole page.
pub(crate) fn render(about: &About<'_>, program: &Program, sizes: &Sizes) -> String {
    // Places of code do not matter here; names and what is written do.
    let kernel = |k: &nnc_ir::tile::Kernel| Kernel {
        name: k.name.clone(),
        offset: 0,
        scratch: DimId(0),
        writes: k.written().collect(),
    };
    let plan = Plan { kernels: program.kernels.iter().map(kernel).collect(), ..program.plan.clone() };
    let all = costs(&plan, Some(&program.kernels), sizes);
    let title = about.model.file_name().unwrap_or_default().to_string_lossy();
    let title = Escaped(&title);
    let mut out = String::new();
    put!(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    put!(out, "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    put!(out, "<title>{title} – nnc</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n");
    facts(&mut out, about, &plan, &all, sizes);
    shares(&mut out, &all);
    memory(&mut out, &plan, &all, sizes);
    steps(&mut out, &plan, &all);
    graphs(&mut out, about);
    put!(out, "</body>\n</html>\n");
    out
}

/// The numbers that matter most.
fn facts(out: &mut String, about: &About<'_>, plan: &Plan, all: &[Cost], sizes: &Sizes) {
    let made = about.compiled;
    let (flop, moved, time) = total(all);
    let steps = format!("{} from {} nodes", made.n_kernels, nodes(about.imported));
    let rows = [
        ("target", made.target.clone()),
        ("kernels", steps),
        ("weights", bytes(made.weights)),
        ("code", bytes(made.code)),
        ("activations", bytes(arena(plan, sizes).1)),
        ("arithmetic", flop.map_or("–".into(), operations)),
        ("read and written", bytes(moved)),
        ("estimate, one core", seconds(time)),
        ("sizes", at_sizes(plan, sizes)),
    ];
    put!(out, "<dl class=\"facts\">\n");
    for (name, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
        put!(out, "<div><dt>{name}</dt><dd>{}</dd></div>\n", Escaped(value));
    }
    put!(out, "</dl>\n");
    for (what, ports) in [("input", &plan.inputs), ("output", &plan.outputs)] {
        for port in ports {
            let ty = port.container.clone().unwrap_or_else(|| super::steps::type_of(plan, port.buffer));
            put!(
                out,
                "<p class=\"port\">{what} <code>{}: {}</code></p>\n",
                Escaped(&port.name),
                Escaped(&ty)
            );
        }
    }
}

/// Costs of all steps of one kind.
#[derive(Default)]
struct Kind {
    steps: usize,
    flop: u64,
    bytes: u64,
    seconds: f64,
}

/// Where estimated time, arithmetic and bytes go, kind by kind.
fn shares(out: &mut String, all: &[Cost]) {
    let mut kinds: BTreeMap<&str, Kind> = BTreeMap::new();
    for c in all.iter().filter(|c| c.row.kernel.is_some() || c.row.is_routine()) {
        let kind = kinds.entry(&c.row.name).or_default();
        kind.steps += 1;
        kind.flop += c.flop.unwrap_or(0);
        kind.bytes += c.bytes;
        kind.seconds += c.seconds;
    }
    let mut kinds: Vec<(&str, Kind)> = kinds.into_iter().collect();
    kinds.sort_by(|a, b| b.1.seconds.total_cmp(&a.1.seconds));
    let (flop, moved, time) = total(all);
    put!(out, "<h2>Where time, arithmetic and bytes go</h2>\n<table>\n<thead><tr><th>kernel</th>");
    put!(out, "<th>steps</th><th>estimate</th><th>FLOP</th><th>bytes</th></tr></thead>\n<tbody>\n");
    for (name, kind) in kinds {
        put!(out, "<tr><td><code>{}</code></td><td class=\"n\">{}</td>", Escaped(name), kind.steps);
        bar(out, kind.seconds, time, &seconds(kind.seconds));
        bar(out, kind.flop as f64, flop.unwrap_or(0) as f64, &operations(kind.flop));
        bar(out, kind.bytes as f64, moved as f64, &bytes(kind.bytes));
        put!(out, "</tr>\n");
    }
    put!(out, "</tbody>\n</table>\n");
}

/// A cell whose background shows a part of a whole.
fn bar(out: &mut String, part: f64, whole: f64, text: &str) {
    let share = if whole > 0.0 { 100.0 * part / whole } else { 0.0 };
    put!(out, "<td class=\"n bar\" style=\"--share:{share:.1}%\">{}</td>", Escaped(text));
}

/// The arena: each buffer from its first step to its last, at its place.
fn memory(out: &mut String, plan: &Plan, all: &[Cost], sizes: &Sizes) {
    let (live, peak) = arena(plan, sizes);
    put!(out, "<h2>Memory over time</h2>\n");
    if live.is_empty() || peak == 0 {
        put!(out, "<p>No activations: every value is an input, an output or found during the run.</p>\n");
        return;
    }
    let n = plan.steps.len().max(1) as f64;
    let last = |l: &Live| (l.last as usize).min(plan.steps.len().saturating_sub(1));
    put!(out, "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"buffers over steps\">\n");
    for l in live.iter().filter(|l| l.size > 0) {
        let (x, width) =
            (f64::from(l.first) / n * WIDTH, (last(l) + 1 - l.first as usize) as f64 / n * WIDTH);
        let height = l.size as f64 / peak as f64 * HEIGHT;
        let y = HEIGHT - l.offset as f64 / peak as f64 * HEIGHT - height;
        let maker = all.iter().find(|c| c.row.depth == 0 && c.row.step == l.first as usize);
        let name = maker.map_or("", |c| c.row.name.as_str());
        put!(out, "<rect x=\"{x:.2}\" y=\"{y:.2}\" width=\"{width:.2}\" height=\"{height:.2}\"><title>");
        put!(out, "{} at {}, steps {} to {}, ", bytes(l.size), l.offset, l.first, last(l));
        put!(out, "{}</title></rect>\n", Escaped(name));
    }
    put!(out, "</svg>\n<p class=\"note\">Steps from left to right, addresses from bottom to top: ");
    put!(
        out,
        "{} steps, {}. Each rectangle is a value from the step that writes it ",
        plan.steps.len(),
        bytes(peak)
    );
    put!(out, "to the last that reads it.</p>\n");
}

/// A row a step.
fn steps(out: &mut String, plan: &Plan, all: &[Cost]) {
    let time = all.iter().map(|c| c.seconds).sum::<f64>();
    put!(out, "<h2>Steps</h2>\n<table>\n<thead><tr><th>step</th><th>kernel</th><th>output</th>");
    put!(out, "<th>FLOP</th><th>bytes</th><th>estimate</th><th>node</th></tr></thead>\n<tbody>\n");
    for c in all {
        let (row, output) = (&c.row, c.row.output(plan));
        put!(out, "<tr><td class=\"n\">{}</td>", row.step);
        put!(out, "<td style=\"padding-left:{}em\">", 0.5 + row.depth as f64);
        put!(out, "<code>{}</code></td><td><code>{}</code></td>", Escaped(&row.name), Escaped(&output));
        let flop = c.flop.map_or("–".to_owned(), operations);
        put!(out, "<td class=\"n\">{flop}</td><td class=\"n\">{}</td>", bytes(c.bytes));
        bar(out, c.seconds, time, &seconds(c.seconds));
        put!(out, "<td class=\"node\">{}</td></tr>\n", Escaped(&row.node));
    }
    put!(out, "</tbody>\n</table>\n");
}

/// Operators before and after the passes.
fn graphs(out: &mut String, about: &About<'_>) {
    let (mut before, mut after) = (count(about.imported), count(about.optimized));
    let names: Vec<String> = before.keys().chain(after.keys()).cloned().collect();
    let mut rows: Vec<(String, usize, usize)> = Vec::new();
    for name in names {
        let (b, a) = (before.remove(&name), after.remove(&name));
        if b.is_some() || a.is_some() {
            rows.push((name, b.unwrap_or(0), a.unwrap_or(0)));
        }
    }
    rows.sort_by_key(|(_, b, a)| std::cmp::Reverse((*b).max(*a)));
    put!(out, "<h2>Graph</h2>\n<table class=\"narrow\">\n<thead><tr><th>operator</th><th>imported</th>");
    put!(out, "<th>after all passes</th></tr></thead>\n<tbody>\n");
    for (name, b, a) in rows {
        put!(out, "<tr><td><code>{}</code></td>", Escaped(&name));
        put!(out, "<td class=\"n\">{b}</td><td class=\"n\">{a}</td></tr>\n");
    }
    put!(out, "</tbody>\n</table>\n");
}

/// Nodes of each operator, constants left out.
fn count(graph: &Graph) -> BTreeMap<String, usize> {
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    graph.visit_nodes(graph.body(), &mut |n| {
        let name = &graph.node(n).op.name;
        if *name != "constant" {
            *found.entry(name.to_string()).or_default() += 1;
        }
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_out() {
        let text = Escaped("a<b>&\"c'").to_string();
        assert_eq!(text, "a&lt;b&gt;&amp;&quot;c&#39;");
    }
}
