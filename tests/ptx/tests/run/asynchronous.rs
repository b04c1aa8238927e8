//! Mbarriers, bulk copies, products of warpgroups: what they do, and what is reported where a wait, a fence
//! or an arrival is missing.

use crate::harness::{Device, head, module, numbers, per_thread};
use nnc_ptx::{Fault, FaultKind, Options, Swizzle, TensorMap};

fn run(threads: u32, body: &str) -> Result<Vec<u32>, Fault> {
    per_thread("sm_90a", threads, body)
}

fn fault(threads: u32, body: &str) -> FaultKind {
    run(threads, body).expect_err(body).kind
}

const INIT: &str = "setp.ne.u32 %p1, %t, 0; @%p1 bra MADE; mbarrier.init.shared::cta.b64 [smem], 32;
    fence.mbarrier_init.release.cluster; MADE: bar.sync 0;";

#[test]
fn phases_end_with_the_last_arrival() {
    let ask = |parity: u32, bit: u32| {
        format!(
            "mbarrier.test_wait.parity.shared::cta.b64 %p1, [smem], {parity};
            @%p1 or.b32 %r0, %r0, {bit};"
        )
    };
    let body = format!(
        "mbarrier.init.shared::cta.b64 [smem], 2; mov.u32 %r0, 0; {} {} \
         mbarrier.arrive.shared::cta.b64 %rd1, [smem]; {} mbarrier.arrive.shared::cta.b64 _, [smem]; {} {} \
         mbarrier.test_wait.shared::cta.b64 %p2, [smem], %rd1; @%p2 or.b32 %r0, %r0, 32;",
        ask(1, 1),
        ask(0, 2),
        ask(0, 4),
        ask(0, 8),
        ask(1, 16)
    );
    // The phase before the first is over, the first only after both arrivals.
    assert_eq!(run(1, &body), Ok(vec![1 | 8 | 32]));
    let twice = "mbarrier.init.shared::cta.b64 [smem], 1; mbarrier.arrive.shared::cta.b64 _, [smem], 2;";
    assert!(matches!(fault(1, &format!("{twice} mov.u32 %r0, 0;")), FaultKind::Barrier { .. }));
    let plain = "mbarrier.init.shared::cta.b64 [smem], 1; ld.shared.u32 %r0, [smem];";
    assert!(matches!(fault(1, plain), FaultKind::Barrier { .. }));
    let expects = "mbarrier.init.shared::cta.b64 [smem], 1; mov.u32 %r0, 0;
        mbarrier.arrive.expect_tx.shared::cta.b64 _, [smem], 16;";
    assert_eq!(run(1, &format!("{expects} {}", ask(0, 1))), Ok(vec![0]), "bytes are still to come");
}

#[test]
fn who_waits_comes_after_who_arrived() {
    let produce = "mov.u32 %r1, smem; setp.ge.u32 %p2, %t, 32; @%p2 bra WAIT; mad.lo.u32 %r2, %t, 4, %r1;
        st.shared.u32 [%r2+64], %t;";
    let arrive = "mbarrier.arrive.shared::cta.b64 _, [smem];";
    let leave = "mov.u32 %r0, 7; bra END; WAIT:";
    let wait = "mbarrier.try_wait.parity.shared::cta.b64 %p3, [smem], 0; @!%p3 bra WAIT;";
    let consume = "xor.b32 %r3, %t, 33; mad.lo.u32 %r3, %r3, 4, %r1; ld.shared.u32 %r0, [%r3+64]; END:";
    let expected: Vec<u32> = (0..64).map(|t| if t < 32 { 7 } else { t ^ 33 }).collect();
    assert_eq!(run(64, &format!("{INIT} {produce} {arrive} {leave} {wait} {consume}")), Ok(expected));
    let kind = fault(64, &format!("{INIT} {produce} {arrive} {leave} {consume}"));
    assert!(matches!(kind, FaultKind::Race { .. } | FaultKind::UninitializedMemory { .. }), "{kind}");
    let late = format!("{INIT} {arrive} {produce} {leave} {wait} {consume}");
    let kind = fault(64, &late.replace("[smem], 32;", "[smem], 64;"));
    assert!(matches!(kind, FaultKind::Race { .. } | FaultKind::UninitializedMemory { .. }), "{kind}");
}

const COPY: &str = "mbarrier.arrive.expect_tx.shared::cta.b64 _, [smem], 64; mov.u32 %r1, smem;
    cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r1+64], [%out], 64, [smem];";
const WAIT: &str = "AGAIN: mbarrier.try_wait.parity.shared::cta.b64 %p3, [smem], 0; @!%p3 bra AGAIN;";

