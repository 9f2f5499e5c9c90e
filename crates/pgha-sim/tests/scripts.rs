//! Every script gives the text that was reviewed.
//!
//! `UPDATE_SCRIPTS=1 cargo test -p pgha-sim --test scripts` writes what happens now; read the difference.

use std::fs;
use std::path::Path;

use pgha_sim::script::play;

/// What no script may come to, reviewed or not.
const NEVER: [&str; 3] = ["BROKEN", "NOT IN TIME", "NOTHING was acknowledged"];

#[test]
fn every_script_gives_its_reviewed_text() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let update = std::env::var_os("UPDATE_SCRIPTS").is_some();
    let mut wrong = Vec::new();
    let mut played = 0;
    for file in fs::read_dir(directory).expect("readable") {
        let path = file.expect("readable").path();
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let reviewed = fs::read_to_string(&path).expect("text");
        let now = play(&reviewed, false).unwrap_or_else(|error| panic!("{name}: {error}"));
        played += 1;
        if update && now != reviewed {
            fs::write(&path, &now).expect("writable");
        } else if now != reviewed {
            wrong.push(format!("{name} gives something else now:\n{now}"));
        }
        if let Some(word) = NEVER.into_iter().find(|word| now.contains(word)) {
            wrong.push(format!("{name}: {word}\n{now}"));
        }
    }
    assert!(played >= 20, "only {played} scripts");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_script_that_cannot_be_understood_says_where() {
    let error = play(
        "# told\n> cluster members 3 seed 1\n> break everything\n",
        false,
    );
    let error = error.expect_err("no such order").to_string();
    assert_eq!(error, "line 3: `break everything` is no order");
}
