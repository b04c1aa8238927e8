//! `cvt` in all directions, comparisons and selections.

use crate::harness::{check, per_thread};

const fn f(x: f32) -> u64 {
    x.to_bits() as u64
}

const M1: u64 = 0xffff_ffff;
const NAN: u64 = 0x7fc0_0000;

#[test]
fn integers_are_cut_extended_and_saturated() {
    check(
        "sm_75",
        &[
            ("cvt.s32.s8", 32, &[(32, 0x1ff)], M1),
            ("cvt.u32.u8", 32, &[(32, 0x1ff)], 0xff),
            ("cvt.s64.s32", 64, &[(32, M1)], u64::MAX),
            ("cvt.u64.u32", 64, &[(32, M1)], M1),
            ("cvt.u16.u32", 16, &[(32, 0x1_2345)], 0x2345),
            ("cvt.sat.s8.s32", 32, &[(32, 300)], 127),
            ("cvt.sat.s8.s32", 32, &[(32, -300i32 as u32 as u64)], 0xffff_ff80),
            ("cvt.sat.u8.s32", 32, &[(32, M1)], 0),
            ("cvt.sat.u32.s64", 32, &[(64, u64::MAX)], 0),
            ("cvt.s8.s32", 32, &[(32, 0x80)], 0xffff_ff80),
        ],
    );
}

#[test]
fn floats_become_integers_and_back() {
    check(
        "sm_75",
        &[
            ("cvt.rzi.s32.f32", 32, &[(32, f(-2.7))], -2i32 as u32 as u64),
            ("cvt.rni.s32.f32", 32, &[(32, f(2.5))], 2),
            ("cvt.rmi.s32.f32", 32, &[(32, f(-2.1))], -3i32 as u32 as u64),
            ("cvt.rpi.s32.f32", 32, &[(32, f(2.1))], 3),
            ("cvt.rzi.u32.f32", 32, &[(32, f(-1.0))], 0),
            ("cvt.rzi.s32.f32", 32, &[(32, f(1e20))], 0x7fff_ffff),
            ("cvt.rzi.s32.f32", 32, &[(32, NAN)], 0),
            ("cvt.rzi.s64.f32", 64, &[(32, NAN)], 1 << 63),
            ("cvt.rni.s8.f32", 32, &[(32, f(200.0))], 127),
            ("cvt.rni.u8.f32", 32, &[(32, f(300.0))], 255),
            ("cvt.rzi.s64.f64", 64, &[(64, 1e300f64.to_bits())], i64::MAX as u64),
            ("cvt.rn.f32.s32", 32, &[(32, 0x0100_0001)], f(16_777_216.0)),
            ("cvt.rp.f32.s32", 32, &[(32, 0x0100_0001)], f(16_777_218.0)),
            ("cvt.rn.f32.u64", 32, &[(64, u64::MAX)], f(1.844_674_4e19)),
            ("cvt.rn.f32.u8", 32, &[(16, 0x1ff)], f(255.0)),
            ("cvt.rn.f64.s64", 64, &[(64, u64::MAX)], (-1f64).to_bits()),
            ("cvt.rn.f16.s32", 16, &[(32, 2049)], 0x6800),
            ("cvt.rni.f32.f32", 32, &[(32, f(2.5))], f(2.0)),
            ("cvt.rmi.f32.f32", 32, &[(32, f(-2.5))], f(-3.0)),
            ("cvt.rzi.f32.f32", 32, &[(32, f(-0.5))], 0x8000_0000),
            ("cvt.rpi.f64.f64", 64, &[(64, 1.5f64.to_bits())], 2f64.to_bits()),
            ("cvt.sat.f32.f32", 32, &[(32, f(1.5))], f(1.0)),
        ],
    );
}

