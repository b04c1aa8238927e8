//! The arena packer: gives buffers with lifetimes their places in one block of memory.
//!
//! Large buffers first, each into the smallest gap among those already placed whose lifetimes meet
//! its own. The result depends on the requests alone, so that the same plan packs the same way in
//! the compiler and at run time.

/// A buffer that wants a place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// Bytes.
    pub size: u64,
    /// First step that touches it.
    pub first: u32,
    /// Last step that touches it, inclusive.
    pub last: u32,
}

impl Request {
    fn meets(&self, other: &Request) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// Offsets (multiples of `align`) such that buffers alive in one step do not overlap, and the size
/// of the whole block. Empty buffers get offset 0. Where sizes overflow, the block's size is
/// `u64::MAX`, which no allocation can meet, and the offsets mean nothing.
pub fn pack(requests: &[Request], align: u64) -> (Vec<u64>, u64) {
    let sizes: Vec<u64> = requests.iter().map(|r| aligned(r.size, align)).collect();
    let mut order: Vec<usize> = (0..requests.len()).filter(|i| sizes[*i] > 0).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(sizes[i]), requests[i].first, i));
    let (mut offsets, mut total) = (vec![0u64; requests.len()], 0u64);
    // Sorted by offset at all times.
    let mut placed: Vec<usize> = Vec::with_capacity(order.len());
    for i in order {
        let meeting = placed.iter().filter(|&&j| requests[i].meets(&requests[j]));
        offsets[i] = best_gap(meeting.map(|&j| (offsets[j], offsets[j].saturating_add(sizes[j]))), sizes[i]);
        total = total.max(offsets[i].saturating_add(sizes[i]));
        let at = placed.partition_point(|&j| (offsets[j], j) < (offsets[i], i));
        placed.insert(at, i);
    }
    (offsets, total)
}

fn aligned(size: u64, align: u64) -> u64 {
    size.checked_next_multiple_of(align.max(1)).unwrap_or(u64::MAX)
}

/// The start of the smallest gap of at least `size` between ranges sorted by start; the end of all
/// where none fits.
fn best_gap(taken: impl Iterator<Item = (u64, u64)>, size: u64) -> u64 {
    let (mut end, mut best): (u64, Option<(u64, u64)>) = (0, None);
    for (from, to) in taken {
        let gap = from.saturating_sub(end);
        if gap >= size && best.is_none_or(|(len, _)| gap < len) {
            best = Some((gap, end));
        }
        end = end.max(to);
    }
    best.map_or(end, |(_, start)| start)
}

/// The most bytes alive in any one step: no packing can be smaller.
pub fn lower_bound(requests: &[Request], align: u64) -> u64 {
    let mut changes: Vec<(u64, bool, u64)> = Vec::with_capacity(2 * requests.len());
    for r in requests {
        let size = aligned(r.size, align);
        changes.push((r.first.into(), true, size));
        changes.push((u64::from(r.last) + 1, false, size));
    }
    // At the same step, what ends goes before what begins.
    changes.sort_unstable();
    let (mut alive, mut peak) = (0u64, 0u64);
    for (_, begins, size) in changes {
        alive = if begins { alive.saturating_add(size) } else { alive.saturating_sub(size) };
        peak = peak.max(alive);
    }
    peak
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small linear congruential generator; the constants are Knuth's.
    struct Lcg(u64);

    impl Lcg {
        fn below(&mut self, n: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (self.0 >> 33) % n
        }
    }

    #[test]
    fn nothing_alive_together_overlaps() {
        for seed in 0..200 {
            let mut random = Lcg(seed);
            let n = random.below(60);
            let requests: Vec<Request> = (0..n)
                .map(|_| {
                    let first = random.below(40) as u32;
                    Request { size: random.below(5000), first, last: first + random.below(12) as u32 }
                })
                .collect();
            let (offsets, total) = pack(&requests, 64);
            for (i, a) in requests.iter().enumerate() {
                assert_eq!(offsets[i] % 64, 0);
                assert!(offsets[i] + a.size <= total, "seed {seed}");
                for (j, b) in requests.iter().enumerate().skip(i + 1) {
                    let apart = offsets[i] + a.size <= offsets[j] || offsets[j] + b.size <= offsets[i];
                    assert!(apart || !a.meets(b) || a.size * b.size == 0, "seed {seed}: {a:?} {b:?}");
                }
            }
            assert!(total >= lower_bound(&requests, 64), "seed {seed}");
        }
    }

    #[test]
    fn a_chain_needs_two_buffers() {
        let chain: Vec<Request> = (0..10).map(|i| Request { size: 100, first: i, last: i + 1 }).collect();
        assert_eq!(pack(&chain, 64).1, 256);
        assert_eq!(lower_bound(&chain, 64), 256);
    }

    #[test]
    fn sizes_that_overflow_fill_all_memory() {
        let huge = Request { size: u64::MAX - 100, first: 0, last: u32::MAX };
        assert_eq!(pack(&[huge, huge], 64).1, u64::MAX);
    }
}
