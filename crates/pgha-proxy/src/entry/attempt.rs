//! One try to have one server answer.

use std::io;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use super::Reached;
use super::balance::LoadTicket;
use super::first_bytes::{Client, write_all};
use super::plan::{Address, Candidate};
use crate::gate::{Login, Pass};
use crate::protocol::is_cannot_connect_now;
use crate::shared::Shared;
use crate::socket::{connect_local, connect_member};
use crate::stats::count;

/// Enough for an authentication request or a whole error; the rest follows in the relay.
const ANSWER_BYTES: usize = 1024;

/// Whose fault a failed try was.
pub(super) enum Failed {
    /// The client left.
    Client,
    /// The server did not answer: the client may be taken elsewhere.
    Server(String),
}

/// Connects, says what the client said and waits for the first bytes of the answer. Until these
/// arrive nothing has been passed to the client, so a failure can be repeated unseen.
pub(super) async fn attempt(
    client: &mut Client,
    candidate: Candidate,
    shared: &Shared,
) -> Result<Reached, Failed> {
    let name = candidate.name.clone();
    let target = candidate.load.as_ref().map(|(key, _)| key.clone());
    let forwarded = matches!(candidate.address, Address::Sidecar { .. });
    let result = try_candidate(client, candidate, shared).await;
    match &result {
        Ok(_) if forwarded => count(&shared.stats.forwarded_out_total),
        Ok(_) | Err(Failed::Client) => {}
        Err(Failed::Server(why)) => {
            count(&shared.stats.attempts_failed_total);
            tracing::debug!(%name, %why, "attempt failed before the first answer");
            if let Some(key) = target {
                shared.balancer.avoid(&key);
            }
        }
    }
    result
}

async fn try_candidate(
    client: &mut Client,
    candidate: Candidate,
    shared: &Shared,
) -> Result<Reached, Failed> {
    let Candidate {
        name,
        address,
        pass,
        load,
    } = candidate;
    let load = load.map(|(_, sessions)| LoadTicket::take(sessions));
    let failed = |why: &dyn std::fmt::Display| Failed::Server(format!("{name}: {why}"));
    let connecting = connect(&address, shared);
    let server = tokio::select! {
        server = connecting => server.map_err(|error| failed(&error))?,
        // A host that is gone does not even refuse: its successor is not kept waiting for that.
        () = is_over(&pass, shared) => return Err(failed(&"its epoch ended before it was reached")),
    };
    let (mut greeting, login) = match &address {
        Address::Postgres(_) => (Vec::new(), begin_login(&server, &pass)),
        Address::Sidecar { preamble, .. } => (preamble.encode().to_vec(), None),
    };
    greeting.extend_from_slice(client.kept());
    let answer = exchange(client, &server, &greeting, &pass, shared).await;
    let answer = answer.map_err(|end| match end {
        Silence::Client => Failed::Client,
        Silence::Server(why) => failed(&why),
    })?;
    Ok(Reached {
        server,
        answer,
        pass,
        login,
        load,
    })
}

async fn is_over(pass: &Pass, shared: &Shared) {
    let mut ticks = shared.ticks.subscribe();
    while !pass.is_over() {
        if ticks.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Counted before the first look at the gate: a handover that this attempt does not see sees it.
fn begin_login(server: &TcpStream, pass: &Pass) -> Option<Login> {
    server.local_addr().ok().map(|from| pass.begin_login(from))
}

/// Connects to `address` within the limits.
pub(super) async fn connect(address: &Address, shared: &Shared) -> Result<TcpStream, String> {
    let limit = shared.limits.connect_timeout;
    match address {
        Address::Postgres(postgres) => connect_local(*postgres, limit)
            .await
            .map_err(|error| format!("cannot connect to PostgreSQL on {postgres}: {error}")),
        Address::Sidecar { address, .. } => {
            let resolved = shared
                .resolver
                .resolve(address, shared.limits.resolve_timeout)
                .await?;
            let mut last = format!("{address} resolves to no address");
            // All addresses share one limit: a name with many must not hold the client for long.
            let deadline = Instant::now() + limit;
            for candidate in resolved {
                let left = deadline.saturating_duration_since(Instant::now());
                match connect_member(candidate, left).await {
                    Ok(stream) => return Ok(stream),
                    Err(error) => last = format!("cannot connect to {address}: {error}"),
                }
            }
            Err(last)
        }
    }
}

/// Why no answer came.
pub(super) enum Silence {
    Client,
    Server(String),
}

/// Sends `greeting` and waits for the answer; passes on what the client says meanwhile.
pub(super) async fn exchange(
    client: &mut Client,
    server: &TcpStream,
    greeting: &[u8],
    pass: &Pass,
    shared: &Shared,
) -> Result<Vec<u8>, Silence> {
    let deadline = Instant::now() + shared.limits.answer_timeout;
    let mut ticks = shared.ticks.subscribe();
    let mut said = client.kept().len();
    let mut greeted = false;
    loop {
        if pass.is_over() || pass.is_draining() {
            return Err(Silence::Server(
                "its epoch ends and it has not answered".to_owned(),
            ));
        }
        let unsaid = if greeted {
            &client.kept()[said..]
        } else {
            greeting
        };
        let sending = write_all(server, unsaid, || pass.may_pass());
        tokio::select! {
            sent = sending => sent.map_err(|error| server_error(&error))?,
            () = sleep_until(deadline) => return Err(silent(shared)),
        }
        greeted = true;
        said = client.kept().len();
        tokio::select! {
            answer = read_answer(server) => return answer,
            more = client.read_more() => { more.map_err(|_| Silence::Client)?; }
            _ = ticks.changed() => {}
            () = sleep_until(deadline) => return Err(silent(shared)),
        }
    }
}

async fn read_answer(server: &TcpStream) -> Result<Vec<u8>, Silence> {
    loop {
        server
            .readable()
            .await
            .map_err(|error| server_error(&error))?;
        let mut answer = [0; ANSWER_BYTES];
        match server.try_read(&mut answer) {
            Ok(0) => return Err(Silence::Server("closed without an answer".to_owned())),
            Ok(count) if is_cannot_connect_now(&answer[..count]) => {
                return Err(Silence::Server(
                    "accepts no connections at the moment".to_owned(),
                ));
            }
            Ok(count) => return Ok(answer[..count].to_vec()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(server_error(&error)),
        }
    }
}

fn server_error(error: &io::Error) -> Silence {
    Silence::Server(error.to_string())
}

fn silent(shared: &Shared) -> Silence {
    Silence::Server(format!(
        "no answer within {:?}",
        shared.limits.answer_timeout
    ))
}

/// Goes on with a server that has declined to encrypt.
pub(super) async fn go_on(
    client: &mut Client,
    reached: Reached,
    shared: &Arc<Shared>,
) -> Result<Reached, Failed> {
    let Reached {
        server,
        pass,
        login,
        load,
        ..
    } = reached;
    let said = client.kept().to_vec();
    match exchange(client, &server, &said, &pass, shared).await {
        Ok(answer) => Ok(Reached {
            server,
            answer,
            pass,
            login,
            load,
        }),
        Err(Silence::Client) => Err(Failed::Client),
        Err(Silence::Server(why)) => Err(Failed::Server(why)),
    }
}
