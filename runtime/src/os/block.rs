//! A block of zeroed memory at a cache line's border, whose allocation may fail without ending the program.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Blocks start at multiples of this: a cache line, and the widest vector.
pub(crate) const BLOCK_ALIGN: usize = 64;

/// Owned bytes, zero at first.
pub(crate) struct Block {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: a block owns its memory alone, as a boxed slice does.
unsafe impl Send for Block {}
// SAFETY: a shared block gives shared slices only.
unsafe impl Sync for Block {}

impl Block {
    /// No memory.
    pub(crate) const EMPTY: Block = Block { start: NonNull::<Line>::dangling().cast(), len: 0 };

    /// `len` zero bytes, or `None` where the system has not that much.
    pub(crate) fn zeroed(len: usize) -> Option<Block> {
        if len == 0 {
            return Some(Block::EMPTY);
        }
        let layout = Layout::from_size_align(len, BLOCK_ALIGN).ok()?;
        // SAFETY: the layout's size is not zero, as just checked.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        Some(Block { start, len })
    }

    /// The first byte, for code that gets addresses; not derived from a slice, so that slices made
    /// later leave it valid.
    pub(crate) fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// Makes room for `len` bytes and keeps the first `kept`; grows by at least a half, so that many
    /// small steps cost as much as one large one. False where the system has not that much.
    #[must_use]
    pub(crate) fn grow(&mut self, len: usize, kept: usize) -> bool {
        if len <= self.len {
            return true;
        }
        let roomy = len.max(self.len.saturating_add(self.len / 2));
        let Some(mut new) = Block::zeroed(roomy).or_else(|| Block::zeroed(len)) else { return false };
        let kept = kept.min(self.len);
        new[..kept].copy_from_slice(&self[..kept]);
        *self = new;
        true
    }
}

/// Gives [`Block::EMPTY`] its alignment.
#[repr(align(64))]
struct Line;

impl Drop for Block {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: `zeroed` allocated this memory with this very layout, which it found valid.
            unsafe {
                let layout = Layout::from_size_align_unchecked(self.len, BLOCK_ALIGN);
                dealloc(self.start.as_ptr(), layout);
            }
        }
    }
}

impl Deref for Block {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: `start` is good for `len` initialized bytes that this block owns (`zeroed`).
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl DerefMut for Block {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`; `&mut self` makes the slice the only one.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_aligned_zeroed_and_keep_what_they_held() {
        let mut b = Block::EMPTY;
        assert!(b.grow(100, 0));
        assert!(b.iter().all(|x| *x == 0));
        assert_eq!(b.as_ptr().align_offset(BLOCK_ALIGN), 0);
        b[..3].copy_from_slice(&[1, 2, 3]);
        assert!(b.grow(1000, 3));
        assert_eq!(b[..4], [1, 2, 3, 0]);
    }

    #[test]
    fn impossible_sizes_are_refused() {
        assert!(Block::zeroed(usize::MAX).is_none());
        assert!(Block::zeroed(isize::MAX as usize - 100).is_none());
        let mut b = Block::EMPTY;
        assert!(!b.grow(usize::MAX / 2, 0));
    }
}
