//! The intermediate representation: the graph of typed tensor operators and the tile programs.
//!
//! Invariant: this crate knows no file format and no machine. The interpreter gives every operator
//! its meaning; whatever a backend does is tested against it.
#![forbid(unsafe_code)]

pub mod analysis;
mod attr;
mod build;
mod exact;
mod graph;
pub mod interp;
pub mod ops;
pub mod plan;
mod rewrite;
mod scalar;
pub mod text;
pub mod tile;
mod ty;
pub mod verify;

pub use attr::{Attr, AttrKind, AttrSpec, Attrs};
pub use build::{Builder, LoopBody, Turn};
pub use exact::{ExactError, run_in_f64};
pub use graph::{Block, BlockId, Def, Graph, Node, NodeId, ValueData, ValueId};
pub use interp::{InterpError, Interpreter, eval_node_constant};
pub use nnc_tensor::{DType, Dim, Kind, Sym, Tensor, Value};
pub use ops::{EvalCx, InferCx, OpError, OpRow};
pub use rewrite::{NodeView, Outcome, Rewriter, rewrite};
pub use scalar::{Arity, ScalarOp};
pub use ty::{TensorType, Type};
pub use verify::{VerifyError, verify};
