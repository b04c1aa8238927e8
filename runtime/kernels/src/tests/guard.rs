//! Buffers that catch any access past their end.

use core::ffi::{c_int, c_void};
use core::ptr;

const PAGE: usize = 4096;

// The three calls of the C library, which std links on every Unix.
unsafe extern "C" {
    fn mmap(addr: *mut c_void, len: usize, prot: c_int, flags: c_int, fd: c_int, offset: i64) -> *mut c_void;
    fn mprotect(addr: *mut c_void, len: usize, prot: c_int) -> c_int;
    fn munmap(addr: *mut c_void, len: usize) -> c_int;
}

/// Elements that end where an inaccessible page begins; a byte pattern lies before them.
pub(super) struct Guarded<T> {
    base: *mut u8,
    bytes: usize,
    len: usize,
    data: *mut T,
}

/// What lies before the elements.
const CANARY: u8 = 0xa5;

impl<T: Copy> Guarded<T> {
    /// A guarded copy of `values`.
    pub(super) fn new(values: &[T]) -> Self {
        let size = size_of_val(values);
        // At least one page of pattern before the elements.
        let bytes = (size.div_ceil(PAGE) + 1) * PAGE;
        // SAFETY: a fresh private mapping (read and write; private, anonymous), its last page closed;
        // the elements fit between.
        unsafe {
            let base: *mut u8 = mmap(ptr::null_mut(), bytes + PAGE, 3, 0x22, -1, 0).cast();
            assert!(!base.is_null() && base as isize != -1, "no memory");
            assert_eq!(mprotect(base.add(bytes).cast(), PAGE, 0), 0);
            base.write_bytes(CANARY, bytes - size);
            let data: *mut T = base.add(bytes - size).cast();
            ptr::copy_nonoverlapping(values.as_ptr(), data, values.len());
            Self { base, bytes, len: values.len(), data }
        }
    }

    /// The first element.
    pub(super) fn ptr(&self) -> *mut T {
        self.data
    }

    /// The elements; fails if something was written before them.
    pub(super) fn get(&self) -> &[T] {
        let before = self.data as usize - self.base as usize;
        // SAFETY: the mapping is alive and initialized.
        unsafe {
            let canary = core::slice::from_raw_parts(self.base, before);
            assert!(canary.iter().all(|&byte| byte == CANARY), "written before the start");
            core::slice::from_raw_parts(self.data, self.len)
        }
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`.
        unsafe { munmap(self.base.cast(), self.bytes + PAGE) };
    }
}
