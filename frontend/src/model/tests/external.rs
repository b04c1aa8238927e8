//! Weights beside the model: taken from inside the folder only, and each file opened once.

use std::cell::Cell;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::encode::{bytes, model, number, tensor, text};
use crate::error::Error;
use crate::model::{ExternalFiles, Model, SharedBytes, TensorData, read_model};

fn initializer(name: &str, entries: &[(&str, &str)]) -> Vec<u8> {
    let mut body = [tensor(name, 2, &[4]), number(14, 1)].concat();
    for (key, value) in entries {
        body.extend(bytes(13, &[&text(1, key), &text(2, value)]));
    }
    bytes(5, &[&body])
}

fn read(folder: &Path, opened: &Cell<usize>, graph: &[u8]) -> Result<Model, Error> {
    let open = |path: &Path| -> io::Result<SharedBytes> {
        opened.set(opened.get() + 1);
        Ok(Arc::new(fs::read(path)?))
    };
    read_model(Arc::new(model(8, 17, graph)), &mut ExternalFiles::beside(folder, &open))
}

#[test]
fn tensors_of_one_file_share_its_bytes() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("weights"), [1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
    let graph = [
        initializer("a", &[("location", "weights"), ("checksum", "ignored")]),
        initializer("b", &[("location", "./weights"), ("offset", "4"), ("length", "4")]),
    ];
    let opened = Cell::new(0);
    let model = read(folder.path(), &opened, &graph.concat()).unwrap();
    let contents = model.graph.initializers.iter().map(|tensor| match &tensor.data {
        TensorData::Bytes(bytes) => bytes.as_slice().to_vec(),
        TensorData::Strings(_) => panic!("bytes"),
    });
    assert_eq!(contents.collect::<Vec<_>>(), [[1, 2, 3, 4], [5, 6, 7, 8]]);
    assert_eq!(opened.get(), 1);
}

#[test]
fn wrong_places_and_sizes_are_refused() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), [0; 4]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("short"), [0; 3]).unwrap();
    fs::create_dir(folder.path().join("sub")).unwrap();
    let absolute = outside.path().join("secret").display().to_string();
    let relative = "the location must be a relative path without \"..\"";
    let short = "the file is too short: expected at least 4 bytes, found 3";
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[], "no location is stated"),
        (&[("location", &absolute)], relative),
        (&[("location", "../secret")], relative),
        (&[("location", "sub/../short")], relative),
        (&[("location", "sub")], "is not a regular file"),
        (&[("location", "short")], short),
        (&[("location", "short"), ("offset", "-1")], "offset \"-1\" is not a number of bytes"),
        (
            &[("location", "short"), ("offset", "18446744073709551615")],
            "offset 18446744073709551615 overflows",
        ),
        (
            &[("location", "short"), ("length", "3")],
            "expected a length of 4 bytes for the tensor's dimensions, found 3",
        ),
    ];
    for (entries, reason) in cases {
        let error = read(folder.path(), &Cell::new(0), &initializer("w", entries)).unwrap_err();
        let Error::ExternalData { tensor, reason: found, .. } = error else { panic!("{error}") };
        assert_eq!((tensor.as_str(), found.as_str()), ("w", *reason));
    }
    let missing = read(folder.path(), &Cell::new(0), &initializer("w", &[("location", "gone")])).unwrap_err();
    let start = "tensor \"w\": external data \"gone\": ";
    assert!(missing.to_string().starts_with(start), "{missing}");
    let alone = super::message(super::read(&model(8, 17, &initializer("w", &[("location", "short")]))));
    assert!(alone.ends_with("the model was not read from a folder, so it has no files beside it"), "{alone}");
}

#[cfg(unix)]
#[test]
fn links_that_lead_out_are_refused_and_links_inside_are_followed() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), [0; 4]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("real"), [0; 4]).unwrap();
    std::os::unix::fs::symlink(outside.path().join("secret"), folder.path().join("file")).unwrap();
    std::os::unix::fs::symlink(outside.path(), folder.path().join("folder")).unwrap();
    std::os::unix::fs::symlink("real", folder.path().join("inside")).unwrap();
    for location in ["file", "folder/secret"] {
        let error =
            read(folder.path(), &Cell::new(0), &initializer("w", &[("location", location)])).unwrap_err();
        assert!(error.to_string().ends_with("the file lies outside the model's folder"), "{error}");
    }
    assert!(read(folder.path(), &Cell::new(0), &initializer("w", &[("location", "inside")])).is_ok());
}
