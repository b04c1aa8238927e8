//! The program: what it prints, its exit codes, one message for each thing that can be wrong.

use crate::onnx::{field, model, node, number, relu};
use nnc_runtime::{ArtifactInfo, ArtifactWriter, TargetCode, TargetInfo, host_abi};
use nnc_tensor::Tensor;
use nnc_tensor::file::{read_npz, write_npy, write_tensor_proto};
use nnc_tensor::plan::Plan;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use tempfile::TempDir;

/// The program.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| crate::program::build("bin", "nnc"))
}

/// A folder for one test, with files.
fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, bytes) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("inside the folder")).expect("a folder is made");
        std::fs::write(path, bytes).expect("a file is written");
    }
    folder
}

/// Runs the program in a folder.
fn nnc(folder: &TempDir, words: &str) -> Output {
    let words: Vec<OsString> = words.split_whitespace().map(OsString::from).collect();
    let run =
        Command::new(program()).args(words).current_dir(folder.path()).env_remove("NNC_THREADS").output();
    run.expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs the program and expects success; answers what it printed.
fn good(folder: &TempDir, words: &str) -> String {
    let run = nnc(folder, words);
    assert!(run.status.success(), "nnc {words}: {}", text(&run.stderr));
    text(&run.stdout)
}

/// Runs the program and expects it to blame the user: exit code 2, one message with all `parts`, and no
/// file that was not there before.
fn bad(folder: &TempDir, words: &str, parts: &[&str]) {
    let before = listing(folder);
    let run = nnc(folder, words);
    let message = text(&run.stderr);
    assert_eq!(run.status.code(), Some(2), "nnc {words}: {message}");
    assert_eq!(message.matches("error:").count(), 1, "nnc {words}: {message}");
    for part in parts {
        assert!(message.contains(part), "nnc {words}: expected \"{part}\" in {message}");
    }
    assert_eq!(before, listing(folder), "nnc {words} leaves nothing behind");
}

fn listing(folder: &TempDir) -> Vec<OsString> {
    let entries = std::fs::read_dir(folder.path()).expect("the folder is there");
    let mut names: Vec<OsString> = entries.flatten().map(|e| e.file_name()).collect();
    names.sort();
    names
}

#[test]
fn precision_classes_are_kept() {
    let f = folder(&[("m.onnx", &relu(&[0, 3]))]);
    let json: serde_json::Value =
        serde_json::from_str(&good(&f, "compile m.onnx --precision f32-fast --json")).unwrap();
    assert_eq!(json["precision"], "f32-fast");
    let printed = good(&f, "show m.nnc");
    assert!(printed.contains("1 kernels, f32-fast, "), "{printed}");
    let printed = good(&f, "show m.onnx");
    assert!(printed.contains("1 kernels, f32, "), "{printed}");
    bad(&f, "compile m.onnx --precision f8", &["--precision", "f32-strict"]);
}

#[test]
fn compiles_and_runs() {
    let x = Tensor::from_slice(&[2, 3], &[-1.0f32, 2.0, -3.0, 4.0, -5.0, 6.0]).unwrap();
    let f = folder(&[("m.onnx", &relu(&[0, 3])), ("x.npy", &write_npy(&x).unwrap())]);
    let printed = good(&f, "compile m.onnx");
    assert!(printed.contains("1 nodes, 1 operators, opset 21") && printed.contains("m.nnc"), "{printed}");
    let json: serde_json::Value =
        serde_json::from_str(&good(&f, "run m.nnc --input x=x.npy -o y.npz --json")).unwrap();
    assert_eq!(json["outputs"][0]["shape"], serde_json::json!([2, 3]));
    let expected = Tensor::from_slice(&[2, 3], &[0.0f32, 2.0, 0.0, 4.0, 0.0, 6.0]).unwrap();
    let archive = std::fs::read(f.path().join("y.npz")).unwrap();
    assert_eq!(read_npz(&archive, 1 << 20).unwrap(), [("y".to_owned(), expected)]);
    for source in
        ["x=x.npy", "x.npy", "x=zeros", "x=random:7 --dim n=4", "x=random --profile t.json --threads 1"]
    {
        assert!(good(&f, &format!("run m.nnc --input {source}")).contains("y: f32["), "{source}");
    }
    assert!(good(&f, "show m.nnc --stage plan").contains("input \"x\" = b0"));
}

#[test]
fn every_verb_answers() {
    let f = folder(&[("m.onnx", &relu(&[0, 3]))]);
    assert!(good(&f, "").contains("nnc compile"));
    assert!(good(&f, "--version").contains("native target"));
    for verb in ["compile", "run", "bench", "check", "verify", "show", "ops", "completions", "json"] {
        assert!(!good(&f, &format!("help {verb}")).is_empty());
    }
    assert!(good(&f, "completions bash").contains("nnc"));
    assert!(good(&f, "check m.onnx").contains("every operator is supported"));
    for options in [
        "",
        "--memory",
        "--costs",
        "--dot",
        "--stage import",
        "--stage graph",
        "--stage tiles",
        "--stage code",
        "--why simplify",
    ] {
        assert!(!good(&f, &format!("show m.onnx {options}")).is_empty(), "{options}");
    }
    for line in good(&f, "ops --json").lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(row["operator"].is_string() && row["versions"].is_array(), "{line}");
    }
    let bench = good(&f, "bench m.onnx --json --time 10ms --threads 1,2");
    let last: serde_json::Value = serde_json::from_str(bench.lines().last().unwrap()).unwrap();
    assert!(last["median"].as_f64().unwrap() > 0.0 && last["threads"] == 2);
}

