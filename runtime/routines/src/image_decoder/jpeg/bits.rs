//! Bits of entropy-coded data and their Huffman codes.

/// Reads bits, most significant first, up to the next marker.
pub(super) struct Bits<'a> {
    data: &'a [u8],
    /// The next bits, left-aligned.
    window: u64,
    filled: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(data: &'a [u8]) -> Bits<'a> {
        Bits { data, window: 0, filled: 0 }
    }

    fn fill(&mut self) {
        while self.filled <= 56 {
            let (byte, len) = match *self.data {
                [0xff, 0, ..] => (0xff, 2),
                [0xff, ..] | [] => return,
                [byte, ..] => (byte, 1),
            };
            self.window |= u64::from(byte) << (56 - self.filled);
            self.filled += 8;
            self.data = &self.data[len..];
        }
    }

    fn skip(&mut self, n: u32) -> Option<()> {
        self.filled = self.filled.checked_sub(n)?;
        self.window <<= n;
        Some(())
    }

    /// The next `n` ≤ 16 bits as a number.
    pub(super) fn take(&mut self, n: u32) -> Option<i32> {
        if n == 0 {
            return Some(0);
        }
        self.fill();
        let value = (self.window >> (64 - n)) as i32;
        self.skip(n)?;
        Some(value)
    }

    /// `n` bits as a signed number: T.81, figure F.12.
    pub(super) fn take_signed(&mut self, n: u32) -> Option<i32> {
        if n > 15 {
            return None;
        }
        let value = self.take(n)?;
        let negative = n > 0 && value < 1 << (n - 1);
        Some(if negative { value - (1 << n) + 1 } else { value })
    }

    /// The symbol of the next code.
    pub(super) fn symbol(&mut self, table: &Huffman) -> Option<u8> {
        self.fill();
        let (len, symbol) = table.codes[(self.window >> 48) as usize];
        if len == 0 {
            return None;
        }
        self.skip(len.into())?;
        Some(symbol)
    }

    /// Drops the rest of the interval and its restart marker.
    pub(super) fn restart(&mut self) -> Option<()> {
        let data = self.rest();
        let [0xff, 0xd0..=0xd7, ..] = *data else { return None };
        *self = Bits::new(&data[2..]);
        Some(())
    }

    /// What follows the bits, from the next marker on.
    pub(super) fn rest(&self) -> &'a [u8] {
        let mut data = self.data;
        while !data.is_empty() && !matches!(data, [0xff, 1..=255, ..]) {
            data = &data[1..];
        }
        data
    }
}

/// A table of codes: length and symbol by the next 16 bits; length 0 where no code begins so.
pub(super) struct Huffman {
    codes: Vec<(u8, u8)>,
}

impl Huffman {
    /// `counts[i]` codes have i + 1 bits; `None` if there is no room for them.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Huffman> {
        let mut codes = vec![(0, 0); 1 << 16];
        let (mut at, mut symbols) = (0, symbols.iter());
        for (len, count) in (1u8..).zip(counts) {
            for symbol in symbols.by_ref().take((*count).into()) {
                let end = at + (1usize << (16 - len));
                codes.get_mut(at..end)?.fill((len, *symbol));
                at = end;
            }
        }
        Some(Huffman { codes })
    }
}
