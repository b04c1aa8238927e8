//! Nodes that call a routine of the runtime, and the operators that are nothing else.

use super::{OnnxOp, ml, onnx};
use crate::context::{Cx, Lowered, normal_axis};
use crate::model::AttrValue;
use crate::refusal::unsupported;
use nnc_ir::{Attr, DType, Dim, Type, ValueId, attrs};
use nnc_tensor::plan::Attr as Param;

pub(super) const ROWS: &[OnnxOp] = &[
    onnx("Compress", &[9, 11, 28], "the slices that a condition chooses", |cx| {
        let (x, condition) = (cx.required(0)?, cx.required(1)?);
        let (ty, rank) = (cx.graph.tensor_ty(x).clone(), cx.rank(x));
        let mut shape = ty.shape.clone();
        let mut params = Vec::new();
        match cx.attrs.int("axis")? {
            Some(axis) => {
                let axis = normal_axis(axis, rank)?;
                shape[axis] = fresh(cx);
                params.push(("axis".to_owned(), Param::Int(axis as i64)));
            }
            None => shape = vec![fresh(cx)],
        }
        one(cx, "compress", params, Type::tensor(ty.dtype, shape), &[Some(x), Some(condition)])
    }),
    onnx("ImageDecoder", &[20], "an image file to pixels [height, width, channels]", |cx| {
        let bytes = cx.required(0)?;
        let format = cx.attrs.string_or("pixel_format", "RGB")?;
        let channels = if format == "Grayscale" { 1 } else { 3 };
        let params = vec![("pixel_format".to_owned(), Param::Str(format.to_owned()))];
        let shape = vec![fresh(cx), fresh(cx), Dim::int(channels)];
        one(cx, "image_decoder", params, Type::tensor(DType::U8, shape), &[Some(bytes)])
    }),
    onnx(
        "NonMaxSuppression",
        &[10, 11],
        "boxes that do not overlap better ones, as [batch, class, box]",
        |cx| {
            let params =
                vec![("center_point_box".to_owned(), Param::Int(cx.attrs.int_or("center_point_box", 0)?))];
            let inputs = (0..5).map(|i| cx.input(i)).collect::<Lowered<Vec<_>>>()?;
            let shape = vec![fresh(cx), Dim::int(3)];
            one(cx, "nms", params, Type::tensor(DType::I64, shape), &inputs)
        },
    ),
    onnx("NonZero", &[9, 13], "coordinates of the elements that are not zero, one column each", |cx| {
        let x = cx.required(0)?;
        let shape = vec![Dim::len(cx.rank(x)), fresh(cx)];
        one(cx, "nonzero", Vec::new(), Type::tensor(DType::I64, shape), &[Some(x)])
    }),
    onnx("RegexFullMatch", &[20], "whether all of a text matches a pattern", |cx| {
        let params = params(cx, &["pattern"])?;
        let x = cx.required(0)?;
        let shape = cx.shape(x);
        one(cx, "regex_full_match", params, Type::tensor(DType::Bool, shape), &[Some(x)])
    }),
    onnx("StringConcat", &[20], "texts joined element by element", |cx| {
        let (a, b) = (cx.required(0)?, cx.required(1)?);
        let shape = super::shape::broadcast_shape(cx, &cx.shape(a), &cx.shape(b))?;
        one(cx, "string_concat", Vec::new(), Type::tensor(DType::Str, shape), &[Some(a), Some(b)])
    }),
    onnx("StringNormalizer", &[10], "texts in one case, without stop words", |cx| {
        let params = params(cx, &["case_change_action", "is_case_sensitive", "locale", "stopwords"])?;
        let x = cx.required(0)?;
        let mut shape = cx.shape(x);
        if let Some(last) = shape.last_mut() {
            *last = fresh(cx);
        }
        one(cx, "string_normalizer", params, Type::tensor(DType::Str, shape), &[Some(x)])
    }),
    onnx("StringSplit", &[20], "texts cut at a delimiter, and how many parts each has", |cx| {
        let params = params(cx, &["delimiter", "maxsplit"])?;
        let x = cx.required(0)?;
        let counts = Type::tensor(DType::I64, cx.shape(x));
        let mut shape = cx.shape(x);
        shape.push(fresh(cx));
        several(cx, "string_split", params, vec![Type::tensor(DType::Str, shape), counts], &[Some(x)])
    }),
    onnx("TfIdfVectorizer", &[9], "counts of n-grams, weighted", |cx| {
        let names = [
            "max_gram_length",
            "max_skip_count",
            "min_gram_length",
            "mode",
            "ngram_counts",
            "ngram_indexes",
            "pool_int64s",
            "pool_strings",
            "weights",
        ];
        let params = params(cx, &names)?;
        let x = cx.required(0)?;
        let columns = cx.attrs.ints("ngram_indexes")?.unwrap_or(&[]).iter().max().map_or(0, |m| m + 1);
        let mut shape = cx.shape(x);
        shape.pop();
        shape.push(Dim::int(columns));
        one(cx, "tfidf_vectorizer", params, Type::tensor(DType::F32, shape), &[Some(x)])
    }),
    onnx(
        "TopK",
        &[1, 10, 11, 24],
        "the largest or smallest elements along an axis, sorted, and where they are",
        top_k,
    ),
    onnx("Unique", &[11, 28], "distinct elements or slices, with indices and counts", unique),
    ml("CastMap", &[1], "the values of a map as a tensor", |cx| {
        let params = params(cx, &["cast_to", "map_form", "max_map"])?;
        let x = cx.value(0)?;
        let dtype = match cx.attrs.string_or("cast_to", "TO_FLOAT")? {
            "TO_STRING" => DType::Str,
            "TO_INT64" => DType::I64,
            _ => DType::F32,
        };
        let columns = match cx.attrs.string_or("map_form", "DENSE")? {
            "SPARSE" => Dim::int(cx.attrs.int_or("max_map", 1)?),
            _ => fresh(cx),
        };
        one(cx, "cast_map", params, Type::tensor(dtype, vec![Dim::ONE, columns]), &[Some(x)])
    }),
    ml("CategoryMapper", &[1], "integers to text, text to integers", |cx| {
        let params = params(cx, &["cats_int64s", "cats_strings", "default_int64", "default_string"])?;
        let x = cx.required(0)?;
        let dtype = if cx.dtype(x) == DType::Str { DType::I64 } else { DType::Str };
        let shape = cx.shape(x);
        one(cx, "category_mapper", params, Type::tensor(dtype, shape), &[Some(x)])
    }),
    ml("DictVectorizer", &[1], "maps to rows by a vocabulary", |cx| {
        let mut params = params(cx, &["int64_vocabulary", "string_vocabulary"])?;
        let x = cx.value(0)?;
        let Type::Map(_, value) = cx.graph.ty(x).clone() else {
            unsupported!("input 0 must be a map, found {}", cx.graph.ty(x));
        };
        let Some(dtype) = value.as_tensor().map(|t| t.dtype) else {
            unsupported!("the map must hold numbers or texts, found {value}");
        };
        params.push(("dtype".to_owned(), Param::Int(i64::from(dtype.onnx()))));
        let n = cx.attrs.ints("int64_vocabulary")?.map(<[i64]>::len);
        let n = n.or(cx.attrs.byte_strings("string_vocabulary")?.map(<[Vec<u8>]>::len)).unwrap_or(0);
        let ty = Type::tensor(dtype, vec![Dim::len(n)]);
        let row = call(cx, "dict_vectorizer", params, vec![ty], &[Some(x)])?[0];
        let y = cx.unsqueeze(row, &[0])?;
        cx.done(y)
    }),
    ml("LabelEncoder", &[1, 2, 4], "elements to elements by a table", label_encoder),
    ml("ZipMap", &[1], "rows as maps from labels", |cx| {
        let params = params(cx, &["classlabels_int64s", "classlabels_strings"])?;
        let x = cx.required(0)?;
        let named = cx.attrs.byte_strings("classlabels_strings")?.is_some_and(|s| !s.is_empty());
        let key = if named { DType::Str } else { DType::I64 };
        let value = Type::tensor(cx.dtype(x), vec![]);
        let ty = Type::Sequence(Box::new(Type::Map(key, Box::new(value))));
        one(cx, "zipmap", params, ty, &[Some(x)])
    }),
];