#[test]
fn text_form_compiles_too() {
    let f = folder(&[("m.onnx", &relu(&[2]))]);
    good(&f, "compile m.onnx --emit nnir");
    good(&f, "compile m.nnir -o again.nnc");
    assert!(good(&f, "run again.nnc --input x=zeros").contains("y: f32[2]"));
    let broken = folder(&[("m.nnir", b"graph @x( {")]);
    bad(&broken, "compile m.nnir", &["m.nnir", "1:"]);
}

#[test]
fn verify_follows_its_protocol() {
    let (x, y) = ([-1.0f32, 2.0], [0.0f32, 2.0]);
    let tensor = |v: &[f32], name| write_tensor_proto(&Tensor::from_slice(&[2], v).unwrap(), name);
    let unknown = model(&[2], &[node("com.example", "Foo", &["x"], "y")], &[]);
    let f = folder(&[
        ("good/model.onnx", &relu(&[2])),
        ("good/test_data_set_0/input_0.pb", &tensor(&x, "x")),
        ("good/test_data_set_0/output_0.pb", &tensor(&y, "y")),
        ("wrong/model.onnx", &relu(&[2])),
        ("wrong/test_data_set_0/input_0.pb", &tensor(&x, "x")),
        ("wrong/test_data_set_0/output_0.pb", &tensor(&x, "y")),
        ("foo/model.onnx", &unknown),
        ("broken/model.onnx", b"no model"),
    ]);
    let run = nnc(&f, "verify --json good wrong foo broken missing");
    assert_eq!(run.status.code(), Some(1), "{}", text(&run.stderr));
    let lines: Vec<serde_json::Value> =
        text(&run.stdout).lines().map(|l| serde_json::from_str(l).expect("a JSON object a line")).collect();
    let status: Vec<&str> = lines.iter().map(|l| l["status"].as_str().unwrap()).collect();
    assert_eq!(status, ["pass", "fail", "unsupported", "error", "error"]);
    for key in ["case", "status", "message", "max_abs", "rel_l2", "kernels", "routines", "isa"] {
        assert!(lines.iter().all(|l| l.get(key).is_some()), "{key}");
    }
    assert_eq!(lines[1]["max_abs"], 1.0);
    assert!(lines[2]["message"].as_str().unwrap().contains("Foo (com.example, version 1)"));
    good(&f, "verify good --reference interpreter --isa portable");
    assert!(good(&f, "verify good --layers").contains("no node deviates"));
    let loose = folder(&[
        ("c/model.onnx", &relu(&[2])),
        ("c/tolerance.json", b"{\"rtol\": 0, \"atol\": 1.5}"),
        ("c/test_data_set_0/input_0.pb", &tensor(&x, "x")),
        ("c/test_data_set_0/output_0.pb", &tensor(&[1.0, 2.5], "y")),
    ]);
    good(&loose, "verify c");
}

