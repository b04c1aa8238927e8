//! Structure, versions, and files that are no models.

use std::sync::Arc;

use super::encode::{attr, bytes, model, node, number, packed, small_model, tensor, text};
use super::{message, read};
use crate::error::Error;
use crate::model::{AttrValue, DimSpec, TensorData, ValueType, read_function};

#[test]
fn a_small_model_is_read_whole() {
    let model = read(&small_model()).unwrap();
    assert_eq!((model.ir_version, model.opsets.get("")), (8, Some(&17)));
    assert_eq!(model.metadata, [("key".to_owned(), "value".to_owned())]);
    let graph = &model.graph;
    assert_eq!(graph.name, "small");
    let shape = vec![DimSpec::Named("n".to_owned()), DimSpec::Known(2)];
    assert_eq!(graph.inputs[0].ty, Some(ValueType::Tensor { elem: 1, shape: Some(shape) }));
    assert_eq!(graph.inputs[1].ty, Some(ValueType::Tensor { elem: 9, shape: Some(vec![]) }));
    assert_eq!(graph.outputs.len(), 2);
    assert_eq!(graph.outputs[0].ty, None);
    let nodes: Vec<_> = graph.nodes.iter().map(|node| (node.op.as_str(), node.opset_version)).collect();
    assert_eq!(nodes, [("If", Some(17)), ("Add", Some(17)), ("Constant", Some(17))]);
    let AttrValue::Graph(branch) = &graph.nodes[0].attrs[1].value else { panic!("a graph") };
    assert_eq!((branch.nodes[0].op.as_str(), branch.nodes[0].inputs[0].as_str()), ("Relu", "sum"));
}

#[test]
fn weights_stay_in_the_bytes_of_the_file() {
    let file = small_model();
    let model = read(&file).unwrap();
    let TensorData::Bytes(weight) = &model.graph.initializers[0].data else { panic!("bytes") };
    assert_eq!((**weight.owner()).as_ref(), file);
    assert_eq!(weight.as_slice(), [1.5_f32.to_le_bytes(), (-2.0_f32).to_le_bytes()].concat());
}

