//! Words in shared memory: how groups of four get there, and products of floats by plain FMA.

use super::super::kernel::Emitter;
use super::super::ptx::{At, Kind, Reg};
use super::form::{Order, SIDE, swizzle_of, word};
use super::{Thread, list, registers};

/// Stores a group in the rows by steps of k.
pub(super) fn store(e: &mut Emitter<'_>, order: Order, to: Reg, pitch: i32, x: &[Reg]) {
    match order {
        Order::Across => e.t.put("st.shared.v4.b32", &[&At(to, 0), &list(x)]),
        Order::Depth => {
            for (k, x) in (0..SIDE).zip(x) {
                e.t.put("st.shared.b32", &[&At(to, 4 * pitch * k), x]);
            }
        }
    }
}

/// Adds the products of what is in the buffer at `stage`.
pub(super) fn multiply(e: &mut Emitter<'_>, t: &Thread, stage: Reg) {
    let (form, place) = (&t.form, &t.place);
    let at = |e: &mut Emitter<'_>, from: &[Reg]| -> Vec<Reg> {
        from.iter().map(|x| word(e, "add.u32", *x, &stage)).collect()
    };
    let (left, right) = (at(e, &place.left), at(e, &place.right));
    let read = |e: &mut Emitter<'_>, from: &[Reg], extent: i32, k: i32| -> Vec<Reg> {
        let from = from[swizzle_of(k) as usize];
        let fours = (0..extent / 64).map(|i| {
            let x = registers(e, Kind::Single, SIDE);
            e.t.put("ld.shared.v4.f32", &[&list(&x), &At(from, 4 * (form.pitch(extent) * k + 64 * i))]);
            x
        });
        fours.flatten().collect()
    };
    for k in 0..form.depth {
        let (a, b) = (read(e, &left, form.rows, k), read(e, &right, form.columns, k));
        for (i, x) in a.iter().enumerate() {
            for (j, y) in b.iter().enumerate() {
                let s = t.sums.products[i * b.len() + j];
                e.t.put("fma.rn.f32", &[&s, x, y, &s]);
            }
        }
    }
}
