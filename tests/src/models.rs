//! Whole trained models, compiled and run from their artifacts, against the expected outputs that
//! come with them.

use crate::compare::error;
use nnc::Options;
use nnc_frontend::{ImportOptions, import, model};
use nnc_runtime::{Artifact, Session};
use nnc_tensor::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A folder beside the checkout or in `NNC_MODELS`; says so where it is missing.
pub(crate) fn folder(name: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/models");
    let root = std::env::var_os("NNC_MODELS").map_or(beside, PathBuf::from);
    let path = root.join(name);
    if !path.is_dir() {
        eprintln!("skipped: {} does not exist", path.display());
        return None;
    }
    Some(path)
}

/// Reads and imports a model file.
pub(crate) fn import_file(path: &Path) -> nnc_ir::Graph {
    let bytes = std::fs::read(path).expect("the model can be read");
    let open = |p: &Path| -> std::io::Result<model::SharedBytes> { Ok(Arc::new(std::fs::read(p)?)) };
    let mut files = model::ExternalFiles::beside(path.parent().expect("a folder"), &open);
    let model = model::read_model(Arc::new(bytes), &mut files).unwrap_or_else(|e| panic!("{e}"));
    import(&model, &ImportOptions::default()).unwrap_or_else(|e| panic!("{e}"))
}

pub(crate) fn protos(folder: &Path, kind: &str) -> Vec<Value> {
    let read = |i: usize| std::fs::read(folder.join(format!("{kind}_{i}.pb"))).ok();
    let kind = nnc_tensor::file::ProtoKind::Tensor;
    (0..).map_while(read).map(|b| nnc_tensor::file::read_value_proto(&b, kind).expect("a tensor")).collect()
}

/// The worst relative L2 error of a model over its data sets.
pub(crate) fn verify(folder: &Path) -> f64 {
    let open = |path: &Path| Session::new(Arc::new(Artifact::open(path).unwrap_or_else(|e| panic!("{e}"))));
    verify_with(folder, &Options::default(), open)
}

/// The same for other options and sessions.
pub(crate) fn verify_with(folder: &Path, options: &Options, open: impl Fn(&Path) -> Session) -> f64 {
    let graph = import_file(&folder.join("model.onnx"));
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let path = temporary.path().join("model.nnc");
    nnc::compile(&graph, options, &path).unwrap_or_else(|e| panic!("{e}"));
    let mut session = open(&path);
    let names: Vec<String> = session.inputs().into_iter().map(|p| p.name).collect();
    let sets = (0..).map(|i| folder.join(format!("test_data_set_{i}"))).take_while(|p| p.is_dir());
    let mut worst = 0.0f64;
    for set in sets {
        let (inputs, expected) = (protos(&set, "input"), protos(&set, "output"));
        let named: Vec<(&str, Value)> = names.iter().map(String::as_str).zip(inputs).collect();
        let found = session.run(&named).unwrap_or_else(|e| panic!("{e}"));
        worst = expected.iter().zip(&found).map(|(e, f)| error(e, f)).fold(worst, f64::max);
    }
    worst
}

macro_rules! trained {
    ($($name:ident $folder:literal $tolerance:literal;)*) => {
        $(#[test]
        fn $name() {
            let Some(folder) = folder(concat!("trained/", $folder)) else { return };
            let error = verify(&folder);
            assert!(error <= $tolerance, "relative L2 error {error:.2e}");
        })*
    };
}

trained! {
    basic_pitch "basic-pitch" 1e-4;
    fastestdet "fastestdet" 1e-4;
    g1_walk_policy "g1-walk-policy" 1e-4;
    gtcrn_stream "gtcrn-stream" 1e-4;
    kws_fp32 "kws-fp32" 1e-4;
    kws_int8_qdq "kws-int8-qdq" 2e-2;
    magika "magika-v3" 1e-4;
    mnist_cntk "mnist-cnn-cntk" 1e-4;
    mnist_pytorch "mnist-cnn-pytorch" 1e-4;
    ppocr_cls "ppocr-cls" 1e-4;
    ppocr_det_en "ppocr-det-en" 1e-4;
    selfie_segmentation "selfie-segmentation" 1e-4;
    sentence_lstm "sentence-lstm" 1e-4;
    silero_vad "silero-vad" 1e-4;
    squeezenet_fp16 "squeezenet-fp16" 2e-2;
    super_resolution "super-resolution" 1e-4;
    tree_lightgbm_tensors "tree-lightgbm-tensors" 1e-4;
    tree_xgboost "tree-xgboost" 1e-4;
    ultraface "ultraface-rfb320" 1e-4;
}