#[test]
fn damaged_models_are_named() {
    let whole = relu(&[2]);
    let f = folder(&[
        ("cut.onnx", &whole[..whole.len() / 2]),
        ("empty.onnx", b""),
        ("text.onnx", b"%PDF-1.7 this is something else"),
    ]);
    bad(&f, "compile cut.onnx", &["cut.onnx", "truncated"]);
    bad(&f, "compile empty.onnx", &["empty.onnx", "empty"]);
    bad(&f, "compile text.onnx", &["text.onnx"]);
    bad(&f, "compile missing.onnx", &["missing.onnx", "cannot open"]);
    bad(&f, "compile .", &["cannot open"]);
}

#[test]
fn missing_external_data_is_named() {
    let entry =
        |key: &str, value: &str| field(13, &[field(1, key.as_bytes()), field(2, value.as_bytes())].concat());
    let place = [entry("location", "weights.bin"), entry("length", "8")].concat();
    let w = [number(1, 2), number(2, 1), field(8, b"w"), place, number(14, 1)].concat();
    let f = folder(&[("m.onnx", &model(&[2], &[node("", "Add", &["x", "w"], "y")], &[w]))]);
    bad(&f, "compile m.onnx", &["tensor \"w\"", "weights.bin"]);
    std::fs::write(f.path().join("weights.bin"), [0; 4]).unwrap();
    bad(&f, "compile m.onnx", &["tensor \"w\"", "weights.bin", "too short"]);
}

#[test]
fn all_unsupported_operators_are_listed() {
    let nodes = [
        node("com.example", "Foo", &["x"], "a"),
        node("", "NoSuchOp", &["x"], "b"),
        node("", "Add", &["a", "b"], "y"),
    ];
    let f = folder(&[("m.onnx", &model(&[2], &nodes, &[]))]);
    for verb in ["compile", "check", "run"] {
        bad(
            &f,
            &format!("{verb} m.onnx"),
            &["m.onnx", "Foo (com.example, version 1)", "NoSuchOp (ai.onnx, version 21)"],
        );
    }
    let json: serde_json::Value =
        serde_json::from_str(&text(&nnc(&f, "check m.onnx --json").stdout)).unwrap();
    assert_eq!((&json["supported"], json["problems"].as_array().unwrap().len()), (&false.into(), 2));
}

#[test]
fn wrong_inputs_are_named() {
    let wide = Tensor::from_slice(&[2, 4], &[0.0f32; 8]).unwrap();
    let ints = Tensor::from_slice(&[2, 3], &[0i64; 6]).unwrap();
    let f = folder(&[
        ("m.onnx", &relu(&[0, 3])),
        ("wide.npy", &write_npy(&wide).unwrap()),
        ("ints.npy", &write_npy(&ints).unwrap()),
        ("cut.npy", &write_npy(&wide).unwrap()[..20]),
        ("ragged.json", b"[[1, 2, 3], [4]]"),
        ("short.raw", &[0; 10]),
    ]);
    bad(&f, "run m.onnx", &["no value", "\"x\": f32[n, 3]"]);
    bad(&f, "run m.onnx --input z=zeros", &["no input \"z\"", "\"x\": f32[n, 3]"]);
    bad(&f, "run m.onnx --input x=wide.npy", &["\"x\" must be f32[n, 3]", "f32[2, 4]"]);
    bad(&f, "run m.onnx --input x=ints.npy", &["\"x\" must be f32[n, 3]", "i64[2, 3]"]);
    bad(&f, "run m.onnx --input x=cut.npy", &["cut.npy"]);
    bad(&f, "run m.onnx --input x=ragged.json", &["ragged.json", "equal length"]);
    bad(&f, "run m.onnx --input x=short.raw", &["\"x\" must be f32[n, 3]"]);
    bad(&f, "run m.onnx --input x=missing.npy", &["missing.npy"]);
    bad(&f, "run m.onnx --input x=what.xyz", &["what.xyz", "help:"]);
    bad(&f, "run m.onnx --input x=random:many", &["random:SEED"]);
    bad(&f, "run m.onnx --input x=zeros --labels none.txt", &["none.txt"]);
}

