//! A program for this crate's tests: guard, release program and a sidecar that does as told, in one
//! binary as in production.

mod protocol;

use std::ffi::OsString;
use std::io::{BufRead, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use pgha_core::Epoch;
use pgha_guard::{Event, GuardHandle, GuardOptions, Health, Order, Retire, TakeOver, clock};
use protocol::{Said, Wish};

const RENEW_INTERVAL: Duration = Duration::from_millis(10);

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let role = args.next().unwrap_or_default();
    match role.to_str() {
        Some("guard") => pgha_guard::guard_main(args),
        Some("release") => release(args),
        Some("sidecar") => sidecar(args),
        _ => ExitCode::from(2),
    }
}

/// Writes what it is given to the file that the tests look for. Any argument is a failure: the
/// secret must not come that way.
fn release(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(path) = std::env::var_os("PGHA_TEST_RELEASE").map(PathBuf::from) else {
        return ExitCode::from(3);
    };
    let mut note = Vec::new();
    let read = std::io::stdin().read_to_end(&mut note);
    if args.next().is_some() || read.is_err() {
        return ExitCode::from(4);
    }
    if path.with_extension("hang").exists() {
        thread::sleep(Duration::from_secs(3600));
    }
    let part = path.with_extension("part");
    let written = std::fs::write(&part, note).and_then(|()| std::fs::rename(&part, &path));
    if written.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(5)
    }
}

enum News {
    Event(Event),
    Wish(Wish),
    End,
}

struct Sidecar {
    options: GuardOptions,
    news: Sender<News>,
    guard: GuardHandle,
    ack_empty: bool,
}

fn sidecar(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let (Some(run_dir), Some(data_dir)) = (args.next(), args.next()) else {
        return ExitCode::from(2);
    };
    pgha_guard::become_subreaper().expect("a subreaper");
    let mut options =
        GuardOptions::new(Path::new(&run_dir), Path::new(&data_dir)).expect("a program");
    options.release_within = Duration::from_millis(1500);
    let (news, inbox) = channel();
    let wishes = news.clone();
    thread::spawn(move || read_wishes(&wishes));
    let guard = spawn(&options, &news);
    let sidecar = Sidecar {
        options,
        news,
        guard,
        ack_empty: false,
    };
    sidecar.run(&inbox);
    ExitCode::SUCCESS
}

fn read_wishes(news: &Sender<News>) {
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let wish = serde_json::from_str(&line).expect("a wish");
        news.send(News::Wish(wish)).expect("a sidecar");
    }
    news.send(News::End).expect("a sidecar");
}

fn spawn(options: &GuardOptions, news: &Sender<News>) -> GuardHandle {
    let news = news.clone();
    let on_event = move |event| drop(news.send(News::Event(event)));
    let guard = GuardHandle::spawn(options, on_event).expect("a guard");
    say(&Said::Guard { pid: guard.pid() });
    guard
}

fn say(said: &Said) {
    let mut line = serde_json::to_vec(said).expect("serializable");
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    out.write_all(&line)
        .and_then(|()| out.flush())
        .expect("a test that listens");
}

impl Sidecar {
    fn run(mut self, inbox: &Receiver<News>) {
        for news in inbox {
            match news {
                News::Event(event) => self.hear(event),
                News::Wish(wish) => self.fulfil(wish),
                News::End => return,
            }
        }
    }

    fn hear(&self, event: Event) {
        if let (true, Event::Empty(report)) = (self.ack_empty, &event) {
            self.order(&Order::Ack {
                epoch: report.epoch,
            });
        }
        say(&Said::Event(event));
    }

    fn fulfil(&mut self, wish: Wish) {
        match wish {
            Wish::AckEmpty => self.ack_empty = true,
            Wish::AwaitStall => self.await_stall(),
            Wish::Deadline { epoch, in_ms } => {
                let kill_at = clock::now() + Duration::from_millis(in_ms);
                self.guard.board().set_deadline(epoch, kill_at);
                say(&Said::Set { kill_at });
            }
            Wish::KillAndEmpty => {
                let deadline = clock::now() + Duration::from_secs(10);
                let proof = self.guard.kill_and_empty(deadline);
                say_proof(proof);
            }
            Wish::Order(order) => self.order(&order),
            Wish::Renew { epoch, for_ms } => self.renew(epoch, Duration::from_millis(for_ms)),
            Wish::Respawn => self.guard = spawn(&self.options, &self.news),
            Wish::TakeOver => self.take_over(),
        }
    }

    fn order(&self, order: &Order) {
        if let Err(error) = self.guard.send(order) {
            say(&Said::Failed(error.to_string()));
        }
    }

    fn renew(&self, epoch: Epoch, span: Duration) {
        let board = self.guard.board().clone();
        let kill_at = clock::now() + span;
        board.set_deadline(epoch, kill_at);
        say(&Said::Set { kill_at });
        // Until the board is at another epoch.
        thread::spawn(move || {
            while board.deadline().is_some_and(|seen| seen.epoch == epoch) {
                board.set_deadline(epoch, clock::now() + span);
                thread::sleep(RENEW_INTERVAL);
            }
        });
    }

    fn await_stall(&self) {
        let deadline = clock::now() + Duration::from_secs(10);
        while clock::now() < deadline {
            let now = clock::now();
            if let Health::Stalled { .. } = self.guard.health(now) {
                let stamp_age_us = micros(self.guard.stamp_age(now));
                return say(&Said::Stalled { stamp_age_us });
            }
            thread::sleep(Duration::from_millis(1));
        }
        say(&Said::Failed("the guard never stalled".to_owned()));
    }

    fn take_over(&self) {
        let order = TakeOver {
            run_dir: self.options.run_dir.clone(),
            scope: self.options.scope().sparing(self.guard.pid()),
            retire: Retire {
                fast: Duration::from_secs(10),
                immediate: Duration::from_secs(2),
            },
            empty_within: Duration::from_secs(10),
        };
        match pgha_guard::take_over(&order).map(|taken| (taken.retired, taken.proof)) {
            Ok((Ok(_), proof)) => say_proof(Ok::<_, String>(proof)),
            Ok((Err(error), _)) => say(&Said::Failed(error.to_string())),
            Err(error) => say(&Said::Failed(error.to_string())),
        }
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).expect("short")
}

fn say_proof<E: std::fmt::Display>(proof: Result<pgha_guard::tree::EmptyProof, E>) {
    match proof {
        Ok(proof) => say(&Said::Emptied {
            killed: proof.killed,
            took_us: micros(proof.took),
        }),
        Err(error) => say(&Said::Failed(error.to_string())),
    }
}
