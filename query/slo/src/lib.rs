//! Service level objectives: files, error budgets on additive slices of time, burn rates.
//!
//! Knows neither HTTP nor storage: counts come through an [`IndicatorQuerier`], slices go to a
//! [`StateStore`](trivium_model::StateStore). Flow: [`load`] reads definition files; the [`Evaluator`] asks for the counts of
//! completed slices and keeps them; [`Slos`] answers what they say about budgets, burn rates and alerts.

mod alert;
mod budget;
mod burn;
mod definition;
mod duration;
mod error;
mod evaluator;
mod keep;
mod load;
mod promql;
mod querier;
mod registry;
mod series;
mod slice;
mod view;
mod window;

pub use alert::{
    ActiveAlert, AlertReport, BUDGET_LEFT_ALERT, BURN_RATE_ALERT, EXHAUSTION_ALERT, HeldAlert, POLICY_ALERT,
};
pub use budget::{Budget, BudgetPoint, Burn, BurnState, COVERAGE_FLOOR};
pub use definition::{
    AlertPolicy, Alerting, BudgetingMethod, BurnPair, Comparison, Indicator, Labels, Part, Query, Severity, SliceWidth,
    SloDefinition, SpanIndicator, SpanKind,
};
pub use error::{Error, LoadError, Problem};
pub use evaluator::{Evaluator, EvaluatorConfig, EvaluatorDeps, LEASE, Pass, no_group};
pub use keep::Generation;
pub use load::{SloSet, SourceFile, load};
pub use promql::promql_of_slice;
pub use querier::{Group, GroupCounts, IndicatorQuerier, MeasuredSlice, QueryError, SliceRequest};
pub use registry::{Health, Slos};
pub use series::VirtualSeries;
pub use slice::{Sums, WindowSums};
pub use view::{AlertView, BurnView, FormerView, GroupView, IndicatorView, SloSummary, SloView, WindowView};
pub use window::{Bounds, Period, PeriodUnit, Window};
