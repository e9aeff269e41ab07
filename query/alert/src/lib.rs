//! Rules as Prometheus has them, evaluated on schedule: files, state machine, unit tests and backtests.
//!
//! Knows neither HTTP nor storage: answers come through a querier, samples go to a sink, state to a
//! [`StateStore`](trivium_model::StateStore).
