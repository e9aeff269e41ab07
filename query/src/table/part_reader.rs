use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
use datafusion::error::{DataFusionError, Result};
use datafusion::parquet::arrow::arrow_reader::ArrowReaderOptions;
use datafusion::parquet::arrow::async_reader::AsyncFileReader;
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::metadata::ParquetMetaData;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt;
use futures::future::BoxFuture;
use trivium_storage::Part;

/// Opens the Parquet files of parts with the footers that the parts keep in memory. The part comes with the file as an
/// extension, so no path is ever resolved.
#[derive(Debug)]
pub(super) struct PartReaderFactory;

impl ParquetFileReaderFactory for PartReaderFactory {
    fn create_reader(
        &self,
        _partition: usize,
        file: PartitionedFile,
        _metadata_size_hint: Option<usize>,
        _metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let part = file
            .extension::<Arc<Part>>()
            .ok_or_else(|| DataFusionError::Internal(format!("{} does not belong to a part", file.path())))?;
        Ok(Box::new(PartReader { part: Arc::clone(part) }))
    }
}

/// Reads one part's Parquet file, which the part has open and decrypts if need be. Reads run where blocking is allowed.
struct PartReader {
    part: Arc<Part>,
}

impl AsyncFileReader for PartReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        async move {
            let mut ranges = self.get_byte_ranges(vec![range]).await?;
            ranges.pop().ok_or_else(|| ParquetError::General("a read returned nothing".into()))
        }
        .boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        let part = Arc::clone(&self.part);
        async move {
            let read = tokio::task::spawn_blocking(move || part.columns_bytes(&ranges));
            let read = read.await.map_err(|error| ParquetError::External(Box::new(error)))?;
            read.map_err(|error| ParquetError::External(Box::new(error)))
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        let part = Arc::clone(&self.part);
        async move { part.metadata().map_err(|error| ParquetError::External(Box::new(error))) }.boxed()
    }
}
