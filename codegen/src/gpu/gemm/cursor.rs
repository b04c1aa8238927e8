//! Where a thread is on its way along k: the groups that it brings, the steps, the taps.

use super::super::kernel::{Emitter, Space};
use super::super::ptx::{At, Kind, Reg};
use super::form::{SIDE, Share};
use super::{Product, Thread, list, registers, sum};

/// Four elements of an operand that a thread brings in each step.
pub(super) struct Group {
    /// Row or column of the operand, of the first.
    pub(super) own: Reg,
    /// That row or column exists.
    pub(super) exists: Reg,
    /// Step of k from the first of a tile, of the first.
    pub(super) depth: Reg,
    /// Their address, which moves.
    pub(super) at: Reg,
    /// That is a multiple of 16 bytes; `None` where they are not to be read at once.
    aligned: Option<Reg>,
    /// What was read.
    pub(super) held: Vec<Reg>,
}

impl Group {
    /// The groups of a share of a tile that begins at row or column `first` of `extent`.
    fn all(e: &mut Emitter<'_>, share: &Share, (first, extent): (Reg, Reg), together: bool) -> Vec<Group> {
        let own = sum(e, first, share.own);
        let after = |e: &mut Emitter<'_>, x: Reg, by: i32| match by {
            0 => x,
            by => e.t.op(Kind::Long, "add.s64", &[&x, &by]),
        };
        let group = |i: usize| {
            let own = after(e, own, share.apart.0 * i as i32);
            Group {
                own,
                exists: e.t.compare("lt.s64", own, &extent),
                depth: after(e, share.depth, share.apart.1 * i as i32),
                at: e.t.reg(Kind::Long),
                aligned: together.then(|| e.t.reg(Kind::Pred)),
                held: registers(e, Kind::Word, SIDE),
            }
        };
        (0..share.to.len()).map(group).collect()
    }

    /// Puts the group at an address.
    pub(super) fn start(&self, e: &mut Emitter<'_>, at: Reg) {
        e.t.set(self.at, &at);
        if let Some(aligned) = self.aligned {
            let low = e.t.op(Kind::Long, "and.b64", &[&at, &15]);
            e.t.put("setp.eq.s64", &[&aligned, &low, &0]);
        }
    }
}

/// Reads four neighbors; those that do not exist become zero.
pub(super) fn neighbors(e: &mut Emitter<'_>, space: Space, g: &Group, exist: [Reg; SIDE as usize]) {
    g.held.iter().for_each(|x| e.t.set(*x, &0));
    let (apart, done) = (e.t.label(), e.t.label());
    if let Some(aligned) = g.aligned {
        // The last exists only if all do.
        let whole = e.t.both(aligned, exist[SIDE as usize - 1]);
        e.t.jump_if(whole, false, apart);
        e.t.put(&format!("ld.{}.v4.b32", space.name()), &[&list(&g.held), &At(g.at, 0)]);
        e.t.jump(done);
        e.t.place(apart);
    }
    for (i, (x, ok)) in g.held.iter().zip(exist).enumerate() {
        e.t.put_if(ok, &format!("ld.{}.b32", space.name()), &[x, &At(g.at, 4 * i as i32)]);
    }
    e.t.place(done);
}

/// What the code of a step along k depends on.
pub(super) struct Step {
    /// The first step of the tile in shared memory, within its tap.
    pub(super) first: Reg,
    /// There is one.
    pub(super) more: Reg,
    tap: Reg,
}

impl Step {
    /// True where the group exists, and the `i`-th of its steps of k.
    pub(super) fn inside(&self, e: &mut Emitter<'_>, p: &Product, g: &Group, i: i32) -> Reg {
        if p.even {
            return e.t.both(g.exists, self.more);
        }
        let k = sum(e, self.first, g.depth);
        let k = e.t.op(Kind::Long, "add.s64", &[&k, &i]);
        let some = e.t.compare("lt.s64", k, &p.depth);
        e.t.both(g.exists, some)
    }

