//! The plain structures of a model, as the file holds them.
//!
//! They mirror ONNX without its encoding: nothing here knows protobuf, and nothing is resolved
//! but the operator set version of each node. Weights are ranges of shared (mapped) bytes, so
//! that a clone is cheap and no weight is copied.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Bytes that stay in place while anyone refers to them: a mapped file or a buffer.
pub type SharedBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// A range of shared bytes.
#[derive(Clone)]
pub struct ByteRange {
    owner: SharedBytes,
    range: Range<usize>,
}

impl ByteRange {
    /// The bytes `range` of `owner`, or `None` where they reach past its end.
    pub fn new(owner: SharedBytes, range: Range<usize>) -> Option<ByteRange> {
        (*owner).as_ref().get(range.clone())?;
        Some(ByteRange { owner, range })
    }

    /// The bytes themselves.
    pub fn as_slice(&self) -> &[u8] {
        (*self.owner).as_ref().get(self.range.clone()).unwrap_or(&[])
    }

    /// The whole that the range is part of.
    pub fn owner(&self) -> &SharedBytes {
        &self.owner
    }

    /// Where in the owner the bytes lie.
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }
}

impl From<Vec<u8>> for ByteRange {
    fn from(bytes: Vec<u8>) -> ByteRange {
        let range = 0..bytes.len();
        ByteRange { owner: Arc::new(bytes), range }
    }
}

impl fmt::Debug for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.range.len())
    }
}

/// A whole model.
#[derive(Clone, Debug)]
pub struct Model {
    /// Version of the file format, 1 to 14.
    pub ir_version: i64,
    /// Operator set versions by domain; ONNX's own domain is `""`.
    pub opsets: BTreeMap<String, i64>,
    /// The main graph.
    pub graph: Graph,
    /// Functions that nodes may call like operators.
    pub functions: Vec<Function>,
    /// The exporter's free key and value pairs.
    pub metadata: Vec<(String, String)>,
}

/// A graph or subgraph.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// Its name, for messages only.
    pub name: String,
    /// Formal inputs; an initializer of the same name is the input's default.
    pub inputs: Vec<ValueInfo>,
    /// Results.
    pub outputs: Vec<ValueInfo>,
    /// Types that the exporter noted for inner values.
    pub value_infos: Vec<ValueInfo>,
    /// Constant tensors, by their names.
    pub initializers: Vec<TensorRef>,
    /// Constant sparse tensors, by the names of their values.
    pub sparse_initializers: Vec<SparseTensorRef>,
    /// Nodes; the order in the file need not be an order of execution.
    pub nodes: Vec<Node>,
}

/// A call of an operator or function.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// Its name, often empty, for messages only.
    pub name: String,
    /// The domain of the operator; ONNX's own is `""`.
    pub domain: String,
    /// The operator.
    pub op: String,
    /// Which of several functions of one name.
    pub overload: String,
    /// The operator set version that governs this node; `None` where its domain is not imported.
    pub opset_version: Option<i64>,
    /// Values read; `""` stands for an optional input that is left out.
    pub inputs: Vec<String>,
    /// Values produced; `""` stands for an output nobody wants.
    pub outputs: Vec<String>,
    /// Attributes in the order of the file.
    pub attrs: Vec<Attr>,
}

impl Node {
    /// The node's name, or that of its first output where it has none.
    pub fn label(&self) -> &str {
        let unnamed = || self.outputs.iter().find(|name| !name.is_empty());
        if self.name.is_empty() { unnamed().map_or(self.op.as_str(), String::as_str) } else { &self.name }
    }
}

/// An attribute of a node.
#[derive(Clone, Debug)]
pub struct Attr {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: AttrValue,
}

/// The value of an attribute.
#[derive(Clone, Debug)]
pub enum AttrValue {
    /// One integer.
    Int(i64),
    /// One number.
    Float(f32),
    /// One string; mostly UTF-8.
    String(Vec<u8>),
    /// One tensor.
    Tensor(TensorRef),
    /// One subgraph.
    Graph(Box<Graph>),
    /// One sparse tensor.
    SparseTensor(Box<SparseTensorRef>),
    /// One type.
    TypeProto(Option<ValueType>),
    /// Integers.
    Ints(Vec<i64>),
    /// Numbers.
    Floats(Vec<f32>),
    /// Strings.
    Strings(Vec<Vec<u8>>),
    /// Tensors.
    Tensors(Vec<TensorRef>),
    /// Subgraphs.
    Graphs(Vec<Graph>),
    /// Sparse tensors.
    SparseTensors(Vec<SparseTensorRef>),
    /// Types.
    Types(Vec<Option<ValueType>>),
    /// The value of the calling node's attribute of this name; in function bodies only.
    Ref(String),
}

