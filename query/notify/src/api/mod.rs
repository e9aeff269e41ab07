//! Alertmanager's API v2 without HTTP: from parameters to answers and errors with its texts.

mod acknowledge;
mod model;
mod query;

use std::collections::BTreeSet;

use rand::TryRngCore as _;
use regex::Regex;
use trivium_model::UnixNanos;

use crate::alert::{Alert, AlertInput};
use crate::engine::{Core, SILENCE};
use crate::labels::Labels;
use crate::matcher::{MatchOperator, Matcher};
use crate::notifier::Notifier;
use crate::silence::{Silence, SilenceError, SilenceState};

pub use acknowledge::{GettableAcknowledgement, PostableAcknowledgement};
pub(crate) use model::rfc3339;
pub use model::{
    AlertGroup, AlertStatus, ApiTime, ClusterStatus, ConfigStatus, GettableAlert, GettableSilence, PostableAlert,
    PostableSilence, ReceiverName, SilenceCreated, SilenceStatus, StatusAnswer, VersionInfo,
};
pub use query::AlertQuery;

/// Alerts of one request.
const POST_ALERTS_MAX: usize = 50_000;

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// The HTTP status.
    pub status: u16,
    /// For the client; empty where Alertmanager sends no body.
    pub message: String,
}

impl ApiError {
    pub(crate) fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// The body as Alertmanager writes it: a JSON text, or nothing.
    pub fn body(&self) -> String {
        if self.message.is_empty() { String::new() } else { serde_json::Value::from(self.message.as_str()).to_string() }
    }
}

type Answer<T> = Result<T, ApiError>;

impl Notifier {
    /// `GET /status`
    pub fn status(&self) -> StatusAnswer {
        let unknown = String::new;
        StatusAnswer {
            cluster: ClusterStatus { name: unknown(), peers: Vec::new(), status: "disabled" },
            config: ConfigStatus { original: self.with(|core, _| core.config.original.clone()) },
            uptime: ApiTime(self.started_at()),
            version_info: VersionInfo {
                branch: unknown(),
                build_date: unknown(),
                build_user: unknown(),
                go_version: unknown(),
                revision: unknown(),
                version: concat!("trivium-", env!("CARGO_PKG_VERSION")).to_owned(),
            },
        }
    }

    /// `GET /receivers`
    pub fn receivers(&self) -> Vec<ReceiverName> {
        self.with(|core, _| core.config.receivers.iter().map(|one| ReceiverName { name: one.name.clone() }).collect())
    }

    /// `GET /alerts`
    pub fn alerts(&self, query: &AlertQuery) -> Answer<Vec<GettableAlert>> {
        let (matchers, receiver) = query.compile()?;
        let mut found = self.with(|core, now| {
            let mut found = Vec::new();
            for alert in core.alerts.values() {
                let routes = core.config.routes.matching(&alert.labels);
                let receivers: Vec<&str> =
                    routes.iter().map(|at| core.config.routes.get(*at).options.receiver.as_str()).collect();
                if receiver.as_ref().is_some_and(|regex: &Regex| !receivers.iter().any(|name| regex.is_match(name))) {
                    continue;
                }
                found.extend(query.admit(core, alert, &matchers, now).map(|status| show(alert, status, &receivers)));
            }
            found
        });
        found.sort_by(|left, right| left.fingerprint.cmp(&right.fingerprint));
        Ok(found)
    }

    /// `GET /alerts/groups`
    pub fn alert_groups(&self, query: &AlertQuery) -> Answer<Vec<AlertGroup>> {
        let (matchers, receiver) = query.compile()?;
        let mut groups = self.with(|core, now| {
            let mut groups = Vec::new();
            for ((route, labels), group) in &core.groups {
                let name = &core.config.routes.get(*route).options.receiver;
                let muted_by = core.muted_by(*route, now);
                let is_hidden = !query.muted && !muted_by.is_empty();
                if is_hidden || receiver.as_ref().is_some_and(|regex: &Regex| !regex.is_match(name)) {
                    continue;
                }
                let mut alerts = Vec::new();
                for alert in group.alerts.iter().filter_map(|fingerprint| core.alerts.get(fingerprint)) {
                    if let Some(mut status) = query.admit(core, alert, &matchers, now) {
                        if !muted_by.is_empty() {
                            status.state = "suppressed";
                            status.muted_by.clone_from(&muted_by);
                        }
                        let routes = core.config.routes.matching(&alert.labels);
                        let mut names: Vec<&str> =
                            routes.iter().map(|at| core.config.routes.get(*at).options.receiver.as_str()).collect();
                        names.sort_unstable();
                        alerts.push(show(alert, status, &names));
                    }
                }
                alerts.sort_by(|left, right| left.labels.compare(&right.labels));
                if !alerts.is_empty() {
                    let receiver = ReceiverName { name: name.clone() };
                    groups.push(AlertGroup { labels: labels.clone(), receiver, alerts });
                }
            }
            groups
        });
        groups.sort_by(|left, right| (&left.labels, &left.receiver.name).cmp(&(&right.labels, &right.receiver.name)));
        Ok(groups)
    }

