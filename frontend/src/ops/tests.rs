//! The table against the standard's own list (`standard.csv`: domain, operator, versions).

use super::{find, table};
use std::collections::{BTreeMap, BTreeSet};

/// Operators of the standard that have no row, with the reason.
const ABSENT: &[(&str, &str, &str)] = &[
    ("ai.onnx.ml", "SVMClassifier", "its probabilities of several classes come from an iteration"),
    ("ai.onnx.preview.training", "Gradient", "needs derivatives of the graph"),
];

fn standard() -> BTreeMap<(&'static str, &'static str), Vec<i64>> {
    let mut operators = BTreeMap::new();
    for line in include_str!("standard.csv").lines().skip(1) {
        let [domain, op, versions] = line.split(',').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let versions = versions.split(' ').map(|v| v.parse().expect("a version")).collect();
        operators.insert((domain, op), versions);
    }
    operators
}

#[test]
fn rows_are_unique_and_documented() {
    let mut seen = BTreeSet::new();
    for row in table() {
        let (domain, op) = (row.name.domain, row.name.op);
        assert!(seen.insert((domain, op)), "{domain}.{op} twice");
        assert!(!row.doc.is_empty(), "{op} has no document");
        assert!(row.since.is_sorted_by(|a, b| a < b) && !row.since.is_empty(), "versions of {op}");
        assert!(find(domain, op).is_some_and(|r| std::ptr::eq(r, row)), "{domain}.{op} is not found");
    }
    assert!(find("", "Add").is_some());
}

#[test]
fn rows_have_the_versions_of_the_standard() {
    let standard = standard();
    let mut wrong = Vec::new();
    for row in table() {
        match standard.get(&(row.name.domain, row.name.op)) {
            Some(versions) if versions != row.since => {
                wrong.push(format!("{}: {:?}, the standard has {versions:?}", row.name.op, row.since));
            }
            None if row.name.domain != "com.microsoft" => wrong.push(format!("{:?}", row.name)),
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_operator_of_the_standard_has_a_row() {
    let absent = |d: &str, o: &str| ABSENT.iter().any(|(domain, op, _)| *domain == d && *op == o);
    let missing: Vec<_> =
        standard().into_keys().filter(|(d, o)| find(d, o).is_none() != absent(d, o)).collect();
    assert!(missing.is_empty(), "neither a row nor a reason, or both: {missing:?}");
}
