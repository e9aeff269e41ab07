use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::pruning::PrunableStatistics;
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, DataFusionError, ScalarValue, Statistics};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::FileGroup;
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::pruning::PruningPredicate;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;
use trivium_model::SignalKind;
use trivium_storage::schema::TIME;
use trivium_storage::{Part, RowRanges, Snapshot, TokenFilter};

use super::part_source::{self, PartFile};
use super::token_filter::token_filter;
use crate::engine::Notes;

/// Candidates of every this many rows, or more, are not worth a selection: the whole part is read.
const SELECTIVE: u64 = 2;

/// One reading of a table.
#[derive(Clone, Debug)]
pub(super) struct Scan {
    pub(super) signal: SignalKind,
    /// The whole table as SQL sees it.
    pub(super) schema: SchemaRef,
    pub(super) projection: Option<Vec<usize>>,
    /// The conjunction of the filters, over `schema`.
    pub(super) predicate: Option<Arc<dyn PhysicalExpr>>,
    pub(super) limit: Option<usize>,
    pub(super) partitions: usize,
    /// Where it tells what is wrong with a part.
    pub(super) notes: Arc<Notes>,
}

impl Scan {
    /// The plan that reads what a snapshot has.
    pub(super) async fn plan(self, snapshot: Arc<Snapshot>) -> Result<Arc<dyn ExecutionPlan>> {
        let mut plans: Vec<Arc<dyn ExecutionPlan>> = Vec::new();
        if !snapshot.parts.is_empty() {
            plans.extend(self.clone().plan_parts(Arc::clone(&snapshot)).await?);
        }
        plans.extend(self.plan_buffered(&snapshot.buffered)?);
        match plans.len() {
            0 => Ok(Arc::new(EmptyExec::new(self.projected_schema()?))),
            1 => Ok(plans.remove(0)),
            _ => UnionExec::try_new(plans),
        }
    }

    fn projected_schema(&self) -> Result<SchemaRef> {
        match &self.projection {
            Some(columns) => Ok(Arc::new(self.schema.project(columns)?)),
            None => Ok(Arc::clone(&self.schema)),
        }
    }

    /// The published parts. The index look-ups may read from disk, so they run where blocking is allowed.
    async fn plan_parts(self, snapshot: Arc<Snapshot>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let blocking = tokio::task::spawn_blocking(move || {
            let files = self.select(&snapshot.parts)?;
            Ok::<_, DataFusionError>((self, files))
        });
        let (scan, files) = blocking.await.map_err(|error| DataFusionError::External(Box::new(error)))??;
        if files.is_empty() {
            return Ok(None);
        }
        let groups = scan.groups(&files);
        Ok(Some(part_source::plan(&scan, &files, groups)?))
    }

    /// The parts that may hold a row of the answer, each with the rows that may be one.
    fn select(&self, parts: &[Arc<Part>]) -> Result<Vec<PartFile>> {
        let in_time = self.within_time(parts)?;
        let filter = self.predicate.as_ref().map_or(TokenFilter::All, |predicate| token_filter(self.signal, predicate));
        let mut files = Vec::new();
        for part in in_time {
            let rows = match filter {
                TokenFilter::All => None,
                _ => candidates(part, &filter, &self.notes),
            };
            let rows = rows.filter(|rows| rows.len() * SELECTIVE < u64::from(part.record().rows));
            if rows.as_ref().is_none_or(|rows| !rows.is_empty()) {
                files.push(PartFile {
                    statistics: Arc::new(self.statistics(part, rows.as_ref())),
                    part: Arc::clone(part),
                    rows,
                });
            }
        }
        Ok(files)
    }

