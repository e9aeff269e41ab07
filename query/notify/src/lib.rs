//! Notifications as Alertmanager has them: routing, grouping, inhibition, silences, time intervals, receivers.
//!
//! Knows neither rules nor storage: alerts are handed to it, state goes to a [`StateStore`](trivium_model::StateStore).

mod config;
mod inhibit;
mod interval;
mod labels;
mod matcher;
mod route;

pub use config::{Config, ConfigError, Integration, Receiver};
pub use inhibit::InhibitRule;
pub use interval::TimeInterval;
pub use labels::{Fingerprint, Labels};
pub use matcher::{MatchOperator, Matcher, MatcherError, Matchers};
pub use route::{GroupBy, INCIDENT_LABEL, Route, RouteOptions, RouteTree};
