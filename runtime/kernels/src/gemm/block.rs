//! The loops around the tiles: groups of panels that fit the cache, blocks of rows, panels.
//!
//! A group of B's panels stays in the second-level cache while all rows of A stream past it. Rows are
//! split evenly, so that no block is left with a row or two, and few rows take wider tiles, so that
//! a matrix-vector product reads several panels at once.

use super::tile::{Tile, TileFn};
use crate::args::GemmArgs;
use crate::simd::LANES;

/// Elements of B that a group may hold: three eighths of a 1 MiB cache, A and C need room too.
const GROUP_LEN: usize = 96 << 10;

/// The most rows of any tile.
const MAX_ROWS: usize = 8;

/// The tiles of one width.
pub(super) struct Shape {
    /// Panels that the tiles span.
    pub(super) panels: usize,
    /// The tile of `r` rows at `r - 1`.
    pub(super) tiles: &'static [TileFn],
}

/// Computes one `f32_gemm` with these tiles: those of a single row first, then by falling width
/// and rising height, the last one panel wide.
///
/// # Safety
/// The arguments are valid and the CPU has the tiles' instruction set.
#[inline(always)]
pub(super) unsafe fn multiply(args: &GemmArgs, shapes: &[Shape]) {
    let (m, n) = (args.m.max(0) as usize, args.n.max(0) as usize);
    let panels = n.div_ceil(LANES);
    if m == 0 || panels == 0 {
        return;
    }
    let shapes = suited(shapes, m, panels);
    let (widest, depth) = (shapes[0].panels, (args.taps * args.kc).max(1) as usize);
    let group = (GROUP_LEN / (depth * LANES) / widest * widest).max(widest);
    let mut first = 0;
    while first < panels {
        let end = (first + group).min(panels);
        let mut row = 0;
        for len in even_split(m, shapes[0].tiles.len()) {
            // SAFETY: the rows and panels are within the arguments' sizes.
            unsafe { row_block(args, shapes, (row, len), (first, end)) };
            row += len;
        }
        first = end;
    }
}

/// The shapes to use for this many rows and panels: from the first that is not too wide and whose
/// tiles hold all rows, or else from the largest.
fn suited(shapes: &[Shape], m: usize, panels: usize) -> &[Shape] {
    let narrow = |shape: &Shape| shape.panels <= panels;
    let area =
        |at: &usize| if narrow(&shapes[*at]) { shapes[*at].panels * shapes[*at].tiles.len() } else { 0 };
    let whole = shapes.iter().position(|shape| narrow(shape) && shape.tiles.len() >= m);
    let start = whole.or_else(|| (0..shapes.len()).max_by_key(area)).unwrap_or(0);
    &shapes[start..]
}

/// Splits `m` into the fewest parts of at most `max`, which differ by one at most.
fn even_split(m: usize, max: usize) -> impl Iterator<Item = usize> {
    let parts = m.div_ceil(max);
    (0..parts).map(move |part| m / parts + usize::from(part < m % parts))
}

/// Computes `len` rows from `row` of the panels `first..end`.
///
/// # Safety
/// As [`multiply`]; the rows and panels exist, and tiles of `len` rows.
#[inline(always)]
unsafe fn row_block(
    args: &GemmArgs,
    shapes: &[Shape],
    (row, len): (usize, usize),
    (first, end): (usize, usize),
) {
    let mut own_rows = [core::ptr::null(); MAX_ROWS];
    let rows = if args.rows.is_null() {
        for (r, slot) in own_rows.iter_mut().enumerate().take(len) {
            *slot = args.a.wrapping_offset((row + r) as isize * args.lda as isize);
        }
        own_rows.as_ptr()
    } else {
        args.rows.wrapping_add(row)
    };
    let mut panel = first;
    while panel < end {
        let left = end - panel;
        let shape = shapes.iter().find(|shape| shape.panels <= left).unwrap_or(&shapes[shapes.len() - 1]);
        let column = panel * LANES;
        let tile = Tile {
            args,
            rows,
            row,
            column,
            columns: (args.n as usize - column).min(shape.panels * LANES),
            b: args.b.wrapping_offset(panel as isize * args.b_panel_stride as isize),
        };
        // SAFETY: `len` rows and `columns` columns from (row, column) exist; `rows` has `len` pointers.
        unsafe { shape.tiles[len - 1](&tile) };
        panel += shape.panels;
    }
}
