//! Just enough of the wire format to write models by hand, independent of the reader.

/// A field that holds a number.
pub(crate) fn number(field: u64, value: i64) -> Vec<u8> {
    [varint(field << 3), varint(value.cast_unsigned())].concat()
}

/// A field that holds bytes: a string, packed numbers or a message of several fields.
pub(crate) fn bytes(field: u64, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [varint(field << 3 | 2), varint(u64::try_from(body.len()).unwrap()), body].concat()
}

/// A field that holds text.
pub(crate) fn text(field: u64, text: &str) -> Vec<u8> {
    bytes(field, &[text.as_bytes()])
}

/// A field that holds numbers, packed.
pub(crate) fn packed(field: u64, values: &[i64]) -> Vec<u8> {
    let body: Vec<u8> = values.iter().flat_map(|value| varint(value.cast_unsigned())).collect();
    bytes(field, &[&body])
}

/// The body of a `TensorProto` without data.
pub(crate) fn tensor(name: &str, elem: i64, dims: &[i64]) -> Vec<u8> {
    [packed(1, dims), number(2, elem), text(8, name)].concat()
}

/// The body of a `NodeProto`; `attrs` are whole fields.
pub(crate) fn node(op: &str, inputs: &[&str], outputs: &[&str], attrs: &[&[u8]]) -> Vec<u8> {
    let mut body = Vec::new();
    inputs.iter().for_each(|name| body.extend(text(1, name)));
    outputs.iter().for_each(|name| body.extend(text(2, name)));
    body.extend(text(4, op));
    body.extend(attrs.concat());
    body
}

/// An `attribute` field of a node; `value` is the field that holds the value.
pub(crate) fn attr(name: &str, kind: i64, value: &[u8]) -> Vec<u8> {
    bytes(5, &[&text(1, name), &number(20, kind), value])
}

/// A `ModelProto` around the body of a graph.
pub(crate) fn model(ir: i64, opset: i64, graph: &[u8]) -> Vec<u8> {
    [number(1, ir), bytes(8, &[&number(2, opset)]), bytes(7, &[graph])].concat()
}

/// A model with an input of a named size, a weight, a Constant, and an If that reads the outside.
pub(crate) fn small_model() -> Vec<u8> {
    let weight = [tensor("w", 1, &[2]), bytes(9, &[&1.5_f32.to_le_bytes(), &(-2.0_f32).to_le_bytes()])];
    let shape = bytes(2, &[&bytes(1, &[&text(2, "n")]), &bytes(1, &[&number(1, 2)])]);
    let input = [text(1, "x"), bytes(2, &[&bytes(1, &[&number(1, 1), &shape])])].concat();
    let flag = [text(1, "flag"), bytes(2, &[&bytes(1, &[&number(1, 9), &bytes(2, &[])])])].concat();
    let constant = bytes(5, &[&tensor("", 7, &[1]), &packed(7, &[-3])]);
    let branch = |op: &str, out: &str| {
        let graph = [bytes(1, &[&node(op, &["sum"], &[out], &[])]), bytes(12, &[&text(1, out)])].concat();
        bytes(6, &[&graph])
    };
    let then_branch = attr("then_branch", 5, &branch("Neg", "a"));
    let else_branch = attr("else_branch", 5, &branch("Relu", "b"));
    let graph = [
        bytes(1, &[&node("If", &["flag"], &["y"], &[&then_branch, &else_branch])]),
        bytes(1, &[&node("Add", &["x", "w"], &["sum"], &[])]),
        bytes(1, &[&node("Constant", &[], &["c"], &[&attr("value", 4, &constant)])]),
        text(2, "small"),
        bytes(5, &[&weight.concat()]),
        bytes(11, &[&input]),
        bytes(11, &[&flag]),
        bytes(12, &[&text(1, "y")]),
        bytes(12, &[&text(1, "c")]),
    ];
    [model(8, 17, &graph.concat()), bytes(14, &[&text(1, "key"), &text(2, "value")])].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).unwrap());
    bytes
}
