//! Pinned memory between the application's and a device's: copies to and from it need nobody to wait.
//!
//! Uploads go through two halves in turn: one is filled while the device reads the other. Downloads that
//! were announced land in a place of their own.
#![allow(unsafe_code)]

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;
use std::ffi::c_void;
use std::ptr::NonNull;

/// Most bytes of a half: many times what hides the start of a copy.
const MOST_UPLOAD: usize = 8 << 20;
/// Most bytes of announced downloads; larger ones are left to the driver.
const MOST_DOWNLOAD: usize = 64 << 20;
/// Fewer are not asked for.
const LEAST: usize = 64 << 10;
/// Copies start at multiples of this.
const ALIGN: usize = 64;

/// Pinned memory.
struct Pinned {
    start: NonNull<u8>,
    len: usize,
}

impl Pinned {
    /// Memory for at least `len` bytes.
    fn new(len: usize) -> Result<Pinned, DriverError> {
        let len = len.next_power_of_two().max(LEAST);
        // SAFETY: asks for memory that any thread may use while the context lives.
        let start = unsafe { result::malloc_host(len, 0) }?;
        let none = DriverError(sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY);
        Ok(Pinned { start: NonNull::new(start.cast()).ok_or(none)?, len })
    }

    /// The byte at `offset`, which lies inside.
    fn at(&self, offset: usize) -> *mut u8 {
        debug_assert!(offset <= self.len);
        self.start.as_ptr().wrapping_add(offset)
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // SAFETY: the memory came from the driver; whoever drops it has waited for the copies.
        let _ = unsafe { result::free_host(self.start.as_ptr().cast::<c_void>()) };
    }
}

/// One half of the way to the device.
struct Half {
    memory: Option<Pinned>,
    used: usize,
    /// When its copies are done.
    done: sys::CUevent,
    is_busy: bool,
}

impl Half {
    fn new() -> Result<Half, DriverError> {
        let done = result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING)?;
        Ok(Half { memory: None, used: 0, done, is_busy: false })
    }

    fn rest(&self) -> usize {
        self.memory.as_ref().map_or(0, |m| m.len - self.used)
    }
}

/// The way to the device.
pub(super) struct Uploads {
    halves: [Half; 2],
    current: usize,
}

impl Uploads {
    pub(super) fn new() -> Result<Uploads, DriverError> {
        Ok(Uploads { halves: [Half::new()?, Half::new()?], current: 0 })
    }

    /// Copies bytes to the device; they may change once this returns.
    pub(super) fn copy(&mut self, to: u64, from: &[u8], stream: sys::CUstream) -> Result<(), DriverError> {
        for (i, chunk) in from.chunks(MOST_UPLOAD).enumerate() {
            let half = self.room(chunk.len(), stream)?;
            let Some(memory) = &half.memory else { continue };
            let place = memory.at(half.used);
            // SAFETY: `room` found that so many bytes are left behind `used`, and no copy that is under way
            // reads them; the application's memory is no pinned memory of this module.
            unsafe { place.copy_from_nonoverlapping(chunk.as_ptr(), chunk.len()) };
            let target = to + (i * MOST_UPLOAD) as u64;
            // SAFETY: the pinned bytes stay as they are until the stream has passed this copy; the driver
            // checks the range of its own memory.
            unsafe { sys::cuMemcpyHtoDAsync_v2(target, place.cast::<c_void>(), chunk.len(), stream) }
                .result()?;
            half.used = (half.used + chunk.len()).next_multiple_of(ALIGN).min(memory.len);
        }
        Ok(())
    }

