//! The pictures in the documentation are what promo draws. `PROMO_BLESS=1` draws them anew.

#![cfg(unix)]
#![expect(clippy::disallowed_methods, reason = "a test of the binary")]

use std::path::Path;
use std::process::{Command, Stdio};

#[test]
fn the_picture_in_the_readme_is_what_promo_draws_after_the_quickstart() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("quickstart");
    let promo = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_promo"));
        let output = command.args(words).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let root = root.to_str().unwrap();
    promo(&["quickstart", root]);
    let drawn = promo(&["-C", root, "--policy", "policy.toml", "graph", "--syntax", "svg"]);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/pictures/quickstart.svg");
    if std::env::var_os("PROMO_BLESS").is_some() {
        std::fs::write(&path, &drawn).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap();
    assert_eq!(drawn, kept, "{} differs; PROMO_BLESS=1 draws it anew", path.display());
}