    /// `POST /alerts`. Valid alerts are taken even when others are refused.
    pub async fn post_alerts(&self, alerts: Vec<PostableAlert>) -> Answer<()> {
        if alerts.len() > POST_ALERTS_MAX {
            let message = format!("{} alerts; at most {POST_ALERTS_MAX} are taken in one request", alerts.len());
            return Err(ApiError::new(400, message));
        }
        let input = |alert: PostableAlert| AlertInput {
            labels: alert.labels,
            annotations: alert.annotations,
            starts_at: alert.starts_at.map(|at| at.0),
            ends_at: alert.ends_at.map(|at| at.0),
            generator_url: alert.generator_url.unwrap_or_default(),
            incident: alert.incident,
            evidence: alert.evidence,
            ..AlertInput::default()
        };
        let problems = self.put(alerts.into_iter().map(input).collect()).await?;
        if problems.is_empty() { Ok(()) } else { Err(ApiError::new(400, problems.join("; "))) }
    }

    /// `GET /silences`
    pub fn silences(&self, filter: &[String]) -> Answer<Vec<GettableSilence>> {
        let matchers = query::filters(filter)?;
        let is_wanted = |silence: &&Silence| {
            let has = |wanted: &Matcher| {
                silence.matchers.iter().any(|one| {
                    let operator = MatchOperator::new(one.is_equal, one.is_regex);
                    (&one.name, &one.value, operator) == (&wanted.name, &wanted.value, wanted.operator)
                })
            };
            matchers.iter().all(has)
        };
        let mut found: Vec<GettableSilence> =
            self.with(|core, now| core.silences.iter().filter(is_wanted).map(|one| show_silence(one, now)).collect());
        found.sort_by_key(|one| {
            let order = match one.status.state {
                SilenceState::Active => one.ends_at.0.0,
                SilenceState::Pending => one.starts_at.0.0,
                SilenceState::Expired => one.ends_at.0.0.saturating_neg(),
            };
            (one.status.state, order)
        });
        Ok(found)
    }

    /// `GET /silence/{id}`
    pub fn silence(&self, id: &str) -> Answer<GettableSilence> {
        check_id(id)?;
        let found = self.with(|core, now| core.silences.get(id).map(|silence| show_silence(silence, now)));
        found.ok_or_else(|| ApiError::new(404, ""))
    }

    /// `POST /silences`: creates one, or changes the one with the ID.
    pub async fn post_silence(&self, posted: PostableSilence) -> Answer<SilenceCreated> {
        let missing = |name: &str| ApiError::new(422, format!("validation failure list:\n{name} in body is required"));
        let silence = Silence {
            id: posted.id,
            starts_at: posted.starts_at.ok_or_else(|| missing("startsAt"))?.0.0,
            ends_at: posted.ends_at.ok_or_else(|| missing("endsAt"))?.0.0,
            matchers: posted.matchers,
            updated_at: 0,
            created_by: posted.created_by.ok_or_else(|| missing("createdBy"))?,
            comment: posted.comment.ok_or_else(|| missing("comment"))?,
            annotations: posted.annotations.unwrap_or_default(),
        };
        if silence.starts_at >= silence.ends_at {
            return Err(ApiError::new(400, "Failed to create silence: start time must be before end time"));
        }
        let changed = self.change(|core, now| {
            if silence.ends_at < now.0 {
                return Err(ApiError::new(400, "Failed to create silence: end time can't be in the past"));
            }
            let changed = core.silences.set(silence, now, new_id()?).map_err(silence_error)?;
            changed.iter().for_each(|one| core.changes.put(SILENCE, one.id.clone(), one));
            Ok(changed)
        });
        let silence_id = changed.await?.last().map(|one| one.id.clone()).unwrap_or_default();
        Ok(SilenceCreated { silence_id })
    }

