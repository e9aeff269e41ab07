//! From alerts to notifications.

use std::sync::Arc;

use async_trait::async_trait;
use trivium_alert::{AlertNotice, Notifier as AlertReceiver};
use trivium_model::{TenantId, UnixNanos};
use trivium_notify::{AlertInput, ExternalSender, Labels, Notifier};

use super::AlertingConfig;
use crate::state::QueryState;

const NANOS_PER_MILLI: i64 = 1_000_000;

/// Hands alerts on.
#[derive(Debug)]
pub(super) struct Bridge {
    notifier: Arc<Notifier>,
    external: Option<Arc<ExternalSender>>,
}

impl Bridge {
    pub(super) async fn open(
        _state: Arc<QueryState>,
        notifier: Arc<Notifier>,
        external: Option<Arc<ExternalSender>>,
        _config: &AlertingConfig,
    ) -> Result<Self, String> {
        Ok(Self { notifier, external })
    }
}

fn input(notice: &AlertNotice) -> AlertInput {
    let time = |millis: i64| UnixNanos(millis.saturating_mul(NANOS_PER_MILLI));
    AlertInput {
        labels: Labels(notice.labels.clone()),
        annotations: Labels(notice.annotations.clone()),
        starts_at: Some(time(notice.starts_at_ms)),
        ends_at: Some(time(notice.ends_at_ms)),
        generator_url: notice.generator_url.clone(),
        incident: None,
        evidence: None,
        sampled_at: notice.completeness.watermark_ms.map(time),
        evaluated_at: Some(time(notice.slot_ms)),
    }
}

#[async_trait]
impl AlertReceiver for Bridge {
    async fn notify(&self, _tenant: TenantId, alerts: Vec<AlertNotice>) {
        let inputs: Vec<AlertInput> = alerts.iter().map(input).collect();
        if let Some(external) = &self.external {
            external.send(&inputs);
            return;
        }
        match self.notifier.put(inputs).await {
            Ok(refused) => refused.iter().for_each(|problem| tracing::warn!(problem, "an alert cannot be notified")),
            Err(error) => {
                tracing::error!(error = %error.body(), "alerts could not be handed to the notifier; they are sent again")
            }
        }
    }
}
