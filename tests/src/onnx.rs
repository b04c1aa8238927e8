//! Small ONNX files, written field by field.

/// A field of bytes: text or a message.
pub(crate) fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
    let mut out = varint(number << 3 | 2);
    out.extend(varint(bytes.len() as u64));
    out.extend(bytes);
    out
}

/// A field with a number.
pub(crate) fn number(number: u64, value: u64) -> Vec<u8> {
    [varint(number << 3), varint(value)].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// A value of type f32 with sizes; a size of 0 is free and named `n`.
pub(crate) fn value(name: &str, sizes: &[u64]) -> Vec<u8> {
    let dim = |d: &u64| field(1, &if *d == 0 { field(2, b"n") } else { number(1, *d) });
    let shape: Vec<u8> = sizes.iter().flat_map(dim).collect();
    let tensor = [number(1, 1), field(2, &shape)].concat();
    [field(1, name.as_bytes()), field(2, &field(1, &tensor))].concat()
}

/// A node of a domain (empty for ONNX's own) with the name of its output.
pub(crate) fn node(domain: &str, op: &str, inputs: &[&str], output: &str) -> Vec<u8> {
    let inputs: Vec<u8> = inputs.iter().flat_map(|i| field(1, i.as_bytes())).collect();
    let names = [field(2, output.as_bytes()), field(3, output.as_bytes()), field(4, op.as_bytes())];
    [inputs, names.concat(), field(7, domain.as_bytes())].concat()
}

/// A model of opset 21 (and version 1 of `com.example`) from `x` to `y`.
pub(crate) fn model(sizes: &[u64], nodes: &[Vec<u8>], initializers: &[Vec<u8>]) -> Vec<u8> {
    let nodes: Vec<u8> = nodes.iter().flat_map(|n| field(1, n)).collect();
    let initializers: Vec<u8> = initializers.iter().flat_map(|t| field(5, t)).collect();
    let ports = [field(11, &value("x", sizes)), field(12, &value("y", sizes))].concat();
    let graph = [nodes, field(2, b"small"), initializers, ports].concat();
    let opset = |domain: &str, version| field(8, &[field(1, domain.as_bytes()), number(2, version)].concat());
    [number(1, 10), field(7, &graph), opset("", 21), opset("com.example", 1)].concat()
}

/// `y = relu(x)`.
pub(crate) fn relu(sizes: &[u64]) -> Vec<u8> {
    model(sizes, &[node("", "Relu", &["x"], "y")], &[])
}
