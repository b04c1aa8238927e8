//! The constants that kernels read on a device, side by side in one block of its memory.

use crate::device::{Device, DeviceBlock, DeviceError};
use nnc_tensor::plan::{BufferId, Place, Plan, Step};
use std::ops::Range;
use std::sync::Arc;

/// Constants start at multiples of this, as memory of a device does.
const ALIGN: usize = 256;

/// Weights of an artifact on a device.
pub(super) struct Weights {
    block: DeviceBlock,
    parts: Vec<Part>,
}

/// A range of the artifact's weights and where it begins in the block.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Part {
    range: Range<usize>,
    at: usize,
}

impl Weights {
    /// Uploads what the launches of a plan read of its weights.
    pub(super) fn upload(
        device: &Arc<dyn Device>,
        plan: &Plan,
        weights: &[u8],
    ) -> Result<Weights, DeviceError> {
        let (parts, len) = lay_out(read_by_launches(plan));
        let block = DeviceBlock::new(device, len)?;
        let mut queue = device.queue()?;
        for part in &parts {
            // The loader has checked that constants lie inside the weights.
            if let Some(bytes) = weights.get(part.range.clone()) {
                queue.upload(block.address() + part.at as u64, bytes)?;
            }
        }
        queue.finish()?;
        Ok(Weights { block, parts })
    }

    /// Where a byte of the weights is on the device; `None` if no kernel reads it.
    pub(super) fn address(&self, offset: usize) -> Option<u64> {
        let after = self.parts.partition_point(|p| p.range.start <= offset);
        let part = self.parts.get(after.checked_sub(1)?)?;
        (offset <= part.range.end)
            .then(|| self.block.address() + (part.at + offset - part.range.start) as u64)
    }
}

/// The constants that launches read, in order and without overlaps.
fn read_by_launches(plan: &Plan) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    collect(plan, &plan.steps, &mut ranges);
    ranges.sort_by_key(|r| (r.start, r.end));
    let mut merged: Vec<Range<usize>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            // The same constant again, or one that shares its bytes.
            Some(last) if range.start < last.end || range == *last => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

fn collect(plan: &Plan, steps: &[Step], ranges: &mut Vec<Range<usize>>) {
    for step in steps {
        match step {
            Step::Launch { buffers, .. } => ranges.extend(buffers.iter().filter_map(|b| constant(plan, *b))),
            Step::If { then, otherwise, .. } => {
                collect(plan, then, ranges);
                collect(plan, otherwise, ranges);
            }
            Step::Loop(l) => collect(plan, &l.body, ranges),
            Step::Routine { .. } | Step::Copy { .. } | Step::Bind { .. } => {}
        }
    }
}

/// The range of the constant that a buffer is, or a view of.
fn constant(plan: &Plan, mut id: BufferId) -> Option<Range<usize>> {
    loop {
        match plan.buffers.get(id.index())?.place {
            Place::Constant { offset, len } => {
                let start = usize::try_from(offset).ok()?;
                return Some(start..start.checked_add(usize::try_from(len).ok()?)?);
            }
            // The loader has checked that chains of views end.
            Place::View { of, .. } => id = of,
            _ => return None,
        }
    }
}

/// Places for the ranges one after the other, and the bytes that they take.
fn lay_out(ranges: Vec<Range<usize>>) -> (Vec<Part>, usize) {
    let mut len = 0usize;
    let mut parts = Vec::with_capacity(ranges.len());
    for range in ranges {
        let at = len.next_multiple_of(ALIGN);
        len = at + range.len();
        parts.push(Part { range, at });
    }
    (parts, len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nnc_tensor::DType;
    use nnc_tensor::plan::{Buffer, DimId, KernelId};

    fn plan(places: Vec<Place>, read: &[u32]) -> Plan {
        let buffers = places.into_iter().map(|place| Buffer { dtype: DType::U8, shape: vec![], place });
        let launch = Step::Launch {
            kernel: KernelId(0),
            buffers: read.iter().map(|b| BufferId(*b)).collect(),
            dims: vec![],
            grid: DimId(0),
            cost_ns: DimId(0),
            node: 0,
        };
        Plan { buffers: buffers.collect(), steps: vec![launch], ..Plan::default() }
    }

    #[test]
    fn only_what_launches_read_gets_a_place() {
        let constant = |offset, len| Place::Constant { offset, len };
        let view = Place::View { of: BufferId(2), offset: DimId(0) };
        let places = vec![constant(0, 100), constant(128, 40), constant(192, 8), constant(192, 8), view];
        let found = read_by_launches(&plan(places, &[4, 0, 3, 0]));
        assert_eq!(found, [0..100, 192..200]);
        let (parts, len) = lay_out(found);
        assert_eq!(parts, [Part { range: 0..100, at: 0 }, Part { range: 192..200, at: 256 }]);
        assert_eq!(len, 264);
    }
}
