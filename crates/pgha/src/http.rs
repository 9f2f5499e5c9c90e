//! Health checks and metrics. Changes nothing, whatever is asked.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::handler::Handler;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use pgha_core::Epoch;
use pgha_core::report::{MemberState, Role};
use pgha_proxy::{Gate, Stats};
use serde::Deserialize;

use crate::lag::end_of_primary;
use crate::lease::HolderShared;
use crate::services::Shared;

/// What the answers are made from.
#[derive(Clone)]
pub(crate) struct Health {
    pub(crate) shared: Shared,
    pub(crate) gate: Arc<Gate>,
    pub(crate) holder: Arc<HolderShared>,
    pub(crate) stats: Arc<Stats>,
}

#[derive(Deserialize)]
struct ReplicaQuery {
    lag: Option<String>,
}

/// The routes.
pub(crate) fn router(health: Health) -> Router {
    Router::new()
        .route("/", check(primary))
        .route("/primary", check(primary))
        .route("/read-write", check(primary))
        .route("/leader", check(primary))
        .route("/replica", check(replica))
        .route("/read-only", check(read_only))
        .route("/health", check(healthy))
        .route("/liveness", check(liveness))
        .route("/readiness", check(readiness))
        .route("/metrics", get(metrics))
        .with_state(health)
}

/// A question to which the status is the answer. HAProxy asks by OPTIONS unless it is told otherwise.
fn check<H: Handler<T, Health>, T: 'static>(handler: H) -> MethodRouter<Health> {
    get(handler.clone()).options(handler)
}

