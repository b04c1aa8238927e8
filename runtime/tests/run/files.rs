//! Artifact files: round trips, damage, refusals.

use crate::build::*;
use nnc_runtime::tensor::plan::*;
use nnc_runtime::{
    Artifact, ArtifactError, ArtifactInfo, ArtifactWriter, DType, LoadOptions, Session, TargetCode,
    TargetInfo, host_abi,
};
use std::sync::Arc;

/// A plan with one of everything.
fn sample() -> Build {
    let mut b = Build::default();
    let x = b.input("x", DType::I64, &[n(), 2.into()]);
    let c = b.constant(&ints(&[10, 20]));
    let k = nnc_runtime::Dim::named("k");
    let (flat, sum) = (b.late(DType::I64, &[n() * 2.into()]), b.arena(DType::I64, &[n(), 2.into()]));
    let (kept, out) = (b.late(DType::I64, std::slice::from_ref(&k)), b.late(DType::I64, &[k]));
    let cond = b.constant(&nnc_runtime::Tensor::from_bools(&[], &[true]).unwrap());
    let add = b.routine("add", &[x, c], &[sum]);
    b.step(add);
    let offset = b.dim(0);
    let shape = [n() * 2.into()];
    let view = b.buffer(DType::I64, &shape, Place::View { of: sum, offset });
    b.copy(view, flat);
    let positive = b.routine("positive", &[flat], &[kept]);
    b.step(positive);
    b.step(Step::Bind { source: Source::Size(kept, 0), sym: sym("k") });
    let (then, otherwise) = (vec![Step::Copy { from: kept, to: out }], Vec::new());
    b.step(Step::If { cond, then, otherwise });
    b.kernel("return", &[0xc3], 64);
    b.output("y", out);
    b
}

#[test]
fn files_and_bytes_load_and_run_alike() {
    let b = sample();
    let path = b.file();
    let options = LoadOptions { routines: ROUTINES, check_weights: true, ..LoadOptions::default() };
    let mapped = Artifact::open_with(&path, &options).unwrap();
    let copied = Artifact::from_bytes_with(std::fs::read(&path).unwrap(), &options).unwrap();
    std::fs::remove_file(&path).unwrap();
    for artifact in [mapped, copied] {
        assert_eq!(artifact.plan(), &b.plan);
        assert_eq!(artifact.info().writer, "1.2.3");
        let mut session = Session::new(Arc::new(artifact));
        let x = nnc_runtime::Tensor::from_slice(&[2, 2], &[-50i64, 1, 2, -90]).unwrap();
        assert_eq!(read(&session.run(&[("x", x.into())]).unwrap()[0]), [21, 12]);
    }
}

#[test]
fn damaged_bytes_never_panic_and_are_reported() {
    let bytes = sample().bytes();
    let options = LoadOptions { routines: ROUTINES, check_weights: true, ..LoadOptions::default() };
    // Padding is the only part that no checksum covers.
    let sections: Vec<std::ops::Range<usize>> = (0..4).map(|i| section(&bytes, i)).collect();
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 0x55;
        let covered = at < 56 + 4 * 32 || sections.iter().any(|s| s.contains(&at));
        assert_eq!(Artifact::from_bytes_with(bad, &options).is_err(), covered, "byte {at}");
    }
    for len in (0..bytes.len()).step_by(97) {
        assert!(Artifact::from_bytes_with(bytes[..len].to_vec(), &options).is_err(), "length {len}");
    }
}

/// What the checksums do not stop: every byte of the plan changed, with checksums that fit. Loading
/// must give an artifact or an error, and an artifact that loads must run or fail, all without panic.
#[test]
fn hostile_plans_never_panic() {
    let bytes = sample().bytes();
    let options = LoadOptions { routines: ROUTINES, ..LoadOptions::default() };
    let x = nnc_runtime::Tensor::from_slice(&[2, 2], &[-50i64, 1, 2, -90]).unwrap();
    let limits = || nnc_runtime::RunOptions { max_memory: Some(1 << 20), ..Default::default() };
    for index in [0, 1] {
        for at in section(&bytes, index) {
            for change in [0x01, 0x02, 0x10, 0x7f, 0x80, 0xff] {
                let mut bad = bytes.clone();
                bad[at] ^= change;
                seal(&mut bad, index);
                if let Ok(artifact) = Artifact::from_bytes_with(bad, &options) {
                    let mut session = Session::new(Arc::new(artifact));
                    // Whether it works is of no interest here.
                    let _ = session.run_options(&[("x", x.clone().into())], limits());
                }
            }
        }
    }
}

fn number(bytes: &[u8], at: usize) -> usize {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize
}

/// Where a row of the section table points.
fn section(bytes: &[u8], index: usize) -> std::ops::Range<usize> {
    let row = 56 + index * 32;
    number(bytes, row + 8)..number(bytes, row + 8) + number(bytes, row + 16)
}