#[test]
fn limits_hold() {
    let f = folder(&[("m.onnx", &relu(&[0, 3]))]);
    bad(&f, "run m.onnx --input x=zeros --timeout 0s", &["deadline"]);
    bad(&f, "run m.onnx --input x=zeros --dim n=1000 --max-memory 1KB", &["bytes, allowed are 1000"]);
}

#[test]
fn foreign_and_damaged_artifacts_are_refused() {
    let f = folder(&[("m.onnx", &relu(&[2]))]);
    let foreign = if cfg!(target_arch = "aarch64") { "x86-64-v3" } else { "aarch64" };
    let target = TargetInfo { name: foreign.into(), abi: host_abi().into(), features: Vec::new() };
    let info = ArtifactInfo { targets: vec![target], ..ArtifactInfo::default() };
    let writer = ArtifactWriter::create(&f.path().join("foreign.nnc")).unwrap();
    let code = TargetCode { code: &[], plan: &Plan::default(), device: None };
    writer.finish(&[code], &info).unwrap();
    bad(&f, "run foreign.nnc --input x=zeros", &["foreign.nnc", foreign, "help:"]);
    good(&f, "compile m.onnx");
    let whole = std::fs::read(f.path().join("m.nnc")).unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(f.path().join(name), bytes).unwrap();
    let mut later = whole.clone();
    later[4] = 99;
    let mut flipped = whole.clone();
    let middle = flipped.len() - 10;
    flipped[middle] ^= 1;
    write("later.nnc", &later);
    write("cut.nnc", &whole[..whole.len() - 1]);
    write("flipped.nnc", &flipped);
    write("empty.nnc", b"");
    write("other.nnc", b"something else");
    bad(&f, "run later.nnc --input x=zeros", &["later.nnc", "format 99", "help:"]);
    bad(&f, "run cut.nnc --input x=zeros", &["cut.nnc", "incomplete"]);
    bad(&f, "run flipped.nnc --input x=zeros", &["flipped.nnc", "damaged"]);
    bad(&f, "run empty.nnc", &["empty.nnc", "no nnc artifact"]);
    bad(&f, "run other.nnc", &["other.nnc", "no nnc artifact"]);
    bad(&f, "show m.nnc --stage graph", &["holds no graph"]);
}

#[test]
fn unwritable_places_are_named() {
    let f = folder(&[("m.onnx", &relu(&[2])), ("folder/here", b"")]);
    bad(&f, "compile m.onnx -o none/m.nnc", &["none", "cannot create"]);
    bad(&f, "compile m.onnx -o folder", &["folder", "no regular file"]);
    bad(&f, "run m.onnx --input x=zeros -o none/y.npz", &["none", "cannot write"]);
    #[cfg(target_os = "linux")]
    {
        bad(&f, "compile m.onnx -o /dev/full", &["/dev/full", "no regular file"]);
        bad(&f, "run m.onnx --input x=zeros -o /dev/full", &["/dev/full", "no regular file"]);
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("linux has it");
        let run = Command::new(program()).arg("ops").stdout(full).output().expect("the program starts");
        assert_eq!(run.status.code(), Some(2));
        assert!(text(&run.stderr).contains("cannot write to standard output"));
    }
}

