//! From a text to a module: by the cache, by the driver's linker, which gives the compiled code that is
//! cached, or by the driver alone.
#![allow(unsafe_code)]

use super::super::DeviceError;
use super::cache::Cache;
use super::words;
use cudarc::driver::result;
use cudarc::driver::sys::{self, CUjit_option};
use std::ffi::{CString, c_void};
use xxhash_rust::xxh3::Xxh3;

/// Bytes of the driver's log that are kept.
const LOG: usize = 8192;
/// What the driver adds to a compute capability whose text is for this capability alone (`sm_90a`).
const EXACT: usize = 0x10000;

/// A text and what its compiled form depends on.
pub(super) struct Build<'a> {
    pub(super) text: &'a str,
    /// The device's name.
    pub(super) name: &'a str,
    pub(super) capability: (u32, u32),
    /// The driver's version.
    pub(super) driver: i32,
}

impl Build<'_> {
    /// The module, loaded into the current context.
    pub(super) fn load(&self, cache: &Cache) -> Result<sys::CUmodule, DeviceError> {
        let key = self.key();
        // A file whose checksum is right and which the driver refuses is replaced as well.
        if let Some(module) = cache.get(key).and_then(|code| load(&code).ok()) {
            return Ok(module);
        }
        let failed = |why: String| DeviceError::Failed { action: "load the code", why };
        let text = CString::new(self.text).map_err(|_| failed("its text holds a zero".to_owned()))?;
        if let Ok(code) = self.link(&text)
            && let Ok(module) = load(&code)
        {
            cache.put(key, &code);
            return Ok(module);
        }
        // The linker takes less than the loader does; what the loader says counts.
        load_text(&text).map_err(failed)
    }

    /// A name for the compiled code: a hash of all that it depends on.
    fn key(&self) -> u128 {
        let mut hash = Xxh3::new();
        hash.update(self.text.as_bytes());
        let (major, minor) = self.capability;
        // No text ends in a zero, and this begins with one.
        hash.update(format!("\0{} {major}.{minor} {}", self.name, self.driver).as_bytes());
        hash.digest128()
    }

    /// Compiles the text to what the driver loads without compiling.
    fn link(&self, text: &CString) -> Result<Vec<u8>, String> {
        let mut log = Log::new();
        let (mut options, mut values) = log.options();
        if let Some(target) = self.exact_target() {
            options.push(CUjit_option::CU_JIT_TARGET);
            values.push(target as *mut c_void);
        }
        let mut state = std::ptr::null_mut();
        let n = options.len() as u32;
        // SAFETY: options and values are of one length; the log outlives the state.
        let made =
            unsafe { sys::cuLinkCreate_v2(n, options.as_mut_ptr(), values.as_mut_ptr(), &raw mut state) };
        made.result().map_err(words)?;
        let code = link_in(state, text).map_err(|e| log.with(&words(e)));
        // SAFETY: the state was made above, and its code has been copied.
        let _ = unsafe { sys::cuLinkDestroy(state) };
        code
    }

    /// What the linker has to be told of a text that is for one compute capability alone.
    fn exact_target(&self) -> Option<usize> {
        let target = self.text.lines().find_map(|l| l.trim().strip_prefix(".target sm_"))?;
        let number = target.split([',', ' ']).next()?.strip_suffix('a')?;
        Some(EXACT + number.parse::<u16>().ok()? as usize)
    }
}

fn link_in(state: sys::CUlinkState, text: &CString) -> Result<Vec<u8>, result::DriverError> {
    let kind = sys::CUjitInputType_enum::CU_JIT_INPUT_PTX;
    let bytes = text.as_bytes_with_nul();
    let (none, no_values) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: the state is whole; the text is read, not written, until the call returns.
    unsafe {
        let data = bytes.as_ptr().cast_mut().cast::<c_void>();
        sys::cuLinkAddData_v2(state, kind, data, bytes.len(), c"kernels".as_ptr(), 0, none, no_values)
    }
    .result()?;
    let (mut code, mut len) = (std::ptr::null_mut(), 0);
    // SAFETY: as above; writes an address and a length.
    unsafe { sys::cuLinkComplete(state, &raw mut code, &raw mut len) }.result()?;
    // SAFETY: the driver holds so many bytes there until the state is destroyed.
    Ok(unsafe { std::slice::from_raw_parts(code.cast::<u8>(), len) }.to_vec())
}

/// Loads compiled code.
fn load(code: &[u8]) -> Result<sys::CUmodule, result::DriverError> {
    // SAFETY: the image is what the linker made, whole by its checksum where it comes from a file; the
    // driver checks its form, and copies it.
    unsafe { result::module::load_data(code.as_ptr().cast::<c_void>()) }
}

/// Compiles and loads a text.
fn load_text(text: &CString) -> Result<sys::CUmodule, String> {
    let mut log = Log::new();
    let (mut options, mut values) = log.options();
    let mut module = std::ptr::null_mut();
    // SAFETY: the image is text that ends in a zero; options and values are of one length, and the log
    // outlives the call.
    let loaded = unsafe {
        sys::cuModuleLoadDataEx(
            &raw mut module,
            text.as_ptr().cast::<c_void>(),
            options.len() as u32,
            options.as_mut_ptr(),
            values.as_mut_ptr(),
        )
    };
    loaded.result().map_err(|e| log.with(&words(e)))?;
    Ok(module)
}

/// Where the driver writes what is wrong with a text.
struct Log(Box<[u8; LOG]>);

impl Log {
    fn new() -> Log {
        Log(Box::new([0; LOG]))
    }

    /// Tells the driver of the log.
    fn options(&mut self) -> (Vec<CUjit_option>, Vec<*mut c_void>) {
        let options =
            vec![CUjit_option::CU_JIT_ERROR_LOG_BUFFER, CUjit_option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES];
        (options, vec![self.0.as_mut_ptr().cast(), LOG as *mut c_void])
    }

    /// An error and the log behind it.
    fn with(&self, error: &str) -> String {
        let end = self.0.iter().position(|b| *b == 0).unwrap_or(LOG);
        let log = String::from_utf8_lossy(&self.0[..end]);
        let lines: Vec<&str> = log.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
        if lines.is_empty() { error.to_owned() } else { format!("{error}: {}", lines.join("; ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(text: &str) -> Build<'_> {
        Build { text, name: "device", capability: (9, 0), driver: 12040 }
    }

    #[test]
    fn the_key_changes_with_text_device_and_driver() {
        let text = ".version 8.0";
        let all = [
            build(text),
            build(".version 8.1"),
            Build { name: "other", ..build(text) },
            Build { capability: (8, 0), ..build(text) },
            Build { driver: 12050, ..build(text) },
        ];
        let mut keys: Vec<u128> = all.iter().map(Build::key).collect();
        assert_eq!(keys[0], build(text).key());
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), all.len());
    }

    #[test]
    fn only_texts_for_one_capability_name_it_to_the_linker() {
        assert_eq!(build(".version 8.0\n.target sm_90a\n").exact_target(), Some(EXACT + 90));
        assert_eq!(build(".version 8.0\n.target sm_80\n").exact_target(), None);
        assert_eq!(build("").exact_target(), None);
    }

    #[test]
    fn errors_carry_the_driver_s_log() {
        let mut log = Log::new();
        assert_eq!(log.with("a text is wrong"), "a text is wrong");
        log.0[..29].copy_from_slice(b"line 3; error : x\n\n  fatal y\n");
        assert_eq!(log.with("a text is wrong"), "a text is wrong: line 3; error : x; fatal y");
    }
}