#[test]
fn bulk_copies_land_when_their_mbarrier_says_so() {
    let source = "st.global.v4.u32 [%out], {5, 6, 7, 8}; st.global.v4.u32 [%out+16], {5, 6, 7, 9};
        st.global.v4.u32 [%out+32], {5, 6, 7, 10}; st.global.v4.u32 [%out+48], {5, 6, 7, 11};";
    let init = "mbarrier.init.shared::cta.b64 [smem], 1;";
    let fence = "fence.mbarrier_init.release.cluster;";
    let read = "ld.shared.u32 %r0, [smem+124]; st.global.u32 [%out+64], 0;";
    let one = |body: String| {
        // One thread writes sixteen words more than are its own.
        let text = format!(
            "{}.visible .entry k(.param .u64 out) {{ .reg .pred %p<8>; .reg .b32 %r<8>; .reg .b64 %out;\n\
             .shared .align 128 .b8 smem[256]; ld.param.u64 %out, [out];\n{body}\nst.global.u32 [%out+68], %r0;\n}}\n",
            head("sm_90a")
        );
        let mut device = Device::default();
        device.output(72);
        let module = module(&text).with_options(Options { limit: 10_000, ..Options::default() });
        device.run(&module, [1; 3], [1; 3]).map(|()| device.u32s(0)[17]).map_err(|f| f.kind)
    };
    assert_eq!(one(format!("{source} {init} {fence} {COPY} {WAIT} {read}")), Ok(11));
    let kind = one(format!("{source} {init} {COPY} {WAIT} {read}"));
    assert!(matches!(kind, Err(FaultKind::Unfenced { .. })), "{kind:?}");
    let kind = one(format!("{source} {init} {fence} {COPY} {read}"));
    assert_eq!(kind, Err(FaultKind::InFlight { address: 124 }));
    let kind = one(format!("{source} {init} {fence} {COPY} mov.u32 %r0, 0; st.global.u32 [%out+64], 0;"));
    assert!(matches!(kind, Err(FaultKind::Unfinished { .. })), "{kind:?}");
    let short = COPY.replace("[smem], 64; mov", "[smem], 80; mov");
    let kind = one(format!("{source} {init} {fence} {short} {WAIT} {read}"));
    assert_eq!(kind, Err(FaultKind::Limit { limit: 10_000 }), "sixteen bytes never come");
    // A thread's own writes to where the copy goes need a fence of the proxy.
    let touched = format!("{source} {init} {fence} st.shared.u32 [smem+64], 0;");
    let kind = one(format!("{touched} {COPY} {WAIT} {read}"));
    assert!(matches!(kind, Err(FaultKind::Unfenced { .. })), "{kind:?}");
    assert_eq!(one(format!("{touched} fence.proxy.async; {COPY} {WAIT} {read}")), Ok(11));
}

#[test]
fn bulk_stores_need_a_fence_before_and_a_wait_behind() {
    let store = "cp.async.bulk.global.shared::cta.bulk_group [%out], [smem], 16;";
    let write = "st.shared.v4.u32 [smem], {1, 2, 3, 4};";
    let wait = "cp.async.bulk.commit_group; cp.async.bulk.wait_group.read 0;";
    let rest = "setp.eq.u32 %p1, %t, %t;";
    let one = |body: String| {
        let text = format!(
            "{}.visible .entry k(.param .u64 out) {{ .reg .pred %p<2>; .reg .b32 %t; .reg .b64 %out;\n\
             .shared .align 128 .b8 smem[64]; ld.param.u64 %out, [out]; mov.u32 %t, 0;\n{body}\n}}\n",
            head("sm_90a")
        );
        let mut device = Device::default();
        device.output(16);
        device.run(&module(&text), [1; 3], [1; 3]).map(|()| device.u32s(0)).map_err(|f| f.kind)
    };
    assert_eq!(one(format!("{write} fence.proxy.async; {store} {wait} {rest}")), Ok(vec![1, 2, 3, 4]));
    let kind = one(format!("{write} {store} {wait} {rest}"));
    assert!(matches!(kind, Err(FaultKind::Unfenced { .. })), "{kind:?}");
    let kind = one(format!("{write} fence.proxy.async; {store} {rest}"));
    assert!(matches!(kind, Err(FaultKind::Unfinished { .. })), "{kind:?}");
    let kind = one(format!("{write} fence.proxy.async; {store} cp.async.bulk.commit_group; {write} {wait}"));
    assert!(matches!(kind, Err(FaultKind::Race { .. })), "the store still reads: {kind:?}");
}

