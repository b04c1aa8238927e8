//! What flows along an edge of a model: a tensor, or one of ONNX's containers.

use crate::Tensor;

/// The key of a map entry.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum MapKey {
    /// Integer key.
    Int(i64),
    /// Text key.
    Str(Vec<u8>),
}

/// A tensor, sequence, optional or map.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// A tensor.
    Tensor(Tensor),
    /// A list of values of one type.
    Sequence(Vec<Value>),
    /// A value or none.
    Optional(Option<Box<Value>>),
    /// Entries in the order of their keys' first appearance.
    Map(Vec<(MapKey, Value)>),
}

impl Value {
    /// The tensor, if it is one.
    pub fn tensor(&self) -> Option<&Tensor> {
        match self {
            Value::Tensor(t) => Some(t),
            _ => None,
        }
    }
}

impl From<Tensor> for Value {
    fn from(t: Tensor) -> Value {
        Value::Tensor(t)
    }
}