fn answer(good: bool, text: String) -> Response {
    let code = if good {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (code, [(header::CONTENT_TYPE, "application/json")], text).into_response()
}

impl Health {
    fn role(&self) -> (Role, MemberState, Option<u64>) {
        let Some(joined) = self.shared.joined.get() else {
            return (Role::None, MemberState::Starting, None);
        };
        let published = joined.published.borrow().clone();
        let replayed = published.report.as_ref().and_then(|report| report.replayed);
        let view = joined.raft.state().borrow().clone();
        let heard = joined.peers.heard();
        let end = end_of_primary(&view.state, heard.values().map(|heard| &heard.report));
        let lag = replayed.zip(end).map(|(at, end)| at.bytes_behind(end));
        (published.why.role, published.why.state, lag)
    }

    fn body(&self) -> String {
        self.body_with(self.gate.open_epoch())
    }

    /// The body for one reading of the gate, which is also what decided the status.
    fn body_with(&self, open: Option<Epoch>) -> String {
        let (role, state, lag) = self.role();
        let joined = self.shared.joined.get();
        let applied = joined.map(|joined| joined.raft.state().borrow().state.epoch);
        let name = &self.shared.config.name;
        serde_json::json!({
            "name": name.as_str(),
            "role": role.to_string(),
            "state": state.to_string(),
            "lag_bytes": lag,
            "gate_open": open.is_some(),
            "epoch": open.or(applied).map(|epoch| epoch.0),
        })
        .to_string()
    }

    /// The gate itself answers: no byte passes where this says no.
    fn is_primary(&self) -> bool {
        self.gate.is_open()
    }

    fn is_replica(&self, lag_max: Option<u64>) -> bool {
        let (role, state, lag) = self.role();
        role == Role::Replica
            && state == MemberState::Streaming
            && lag_max.is_none_or(|max| lag.is_some_and(|lag| lag <= max))
    }
}

async fn primary(State(health): State<Health>) -> Response {
    let open = health.gate.open_epoch();
    answer(open.is_some(), health.body_with(open))
}

async fn replica(State(health): State<Health>, Query(query): Query<ReplicaQuery>) -> Response {
    let lag_max = match query.lag.as_deref().map(pgha_core::settings::parse_size) {
        Some(None) => {
            let text = "lag: expected a number of bytes, or one with KiB, MiB, GiB, or PostgreSQL's kB, MB, GB";
            return (StatusCode::BAD_REQUEST, text).into_response();
        }
        Some(lag) => lag,
        None => None,
    };
    answer(health.is_replica(lag_max), health.body())
}

async fn read_only(State(health): State<Health>) -> Response {
    answer(
        health.is_primary() || health.is_replica(None),
        health.body(),
    )
}

/// PostgreSQL runs and answers, as what it may be; on a witness there is none.
async fn healthy(State(health): State<Health>) -> Response {
    let (role, _, _) = health.role();
    answer(role != Role::None, health.body())
}

/// This process runs its loop.
async fn liveness(State(health): State<Health>) -> Response {
    let stamp = health
        .holder
        .agent_stamp
        .load(std::sync::atomic::Ordering::Acquire);
    let age = pgha_guard::clock::now().since(pgha_core::Mono::from_nanos(stamp));
    answer(
        health.shared.joined.get().is_none() || age < health.shared.config.agent_stall,
        health.body(),
    )
}

async fn readiness(State(health): State<Health>) -> Response {
    answer(
        health.is_primary() || health.is_replica(None),
        health.body(),
    )
}

async fn metrics(State(health): State<Health>) -> Response {
    let mut text = String::new();
    let mut gauge = |name: &str, help: &str, value: u64| {
        let _ = writeln!(
            text,
            "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}"
        );
    };
    let (role, _, lag) = health.role();
    gauge(
        "pgha_gate_open",
        "1 while read-write bytes pass here.",
        health.gate.is_open().into(),
    );
    gauge(
        "pgha_is_primary",
        "1 where this member is primary.",
        (role == Role::Primary).into(),
    );
    gauge(
        "pgha_is_replica",
        "1 where this member is a replica.",
        (role == Role::Replica).into(),
    );
    if let Some(lag) = lag {
        gauge(
            "pgha_replay_lag_bytes",
            "Bytes of WAL not replayed here.",
            lag,
        );
    }
    if let Some(joined) = health.shared.joined.get() {
        let view = joined.raft.state().borrow().clone();
        let raft = joined.raft.role().borrow().clone();
        gauge(
            "pgha_raft_id",
            "Place of this member in the Raft group.",
            joined
                .raft
                .store()
                .binding()
                .map_or(0, |binding| binding.raft_id.0),
        );
        gauge(
            "pgha_epoch",
            "Newest epoch applied here.",
            view.state.epoch.0,
        );
        gauge("pgha_raft_term", "Newest Raft term heard here.", raft.term);
        gauge(
            "pgha_raft_is_leader",
            "1 where this member leads.",
            raft.is_leader.into(),
        );
        gauge(
            "pgha_quorum",
            "1 while a quorum answers.",
            raft.quorum_fresh.into(),
        );
        gauge(
            "pgha_raft_store_bytes",
            "Size of the Raft store.",
            joined.raft.store().size_bytes(),
        );
    }
    proxy_counters(&health.stats, &mut text);
    renewals(&health.holder, &mut text);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

fn proxy_counters(stats: &Stats, text: &mut String) {
    let bytes = [
        ("bytes_to_server_total", stats.bytes_to_server_total()),
        ("bytes_to_client_total", stats.bytes_to_client_total()),
    ];
    for (name, value) in stats.counters().into_iter().chain(bytes) {
        let kind = if name.ends_with("_now") {
            "gauge"
        } else {
            "counter"
        };
        let _ = writeln!(
            text,
            "# TYPE pgha_proxy_{name} {kind}\npgha_proxy_{name} {value}"
        );
    }
}

fn renewals(holder: &HolderShared, text: &mut String) {
    let name = "pgha_lease_renewal_seconds";
    let _ = writeln!(
        text,
        "# HELP {name} Round trips of lease renewals.\n# TYPE {name} histogram"
    );
    let (buckets, count, sum) = holder.times.cumulative();
    for (bound_ms, cumulative) in buckets {
        let bound = std::time::Duration::from_millis(bound_ms).as_secs_f64();
        let _ = writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {cumulative}");
    }
    let _ = writeln!(text, "{name}_bucket{{le=\"+Inf\"}} {count}");
    let _ = writeln!(text, "{name}_sum {sum}\n{name}_count {count}");
}
