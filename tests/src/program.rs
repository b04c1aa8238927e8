//! The programs of this workspace, built with the profile and into the folder of these tests.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Where this repository is.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the repository")
}

/// Builds a `bin` or an `example` and says where it is.
///
/// The whole workspace is named, as when these tests were built: with features chosen for one package
/// alone, cargo would compile most of the dependencies again.
pub(crate) fn build(kind: &str, name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test has a path");
    let folder = test.parent().and_then(Path::parent).expect("tests lie in PROFILE/deps");
    let profile = match folder.file_name().and_then(|n| n.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--workspace", "--profile", profile])
        .arg(format!("--{kind}"))
        .arg(name)
        .arg("--target-dir")
        .arg(folder.parent().expect("a profile has a folder"))
        .current_dir(root())
        .status();
    assert!(built.is_ok_and(|s| s.success()), "{kind} \"{name}\" is built");
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    if kind == "example" { folder.join("examples").join(file) } else { folder.join(file) }
}

/// Runs a program in the repository's folder and expects success; answers what it printed.
pub(crate) fn run(program: &Path, args: &[&str]) -> String {
    let done = Command::new(program).args(args).current_dir(root()).output();
    let Output { status, stdout, stderr } = done.expect("the program starts");
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{} {args:?}: {status}\n{stdout}{stderr}", program.display());
    stdout.into_owned()
}