impl AttrValue {
    /// What kind of value it is, in words for a message.
    pub fn kind(&self) -> &'static str {
        match self {
            AttrValue::Int(_) => "an int",
            AttrValue::Float(_) => "a float",
            AttrValue::String(_) => "a string",
            AttrValue::Tensor(_) => "a tensor",
            AttrValue::Graph(_) => "a graph",
            AttrValue::SparseTensor(_) => "a sparse tensor",
            AttrValue::TypeProto(_) => "a type",
            AttrValue::Ints(_) => "ints",
            AttrValue::Floats(_) => "floats",
            AttrValue::Strings(_) => "strings",
            AttrValue::Tensors(_) => "tensors",
            AttrValue::Graphs(_) => "graphs",
            AttrValue::SparseTensors(_) => "sparse tensors",
            AttrValue::Types(_) => "types",
            AttrValue::Ref(_) => "a reference to a function's attribute",
        }
    }

    /// The subgraphs inside.
    pub fn graphs(&self) -> &[Graph] {
        match self {
            AttrValue::Graph(graph) => std::slice::from_ref(graph),
            AttrValue::Graphs(graphs) => graphs,
            _ => &[],
        }
    }

    /// The subgraphs inside, to change.
    pub fn graphs_mut(&mut self) -> &mut [Graph] {
        match self {
            AttrValue::Graph(graph) => std::slice::from_mut(graph),
            AttrValue::Graphs(graphs) => graphs,
            _ => &mut [],
        }
    }
}

/// A value's name and what the file says of its type.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueInfo {
    /// Its name.
    pub name: String,
    /// Its type, where stated.
    pub ty: Option<ValueType>,
}

/// A type as the file states it; element types are ONNX's numbers (1 is float).
#[derive(Clone, Debug, PartialEq)]
pub enum ValueType {
    /// A dense tensor; without a shape not even the rank is known.
    Tensor {
        /// Element type.
        elem: i32,
        /// Dimensions.
        shape: Option<Vec<DimSpec>>,
    },
    /// A sparse tensor.
    SparseTensor {
        /// Element type.
        elem: i32,
        /// Dimensions of the dense form.
        shape: Option<Vec<DimSpec>>,
    },
    /// A sequence; `None` where the type of its elements is not stated.
    Sequence(Option<Box<ValueType>>),
    /// An optional value.
    Optional(Option<Box<ValueType>>),
    /// A map.
    Map {
        /// Type of the keys.
        key: i32,
        /// Type of the values.
        value: Option<Box<ValueType>>,
    },
}

/// A dimension as the file states it.
#[derive(Clone, Debug, PartialEq)]
pub enum DimSpec {
    /// A number; not checked to be positive.
    Known(i64),
    /// A name: dimensions of one name are equal.
    Named(String),
    /// Nothing is stated.
    Unknown,
}

/// A constant tensor. Its data agrees with its dimensions.
#[derive(Clone, Debug)]
pub struct TensorRef {
    /// Its name; empty in attributes.
    pub name: String,
    /// Element type, ONNX's number.
    pub elem: i32,
    /// Dimensions, none negative.
    pub dims: Vec<i64>,
    /// The elements.
    pub data: TensorData,
}

/// The elements of a constant tensor.
#[derive(Clone, Debug)]
pub enum TensorData {
    /// Little-endian, dense, row-major; 4-bit and 2-bit elements packed from the low bits up.
    /// The bytes lie in the model's file, in an external file or in a buffer of their own.
    Bytes(ByteRange),
    /// Strings, which ONNX wants to be UTF-8.
    Strings(Arc<[Vec<u8>]>),
}

/// A constant sparse tensor in coordinate form.
#[derive(Clone, Debug)]
pub struct SparseTensorRef {
    /// The values that are stored, `[nnz]`.
    pub values: TensorRef,
    /// Their places: `[nnz]` linear or `[nnz, rank]`.
    pub indices: TensorRef,
    /// Dimensions of the dense form.
    pub dims: Vec<i64>,
}

/// A function of the model, or the body that the standard gives for one of its operators.
#[derive(Clone, Debug, Default)]
pub struct Function {
    /// Domain of the operator it defines.
    pub domain: String,
    /// Name of the operator it defines.
    pub name: String,
    /// Tells functions of one name apart.
    pub overload: String,
    /// Formal inputs.
    pub inputs: Vec<String>,
    /// Formal outputs.
    pub outputs: Vec<String>,
    /// Attributes without a default.
    pub attrs: Vec<String>,
    /// Attributes with their defaults.
    pub default_attrs: Vec<Attr>,
    /// Operator sets of the body, by domain.
    pub opsets: BTreeMap<String, i64>,
    /// The body.
    pub nodes: Vec<Node>,
    /// Types noted for inner values.
    pub value_infos: Vec<ValueInfo>,
}