#[test]
fn a_failed_compilation_leaves_the_old_artifact() {
    let f = folder(&[("m.onnx", &relu(&[2])), ("m.nnc", b"old")]);
    let unknown = model(&[2], &[node("", "NoSuchOp", &["x"], "y")], &[]);
    std::fs::write(f.path().join("m.onnx"), unknown).unwrap();
    bad(&f, "compile m.onnx", &["NoSuchOp"]);
    assert_eq!(std::fs::read(f.path().join("m.nnc")).unwrap(), b"old");
}

#[test]
fn wrong_options_are_named() {
    let f = folder(&[("m.onnx", &relu(&[0, 3]))]);
    bad(&f, "compile m.onnx --frobnicate", &["--frobnicate"]);
    bad(&f, "frobnicate", &["frobnicate"]);
    bad(&f, "help frobnicate", &["frobnicate", "help:"]);
    bad(&f, "compile m.onnx --target pdp11", &["pdp11", "x86-64-v3"]);
    bad(&f, "compile m.onnx -O9", &["9"]);
    bad(&f, "compile m.onnx --dim n=many", &["--dim", "n=many"]);
    bad(&f, "compile m.onnx --input x:f99[1]", &["x:f99[1]", "help:"]);
    bad(&f, "compile m.onnx --outputs nothing", &["nothing"]);
    bad(&f, "run m.onnx --threads 0 --input x=zeros", &["--threads"]);
    bad(&f, "bench m.onnx --batch 5..1", &["--batch"]);
    bad(&f, "bench m.onnx --resident", &["--device"]);
    bad(&f, "bench m.onnx --resident --device cuda:7", &["no device \"cuda:7\""]);
    bad(&f, "show m.onnx --why frobnicate", &["frobnicate", "simplify"]);
    let run = Command::new(program())
        .args(["run", "m.onnx", "--input", "x=zeros"])
        .current_dir(f.path())
        .env("NNC_THREADS", "many")
        .output()
        .expect("the program starts");
    assert_eq!(run.status.code(), Some(2));
    assert!(text(&run.stderr).contains("NNC_THREADS"));
}

/// The lines of JSON that a command prints.
fn json_lines(folder: &TempDir, words: &str) -> Vec<serde_json::Value> {
    good(folder, words).lines().map(|l| serde_json::from_str(l).expect("a JSON object a line")).collect()
}

fn example(name: &str) -> String {
    crate::program::root().join("examples").join(name).display().to_string()
}

#[test]
fn costs_are_counted() {
    let f = folder(&[("m.onnx", &relu(&[0, 3]))]);
    let relu = json_lines(&f, "show m.onnx --costs --json --dim n=1..9");
    assert_eq!((&relu[0]["flop"], &relu[0]["bytes"]), (&3.into(), &24.into()));
    let table = good(&f, "show m.onnx --costs --dim n=4");
    assert!(table.contains("12 FLOP") && !table.contains("at n"), "{table}");
    assert!(good(&f, "show m.onnx --costs").contains("at n = 1 (free)"));
    let digits = json_lines(&f, &format!("show {} --costs --json", example("digits/model.onnx")));
    // Three convolutions of 3×3 without padding, the first two with ReLU; ReLU and batch normalization; two
    // products, the first with ReLU; a softmax of ten. A sum of k products is 2 k, the bias one more.
    let convolutions = [(26 * 26 * 8, 9, 2), (24 * 24 * 16, 72, 2), (22 * 22 * 24, 144, 1)];
    let hidden = 22 * 22 * 24;
    let expected: u64 = convolutions.iter().map(|(n, k, more)| n * (2 * k + more)).sum::<u64>()
        + 3 * hidden
        + 32 * (2 * hidden + 2)
        + 10 * (2 * 32 + 1)
        + 5 * 10;
    assert_eq!(digits.iter().filter_map(|l| l["flop"].as_u64()).sum::<u64>(), expected);
    good(&f, "compile m.onnx");
    let artifact = json_lines(&f, "show m.nnc --costs --json");
    assert!(artifact[0]["flop"].is_null() && artifact[0]["bytes"] == 24);
}