/// A box of a tensor of 7 lines of 40 halves, at coordinates that reach beyond its end.
fn box_of(swizzle: Swizzle, boxes: [u32; 2], at: [i32; 2]) -> Vec<u16> {
    let mut device = Device::default();
    let x: Vec<u8> = (0..7 * 40u16).flat_map(|i| (i + 1).to_le_bytes()).collect();
    let address = device.memory.alloc(x.len());
    device.memory.write(address, &x).expect("in bounds");
    let (sizes, strides) = (vec![40, 7], vec![80]);
    let map = TensorMap { address, element_bytes: 2, sizes, strides, boxes: boxes.to_vec(), swizzle };
    let bytes = 2 * boxes[0] * boxes[1];
    device.output(bytes as usize);
    let text = format!(
        "{}.visible .entry k(.param .u64 out, .param .align 64 .b8 map[128]) {{ .reg .pred %p<2>;\n\
         .reg .b32 %r<8>; .reg .b64 %rd<8>; .shared .align 1024 .b8 smem[4096]; .shared .align 8 .b64 full;\n\
         mov.b64 %rd1, map; cvta.param.u64 %rd1, %rd1; ld.param.u64 %rd2, [out];\n\
         mbarrier.init.shared::cta.b64 [full], 1; fence.mbarrier_init.release.cluster;\n\
         mbarrier.arrive.expect_tx.shared::cta.b64 _, [full], {bytes};\n\
         mov.u32 %r1, {}; mov.u32 %r2, {};\n\
         cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [smem],\n\
         [%rd1, {{%r1, %r2}}], [full];\n\
         L: mbarrier.try_wait.parity.shared::cta.b64 %p1, [full], 0; @!%p1 bra L;\n\
         mov.u32 %r3, 0; mov.u32 %r5, smem;\n\
         M: add.u32 %r6, %r5, %r3; ld.shared.u32 %r4, [%r6]; cvt.u64.u32 %rd3, %r3; add.u64 %rd3, %rd2, %rd3;\n\
         st.global.u32 [%rd3], %r4; add.u32 %r3, %r3, 4; setp.lt.u32 %p1, %r3, {bytes}; @%p1 bra M;\n}}\n",
        head("sm_90a"),
        at[0],
        at[1]
    );
    device.params.resize(64, 0);
    device.params.extend(map.encode().expect("a map that the driver takes"));
    device.run(&module(&text), [1; 3], [1; 3]).unwrap_or_else(|fault| panic!("{fault}\n{text}"));
    device.bytes(0).chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect()
}

#[test]
fn boxes_are_zero_beyond_the_tensor_and_swizzled_by_lines() {
    let value = |x: i32, y: i32| {
        let inside = (0..40).contains(&x) && (0..7).contains(&y);
        if inside { (y * 40 + x + 1) as u16 } else { 0 }
    };
    let found = box_of(Swizzle::None, [16, 4], [32, 5]);
    let expected: Vec<u16> = (0..4).flat_map(|y| (0..16).map(move |x| value(32 + x, 5 + y))).collect();
    assert_eq!(found, expected);
    let found = box_of(Swizzle::Bytes128, [64, 8], [-8, -1]);
    for line in 0..8 {
        for x in 0..64 {
            let (chunk, within) = (x / 8, x % 8);
            let at = line * 64 + (chunk ^ line) * 8 + within;
            assert_eq!(found[at], value(x as i32 - 8, line as i32 - 1), "line {line}, element {x}");
        }
    }
}

