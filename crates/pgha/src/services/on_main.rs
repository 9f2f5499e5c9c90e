//! Moves a service's work off the lease thread, which only carries its bytes.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;

/// A service whose calls run on another runtime.
#[derive(Clone)]
pub(crate) struct OnMain<S> {
    inner: S,
    handle: Handle,
}

impl<S> OnMain<S> {
    pub(crate) fn new(inner: S, handle: Handle) -> Self {
        Self { inner, handle }
    }
}

impl<S: NamedService> NamedService for OnMain<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for OnMain<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let work = self.handle.spawn(self.inner.call(request));
        Box::pin(async move {
            match work.await {
                Ok(answer) => answer,
                // The process is ending, or the handler panicked, which ends it too.
                Err(error) => Ok(tonic::Status::unavailable(error.to_string()).into_http()),
            }
        })
    }
}
