//! What is reported: each fault by a kernel that has just that one.

use crate::harness::{Device, head, module, per_thread};
use nnc_ptx::{Access, FaultKind, Module, Options};

fn fault(threads: u32, body: &str) -> FaultKind {
    per_thread("sm_80", threads, body).expect_err(body).kind
}

#[test]
fn accesses_stay_in_bounds_and_aligned() {
    let kind = fault(1, "ld.global.u32 %r0, [%out+4];");
    assert!(matches!(kind, FaultKind::OutOfBounds { space: "global", bytes: 4, .. }), "{kind}");
    let kind = fault(1, "mov.u32 %r1, 8192; ld.shared.u32 %r0, [%r1];");
    assert_eq!(kind, FaultKind::OutOfBounds { space: "shared", address: 8192, bytes: 4 });
    let kind = fault(1, "mov.u32 %r1, smem; st.shared.v4.u32 [%r1+8], {1, 2, 3, 4};");
    assert_eq!(kind, FaultKind::Misaligned { space: "shared", address: 8, align: 16 });
    let kind = fault(1, "ld.global.u32 %r0, [%out+-4];");
    assert!(matches!(kind, FaultKind::OutOfBounds { .. }), "{kind}");
}

#[test]
fn what_was_not_written_is_not_read() {
    let name = "%r1".to_owned();
    assert_eq!(fault(1, "add.u32 %r0, %r1, 1;"), FaultKind::UninitializedRegister { name });
    let name = "%p1".to_owned();
    assert_eq!(fault(1, "selp.b32 %r0, 1, 2, %p1;"), FaultKind::UninitializedRegister { name });
    let kind = fault(1, "ld.global.u32 %r0, [%out];");
    assert!(matches!(kind, FaultKind::UninitializedMemory { space: "global", .. }), "{kind}");
    let kind = fault(1, "ld.shared.u32 %r0, [smem+8];");
    assert_eq!(kind, FaultKind::UninitializedMemory { space: "shared", address: 8 });
    let kind = fault(2, "setp.eq.u32 %p1, %t, 0; @%p1 mov.u32 %r1, 3; mov.u32 %r0, %r1;");
    assert!(matches!(kind, FaultKind::UninitializedRegister { .. }), "{kind}");
}

#[test]
fn races_are_found_whatever_the_order_of_the_run() {
    let write = "mov.u32 %r1, smem; shl.b32 %r2, %t, 2; add.u32 %r3, %r1, %r2; st.shared.u32 [%r3], %t;";
    let next = "xor.b32 %r2, %r2, 4; add.u32 %r4, %r1, %r2;";
    let kind = fault(32, &format!("{write} {next} ld.shared.u32 %r0, [%r4];"));
    let expected = (Access::Read, Access::Write);
    assert!(
        matches!(kind, FaultKind::Race { access, earlier, .. } if (access, earlier) == expected),
        "{kind}"
    );
    let both = format!("{write} bar.warp.sync -1; {next} ld.shared.u32 %r0, [%r4];");
    assert!(per_thread("sm_80", 64, &both).is_ok());
    let late = format!("{both} st.shared.u32 [%r3], 0;");
    let kind = fault(64, &late);
    assert!(matches!(kind, FaultKind::Race { access: Access::Write, earlier: Access::Read, .. }), "{kind}");
    let kind = fault(64, "st.shared.u32 [smem], %t; mov.u32 %r0, 0;");
    assert!(matches!(kind, FaultKind::Race { access: Access::Write, .. }), "{kind}");
    assert!(per_thread("sm_80", 32, "st.shared.u32 [smem], 1; mov.u32 %r0, 0;").is_ok(), "all agree");
    let kind = fault(
        64,
        "setp.eq.u32 %p1, %t, 0; @%p1 st.shared.u32 [smem], 0; bar.sync 0;
        atom.shared.add.u32 %r0, [smem], 1; ld.shared.u32 %r0, [smem];",
    );
    assert!(matches!(kind, FaultKind::Race { earlier: Access::Atomic, .. }), "{kind}");
}

#[test]
fn blocks_do_not_write_the_same_bytes() {
    let text = format!(
        "{}.visible .entry k(.param .u64 out) {{ .reg .u64 %rd; .reg .u32 %r;\nld.param.u64 %rd, [out];\n\
         mov.u32 %r, %ctaid.x;\nst.global.u32 [%rd], %r;\nret; }}\n",
        head("sm_75")
    );
    let mut device = Device::default();
    device.output(4);
    let fault = device.run(&module(&text), [2, 1, 1], [1; 3]).expect_err("a race");
    assert_eq!((fault.line, fault.block), (7, [1, 0, 0]));
    assert!(matches!(fault.kind, FaultKind::GlobalRace { other: 0, .. }), "{fault}");
}

#[test]
fn barriers_that_not_all_reach_are_reported() {
    let kind =
        fault(64, "setp.lt.u32 %p1, %t, 32; @%p1 bra SKIP; bar.sync 0; SKIP: bar.sync 1; mov.u32 %r0, 0;");
    assert!(matches!(kind, FaultKind::Deadlock { .. }), "{kind}");
    let kind =
        fault(32, "setp.lt.u32 %p1, %t, 9; @%p1 bra SKIP; bar.sync 0; SKIP: bar.sync 1; mov.u32 %r0, 0;");
    assert!(matches!(kind, FaultKind::Divergence { .. }), "{kind}");
    let kind =
        fault(64, "setp.lt.u32 %p1, %t, 32; @%p1 bar.sync 0, 32; @!%p1 bar.sync 0, 64; mov.u32 %r0, 0;");
    assert!(matches!(kind, FaultKind::Barrier { .. } | FaultKind::Deadlock { .. }), "{kind}");
    let kind = fault(32, "mov.u32 %r1, 48; bar.sync 0, %r1; mov.u32 %r0, 0;");
    assert!(matches!(kind, FaultKind::Barrier { .. }), "{kind}");
}

