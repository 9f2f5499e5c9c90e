//! What `strace -f -y -xx` wrote about a process, as the steps that a file system saw.

use std::collections::HashMap;
use std::path::PathBuf;

/// One system call that changes or syncs files.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Call {
    /// A file is opened.
    Open {
        path: PathBuf,
        create: bool,
        truncate: bool,
    },
    /// Bytes are written, at the end of what was written before where no offset is given.
    Write {
        path: PathBuf,
        bytes: Vec<u8>,
        offset: Option<u64>,
    },
    SetLength {
        path: PathBuf,
        bytes: u64,
    },
    MakeDir(PathBuf),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    /// `fsync` or `fdatasync`: both keep the length of a file.
    Sync(PathBuf),
}

/// A call begins or ends; between the two, other threads may do anything.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    Begins(u64, Call),
    /// It succeeded.
    Ends(u64, Call),
}

/// What is traced. `sync_file_range` is not: it promises nothing about a loss of power.
pub(super) const TRACED: &str = "open,openat,creat,write,pwrite64,writev,pwritev,pwritev2,ftruncate,\
    truncate,fallocate,rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,fsync,fdatasync";

/// Reads a whole trace. Panics at what it does not know: a call that is passed over would be a write
/// that is never lost.
pub(super) fn read(text: &str) -> Vec<Step> {
    let mut begun: HashMap<&str, (u64, &str)> = HashMap::new();
    let mut steps = Vec::new();
    for (number, line) in (0..).zip(text.lines()) {
        let (thread, rest) = line.split_once(' ').expect(line);
        let rest = rest.trim_start();
        if rest.starts_with("+++") || rest.starts_with("---") {
            continue;
        }
        if let Some(resumed) = rest.strip_prefix("<... ") {
            let (id, start) = begun.remove(thread).expect(line);
            let (_, end) = resumed.split_once(" resumed>").expect(line);
            ends(&mut steps, id, &format!("{start}{end}"));
        } else if let Some(start) = rest.strip_suffix(" <unfinished ...>") {
            if let Some(call) = call(start) {
                steps.push(Step::Begins(number, call));
            }
            begun.insert(thread, (number, start));
        } else {
            let (start, _) = rest.rsplit_once(" = ").expect(line);
            if let Some(call) = call(start.trim_end().trim_end_matches(')')) {
                steps.push(Step::Begins(number, call));
            }
            ends(&mut steps, number, rest);
        }
    }
    steps
}

/// A failed call changed nothing.
fn ends(steps: &mut Vec<Step>, id: u64, whole: &str) {
    let (start, result) = whole.rsplit_once(" = ").expect(whole);
    if result.starts_with(['-', '?']) {
        return;
    }
    if let Some(mut call) = call(start.trim_end().trim_end_matches(')')) {
        if let Call::Write { bytes, .. } = &mut call {
            bytes.truncate(result.trim().parse().expect(whole));
        }
        steps.push(Step::Ends(id, call));
    }
}

/// The call without its closing bracket and result; none for a file that was only opened to read.
fn call(text: &str) -> Option<Call> {
    let (name, arguments) = text.split_once('(').expect(text);
    let arguments: Vec<&str> = arguments.split(", ").collect();
    let path = |number: usize| PathBuf::from(quoted(arguments[number]));
    let at = |number: usize| PathBuf::from(within(arguments[number])).join(path(number + 1));
    let file = || PathBuf::from(within(arguments[0]));
    let last = || arguments.last().expect(text).trim();
    Some(match name {
        "openat" => {
            let flags = arguments[2];
            if flags.starts_with("O_RDONLY") && !flags.contains("O_CREAT") {
                return None;
            }
            Call::Open {
                path: at(0),
                create: flags.contains("O_CREAT"),
                truncate: flags.contains("O_TRUNC"),
            }
        }
        "write" => Call::Write {
            path: file(),
            bytes: unhex(quoted_hex(arguments[1])),
            offset: None,
        },
        "pwrite64" => Call::Write {
            path: file(),
            bytes: unhex(quoted_hex(arguments[1])),
            offset: Some(last().parse().expect(text)),
        },
        "ftruncate" => Call::SetLength {
            path: file(),
            bytes: last().parse().expect(text),
        },
        "mkdir" => Call::MakeDir(path(0)),
        "rename" => Call::Rename(path(0), path(1)),
        "unlink" | "rmdir" => Call::Remove(path(0)),
        "unlinkat" => Call::Remove(at(0)),
        "fsync" | "fdatasync" => Call::Sync(file()),
        _ => panic!("the model of the disk does not know this call: {text}"),
    })
}

fn quoted_hex(argument: &str) -> &str {
    let text = argument.trim().strip_prefix('"').expect(argument);
    // Three dots behind it mean that strace cut it.
    text.strip_suffix('"').expect("cut short by strace")
}

fn quoted(argument: &str) -> String {
    String::from_utf8(unhex(quoted_hex(argument))).expect(argument)
}

/// The path that `-y` puts behind a descriptor, and `(deleted)` behind it where it has no name any more.
fn within(argument: &str) -> String {
    let (_, path) = argument.split_once('<').expect(argument);
    let (path, behind) = path.split_once('>').expect(argument);
    String::from_utf8(unhex(path)).expect(argument) + behind
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.split("\\x").skip(1);
    digits
        .map(|digits| u8::from_str_radix(digits, 16).expect(text))
        .collect()
}

#[test]
fn an_interrupted_call_begins_and_ends() {
    let text = "\
        7 openat(AT_FDCWD<\\x2f>, \"\\x2f\\x61\", O_RDWR|O_CREAT|O_CLOEXEC, 0666) = 3<\\x2f\\x61>\n\
        7 pwrite64(3<\\x2f\\x61>, \"\\x00\\xff\", 2, 512 <unfinished ...>\n\
        8 fsync(3<\\x2f\\x61>)       = 0\n\
        7 <... pwrite64 resumed>)    = 2\n\
        7 unlink(\"\\x2f\\x62\") = -1 ENOENT (No such file or directory)\n\
        7 +++ exited with 0 +++\n";
    let open = Call::Open {
        path: "/a".into(),
        create: true,
        truncate: false,
    };
    let write = Call::Write {
        path: "/a".into(),
        bytes: vec![0, 255],
        offset: Some(512),
    };
    let sync = Call::Sync("/a".into());
    assert_eq!(
        read(text),
        [
            Step::Begins(0, open.clone()),
            Step::Ends(0, open),
            Step::Begins(1, write.clone()),
            Step::Begins(2, sync.clone()),
            Step::Ends(2, sync),
            Step::Ends(1, write),
            Step::Begins(4, Call::Remove("/b".into())),
        ]
    );
}
