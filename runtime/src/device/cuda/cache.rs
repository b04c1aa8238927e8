//! What the driver has compiled, on disk: compiling the text of a large model takes it seconds.
//!
//! An entry is a file of its own under a name that stands for all that it depends on, with a checksum: one
//! that is damaged is as good as none. Whatever fails here costs time only, so that nothing is reported.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;
use xxhash_rust::xxh3::xxh3_64;

/// The first bytes of an entry; its checksum follows.
const MAGIC: [u8; 8] = *b"nncubin1";
/// How entries' names end.
const SUFFIX: &str = "cubin";
/// Bytes that all entries together may take.
const MOST: u64 = 1 << 30;

/// A folder of compiled code, or none.
pub(super) struct Cache {
    folder: Option<PathBuf>,
    most: u64,
}

impl Cache {
    /// The folder that the environment's NNC_CACHE names, which may be empty for none, or the user's own.
    pub(super) fn of_the_user() -> Cache {
        Cache { folder: folder(&|name| std::env::var_os(name).map(PathBuf::from)), most: MOST }
    }

    /// The entry of that name, where there is a sound one.
    pub(super) fn get(&self, name: u128) -> Option<Vec<u8>> {
        let mut bytes = fs::read(self.path(name)?).ok()?;
        let sum = bytes.get(MAGIC.len()..MAGIC.len() + 8)?.try_into().ok().map(u64::from_le_bytes)?;
        let is_sound = bytes.starts_with(&MAGIC) && xxh3_64(bytes.get(MAGIC.len() + 8..)?) == sum;
        is_sound.then(|| bytes.split_off(MAGIC.len() + 8))
    }

    /// Writes an entry, in place of a damaged one if need be.
    pub(super) fn put(&self, name: u128, code: &[u8]) {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let (Some(path), Some(folder)) = (self.path(name), &self.folder) else { return };
        let mut bytes = Vec::with_capacity(MAGIC.len() + 8 + code.len());
        bytes.extend(MAGIC);
        bytes.extend(xxh3_64(code).to_le_bytes());
        bytes.extend(code);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let part = folder.join(format!("{name:032x}.{}.{number}.part", std::process::id()));
        // Renamed when whole, so that no other process sees half of it.
        let written = fs::create_dir_all(folder)
            .and_then(|()| fs::write(&part, &bytes))
            .and_then(|()| fs::rename(&part, &path));
        match written {
            Ok(()) => self.prune(folder),
            Err(_) => drop(fs::remove_file(&part)),
        }
    }

    fn path(&self, name: u128) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(format!("{name:032x}.{SUFFIX}")))
    }

    /// Removes the oldest entries until the rest is small enough.
    fn prune(&self, folder: &Path) {
        let mut entries = entries(folder);
        entries.sort_by_key(|e| std::cmp::Reverse(e.0));
        let mut total = 0u64;
        for (_, len, path) in entries {
            total = total.saturating_add(len);
            if total > self.most {
                drop(fs::remove_file(path));
            }
        }
    }
}

/// Time, length and path of each entry.
fn entries(folder: &Path) -> Vec<(SystemTime, u64, PathBuf)> {
    let Ok(found) = fs::read_dir(folder) else { return Vec::new() };
    let entry = |e: fs::DirEntry| {
        let (path, data) = (e.path(), e.metadata().ok()?);
        let is_entry = path.extension().is_some_and(|x| x == SUFFIX);
        is_entry.then_some((data.modified().ok()?, data.len(), path))
    };
    found.flatten().filter_map(entry).collect()
}

/// Where the cache is by the environment.
fn folder(variable: &dyn Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let some = |name: &str| variable(name).filter(|v| v.is_absolute());
    if let Some(own) = variable("NNC_CACHE") {
        return (!own.as_os_str().is_empty()).then_some(own);
    }
    if cfg!(windows) {
        return Some(some("LOCALAPPDATA")?.join("nnc"));
    }
    let base = some("XDG_CACHE_HOME").or_else(|| Some(some("HOME")?.join(".cache")))?;
    Some(base.join("nnc"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("nnc-cache-{name}-{}", std::process::id()));
            Folder(path)
        }

        fn cache(&self, most: u64) -> Cache {
            Cache { folder: Some(self.0.clone()), most }
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn what_was_put_is_found_and_nothing_else() {
        let folder = Folder::new("put");
        let cache = folder.cache(MOST);
        assert_eq!(cache.get(1), None);
        cache.put(1, b"one");
        cache.put(2, b"");
        cache.put(1, b"one again");
        let found = [1, 2, 3].map(|n| cache.get(n));
        assert_eq!(found, [Some(b"one again".to_vec()), Some(vec![]), None]);
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 2, "no part is left");
    }

    #[test]
    fn damaged_entries_are_ignored_and_replaced() {
        let folder = Folder::new("damage");
        let cache = folder.cache(MOST);
        cache.put(7, b"code of a kernel");
        let path = cache.path(7).unwrap();
        let sound = fs::read(&path).unwrap();
        for len in 0..sound.len() {
            fs::write(&path, &sound[..len]).unwrap();
            assert_eq!(cache.get(7), None, "cut to {len} bytes");
        }
        for at in 0..sound.len() {
            let mut bytes = sound.clone();
            bytes[at] ^= 4;
            fs::write(&path, bytes).unwrap();
            assert_eq!(cache.get(7), None, "byte {at} changed");
        }
        cache.put(7, b"code of a kernel");
        assert_eq!(cache.get(7).as_deref(), Some(b"code of a kernel".as_slice()));
    }

    #[test]
    fn the_oldest_entries_make_room() {
        let folder = Folder::new("room");
        let cache = folder.cache(3 * (16 + 100));
        for n in 0..5u64 {
            cache.put(u128::from(n), &[0; 100]);
            // Files of one moment have no order.
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(n);
            fs::File::open(cache.path(u128::from(n)).unwrap()).unwrap().set_modified(time).unwrap();
        }
        let found: Vec<bool> = (0..5).map(|n| cache.get(n).is_some()).collect();
        assert_eq!(found, [false, false, true, true, true]);
    }

    #[test]
    fn where_nothing_can_be_written_there_is_no_cache() {
        let folder = Folder::new("file");
        fs::write(&folder.0, "in the way").unwrap();
        let cache = folder.cache(MOST);
        cache.put(1, b"one");
        assert_eq!(cache.get(1), None);
        fs::remove_file(&folder.0).unwrap();
        let none = Cache { folder: None, most: MOST };
        none.put(1, b"one");
        assert_eq!(none.get(1), None);
    }

    #[test]
    #[cfg(unix)]
    fn the_environment_says_where() {
        let with = |set: &[(&str, &str)]| {
            let found = folder(&|name| set.iter().find(|(n, _)| *n == name).map(|(_, v)| PathBuf::from(v)));
            found.map(|p| p.display().to_string())
        };
        let home = ("HOME", "/home/a");
        assert_eq!(with(&[home]).as_deref(), Some("/home/a/.cache/nnc"));
        assert_eq!(with(&[home, ("XDG_CACHE_HOME", "/c")]).as_deref(), Some("/c/nnc"));
        assert_eq!(with(&[home, ("XDG_CACHE_HOME", "relative")]).as_deref(), Some("/home/a/.cache/nnc"));
        assert_eq!(with(&[home, ("NNC_CACHE", "here")]).as_deref(), Some("here"));
        assert_eq!(with(&[home, ("NNC_CACHE", "")]), None);
        assert_eq!(with(&[]), None);
    }
}
