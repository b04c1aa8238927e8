//! Why a model cannot be imported: all reasons of all nodes in one list.

use crate::error::Error;
use nnc_ir::OpError;
use std::collections::BTreeMap;
use std::fmt;

/// Why one node cannot be lowered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// A reason, to be reported with the node.
    Because(String),
    /// It reads a value of a node that was refused: nothing new to report.
    Follows,
}

impl Refusal {
    /// A reason.
    pub fn because(reason: impl Into<String>) -> Refusal {
        Refusal::Because(reason.into())
    }
}

/// Returns a [`Refusal`] with a formatted reason.
macro_rules! unsupported {
    ($($t:tt)*) => { return Err($crate::refusal::Refusal::Because(format!($($t)*))) };
}
pub(crate) use unsupported;

impl From<OpError> for Refusal {
    fn from(e: OpError) -> Refusal {
        Refusal::Because(e.0)
    }
}

impl From<nnc_tensor::TensorError> for Refusal {
    fn from(e: nnc_tensor::TensorError) -> Refusal {
        Refusal::Because(e.to_string())
    }
}

impl From<Error> for Refusal {
    /// The node is named by the problem around the reason.
    fn from(e: Error) -> Refusal {
        Refusal::Because(match e {
            Error::AttrType { attr, expected, found, .. } => {
                format!("attribute \"{attr}\" must be {expected}, found {found}")
            }
            Error::MissingAttr { attr, .. } => format!("attribute \"{attr}\" is required"),
            other => other.to_string(),
        })
    }
}

/// One node that is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// The node, with the nodes whose subgraphs hold it: `loop/if/add`.
    pub node: String,
    /// Domain of the operator; empty for ONNX's own.
    pub domain: String,
    /// The operator; empty where an input or output of the model is meant.
    pub op: String,
    /// Version of the operator set that governs the node, if known.
    pub version: Option<i64>,
    /// Why.
    pub reason: String,
}

impl Problem {
    fn subject(&self) -> String {
        let domain = if self.domain.is_empty() { String::new() } else { format!("{}.", self.domain) };
        match self.version {
            _ if self.op.is_empty() => "model".to_owned(),
            Some(v) => format!("{domain}{} (version {v})", self.op),
            None => format!("{domain}{}", self.op),
        }
    }
}

/// Why a model cannot be imported.
#[derive(Debug)]
pub enum ImportErrors {
    /// The model contradicts itself.
    Model(Box<Error>),
    /// Nodes that cannot be lowered; all of them.
    Refused(Vec<Problem>),
}

impl From<Error> for ImportErrors {
    fn from(e: Error) -> ImportErrors {
        ImportErrors::Model(Box::new(e))
    }
}

impl std::error::Error for ImportErrors {}

impl fmt::Display for ImportErrors {
    /// One line for each reason, with the first nodes that it meets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problems = match self {
            ImportErrors::Model(e) => return e.fmt(f),
            ImportErrors::Refused(problems) => problems,
        };
        let mut groups: BTreeMap<(String, &str), Vec<&str>> = BTreeMap::new();
        for p in problems {
            groups.entry((p.subject(), &p.reason)).or_default().push(&p.node);
        }
        for (i, ((subject, reason), nodes)) in groups.iter().enumerate() {
            let more = nodes.len().saturating_sub(3);
            let named: Vec<String> = nodes.iter().take(3).map(|n| format!("\"{n}\"")).collect();
            let line_break = if i > 0 { "\n" } else { "" };
            write!(f, "{line_break}{subject}: {reason}; at {}", named.join(", "))?;
            if more > 0 {
                write!(f, " and {more} more")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_reasons_are_told_once() {
        let problem = |node: &str| Problem {
            node: node.to_owned(),
            domain: String::new(),
            op: "Foo".to_owned(),
            version: Some(7),
            reason: "is unknown".to_owned(),
        };
        let all = ImportErrors::Refused(["a", "b", "c", "d"].map(problem).to_vec());
        assert_eq!(all.to_string(), "Foo (version 7): is unknown; at \"a\", \"b\", \"c\" and 1 more");
    }
}
