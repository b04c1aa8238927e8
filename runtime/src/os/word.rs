//! A 32-bit word that threads can sleep on until it changes: a futex on Linux, a condition variable
//! elsewhere.
#![cfg_attr(target_os = "linux", allow(unsafe_code))]

use std::sync::atomic::{AtomicU32, Ordering};

/// The word.
#[derive(Default)]
pub(crate) struct Word {
    value: AtomicU32,
    #[cfg(not(target_os = "linux"))]
    sleep: (std::sync::Mutex<()>, std::sync::Condvar),
}

impl std::ops::Deref for Word {
    type Target = AtomicU32;
    fn deref(&self) -> &AtomicU32 {
        &self.value
    }
}

#[cfg(target_os = "linux")]
impl Word {
    /// Sleeps while the word holds `value`; may return early.
    pub(crate) fn wait(&self, value: u32) {
        let op = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
        // SAFETY: the address is that of a live, aligned word; the other arguments are plain values
        // and a null time limit. A failure means that the word has changed or a signal came.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                self.value.as_ptr(),
                op,
                value,
                std::ptr::null::<libc::timespec>(),
            );
        }
    }

    /// Wakes all that sleep on the word.
    pub(crate) fn wake_all(&self) {
        let op = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
        // SAFETY: as in `wait`; waking touches no memory.
        unsafe {
            libc::syscall(libc::SYS_futex, self.value.as_ptr(), op, i32::MAX);
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl Word {
    /// Sleeps while the word holds `value`; may return early.
    pub(crate) fn wait(&self, value: u32) {
        let guard = self.sleep.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if self.value.load(Ordering::SeqCst) == value {
            drop(self.sleep.1.wait(guard));
        }
    }

    /// Wakes all that sleep on the word.
    pub(crate) fn wake_all(&self) {
        // The lock orders this after the check of a thread that is about to sleep.
        drop(self.sleep.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        self.sleep.1.notify_all();
    }
}

impl Word {
    /// Waits until the word differs from `value`: spins for `spins` rounds, then sleeps. `sleepers`
    /// counts who sleeps, so that wakers may save the system call.
    pub(crate) fn wait_change(&self, value: u32, spins: u32, sleepers: &AtomicU32) {
        for _ in 0..spins {
            if self.value.load(Ordering::Acquire) != value {
                return;
            }
            std::hint::spin_loop();
        }
        sleepers.fetch_add(1, Ordering::SeqCst);
        while self.value.load(Ordering::SeqCst) == value {
            self.wait(value);
        }
        sleepers.fetch_sub(1, Ordering::SeqCst);
    }
}
