//! A Parquet source that asks the part's indexes before it reads a part.
//!
//! The filters known when a query is planned are answered by the indexes at planning time ([`super::scan`]). What a join
//! learns only while it runs (the keys of its small side) arrives as a dynamic filter inside the predicate; when a file is
//! about to be opened, [`IndexedMorselizer`] looks at the predicate as it is then and narrows the rows once more.

use std::fmt;
use std::sync::Arc;

use datafusion::common::Statistics;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::config::ConfigOptions;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::datasource::physical_plan::parquet::ParquetRowSelection;
use datafusion::datasource::physical_plan::{
    FileGroup, FileOpener, FileScanConfig, FileScanConfigBuilder, FileSource, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::object_store::ObjectStore;
use datafusion::parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::filter_pushdown::FilterPushdownPropagation;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::{DisplayFormatType, ExecutionPlan, SortOrderPushdownResult};
use datafusion_datasource::morsel::{MorselPlan, MorselPlanner, Morselizer};
use trivium_model::SignalKind;
use trivium_storage::{Part, RowRanges, TokenFilter};

use super::damage::{Nothing, Watch};
use super::part_reader::PartReaderFactory;
use super::scan::{Scan, candidates};
use super::token_filter::{has_dynamic_filter, token_filter};
use crate::engine::Notes;

/// The scheme under which DataFusion knows the parts. Nothing can be read through it: readers get the part itself.
pub(crate) fn object_store_url() -> Result<ObjectStoreUrl> {
    ObjectStoreUrl::parse("trivium://parts")
}

/// A part to be scanned.
#[derive(Clone, Debug)]
pub(super) struct PartFile {
    pub(super) part: Arc<Part>,
    /// The rows that may be part of the answer; all when `None`.
    pub(super) rows: Option<RowRanges>,
    pub(super) statistics: Arc<Statistics>,
}

impl PartFile {
    pub(super) fn selected_rows(&self) -> u64 {
        self.rows.as_ref().map_or_else(|| u64::from(self.part.record().rows), RowRanges::len)
    }

    pub(super) fn to_partitioned_file(&self) -> PartitionedFile {
        let record = self.part.record();
        let file = PartitionedFile::new(record.id.to_string(), record.columns_bytes())
            .with_statistics(Arc::clone(&self.statistics))
            .with_extension(Arc::clone(&self.part));
        match &self.rows {
            Some(rows) => select_rows(file, rows, record.rows),
            None => file,
        }
    }
}

/// Attaches the rows to a file, as the part reader and as DataFusion understand them.
fn select_rows(file: PartitionedFile, rows: &RowRanges, total: u32) -> PartitionedFile {
    let mut selectors = Vec::new();
    let mut at = 0;
    for range in rows.iter() {
        selectors.push(RowSelector::skip((range.start - at) as usize));
        selectors.push(RowSelector::select((range.end - range.start) as usize));
        at = range.end;
    }
    selectors.push(RowSelector::skip(total.saturating_sub(at) as usize));
    let selection = ParquetRowSelection::new(RowSelection::from(selectors));
    file.with_extension(selection).with_extension(rows.clone())
}

/// The scan of the files.
pub(super) fn plan(scan: &Scan, files: &[PartFile], groups: Vec<FileGroup>) -> Result<Arc<dyn ExecutionPlan>> {
    let parquet = ParquetSource::new(TableSchema::from(Arc::clone(&scan.schema)))
        .with_parquet_file_reader_factory(Arc::new(PartReaderFactory))
        .with_pushdown_filters(true)
        .with_reorder_filters(true)
        .with_enable_page_index(true)
        .with_bloom_filter_on_read(false);
    let source = IndexedSource { signal: scan.signal, notes: Arc::clone(&scan.notes), inner: Arc::new(parquet) };
    let statistics = files.iter().map(|file| file.statistics.as_ref());
    let statistics = Statistics::try_merge_iter(statistics, &scan.schema)?;
    let config = FileScanConfigBuilder::new(object_store_url()?, Arc::new(source))
        .with_file_groups(groups)
        .with_statistics(statistics)
        .with_limit(scan.limit)
        .with_projection_indices(scan.projection.clone())?
        .build();
    Ok(Arc::new(DataSourceExec::new(Arc::new(config))))
}

/// A [`ParquetSource`] over parts. All but the opening of a file is left to it.
#[derive(Clone)]
struct IndexedSource {
    signal: SignalKind,
    notes: Arc<Notes>,
    inner: Arc<dyn FileSource>,
}

impl IndexedSource {
    fn with(&self, inner: Arc<dyn FileSource>) -> Arc<dyn FileSource> {
        Arc::new(Self { signal: self.signal, notes: Arc::clone(&self.notes), inner })
    }
}

impl FileSource for IndexedSource {
    fn create_file_opener(
        &self,
        object_store: Arc<dyn ObjectStore>,
        config: &FileScanConfig,
        partition: usize,
    ) -> Result<Arc<dyn FileOpener>> {
        self.inner.create_file_opener(object_store, config, partition)
    }

    fn create_morselizer(
        &self,
        object_store: Arc<dyn ObjectStore>,
        config: &FileScanConfig,
        partition: usize,
    ) -> Result<Box<dyn Morselizer>> {
        let inner: Arc<dyn Morselizer> = Arc::from(self.inner.create_morselizer(object_store, config, partition)?);
        let predicate = self.inner.filter().filter(has_dynamic_filter);
        let notes = Arc::clone(&self.notes);
        Ok(Box::new(IndexedMorselizer { signal: self.signal, predicate, notes, inner }))
    }

    fn table_schema(&self) -> &TableSchema {
        self.inner.table_schema()
    }

    fn with_batch_size(&self, batch_size: usize) -> Arc<dyn FileSource> {
        self.with(self.inner.with_batch_size(batch_size))
    }

    fn filter(&self) -> Option<Arc<dyn PhysicalExpr>> {
        self.inner.filter()
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        self.inner.projection()
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        self.inner.metrics()
    }

    fn file_type(&self) -> &str {
        self.inner.file_type()
    }

    fn fmt_extra(&self, form: DisplayFormatType, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_extra(form, formatter)
    }

    /// A file may be split by bytes: each row group, with the rows selected in it, belongs to one piece.
    fn supports_repartitioning(&self) -> bool {
        self.inner.supports_repartitioning()
    }

    fn try_pushdown_filters(
        &self,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn FileSource>>> {
        let FilterPushdownPropagation { filters, updated_node } = self.inner.try_pushdown_filters(filters, config)?;
        Ok(FilterPushdownPropagation { filters, updated_node: updated_node.map(|inner| self.with(inner)) })
    }

    fn try_pushdown_sort(
        &self,
        order: &[PhysicalSortExpr],
        properties: &EquivalenceProperties,
    ) -> Result<SortOrderPushdownResult<Arc<dyn FileSource>>> {
        Ok(self.inner.try_pushdown_sort(order, properties)?.map(|inner| self.with(inner)))
    }

    fn reorder_files(&self, files: Vec<PartitionedFile>) -> Vec<PartitionedFile> {
        self.inner.reorder_files(files)
    }

    fn try_pushdown_projection(&self, projection: &ProjectionExprs) -> Result<Option<Arc<dyn FileSource>>> {
        Ok(self.inner.try_pushdown_projection(projection)?.map(|inner| self.with(inner)))
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.inner.apply_expressions(visit)
    }
}

/// Narrows a file to the rows that the dynamic part of the predicate leaves, then hands it to the Parquet reader.
#[derive(Debug)]
struct IndexedMorselizer {
    signal: SignalKind,
    /// The whole predicate when a part of it is dynamic, else `None`: then the plan has asked the indexes already.
    predicate: Option<Arc<dyn PhysicalExpr>>,
    notes: Arc<Notes>,
    inner: Arc<dyn Morselizer>,
}

impl Morselizer for IndexedMorselizer {
    fn plan_file(&self, file: PartitionedFile) -> Result<Box<dyn MorselPlanner>> {
        let filter = self.predicate.as_ref().map_or(TokenFilter::All, |predicate| token_filter(self.signal, predicate));
        match file.extension::<Arc<Part>>() {
            None => self.inner.plan_file(file),
            Some(part) => {
                let (part, notes) = (Arc::clone(part), Arc::clone(&self.notes));
                Ok(Box::new(LookUp { part, filter, notes, file: Box::new(file), inner: Arc::clone(&self.inner) }))
            }
        }
    }
}

/// The look-up in a part's footer and indexes, as a step before the file is opened; it may read from disk.
struct LookUp {
    part: Arc<Part>,
    filter: TokenFilter,
    notes: Arc<Notes>,
    file: Box<PartitionedFile>,
    inner: Arc<dyn Morselizer>,
}

impl fmt::Debug for LookUp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("LookUp").field("part", &self.part.record().id).finish_non_exhaustive()
    }
}

