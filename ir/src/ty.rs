//! Types of values.

use nnc_tensor::{DType, Dim};
use std::fmt;

/// The type of a tensor: its rank is always known, its sizes are expressions.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TensorType {
    /// Element type.
    pub dtype: DType,
    /// Sizes, outermost first.
    pub shape: Vec<Dim>,
}

impl TensorType {
    /// A tensor type.
    pub fn new(dtype: DType, shape: Vec<Dim>) -> TensorType {
        TensorType { dtype, shape }
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// Number of elements.
    pub fn elems(&self) -> Dim {
        Dim::product(&self.shape)
    }

    /// All sizes as numbers, if they are.
    pub fn fixed_shape(&self) -> Option<Vec<usize>> {
        self.shape.iter().map(Dim::as_len).collect()
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[", self.dtype)?;
        for (i, d) in self.shape.iter().enumerate() {
            write!(f, "{}{d}", if i > 0 { ", " } else { "" })?;
        }
        f.write_str("]")
    }
}

/// The type of a value.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Type {
    /// A tensor.
    Tensor(TensorType),
    /// A list of values of one type. Sizes inside the element type may be `?` symbols: they differ by element.
    Sequence(Box<Type>),
    /// A value or none.
    Optional(Box<Type>),
    /// Key type (an integer or string) to value.
    Map(DType, Box<Type>),
}

impl Type {
    /// A tensor type.
    pub fn tensor(dtype: DType, shape: Vec<Dim>) -> Type {
        Type::Tensor(TensorType { dtype, shape })
    }

    /// The tensor type, if it is one.
    pub fn as_tensor(&self) -> Option<&TensorType> {
        match self {
            Type::Tensor(t) => Some(t),
            _ => None,
        }
    }

    /// Calls `f` on every size.
    pub fn visit_dims(&self, f: &mut dyn FnMut(&Dim)) {
        match self {
            Type::Tensor(t) => t.shape.iter().for_each(f),
            Type::Sequence(t) | Type::Optional(t) | Type::Map(_, t) => t.visit_dims(f),
        }
    }

    /// The same type with symbols replaced.
    pub fn substitute(&self, f: &dyn Fn(&nnc_tensor::Sym) -> Option<Dim>) -> Type {
        match self {
            Type::Tensor(t) => Type::tensor(t.dtype, t.shape.iter().map(|d| d.substitute(f)).collect()),
            Type::Sequence(t) => Type::Sequence(Box::new(t.substitute(f))),
            Type::Optional(t) => Type::Optional(Box::new(t.substitute(f))),
            Type::Map(k, t) => Type::Map(*k, Box::new(t.substitute(f))),
        }
    }
}

impl From<TensorType> for Type {
    fn from(t: TensorType) -> Type {
        Type::Tensor(t)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Tensor(t) => t.fmt(f),
            Type::Sequence(t) => write!(f, "seq({t})"),
            Type::Optional(t) => write!(f, "opt({t})"),
            Type::Map(k, t) => write!(f, "map({k}, {t})"),
        }
    }
}
