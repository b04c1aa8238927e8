//! The only module that knows protobuf: bytes of the standard's messages to plain structures.
//!
//! The wire format is walked first (`model/wire.rs`), which leaves weights in place and bounds
//! what the decoder can meet. Enumerations are read as numbers, since the decoder's are older
//! than the newest data types.

use std::collections::BTreeMap;
use std::ops::Range;

use onnx_protobuf::type_proto::Value as TypeCase;
use onnx_protobuf::{
    AttributeProto, FunctionProto, GraphProto, Message, ModelProto, NodeProto, OperatorSetIdProto,
    SparseTensorProto, StringStringEntryProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
    tensor_shape_proto::dimension::Value as DimCase,
};
use protobuf::CodedInputStream;

use crate::error::{Error, MAX_IR_VERSION, MAX_OPSET};
use crate::model::tensor::{TensorParts, UNNAMED};
use crate::model::wire::{self, Kind};
use crate::model::{
    Attr, AttrValue, ByteRange, DimSpec, ExternalFiles, Function, Graph, Model, Node, SharedBytes,
    SparseTensorRef, TensorRef, ValueInfo, ValueType,
};

/// Reads a model from `bytes`; its weights stay there, or in the files of `external`.
///
/// # Errors
///
/// Whatever is wrong with the file: see [`Error`].
pub fn read_model(bytes: SharedBytes, external: &mut ExternalFiles<'_>) -> Result<Model, Error> {
    let (proto, raw) = decode::<ModelProto>(&bytes, Kind::Model)?;
    let graph =
        proto.graph.into_option().ok_or_else(|| Error::NotOnnx { reason: "it holds no graph".to_owned() })?;
    if !(1..=MAX_IR_VERSION).contains(&proto.ir_version) {
        return Err(Error::IrVersion { found: proto.ir_version });
    }
    let mut opsets = opsets(proto.opset_import)?;
    // Imports came with IR version 3; before, there was one operator set.
    if proto.ir_version < 3 {
        opsets.entry(String::new()).or_insert(1);
    }
    let mut reader = Reader { bytes, raw, external, opsets: opsets.clone() };
    let graph = reader.graph(graph)?;
    let functions = proto.functions.into_iter().map(|function| reader.function(function));
    let functions = functions.collect::<Result<Vec<_>, _>>()?;
    let metadata = pairs(proto.metadata_props);
    Ok(Model { ir_version: proto.ir_version, opsets, graph, functions, metadata })
}

/// Reads a lone `FunctionProto`, such as the bodies that the standard gives for its operators.
///
/// # Errors
///
/// Whatever is wrong with the message: see [`Error`].
pub fn read_function(bytes: SharedBytes) -> Result<Function, Error> {
    let (proto, raw) = decode::<FunctionProto>(&bytes, Kind::Function)?;
    let mut external = ExternalFiles::none();
    Reader { bytes, raw, external: &mut external, opsets: BTreeMap::new() }.function(proto)
}

fn decode<M: Message>(bytes: &SharedBytes, kind: Kind) -> Result<(M, Vec<Range<usize>>), Error> {
    let stripped = wire::strip((**bytes).as_ref(), kind)?;
    let mut stream = CodedInputStream::from_bytes(&stripped.message);
    stream.set_recursion_limit(wire::decoder_depth());
    let mut message = M::new();
    message.merge_from(&mut stream).map_err(|error| Error::Decode { reason: error.to_string() })?;
    Ok((message, stripped.raw))
}

/// ONNX's own domain has two spellings.
fn canonical_domain(domain: String) -> String {
    if domain == "ai.onnx" { String::new() } else { domain }
}

fn opsets(imports: Vec<OperatorSetIdProto>) -> Result<BTreeMap<String, i64>, Error> {
    let mut opsets = BTreeMap::new();
    for import in imports {
        let (domain, version) = (canonical_domain(import.domain), import.version);
        if domain.is_empty() && !(1..=MAX_OPSET).contains(&version) {
            return Err(Error::OpsetVersion { found: version });
        }
        let first = *opsets.entry(domain.clone()).or_insert(version);
        if first != version {
            return Err(Error::OpsetConflict { domain, first, second: version });
        }
    }
    Ok(opsets)
}

fn pairs(entries: Vec<StringStringEntryProto>) -> Vec<(String, String)> {
    entries.into_iter().map(|entry| (entry.key, entry.value)).collect()
}

/// Turns messages into structures; `opsets` are those of the model or function being read.
struct Reader<'a, 'b> {
    bytes: SharedBytes,
    raw: Vec<Range<usize>>,
    external: &'a mut ExternalFiles<'b>,
    opsets: BTreeMap<String, i64>,
}

