//! Philox4x32-10: random bits as a function of key and counter.
//! (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011)

/// A keyed generator without state.
pub(super) struct Philox {
    key: [u32; 2],
}

impl Philox {
    pub(super) fn new(seed: u64) -> Philox {
        Philox { key: [seed as u32, (seed >> 32) as u32] }
    }

    /// The block of 128 bits number `counter`.
    pub(super) fn block(&self, counter: [u32; 4]) -> [u32; 4] {
        let (mut x, mut key) = (counter, self.key);
        for _ in 0..10 {
            let a = u64::from(x[0]) * 0xD251_1F53;
            let b = u64::from(x[2]) * 0xCD9E_8D57;
            let (hi, lo) = (|v: u64| (v >> 32) as u32, |v: u64| v as u32);
            x = [hi(b) ^ x[1] ^ key[0], lo(b), hi(a) ^ x[3] ^ key[1], lo(a)];
            key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
        }
        x
    }

    /// Two numbers in [0, 1) with 53 random bits each, for element `index`.
    pub(super) fn uniforms(&self, index: u64) -> (f64, f64) {
        let [a, b, c, d] = self.block([index as u32, (index >> 32) as u32, 0, 0]);
        let join = |hi: u32, lo: u32| {
            let bits = (u64::from(hi) << 21) | u64::from(lo >> 11);
            bits as f64 / (1u64 << 53) as f64
        };
        (join(a, b), join(c, d))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers of the Random123 library (kat_vectors, philox4x32 10).
    #[test]
    fn blocks_are_those_of_random123() {
        let p = Philox { key: [0, 0] };
        assert_eq!(p.block([0; 4]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        let p = Philox { key: [u32::MAX; 2] };
        assert_eq!(p.block([u32::MAX; 4]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        let p = Philox { key: [0xa409_3822, 0x299f_31d0] };
        let counter = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        assert_eq!(p.block(counter), [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
    }
}
