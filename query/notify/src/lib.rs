//! Notifications as Alertmanager has them: routing, grouping, inhibition, silences, time intervals, receivers.
//!
//! Knows neither rules nor storage: alerts are handed to it, state goes to a [`StateStore`](trivium_model::StateStore).

mod alert;
mod api;
mod config;
mod engine;
mod inhibit;
mod interval;
mod labels;
mod matcher;
mod metrics;
mod notifier;
mod relabel;
mod route;
mod send;
mod silence;

pub use alert::AlertInput;
pub use api::*;
pub use config::{AlertingFile, Config, ConfigError, Integration, Receiver};
pub use engine::Reason;
pub use inhibit::InhibitRule;
pub use interval::TimeInterval;
pub use labels::{Fingerprint, Labels};
pub use matcher::{MatchOperator, Matcher, MatcherError, Matchers};
pub use metrics::MetricSample;
pub use notifier::{Notifier, RuntimeTimer, Surroundings, Timer};
pub use relabel::AlertRelabelling;
pub use route::{GroupBy, INCIDENT_LABEL, Route, RouteOptions, RouteTree};
pub use send::{ExternalAlertmanager, ExternalSender, FetchRequest, Network, OpenError, OutgoingPolicy, Refused};
pub use silence::{SilenceMatcher, SilenceState};
