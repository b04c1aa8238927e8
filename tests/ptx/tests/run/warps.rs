//! Shuffles, votes, reductions, divergence, barriers, calls: what threads do with each other.

use crate::harness::per_thread;

fn expect(threads: u32, body: &str, value: impl Fn(u32) -> u32) {
    let found = per_thread("sm_80", threads, body).unwrap_or_else(|fault| panic!("{fault}\n{body}"));
    let expected: Vec<u32> = (0..threads).map(value).collect();
    assert_eq!(found, expected, "{body}");
}

#[test]
fn shuffles_follow_the_manual_in_all_modes() {
    expect(32, "shfl.sync.up.b32 %r0, %t, 1, 0, -1;", |t| t.saturating_sub(1));
    expect(32, "shfl.sync.down.b32 %r0, %t, 2, 31, -1;", |t| if t < 30 { t + 2 } else { t });
    expect(32, "shfl.sync.bfly.b32 %r0, %t, 5, 31, -1;", |t| t ^ 5);
    expect(32, "shfl.sync.idx.b32 %r0, %t, 7, 31, -1;", |_| 7);
    // Segments of eight lanes: c = (32 - 8) << 8 with the bound below.
    expect(32, "shfl.sync.idx.b32 %r0, %t, 3, 0x181f, -1;", |t| t / 8 * 8 + 3);
    expect(32, "shfl.sync.down.b32 %r0, %t, 1, 0x181f, -1;", |t| if t % 8 < 7 { t + 1 } else { t });
    expect(32, "shfl.sync.up.b32 %r1|%p1, %t, 4, 0, -1; selp.b32 %r0, 1, 0, %p1;", |t| u32::from(t >= 4));
}

#[test]
fn votes_matches_and_reductions_see_their_members() {
    expect(32, "setp.lt.u32 %p1, %t, 5; vote.sync.ballot.b32 %r0, %p1, -1;", |_| 31);
    expect(32, "setp.lt.u32 %p1, %t, 5; vote.sync.any.pred %p2, %p1, -1; selp.b32 %r0, 1, 0, %p2;", |_| 1);
    expect(32, "setp.lt.u32 %p1, %t, 5; vote.sync.all.pred %p2, !%p1, -1; selp.b32 %r0, 1, 0, %p2;", |_| 0);
    expect(32, "setp.lt.u32 %p1, %t, 40; vote.sync.uni.pred %p2, %p1, -1; selp.b32 %r0, 1, 0, %p2;", |_| 1);
    expect(32, "and.b32 %r1, %t, 3; match.any.sync.b32 %r0, %r1, -1;", |t| 0x1111_1111 << (t & 3));
    expect(32, "match.all.sync.b32 %r0|%p1, 7, -1;", |_| u32::MAX);
    expect(32, "redux.sync.add.s32 %r0, %t, -1;", |_| 496);
    expect(32, "neg.s32 %r1, %t; redux.sync.min.s32 %r0, %r1, -1;", |_| -31i32 as u32);
    expect(32, "redux.sync.or.b32 %r0, %t, -1;", |_| 31);
    expect(32, "activemask.b32 %r0;", |_| u32::MAX);
    expect(20, "setp.eq.u32 %p1, %t, %t; vote.sync.ballot.b32 %r0, %p1, -1;", |_| (1 << 20) - 1);
}

#[test]
fn lanes_part_and_meet_again() {
    // The collatz lengths diverge per lane; the shuffle needs all lanes back.
    let body = "add.u32 %r1, %t, 1; mov.u32 %r2, 0;
        LOOP: setp.eq.u32 %p1, %r1, 1; @%p1 bra DONE;
        and.b32 %r3, %r1, 1; setp.eq.u32 %p2, %r3, 0; @%p2 bra EVEN;
        mad.lo.u32 %r1, %r1, 3, 1; bra NEXT;
        EVEN: shr.u32 %r1, %r1, 1;
        NEXT: add.u32 %r2, %r2, 1; bra LOOP;
        DONE: shfl.sync.bfly.b32 %r0, %r2, 1, 31, -1;";
    let length = |mut n: u32| {
        let mut steps = 0;
        while n != 1 {
            n = if n.is_multiple_of(2) { n / 2 } else { 3 * n + 1 };
            steps += 1;
        }
        steps
    };
    expect(32, body, |t| length((t ^ 1) + 1));
}