#[test]
fn lanes_that_are_away_are_reported() {
    let body = "setp.lt.u32 %p1, %t, 16; @%p1 bra LOW; mov.u32 %r0, 0; bra END;
        LOW: shfl.sync.idx.b32 %r0, %t, 20, 31, 0xffff; END:";
    assert_eq!(fault(32, body), FaultKind::InactiveLane { what: "a shuffle", lane: 20 });
    let kind = fault(32, "shfl.sync.idx.b32 %r0, %t, 2, 31, 0xffff;");
    assert_eq!(kind, FaultKind::NotMember { mask: 0xffff });
    let kind = fault(
        16,
        "mov.b32 %r1, 0; mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%f0, %f1, %f2, %f3},
        {%r1, %r1}, {%r1}, {0f00000000, 0f00000000, 0f00000000, 0f00000000}; mov.u32 %r0, 0;",
    );
    assert!(matches!(kind, FaultKind::Divergence { missing: 0xffff_0000, .. }), "{kind}");
}

#[test]
fn copies_are_waited_for() {
    let copy = "mov.u32 %r1, smem; st.global.u32 [%at], 5; cp.async.ca.shared.global [%r1], [%at], 4;";
    let read = "ld.shared.u32 %r0, [%r1];";
    let wait = "cp.async.commit_group; cp.async.wait_group 0;";
    assert_eq!(per_thread("sm_80", 1, &format!("{copy} {wait} {read}")), Ok(vec![5]));
    assert_eq!(fault(1, &format!("{copy} {read}")), FaultKind::InFlight { address: 0 });
    let kind = fault(1, &format!("{copy} cp.async.wait_group 0; {read}"));
    assert_eq!(kind, FaultKind::InFlight { address: 0 }, "an open group is not waited for");
    let kind = fault(1, &format!("{copy} cp.async.commit_group; cp.async.wait_group 1; {read}"));
    assert_eq!(kind, FaultKind::InFlight { address: 0 });
    let kind = fault(1, &format!("{copy} mov.u32 %r0, 0;"));
    assert_eq!(kind, FaultKind::Unfinished { what: "asynchronous copies" });
    let shortened =
        "mov.u32 %r1, smem; st.global.u32 [%at], 5; cp.async.ca.shared.global [%r1], [%at], 4, 0;";
    assert_eq!(per_thread("sm_80", 1, &format!("{shortened} {wait} {read}")), Ok(vec![0]));
}

#[test]
fn other_misuse_is_reported() {
    assert_eq!(fault(1, "mov.u32 %r1, 0; div.u32 %r0, 5, %r1;"), FaultKind::DivisionByZero);
    assert_eq!(fault(1, "trap; mov.u32 %r0, 0;"), FaultKind::Trap);
    let body = "setp.lt.u32 %p1, %t, 3; @%p1 bra.uni END; END: mov.u32 %r0, 0;";
    assert!(matches!(fault(8, body), FaultKind::NotUniform { .. }));
    let text = format!("{}.visible .entry k() {{ L: bra L; }}\n", head("sm_75"));
    let mut endless = module(&text).with_options(Options { limit: 5000, ..Options::default() });
    let mut device = Device::default();
    let fault = device.run(&endless, [1; 3], [1; 3]).expect_err("it never ends");
    assert_eq!(fault.kind, FaultKind::Limit { limit: 5000 });
    endless.options_mut().limit = 10;
    let fault = device.run(&endless, [1; 3], [2048, 1, 1]).expect_err("too many threads");
    assert!(matches!(fault.kind, FaultKind::Launch { .. }));
    device.output(4);
    let fault = device.run(&endless, [1; 3], [1; 3]).expect_err("parameters that are not declared");
    assert!(matches!(fault.kind, FaultKind::Launch { .. }));
}

#[test]
fn what_cannot_be_run_is_refused_with_its_line() {
    let cases = [
        ("frobnicate.u32 %r0, 1;", "instruction \"frobnicate.u32\" is not supported"),
        ("add.u32 %r0, %r9, 1;", "unknown name \"%r9\""),
        ("add.u64 %r0, %r0, 1;", "the destination has 32 bits, expected 64"),
        ("add.odd.u32 %r0, %r0, 1;", "\".odd\" of \"add\" is not supported"),
        ("bra NOWHERE;", "no label \"NOWHERE\""),
        ("add.u32 %r0, %r0;", "\"add.u32\" lacks operands"),
        ("@%q bra L;", "\"%q\" is no predicate"),
    ];
    for (line, message) in cases {
        let text = format!("{}.visible .entry k() {{\n.reg .u32 %r<2>;\nL:\n{line}\n}}", head("sm_75"));
        let error = Module::parse(&text).expect_err(line);
        assert_eq!(error.to_string(), format!("line 7: {message}"));
    }
}
