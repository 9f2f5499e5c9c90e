//! The patches of `make mutants` fit the code as it is. Running them takes too long for each day; one
//! that no longer applies would break no rule any more without anybody seeing it.

use std::path::{Path, PathBuf};
use std::process::Command;

use pgha_chaos::skip;

fn patches() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("mutants");
    let mut patches: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    patches.sort();
    patches
}

#[test]
fn every_mutant_applies_and_says_what_it_breaks() {
    let patches = patches();
    assert!(patches.len() >= 12, "{patches:?}");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for patch in patches {
        let name = patch.display();
        let text = std::fs::read_to_string(&patch).unwrap();
        let says = |key: &str| text.lines().any(|line| line.starts_with(key));
        assert!(says("Breaks: "), "{name} does not say which rule it breaks");
        assert!(
            says("Test: cargo test -p "),
            "{name} does not say which test sees it"
        );
        let output = Command::new("git")
            // The tree may belong to another user than this process.
            .args(["-c", "safe.directory=*", "apply", "--check"])
            .arg(&patch)
            .current_dir(root)
            .output();
        let output = match output {
            Ok(output) => output,
            Err(error) => {
                skip::say("whether the mutants still apply", format!("git: {error}"));
                return;
            }
        };
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{name} does not apply: make it fit again\n{why}"
        );
    }
}
