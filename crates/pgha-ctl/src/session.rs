//! Talks to whichever member answers.

use std::error::Error;
use std::future::Future;
use std::time::Duration;

use pgha_proto::v1;
use pgha_proto::v1::admin_client::AdminClient;
use tokio::time::{Instant, timeout, timeout_at};
use tonic::transport::Channel;
use tonic::{Code, Response, Status};

use crate::endpoint::Endpoint;
use crate::error::CtlError;

/// A stub over one connection.
pub(crate) type Client = AdminClient<Channel>;

/// How long one member may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(2);
/// How long one member may take to say how it is: a frozen one must not hide the others.
const GREET: Duration = Duration::from_secs(3);
/// How long one member may take to answer a question for which it asks others itself.
const ANSWER: Duration = Duration::from_secs(10);

/// The endpoints to try, and the time for all of them together.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    endpoints: Vec<Endpoint>,
    timeout: Duration,
}

/// A living member, and what it says about the cluster.
pub(crate) struct Contact {
    pub(crate) client: Client,
    pub(crate) status: v1::StatusReply,
}

impl Session {
    pub(crate) fn new(endpoints: Vec<Endpoint>, timeout: Duration) -> Self {
        Self { endpoints, timeout }
    }

    /// Time that a whole command may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(crate) fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// Asks one member after the other until one answers.
    pub(crate) async fn ask<T, F, A>(&self, question: F) -> Result<T, CtlError>
    where
        F: Fn(Client) -> A,
        A: Future<Output = Result<Response<T>, Status>>,
    {
        let end = Instant::now() + self.timeout;
        let mut refusal = None;
        let mut failures = Vec::new();
        for endpoint in &self.endpoints {
            match attempt(endpoint, end, ANSWER, &question).await {
                Ok(answer) => return Ok(answer),
                // It lives, but cannot reach whom it would have to ask; another one may.
                Err(Failure::Unavailable(text)) => refusal = Some(text),
                Err(Failure::Refused(text)) => return Err(CtlError::Refused(text)),
                Err(Failure::Silent(why)) => failures.push((endpoint.clone(), why)),
            }
        }
        Err(refusal.map_or(CtlError::Unreachable(failures), CtlError::Refused))
    }

    /// The first member that sees a quorum, else the first that answers: from there a change goes
    /// out once, because a repetition elsewhere might be a second change.
    pub(crate) async fn contact(&self) -> Result<Contact, CtlError> {
        let end = Instant::now() + self.timeout;
        let mut first = None;
        let mut failures = Vec::new();
        for endpoint in &self.endpoints {
            match greet(endpoint, end).await {
                Ok(contact) if contact.status.quorum => return Ok(contact),
                Ok(contact) => first = first.or(Some(contact)),
                Err(failure) => failures.push((endpoint.clone(), failure.text())),
            }
        }
        first.ok_or(CtlError::Unreachable(failures))
    }
}

/// Connects to one member and asks for the status.
pub(crate) async fn greet(endpoint: &Endpoint, end: Instant) -> Result<Contact, Failure> {
    let (client, status) = attempt(endpoint, end, GREET, |client: Client| async move {
        let mut stub = client.clone();
        let status = stub.status(v1::StatusRequest {}).await?.into_inner();
        Ok(Response::new((client, status)))
    })
    .await?;
    Ok(Contact { client, status })
}

/// Why one member gave no answer.
pub(crate) enum Failure {
    /// Not reached, or no answer in time.
    Silent(String),
    /// It answered that it cannot serve the question now.
    Unavailable(String),
    /// It refused.
    Refused(String),
}

impl Failure {
    /// The reason alone.
    pub(crate) fn text(self) -> String {
        match self {
            Self::Silent(text) | Self::Unavailable(text) | Self::Refused(text) => text,
        }
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        // Only what the transport made up itself has a source: the member's own words have none.
        if let Some(source) = status.source() {
            return Self::Silent(innermost(source));
        }
        match status.code() {
            Code::Unavailable => Self::Unavailable(text(&status)),
            _ => Self::Refused(text(&status)),
        }
    }
}

/// How a change failed: what the member says itself is a refusal, what breaks on the way leaves the
/// outcome open.
pub(crate) fn change_failed(status: Status) -> CtlError {
    if let Some(source) = status.source() {
        return CtlError::OutcomeUnknown(innermost(source));
    }
    match status.code() {
        Code::DeadlineExceeded | Code::Cancelled | Code::Unknown => {
            CtlError::OutcomeUnknown(text(&status))
        }
        _ => CtlError::Refused(text(&status)),
    }
}

/// What a wait of our own that ran out is turned into.
pub(crate) fn too_late() -> Status {
    Status::deadline_exceeded("no answer in time")
}

/// The member's own words.
fn text(status: &Status) -> String {
    if status.message().is_empty() {
        return format!("the member answered {:?} without a reason", status.code());
    }
    status.message().to_owned()
}

async fn attempt<T, F, A>(
    endpoint: &Endpoint,
    end: Instant,
    patience: Duration,
    question: F,
) -> Result<T, Failure>
where
    F: Fn(Client) -> A,
    A: Future<Output = Result<Response<T>, Status>>,
{
    let channel = Channel::builder(endpoint.uri()).connect_timeout(CONNECT);
    let exchange = async {
        let connected = timeout(CONNECT, channel.connect()).await;
        let channel = connected
            .map_err(|_| Failure::Silent(format!("no connection within {CONNECT:?}")))?
            .map_err(|error| Failure::Silent(innermost(&error)))?;
        Ok(question(Client::new(channel)).await?.into_inner())
    };
    timeout_at(end.min(Instant::now() + patience), exchange)
        .await
        .unwrap_or_else(|_| Err(Failure::Silent("no answer in time".to_owned())))
}

/// `connection refused` and not `transport error`.
fn innermost(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
