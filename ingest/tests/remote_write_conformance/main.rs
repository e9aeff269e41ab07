//! Remote write as Prometheus' specification and compliance tests have it, over a real socket into a real store.

mod door;
mod durability;
mod support;
