//! Which services there are and how much they sent.

use hashbrown::HashMap;
use trivium_model::{SignalKind, TenantId, TimeRange};
use trivium_storage::Storage;
use trivium_storage::schema::SERVICE_NAME;

use super::search::count_texts;
use crate::error::Error;
use crate::lookup::Deadline;

/// Rows of each service by signal, in parts that may hold rows of the range; most spans first.
pub(crate) fn services(
    storage: &Storage,
    tenant: TenantId,
    range: TimeRange,
    deadline: Deadline,
) -> Result<Vec<(String, [u64; 3])>, Error> {
    let mut services: HashMap<String, [u64; 3]> = HashMap::new();
    for signal in SignalKind::ALL {
        let snapshot = storage.snapshot(tenant, signal);
        let mut counts = HashMap::new();
        for batch in snapshot.buffered.iter().filter(|batch| super::search::overlaps(batch, range)) {
            count_texts(batch, SERVICE_NAME, &mut counts)?;
        }
        for part in snapshot.parts.iter().filter(|part| part.overlaps(range)) {
            deadline.check()?;
            for batch in part.read(Some(&[SERVICE_NAME]), None)? {
                count_texts(&batch, SERVICE_NAME, &mut counts)?;
            }
        }
        for (service, count) in counts {
            services.entry(service).or_default()[signal.index()] = count;
        }
    }
    let mut services: Vec<(String, [u64; 3])> = services.into_iter().collect();
    let spans = SignalKind::Traces.index();
    services.sort_unstable_by(|left, right| right.1[spans].cmp(&left.1[spans]).then_with(|| left.0.cmp(&right.0)));
    Ok(services)
}
