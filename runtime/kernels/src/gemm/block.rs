//! The loops around the tiles: groups of panels that fit the cache, blocks of rows, panels.
//!
//! A group of B's panels stays in the second-level cache while all rows of A stream past it. Rows are
//! split evenly, so that no block is left with a row or two, and few rows take wider tiles, so that
//! a matrix-vector product reads several panels at once.

use crate::simd::LANES;

/// A matrix product as these loops see it, over elements of A of some type.
pub(crate) trait Product {
    /// An element of A.
    type Element;

    /// Rows and columns of C.
    fn size(&self) -> (usize, usize);
    /// Bytes of one panel of B.
    fn panel_len(&self) -> usize;
    /// Pointers to the rows of A at tap 0, if they were given.
    fn row_pointers(&self) -> *const *const Self::Element;
    /// Row `r` of A, if no pointers were given.
    fn row(&self, r: usize) -> *const Self::Element;
}

/// A tile's place in a product.
pub(crate) struct Tile<'a, P: Product> {
    /// The whole product.
    pub(crate) args: &'a P,
    /// Pointers to the tile's rows of A, tap 0.
    pub(crate) rows: *const *const P::Element,
    /// First row.
    pub(crate) row: usize,
    /// First column, the first of a panel.
    pub(crate) column: usize,
    /// Columns that exist, at most 16 a panel.
    pub(crate) columns: usize,
}

/// Computes a tile of fixed rows and panels.
pub(crate) type TileFn<P> = unsafe fn(&Tile<P>);

/// Bytes of B that a group may hold: three eighths of a 1 MiB cache, A and C need room too.
const GROUP_LEN: usize = 384 << 10;

/// The most rows of any tile.
const MAX_ROWS: usize = 8;

/// The tiles of one width.
pub(crate) struct Shape<P: Product + 'static> {
    /// Panels that the tiles span.
    pub(crate) panels: usize,
    /// The tile of `r` rows at `r - 1`.
    pub(crate) tiles: &'static [TileFn<P>],
}

/// Computes one product with these tiles: those of a single row first, then by falling width
/// and rising height, the last one panel wide.
///
/// # Safety
/// The arguments are valid and the CPU has the tiles' instruction set.
#[inline(always)]
pub(crate) unsafe fn multiply<P: Product>(args: &P, shapes: &[Shape<P>]) {
    let (m, n) = args.size();
    let panels = n.div_ceil(LANES);
    if m == 0 || panels == 0 {
        return;
    }
    let shapes = suited(shapes, m, panels);
    let widest = shapes[0].panels;
    let group = (GROUP_LEN / args.panel_len().max(1) / widest * widest).max(widest);
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
fn suited<P: Product>(shapes: &[Shape<P>], m: usize, panels: usize) -> &[Shape<P>] {
    let narrow = |shape: &Shape<P>| shape.panels <= panels;
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
unsafe fn row_block<P: Product>(
    args: &P,
    shapes: &[Shape<P>],
    (row, len): (usize, usize),
    (first, end): (usize, usize),
) {
    let mut own_rows = [core::ptr::null(); MAX_ROWS];
    let mut rows = args.row_pointers().wrapping_add(row);
    if args.row_pointers().is_null() {
        for (r, slot) in own_rows.iter_mut().enumerate().take(len) {
            *slot = args.row(row + r);
        }
        rows = own_rows.as_ptr();
    }
    let mut panel = first;
    while panel < end {
        let left = end - panel;
        let shape = shapes.iter().find(|shape| shape.panels <= left).unwrap_or(&shapes[shapes.len() - 1]);
        let column = panel * LANES;
        let tile =
            Tile { args, rows, row, column, columns: (args.size().1 - column).min(shape.panels * LANES) };
        // SAFETY: `len` rows and `columns` columns from (row, column) exist; `rows` has `len` pointers.
        unsafe { shape.tiles[len - 1](&tile) };
        panel += shape.panels;
    }
}
