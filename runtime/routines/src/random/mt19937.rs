//! The Mersenne twister as `numpy.random.RandomState` seeds and reads it.
//! (Matsumoto and Nishimura, ACM TOMACS 8(1), 1998)

const N: usize = 624;
const M: usize = 397;

/// A generator with its state.
pub(super) struct Mt19937 {
    state: [u32; N],
    next: usize,
}

impl Mt19937 {
    pub(super) fn new(seed: u32) -> Mt19937 {
        let mut state = [seed; N];
        for i in 1..N {
            let x = state[i - 1] ^ (state[i - 1] >> 30);
            state[i] = x.wrapping_mul(1_812_433_253).wrapping_add(i as u32);
        }
        Mt19937 { state, next: N }
    }

    fn twist(&mut self) {
        for i in 0..N {
            let y = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % N] & 0x7fff_ffff);
            let odd = if y & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + M) % N] ^ (y >> 1) ^ odd;
        }
        self.next = 0;
    }

    fn bits(&mut self) -> u32 {
        if self.next >= N {
            self.twist();
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// A number in [0, 1) with 53 random bits.
    pub(super) fn uniform(&mut self) -> f64 {
        let (a, b) = (self.bits() >> 5, self.bits() >> 6);
        (f64::from(a) * 67_108_864.0 + f64::from(b)) / 9_007_199_254_740_992.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_numpy() {
        // numpy.random.RandomState(42).uniform(size=4)
        let mut random = Mt19937::new(42);
        let expected = [0.3745401188473625, 0.9507143064099162, 0.7319939418114051, 0.5986584841970366];
        assert_eq!([(); 4].map(|()| random.uniform()), expected);
        // The 1000th number, past a second twist.
        let mut random = Mt19937::new(0);
        assert_eq!((0..1000).map(|_| random.uniform()).last(), Some(0.6771411441114241));
    }
}