#[test]
fn formats_convert_with_one_rounding() {
    check(
        "sm_90",
        &[
            ("cvt.f64.f32", 64, &[(32, f(1.5))], 1.5f64.to_bits()),
            ("cvt.rn.f32.f64", 32, &[(64, (1.0 + 1e-9f64).to_bits())], f(1.0)),
            ("cvt.rp.f32.f64", 32, &[(64, (1.0 + 1e-9f64).to_bits())], f(1.0) + 1),
            ("cvt.rn.f16.f32", 16, &[(32, f(65520.0))], 0x7c00),
            ("cvt.rz.f16.f32", 16, &[(32, f(65520.0))], 0x7bff),
            ("cvt.rn.f16.f32", 16, &[(32, f(5.960_464_5e-8))], 1),
            ("cvt.f32.f16", 32, &[(16, 1)], f(5.960_464_5e-8)),
            ("cvt.ftz.f32.f16", 32, &[(16, 1)], f(5.960_464_5e-8)),
            ("cvt.rn.bf16.f32", 16, &[(32, 0x3f80_8000)], 0x3f80),
            ("cvt.rn.bf16.f32", 16, &[(32, 0x3f81_8000)], 0x3f82),
            ("cvt.f32.bf16", 32, &[(16, 0x3f81)], 0x3f81_0000),
            ("cvt.rn.relu.bf16.f32", 16, &[(32, f(-1.0))], 0),
            ("cvt.rn.f16x2.f32", 32, &[(32, f(1.0)), (32, f(2.0))], 0x3c00_4000),
            ("cvt.rn.bf16x2.f32", 32, &[(32, f(1.0)), (32, f(2.0))], 0x3f80_4000),
            ("cvt.rn.relu.f16x2.f32", 32, &[(32, f(-1.0)), (32, f(2.0))], 0x4000),
            ("cvt.rna.tf32.f32", 32, &[(32, 0x3f80_1000)], 0x3f80_2000),
            ("cvt.rn.tf32.f32", 32, &[(32, 0x3f80_1000)], 0x3f80_0000),
        ],
    );
}

#[test]
fn relations_are_ordered_or_not() {
    let cases = [
        ("setp.lt.s32 %p1, -1, 1;", true),
        ("setp.lo.u32 %p1, -1, 1;", false),
        ("setp.ge.u32 %p1, -1, 1;", true),
        ("setp.eq.f32 %p1, 0f7FC00000, 0f00000000;", false),
        ("setp.neu.f32 %p1, 0f7FC00000, 0f00000000;", true),
        ("setp.ne.f32 %p1, 0f7FC00000, 0f00000000;", false),
        ("setp.ltu.f32 %p1, 0f7FC00000, 0f00000000;", true),
        ("setp.geu.f32 %p1, 0f3F800000, 0f00000000;", true),
        ("setp.num.f32 %p1, 0f3F800000, 0f00000000;", true),
        ("setp.nan.f32 %p1, 0f3F800000, 0f7FC00000;", true),
        ("setp.gt.ftz.f32 %p1, 0f00000001, 0f00000000;", false),
        ("setp.gt.f32 %p1, 0f00000001, 0f00000000;", true),
        ("setp.eq.f32 %p1, 0f80000000, 0f00000000;", true),
        ("setp.lt.f64 %p1, 0d3FF0000000000000, 0d4000000000000000;", true),
        ("mov.b16 %h0, 0x3c00; mov.b16 %h1, 0x4000; setp.lt.f16 %p1, %h0, %h1;", true),
        ("setp.eq.s32 %p2, 1, 1; setp.lt.and.s32 %p1, 1, 2, !%p2;", false),
        ("setp.eq.s32 %p2|%p1, 1, 1;", false),
        ("setp.eq.s32 %p2, 1, 1; setp.ne.or.s32 %p3|%p1, 5, 6, %p2;", true),
        ("setp.eq.s32 %p2, 1, 1; not.pred %p3, %p2; xor.pred %p1, %p2, %p3;", true),
        ("mov.pred %p1, 0;", false),
        ("mov.f32 %f0, 0f7F800000; testp.infinite.f32 %p1, %f0;", true),
    ];
    for (body, expected) in cases {
        let body = format!("{body} selp.b32 %r0, 1, 0, %p1;");
        assert_eq!(per_thread("sm_75", 1, &body), Ok(vec![u32::from(expected)]), "{body}");
    }
}

#[test]
fn sets_give_ones_or_numbers() {
    let cases = [
        ("set.lt.u32.s32 %r0, -1, 1;", u32::MAX),
        ("set.lt.f32.f32 %r0, %f0, 0f3F800000;", 1f32.to_bits()),
        ("set.gt.f32.s32 %r0, 1, 2;", 0),
    ];
    for (body, expected) in cases {
        let body = format!("mov.f32 %f0, 0f00000000; {body}");
        assert_eq!(per_thread("sm_75", 1, &body), Ok(vec![expected]), "{body}");
    }
}