    /// Drops the parts whose time range excludes every row of the answer.
    fn within_time<'a>(&self, parts: &'a [Arc<Part>]) -> Result<Vec<&'a Arc<Part>>> {
        let Some(predicate) = &self.predicate else { return Ok(parts.iter().collect()) };
        #[expect(deprecated, reason = "the builder takes what this call takes and is not worth a second form yet")]
        let Ok(predicate) = PruningPredicate::try_new(Arc::clone(predicate), Arc::clone(&self.schema)) else {
            return Ok(parts.iter().collect());
        };
        let statistics = parts.iter().map(|part| Arc::new(self.statistics(part, None))).collect();
        let keep = predicate.prune(&PrunableStatistics::new(statistics, Arc::clone(&self.schema)))?;
        Ok(parts.iter().zip(keep).filter(|(_, keep)| *keep).map(|(part, _)| part).collect())
    }

    /// What is known of a part without opening it. Exact only while no row is left out.
    fn statistics(&self, part: &Part, rows: Option<&RowRanges>) -> Statistics {
        let record = part.record();
        let mut statistics = Statistics::new_unknown(&self.schema);
        let exact = rows.is_none();
        statistics.num_rows = match rows {
            None => Precision::Exact(record.rows as usize),
            Some(rows) => Precision::Inexact(usize::try_from(rows.len()).unwrap_or(usize::MAX)),
        };
        if let Ok(time) = self.schema.index_of(TIME) {
            let bound = |time: i64| {
                let value = ScalarValue::TimestampNanosecond(Some(time), None);
                if exact { Precision::Exact(value) } else { Precision::Inexact(value) }
            };
            if let Some(column) = statistics.column_statistics.get_mut(time) {
                *column = ColumnStatistics {
                    null_count: Precision::Exact(0),
                    min_value: bound(record.first_time.0),
                    max_value: bound(record.last_time.0),
                    ..ColumnStatistics::new_unknown()
                };
            }
        }
        statistics
    }

    /// Spreads the files over the partitions, the largest first, each to the one with the fewest rows so far.
    fn groups(&self, files: &[PartFile]) -> Vec<FileGroup> {
        let mut order: Vec<&PartFile> = files.iter().collect();
        order.sort_by_key(|file| std::cmp::Reverse(file.selected_rows()));
        let count = self.partitions.min(files.len()).max(1);
        let mut groups: Vec<(u64, Vec<_>)> = vec![(0, Vec::new()); count];
        for file in order {
            if let Some(group) = groups.iter_mut().min_by_key(|(rows, _)| *rows) {
                group.0 += file.selected_rows();
                group.1.push(file.to_partitioned_file());
            }
        }
        groups.into_iter().map(|(_, files)| FileGroup::new(files)).collect()
    }

    /// The rows that are not in a part yet. Only the columns that the query needs are brought into the form of SQL.
    fn plan_buffered(&self, batches: &[RecordBatch]) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        if batches.iter().all(|batch| batch.num_rows() == 0) {
            return Ok(None);
        }
        let schema = self.projected_schema()?;
        let mut partitions = vec![Vec::new(); self.partitions.min(batches.len()).max(1)];
        for (index, batch) in batches.iter().enumerate() {
            let turn = index % partitions.len();
            if let Some(partition) = partitions.get_mut(turn) {
                partition.push(project(batch, &schema)?);
            }
        }
        let source = MemorySourceConfig::try_new(&partitions, schema, None)?;
        Ok(Some(Arc::new(DataSourceExec::new(Arc::new(source)))))
    }
}

/// The rows that the part's indexes leave; all of them, with a warning, when the indexes cannot be read.
pub(super) fn candidates(part: &Part, filter: &TokenFilter, notes: &Notes) -> Option<RowRanges> {
    let found = part.candidate_rows(filter);
    found
        .inspect_err(|error| {
            let id = part.record().id;
            notes.warn(format!("the index of part {id} cannot be read, so all of its rows were looked at: {error}"));
        })
        .ok()
}

fn project(batch: &RecordBatch, schema: &Schema) -> Result<RecordBatch> {
    let column = |name: &str, wanted: &arrow::datatypes::DataType| -> Result<ArrayRef> {
        let column = batch
            .column_by_name(name)
            .ok_or_else(|| DataFusionError::Internal(format!("buffered rows lack the column {name}")))?;
        if column.data_type() == wanted { Ok(Arc::clone(column)) } else { Ok(cast(column, wanted)?) }
    };
    let columns: Vec<ArrayRef> =
        schema.fields().iter().map(|field| column(field.name(), field.data_type())).collect::<Result<_>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::new(schema.clone()), columns, &options)?)
}
