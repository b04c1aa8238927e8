//! The one place where compiled code is called.
#![allow(unsafe_code)]

use nnc_kernels::KernelFn;

/// The type of a kernel's entry point; see the architecture's "generated code's interface".
type Entry = unsafe extern "C" fn(
    table: *const KernelFn,
    buffers: *const *mut u8,
    dims: *const i64,
    scratch: *mut u8,
    begin: i64,
    end: i64,
);

/// The address of a buffer, given to compiled code only.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Address(*mut u8);

impl Address {
    /// No memory.
    pub(crate) const NONE: Address = Address(std::ptr::null_mut());

    /// The byte `offset` bytes behind `base`.
    pub(crate) fn new(base: *mut u8, offset: usize) -> Address {
        Address(base.wrapping_add(offset))
    }
}

// SAFETY: an address is a number until compiled code uses it, in `Call::chunk`.
unsafe impl Send for Address {}
// SAFETY: as above.
unsafe impl Sync for Address {}

/// One launch, ready to run chunk by chunk.
///
/// Whoever makes one has checked, for this run: `code[entry..]` is a kernel's code in executable
/// memory; `table` holds a kernel for each of the plan's contracts; every buffer's address is good
/// for the buffer's size, and nothing else uses that memory while the call is alive; each worker has
/// `stride` bytes at `scratch`, no fewer than the kernel asks for.
pub(crate) struct Call<'a> {
    pub(crate) code: &'a [u8],
    pub(crate) entry: usize,
    pub(crate) table: &'a [KernelFn],
    pub(crate) buffers: &'a [Address],
    pub(crate) dims: &'a [i64],
    pub(crate) scratch: Address,
    pub(crate) stride: usize,
}

impl Call<'_> {
    /// Runs the grid points `begin..end` on behalf of one worker.
    pub(crate) fn chunk(&self, worker: usize, begin: i64, end: i64) {
        let code = self.code[self.entry..].as_ptr();
        let scratch = self.scratch.0.wrapping_add(worker * self.stride);
        // SAFETY: the loader checked that the entry lies inside code that was mapped executable for
        // this CPU and calling convention (`check_target`, `Checker::kernels`). That the code keeps
        // its interface is the artifact's promise: it is trusted as a shared library is.
        let entry: Entry = unsafe { std::mem::transmute(code) };
        // SAFETY: the pointers are those that the struct's comment describes, checked by
        // `Run::launch`; an `Address` is a pointer by its representation. Workers have scratch of
        // their own, and `for_chunks` gives no grid point to two of them.
        unsafe {
            entry(self.table.as_ptr(), self.buffers.as_ptr().cast(), self.dims.as_ptr(), scratch, begin, end);
        }
    }
}
