//! CUDA devices on a driver that is a stub, which sees how the real one is called: types, orders, and waits.
//!
//! A driver is found by name when a process first asks for it, so that each case runs in a process of its own.
#![allow(missing_docs, reason = "a test")]

#[path = "../run/build.rs"]
#[allow(dead_code, reason = "another test uses the rest")]
mod build;

use build::*;
use nnc_runtime::device::{DeviceTensor, Located, open_device};
use nnc_runtime::tensor::plan::*;
use nnc_runtime::{
    Artifact, ArtifactError, DType, DeviceCode, DeviceEntry, DeviceText, LoadOptions, Profile, RunOptions,
    Session, Tensor,
};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// Name, what the environment says, what happens, and what the driver is asked for, in short.
type Case = (&'static str, &'static [(&'static str, &'static str)], fn(), &'static str);

const CASES: &[Case] = &[
    ("a first load links", &[], cache, "link load unload release"),
    ("a second load takes the cache", &[], cache, "load unload release"),
    ("a damaged entry is linked anew", &[], cache, "link load unload release"),
    ("no cache", &[("NNC_CACHE", "")], cache, "link load unload release"),
    ("what cannot be linked is compiled", &[], compiled, "link compile unload release"),
    ("what is wrong has the driver's log", &[], wrong_text, "link compile release"),
    ("runs", &[], runs, ""),
    ("sessions on threads", &[], threads, ""),
    ("copies", &[], copies, ""),
    ("states", &[], states, ""),
    ("times", &[], times, ""),
    ("a full device", &[("STUB_MEMORY", "100000")], full, ""),
    ("no such device", &[], no_such_device, ""),
    ("no device", &[("STUB_DEVICES", "0")], no_device, ""),
    ("an old driver", &[("STUB_VERSION", "10020")], old_driver, ""),
];

fn main() {
    if let Ok(name) = std::env::var("STUB_CASE") {
        return CASES.iter().find(|c| c.0 == name).expect("the case is in the list").2();
    }
    if !cfg!(target_os = "linux") {
        eprintln!("skipped: the stub is a library for Linux");
        return;
    }
    let folder = std::env::temp_dir().join(format!("nnc-driver-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    compile(&folder);
    let failed: Vec<&str> = CASES.iter().filter(|case| !passes(case, &folder)).map(|case| case.0).collect();
    std::fs::remove_dir_all(folder).unwrap();
    assert!(failed.is_empty(), "failed: {failed:?}");
}

fn compile(folder: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/driver/stub.rs");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let done = Command::new(rustc)
        .args(["--edition=2024", "--crate-type=cdylib", "-O", "-A", "warnings", "-o"])
        .args([folder.join("libcuda.so"), source])
        .status();
    assert!(done.unwrap().success(), "the stub is compiled");
}

fn passes((name, settings, _, asked): &Case, folder: &Path) -> bool {
    let (cache, log) = (folder.join("cache"), folder.join("log"));
    if *name == "a damaged entry is linked anew" {
        let entry = std::fs::read_dir(&cache).unwrap().next().unwrap().unwrap().path();
        std::fs::write(entry, "damaged").unwrap();
    }
    drop(std::fs::remove_file(&log));
    let done = Command::new(std::env::current_exe().unwrap())
        .env("STUB_CASE", name)
        .env("STUB_LOG", &log)
        .env("LD_LIBRARY_PATH", folder)
        .env("NNC_CACHE", &cache)
        .envs(settings.iter().copied())
        .output()
        .unwrap();
    let found = std::fs::read_to_string(&log).unwrap_or_default();
    let found = found.lines().collect::<Vec<_>>().join(" ");
    let is_right = done.status.success() && (asked.is_empty() || found == *asked);
    eprintln!("{name} ... {}", if is_right { "ok" } else { "FAILED" });
    if !is_right {
        eprintln!("{}\nthe driver was asked for: {found}", String::from_utf8_lossy(&done.stderr));
    }
    is_right
}

/// `y = x + 1 + 10 + 100` in three launches of the code `text`.
fn artifact(text: &str) -> Result<Arc<Artifact>, ArtifactError> {
    let mut b = Build::default();
    let x = b.input("x", DType::I64, &[n()]);
    let t: Vec<BufferId> = (0..3).map(|_| b.arena(DType::I64, &[n()])).collect();
    let (scratch, grid, cost_ns) = (b.dim(0), b.dim(n()), b.dim(1));
    let mut code = DeviceCode::default();
    for (i, (from, plus)) in [(x, 1), (t[0], 10), (t[1], 100)].into_iter().enumerate() {
        let (dims, node, name) = (vec![b.dim(plus)], b.node("add"), format!("add{plus}"));
        b.plan.kernels.push(Kernel { name: name.clone(), offset: 0, scratch, writes: vec![1] });
        code.entries.push(DeviceEntry { name, threads: 32, thread_per_point: true, workspace: scratch });
        let (kernel, buffers) = (KernelId(i as u32), vec![from, t[i]]);
        b.step(Step::Launch { kernel, buffers, dims, grid, cost_ns, node });
    }
    b.output("y", t[2]);
    code.texts.push(DeviceText { major: 7, minor: 5, exact: false, text: text.into() });
    b.device = Some(code);
    let device = open_device("cuda:0").unwrap_or_else(|e| panic!("{e}"));
    let options = LoadOptions { device: Some(&device), ..LoadOptions::default() };
    Artifact::from_bytes_with(b.bytes(), &options).map(Arc::new)
}

fn session() -> Session {
    Session::new(artifact("text").unwrap_or_else(|e| panic!("{e}")))
}

fn counted(len: usize, from: i64) -> Tensor {
    ints(&(0..len as i64).map(|i| i * 3 + from).collect::<Vec<_>>())
}

fn check(s: &mut Session, len: usize, from: i64) {
    let out = s.run(&[("x", counted(len, from).into())]).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(out[0], counted(len, from + 111).into(), "{len} from {from}");
}

fn cache() {
    drop(artifact("text").unwrap_or_else(|e| panic!("{e}")));
}

fn compiled() {
    drop(artifact("unlinkable text").unwrap_or_else(|e| panic!("{e}")));
}

fn wrong_text() {
    let error = artifact("wrong text").unwrap_err().to_string();
    let why =
        "the device cannot load the code: a PTX JIT compilation failed: ptxas line 1; error : it is wrong";
    assert!(error.ends_with(why), "{error}");
}

/// Sizes that fit a half of the staging memory, need several, and come again.
fn runs() {
    let mut s = session();
    for len in [1, 1000, 5, 3_000_000, 1000, 0, 1_048_576] {
        for turn in 0..4 {
            check(&mut s, len, turn);
        }
    }
    s.release_memory();
    check(&mut s, 7, 7);
}

fn threads() {
    let artifact = artifact("text").unwrap_or_else(|e| panic!("{e}"));
    std::thread::scope(|scope| {
        for t in 0..4 {
            let mut s = Session::new(Arc::clone(&artifact));
            scope.spawn(move || (0..40).for_each(|turn| check(&mut s, 1 + turn % 3 * 5000, t)));
        }
    });
}

/// Many copies before anyone waits, some larger than all staging memory.
fn copies() {
    let device = open_device("cuda:1").unwrap();
    let mut queue = device.queue().unwrap();
    let lens = [3, 70_000, 9 << 20, 1, 8 << 20, 40 << 20, 64, (8 << 20) + 1];
    let bytes = |n: usize, seed: usize| (0..n).map(|i| (i * 7 + i / 251 + seed) as u8).collect::<Vec<u8>>();
    for round in 0..3 {
        let addresses = lens.map(|n| device.alloc(n).unwrap());
        let uploaded = addresses.iter().zip(lens).enumerate();
        uploaded.for_each(|(i, (to, n))| queue.upload(*to, &bytes(n, i + round)).unwrap());
        for (from, n) in addresses.iter().zip(lens).take(4 * round) {
            queue.prefetch(*from, n).unwrap();
        }
        for (i, (from, n)) in addresses.iter().zip(lens).enumerate() {
            let mut found = vec![0; n];
            queue.download(*from, &mut found).unwrap();
            assert!(found == bytes(n, i + round), "{n} bytes");
        }
        // What was announced is not what is there any more.
        queue.prefetch(addresses[1], 8).unwrap();
        queue.upload(addresses[1], &[9; 8]).unwrap();
        queue.copy(addresses[1], addresses[2], 8).unwrap();
        let mut found = [0; 8];
        for from in [addresses[1], addresses[2]] {
            queue.download(from, &mut found).unwrap();
            assert_eq!(found, [9; 8]);
        }
        addresses.iter().for_each(|a| device.free(*a));
    }
}

fn states() {
    let mut s = session();
    let device = Arc::clone(s.artifact().on_device().unwrap());
    let again = open_device("cuda:0").unwrap();
    let mut x = Located::from(DeviceTensor::from_host(&again, &counted(5000, 0)).unwrap());
    assert!(Arc::ptr_eq(&device, &again), "a device is opened once");
    for _ in 0..10 {
        x = s.run_located(&[("x", x)], &["y"], RunOptions::default()).unwrap().remove(0);
        assert!(matches!(x, Located::Device(_)));
    }
    drop(s);
    assert_eq!(x.to_host().unwrap(), counted(5000, 1110).into());
}

fn times() {
    let mut s = session();
    let mut profile = Profile::default();
    for _ in 0..2 {
        let options = RunOptions { profile: Some(&mut profile), ..RunOptions::default() };
        s.run_options(&[("x", counted(10, 0).into())], options).unwrap();
    }
    assert_eq!(profile.events.len(), 6);
    // The stub's clock ticks a microsecond for each copy, launch and event.
    assert!(profile.events.iter().all(|e| e.on_device && e.duration_ns.abs_diff(2000) < 2), "{profile:?}");
}

fn full() {
    let mut s = session();
    let error = s.run(&[("x", counted(20_000, 0).into())]).unwrap_err().to_string();
    assert!(error.contains("the device has no memory for 160000 bytes, 9"), "{error}");
    check(&mut s, 100, 1);
}

fn refused(name: &str, why: &str) {
    let error = open_device(name).err().expect("it cannot be opened").to_string();
    assert_eq!(error, format!("no device \"{name}\": {why}"));
}

fn no_such_device() {
    refused("cuda:2", "there are 2 devices, cuda:0 to cuda:1");
    refused("gpu", "devices are named cuda:0, cuda:1 and so on");
}

fn no_device() {
    refused("cuda:0", "the driver knows no device");
}

fn old_driver() {
    refused("cuda:0", "its driver is for CUDA 10.2, 11.4 is needed");
}
