//! The house's rules, kept by reading the sources.

use crate::models::{folder, import_file};
use crate::program::root;
use nnc_passes::{Report, Target};
use nnc_tensor::plan::Step;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Package, its manifest, and the packages of this workspace that it may use.
const ARROWS: &[(&str, &str, &[&str])] = &[
    ("nnc-tensor", "runtime/tensor", &[]),
    ("nnc-kernels", "runtime/kernels", &[]),
    ("nnc-routines", "runtime/routines", &["nnc-tensor"]),
    ("nnc-runtime", "runtime", &["nnc-kernels", "nnc-routines", "nnc-tensor"]),
    ("nnc-ir", "ir", &["nnc-routines", "nnc-tensor"]),
    ("nnc-frontend", "frontend", &["nnc-ir", "nnc-tensor"]),
    ("nnc-passes", "passes", &["nnc-ir", "nnc-tensor"]),
    ("nnc-codegen", "codegen", &["nnc-ir", "nnc-runtime", "nnc-tensor"]),
    ("nnc-ptx", "tests/ptx", &[]),
    (
        "nnc",
        ".",
        &["nnc-codegen", "nnc-frontend", "nnc-ir", "nnc-passes", "nnc-routines", "nnc-runtime", "nnc-tensor"],
    ),
];

/// Packages that may use all others: what crosses crates.
const ABOVE: &[&str] = &["tests", "benches"];

/// Where `unsafe` may stand: kernels, mapped memory, threads' shared memory, calls of machine code and of
/// a device's driver.
const UNSAFE: &[&str] = &[
    "runtime/kernels/",
    "runtime/src/os/",
    "runtime/src/artifact/map.rs",
    "runtime/src/device/cuda/",
    "runtime/src/exec/call.rs",
    "src/map.rs",
    "codegen/tests/run/harness.rs",
    "runtime/examples/measure.rs",
    "runtime/tests/driver/stub.rs",
    "runtime/tests/run/allocations.rs",
];

/// Longest file, its tests left out.
const MAX_LINES: usize = 600;

/// Files that may be longer, each with its reason. None is.
const LONG: &[(&str, &str)] = &[];

/// The closed list of what is irregular enough to be a routine; all else is compiled.
const ROUTINES: &[&str] = &[
    // Selection: how much comes out depends on the data.
    "compress",
    "nms",
    "nonzero",
    "sort",
    "topk",
    "unique",
    // Random numbers.
    "bernoulli",
    "dropout_mask",
    "multinomial",
    "random_normal",
    "random_uniform",
    // Sequences, optionals, maps.
    "array_feature_extractor",
    "cast_map",
    "concat_from_sequence",
    "dict_vectorizer",
    "optional",
    "optional_get_element",
    "optional_has_element",
    "sequence_at",
    "sequence_construct",
    "sequence_empty",
    "sequence_erase",
    "sequence_insert",
    "sequence_length",
    "split_to_sequence",
    "zipmap",
    // Strings, labels, files of pictures.
    "cast",
    "category_mapper",
    "image_decoder",
    "label_encoder",
    "one_hot_encoder",
    "regex_full_match",
    "string_concat",
    "string_normalizer",
    "string_split",
    "tfidf_vectorizer",
];

/// Words that would betray code for one model.
const MODELS: &[&str] = &[
    "alexnet",
    "bert",
    "convnext",
    "deeplab",
    "densenet",
    "distilbert",
    "efficientnet",
    "espcn",
    "fastestdet",
    "gpt2",
    "gtcrn",
    "inception",
    "llama",
    "magika",
    "minilm",
    "mnist",
    "mobilenet",
    "phi3",
    "ppocr",
    "qwen",
    "regnet",
    "resnet",
    "retinanet",
    "shufflenet",
    "silero",
    "squeezenet",
    "ssdlite",
    "swin",
    "ultraface",
    "unet",
    "vgg",
    "vgg16",
    "vit",
    "whisper",
    "yolo",
];

/// Folders whose sources are the compiler and the runtime.
const COMPILER: &[&str] = &["frontend/src", "ir/src", "passes/src", "codegen/src", "runtime", "src"];

/// Every Rust file of the repository, as a path from its root with its text.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    walk(root(), &mut found);
    found.sort();
    let text = |p: PathBuf| {
        let name =
            p.strip_prefix(root()).expect("inside the repository").to_string_lossy().replace('\\', "/");
        (name, std::fs::read_to_string(&p).expect("a source can be read"))
    };
    found.into_iter().map(text).collect()
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder can be read").flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let hidden = name.to_string_lossy().starts_with('.') || name == "target";
        if path.is_dir() && !hidden {
            walk(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// What a manifest's section names, and its own lines.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join(manifest).join("Cargo.toml")).expect("a manifest");
    let mut inside = false;
    let mut names = BTreeSet::new();
    for line in text.lines() {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]") && !line.contains("dev-") && !line.contains("workspace");
        } else if let (true, Some((name, _))) = (inside, line.split_once('=')) {
            names.insert(name.trim().trim_end_matches(".workspace").to_owned());
        }
    }
    names
}

