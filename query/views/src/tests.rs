use std::time::Duration;

use trivium_model::{ManualClock, MemoryStateStore};

use super::*;

const TENANT: TenantId = TenantId(1);
const NOW: UnixNanos = UnixNanos(1_795_262_400_000_000_000);

struct World {
    store: Arc<MemoryStateStore>,
    clock: Arc<ManualClock>,
}

impl World {
    fn new() -> Self {
        Self { store: Arc::default(), clock: Arc::new(ManualClock::new(NOW)) }
    }

    /// The views as a process sees them that has just begun.
    fn views(&self) -> Views {
        Views::new(Arc::<MemoryStateStore>::clone(&self.store), Arc::<ManualClock>::clone(&self.clock))
    }

    async fn names(&self, page: Option<Page>) -> Vec<String> {
        let views = self.views().list(TENANT, page).await.unwrap();
        views.into_iter().map(|view| format!("{} {} {}", view.page, view.name, view.query)).collect()
    }
}

#[tokio::test]
async fn views_outlive_the_process_and_are_found_by_page() {
    let world = World::new();
    let views = world.views();
    views.put(TENANT, Page::Sql, "slow / costly", "?q=SELECT%201").await.unwrap();
    views.put(TENANT, Page::Logs, " Errors ", "query=level%3Aerror").await.unwrap();
    views.put(TENANT, Page::Logs, "All", "").await.unwrap();
    drop(views);
    assert_eq!(
        world.names(None).await,
        ["logs All ", "logs Errors query=level%3Aerror", "sql slow / costly q=SELECT%201"]
    );
    assert_eq!(world.names(Some(Page::Sql)).await, ["sql slow / costly q=SELECT%201"]);
    assert_eq!(world.views().list(TenantId(2), None).await.unwrap(), [], "another tenant has its own");
}

#[tokio::test]
async fn a_view_is_replaced_by_name_and_removed_once() {
    let world = World::new();
    world.views().put(TENANT, Page::Logs, "a", "query=1").await.unwrap();
    world.clock.advance(Duration::from_secs(1));
    let saved = world.views().put(TENANT, Page::Logs, "a", "query=2").await.unwrap();
    assert_eq!(saved.updated_at, NOW.after(Duration::from_secs(1)));
    assert_eq!(serde_json::to_value(&saved).unwrap()["updated_at"], "1795262401000000000");
    // One whose name begins alike stays.
    world.views().put(TENANT, Page::Logs, "ab", "").await.unwrap();
    assert_eq!(world.names(None).await, ["logs a query=2", "logs ab "]);
    world.views().remove(TENANT, Page::Logs, "a").await.unwrap();
    assert_eq!(world.names(None).await, ["logs ab "]);
    let missing = world.views().remove(TENANT, Page::Logs, "a").await.unwrap_err();
    assert_eq!((missing.kind(), missing.to_string().as_str()), (ErrorKind::NotFound, "there is no view \"a\" of logs"));
}

#[tokio::test]
async fn names_and_queries_are_bounded() {
    let views = World::new().views();
    let long = "n".repeat(NAME_CHARS_MAX + 1);
    for name in ["", "   ", "..", "a\nb", long.as_str()] {
        assert_eq!(
            views.put(TENANT, Page::Logs, name, "").await.unwrap_err().kind(),
            ErrorKind::InvalidArgument,
            "{name:?}"
        );
    }
    let large = "q".repeat(QUERY_BYTES_MAX + 1);
    for query in ["a\r\nb", large.as_str()] {
        assert_eq!(views.put(TENANT, Page::Logs, "a", query).await.unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
    views.put(TENANT, Page::Logs, &"ü".repeat(NAME_CHARS_MAX), &"q".repeat(QUERY_BYTES_MAX)).await.unwrap();
    assert!("metric".parse::<Page>().is_err());
}

#[tokio::test]
async fn their_number_is_bounded_and_what_is_there_can_still_be_changed() {
    let world = World::new();
    let views = world.views();
    for index in 0..VIEWS_MAX {
        views.put(TENANT, Page::Metrics, &format!("view {index}"), "").await.unwrap();
    }
    assert_eq!(views.put(TENANT, Page::Sql, "one more", "").await.unwrap_err(), ViewError::Full);
    views.put(TENANT, Page::Metrics, "view 0", "q=up").await.unwrap();
    views.remove(TENANT, Page::Metrics, "view 1").await.unwrap();
    views.put(TENANT, Page::Sql, "one more", "").await.unwrap();
}

#[tokio::test]
async fn a_record_that_cannot_be_read_hides_no_other() {
    let world = World::new();
    world.views().put(TENANT, Page::Logs, "good", "").await.unwrap();
    let strange = [("logs/broken", "{"), ("nowhere/a", "{}"), ("nothing", "{}")];
    let changes =
        strange.map(|(key, value)| StateChange::Put { kind: KIND.into(), key: key.into(), value: value.into() });
    world.store.apply(TENANT, None, changes.into()).await.unwrap();
    assert_eq!(world.names(None).await, ["logs good "]);
}
