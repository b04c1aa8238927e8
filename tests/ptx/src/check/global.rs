//! Who touched global memory in one launch: within a block as in shared memory, between blocks only whether
//! one wrote what another touched, since nothing orders them.

use super::cell::{Cell, Conflict, FRESH};
use super::clocks::Clocks;
use super::fault::{Access, FaultKind};
use std::ops::Range;

/// Granules of a page.
const PAGE: usize = 256;
const NO_BLOCK: u32 = u32::MAX;
const MANY_BLOCKS: u32 = u32::MAX - 1;

/// A thread that makes an access, and what comes before it.
pub(crate) struct Who<'a> {
    pub(crate) block: u32,
    pub(crate) thread: u32,
    pub(crate) clocks: &'a Clocks,
}

#[derive(Clone, Copy)]
struct Granule {
    writer: u32,
    reader: u32,
    /// Of the block that wrote it, else of the only one that read it.
    cell: Cell,
}

const UNTOUCHED: Granule = Granule { writer: NO_BLOCK, reader: NO_BLOCK, cell: FRESH };

/// The granules of an allocation, by pages that are made when they are touched.
#[derive(Default)]
pub(crate) struct Pages(Vec<Option<Box<[Granule; PAGE]>>>);

type Checked = Result<(), FaultKind>;

impl Pages {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn granule(&mut self, i: usize) -> &mut Granule {
        let (page, slot) = (i / PAGE, i % PAGE);
        if page >= self.0.len() {
            self.0.resize_with(page + 1, || None);
        }
        &mut self.0[page].get_or_insert_with(|| Box::new([UNTOUCHED; PAGE]))[slot]
    }

    /// Checks and records a read.
    pub(crate) fn read(&mut self, who: &Who<'_>, at: Range<usize>, granule: u32, address: u64) -> Checked {
        for i in granules(&at, granule) {
            let g = self.granule(i);
            if g.writer != NO_BLOCK && g.writer != who.block {
                return Err(FaultKind::GlobalRace { access: Access::Read, address, other: g.writer });
            }
            let fault = |c| race(Access::Read, address, c);
            g.cell.check_read(who.clocks, who.thread, Access::Read).map_err(fault)?;
            g.cell.read(who.thread, who.clocks.now());
            g.reader =
                if matches!(g.reader, NO_BLOCK) || g.reader == who.block { who.block } else { MANY_BLOCKS };
        }
        Ok(())
    }

    /// Checks and records a write, which may leave the same bytes as there are.
    pub(crate) fn write(
        &mut self,
        who: &Who<'_>,
        at: Range<usize>,
        granule: u32,
        (address, same): (u64, bool),
    ) -> Checked {
        for i in granules(&at, granule) {
            let g = self.granule(i);
            for other in [g.writer, g.reader] {
                if other != NO_BLOCK && other != who.block {
                    return Err(FaultKind::GlobalRace { access: Access::Write, address, other });
                }
            }
            let fault = |c| race(Access::Write, address, c);
            g.cell.check_write(who.clocks, who.thread, Access::Write, || same).map_err(fault)?;
            g.cell.written(who.thread, who.clocks.now(), false);
            g.writer = who.block;
        }
        Ok(())
    }
}

fn granules(at: &Range<usize>, granule: u32) -> Range<usize> {
    let size = granule as usize;
    at.start / size..at.end.div_ceil(size)
}

fn race(access: Access, address: u64, Conflict { earlier, thread: other }: Conflict) -> FaultKind {
    FaultKind::Race { space: "global", access, earlier, address, other }
}