#[test]
fn packages_use_no_others_than_the_design_allows() {
    let text = std::fs::read_to_string(root().join("Cargo.toml")).expect("the manifest");
    let members = text.lines().find_map(|l| l.strip_prefix("members = ")).expect("a list of members");
    for member in members.split('"').skip(1).step_by(2).filter(|m| !ABOVE.contains(m)) {
        assert!(ARROWS.iter().any(|(_, folder, _)| *folder == member), "{member} has no row in ARROWS");
    }
    for (name, folder, allowed) in ARROWS {
        let ours = dependencies(folder).into_iter().filter(|d| d == "nnc" || d.starts_with("nnc-"));
        let new: Vec<String> = ours.filter(|d| !allowed.contains(&d.as_str())).collect();
        assert!(new.is_empty(), "{name} must not use {new:?}");
    }
}

#[test]
fn the_runtime_alone_holds_no_compiler() {
    let run = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "-p", "nnc-runtime", "-e", "normal", "--prefix", "none"])
        .current_dir(root())
        .output()
        .expect("cargo starts");
    let tree = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(run.status.success() && tree.contains("nnc-kernels"), "{}", String::from_utf8_lossy(&run.stderr));
    for heavy in
        ["protobuf", "cranelift", "petgraph", "image", "regex", "nnc-ir", "nnc-frontend", "nnc-passes"]
    {
        assert!(!tree.lines().any(|l| l.contains(heavy)), "{heavy} is linked\n{tree}");
    }
}

#[test]
fn every_file_says_what_it_holds() {
    let silent = sources().into_iter().filter(|(_, text)| !text.starts_with("//! "));
    let silent: Vec<String> = silent.map(|(name, _)| name).collect();
    assert!(silent.is_empty(), "no module comment: {silent:?}");
}

#[test]
fn files_are_short() {
    let lines = |text: &str| {
        let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or(text);
        code.lines().count()
    };
    let mut long: BTreeMap<String, usize> = BTreeMap::new();
    long.extend(
        sources().iter().map(|(name, text)| (name.clone(), lines(text))).filter(|(_, n)| *n > MAX_LINES),
    );
    for (name, reason) in LONG {
        assert!(long.remove(*name).is_some(), "{name} is short now, no exception is needed: {reason}");
    }
    assert!(long.is_empty(), "longer than {MAX_LINES} lines: {long:?}");
}

/// The code of a line: what stands before a comment.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or(line)
}

#[test]
fn unsafe_code_stays_where_it_is_allowed() {
    let marks = ["unsafe {", "unsafe fn", "unsafe extern", "unsafe impl", "unsafe("];
    let mut used = BTreeSet::new();
    for (name, text) in sources().iter().filter(|(name, _)| name != "tests/src/house.rs") {
        if !text.lines().any(|l| marks.iter().any(|m| code(l).contains(m))) {
            continue;
        }
        let place = UNSAFE.iter().find(|p| name.starts_with(**p));
        used.insert(*place.unwrap_or_else(|| panic!("unsafe code in {name}")));
    }
    assert_eq!(used.len(), UNSAFE.len(), "no unsafe code is left in some of {UNSAFE:?}; take them out");
}

#[test]
fn crates_without_unsafe_code_forbid_it() {
    for (name, folder, _) in ARROWS.iter().filter(|(name, ..)| *name != "nnc-kernels") {
        let file = std::fs::read_to_string(root().join(folder).join("src/lib.rs")).expect("a library");
        let word = if ["nnc", "nnc-runtime"].contains(name) { "deny" } else { "forbid" };
        assert!(file.contains(&format!("#![{word}(unsafe_code)]")), "{name}");
    }
}

#[test]
fn no_model_has_code_of_its_own() {
    let inside = |name: &str| COMPILER.iter().any(|f| name.starts_with(&format!("{f}/")));
    for (name, text) in sources().iter().filter(|(name, _)| inside(name) && !name.contains("/tests")) {
        for (i, line) in text.lines().enumerate() {
            let lower = line.to_lowercase();
            let mut words = lower.split(|c: char| !c.is_ascii_alphanumeric());
            let word = words.find(|w| MODELS.contains(w));
            assert!(word.is_none(), "{name}:{}: {}", i + 1, line.trim());
        }
    }
}

fn routines<'a>(steps: &'a [Step], names: &mut BTreeSet<&'a str>) {
    for step in steps {
        match step {
            Step::Routine { name, .. } => drop(names.insert(name)),
            Step::If { then, otherwise, .. } => {
                [then, otherwise].into_iter().for_each(|s| routines(s, names))
            }
            Step::Loop(l) => routines(&l.body, names),
            Step::Launch { .. } | Step::Copy { .. } | Step::Bind { .. } => {}
        }
    }
}

#[test]
fn routines_are_a_closed_list() {
    for row in nnc_routines::ROUTINES {
        assert!(ROUTINES.contains(&row.name), "{} is no routine of the design", row.name);
    }
    let ours = root().join("examples");
    let trained = folder("trained");
    let models: Vec<PathBuf> =
        [Some(ours), trained].into_iter().flatten().flat_map(|f| models_in(&f)).collect();
    assert!(models.len() >= 3, "the examples are there");
    for model in models {
        let graph = import_file(&model);
        let graph = nnc_passes::optimize(&graph, &Target::default(), &mut Report::default(), &mut |_, _| ());
        let program = nnc_passes::lower(&graph.expect("the passes run"), &Target::default())
            .expect("the graph is lowered");
        let mut names = BTreeSet::new();
        routines(&program.plan.steps, &mut names);
        let strange: Vec<_> = names.iter().filter(|n| !ROUTINES.contains(n)).collect();
        assert!(strange.is_empty(), "{}: {strange:?}", model.display());
    }
}

fn models_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder can be read").flatten();
    entries.map(|e| e.path().join("model.onnx")).filter(|p| p.is_file()).collect()
}
