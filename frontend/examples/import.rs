//! Imports models and says what each lacks: `import MODEL.onnx…`.
#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use nnc_frontend::model::{ExternalFiles, SharedBytes, read_model};
use nnc_frontend::{ImportOptions, import};
use std::path::Path;
use std::sync::Arc;

fn main() {
    let mut failed = 0;
    for path in std::env::args().skip(1) {
        let start = std::time::Instant::now();
        match run(Path::new(&path)) {
            Ok(nodes) => println!("{path}: {nodes} nodes in {:.0?}", start.elapsed()),
            Err(e) => {
                failed += 1;
                println!("{path}: REFUSED\n{e}");
            }
        }
    }
    std::process::exit(i32::from(failed > 0));
}

fn run(path: &Path) -> Result<usize, String> {
    let open = |p: &Path| Ok(Arc::new(std::fs::read(p)?) as SharedBytes);
    let bytes = open(path).map_err(|e: std::io::Error| e.to_string())?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let model = read_model(bytes, &mut ExternalFiles::beside(folder, &open)).map_err(|e| e.to_string())?;
    let graph = import(&model, &ImportOptions::default()).map_err(|e| e.to_string())?;
    if std::env::var_os("NNC_TYPES").is_some() {
        for v in &graph.block(graph.body()).results {
            println!("  {} {}", graph.value(*v).name.as_deref().unwrap_or("?"), graph.ty(*v));
        }
    }
    let mut n = 0;
    graph.visit_nodes(graph.body(), &mut |_| n += 1);
    Ok(n)
}
