//! How products are cut into grid points: sizes of blocks of rows and of columns, by the schedule and by the
//! sizes of the product alone.

use super::PANEL;
use crate::lower::emit::Emitter;
use crate::pass::{FewRows, LargeBlocks, Schedule};
use nnc_ir::tile::Expr;
use nnc_ir::{DType, Dim, ScalarOp};

/// Rows or columns of one grid point.
#[derive(Clone, Copy)]
pub(crate) struct BlockSize(pub(crate) i64);

impl BlockSize {
    /// The most that a block has: the size, or the whole extent where that is less or the size is unlimited.
    pub(crate) fn bound(self, extent: &Dim) -> Dim {
        match extent.as_const() {
            Some(n) => Dim::int(n.min(self.0).max(1)),
            None if self.0 == i64::MAX => extent.clone(),
            None => Dim::int(self.0),
        }
    }
}

/// The sizes of a product and what its operands are.
#[derive(Clone, Copy)]
pub(crate) struct Extents<'d> {
    /// Rows.
    pub(crate) m: &'d Dim,
    /// Columns.
    pub(crate) n: &'d Dim,
    /// What a turn over k takes of the cache, in elements of f32.
    pub(crate) k: &'d Dim,
    /// How many results of these sizes there are.
    pub(crate) results: &'d Dim,
    /// The right operand is in panels from the start.
    pub(crate) packed: bool,
    /// The operands are floats.
    pub(crate) floats: bool,
}

/// A product of which only a launch knows whether its rows are few.
#[derive(Clone)]
pub(crate) struct Open {
    /// All of its rows.
    pub(crate) m: Dim,
    /// Columns of a grid point if they are few.
    pub(crate) columns: Dim,
}

impl Extents<'_> {
    /// Rows and columns of a block in place of the usual ones, if the results are large. Blocks must not reach far
    /// beyond a result where the usual ones do not.
    fn large(&self, large: LargeBlocks, usual: (i64, i64)) -> Option<(i64, i64)> {
        let (m, n) = (self.m.as_const()?, self.n.as_const()?);
        let results = self.results.as_const().unwrap_or(1);
        let points = |(rows, columns): (i64, i64)| {
            let blocks = |len: i64, size: i64| (len.max(0) + size - 1) / size;
            blocks(m, rows).saturating_mul(blocks(n, columns)).saturating_mul(results)
        };
        let computed = |size: (i64, i64)| points(size).saturating_mul(size.0 * size.1);
        let most = computed(usual).saturating_add(computed(usual) / 8);
        let fits = |size: &(i64, i64)| points(*size) >= large.points && computed(*size) <= most;
        large.sizes.iter().copied().filter(|_| self.floats).find(fits)
    }

    /// What is open until a launch, if the rows are.
    pub(crate) fn open(&self, schedule: Schedule) -> Option<Open> {
        let few = schedule.few.filter(|_| self.floats && self.m.as_const().is_none())?;
        let (_, most) = schedule.block?;
        Some(Open { m: self.m.clone(), columns: Dim::int(columns_of_few(few, self.n, most)) })
    }
}

/// Sizes of a block of rows and of columns. On CPUs, A's block stays in half of L2; few rows are cut along
/// columns so that there is work for several threads.
pub(crate) fn blocking(schedule: Schedule, x: &Extents) -> (BlockSize, BlockSize) {
    if let Some(usual) = schedule.block {
        let (rows, columns) = schedule.large.and_then(|large| x.large(large, usual)).unwrap_or(usual);
        let few = schedule.few.filter(|few| x.floats && x.m.as_const().is_some_and(|m| m <= few.rows));
        let columns = few.map_or(columns, |few| columns_of_few(few, x.n, columns));
        return (BlockSize(rows), BlockSize(columns));
    }
    let k = x.k.as_const().unwrap_or(1024).max(1);
    let (m, n) = (x.m.as_const().unwrap_or(128), x.n.as_const().unwrap_or(1024));
    let rows = if x.packed { (64 * 1024 / k).clamp(42, 336) / 42 * 42 } else { 504 };
    let row_blocks = (m + rows - 1) / rows;
    let wanted = if x.packed { (8 / row_blocks.max(1)).max(1) } else { 1 };
    let panels = (n + PANEL - 1) / PANEL;
    let columns = (panels / wanted).max(4) / 2 * 2 * PANEL;
    (BlockSize(rows), BlockSize(if wanted == 1 { i64::MAX } else { columns }))
}