#[test]
fn compile_runs_what_it_wrote() {
    let (x, y) = ([-1.0f32, 2.0], [0.0f32, 2.0]);
    let tensor = |v: &[f32], name| write_tensor_proto(&Tensor::from_slice(&[2], v).unwrap(), name);
    let f = folder(&[
        ("m.onnx", &relu(&[2])),
        ("good/model.onnx", &relu(&[2])),
        ("good/test_data_set_0/input_0.pb", &tensor(&x, "x")),
        ("good/test_data_set_0/output_0.pb", &tensor(&y, "y")),
        ("wrong/model.onnx", &relu(&[2])),
        ("wrong/test_data_set_0/input_0.pb", &tensor(&x, "x")),
        ("wrong/test_data_set_0/output_0.pb", &tensor(&x, "y")),
    ]);
    assert!(good(&f, "compile m.onnx --verify").contains("verified   against the interpreter"));
    assert!(good(&f, "compile good/model.onnx --verify").contains("against 1 data set beside the model"));
    let json = json_lines(&f, "compile good/model.onnx --verify --json");
    assert_eq!(
        (&json[0]["verified"]["reference"], &json[0]["verified"]["max_abs"]),
        (&"files".into(), &0.0.into())
    );
    let run = nnc(&f, "compile wrong/model.onnx --verify");
    let message = text(&run.stderr);
    assert_eq!((run.status.code(), message.matches("error:").count()), (Some(1), 1), "{message}");
    assert!(message.contains("wrong results: output \"y\""), "{message}");
}

#[test]
fn compile_holds_to_a_limit() {
    let f = folder(&[("m.onnx", &relu(&[0, 3]))]);
    let parts = ["0 B weights", "12 KB activations", "n = 1000", "allowed are 4000", "--dim"];
    bad(&f, "compile m.onnx --dim n=1..1000 --max-memory 4KB", &parts);
    bad(&f, "compile m.onnx --max-memory much", &["--max-memory", "512MB"]);
    bad(&f, "compile m.onnx --max-memory 1GB --emit dot", &["--max-memory", "--emit dot"]);
    good(&f, "compile m.onnx --dim n=1..100 --max-memory 4KB");
}

#[test]
fn reports_stand_alone() {
    let nodes = [node("", "Exp", &["x"], "</td><i>&\"a"), node("", "MatMul", &["</td><i>&\"a", "x"], "y")];
    let f = folder(&[("m<b>.onnx", &model(&[2, 2], &nodes, &[]))]);
    good(&f, "compile m<b>.onnx -o m.nnc --report page.html");
    let page = std::fs::read_to_string(f.path().join("page.html")).unwrap();
    assert!(page.contains("<title>m&lt;b&gt;.onnx – nnc</title>") && page.ends_with("</html>\n"), "{page}");
    assert!(page.contains("&lt;/td&gt;&lt;i&gt;&amp;&quot;a"), "{page}");
    for foreign in ["<i>", "<b>", "<script", "http:", "https:", "src=", "@import"] {
        assert!(!page.contains(foreign), "{foreign} in {page}");
    }
    for (open, close) in [("<table", "</table>"), ("<tr>", "</tr>"), ("<td", "</td>"), ("<svg", "</svg>")] {
        assert_eq!(page.matches(open).count(), page.matches(close).count(), "{open}");
    }
    assert!(page.contains("<code>contract</code>") && page.contains("20 FLOP"), "{page}");
    bad(&f, "compile m<b>.onnx --report none/page.html", &["none", "cannot write"]);
}

#[test]
fn graphs_survive_their_text() {
    let f = folder(&[("m.onnx", &relu(&[0, 3]))]);
    let words = format!("verify m.onnx {} {} --roundtrip --json", example("digits"), example("keywords"));
    for line in json_lines(&f, &words) {
        assert_eq!((&line["status"], &line["message"]), (&"pass".into(), &"".into()));
    }
}

