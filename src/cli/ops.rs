//! `nnc ops`: the table of operators.

use super::failure::Failure;
use super::out::{self, say};
use clap::Args;
use nnc_frontend::ops::{OnnxOp, table};
use serde_json::json;
use std::process::ExitCode;

/// The operators of the standard (ONNX 1.23, opset 28) with the versions at which they changed.
const STANDARD: &str = include_str!("operators.txt");

/// Options of `nnc ops`.
#[derive(Args, Debug)]
pub(crate) struct OpsArgs {
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
    /// Print a table in Markdown.
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// Print the operators of the standard that are not supported.
    #[arg(long)]
    missing: bool,
}

/// An operator, supported or not.
struct Row {
    domain: &'static str,
    op: &'static str,
    versions: Vec<i64>,
    doc: &'static str,
}

/// Prints the table.
pub(crate) fn run(args: &OpsArgs) -> Result<ExitCode, Failure> {
    let mut rows = if args.missing { missing() } else { supported() };
    rows.sort_by_key(|r| (r.domain, r.op));
    if args.json {
        for r in &rows {
            let (domain, op, versions) = (r.domain, r.op, &r.versions);
            say!(
                "{}",
                json!({ "domain": domain, "operator": op, "versions": versions, "doc": r.doc, "supported": !args.missing })
            );
        }
        return Ok(ExitCode::SUCCESS);
    }
    let columns: &[&str] = if args.missing {
        &["domain", "operator", "versions"]
    } else {
        &["domain", "operator", "versions", "notes"]
    };
    let mut table = out::table(columns);
    if args.markdown {
        table.load_preset(comfy_table::presets::ASCII_MARKDOWN);
        table.set_content_arrangement(comfy_table::ContentArrangement::Disabled);
    }
    for r in &rows {
        let versions: Vec<String> = r.versions.iter().map(i64::to_string).collect();
        let notes = r.doc.split_whitespace().collect::<Vec<_>>().join(" ");
        let notes = if args.markdown { notes.replace('|', "\\|") } else { notes };
        let cells = [r.domain.to_owned(), r.op.to_owned(), versions.join(", "), notes];
        table.add_row(cells.into_iter().take(columns.len()));
    }
    out::print_table(&table);
    Ok(ExitCode::SUCCESS)
}

fn supported() -> Vec<Row> {
    let row = |o: &'static OnnxOp| Row {
        domain: o.name.domain,
        op: o.name.op,
        versions: o.since.to_vec(),
        doc: o.doc,
    };
    table().map(row).collect()
}

fn missing() -> Vec<Row> {
    let known = |r: &Row| table().any(|o| (o.name.domain, o.name.op) == (r.domain, r.op));
    STANDARD.lines().filter_map(standard_row).filter(|r| !known(r)).collect()
}

fn standard_row(line: &'static str) -> Option<Row> {
    let mut words = line.split(' ');
    let (domain, op) = (words.next()?, words.next()?);
    Some(Row { domain, op, versions: words.filter_map(|v| v.parse().ok()).collect(), doc: "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_operators_of_the_standard() {
        let standard: Vec<Row> = STANDARD.lines().filter_map(standard_row).collect();
        assert_eq!(standard.len(), STANDARD.lines().count());
        for row in supported().iter().filter(|r| r.domain.starts_with("ai.onnx")) {
            let known = standard.iter().find(|s| (s.domain, s.op) == (row.domain, row.op));
            let known = known.unwrap_or_else(|| panic!("{} is not in the standard", row.op));
            for v in &row.versions {
                assert!(known.versions.contains(v), "{} has no version {v}", row.op);
            }
        }
    }
}
