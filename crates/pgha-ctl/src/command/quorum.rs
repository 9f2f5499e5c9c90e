//! `pgha-ctl quorum show` and `recover`: the way on after most members were lost for ever.

use std::time::Duration;

use pgha_proto::v1;
use serde::Serialize;
use tokio::time::{Instant, sleep, timeout_at};

use crate::cli::RecoverArgs;
use crate::confirm::Permission;
use crate::endpoint::Endpoint;
use crate::error::CtlError;
use crate::output::{Output, note};
use crate::session::{Contact, Session, change_failed, greet, too_late};
use crate::view::quorum::Quorum;

const LOOK_EVERY: Duration = Duration::from_millis(200);

#[derive(Serialize)]
struct Done {
    outcome: &'static str,
    text: String,
    primary: String,
    generation: u64,
    epoch: u64,
}

pub(crate) async fn show(session: &Session, output: Output) -> Result<(), CtlError> {
    let endpoint = the_only_one(session)?;
    let (_, quorum) = look(session, endpoint).await?;
    output.print(&quorum, Quorum::text)
}

pub(crate) async fn recover(
    session: &Session,
    output: Output,
    args: RecoverArgs,
) -> Result<(), CtlError> {
    let permission = Permission::from_flag(args.wait.yes)?;
    let endpoint = the_only_one(session)?;
    let (mut contact, quorum) = look(session, endpoint).await?;
    if args.confirm != quorum.cluster_id {
        return Err(CtlError::Usage(format!(
            "--confirm {} is not the id of this cluster: {endpoint} belongs to cluster {} ({}); \
             nothing was changed",
            args.confirm, quorum.cluster, quorum.cluster_id
        )));
    }
    if let Some(obstacle) = quorum.obstacle {
        return Err(CtlError::Refused(format!(
            "{obstacle}; nothing was changed"
        )));
    }
    note(quorum.text().trim_end());
    note(&meaning(&quorum));
    permission.obtain_typed(
        &format!(
            "Type the name of the member to go on with alone ({})",
            quorum.name
        ),
        &quorum.name,
    )?;
    let request = v1::RecoverQuorumRequest {
        cluster_id: args.confirm,
        survivor: quorum.name.clone(),
        generation: quorum.generation,
    };
    let end = Instant::now() + session.timeout();
    let submitted = timeout_at(end, contact.client.recover_quorum(request)).await;
    let reply = submitted.unwrap_or_else(|_| Err(too_late()));
    let reply = reply.map_err(change_failed)?.into_inner();
    let text = format!(
        "{} goes on alone in generation {}, epoch {}; it starts anew",
        quorum.name, reply.generation, reply.epoch
    );
    let done = Done {
        outcome: "submitted",
        text,
        primary: quorum.name,
        generation: reply.generation,
        epoch: reply.epoch,
    };
    if args.wait.no_wait {
        return print(output, &done);
    }
    note(&done.text);
    opened(endpoint, end, done, output).await
}

/// It is not forwarded, and must not be done twice: of several endpoints none is the one that is meant.
fn the_only_one(session: &Session) -> Result<&Endpoint, CtlError> {
    match session.endpoints() {
        [endpoint] => Ok(endpoint),
        endpoints => Err(CtlError::Usage(format!(
            "{} endpoints are given: this is about one member alone and is not forwarded; name it \
             with --endpoint HOST:PORT",
            endpoints.len()
        ))),
    }
}

async fn look(session: &Session, endpoint: &Endpoint) -> Result<(Contact, Quorum), CtlError> {
    let question = |mut client: crate::session::Client| async move {
        client.quorum(v1::QuorumRequest {}).await
    };
    let reply = session.ask(question).await?;
    let contact = greet(endpoint, Instant::now() + session.timeout()).await;
    let contact = contact.map_err(|failure| CtlError::Refused(failure.text()))?;
    Ok((contact, reply.into()))
}

/// What the operator says by going on.
fn meaning(quorum: &Quorum) -> String {
    let others = quorum.members.iter().map(|member| member.name.as_str());
    let others: Vec<&str> = others.filter(|name| *name != quorum.name).collect();
    format!(
        "\nGoing on means that {others} are lost for ever, or stopped and kept from starting until \
         they reach {name}: two of them that still run, and do not reach {name}, may serve writes \
         beside it. What only they have is given up: {loss}. Their Raft stores will never vote again; \
         where they come back they join anew, and what their data has beyond the data of {name} is \
         taken out of it.",
        others = others.join(", "),
        name = quorum.name,
        loss = quorum.loss(),
    )
}

/// Waits until the member serves writes in its new generation.
async fn opened(
    endpoint: &Endpoint,
    end: Instant,
    mut done: Done,
    output: Output,
) -> Result<(), CtlError> {
    let mut told = String::new();
    while Instant::now() < end {
        if let Ok(contact) = greet(endpoint, end).await {
            let status = contact.status;
            if status.generation == done.generation
                && status.primary.as_ref() == Some(&done.primary)
            {
                done.outcome = "done";
                done.epoch = status.epoch.unwrap_or(done.epoch);
                done.text = format!(
                    "{} is primary of epoch {}, generation {}",
                    done.primary, done.epoch, done.generation
                );
                return print(output, &done);
            }
            let detail = status.detail.or(status.reason).unwrap_or_default();
            if status.generation == done.generation && !detail.is_empty() && detail != told {
                note(&detail);
                told = detail;
            }
        }
        sleep(LOOK_EVERY).await;
    }
    Err(CtlError::OutcomeUnknown(format!(
        "{} goes on in generation {} and did not become primary in time: {told}",
        done.primary, done.generation
    )))
}

fn print(output: Output, done: &Done) -> Result<(), CtlError> {
    output.print(done, |done| format!("{}\n", done.text))
}