#[test]
fn kernels_have_rates() {
    let f = folder(&[]);
    let lines = json_lines(&f, "bench --kernels --json --time 1ms");
    let picked = lines.iter().filter(|l| l["picked"] == true).count();
    let mut trials: Vec<String> = lines.iter().map(|l| format!("{} {}", l["contract"], l["sizes"])).collect();
    trials.dedup();
    assert_eq!(picked, trials.len());
    for line in &lines {
        assert!(line["rate"].as_f64().unwrap() > 0.0 && line["peak"].as_f64().unwrap() > 0.0, "{line}");
    }
    assert!(good(&f, "bench --kernels --time 1ms").contains("multiply-adds in registers"));
    bad(&f, "bench", &["<MODEL|CASE>"]);
    bad(&f, "bench --assert", &["--kernels"]);
}

#[test]
fn profiles_tell_of_the_binding() {
    let f = folder(&[("m.onnx", &relu(&[0, 3]))]);
    assert!(good(&f, "run m.onnx --input x=zeros --profile t.json").contains("before the first step"));
    let trace = std::fs::read(f.path().join("t.json")).unwrap();
    let trace: serde_json::Value = serde_json::from_slice(&trace).unwrap();
    assert_eq!((&trace[0]["name"], &trace[1]["args"]["step"]), (&"bind sizes".into(), &0.into()));
    let json = json_lines(&f, "run m.onnx --input x=zeros --profile t.json --json");
    assert!(json[0]["binding"].as_f64().unwrap() > 0.0 && json[0]["profile"][0]["calls"] == 1, "{json:?}");
}

#[test]
fn missing_peers_say_how_to_get_them() {
    let f = folder(&[("m.onnx", &relu(&[2]))]);
    let cases = [("tract", "NNC_PEERS"), ("openvino", "pip install numpy openvino"), ("torch", "onnx2torch")];
    for (engine, help) in cases {
        let mut run = Command::new(program());
        run.args(["bench", "m.onnx", "--time", "1ms", "--against", engine]).current_dir(f.path());
        let run = run.env("PATH", "").env("NNC_PEERS", "./none").output().expect("the program starts");
        let message = text(&run.stderr);
        assert_eq!((run.status.code(), message.matches("error:").count()), (Some(2), 1), "{message}");
        assert!(message.contains(engine) && message.contains(help), "{message}");
    }
    bad(&f, "bench m.onnx --against abacus", &["abacus", "tract"]);
}

/// A peer is any program that speaks the protocol.
#[cfg(unix)]
#[test]
fn peers_take_turns() {
    use std::os::unix::fs::PermissionsExt;
    let script = b"#!/bin/sh\ncp \"$FOUND\" \"$4\"\necho '{\"version\": \"1.2\"}'\n\
        while read seconds; do echo '{\"times\": [0.5]}'; done\n";
    let f = folder(&[("m.onnx", &relu(&[2])), ("peer", script)]);
    std::fs::set_permissions(f.path().join("peer"), std::fs::Permissions::from_mode(0o755)).unwrap();
    good(&f, "run m.onnx --input x=zeros -o right.npz");
    good(&f, "run m.onnx --input x=random -o other.npz");
    for (found, agrees) in [("right.npz", true), ("other.npz", false)] {
        let mut run = Command::new(program());
        run.args(["bench", "m.onnx", "--input", "x=zeros", "--time", "1ms", "--json", "--against", "rten"]);
        run.current_dir(f.path()).env("NNC_PEERS", "./peer").env("FOUND", found);
        let run = run.output().expect("the program starts");
        assert!(run.status.success(), "{}", text(&run.stderr));
        let line: serde_json::Value = serde_json::from_str(&text(&run.stdout)).unwrap();
        let peer = &line["peers"][0];
        assert_eq!((&peer["engine"], &peer["median"]), (&"rten 1.2".into(), &0.5.into()));
        assert_eq!(peer["agrees"], agrees, "{line}");
    }
}
