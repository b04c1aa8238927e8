//! Text.

use super::*;

#[test]
fn texts_are_joined() {
    let out = run("string_concat", &[], &[strings(&[2], &["abc", "def"]), strings(&[1], &[".com"])]);
    assert_eq!(words(&out[0]), ["abc.com", "def.com"]);
    let out = run("string_concat", &[], &[strings(&[2, 1], &["a", "b"]), strings(&[2], &["x", "y"])]);
    assert_eq!((shape(&out[0]), words(&out[0]).concat()), (vec![2, 2], "axaybxby".into()));
    assert!(try_run("string_concat", &[], &[strings(&[0], &[]), strings(&[2], &["x", "y"])]).is_err());
}

#[test]
fn texts_are_split() {
    let by = |d: &str| vec![("delimiter", text(d))];
    let most = |mut a: Vec<(&'static str, Attr)>, n| {
        a.push(("maxsplit", Attr::Int(n)));
        a
    };
    type Case<'a> = (Vec<(&'a str, Attr)>, &'a [&'a str], &'a [&'a str], &'a [f64]);
    let cases: [Case; 4] = [
        (
            by("."),
            &["abc.com", "abc.net.x", "", ".a"],
            &["abc", "com", "", "abc", "net", "x", "", "", "", "", "a", ""],
            &[2.0, 3.0, 1.0, 2.0],
        ),
        (
            by(""),
            &["hello  world ", " a b  c ", ""],
            &["hello", "world", "", "a", "b", "c", "", "", ""],
            &[2.0, 3.0, 0.0],
        ),
        (most(vec![], 1), &[" a b  c ", "x"], &["a", "b  c ", "x", ""], &[2.0, 1.0]),
        (most(by("-"), 2), &["o-n-n--x-"], &["o", "n", "n--x-"], &[3.0]),
    ];
    for (attrs, x, pieces, counts) in cases {
        let out = run("string_split", &attrs, &[strings(&[x.len()], x)]);
        assert_eq!(
            (words(&out[0]), numbers(&out[1])),
            (pieces.iter().map(|s| (*s).to_owned()).collect(), counts.to_vec())
        );
    }
    let out = run("string_split", &[], &[strings(&[2, 0], &[])]);
    assert_eq!((shape(&out[0]), shape(&out[1])), (vec![2, 0, 0], vec![2, 0]));
}

#[test]
fn patterns_match_whole_texts() {
    let matches = |pattern: &str, x: &[&str]| {
        numbers(&run("regex_full_match", &[("pattern", text(pattern))], &[strings(&[x.len()], x)])[0])
    };
    let sites = ["www.google.com", "www.facebook.com", "www.bbc.co.uk"];
    assert_eq!(matches(r"www\.[\w.-]+\.\bcom\b", &sites), [1.0, 1.0, 0.0]);
    let mail = r"(\W|^)[\w.\-]{0,25}@(yahoo|gmail)\.com(\W|$)";
    assert_eq!(matches(mail, &["account@gmail.com", "not email"]), [1.0, 0.0]);
    assert_eq!(matches("a|ab", &["ab", "abc"]), [1.0, 0.0]);
    for pattern in ["(", "a)|(b", r"(?=a)", "(a{1000}){1000}"] {
        assert!(try_run("regex_full_match", &[("pattern", text(pattern))], &[strings(&[0], &[])]).is_err());
    }
}

#[test]
fn texts_are_normalized() {
    let x = || strings(&[3], &["monday", "tuesday", "Monday"]);
    let attrs = |case: &str, sensitive| {
        let stop = ("stopwords", strs(&["monday"]));
        vec![("case_change_action", text(case)), ("is_case_sensitive", Attr::Int(sensitive)), stop]
    };
    assert_eq!(words(&run("string_normalizer", &[], &[x()])[0]), ["monday", "tuesday", "Monday"]);
    for (case, sensitive, expected) in [
        ("LOWER", 1, &["tuesday", "monday"][..]),
        ("UPPER", 1, &["TUESDAY", "MONDAY"]),
        ("NONE", 1, &["tuesday", "Monday"]),
        ("UPPER", 0, &["TUESDAY"]),
    ] {
        let out = run("string_normalizer", &attrs(case, sensitive), &[x()]);
        assert_eq!(words(&out[0]), expected, "{case} {sensitive}");
    }
    let out = run("string_normalizer", &attrs("UPPER", 1), &[strings(&[1, 2], &["monday", "monday"])]);
    assert_eq!((shape(&out[0]), words(&out[0])), (vec![1, 1], vec![String::new()]));
    assert!(try_run("string_normalizer", &[], &[strings(&[2, 1], &["a", "b"])]).is_err());
}

