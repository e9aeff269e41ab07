//! Messages of Prometheus remote write, by field number; for those who send them (tests, benchmarks, the script runner).

/// `prometheus.WriteRequest`, remote write 1.0.
pub mod v1 {
    use prost::Message;

    use super::Histogram;

    /// A request.
    #[derive(Clone, PartialEq, Message)]
    pub struct WriteRequest {
        /// Series with their samples.
        #[prost(message, repeated, tag = "1")]
        pub timeseries: Vec<TimeSeries>,
        /// What is known of metrics.
        #[prost(message, repeated, tag = "3")]
        pub metadata: Vec<MetricMetadata>,
    }

    /// A series.
    #[derive(Clone, PartialEq, Message)]
    pub struct TimeSeries {
        /// Sorted by name, `__name__` among them.
        #[prost(message, repeated, tag = "1")]
        pub labels: Vec<Label>,
        /// Float samples.
        #[prost(message, repeated, tag = "2")]
        pub samples: Vec<Sample>,
        /// Exemplars.
        #[prost(message, repeated, tag = "3")]
        pub exemplars: Vec<Exemplar>,
        /// Native histograms.
        #[prost(message, repeated, tag = "4")]
        pub histograms: Vec<Histogram>,
    }

    /// A label.
    #[derive(Clone, PartialEq, Eq, Hash, Message)]
    pub struct Label {
        /// Its name.
        #[prost(string, tag = "1")]
        pub name: String,
        /// Its value.
        #[prost(string, tag = "2")]
        pub value: String,
    }

    /// A float sample.
    #[derive(Clone, Copy, PartialEq, Message)]
    pub struct Sample {
        /// The value.
        #[prost(double, tag = "1")]
        pub value: f64,
        /// Unix milliseconds.
        #[prost(int64, tag = "2")]
        pub timestamp: i64,
    }

    /// An exemplar.
    #[derive(Clone, PartialEq, Message)]
    pub struct Exemplar {
        /// Such as `trace_id`.
        #[prost(message, repeated, tag = "1")]
        pub labels: Vec<Label>,
        /// The value.
        #[prost(double, tag = "2")]
        pub value: f64,
        /// Unix milliseconds.
        #[prost(int64, tag = "3")]
        pub timestamp: i64,
    }

    /// What is known of a metric.
    #[derive(Clone, PartialEq, Eq, Hash, Message)]
    pub struct MetricMetadata {
        /// 1 counter, 2 gauge, 3 histogram, 4 gauge histogram, 5 summary, 6 info, 7 state set.
        #[prost(int32, tag = "1")]
        pub metric_type: i32,
        /// The metric's name.
        #[prost(string, tag = "2")]
        pub metric_family_name: String,
        /// What it means.
        #[prost(string, tag = "4")]
        pub help: String,
        /// In what it is measured.
        #[prost(string, tag = "5")]
        pub unit: String,
    }
}

/// `io.prometheus.write.v2.Request`, remote write 2.0.
pub mod v2 {
    use prost::Message;

    use super::Histogram;

    /// A request.
    #[derive(Clone, PartialEq, Message)]
    pub struct Request {
        /// All strings; the first is empty.
        #[prost(string, repeated, tag = "4")]
        pub symbols: Vec<String>,
        /// Series with their samples.
        #[prost(message, repeated, tag = "5")]
        pub timeseries: Vec<TimeSeries>,
    }

    /// A series.
    #[derive(Clone, PartialEq, Message)]
    pub struct TimeSeries {
        /// Pairs of references to name and value of a label.
        #[prost(uint32, repeated, tag = "1")]
        pub labels_refs: Vec<u32>,
        /// Float samples.
        #[prost(message, repeated, tag = "2")]
        pub samples: Vec<Sample>,
        /// Native histograms.
        #[prost(message, repeated, tag = "3")]
        pub histograms: Vec<Histogram>,
        /// Exemplars.
        #[prost(message, repeated, tag = "4")]
        pub exemplars: Vec<Exemplar>,
        /// What is known of the metric.
        #[prost(message, optional, tag = "5")]
        pub metadata: Option<Metadata>,
    }

