//! Attributes of nodes: a small sorted table of names and values.

use nnc_tensor::{DType, Dim, Tensor};

/// The value of an attribute.
#[derive(Clone, PartialEq, Debug)]
pub enum Attr {
    /// Integer or boolean.
    Int(i64),
    /// Number.
    Float(f64),
    /// Text.
    Str(String),
    /// Integers.
    Ints(Vec<i64>),
    /// Numbers.
    Floats(Vec<f64>),
    /// Texts, as bytes.
    Strs(Vec<Vec<u8>>),
    /// Size expressions.
    Dims(Vec<Dim>),
    /// Element type.
    DType(DType),
    /// Constant tensor; cloning shares its bytes.
    Tensor(Tensor),
    /// Types of results (operators whose results the inputs do not determine).
    Types(Vec<crate::Type>),
    /// A routine's own attributes by name.
    Named(Vec<(String, nnc_tensor::plan::Attr)>),
}

/// What an attribute holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "named as the variants of Attr, which are documented")]
pub enum AttrKind {
    Int,
    Float,
    Str,
    Ints,
    Floats,
    Strs,
    Dims,
    DType,
    Tensor,
    Types,
    Named,
}

impl Attr {
    /// What it holds.
    pub fn kind(&self) -> AttrKind {
        match self {
            Attr::Int(_) => AttrKind::Int,
            Attr::Float(_) => AttrKind::Float,
            Attr::Str(_) => AttrKind::Str,
            Attr::Ints(_) => AttrKind::Ints,
            Attr::Floats(_) => AttrKind::Floats,
            Attr::Strs(_) => AttrKind::Strs,
            Attr::Dims(_) => AttrKind::Dims,
            Attr::DType(_) => AttrKind::DType,
            Attr::Tensor(_) => AttrKind::Tensor,
            Attr::Types(_) => AttrKind::Types,
            Attr::Named(_) => AttrKind::Named,
        }
    }
}

impl std::fmt::Display for AttrKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            AttrKind::Int => "an integer",
            AttrKind::Float => "a number",
            AttrKind::Str => "a text",
            AttrKind::Ints => "integers",
            AttrKind::Floats => "numbers",
            AttrKind::Strs => "texts",
            AttrKind::Dims => "sizes",
            AttrKind::DType => "a data type",
            AttrKind::Tensor => "a tensor",
            AttrKind::Types => "types",
            AttrKind::Named => "named values",
        })
    }
}

/// An attribute that an operator has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AttrSpec {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: AttrKind,
    /// Every node has it.
    pub required: bool,
}

/// Attributes by name. Getters panic on a missing name: a row's inference has checked it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Attrs(Vec<(&'static str, Attr)>);

macro_rules! getter {
    ($(#[$doc:meta])* $name:ident $variant:ident -> $t:ty, $v:ident => $e:expr) => {
        $(#[$doc])*
        pub fn $name(&self, name: &str) -> $t {
            match self.get(name) {
                Some(Attr::$variant($v)) => $e,
                other => panic!("attribute {name} should be {}, is {other:?}", stringify!($variant)),
            }
        }
    };
}

impl Attrs {
    /// No attributes.
    pub fn new() -> Attrs {
        Attrs::default()
    }

    /// The same attributes and one more.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: Attr) -> Attrs {
        self.set(name, value);
        self
    }

    /// Adds or replaces one.
    pub fn set(&mut self, name: &'static str, value: Attr) {
        match self.0.binary_search_by(|(n, _)| (*n).cmp(name)) {
            Ok(i) => self.0[i].1 = value,
            Err(i) => self.0.insert(i, (name, value)),
        }
    }

    /// The value of a name, if present.
    pub fn get(&self, name: &str) -> Option<&Attr> {
        self.0.binary_search_by(|(n, _)| (*n).cmp(name)).ok().map(|i| &self.0[i].1)
    }

    /// All, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Attr)> {
        self.0.iter().map(|(n, v)| (*n, v))
    }

    getter!(/// An integer.
        int Int -> i64, v => *v);
    getter!(/// A number.
        float Float -> f64, v => *v);
    getter!(/// A text.
        str Str -> &str, v => v);
    getter!(/// Integers.
        ints Ints -> &[i64], v => v);
    getter!(/// Numbers.
        floats Floats -> &[f64], v => v);
    getter!(/// Texts.
        strs Strs -> &[Vec<u8>], v => v);
    getter!(/// Size expressions.
        dims Dims -> &[Dim], v => v);
    getter!(/// An element type.
        dtype DType -> DType, v => *v);
    getter!(/// A tensor.
        tensor Tensor -> &Tensor, v => v);
    getter!(/// Types.
        types Types -> &[crate::Type], v => v);
    getter!(/// Named values.
        named Named -> &[(String, nnc_tensor::plan::Attr)], v => v);

    /// An axis-like integer as an index.
    pub fn index(&self, name: &str) -> usize {
        usize::try_from(self.int(name)).expect("inference checked that the attribute is not negative")
    }

    /// Integers as indices.
    pub fn indices(&self, name: &str) -> Vec<usize> {
        self.ints(name)
            .iter()
            .map(|v| usize::try_from(*v).expect("inference checked that the attribute is not negative"))
            .collect()
    }

    /// True if an integer attribute is not zero.
    pub fn flag(&self, name: &str) -> bool {
        self.int(name) != 0
    }
}

/// Builds [`Attrs`]: `attrs! { axis: Attr::Int(1) }`.
#[macro_export]
macro_rules! attrs {
    ($($name:ident : $value:expr),* $(,)?) => {
        $crate::Attrs::new()$(.with(stringify!($name), $value))*
    };
}