pub(super) type Params = Vec<(String, Param)>;

/// A size that only the routine can tell.
pub(super) fn fresh(cx: &mut Cx) -> Dim {
    Dim::sym(cx.graph.fresh_sym())
}

/// Attributes of the node by name, as far as they are there.
pub(super) fn params(cx: &Cx, names: &[&str]) -> Lowered<Params> {
    let mut params = Vec::new();
    for name in names {
        let Some(value) = cx.attrs.get(name) else { continue };
        let value = match value {
            AttrValue::Int(v) => Param::Int(*v),
            AttrValue::Float(v) => Param::Float(f64::from(*v)),
            AttrValue::String(v) => Param::Str(String::from_utf8_lossy(v).into_owned()),
            AttrValue::Ints(v) => Param::Ints(v.clone()),
            AttrValue::Floats(v) => Param::Floats(v.iter().map(|v| f64::from(*v)).collect()),
            AttrValue::Strings(v) => Param::Strs(v.clone()),
            other => unsupported!("attribute \"{name}\" must not be {}", other.kind()),
        };
        params.push(((*name).to_owned(), value));
    }
    Ok(params)
}

/// A call of a routine. An input left out before others is an empty optional.
pub(super) fn call(
    cx: &mut Cx,
    name: &str,
    params: Params,
    types: Vec<Type>,
    inputs: &[Option<ValueId>],
) -> Lowered<Vec<ValueId>> {
    let n = inputs.iter().rposition(Option::is_some).map_or(0, |i| i + 1);
    let mut operands = Vec::new();
    for input in &inputs[..n] {
        operands.push(match input {
            Some(v) => *v,
            None => absent(cx)?,
        });
    }
    let attrs = attrs! {
        name: Attr::Str(name.to_owned()), params: Attr::Named(params), types: Attr::Types(types)
    };
    Ok(cx.add("routine", attrs, &operands)?)
}