#[test]
fn attributes_of_all_kinds_are_read() {
    let float = |field: u64, value: f32| {
        [&[u8::try_from(field << 3 | 5).unwrap()][..], &value.to_le_bytes()].concat()
    };
    let ty = |field| bytes(field, &[&bytes(4, &[&bytes(1, &[&bytes(1, &[&number(1, 7)])])])]);
    let one = bytes(1, &[&tensor("v", 1, &[0])]);
    let sparse = |field| bytes(field, &[&one, &bytes(2, &[&tensor("", 7, &[0])]), &packed(3, &[4])]);
    let attrs = [
        attr("f", 1, &float(2, 0.5)),
        attr("i", 2, &number(3, -7)),
        attr("zero", 2, &[]),
        attr("s", 3, &text(4, "text")),
        attr("floats", 6, &[float(7, 1.0), float(7, 2.0)].concat()),
        attr("ints", 7, &[number(8, 1), number(8, -2)].concat()),
        attr("packed", 7, &packed(8, &[1, -2])),
        attr("strings", 8, &[text(9, "a"), text(9, "b")].concat()),
        attr("tensors", 9, &bytes(10, &[&tensor("", 1, &[0])])),
        attr("graphs", 10, &bytes(11, &[&text(2, "g")])),
        attr("sparse", 11, &sparse(22)),
        attr("sparses", 12, &sparse(23)),
        attr("type", 13, &ty(14)),
        attr("types", 14, &ty(15)),
        attr("ref", 1, &text(21, "alpha")),
        attr("untyped", 0, &number(3, 4)),
    ];
    let attrs: Vec<&[u8]> = attrs.iter().map(Vec::as_slice).collect();
    let model = read(&model(8, 17, &bytes(1, &[&node("Op", &[], &[], &attrs)]))).unwrap();
    let attrs: Vec<_> = model.graph.nodes[0].attrs.iter().map(|attr| attr.value.clone()).collect();
    assert!(matches!(attrs[0], AttrValue::Float(0.5)));
    assert!(matches!(attrs[1], AttrValue::Int(-7)) && matches!(attrs[2], AttrValue::Int(0)));
    assert!(matches!(&attrs[3], AttrValue::String(text) if text == b"text"));
    assert!(matches!(&attrs[4], AttrValue::Floats(values) if values == &[1.0, 2.0]));
    assert!(matches!(&attrs[5], AttrValue::Ints(values) if values == &[1, -2]));
    assert!(matches!(&attrs[6], AttrValue::Ints(values) if values == &[1, -2]));
    assert!(matches!(&attrs[7], AttrValue::Strings(values) if values == &[b"a", b"b"]));
    assert!(matches!(&attrs[8], AttrValue::Tensors(values) if values.len() == 1));
    assert!(matches!(&attrs[9], AttrValue::Graphs(graphs) if graphs[0].name == "g"));
    assert!(matches!(&attrs[10], AttrValue::SparseTensor(sparse) if sparse.dims == [4]));
    assert!(matches!(&attrs[11], AttrValue::SparseTensors(sparse) if sparse[0].values.name == "v"));
    let sequence = ValueType::Sequence(Some(Box::new(ValueType::Tensor { elem: 7, shape: None })));
    assert!(matches!(&attrs[12], AttrValue::TypeProto(Some(ty)) if *ty == sequence));
    assert!(matches!(&attrs[13], AttrValue::Types(types) if types[0].as_ref() == Some(&sequence)));
    assert!(matches!(&attrs[14], AttrValue::Ref(name) if name == "alpha"));
    assert!(matches!(attrs[15], AttrValue::Int(4)));
}

/// A function `local.Twice(a) -> r` with an attribute and a default.
fn function() -> Vec<u8> {
    let default = [text(1, "scale"), number(20, 2), number(3, 2)].concat();
    let alpha = attr("axis", 2, &text(21, "axis"));
    [
        text(1, "Twice"),
        text(4, "a"),
        text(5, "r"),
        text(6, "axis"),
        bytes(7, &[&node("Concat", &["a", "a"], &["r"], &[&alpha])]),
        bytes(9, &[&number(2, 13)]),
        text(10, "local"),
        bytes(11, &[&default]),
        text(13, "wide"),
    ]
    .concat()
}

#[test]
fn functions_are_read_in_models_and_alone() {
    let model = [model(10, 17, &text(2, "g")), bytes(25, &[&function()])].concat();
    let inside = read(&model).unwrap().functions.remove(0);
    let alone = read_function(Arc::new(function())).unwrap();
    for function in [inside, alone] {
        assert_eq!((function.domain.as_str(), function.name.as_str()), ("local", "Twice"));
        assert_eq!((function.overload.as_str(), function.opsets.get("")), ("wide", Some(&13)));
        assert_eq!((function.inputs, function.outputs, function.attrs), strings("a", "r", "axis"));
        assert_eq!(function.default_attrs[0].name, "scale");
        assert_eq!(function.nodes[0].opset_version, Some(13));
        assert!(matches!(&function.nodes[0].attrs[0].value, AttrValue::Ref(name) if name == "axis"));
    }
}

fn strings(a: &str, b: &str, c: &str) -> (Vec<String>, Vec<String>, Vec<String>) {
    (vec![a.to_owned()], vec![b.to_owned()], vec![c.to_owned()])
}