impl MorselPlanner for LookUp {
    fn plan(self: Box<Self>) -> Result<Option<MorselPlan>> {
        let Self { part, filter, notes, file, inner } = *self;
        let total = part.record().rows;
        let watch = Watch::new(Arc::clone(&part), Arc::clone(&notes));
        Ok(Some(MorselPlan::new().with_pending_planner(async move {
            let look_up = tokio::task::spawn_blocking(move || look_up(&part, &filter, &notes));
            let found = look_up.await.map_err(|error| DataFusionError::External(Box::new(error)))?;
            let selected = file.extension::<RowRanges>();
            let rows = match (selected, found) {
                (_, Found::Nothing) => return Ok(Box::new(Nothing) as Box<dyn MorselPlanner>),
                (_, Found::All) => return Ok(watch.planner(inner.plan_file(*file)?)),
                (Some(selected), Found::Rows(found)) => selected.intersect(&found),
                (None, Found::Rows(found)) => found,
            };
            if rows.is_empty() {
                return Ok(Box::new(Nothing) as Box<dyn MorselPlanner>);
            }
            Ok(watch.planner(inner.plan_file(select_rows(*file, &rows, total))?))
        })))
    }
}

/// What a part has to offer.
enum Found {
    /// It cannot be read.
    Nothing,
    /// Nothing more is known than when the query was planned.
    All,
    Rows(RowRanges),
}

/// A part whose file is damaged or gone is left out of the answer, which says so: the other parts are still worth having.
fn look_up(part: &Part, filter: &TokenFilter, notes: &Notes) -> Found {
    if let Err(error) = part.metadata() {
        let record = part.record();
        notes.missing(format!("{} rows of part {} are missing: {error}", record.rows, record.id));
        return Found::Nothing;
    }
    match filter {
        TokenFilter::All => Found::All,
        filter => candidates(part, filter, notes).map_or(Found::All, Found::Rows),
    }
}
