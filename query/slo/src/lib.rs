//! Service level objectives: files, error budgets on additive slices of time, burn rates.
//!
//! Knows neither HTTP nor storage: counts come through a querier, slices go to a [`StateStore`](trivium_model::StateStore).
