//! NumPy's `.npz`: a zip archive of `.npy` files.

use super::{FileError, read_npy, write_npy};
use crate::Tensor;
use std::io::{Cursor, Read, Write};
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

/// The arrays of an archive by name, in its order; at most `max_bytes` when unpacked.
pub fn read_npz(bytes: &[u8], max_bytes: u64) -> Result<Vec<(String, Tensor)>, FileError> {
    let mut archive = ZipArchive::new(Cursor::new(bytes))?;
    let (mut tensors, mut left) = (Vec::new(), max_bytes);
    for index in 0..archive.len() {
        let file = archive.by_index(index)?;
        let Some(name) = file.name().strip_suffix(".npy").map(str::to_owned) else { continue };
        let mut data = Vec::new();
        file.take(left.saturating_add(1)).read_to_end(&mut data)?;
        left = left.checked_sub(data.len() as u64).ok_or(FileError::TooLarge(max_bytes))?;
        tensors.push((name, read_npy(&data)?));
    }
    Ok(tensors)
}

/// The bytes of an archive, deflated.
pub fn write_npz(tensors: &[(String, Tensor)]) -> Result<Vec<u8>, FileError> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, tensor) in tensors {
        let data = write_npy(tensor)?;
        let large = data.len() as u64 > u32::MAX.into();
        writer.start_file(format!("{name}.npy"), SimpleFileOptions::default().large_file(large))?;
        writer.write_all(&data)?;
    }
    Ok(writer.finish()?.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_read_back() {
        let x = Tensor::from_slice(&[2, 2], &[1f32, 2.0, 3.0, 4.0]).unwrap();
        let y = Tensor::from_strings(&[1], vec![b"text".to_vec()]).unwrap();
        let tensors = vec![("x".to_owned(), x), ("y".to_owned(), y)];
        let bytes = write_npz(&tensors).unwrap();
        assert_eq!(read_npz(&bytes, 1 << 20).unwrap(), tensors);
        assert!(matches!(read_npz(&bytes, 100), Err(FileError::TooLarge(100))));
        for len in 0..bytes.len() {
            let cut = bytes.get(..len).unwrap_or_default();
            assert!(read_npz(cut, 1 << 20).is_err(), "{len} bytes");
        }
    }
}
