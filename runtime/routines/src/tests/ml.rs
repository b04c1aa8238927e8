//! Maps and features.

use super::*;
use nnc_tensor::MapKey;

fn map(entries: &[(i64, f32)]) -> Value {
    Value::Map(entries.iter().map(|(k, v)| (MapKey::Int(*k), floats(&[], &[*v]))).collect())
}

#[test]
fn rows_become_maps_and_maps_rows() {
    let x = floats(&[2, 2], &[1.0, 2.0, 3.0, 4.0]);
    let labels = [("classlabels_int64s", Attr::Ints(vec![10, 20]))];
    let maps = run("zipmap", &labels, std::slice::from_ref(&x));
    let expected = vec![map(&[(10, 1.0), (20, 2.0)]), map(&[(10, 3.0), (20, 4.0)])];
    assert_eq!(maps[0], Value::Sequence(expected));
    let vocabulary = [("int64_vocabulary", Attr::Ints(vec![10, 20]))];
    assert_eq!(run("dict_vectorizer", &vocabulary, &maps)[0], x);
    let named = [("classlabels_strings", strs(&["a", "b"]))];
    let one = run("zipmap", &named, &[floats(&[2], &[1.0, 2.0])]);
    let Value::Sequence(maps) = &one[0] else { panic!("a sequence was expected") };
    let Value::Map(entries) = &maps[0] else { panic!("a map was expected") };
    assert_eq!(entries[1].0, MapKey::Str(b"b".to_vec()));
    assert!(try_run("zipmap", &named, &[floats(&[3], &[0.0; 3])]).is_err());
}

#[test]
fn a_vocabulary_orders_values() {
    // The example in the text of DictVectorizer.
    let key = |s: &str| MapKey::Str(s.as_bytes().to_vec());
    let x = Value::Map(vec![(key("a"), ints(&[], &[4])), (key("c"), ints(&[1], &[8]))]);
    let attrs = [("string_vocabulary", strs(&["a", "c", "b", "z"]))];
    assert_eq!(run("dict_vectorizer", &attrs, &[x])[0], ints(&[4], &[4, 8, 0, 0]));
}

#[test]
fn maps_are_cast_by_rising_key() {
    let x = map(&[(3, 1.5), (0, 2.5)]);
    let dense = run("cast_map", &[], std::slice::from_ref(&x));
    assert_eq!(dense[0], floats(&[1, 2], &[2.5, 1.5]));
    let form = |n| [("map_form", text("SPARSE")), ("max_map", Attr::Int(n)), ("cast_to", text("TO_INT64"))];
    assert_eq!(run("cast_map", &form(5), std::slice::from_ref(&x))[0], ints(&[1, 5], &[2, 0, 0, 1, 0]));
    for len in [3, -1, i64::MAX] {
        assert!(try_run("cast_map", &form(len), std::slice::from_ref(&x)).is_err(), "{len}");
    }
}

#[test]
fn features_are_extracted() {
    let row = floats(&[4], &[0.0, 1.0, 2.0, 3.0]);
    let out = run("array_feature_extractor", &[], &[row, ints(&[1, 2], &[3, 0])]);
    assert_eq!(out[0], floats(&[1, 2], &[3.0, 0.0]));
    let x = floats(&[3, 4], &(0..12u8).map(f32::from).collect::<Vec<_>>());
    let out = run("array_feature_extractor", &[], &[x.clone(), ints(&[2], &[1, 3])]);
    assert_eq!(out[0], floats(&[3, 2], &[1.0, 3.0, 5.0, 7.0, 9.0, 11.0]));
    assert!(try_run("array_feature_extractor", &[], &[x, ints(&[1], &[4])]).is_err());
}

#[test]
fn categories_become_one_hot() {
    let cats = ("cats_strings", strs(&["a", "b"]));
    let x = || strings(&[3], &["b", "c", "a"]);
    let out = run("one_hot_encoder", std::slice::from_ref(&cats), &[x()]);
    assert_eq!(out[0], floats(&[3, 2], &[0.0, 1.0, 0.0, 0.0, 1.0, 0.0]));
    assert!(try_run("one_hot_encoder", &[cats, ("zeros", Attr::Int(0))], &[x()]).is_err());
    let numbers = [("cats_int64s", Attr::Ints(vec![2, 7]))];
    let out = run("one_hot_encoder", &numbers, &[floats(&[1, 1], &[7.9])]);
    assert_eq!(out[0], floats(&[1, 1, 2], &[0.0, 1.0]));
}
