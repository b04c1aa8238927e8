//! Round trips of everything the form can say, and errors by place. The rows' tests round-trip every operator.

use super::{parse, print};
use crate::{Attr, Builder, DType, Dim, Graph, ScalarOp, Sym, Tensor, Turn, Type, attrs, verify::verify};
use nnc_tensor::plan;

/// Names of all sorts, bodies, containers, bounds, large and small constants, content.
fn sample() -> Graph {
    let mut g = Graph::new("a \"name\"");
    let body = g.body();
    let n = Dim::named("n");
    g.bounds.insert(Sym::new("n"), (1, 64));
    g.bounds.insert(Sym::new("past len"), (0, i64::MAX));
    let past = Dim::named("past len").floor_div(&Dim::int(2)) - Dim::int(3) * n.clone();
    let x = g.add_param(body, Type::tensor(DType::F32, vec![n.clone(), past]), Some("x".into()));
    let y = g.add_param(body, Type::tensor(DType::F32, vec![n]), Some("in/put:0".into()));
    let inner = Type::tensor(DType::Str, vec![Dim::named("?")]);
    let seq = Type::Sequence(Box::new(Type::Optional(Box::new(Type::Map(DType::I64, Box::new(inner))))));
    let s = g.add_param(body, seq.clone(), Some("x".into()));
    let k = g.add_param(body, Type::tensor(DType::I64, vec![]), Some("7".into()));
    g.value_mut(k).content = Some(vec![Dim::named("k")]);
    let mut b = Builder::new(&mut g);
    b.origin = "layer\n1".into();
    let big = b.constant(Tensor::zeros(DType::F32, &[300]).unwrap());
    let other = b.constant(Tensor::from_slice(&[257], &[-1i32; 257]).unwrap());
    let small = b.constant(Tensor::from_slice(&[4], &[0.1f32, -0.0, f32::INFINITY, 1e-30]).unwrap());
    let nan = b.constant(Tensor::from_slice(&[2], &[0x7fc0_0001u32, 0xff80_0000]).unwrap());
    let nan = b.one("bitcast", attrs! { to: Attr::DType(DType::F32) }, &[nan]).unwrap();
    let words = vec![b"plain".to_vec(), "ü\"\\\n\u{85}".into(), vec![0xff, b'a']];
    let words = b.constant(Tensor::from_strings(&[3], words).unwrap());
    let packed = b.constant(Tensor::from_ints(DType::I4, &[3], &[-8, 7, 1]).unwrap());
    let odd = b.constant(Tensor::from_bytes(DType::I4, vec![1], &[0xf1]).unwrap());
    let complex = b.constant(Tensor::from_f64s(DType::C64, &[1], &[1.0, -2.0]).unwrap());
    let none = b.dims(vec![Dim::ONE]).unwrap();
    b.graph.value_mut(none).content = None;
    let trip = b.reshape(k, &[]).unwrap();
    let go = b.constant(Tensor::from_bools(&[], &[true]).unwrap());
    let grown = b.looped(trip, go, &[y], &mut |b, _, cond, v| {
        let twice = b.concat(&[v[0], y], 0)?;
        b.graph.value_mut(twice).name = Some("inner".into());
        Ok(Turn { cond, carried: vec![twice], scanned: vec![cond] })
    });
    let named = vec![
        ("a".to_owned(), plan::Attr::Ints(vec![])),
        ("b \"".to_owned(), plan::Attr::Floats(vec![1.0, f64::NEG_INFINITY])),
        ("c".to_owned(), plan::Attr::Str("s".into())),
        ("d".to_owned(), plan::Attr::Float(2.0)),
        ("e".to_owned(), plan::Attr::Strs(vec![vec![0]])),
        ("f".to_owned(), plan::Attr::Int(-1)),
    ];
    let attrs = attrs! { name: Attr::Str("optional".into()), params: Attr::Named(named), types: Attr::Types(vec![seq]) };
    let made = b.add("routine", attrs, &[s]).unwrap();
    let nothing = attrs! { name: Attr::Str("sequence_at".into()), types: Attr::Types(vec![]) };
    b.add("routine", nothing, &[s]).unwrap();
    let z = b.unary(ScalarOp::Neg, x).unwrap();
    let results =
        [grown.unwrap(), made, vec![big, other, small, nan, words, packed, odd, complex, none, z]].concat();
    g.block_mut(body).results = results;
    g
}

#[test]
fn everything_survives_a_round_trip() {
    let g = sample();
    assert_eq!(verify(&g), Ok(()));
    let (text, data) = print(&g);
    let again = parse(&text, &data).unwrap_or_else(|e| panic!("{e}\n{text}"));
    assert_eq!(verify(&again), Ok(()));
    assert_eq!(print(&again), (text, data));
    assert_eq!(again.bounds, g.bounds);
    assert!(g.output_names.is_empty() || again.output_names == g.output_names);
    let both = g.block(g.body()).params.iter().zip(&again.block(again.body()).params);
    for (a, b) in both {
        assert_eq!((g.ty(*a), &g.value(*a).name), (again.ty(*b), &again.value(*b).name));
        assert_eq!(g.value(*a).content, again.value(*b).content);
    }
    for (a, b) in g.block(g.body()).nodes.iter().zip(&again.block(again.body()).nodes) {
        assert_eq!(g.node(*a).attrs, again.node(*b).attrs);
        assert_eq!(g.node(*a).origin, again.node(*b).origin);
    }
}