impl Reader<'_, '_> {
    fn function(&mut self, proto: FunctionProto) -> Result<Function, Error> {
        let opsets = opsets(proto.opset_import)?;
        self.opsets.clone_from(&opsets);
        let attrs = proto.attribute_proto.into_iter().map(|attr| self.attr(&proto.name, attr));
        let default_attrs = attrs.collect::<Result<Vec<_>, _>>()?;
        let nodes = proto.node.into_iter().map(|node| self.node(node)).collect::<Result<Vec<_>, _>>()?;
        Ok(Function {
            domain: canonical_domain(proto.domain),
            name: proto.name,
            overload: proto.overload,
            inputs: proto.input,
            outputs: proto.output,
            attrs: proto.attribute,
            default_attrs,
            opsets,
            nodes,
            value_infos: value_infos(proto.value_info),
        })
    }

    fn graph(&mut self, proto: GraphProto) -> Result<Graph, Error> {
        let tensors = proto.initializer.into_iter().map(|tensor| self.tensor(tensor));
        let initializers = tensors.collect::<Result<Vec<_>, _>>()?;
        let sparse = proto.sparse_initializer.into_iter().map(|tensor| self.sparse_tensor(tensor));
        let sparse_initializers = sparse.collect::<Result<Vec<_>, _>>()?;
        let nodes = proto.node.into_iter().map(|node| self.node(node)).collect::<Result<Vec<_>, _>>()?;
        Ok(Graph {
            name: proto.name,
            inputs: value_infos(proto.input),
            outputs: value_infos(proto.output),
            value_infos: value_infos(proto.value_info),
            initializers,
            sparse_initializers,
            nodes,
        })
    }

    fn node(&mut self, proto: NodeProto) -> Result<Node, Error> {
        let domain = canonical_domain(proto.domain);
        let mut node = Node {
            opset_version: self.opsets.get(&domain).copied(),
            name: proto.name,
            domain,
            op: proto.op_type,
            overload: proto.overload,
            inputs: proto.input,
            outputs: proto.output,
            attrs: Vec::with_capacity(proto.attribute.len()),
        };
        for attr in proto.attribute {
            let name = attr.name.clone();
            let attr = self.attr(node.label(), attr).map_err(|error| located(error, node.label(), &name))?;
            node.attrs.push(attr);
        }
        Ok(node)
    }

    fn attr(&mut self, node: &str, proto: AttributeProto) -> Result<Attr, Error> {
        let bad = |reason: String| Error::BadAttr { node: node.to_owned(), attr: proto.name.clone(), reason };
        let kind = proto.type_.value();
        let kind = if kind == 0 { kind_by_content(&proto) } else { kind };
        let absent = || bad("states a type but holds no value".to_owned());
        let value = if !proto.ref_attr_name.is_empty() {
            AttrValue::Ref(proto.ref_attr_name)
        } else {
            match kind {
                1 => AttrValue::Float(proto.f),
                2 => AttrValue::Int(proto.i),
                3 => AttrValue::String(proto.s),
                4 => AttrValue::Tensor(self.tensor(proto.t.into_option().ok_or_else(absent)?)?),
                5 => AttrValue::Graph(Box::new(self.graph(proto.g.into_option().ok_or_else(absent)?)?)),
                6 => AttrValue::Floats(proto.floats),
                7 => AttrValue::Ints(proto.ints),
                8 => AttrValue::Strings(proto.strings),
                9 => AttrValue::Tensors(each(proto.tensors, |tensor| self.tensor(tensor))?),
                10 => AttrValue::Graphs(each(proto.graphs, |graph| self.graph(graph))?),
                11 => {
                    let sparse = proto.sparse_tensor.into_option().ok_or_else(absent)?;
                    AttrValue::SparseTensor(Box::new(self.sparse_tensor(sparse)?))
                }
                12 => {
                    AttrValue::SparseTensors(each(proto.sparse_tensors, |sparse| self.sparse_tensor(sparse))?)
                }
                13 => AttrValue::TypeProto(value_type(proto.tp.into_option().ok_or_else(absent)?)),
                14 => AttrValue::Types(proto.type_protos.into_iter().map(value_type).collect()),
                0 => return Err(bad("states no type and holds no value".to_owned())),
                unknown => return Err(bad(format!("attribute type {unknown} is unknown"))),
            }
        };
        Ok(Attr { name: proto.name, value })
    }