/// Columns of a block of few rows: the least that there are, twice as many while the machine stays busy.
fn columns_of_few(few: FewRows, n: &Dim, most: i64) -> i64 {
    let Some(n) = n.as_const() else { return most };
    let mut columns = few.columns;
    while columns < most && n / (2 * columns) >= few.points {
        columns *= 2;
    }
    columns
}

/// A grid axis over blocks of an extent: first element and length of the block.
pub(crate) fn block_axis(e: &mut Emitter, extent: &Dim, size: BlockSize) -> (Dim, Dim) {
    if extent.as_const().is_some_and(|n| n <= size.0) || size.0 == i64::MAX {
        return (Dim::ZERO, extent.clone());
    }
    axis(e, extent, &Dim::int(size.0))
}

fn axis(e: &mut Emitter, extent: &Dim, size: &Dim) -> (Dim, Dim) {
    let i = e.grid(extent.ceil_div(size));
    let first = i * size.clone();
    let left = extent.clone() - first.clone();
    (first, left.min_with(size))
}

/// The same for the columns of a product, whose number in a block is open until a launch where the rows are.
pub(crate) fn columns_axis(e: &mut Emitter, n: &Dim, size: BlockSize, open: Option<&Open>) -> (Dim, Dim) {
    let (Some(few), Some(open)) = (e.schedule.few, open) else { return block_axis(e, n, size) };
    let least = open.columns.as_const().unwrap_or(size.0);
    if n.as_const().is_some_and(|n| n <= least) {
        return (Dim::ZERO, n.clone());
    }
    // 0 for few rows, 1 for more.
    let (before, rows) = ((open.m.clone() - Dim::ONE).max_with(&Dim::ZERO), Dim::int(few.rows));
    let many = before.floor_div(&rows).min_with(&Dim::ONE);
    axis(e, n, &(Dim::int(least) + many * Dim::int(size.0 - least)))
}

/// Writes a product of rows and columns: where it is open, once for few rows and once for any number.
pub(crate) fn by_rows(
    e: &mut Emitter,
    (rows, columns): (&Dim, &Dim),
    open: Option<&Open>,
    product: &mut dyn FnMut(&mut Emitter, (&Dim, &Dim)),
) {
    let (Some(few), Some(open)) = (e.schedule.few, open) else { return product(e, (rows, columns)) };
    let m = e.kb.def(DType::I64, Expr::Index(open.m.clone()));
    let limit = e.kb.int(DType::I64, few.rows);
    let are_few = e.kb.op(ScalarOp::Le, &[m, limit]);
    e.kb.begin_if();
    product(e, (&rows.min_with(&Dim::int(few.rows)), &columns.min_with(&open.columns)));
    e.kb.end_if(are_few);
    let are_many = e.kb.op(ScalarOp::Gt, &[m, limit]);
    e.kb.begin_if();
    product(e, (rows, columns));
    e.kb.end_if(are_many);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(schedule: Schedule, [m, n, results]: [&Dim; 3], floats: bool) -> (i64, i64) {
        let x = Extents { m, n, k: &Dim::int(512), results, packed: true, floats };
        let (rows, columns) = blocking(schedule, &x);
        (rows.0, columns.0)
    }

    #[test]
    fn large_results_have_large_blocks() {
        let of = |sizes: [i64; 3]| {
            let sizes = sizes.map(Dim::int);
            let [m, n, results] = &sizes;
            block(Schedule::GPU, [m, n, results], true)
        };
        assert_eq!(of([4096, 4096, 1]), (128, 128));
        assert_eq!(of([12544, 64, 2]), (128, 64), "few columns");
        assert_eq!(of([1536, 1536, 1]), (128, 128));
        assert_eq!(of([1024, 1280, 1]), (128, 64), "80 points keep fewer busy than 160");
        assert_eq!(of([512, 512, 1]), (64, 64), "32 points keep fewer busy than 64");
        assert_eq!(of([100, 100, 132]), (128, 128));
        assert_eq!(of([60, 4096, 132]), (64, 64), "half of each block would be empty");
        assert_eq!(of([130, 130, 400]), (64, 64), "reaches far beyond the result");
        let (open, many) = (Dim::named("m"), Dim::int(4096));
        assert_eq!(
            block(Schedule::GPU, [&open, &many, &Dim::ONE], true),
            (64, 64),
            "a launch may have few rows"
        );
        assert_eq!(block(Schedule::GPU, [&many, &many, &Dim::ONE], false), (64, 64), "of bytes");
        let cpu = Schedule { large: Schedule::GPU.large, ..Schedule::CPU };
        let sizes = [&many, &many, &Dim::ONE];
        assert_eq!(block(cpu, sizes, true), block(Schedule::CPU, sizes, true), "caches decide");
    }
}