/// Corrects the checksums of a section and of the header.
fn seal(bytes: &mut [u8], index: usize) {
    let sum = xxhash_rust::xxh3::xxh3_64(&bytes[section(bytes, index)]);
    bytes[56 + index * 32 + 24..][..8].copy_from_slice(&sum.to_le_bytes());
    seal_header(bytes);
}

fn seal_header(bytes: &mut [u8]) {
    bytes[48..56].fill(0);
    let sum = xxhash_rust::xxh3::xxh3_64(&bytes[..56 + 4 * 32]);
    bytes[48..56].copy_from_slice(&sum.to_le_bytes());
}

#[test]
fn other_formats_name_their_writer() {
    let mut bytes = sample().bytes();
    bytes[4] = 9;
    let message = Artifact::from_bytes(bytes).unwrap_err().to_string();
    assert_eq!(message, "the artifact has format 9, written by nnc 1.2.3; this runtime reads format 3");
    let message = Artifact::from_bytes(b"PK\x03\x04".to_vec()).unwrap_err().to_string();
    assert_eq!(message, "this is no nnc artifact: it does not start with \"nncA\"");
}

fn target_info(name: &str, abi: &str, features: &[&str]) -> TargetInfo {
    let features = features.iter().map(|f| (*f).to_owned()).collect();
    TargetInfo { name: name.into(), abi: abi.into(), features }
}

fn with_info(b: &Build, info: &ArtifactInfo) -> Result<Artifact, ArtifactError> {
    let path = b.file();
    let code = TargetCode { code: &b.code, plan: &b.plan, device: None };
    ArtifactWriter::create(&path)?.finish(&vec![code; info.targets.len()], info)?;
    let result = Artifact::open(&path);
    std::fs::remove_file(path).unwrap();
    result
}

#[test]
fn other_cpus_are_refused_with_what_is_missing() {
    let b = Build::default();
    let info = |target: &str, abi: &str, features: &[&str]| ArtifactInfo {
        targets: vec![target_info(target, abi, features)],
        ..ArtifactInfo::default()
    };
    let message = with_info(&b, &info("s390x", host_abi(), &[])).unwrap_err().to_string();
    assert!(message.starts_with("the artifact was compiled for s390x; this CPU is "), "{message}");
    let host = match std::env::consts::ARCH {
        "x86_64" => "x86-64",
        other => other,
    };
    assert!(with_info(&b, &info(host, host_abi(), &[])).is_ok());
    let target = format!("{host}-v9");
    let message = with_info(&b, &info(&target, host_abi(), &["warp", "woof"])).unwrap_err().to_string();
    assert!(
        message.starts_with(&format!("the artifact was compiled for {target}; this CPU is {host}")),
        "{message}"
    );
    assert!(message.ends_with(" and lacks warp, woof"), "{message}");
    assert!(with_info(&b, &info(host, "fastcall", &[])).is_err());
}

#[test]
fn the_best_target_that_the_cpu_has_is_taken() {
    let b = Build::default();
    let host = match std::env::consts::ARCH {
        "x86_64" => "x86-64",
        other => other,
    };
    let of = |targets: &[(&str, &[&str])]| ArtifactInfo {
        targets: targets.iter().map(|(name, features)| target_info(name, host_abi(), features)).collect(),
        ..ArtifactInfo::default()
    };
    let wide = format!("{host}-v9");
    let several = of(&[("s390x", &[]), (host, &[]), (&wide, &["warp"])]);
    let artifact = with_info(&b, &several).unwrap();
    assert_eq!(artifact.target(), Some(&several.targets[1]));
    let none = with_info(&b, &of(&[("s390x", &[]), (&wide, &["warp"])])).unwrap_err().to_string();
    assert!(none.starts_with("the artifact was compiled for s390x; this CPU is "), "the first: {none}");
    assert!(with_info(&b, &of(&[])).is_err(), "a plan of its own, and none is written");
    let path = b.file();
    let code = TargetCode { code: &b.code, plan: &b.plan, device: None };
    let many = of(&vec![(host, &[][..]); 40]);
    assert!(ArtifactWriter::create(&path).unwrap().finish(&[code; 40], &many).is_err());
    std::fs::remove_file(path).unwrap();
}

