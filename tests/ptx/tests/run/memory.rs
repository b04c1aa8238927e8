//! Loads, stores, atomic operations and conversions of addresses in all state spaces.

use crate::harness::{Device, head, module, per_thread};

fn expect(threads: u32, body: &str, value: impl Fn(u32) -> u32) {
    let found = per_thread("sm_80", threads, body).unwrap_or_else(|fault| panic!("{fault}\n{body}"));
    assert_eq!(found, (0..threads).map(value).collect::<Vec<_>>(), "{body}");
}

#[test]
fn narrow_loads_extend_and_narrow_stores_cut() {
    let body = "mov.u32 %r1, smem; st.shared.u32 [%r1], 0x12348081;";
    expect(1, &format!("{body} ld.shared.s8 %r0, [%r1];"), |_| 0xffff_ff81);
    expect(1, &format!("{body} ld.shared.u16 %r0, [%r1];"), |_| 0x8081);
    expect(1, &format!("{body} st.shared.u8 [%r1+1], 7; ld.shared.u32 %r0, [smem];"), |_| 0x1234_0781);
    expect(1, &format!("{body} ld.shared.v2.u16 {{%h0, %h1}}, [%r1]; cvt.u32.u16 %r0, %h1;"), |_| 0x1234);
}

#[test]
fn vectors_move_together() {
    let body =
        "mov.u32 %r1, smem; st.shared.v4.b32 [%r1+16], {1, 2, 3, %t}; st.shared.v2.b64 [%r1], {%at, %out};
        ld.shared.v4.b32 {%r2, %r3, _, %r4}, [%r1+16]; add.u32 %r0, %r2, %r3; add.u32 %r0, %r0, %r4;";
    expect(1, body, |t| 3 + t);
    expect(1, "mov.b32 %r1, 0x56781234; mov.b32 {%h0, %h1}, %r1; mov.b32 %r0, {%h1, %h0};", |_| 0x1234_5678);
    expect(1, "mov.b64 %rd1, {1, %t}; mov.b64 {%r0, %r1}, %rd1;", |_| 1);
}

#[test]
fn generic_addresses_reach_every_space() {
    let body =
        "mov.u64 %rd1, smem; cvta.shared.u64 %rd2, %rd1; st.u32 [%rd2+4], 11; ld.shared.u32 %r1, [%rd1+4];
        cvta.to.shared.u64 %rd3, %rd2; ld.shared.u32 %r2, [%rd3+4]; add.u32 %r0, %r1, %r2;";
    expect(1, body, |_| 22);
    let body =
        "{ .local .align 4 .b8 l[16]; mov.u64 %rd1, l; cvta.local.u64 %rd2, %rd1; st.local.u32 [l+8], %t;
        ld.u32 %r0, [%rd2+8]; }";
    expect(40, body, |t| t);
}

#[test]
fn atomic_operations_return_the_old_value() {
    let start = "mov.u32 %r1, smem; setp.eq.u32 %p1, %t, 0; @%p1 st.shared.u32 [%r1], 5; bar.sync 0;";
    let end = "bar.sync 0; ld.shared.u32 %r0, [%r1];";
    for (op, left) in [
        ("red.shared.add.u32 [%r1], %t", 5 + 2016),
        ("red.shared.max.s32 [%r1], %t", 63),
        ("red.shared.min.u32 [%r1], %t", 0),
        ("atom.shared.inc.u32 %r2, [%r1], 9", 9),
        ("atom.shared.and.b32 %r2, [%r1], 4", 4),
        ("atom.shared.or.b32 %r2, [%r1], %t", 63),
        ("atom.shared.cas.b32 %r2, [%r1], 5, 77", 77),
    ] {
        expect(64, &format!("{start} {op}; {end}"), |_| left);
    }
    let body = "mov.u32 %r1, smem; st.shared.f32 [%r1], 0f3F800000; mov.f32 %f1, 0f40000000;
        atom.shared.add.f32 %f2, [%r1], %f1; ld.shared.f32 %f3, [%r1]; mov.b32 %r0, %f3;";
    expect(1, body, |_| 3f32.to_bits());
}

#[test]
fn variables_of_the_module_have_their_values() {
    let text = format!(
        "{}.const .align 4 .u32 table[3] = {{10, 20, 30}};\n.global .u32 counter = 5;\n.global .u64 place = 7;\n\
         .visible .entry k(.param .u32 small, .param .u64 out, .param .align 8 .b8 pair[16]) {{\n\
         .reg .u32 %r<6>; .reg .u64 %rd<4>;\n\
         ld.param.u64 %rd1, [out]; ld.param.u32 %r1, [small]; ld.param.u32 %r2, [pair+12];\n\
         ld.const.u32 %r3, [table+8]; atom.global.add.u32 %r4, [counter], %r1; mov.u64 %rd2, counter;\n\
         cvta.global.u64 %rd3, %rd2; ld.u32 %r5, [%rd3];\n\
         st.global.v4.u32 [%rd1], {{%r2, %r3, %r4, %r5}}; ret; }}\n",
        head("sm_75")
    );
    let mut device = Device::default();
    device.params = 3u64.to_le_bytes().to_vec();
    device.output(16);
    device.params.extend_from_slice(&[0; 12]);
    device.params.extend_from_slice(&42u32.to_le_bytes());
    let module = module(&text);
    device.run(&module, [1; 3], [1; 3]).expect("the kernel runs");
    assert_eq!(device.u32s(0), [42, 30, 5, 8]);
    device.run(&module, [1; 3], [1; 3]).expect("the kernel runs again");
    assert_eq!(device.u32s(0), [42, 30, 8, 11], "a variable keeps its value between launches");
}

#[test]
fn functions_take_arguments_and_give_results() {
    let text = format!(
        "{}.func (.param .b32 result) twice(.param .b32 x, .param .b32 y) {{ .reg .u32 %a, %b;\n\
         ld.param.u32 %a, [x]; ld.param.u32 %b, [y]; mad.lo.u32 %a, %a, 2, %b; st.param.u32 [result], %a; ret; }}\n\
         .func (.reg .u32 %o) inner(.reg .u32 %i) {{ add.u32 %o, %i, 1; ret; }}\n\
         .visible .entry k(.param .u64 out) {{ .reg .u32 %t, %r; .reg .u64 %rd, %at; .reg .pred %p;\n\
         ld.param.u64 %rd, [out]; mov.u32 %t, %tid.x; mad.wide.u32 %at, %t, 4, %rd; mov.u32 %r, 0;\n\
         setp.lt.u32 %p, %t, 3; @%p bra FEW;\n\
         {{ .param .b32 a0; .param .b32 a1; .param .b32 r0; st.param.b32 [a0], %t; st.param.b32 [a1], 5;\n\
         call.uni (r0), twice, (a0, a1); ld.param.b32 %r, [r0]; }}\n\
         FEW: call (%r), inner, (%r);\n st.global.u32 [%at], %r; ret; }}\n",
        head("sm_75")
    );
    let mut device = Device::default();
    device.output(32);
    device.run(&module(&text), [1; 3], [8, 1, 1]).expect("the kernel runs");
    assert_eq!(device.u32s(0), [1, 1, 1, 12, 14, 16, 18, 20]);
}