fn grams(shortest: i64, skip: i64, mode: &str) -> Vec<(&'static str, Attr)> {
    vec![
        ("mode", text(mode)),
        ("min_gram_length", Attr::Int(shortest)),
        ("max_gram_length", Attr::Int(2)),
        ("max_skip_count", Attr::Int(skip)),
        ("ngram_counts", Attr::Ints(vec![0, 4])),
        ("ngram_indexes", Attr::Ints((0..7).collect())),
        ("pool_int64s", Attr::Ints(vec![2, 3, 5, 4, 5, 6, 7, 8, 6, 7])),
        ("weights", Attr::Floats(if mode == "TF" { vec![] } else { (1..8).map(f64::from).collect() })),
    ]
}

#[test]
fn ngrams_are_counted() {
    let rows = Tensor::from_slice(&[2, 6], &[1i32, 1, 3, 3, 3, 7, 8, 6, 7, 5, 6, 8]).unwrap();
    for (attrs, first, second) in [
        (grams(2, 0, "TF"), [0.0; 7], [0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0]),
        (grams(2, 5, "TF"), [0.0; 7], [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0]),
        (grams(1, 5, "IDF"), [0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 3.0, 0.0, 5.0, 6.0, 7.0]),
        (grams(1, 5, "TFIDF"), [0.0, 6.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 3.0, 0.0, 5.0, 6.0, 7.0]),
    ] {
        let out = run_numbers("tfidf_vectorizer", &attrs, &[rows.clone().into()]);
        assert_eq!(out[0], (vec![2, 7], [first, second].concat()), "{attrs:?}");
    }
    let flat = rows.reshaped(vec![12]).unwrap();
    let out = run_numbers("tfidf_vectorizer", &grams(1, 5, "TF"), &[flat.into()]);
    assert_eq!(out[0], (vec![7], vec![0.0, 3.0, 1.0, 0.0, 1.0, 3.0, 1.0]));
}

#[test]
fn labels_are_looked_up() {
    let keys = ("keys_strings", strs(&["a", "b", "c", "a"]));
    let attrs = [keys, ("values_int64s", Attr::Ints(vec![0, 1, 2, 9])), ("default_int64", Attr::Int(42))];
    let out = run("label_encoder", &attrs, &[strings(&[4], &["a", "b", "d", "c"])]);
    assert_eq!(numbers(&out[0]), [9.0, 1.0, 42.0, 2.0]);
    let attrs = [("keys_floats", Attr::Floats(vec![f64::NAN, 1.5])), ("values_strings", strs(&["n", "x"]))];
    let out = run("label_encoder", &attrs, &[floats(&[3], &[1.5, f32::NAN, 2.0])]);
    assert_eq!(words(&out[0]), ["x", "n", "_Unused"]);
    let tables = [ints(&[2], &[1, 2]), Tensor::from_slice(&[2], &[10i16, 20]).unwrap().into()];
    let inputs = [vec![ints(&[3], &[2, 1, 0])], tables.to_vec()].concat();
    assert_eq!(numbers(&run("label_encoder", &[], &inputs)[0]), [20.0, 10.0, -1.0]);
    assert!(try_run("label_encoder", &attrs, &[ints(&[1], &[1])]).is_err());
}

#[test]
fn categories_map_both_ways() {
    let cats = [("cats_strings", strs(&["x", "y"])), ("cats_int64s", Attr::Ints(vec![5, 6]))];
    let out = run("category_mapper", &cats, &[strings(&[3], &["y", "z", "x"])]);
    assert_eq!(numbers(&out[0]), [6.0, -1.0, 5.0]);
    let out = run("category_mapper", &cats, &[ints(&[3], &[6, 7, 5])]);
    assert_eq!(words(&out[0]), ["y", "_Unused", "x"]);
}