    /// The same for each of a group along k.
    pub(super) fn each(&self, e: &mut Emitter<'_>, p: &Product, g: &Group) -> [Reg; SIDE as usize] {
        match p.by_fours {
            true => [self.inside(e, p, g, 0); SIDE as usize],
            false => [0, 1, 2, 3].map(|i| self.inside(e, p, g, i)),
        }
    }
}

/// A thread on its way through the steps of one tile of the result.
pub(super) struct Cursor {
    left: Vec<Group>,
    right: Vec<Group>,
    /// Bytes from one step to the next in the right operand.
    advance: Reg,
    step: Step,
}

impl Cursor {
    /// At the first step of the first tap for the tile at a row and a column.
    pub(super) fn new(e: &mut Emitter<'_>, p: &Product, t: &Thread, (m0, n0): (Reg, Reg)) -> Cursor {
        let left = Group::all(e, &t.left, (m0, p.m), p.left.together());
        let right = Group::all(e, &t.right, (n0, p.n), p.right.together());
        let first = e.t.int(Kind::Long, 0);
        let tap = e.t.int(Kind::Long, 0);
        let more = e.t.compare("ge.s64", p.depth, &1);
        let advance = p.right.advance(e, t.form.depth);
        let cursor = Cursor { left, right, advance, step: Step { first, more, tap } };
        cursor.start(e, p);
        cursor
    }

    /// There is a step that has not been fetched.
    pub(super) fn more(&self) -> Reg {
        self.step.more
    }

    fn start(&self, e: &mut Emitter<'_>, p: &Product) {
        self.left.iter().for_each(|g| p.left.start(e, g, self.step.tap));
        self.right.iter().for_each(|g| p.right.start(e, p, g, self.step.tap));
    }

    /// Goes to the next step.
    pub(super) fn advance(&self, e: &mut Emitter<'_>, p: &Product, depth: i32) {
        let Step { first, more, tap } = self.step;
        e.t.put("add.s64", &[&first, &first, &depth]);
        self.left.iter().for_each(|g| e.t.put("add.s64", &[&g.at, &g.at, &(4 * depth)]));
        self.right.iter().for_each(|g| e.t.put("add.s64", &[&g.at, &g.at, &self.advance]));
        e.t.put("setp.lt.s64", &[&more, &first, &p.depth]);
        let Some(taps) = p.taps else { return };
        let same = e.t.label();
        e.t.jump_if(more, true, same);
        e.t.put("add.s64", &[&tap, &tap, &1]);
        e.t.put("setp.lt.s64", &[&more, &tap, &taps]);
        e.t.jump_if(more, false, same);
        e.t.set(first, &0);
        self.start(e, p);
        e.t.place(same);
    }

    /// Reads the step's elements, or begins to copy them to the buffer at `stage`; those of no step are zero.
    pub(super) fn fetch(&self, e: &mut Emitter<'_>, p: &Product, t: &Thread, stage: Reg) {
        self.left.iter().for_each(|g| p.left.fetch(e, p, g, &self.step));
        for (g, to) in self.right.iter().zip(&t.right.to) {
            match p.copies_right(e, t) {
                true => p.right.copy(e, p, g, &self.step, (*to, stage)),
                false => p.right.fetch(e, p, g, &self.step),
            }
        }
    }

    /// Stores what was read in the buffer at `stage`, and waits for what was copied there.
    pub(super) fn put(&self, e: &mut Emitter<'_>, p: &Product, t: &Thread, stage: Reg) {
        let each = |e: &mut Emitter<'_>, groups: &[Group], share: &Share, extent: i32| {
            for (g, to) in groups.iter().zip(&share.to) {
                let to = e.t.op(Kind::Word, "add.u32", &[to, &stage]);
                t.form.store(e, share.order, (to, extent), &g.held);
            }
        };
        each(e, &self.left, &t.left, t.form.rows);
        if p.copies_right(e, t) {
            e.t.put("cp.async.wait_all", &[]);
        } else {
            each(e, &self.right, &t.right, t.form.columns);
        }
    }
}
