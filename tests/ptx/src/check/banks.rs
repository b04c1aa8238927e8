//! Banks of shared memory: words whose addresses are alike in the lowest bits come one after the other.

/// Banks, of which each gives a word of four bytes at a time.
const BANKS: u64 = 32;

/// How often lanes wait for each other in one access of so many bytes each: passes beyond those that it takes
/// anyway, which are one for every 128 bytes.
pub(crate) fn conflicts(bytes: u64, addresses: &[Option<u64>; 32]) -> u64 {
    let words = bytes.div_ceil(4);
    let together = (BANKS / words.max(1)) as usize;
    addresses.chunks(together).map(|group| passes(words, group).saturating_sub(1)).sum()
}

/// The most different words of one bank.
fn passes(words: u64, group: &[Option<u64>]) -> u64 {
    let mut all: Vec<u64> = Vec::with_capacity(BANKS as usize);
    all.extend(group.iter().flatten().flat_map(|at| (0..words).map(move |i| at / 4 + i)));
    all.sort_unstable();
    all.dedup();
    let mut counts = [0; BANKS as usize];
    all.iter().for_each(|word| counts[(word % BANKS) as usize] += 1);
    counts.into_iter().max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: impl Fn(u64) -> u64) -> [Option<u64>; 32] {
        std::array::from_fn(|lane| Some(address(lane as u64)))
    }

    #[test]
    fn words_of_one_bank_come_one_after_the_other() {
        for (bytes, stride, expected) in [
            (4, 4, 0),
            (4, 0, 0),
            (1, 1, 0),
            (4, 8, 1),
            (4, 128, 31),
            (4, 132, 0),
            (8, 8, 0),
            (8, 16, 2),
            (16, 16, 0),
            (16, 128, 4 * 7),
            (16, 48, 0),
        ] {
            assert_eq!(
                conflicts(bytes, &at(|lane| stride * lane)),
                expected,
                "{bytes} bytes, {stride} apart"
            );
        }
        let mut some = [None; 32];
        (some[0], some[9]) = (Some(0), Some(256));
        assert_eq!(conflicts(4, &some), 1);
        assert_eq!(conflicts(16, &some), 0, "groups of eight lanes have passes of their own");
    }
}