#[test]
fn versions_out_of_range_are_refused_and_say_what_is_supported() {
    let graph = text(2, "g");
    assert_eq!(message(read(&model(15, 17, &graph))), "expected an IR version from 1 to 14, found 15");
    assert_eq!(message(read(&model(0, 17, &graph))), "expected an IR version from 1 to 14, found 0");
    let expected = "expected a version from 1 to 28 of operator set \"ai.onnx\", found 29";
    assert_eq!(message(read(&model(8, 29, &graph))), expected);
    assert!(read(&model(14, 28, &graph)).is_ok());
    let twice = [model(8, 17, &graph), bytes(8, &[&text(1, "ai.onnx"), &number(2, 18)])].concat();
    assert_eq!(message(read(&twice)), "operator set \"\" is imported twice, with versions 17 and 18");
}

#[test]
fn the_first_format_versions_mean_operator_set_one() {
    let graph = bytes(7, &[&bytes(1, &[&node("Relu", &["x"], &["y"], &[])])]);
    let model = read(&[number(1, 2), graph.clone()].concat()).unwrap();
    assert_eq!(model.graph.nodes[0].opset_version, Some(1));
    let model = read(&[number(1, 3), graph].concat()).unwrap();
    assert_eq!(model.graph.nodes[0].opset_version, None);
}

#[test]
fn other_files_are_named_for_what_they_are() {
    let cases: [(&[u8], &str); 6] = [
        (b"", "the file is empty"),
        (b"\x1f\x8b\x08\x00", "is not an ONNX model: it is compressed with gzip"),
        (b"PK\x03\x04", "is not an ONNX model: it is a zip archive"),
        (b"<html>", "is not an ONNX model: its first bytes are not those of a model"),
        (
            b"version https://git-lfs.github.com/spec/v1",
            "is not an ONNX model: it is a Git LFS pointer, not the file itself",
        ),
        (b"\x08\x08", "is not an ONNX model: it holds no graph"),
    ];
    for (file, expected) in cases {
        assert_eq!(message(read(file)), expected);
    }
}

#[test]
fn a_truncated_file_says_where_it_ends() {
    let mut file = model(8, 17, &text(2, "graph"));
    file.pop();
    assert_eq!(message(read(&file)), "is truncated: the model at byte 7 needs 7 bytes, 6 are left");
}

#[test]
fn nesting_is_bounded() {
    let nest = |levels: usize| {
        let mut graph = text(2, "inmost");
        for _ in 0..levels {
            graph = bytes(1, &[&node("If", &[], &[], &[&attr("body", 5, &bytes(6, &[&graph]))])]);
        }
        read(&model(8, 17, &graph))
    };
    assert!(nest(64).is_ok());
    assert!(matches!(nest(2000), Err(Error::TooDeep { .. })));
    let mut ty = bytes(1, &[]);
    for _ in 0..5000 {
        ty = bytes(4, &[&bytes(1, &[&ty])]);
    }
    let deep = model(8, 17, &bytes(11, &[&bytes(2, &[&ty])]));
    assert!(matches!(read(&deep), Err(Error::TooDeep { .. })));
    // Groups, which would make the decoder recurse once a byte.
    let groups = model(8, 17, &bytes(13, &[&[0x0b; 100_000]]));
    assert!(matches!(read(&groups), Err(Error::Damaged { .. })));
}

#[test]
fn unknown_attribute_types_are_refused() {
    let with = |attr: &[u8]| read(&model(8, 17, &bytes(1, &[&node("Op", &[], &["y"], &[attr])])));
    let expected = "node \"y\": attribute \"a\": attribute type 77 is unknown";
    assert_eq!(message(with(&attr("a", 77, &[]))), expected);
    let expected = "node \"y\": attribute \"a\": states a type but holds no value";
    assert_eq!(message(with(&attr("a", 4, &[]))), expected);
    let expected = "node \"y\": attribute \"a\": states no type and holds no value";
    assert_eq!(message(with(&attr("a", 0, &[]))), expected);
    let expected = "tensor \"y.a\": expected 8 bytes for dimensions [2] of element type 1, found 0";
    assert_eq!(message(with(&attr("a", 4, &bytes(5, &[&tensor("", 1, &[2])])))), expected);
}