    /// `DELETE /silence/{id}`: ends it.
    pub async fn delete_silence(&self, id: &str) -> Answer<()> {
        check_id(id)?;
        let id = id.to_owned();
        let ended = self.change(move |core, now| {
            let ended = core.silences.expire(&id, now).map_err(|error| match error {
                SilenceError::NotFound => ApiError::new(404, ""),
                SilenceError::Invalid(problem) => ApiError::new(500, problem),
            })?;
            core.changes.put(SILENCE, ended.id.clone(), &ended);
            Ok(())
        });
        ended.await
    }
}

fn silence_error(error: SilenceError) -> ApiError {
    match error {
        SilenceError::NotFound => ApiError::new(404, error.to_string()),
        SilenceError::Invalid(problem) => ApiError::new(400, problem),
    }
}

fn check_id(id: &str) -> Answer<()> {
    let is_id = id.len() == 36
        && id
            .bytes()
            .enumerate()
            .all(|(at, byte)| if matches!(at, 8 | 13 | 18 | 23) { byte == b'-' } else { byte.is_ascii_hexdigit() });
    if is_id { Ok(()) } else { Err(ApiError::new(422, format!("silenceID in path must be of type uuid: {id:?}"))) }
}

/// A random UUID.
fn new_id() -> Answer<String> {
    let mut random = [0; 16];
    rand::rngs::OsRng.try_fill_bytes(&mut random).map_err(|error| ApiError::new(500, error.to_string()))?;
    let bits = (u128::from_le_bytes(random) & !(0xf << 76) & !(0b11 << 62)) | (0x4 << 76) | (0b10 << 62);
    let text = format!("{bits:032x}");
    Ok(format!("{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]))
}

fn show(alert: &Alert, status: AlertStatus, receivers: &[&str]) -> GettableAlert {
    GettableAlert {
        annotations: alert.annotations.clone(),
        ends_at: ApiTime(UnixNanos(alert.ends_at)),
        fingerprint: alert.fingerprint().to_string(),
        receivers: receivers.iter().map(|name| ReceiverName { name: (*name).to_owned() }).collect(),
        starts_at: ApiTime(UnixNanos(alert.starts_at)),
        status,
        updated_at: ApiTime(UnixNanos(alert.updated_at)),
        generator_url: alert.generator_url.clone(),
        labels: alert.labels.clone(),
        incident: alert.incident.clone(),
        acknowledgement: alert.acknowledgement.as_ref().map(GettableAcknowledgement::from),
    }
}

fn show_silence(silence: &Silence, now: UnixNanos) -> GettableSilence {
    GettableSilence {
        id: silence.id.clone(),
        status: SilenceStatus { state: silence.state(now) },
        updated_at: ApiTime(UnixNanos(silence.updated_at)),
        comment: silence.comment.clone(),
        created_by: silence.created_by.clone(),
        ends_at: ApiTime(UnixNanos(silence.ends_at)),
        matchers: silence.matchers.clone(),
        starts_at: ApiTime(UnixNanos(silence.starts_at)),
        annotations: silence.annotations.clone(),
    }
}

/// What mutes a label set now.
fn status_of(core: &Core, labels: &Labels, now: UnixNanos) -> AlertStatus {
    let silenced_by = core.silences.muting(labels, now);
    let inhibited_by: Vec<String> = core.inhibitor(labels, now).iter().map(ToString::to_string).collect();
    let is_active = silenced_by.is_empty() && inhibited_by.is_empty();
    let state = if is_active { "active" } else { "suppressed" };
    AlertStatus { state, silenced_by, inhibited_by, muted_by: Vec::new() }
}

/// Whether filters fit; an empty value asks whether the label is there.
fn fits(matchers: &[Matcher], labels: &Labels) -> bool {
    let known: BTreeSet<&String> = labels.0.keys().collect();
    matchers.iter().all(|matcher| {
        let is_there = known.contains(&matcher.name);
        let is_answered = matcher.value.is_empty() && is_there != matcher.operator.is_equal();
        is_answered || matcher.matches_value(labels.value(&matcher.name))
    })
}
