//! What can be wrong with a model file, one variant a cause.
//!
//! Variants hold fields, not sentences; the sentence is made in one place, the `Display` of
//! each variant. Everything here is the model's fault (exit status 2), never a defect of ours.

use std::path::PathBuf;

/// The highest version of ONNX's own operator set that is understood.
pub const MAX_OPSET: i64 = 28;
/// The highest version of the file format that is understood.
pub const MAX_IR_VERSION: i64 = 14;
/// How deep subgraphs, types and function calls may nest.
pub const MAX_DEPTH: usize = 64;

/// Why a model could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file has no bytes.
    #[error("the file is empty")]
    Empty,
    /// The bytes are something else than an ONNX model.
    #[error("is not an ONNX model: {reason}")]
    NotOnnx {
        /// What gave it away.
        reason: String,
    },
    /// The file ends in the middle of something.
    #[error("is truncated: {what} at byte {offset} needs {needed} bytes, {left} are left")]
    Truncated {
        /// The message that is cut.
        what: &'static str,
        /// Where its length was read.
        offset: usize,
        /// The length it states.
        needed: u64,
        /// The bytes that remain.
        left: usize,
    },
    /// The wire format is broken inside the file.
    #[error("is damaged: {what} at byte {offset}: {reason}")]
    Damaged {
        /// The message that is broken.
        what: &'static str,
        /// Where the broken field starts.
        offset: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The decoder refused the message.
    #[error("is damaged: {reason}")]
    Decode {
        /// The decoder's own words.
        reason: String,
    },
    /// Subgraphs or types nest too deep.
    #[error("{what} nest deeper than {MAX_DEPTH} levels")]
    TooDeep {
        /// What nests.
        what: &'static str,
    },
    /// The file states more elements than a reasonable model holds.
    #[error("holds more than {limit} {what}")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// How many are allowed.
        limit: usize,
    },
    /// The file format version is unknown.
    #[error("expected an IR version from 1 to {MAX_IR_VERSION}, found {found}")]
    IrVersion {
        /// The version in the file.
        found: i64,
    },
    /// The operator set version is unknown.
    #[error("expected a version from 1 to {MAX_OPSET} of operator set \"ai.onnx\", found {found}")]
    OpsetVersion {
        /// The version in the file.
        found: i64,
    },
    /// One domain is imported in two versions.
    #[error("operator set \"{domain}\" is imported twice, with versions {first} and {second}")]
    OpsetConflict {
        /// The domain.
        domain: String,
        /// The version found first.
        first: i64,
        /// The other version.
        second: i64,
    },
    /// A tensor contradicts itself.
    #[error("tensor \"{tensor}\": {reason}")]
    BadTensor {
        /// The tensor's name, or where it stands.
        tensor: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The data of a tensor in another file cannot be had.
    #[error("tensor \"{tensor}\": external data \"{}\": {reason}", path.display())]
    ExternalData {
        /// The tensor's name.
        tensor: String,
        /// The file as the model names it.
        path: PathBuf,
        /// Why it cannot be read.
        reason: String,
    },
    /// An attribute that states no type and holds no value, or a type nobody knows.
    #[error("node \"{node}\": attribute \"{attr}\": {reason}")]
    BadAttr {
        /// The node, by name or first output.
        node: String,
        /// The attribute.
        attr: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An attribute holds another type than its operator expects.
    #[error("node \"{node}\" ({op}): attribute \"{attr}\" must be {expected}, found {found}")]
    AttrType {
        /// The node, by name or first output.
        node: String,
        /// The operator.
        op: String,
        /// The attribute.
        attr: String,
        /// The type asked for.
        expected: &'static str,
        /// The type in the model.
        found: &'static str,
    },
    /// An attribute without a default is absent.
    #[error("node \"{node}\" ({op}): attribute \"{attr}\" is required")]
    MissingAttr {
        /// The node, by name or first output.
        node: String,
        /// The operator.
        op: String,
        /// The attribute.
        attr: String,
    },
    /// Values are read that nothing produces.
    #[error("graph \"{graph}\": {}", undefined_list(names))]
    Undefined {
        /// The graph.
        graph: String,
        /// Each name with the node that reads it first.
        names: Vec<(String, String)>,
    },
    /// Names are given to more than one value.
    #[error("graph \"{graph}\": values defined more than once: {}", quoted(names))]
    Duplicate {
        /// The graph.
        graph: String,
        /// The names.
        names: Vec<String>,
    },
    /// Nodes wait for each other.
    #[error("graph \"{graph}\": nodes form a cycle: {}", quoted(nodes))]
    Cycle {
        /// The graph.
        graph: String,
        /// The nodes in the order of data flow.
        nodes: Vec<String>,
    },
    /// Functions call each other in a circle.
    #[error("functions call each other in a circle: {}", quoted(calls))]
    RecursiveFunction {
        /// The calls from the outermost to the one that closes the circle.
        calls: Vec<String>,
    },
    /// A function is called with more arguments than it has parameters.
    #[error("node \"{node}\": function \"{function}\" has {expected} {what}, found {found}")]
    FunctionArity {
        /// The calling node.
        node: String,
        /// The function.
        function: String,
        /// "inputs" or "outputs".
        what: &'static str,
        /// How many the function has.
        expected: usize,
        /// How many the node gives.
        found: usize,
    },
    /// A definition that may stand once stands twice.
    #[error("function \"{function}\" is defined twice")]
    DuplicateFunction {
        /// The function.
        function: String,
    },
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}

fn undefined_list(names: &[(String, String)]) -> String {
    let each = names.iter().map(|(name, reader)| format!("\"{name}\" (read by {reader})"));
    format!("values used but never defined: {}", each.collect::<Vec<_>>().join(", "))
}