    fn tensor(&mut self, proto: TensorProto) -> Result<TensorRef, Error> {
        let mut parts = TensorParts {
            name: proto.name,
            elem: proto.data_type,
            dims: proto.dims,
            raw: self.raw_range(&proto.raw_data),
            floats: proto.float_data,
            int32s: proto.int32_data,
            int64s: proto.int64_data,
            doubles: proto.double_data,
            uint64s: proto.uint64_data,
            strings: proto.string_data,
        };
        if proto.segment.is_some() {
            return Err(parts.bad("is split into segments, which is not supported"));
        }
        match proto.data_location.value() {
            0 => {}
            1 => {
                let len = parts.byte_len()?;
                let data = self.external.read(&parts.name, &pairs(proto.external_data), len)?;
                parts = TensorParts {
                    name: parts.name,
                    elem: parts.elem,
                    dims: parts.dims,
                    raw: Some(data),
                    ..TensorParts::default()
                };
            }
            unknown => return Err(parts.bad(format!("data location {unknown} is unknown"))),
        }
        parts.finish()
    }

    fn sparse_tensor(&mut self, proto: SparseTensorProto) -> Result<SparseTensorRef, Error> {
        let absent = |what: &str| Error::BadTensor {
            tensor: "(sparse)".to_owned(),
            reason: format!("a sparse tensor holds no {what}"),
        };
        let values = self.tensor(proto.values.into_option().ok_or_else(|| absent("values"))?)?;
        let indices = self.tensor(proto.indices.into_option().ok_or_else(|| absent("indices"))?)?;
        Ok(SparseTensorRef { values, indices, dims: proto.dims })
    }

    /// What the walk left in place of `raw_data`: the number of its range.
    fn raw_range(&self, marker: &[u8]) -> Option<ByteRange> {
        let index = u64::from_le_bytes(marker.try_into().ok()?);
        let range = self.raw.get(usize::try_from(index).ok()?)?;
        ByteRange::new(self.bytes.clone(), range.clone())
    }
}

/// Tensors in attributes have no names; the node and the attribute tell where they stand.
fn located(error: Error, node: &str, attr: &str) -> Error {
    match error {
        Error::BadTensor { tensor, reason } if tensor == UNNAMED => {
            Error::BadTensor { tensor: format!("{node}.{attr}"), reason }
        }
        other => other,
    }
}

fn each<P, T>(protos: Vec<P>, read: impl FnMut(P) -> Result<T, Error>) -> Result<Vec<T>, Error> {
    protos.into_iter().map(read).collect()
}

/// The type of an attribute of the first format versions, which did not state it.
fn kind_by_content(proto: &AttributeProto) -> i32 {
    let held = [
        (proto.f != 0.0, 1),
        (proto.i != 0, 2),
        (!proto.s.is_empty(), 3),
        (proto.t.is_some(), 4),
        (proto.g.is_some(), 5),
        (!proto.floats.is_empty(), 6),
        (!proto.ints.is_empty(), 7),
        (!proto.strings.is_empty(), 8),
        (!proto.tensors.is_empty(), 9),
        (!proto.graphs.is_empty(), 10),
    ];
    held.iter().find(|(is_held, _)| *is_held).map_or(0, |&(_, kind)| kind)
}

fn value_infos(protos: Vec<ValueInfoProto>) -> Vec<ValueInfo> {
    let read = |proto: ValueInfoProto| ValueInfo {
        name: proto.name,
        ty: proto.type_.into_option().and_then(value_type),
    };
    protos.into_iter().map(read).collect()
}

/// The type, or `None` where the message states none that is known.
fn value_type(proto: TypeProto) -> Option<ValueType> {
    let boxed = |inner: Option<TypeProto>| inner.and_then(value_type).map(Box::new);
    Some(match proto.value? {
        TypeCase::TensorType(tensor) => {
            ValueType::Tensor { elem: tensor.elem_type, shape: tensor.shape.into_option().map(dims) }
        }
        TypeCase::SparseTensorType(tensor) => {
            ValueType::SparseTensor { elem: tensor.elem_type, shape: tensor.shape.into_option().map(dims) }
        }
        TypeCase::SequenceType(sequence) => ValueType::Sequence(boxed(sequence.elem_type.into_option())),
        TypeCase::OptionalType(optional) => ValueType::Optional(boxed(optional.elem_type.into_option())),
        TypeCase::MapType(map) => {
            ValueType::Map { key: map.key_type, value: boxed(map.value_type.into_option()) }
        }
        _ => return None,
    })
}

fn dims(shape: TensorShapeProto) -> Vec<DimSpec> {
    let read = |dim: onnx_protobuf::tensor_shape_proto::Dimension| match dim.value {
        Some(DimCase::DimValue(size)) => DimSpec::Known(size),
        Some(DimCase::DimParam(name)) if !name.is_empty() => DimSpec::Named(name),
        _ => DimSpec::Unknown,
    };
    shape.dim.into_iter().map(read).collect()
}
