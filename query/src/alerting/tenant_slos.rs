//! The SLOs of each tenant.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use trivium_model::{Clock, TenantId};
use trivium_slo::Slos;

/// What is measured for each tenant; nobody sees another one's.
#[derive(Debug)]
pub struct TenantSlos {
    clock: Arc<dyn Clock>,
    known: RwLock<BTreeMap<TenantId, Slos>>,
}

impl TenantSlos {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, known: RwLock::default() }
    }

    /// Those of a tenant, to read and to replace; empty until its files are read.
    pub(crate) fn of(&self, tenant: TenantId) -> Slos {
        if let Some(slos) = self.known.read().unwrap_or_else(PoisonError::into_inner).get(&tenant) {
            return slos.clone();
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.entry(tenant).or_insert_with(|| Slos::new(Arc::clone(&self.clock))).clone()
    }
}
