//! Tensor maps: what a bulk copy of a box knows of the tensor in global memory.
//!
//! The driver's encoding is its own affair; here a map is 128 bytes of another form, made by
//! [`TensorMap::encode`] where a program would call `cuTensorMapEncodeTiled`. Sizes and strides are in the
//! order of that function: the innermost dimension first, whose elements lie side by side.

/// How the 16-byte chunks of a box's lines change places in shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swizzle {
    /// They do not.
    None,
    /// Within 32 bytes.
    Bytes32,
    /// Within 64 bytes.
    Bytes64,
    /// Within 128 bytes.
    Bytes128,
}

impl Swizzle {
    /// The bytes within which chunks change places; none without a swizzle.
    pub(crate) fn span(self) -> Option<u64> {
        match self {
            Swizzle::None => None,
            Swizzle::Bytes32 => Some(32),
            Swizzle::Bytes64 => Some(64),
            Swizzle::Bytes128 => Some(128),
        }
    }

    /// Where the byte of an address goes: bits of the chunk's number are changed by bits of the line's.
    pub(crate) fn apply(self, address: u64) -> u64 {
        match self {
            Swizzle::None => address,
            Swizzle::Bytes32 => address ^ (address >> 7 & 1) << 4,
            Swizzle::Bytes64 => address ^ (address >> 7 & 3) << 4,
            Swizzle::Bytes128 => address ^ (address >> 7 & 7) << 4,
        }
    }

    const ALL: [Swizzle; 4] = [Swizzle::None, Swizzle::Bytes32, Swizzle::Bytes64, Swizzle::Bytes128];
}

/// A tensor in global memory, and the boxes that are copied of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorMap {
    /// Where it starts: a multiple of 16.
    pub address: u64,
    /// Bytes of an element.
    pub element_bytes: u32,
    /// Its sizes in elements, one to five.
    pub sizes: Vec<u32>,
    /// Bytes from one element to the next along each dimension but the innermost: multiples of 16.
    pub strides: Vec<u64>,
    /// Sizes of a box in elements, at most 256.
    pub boxes: Vec<u32>,
    /// How a box lies in shared memory.
    pub swizzle: Swizzle,
}

/// Bytes of a map.
pub(crate) const BYTES: usize = 128;
const MAGIC: u32 = 0x7061_6d74;

impl TensorMap {
    /// The map as an object in memory, or what the driver would refuse.
    pub fn encode(&self) -> Result<[u8; 128], String> {
        self.check()?;
        let mut out = [0; BYTES];
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        let swizzle = Swizzle::ALL.iter().position(|s| *s == self.swizzle).unwrap_or(0) as u32;
        put(&self.address.to_le_bytes());
        for word in [MAGIC, self.element_bytes, self.sizes.len() as u32, swizzle] {
            put(&word.to_le_bytes());
        }
        self.strides.iter().for_each(|s| put(&s.to_le_bytes()));
        self.sizes.iter().chain(&self.boxes).for_each(|s| put(&s.to_le_bytes()));
        Ok(out)
    }

    /// The map that an object in memory is.
    pub(crate) fn decode(bytes: &[u8; BYTES]) -> Option<TensorMap> {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        let rank = word(16) as usize;
        if word(8) != MAGIC || !(1..=5).contains(&rank) {
            return None;
        }
        let after = 24 + 8 * (rank - 1);
        let words = |from: usize| (0..rank).map(|i| word(from + 4 * i)).collect::<Vec<_>>();
        Some(TensorMap {
            address: long(0),
            element_bytes: word(12),
            sizes: words(after),
            strides: (0..rank - 1).map(|i| long(24 + 8 * i)).collect(),
            boxes: words(after + 4 * rank),
            swizzle: *Swizzle::ALL.get(word(20) as usize)?,
        })
    }

    fn check(&self) -> Result<(), String> {
        let rank = self.sizes.len();
        if !(1..=5).contains(&rank) || self.boxes.len() != rank || self.strides.len() + 1 != rank {
            return Err("sizes, strides and boxes do not agree".to_owned());
        }
        if !matches!(self.element_bytes, 1 | 2 | 4 | 8) {
            return Err(format!("elements of {} bytes", self.element_bytes));
        }
        if !self.address.is_multiple_of(16) || self.strides.iter().any(|s| !s.is_multiple_of(16)) {
            return Err("the address or a stride is no multiple of 16 bytes".to_owned());
        }
        if self.sizes.contains(&0) || self.boxes.iter().any(|n| !(1..=256).contains(n)) {
            return Err("a size is 0, or a box's is not within 1 and 256".to_owned());
        }
        let line = u64::from(self.boxes[0] * self.element_bytes);
        match self.swizzle.span() {
            None if !line.is_multiple_of(16) => Err("a box's lines are no multiples of 16 bytes".to_owned()),
            // Shorter lines would be allowed; where their bytes go the manual does not say.
            Some(span) if line != span => {
                Err(format!("a box's lines of {line} bytes are swizzled by {span}"))
            }
            _ => Ok(()),
        }
    }

    /// Bytes of a box.
    pub(crate) fn box_bytes(&self) -> u64 {
        self.boxes.iter().map(|n| u64::from(*n)).product::<u64>() * u64::from(self.element_bytes)
    }

    /// For each element of the box at these coordinates, in the order of shared memory: its address, or
    /// none outside of the tensor.
    pub(crate) fn elements(&self, coordinates: &[i64]) -> impl Iterator<Item = Option<u64>> {
        let total: u64 = self.boxes.iter().map(|n| u64::from(*n)).product();
        (0..total).map(move |mut rest| {
            let (mut address, mut inside) = (self.address, true);
            for (i, n) in self.boxes.iter().enumerate() {
                let at = coordinates[i] + (rest % u64::from(*n)) as i64;
                rest /= u64::from(*n);
                inside &= (0..i64::from(self.sizes[i])).contains(&at);
                let stride = if i == 0 { u64::from(self.element_bytes) } else { self.strides[i - 1] };
                address = address.wrapping_add((at as u64).wrapping_mul(stride));
            }
            inside.then_some(address)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_encoded_and_refused() {
        let map = TensorMap {
            address: 256,
            element_bytes: 2,
            sizes: vec![100, 7, 3],
            strides: vec![208, 2080],
            boxes: vec![64, 4, 1],
            swizzle: Swizzle::Bytes128,
        };
        assert_eq!(TensorMap::decode(&map.encode().expect("it is right")), Some(map.clone()));
        assert!(TensorMap { address: 8, ..map.clone() }.encode().is_err());
        assert!(TensorMap { boxes: vec![32, 4, 1], ..map.clone() }.encode().is_err());
        assert!(TensorMap { boxes: vec![64, 300, 1], ..map }.encode().is_err());
    }

    #[test]
    fn chunks_change_places_by_the_line() {
        // Line 3 of 128 bytes: chunk c goes to c ^ 3.
        assert_eq!(Swizzle::Bytes128.apply(3 * 128 + 5 * 16 + 2), 3 * 128 + 6 * 16 + 2);
        // Two lines of 64 bytes share the bits above 7: the pattern has four pairs.
        assert_eq!(Swizzle::Bytes64.apply(2 * 64 + 16), 2 * 64);
        assert_eq!(Swizzle::Bytes32.apply(4 * 32), 4 * 32 + 16);
        assert_eq!(Swizzle::None.apply(77), 77);
    }
}
