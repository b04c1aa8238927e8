//! How a verb fails: one message, its causes, what to do, and the exit code.

use nnc::CompileError;
use nnc::model::ModelError;
use nnc::runtime::{ArtifactError, RunError};
use nnc_frontend::Problem;
use std::collections::BTreeMap;
use std::fmt;
use std::io::IsTerminal;

/// A message for the user.
#[derive(Debug, Default)]
pub(crate) struct Failure {
    /// What happened.
    pub(crate) headline: String,
    /// Each cause, a line.
    pub(crate) causes: Vec<String>,
    /// What to do about it.
    pub(crate) help: Option<String>,
    /// A defect of nnc, not of the model, input or option.
    pub(crate) internal: bool,
}

impl Failure {
    /// The user's model, input or option is wrong.
    pub(crate) fn user(headline: impl Into<String>) -> Failure {
        Failure { headline: headline.into(), ..Failure::default() }
    }

    /// nnc is wrong.
    pub(crate) fn internal(headline: impl Into<String>) -> Failure {
        let help = "this is a bug of nnc; please report it with the model that shows it".to_owned();
        Failure { headline: headline.into(), help: Some(help), internal: true, ..Failure::default() }
    }

    /// Adds advice.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Failure {
        self.help = Some(help.into());
        self
    }

    /// 1 for a bug, 2 for the user's affair.
    pub(crate) fn exit_code(&self) -> u8 {
        if self.internal { 1 } else { 2 }
    }

    /// Writes the message to standard error, in color on a terminal unless NO_COLOR is set.
    pub(crate) fn print(&self) {
        let colored =
            std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        let text = self.to_string();
        match text.strip_prefix("error:") {
            Some(rest) if colored => eprintln!("\x1b[1;31merror:\x1b[0m{rest}"),
            _ => eprintln!("{text}"),
        }
    }

    /// Headline and causes in one line.
    pub(crate) fn one_line(&self) -> String {
        let mut text = self.headline.clone();
        for (i, cause) in self.causes.iter().enumerate() {
            text += if i == 0 { ": " } else { "; " };
            text += &cause.split_whitespace().collect::<Vec<_>>().join(" ");
        }
        text
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.headline)?;
        for cause in &self.causes {
            write!(f, "\n  × {cause}")?;
        }
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

impl From<ModelError> for Failure {
    fn from(e: ModelError) -> Failure {
        match e {
            ModelError::Refused { path, problems } => {
                let causes = problem_lines(&problems);
                let n = causes.len();
                let s = if n == 1 { "reason" } else { "reasons" };
                let headline = format!("\"{}\" cannot be compiled, for {n} {s}", path.display());
                Failure { causes, ..Failure::user(headline) }
            }
            other => Failure::user(other.to_string()),
        }
    }
}

/// One line for each reason, with the first node that it meets.
pub(crate) fn problem_lines(problems: &[Problem]) -> Vec<String> {
    let mut groups: BTreeMap<(String, &str), Vec<&str>> = BTreeMap::new();
    for p in problems {
        groups.entry((operator(p), &p.reason)).or_default().push(&p.node);
    }
    let subjects: Vec<String> = groups
        .iter()
        .map(|((op, _), nodes)| {
            let more = if nodes.len() > 1 { format!(" and {} more", nodes.len() - 1) } else { String::new() };
            match op.is_empty() {
                true => format!("\"{}\"{more}", nodes[0]),
                false => format!("{op}  node \"{}\"{more}", nodes[0]),
            }
        })
        .collect();
    groups.keys().zip(subjects).map(|((_, reason), subject)| format!("{subject}: {reason}")).collect()
}

/// `Foo (com.example, version 1)`; empty where no node is meant.
fn operator(p: &Problem) -> String {
    let domain = if p.domain.is_empty() { "ai.onnx" } else { &p.domain };
    match p.version {
        _ if p.op.is_empty() => String::new(),
        Some(v) => format!("{} ({domain}, version {v})", p.op),
        None => format!("{} ({domain})", p.op),
    }
}

impl From<CompileError> for Failure {
    fn from(e: CompileError) -> Failure {
        match e {
            CompileError::Pass(_) => Failure::internal(e.to_string()),
            other => Failure::user(other.to_string()),
        }
    }
}

impl From<ArtifactError> for Failure {
    fn from(e: ArtifactError) -> Failure {
        Failure::user(e.to_string())
    }
}

impl From<RunError> for Failure {
    fn from(e: RunError) -> Failure {
        Failure::user(e.to_string())
    }
}