/// An empty optional.
fn absent(cx: &mut Cx) -> Lowered<ValueId> {
    let ty = Type::Optional(Box::new(Type::tensor(DType::F32, vec![])));
    Ok(call(cx, "optional", Vec::new(), vec![ty], &[])?[0])
}

/// A routine with one output, which is the node's.
pub(super) fn one(cx: &mut Cx, name: &str, params: Params, ty: Type, inputs: &[Option<ValueId>]) -> Lowered {
    several(cx, name, params, vec![ty], inputs)
}

/// A routine whose outputs are the node's.
pub(super) fn several(
    cx: &mut Cx,
    name: &str,
    params: Params,
    types: Vec<Type>,
    inputs: &[Option<ValueId>],
) -> Lowered {
    let outputs = call(cx, name, params, types, inputs)?;
    outputs.into_iter().enumerate().for_each(|(i, v)| cx.output(i, v));
    Ok(())
}

fn top_k(cx: &mut Cx) -> Lowered {
    let x = cx.required(0)?;
    let rank = cx.rank(x);
    let axis = cx.axis("axis", -1, rank)?;
    let largest = cx.version < 11 || cx.attrs.flag_or("largest", true)?;
    if cx.version >= 11 {
        // Sorted output is one of the orders allowed otherwise.
        cx.attrs.int("sorted")?;
    }
    let mut params = vec![
        ("axis".to_owned(), Param::Int(axis as i64)),
        ("largest".to_owned(), Param::Int(i64::from(largest))),
    ];
    let mut shape = cx.shape(x);
    let count = if cx.version == 1 {
        let k = cx.attrs.required("k", cx.attrs.int("k"))?;
        params.push(("k".to_owned(), Param::Int(k)));
        shape[axis] = Dim::int(k);
        None
    } else {
        let k = cx.required(1)?;
        shape[axis] = cx.dim_of(k)?;
        Some(k)
    };
    let types = vec![Type::tensor(cx.dtype(x), shape.clone()), Type::tensor(DType::I64, shape)];
    several(cx, "topk", params, types, &[Some(x), count])
}