#[test]
fn contracts_bind_to_kernels_or_are_named() {
    let mut b = Build::default();
    b.plan.contracts.push(Contract { name: "no_such_kernel".into(), version: 3 });
    let message = Artifact::from_bytes(b.bytes()).unwrap_err().to_string();
    assert_eq!(message, "this runtime has no kernel \"no_such_kernel\" version 3 for this CPU");
    let any = nnc_kernels::kernels().next().unwrap();
    b.plan.contracts[0] = Contract { name: any.contract.into(), version: any.version };
    for isa in [None, Some(nnc_runtime::Isa::Portable)] {
        let options = LoadOptions { isa, ..LoadOptions::default() };
        let artifact = Artifact::from_bytes_with(b.bytes(), &options).unwrap();
        let bound = artifact.kernels()[0];
        assert_eq!(bound.contract, any.contract);
        assert!(isa.is_none_or(|isa| bound.isa == isa));
    }
    let foreign = if cfg!(target_arch = "aarch64") { nnc_runtime::Isa::Avx2 } else { nnc_runtime::Isa::Neon };
    let options = LoadOptions { isa: Some(foreign), ..LoadOptions::default() };
    let message = Artifact::from_bytes_with(b.bytes(), &options).unwrap_err().to_string();
    assert_eq!(message, format!("this CPU has no instruction set \"{}\"", foreign.name()));
}

#[test]
fn wrong_plans_are_refused() {
    type Change = fn(&mut Build);
    let cases: &[(&str, Change)] = &[
        ("there is no size 999", |b| b.plan.buffers[0].shape[0] = DimId(999)),
        ("there is no buffer 999", |b| b.copy(BufferId(999), BufferId(0))),
        ("buffer 0 cannot be written", |b| b.copy(BufferId(0), BufferId(0))),
        ("buffer 1 cannot be written", |b| b.copy(BufferId(0), BufferId(1))),
        ("lies outside the code", |b| b.plan.kernels[0].offset = 1),
        ("lies outside the weights", |b| {
            b.plan.buffers[1].place = Place::Constant { offset: u64::MAX, len: 16 };
        }),
        ("has 8 bytes, which is not its size", |b| {
            b.plan.buffers[1].place = Place::Constant { offset: 0, len: 8 };
        }),
        ("is a view of itself", |b| {
            let at = b.plan.buffers.len() as u32;
            b.buffer(DType::U8, &[], Place::View { of: BufferId(at), offset: DimId(0) });
        }),
        ("nothing gives size \"ghost\" its value", |b| {
            b.dim(nnc_runtime::Dim::named("ghost"));
        }),
        ("size \"n\" is given twice", |b| {
            b.step(Step::Bind { source: Source::Size(BufferId(0), 0), sym: sym("n") });
        }),
        ("inputs and their buffers do not match", |b| b.plan.inputs.push(b.plan.inputs[0].clone())),
        ("steps are nested deeper than 64", |b| {
            let cond = BufferId(5);
            let nest = |then| vec![Step::If { cond, then, otherwise: Vec::new() }];
            b.plan.steps = (0..70).fold(Vec::new(), |steps, _| nest(steps));
        }),
        ("this runtime has no routine \"unheard_of\"", |b| {
            let step = b.routine("unheard_of", &[], &[]);
            b.step(step);
        }),
    ];
    for (expected, change) in cases {
        let mut b = sample();
        change(&mut b);
        let options = LoadOptions { routines: ROUTINES, ..LoadOptions::default() };
        let message = match Artifact::from_bytes_with(b.bytes(), &options) {
            Ok(_) => "it loads".to_owned(),
            Err(e) => e.to_string(),
        };
        assert!(message.contains(expected), "expected {expected:?}, found {message:?}");
    }
}

/// Other crates may have switched the feature on, so the message is made by hand as well.
#[test]
fn routines_of_a_feature_that_is_off_name_it() {
    let mut b = Build::default();
    let step = b.routine("zipmap", &[], &[]);
    b.step(step);
    let message = match Artifact::from_bytes(b.bytes()) {
        Err(e) => e.to_string(),
        Ok(_) => ArtifactError::Routine { name: "zipmap".into(), feature: Some("ml") }.to_string(),
    };
    assert_eq!(message, "this runtime has no routine \"zipmap\"; it needs the feature \"ml\"");
}

#[test]
fn a_writer_that_stops_leaves_the_old_file() {
    let path = sample().file();
    let before = std::fs::read(&path).unwrap();
    let mut writer = ArtifactWriter::create(&path).unwrap();
    writer.constant(&[1; 1000]).unwrap();
    drop(writer);
    assert_eq!(std::fs::read(&path).unwrap(), before);
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let left = std::fs::read_dir(path.parent().unwrap()).unwrap();
    let left = left.filter(|f| f.as_ref().unwrap().file_name().to_string_lossy().contains(&name)).count();
    assert_eq!(left, 1);
    std::fs::remove_file(&path).unwrap();
    let missing = std::env::temp_dir().join("no such folder").join("x.nnc");
    let Err(error) = ArtifactWriter::create(&missing) else { panic!("a folder appeared") };
    assert!(error.to_string().starts_with("cannot create \""), "{error}");
}
