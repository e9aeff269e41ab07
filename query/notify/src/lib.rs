//! Notifications as Alertmanager has them: routing, grouping, inhibition, silences, time intervals, receivers.
//!
//! Knows neither rules nor storage: alerts are handed to it, state goes to a [`StateStore`](trivium_model::StateStore).