    /// A half that has room for so many bytes.
    fn room(&mut self, len: usize, stream: sys::CUstream) -> Result<&mut Half, DriverError> {
        let half = &mut self.halves[self.current];
        if half.rest() < len && half.used > 0 {
            // SAFETY: event and stream live as long as the queue.
            unsafe { result::event::record(half.done, stream) }?;
            half.is_busy = true;
            self.current ^= 1;
        }
        let half = &mut self.halves[self.current];
        if half.rest() < len {
            if half.is_busy {
                // SAFETY: as above.
                unsafe { result::event::synchronize(half.done) }?;
            }
            (half.is_busy, half.used) = (false, 0);
            if half.rest() < len {
                half.memory = None;
                half.memory = Some(Pinned::new(len)?);
            }
        }
        Ok(half)
    }

    /// The stream has passed all copies.
    pub(super) fn passed(&mut self) {
        for half in &mut self.halves {
            (half.is_busy, half.used) = (false, 0);
        }
    }
}

impl Drop for Uploads {
    fn drop(&mut self) {
        for half in &self.halves {
            // SAFETY: the event was made here and is used no more.
            let _ = unsafe { result::event::destroy(half.done) };
        }
    }
}

/// A copy from the device that was announced.
struct Part {
    from: u64,
    len: usize,
    at: usize,
}

/// Where announced downloads land.
#[derive(Default)]
pub(super) struct Landing {
    memory: Option<Pinned>,
    parts: Vec<Part>,
    used: usize,
    /// Bytes that were announced since the last [`Landing::clear`], and the most before it.
    announced: usize,
    most: usize,
    has_arrived: bool,
}

impl Landing {
    /// Starts the copy of bytes that will be asked for, where there is room.
    pub(super) fn announce(
        &mut self,
        from: u64,
        len: usize,
        stream: sys::CUstream,
    ) -> Result<(), DriverError> {
        self.announced = self.announced.saturating_add(len.next_multiple_of(ALIGN));
        let room = self.memory.as_ref().map_or(0, |m| m.len);
        if self.parts.is_empty() && room < self.most.max(self.announced).min(MOST_DOWNLOAD) {
            // SAFETY: the stream lives as long as the queue. Copies that nobody asked for may be under way.
            unsafe { result::stream::synchronize(stream) }?;
            self.memory = None;
            self.memory = Some(Pinned::new(self.most.max(self.announced).min(MOST_DOWNLOAD))?);
        }
        let Some(memory) = self.memory.as_ref().filter(|m| len > 0 && m.len - self.used >= len) else {
            return Ok(());
        };
        // SAFETY: so many bytes are left behind `used`, and nothing reads them until the stream has passed;
        // the driver checks the range of its own memory.
        unsafe { sys::cuMemcpyDtoHAsync_v2(memory.at(self.used).cast::<c_void>(), from, len, stream) }
            .result()?;
        self.parts.push(Part { from, len, at: self.used });
        self.used = (self.used + len).next_multiple_of(ALIGN).min(memory.len);
        self.has_arrived = false;
        Ok(())
    }

    /// Copies bytes that were announced, once they are there; says whether they were.
    pub(super) fn take(
        &mut self,
        from: u64,
        to: &mut [u8],
        stream: sys::CUstream,
    ) -> Result<bool, DriverError> {
        let found = self.parts.iter().find(|p| (p.from, p.len) == (from, to.len()));
        let (Some(part), Some(memory)) = (found, &self.memory) else { return Ok(false) };
        if !self.has_arrived {
            // SAFETY: the stream lives as long as the queue.
            unsafe { result::stream::synchronize(stream) }?;
            self.has_arrived = true;
        }
        // SAFETY: `announce` placed so many bytes there, and their copy is done; the application's memory
        // is no pinned memory of this module.
        unsafe { to.as_mut_ptr().copy_from_nonoverlapping(memory.at(part.at), to.len()) };
        Ok(true)
    }

    /// The stream has passed all copies.
    pub(super) fn passed(&mut self) {
        self.has_arrived = true;
    }

    /// What was announced is no longer what the device holds.
    pub(super) fn clear(&mut self) {
        self.most = self.most.max(self.announced);
        (self.announced, self.used) = (0, 0);
        self.parts.clear();
    }
}