#[test]
fn a_lane_that_spins_lets_the_others_go_on() {
    let body =
        "mov.u32 %r2, smem; setp.eq.u32 %p1, %t, 31; setp.eq.u32 %p2, %t, 0; @%p2 st.shared.u32 [%r2], 0;
        bar.warp.sync -1; @%p1 bra SET;
        SPIN: atom.shared.add.u32 %r1, [%r2], 0; setp.eq.u32 %p3, %r1, 0; @%p3 bra SPIN;
        bra DONE;
        SET: atom.shared.exch.b32 %r1, [%r2], 9; mov.u32 %r1, 9;
        DONE: mov.u32 %r0, %r1;";
    expect(32, body, |_| 9);
}

#[test]
fn branches_by_table_and_calls_of_functions_return() {
    let body = "T: .branchtargets A, B, C; rem.u32 %r1, %t, 3; brx.idx %r1, T;
        A: mov.u32 %r0, 10; bra END; B: mov.u32 %r0, 20; bra END; C: mov.u32 %r0, 30; END:";
    expect(32, body, |t| [10, 20, 30][t as usize % 3]);
}

#[test]
fn barriers_order_shared_memory() {
    let reverse = |barrier: &str| {
        format!(
            "mov.u32 %r2, smem; shl.b32 %r3, %t, 2; add.u32 %r4, %r2, %r3; st.shared.u32 [%r4], %t; {barrier}
             xor.b32 %r5, %r3, 0x1fc; add.u32 %r5, %r2, %r5; ld.shared.u32 %r0, [%r5];"
        )
    };
    for barrier in ["bar.sync 0;", "barrier.cta.sync.aligned 3, 128;", "bar.red.popc.u32 %r6, 1, %p1;"] {
        let body = format!("setp.lt.u32 %p1, %t, 9; {}", reverse(barrier));
        expect(128, &body, |t| t ^ 127);
    }
    assert!(per_thread("sm_80", 128, &reverse("")).is_err());
}

#[test]
fn reductions_at_barriers_reach_all() {
    let body = "setp.lt.u32 %p1, %t, 9; bar.red.popc.u32 %r0, 0, %p1;";
    expect(128, body, |_| 9);
    let body = "setp.lt.u32 %p1, %t, 9; bar.red.and.pred %p2, 0, %p1; bar.red.or.pred %p3, 0, %p1;
        selp.b32 %r1, 2, 0, %p3; selp.b32 %r2, 1, 0, %p2; or.b32 %r0, %r1, %r2;";
    expect(64, body, |_| 2);
}

#[test]
fn producers_arrive_and_consumers_wait() {
    let body = "mov.u32 %r2, smem; setp.lt.u32 %p1, %t, 32; and.b32 %r1, %t, 31; shl.b32 %r1, %r1, 2;
        add.u32 %r3, %r2, %r1; mov.u32 %r0, 0; @%p1 bra PRODUCE;
        bar.sync 1, 64; ld.shared.u32 %r0, [%r3]; bra END;
        PRODUCE: mul.lo.u32 %r4, %t, 3; st.shared.u32 [%r3], %r4; bar.arrive 1, 64;
        END:";
    expect(64, body, |t| if t < 32 { 0 } else { (t - 32) * 3 });
    let missing = body.replace("bar.arrive 1, 64;", "").replace("bar.sync 1, 64;", "");
    assert!(per_thread("sm_80", 64, &missing).is_err());
}