const MLP: &str = "\
graph @mlp(%x: f32[n, 2], %0 \"in/put\": bool[]) -> (f32[u1, 3]) {
  size n in 1..=64
  %w = constant {value = f32[2, 3] [0.1, -1.0, 2.0, 1e-5, inf, 0.0]} : f32[2, 3]
  %y = contract(%x, %w) {lhs = \"mk\", out = \"mn\", rhs = \"kn\", to = f32} : f32[n, 3] from \"fc/MatMul\"
  %1 = if(%0) : f32[u1, 3] do () {
    yield %y
  } do () {
    %2 = neg(%y) : f32[n, 3]
    %3 = concat(%2, %y) {axis = 0} : f32[2*n, 3]
    yield %3
  }
  return %1
}
";

#[test]
fn written_text_is_printed_as_it_was() {
    let g = parse(&MLP.replace("constant {", "constant() {"), &[]).unwrap();
    let (text, data) = print(&g);
    assert_eq!(text, MLP.replace("constant {", "constant() {"));
    assert_eq!(data, []);
    assert_eq!(verify(&g), Ok(()));
}

#[test]
fn outputs_are_called_as_their_values_unless_the_text_says_otherwise() {
    let text = "\
graph @m(%x: f32[2]) -> (f32[2], f32[2], f32[2], f32[2]) {
  %y = neg(%x) : f32[2]
  return %y, %y, %x as \"in/put\", %x
}
";
    let g = parse(text, &[]).unwrap();
    assert_eq!(g.output_names, ["y", "output1", "in/put", "output3"]);
    assert_eq!(print(&g).0, text);
    let unnamed = parse("graph @m(%0: f32[]) -> (f32[]) { return %0 }", &[]).unwrap();
    assert_eq!(unnamed.output_names, ["output0"]);
}

#[test]
fn large_constants_stand_in_the_data_file() {
    let (text, mut data) = print(&sample());
    // 1200 bytes, padded to a multiple of 64, and 1028 more.
    assert_eq!(data.len(), 1216 + 1028);
    assert!(text.contains("f32[300] data(0, x"), "{text}");
    assert!(parse(&text, &data[..1000]).unwrap_err().message.contains("exceeds the data file"));
    data[5] = 1;
    assert!(parse(&text, &data).unwrap_err().message.contains("the data file has other bytes"));
}

#[test]
fn errors_name_line_and_column() {
    let cases = [
        ("grph @m() -> () {}", "1:1: expected \"graph\", found grph"),
        ("graph @m() -> () {\n  return %x\n}", "2:10: %x is not defined here"),
        ("graph @m() -> () {\n  %x = nag()\n}", "2:8: unknown operator \"nag\""),
        (
            "graph @m(%x: f32[2]) -> () {\n  %y = neg(%x) : f32[3] return }",
            "2:8: (neg): result 0 must have type f32[2], found f32[3]",
        ),
        ("graph @m(%x: f32[2]) -> () {\n  %y = neg(%x) {axis = 1}", "2:17: neg has no attribute \"axis\""),
        ("graph @m(%x: f33[2]) -> () {", "1:14: unknown data type f33"),
        ("graph @m(%x: f32[2], %x: f32[2]) -> () {", "1:22: %x is defined twice"),
        ("graph @m(%x: f32[2]) -> (f32[3]) { return %x }", "1:25: expected results (f32[3]), found (f32[2])"),
        ("graph @m() -> () { return } }", "1:29: expected the end of the text, found '}'"),
        ("graph @\"m", "1:8: a quote is not closed"),
        ("graph @m() -> () { %c = constant() {value = u8[1] [256]} : u8[1] }", "1:52: 256 exceeds u8"),
        (
            "graph @m(%c: bool[]) -> () { %y = if(%c) : f32[] do () { %z = exp(%c) : bool[] yield }",
            "1:63: (exp): exp has no meaning on bool",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(parse(text, &[]).err().map(|e| e.to_string()), Some(expected.to_owned()), "{text}");
    }
}

#[test]
fn damaged_text_is_refused_without_a_panic() {
    let (text, data) = print(&sample());
    let others =
        ["", "-", "0", "]", "%1", "9223372036854775807", "floor(", "\"", "n", "-9223372036854775808"];
    for source in [text.as_str(), MLP] {
        for (i, c) in source.char_indices() {
            let _ = parse(&source[..i], &data);
            let other = others[i % others.len()];
            let _ = parse(&format!("{}{other}{}", &source[..i], &source[i + c.len_utf8()..]), &data);
        }
    }
    let deep = format!("graph @m(%x: {}f32[]", "seq(".repeat(100_000));
    assert_eq!(parse(&deep, &[]).unwrap_err().message, "nested too deeply");
    let deep = format!("graph @m(%x: f32[{}", "(".repeat(100_000));
    assert_eq!(parse(&deep, &[]).unwrap_err().message, "nested too deeply");
}