    /// A float sample.
    #[derive(Clone, Copy, PartialEq, Message)]
    pub struct Sample {
        /// The value.
        #[prost(double, tag = "1")]
        pub value: f64,
        /// Unix milliseconds.
        #[prost(int64, tag = "2")]
        pub timestamp: i64,
        /// When the counter began, in Unix milliseconds; 0 when nobody knows.
        #[prost(int64, tag = "3")]
        pub start_timestamp: i64,
    }

    /// An exemplar.
    #[derive(Clone, PartialEq, Message)]
    pub struct Exemplar {
        /// Pairs of references to name and value of a label.
        #[prost(uint32, repeated, tag = "1")]
        pub labels_refs: Vec<u32>,
        /// The value.
        #[prost(double, tag = "2")]
        pub value: f64,
        /// Unix milliseconds.
        #[prost(int64, tag = "3")]
        pub timestamp: i64,
    }

    /// What is known of a metric.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Message)]
    pub struct Metadata {
        /// 1 counter, 2 gauge, 3 histogram, 4 gauge histogram, 5 summary, 6 info, 7 state set.
        #[prost(int32, tag = "1")]
        pub metric_type: i32,
        /// What it means.
        #[prost(uint32, tag = "3")]
        pub help_ref: u32,
        /// In what it is measured.
        #[prost(uint32, tag = "4")]
        pub unit_ref: u32,
    }
}

use prost::{Message, Oneof};

/// A native histogram, the same in both versions.
#[derive(Clone, PartialEq, Message)]
pub struct Histogram {
    /// Observations.
    #[prost(oneof = "Count", tags = "1, 2")]
    pub count: Option<Count>,
    /// Their sum.
    #[prost(double, tag = "3")]
    pub sum: f64,
    /// -4 to 8 for exponential buckets, -53 for custom ones.
    #[prost(sint32, tag = "4")]
    pub schema: i32,
    /// The bound of the zero bucket.
    #[prost(double, tag = "5")]
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    #[prost(oneof = "ZeroCount", tags = "6, 7")]
    pub zero_count: Option<ZeroCount>,
    /// Which negative buckets there are.
    #[prost(message, repeated, tag = "8")]
    pub negative_spans: Vec<BucketSpan>,
    /// Differences of counts.
    #[prost(sint64, repeated, tag = "9")]
    pub negative_deltas: Vec<i64>,
    /// Counts, when they are floats.
    #[prost(double, repeated, tag = "10")]
    pub negative_counts: Vec<f64>,
    /// Which positive buckets there are.
    #[prost(message, repeated, tag = "11")]
    pub positive_spans: Vec<BucketSpan>,
    /// Differences of counts.
    #[prost(sint64, repeated, tag = "12")]
    pub positive_deltas: Vec<i64>,
    /// Counts, when they are floats.
    #[prost(double, repeated, tag = "13")]
    pub positive_counts: Vec<f64>,
    /// 0 unknown, 1 reset, 2 not reset, 3 gauge.
    #[prost(int32, tag = "14")]
    pub reset_hint: i32,
    /// Unix milliseconds.
    #[prost(int64, tag = "15")]
    pub timestamp: i64,
    /// Upper bounds of custom buckets.
    #[prost(double, repeated, tag = "16")]
    pub custom_values: Vec<f64>,
    /// When the histogram began, in Unix milliseconds; 0 when nobody knows. Version 2.0 only.
    #[prost(int64, tag = "17")]
    pub start_timestamp: i64,
}

/// The count of a histogram; its kind is that of all counts.
#[derive(Clone, Copy, PartialEq, Oneof)]
pub enum Count {
    /// Of a histogram with integers.
    #[prost(uint64, tag = "1")]
    Int(u64),
    /// Of a histogram with floats.
    #[prost(double, tag = "2")]
    Float(f64),
}

/// The count of the zero bucket.
#[derive(Clone, Copy, PartialEq, Oneof)]
pub enum ZeroCount {
    /// Of a histogram with integers.
    #[prost(uint64, tag = "6")]
    Int(u64),
    /// Of a histogram with floats.
    #[prost(double, tag = "7")]
    Float(f64),
}

/// Buckets that follow one another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Message)]
pub struct BucketSpan {
    /// Buckets between the end of the span before and this one; of the first, its index.
    #[prost(sint32, tag = "1")]
    pub offset: i32,
    /// How many.
    #[prost(uint32, tag = "2")]
    pub length: u32,
}