fn unique(cx: &mut Cx) -> Lowered {
    let x = cx.required(0)?;
    let mut params = params(cx, &["sorted"])?;
    let ty = cx.graph.tensor_ty(x).clone();
    let n = fresh(cx);
    let (shape, len) = match cx.attrs.int("axis")? {
        Some(axis) => {
            let axis = normal_axis(axis, ty.rank())?;
            params.push(("axis".to_owned(), Param::Int(axis as i64)));
            let mut shape = ty.shape.clone();
            let len = std::mem::replace(&mut shape[axis], n.clone());
            (shape, len)
        }
        None => (vec![n.clone()], ty.elems()),
    };
    let ints = |d: Dim| Type::tensor(DType::I64, vec![d]);
    let types = vec![Type::tensor(ty.dtype, shape), ints(n.clone()), ints(len), ints(n)];
    several(cx, "unique", params, types, &[Some(x)])
}

/// Keys, values and default as operands where they are tensors, as parameters where they are lists.
fn label_encoder(cx: &mut Cx) -> Lowered {
    let x = cx.required(0)?;
    let shape = cx.shape(x);
    if cx.version == 1 {
        // Texts of the list to their places and back.
        let names = cx.attrs.required("classes_strings", cx.attrs.byte_strings("classes_strings"))?;
        let ints = Param::Ints((0i64..).take(names.len()).collect());
        let mut params = params(cx, &["default_int64", "default_string"])?;
        params.push(("cats_strings".to_owned(), Param::Strs(names.to_vec())));
        params.push(("cats_int64s".to_owned(), ints));
        let dtype = if cx.dtype(x) == DType::Str { DType::I64 } else { DType::Str };
        return one(cx, "category_mapper", params, Type::tensor(dtype, shape), &[Some(x)]);
    }
    let mut inputs = vec![Some(x), None, None, None];
    let mut dtype = None;
    for (i, name) in [(1, "keys_tensor"), (2, "values_tensor"), (3, "default_tensor")] {
        if let Some(t) = cx.attrs.tensor(name)? {
            let t = crate::import::tensor(t)?;
            if i == 2 {
                dtype = Some(t.dtype());
            }
            inputs[i] = Some(cx.constant(t));
        }
    }
    let lists = ["int64s", "floats", "strings"];
    let dtypes = [DType::I64, DType::F32, DType::Str];
    let mut names = Vec::new();
    for (suffix, list_type) in lists.into_iter().zip(dtypes) {
        if cx.attrs.has(&format!("values_{suffix}")) {
            dtype = Some(list_type);
        }
        names.extend(["keys", "values"].map(|p| format!("{p}_{suffix}")));
    }
    names.extend(["default_int64", "default_float", "default_string"].map(str::to_owned));
    let params = params(cx, &names.iter().map(String::as_str).collect::<Vec<_>>())?;
    let Some(dtype) = dtype else { unsupported!("no attribute gives the values") };
    one(cx, "label_encoder", params, Type::tensor(dtype, shape), &inputs)
}

/// A random routine of some shape; calls without a seed differ by the node's name.
pub(super) fn random(
    cx: &mut Cx,
    name: &str,
    mut params: Params,
    ty: Type,
    x: Option<ValueId>,
) -> Lowered<ValueId> {
    if let Some(seed) = cx.attrs.float("seed")? {
        params.push(("seed".to_owned(), Param::Float(f64::from(seed))));
    }
    params.push(("node".to_owned(), Param::Str(cx.node().label().to_owned())));
    Ok(call(cx, name, params, vec![ty], &[x])?[0])
}