/// A 64 by 8 product of f16, operands written by threads: rows of A in registers, or by descriptors.
fn product(left: &str, transposed: bool, missing: &str) -> Result<(Vec<f32>, Vec<f32>), FaultKind> {
    let (a, b) = (numbers(64 * 16, 4), numbers(8 * 16, 5));
    let halves =
        |x: &[f32]| -> Vec<u8> { x.iter().flat_map(|x| half::f16::from_f32(*x).to_le_bytes()).collect() };
    // Core matrices of eight lines of sixteen bytes: of A those along k 128 bytes apart, along m 256; of B
    // at 2048 the same, or transposed, with lines along k.
    let mut image = vec![0.0; (2048 + 256) / 2];
    for (i, x) in a.iter().enumerate() {
        let (m, k) = (i / 16, i % 16);
        image[(m / 8 * 256 + k / 8 * 128 + m % 8 * 16) / 2 + k % 8] = *x;
    }
    for (i, x) in b.iter().enumerate() {
        let (n, k) = (i / 16, i % 16);
        let (line, along) = if transposed { (k % 8, n) } else { (n, k % 8) };
        image[(2048 + k / 8 * 128 + line * 16) / 2 + along] = *x;
    }
    let mut device = Device::default();
    device.input(&halves(&image));
    device.input(&halves(&a));
    device.output(4 * 64 * 8);
    let text = format!(
        "{}.visible .entry k(.param .u64 image, .param .u64 a, .param .u64 out) {{ .reg .pred %p<2>;\n\
         .reg .b32 %r<16>; .reg .f32 %f<4>; .reg .b64 %rd<12>; .shared .align 128 .b8 smem[2304];\n\
         mov.u32 %r1, %tid.x; ld.param.u64 %rd1, [image]; mad.wide.u32 %rd1, %r1, 16, %rd1;\n\
         mov.u32 %r2, smem; mad.lo.u32 %r2, %r1, 16, %r2;\n\
         ld.global.v4.b32 {{%r3, %r4, %r5, %r6}}, [%rd1]; st.shared.v4.b32 [%r2], {{%r3, %r4, %r5, %r6}};\n\
         setp.lt.u32 %p0, %r1, 16; @%p0 ld.global.v4.b32 {{%r3, %r4, %r5, %r6}}, [%rd1+2048];\n\
         @%p0 st.shared.v4.b32 [%r2+2048], {{%r3, %r4, %r5, %r6}};\n\
         fence.proxy.async;\nbar.sync 0;\n\
         // Rows of A of this warp: g and g + 8, columns 2 t and 2 t + 8.\n\
         ld.param.u64 %rd2, [a]; shr.u32 %r7, %r1, 5; and.b32 %r8, %r1, 31; shr.u32 %r9, %r8, 2;\n\
         mad.lo.u32 %r9, %r7, 16, %r9; and.b32 %r10, %r8, 3; mad.lo.u32 %r11, %r9, 8, %r10;\n\
         mad.wide.u32 %rd2, %r11, 4, %rd2; ld.global.b32 %r12, [%rd2]; ld.global.b32 %r13, [%rd2+256];\n\
         ld.global.b32 %r14, [%rd2+16]; ld.global.b32 %r15, [%rd2+272];\n\
         mov.u32 %r2, smem; and.b32 %r2, %r2, 0x3ffff; shr.u32 %r2, %r2, 4; cvt.u64.u32 %rd3, %r2;\n\
         or.b64 %rd3, %rd3, 0x1000080000; add.u64 %rd4, %rd3, 128; setp.ne.u32 %p1, %r1, %r1;\n\
         wgmma.fence.sync.aligned;\n\
         wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {{%f0, %f1, %f2, %f3}}, {left};\n\
         wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;\n\
         ld.param.u64 %rd5, [out]; mad.lo.u32 %r9, %r9, 4, %r10; mad.wide.u32 %rd5, %r9, 8, %rd5;\n\
         st.global.v2.f32 [%rd5], {{%f0, %f1}}; st.global.v2.f32 [%rd5+256], {{%f2, %f3}};\n}}\n",
        head("sm_90a")
    );
    let text = text.replace(missing, "");
    device.run(&module(&text), [1; 3], [128, 1, 1]).map_err(|f| f.kind)?;
    let dot = |i: usize| (0..16).map(|k| a[i / 8 * 16 + k] * b[i % 8 * 16 + k]).sum::<f32>();
    Ok((device.f32s(2), (0..64 * 8).map(dot).collect()))
}

#[test]
fn products_of_warpgroups_take_operands_as_descriptors_say() {
    let registers = "{%r12, %r13, %r14, %r15}, %rd4, %p1, 1, 1, 0";
    let forms = [
        ("%rd3, %rd4, %p1, 1, 1, 0, 0", false, 1.0),
        (registers, false, 1.0),
        ("%rd3, %rd4, %p1, 1, 1, 0, 1", true, 1.0),
        ("%rd3, %rd4, %p1, 1, -1, 0, 0", false, -1.0),
    ];
    for (left, transposed, sign) in forms {
        let (found, expected) = product(left, transposed, "\u{0}").unwrap_or_else(|e| panic!("{left}: {e}"));
        let expected: Vec<f32> = expected.iter().map(|x| sign * x).collect();
        assert_eq!(found, expected, "{left}");
    }
}

#[test]
fn products_of_warpgroups_need_their_fences_and_waits() {
    let form = "%rd3, %rd4, %p1, 1, 1, 0, 0";
    let kind = |missing: &str| product(form, false, missing).expect_err(missing);
    let found = kind("fence.proxy.async;\n");
    assert!(matches!(found, FaultKind::Unfenced { .. }), "{found}");
    let found = kind("bar.sync 0;\n");
    assert!(matches!(found, FaultKind::Race { .. } | FaultKind::UninitializedMemory { .. }), "{found}");
    let found = kind("wgmma.fence.sync.aligned;\n");
    assert!(matches!(found, FaultKind::RegisterUnfenced { .. }), "{found}");
    let found = kind("wgmma.commit_group.sync.aligned;\n");
    assert!(matches!(found, FaultKind::RegisterInFlight { .. }), "{found}");
    let found = kind("wgmma.wait_group.sync.aligned 0;\n");
    assert!(matches!(found, FaultKind::RegisterInFlight { .. }), "{found}");
}
