//! The table itself.

use std::collections::HashSet;

use crate::{Isa, kernels, lookup, lookup_on};

#[test]
fn names_are_unique_and_say_contract_and_isa() {
    let mut seen = HashSet::new();
    for row in kernels() {
        assert!(seen.insert(row.name), "{} appears twice", row.name);
        assert!(row.name.ends_with(row.isa.name()), "{} hides its instruction set", row.name);
    }
}

#[test]
fn every_contract_has_a_portable_row() {
    for row in kernels() {
        let portable = lookup_on(row.contract, row.version, &[Isa::Portable]);
        assert!(portable.is_some_and(|found| found.isa == Isa::Portable), "{} has none", row.contract);
    }
}

#[test]
fn lookup_honors_the_limit() {
    for row in kernels() {
        for limit in Isa::ALL {
            let found = lookup(row.contract, limit).expect("a portable row exists");
            assert!(limit.implied().contains(&found.isa), "{} is above {limit:?}", found.name);
            assert!(Isa::available().contains(&found.isa), "{} cannot run here", found.name);
        }
    }
    assert!(lookup("no_such_contract", Isa::Avx512).is_none());
    assert!(lookup_on("f32_gemm", 999, &Isa::ALL).is_none());
}

#[test]
fn names_of_instruction_sets_round_trip() {
    for isa in Isa::ALL {
        assert_eq!(Isa::from_name(isa.name()), Some(isa));
        assert_eq!(isa.implied().last(), Some(&isa));
    }
    assert_eq!(Isa::from_name("mmx"), None);
}
