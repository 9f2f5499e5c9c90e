//! Every script gives the text that was reviewed, and says which outage it stands for.
//!
//! `UPDATE_SCRIPTS=1 cargo test -p pgha-sim --test scripts` writes what happens now; read the difference.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use pgha_sim::script::play;

/// What no script may come to, reviewed or not.
const NEVER: [&str; 3] = ["BROKEN", "NOT IN TIME", "NOTHING was acknowledged"];

/// The fault matrix has rows 1 to this.
const ROWS: u32 = 97;

/// Its rows that a script can order. Loss and delay of messages (26, 27) and wrong clocks (34) are drawn by
/// the seeds. The rest is not in this model: single processes of PostgreSQL, single ports, full or damaged
/// disks, configuration, certificates and clients; chaos rounds and the tests of the crates have these.
const SIMULATED: [u32; 34] = [
    1, 5, 6, 7, 8, 9, 10, 16, 17, 18, 23, 24, 25, 29, 43, 45, 51, 54, 55, 56, 57, 58, 59, 60, 61,
    62, 64, 65, 66, 67, 71, 79, 82, 85,
];

/// Scripts by row of the matrix, or rows by script.
type Shown<A, B> = BTreeMap<A, BTreeSet<B>>;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts")
}

/// Every script's text, by its file's name.
fn scripts() -> BTreeMap<String, String> {
    let files = fs::read_dir(directory()).expect("readable");
    let paths = files.map(|file| file.expect("readable").path());
    let scripts = paths.filter(|path| path.extension().is_some_and(|ending| ending == "txt"));
    let read = |path: PathBuf| {
        let name = path.file_name().expect("a name").to_string_lossy();
        (name.into_owned(), fs::read_to_string(&path).expect("text"))
    };
    scripts.map(read).collect()
}

/// What a script says of itself before its first order.
fn remarks(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map_while(|line| line.strip_prefix("# "))
}

/// The rows that a script names; none where it says that it is for something else.
fn rows(name: &str, text: &str) -> BTreeSet<u32> {
    let lines: Vec<&str> = remarks(text)
        .filter_map(|line| line.strip_prefix("Matrix: "))
        .collect();
    let [line] = lines[..] else {
        panic!("{name} needs one line `# Matrix: 17, 24` or `# Matrix: none` among its remarks");
    };
    if line == "none" {
        return BTreeSet::new();
    }
    let numbers = line.split(", ").map(str::parse);
    numbers
        .collect::<Result<_, _>>()
        .unwrap_or_else(|error| panic!("{name}: `{line}`: {error}"))
}

/// The table of `scripts/README.md`: the scripts that show each row.
fn table() -> Shown<u32, String> {
    let text = fs::read_to_string(directory().join("README.md")).expect("text");
    let cells = |line: &str| {
        let line = line.strip_prefix("| ")?.strip_suffix(" |")?;
        let [row, _, _, scripts] = line.split(" | ").collect::<Vec<_>>()[..] else {
            panic!("four cells: {line}");
        };
        // The first line is the head.
        let row = row.parse().ok()?;
        let scripts = scripts.split(", ").map(|name| format!("{name}.txt"));
        Some((row, scripts.collect()))
    };
    text.lines().filter_map(cells).collect()
}

#[test]
fn every_script_gives_its_reviewed_text() {
    let update = std::env::var_os("UPDATE_SCRIPTS").is_some();
    let mut wrong = Vec::new();
    for (name, reviewed) in scripts() {
        let now = play(&reviewed, false).unwrap_or_else(|error| panic!("{name}: {error}"));
        if update && now != reviewed {
            fs::write(directory().join(&name), &now).expect("writable");
        } else if now != reviewed {
            wrong.push(format!("{name} gives something else now:\n{now}"));
        }
        if let Some(word) = NEVER.into_iter().find(|word| now.contains(word)) {
            wrong.push(format!("{name}: {word}\n{now}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_script_says_in_words_what_it_is_for() {
    for (name, text) in scripts() {
        let words = remarks(&text).filter(|line| !line.starts_with("Matrix: "));
        assert!(words.count() > 0, "{name} says nothing");
    }
}

#[test]
fn the_table_and_the_scripts_name_each_other() {
    let mut named = Shown::new();
    for (name, text) in scripts() {
        for row in rows(&name, &text) {
            named
                .entry(row)
                .or_insert_with(BTreeSet::new)
                .insert(name.clone());
        }
    }
    assert_eq!(table(), named);
}

#[test]
fn every_row_that_can_be_simulated_has_a_script() {
    let table = table();
    let known: BTreeSet<u32> = (1..=ROWS).collect();
    let shown: BTreeSet<u32> = table.keys().copied().collect();
    assert!(shown.is_subset(&known), "the matrix ends with {ROWS}");
    assert_eq!(shown, BTreeSet::from(SIMULATED));
}

#[test]
fn a_script_that_cannot_be_carried_out_says_where_and_why() {
    let last_order = |order: &str| {
        let text = format!("# told\n> cluster members 3 seed 1\n> form\n> {order}\n");
        let error = play(&text, false).expect_err("it cannot be carried out");
        let error = error.to_string();
        let what = error.strip_prefix("line 4: ");
        what.unwrap_or_else(|| panic!("{error}")).to_owned()
    };
    for order in [
        "break everything",
        "fail lunch of n1",
        "remove wal",
        "stall n1",
        "until n1 sings within 5s",
        "wipe store n1",
    ] {
        assert_eq!(last_order(order), format!("`{order}` is no order"));
    }
    let nobody = last_order("wipe store of n9");
    assert!(nobody.starts_with("`n9` is nobody now"), "{nobody}");
    let idle = last_order("fail clone of replica");
    assert!(
        idle.ends_with("is at no such work now: wait for it"),
        "{idle}"
    );
    let standby = last_order("remove wal of replica");
    assert_eq!(standby, "replica is no primary that answers");
}
