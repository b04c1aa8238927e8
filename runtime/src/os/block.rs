//! A block of zeroed memory at a cache line's border, whose allocation may fail without ending the program.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Blocks start at multiples of this: a cache line, and the widest vector.
pub(crate) const BLOCK_ALIGN: usize = 64;

/// What the allocator is asked for: the system hands out zero pages untouched for alignments that
/// it gives anyway, but writes zeros to memory aligned further. So a block begins inside.
const SYSTEM_ALIGN: usize = 16;

/// Blocks of this length come from the system itself and go back to it at once: the allocator keeps
/// what it is given back, and zeroes what it hands out again.
const MAP_FROM: usize = 1 << 20;

/// Owned bytes, zero at first.
pub(crate) struct Block {
    start: NonNull<u8>,
    len: usize,
    /// Bytes before `start` that belong to the allocation; `None` for pages of the system.
    lead: Option<usize>,
}

// SAFETY: a block owns its memory alone, as a boxed slice does.
unsafe impl Send for Block {}
// SAFETY: a shared block gives shared slices only.
unsafe impl Sync for Block {}

impl Block {
    /// No memory.
    pub(crate) const EMPTY: Block =
        Block { start: NonNull::<Line>::dangling().cast(), len: 0, lead: Some(0) };

    /// `len` zero bytes, or `None` where the system has not that much.
    pub(crate) fn zeroed(len: usize) -> Option<Block> {
        if len == 0 {
            return Some(Block::EMPTY);
        }
        if len >= MAP_FROM
            && let Some(start) = map_pages(len)?
        {
            advise_huge_pages(start, len);
            return Some(Block { start, len, lead: None });
        }
        let layout = Layout::from_size_align(len.checked_add(BLOCK_ALIGN)?, SYSTEM_ALIGN).ok()?;
        // SAFETY: the layout's size is not zero.
        let first = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        let lead = first.align_offset(BLOCK_ALIGN);
        // SAFETY: the lead is less than an alignment, by which the allocation exceeds `len`.
        let start = unsafe { first.add(lead) };
        Some(Block { start, len, lead: Some(lead) })
    }

    /// The first byte, for code that gets addresses; not derived from a slice, so that slices made
    /// later leave it valid.
    pub(crate) fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// Makes room for `len` bytes and forgets what it held. False where the system has not that much.
    #[must_use]
    pub(crate) fn make_room(&mut self, len: usize) -> bool {
        if len > self.len {
            // Giving back first lowers the peak.
            *self = Block::EMPTY;
            let Some(new) = Block::zeroed(len) else { return false };
            *self = new;
        }
        true
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

/// Pages of the system that hold `len` bytes: the outer `None` where it has not that many, the inner
/// one where the allocator is to be asked.
#[cfg(target_os = "linux")]
#[allow(clippy::option_option, reason = "no memory and no such call are different answers")]
fn map_pages(len: usize) -> Option<Option<NonNull<u8>>> {
    if len > isize::MAX.unsigned_abs() {
        return None;
    }
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: the address is the system's choice, so that no memory in use is replaced.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), len, access, kind, -1, 0) };
    if start == libc::MAP_FAILED { None } else { NonNull::new(start.cast()).map(Some) }
}

#[cfg(not(target_os = "linux"))]
#[allow(clippy::option_option, reason = "no memory and no such call are different answers")]
fn map_pages(_: usize) -> Option<Option<NonNull<u8>>> {
    Some(None)
}

/// Gives pages back.
#[cfg(target_os = "linux")]
fn unmap_pages(start: NonNull<u8>, len: usize) {
    // SAFETY: `Block::drop` passes what `map_pages` gave, once.
    unsafe {
        libc::munmap(start.as_ptr().cast(), len);
    }
}

#[cfg(not(target_os = "linux"))]
fn unmap_pages(_: NonNull<u8>, _: usize) {}

/// Asks for huge pages where several fit: large matrices then cost fewer address translations.
#[cfg(target_os = "linux")]
fn advise_huge_pages(start: NonNull<u8>, len: usize) {
    const HUGE: usize = 2 << 20;
    let lead = start.align_offset(HUGE);
    if len.saturating_sub(lead) >= 2 * HUGE {
        // SAFETY: the range lies inside the block (its end is rounded down), starts at a page, and
        // the advice changes no content. Refusal costs speed alone.
        unsafe {
            libc::madvise(start.add(lead).as_ptr().cast(), (len - lead) / HUGE * HUGE, libc::MADV_HUGEPAGE);
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn advise_huge_pages(_: NonNull<u8>, _: usize) {}

/// Gives [`Block::EMPTY`] its alignment.
#[repr(align(64))]
struct Line;

impl Drop for Block {
    fn drop(&mut self) {
        match self.lead {
            None => unmap_pages(self.start, self.len),
            // SAFETY: `zeroed` allocated this memory, `lead` bytes earlier, with this very layout,
            // which it found valid.
            Some(lead) if self.len > 0 => unsafe {
                let layout = Layout::from_size_align_unchecked(self.len + BLOCK_ALIGN, SYSTEM_ALIGN);
                dealloc(self.start.sub(lead).as_ptr(), layout);
            },
            Some(_) => {}
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
        assert!(b.make_room(900));
        assert_eq!(b[..4], [1, 2, 3, 0]);
        assert!(b.make_room(3 << 20));
        assert!(b.len() == 3 << 20 && b.iter().all(|x| *x == 0));
        assert_eq!(b.as_ptr().align_offset(BLOCK_ALIGN), 0);
    }

    #[test]
    fn large_blocks_are_zero_to_the_end() {
        let mut b = Block::zeroed(9 << 20).unwrap();
        assert_eq!((b[0], b[b.len() - 1]), (0, 0));
        b.fill(1);
    }

    #[test]
    fn impossible_sizes_are_refused() {
        assert!(Block::zeroed(usize::MAX).is_none());
        assert!(Block::zeroed(isize::MAX as usize - 100).is_none());
        let mut b = Block::EMPTY;
        assert!(!b.grow(usize::MAX / 2, 0));
    }
}
