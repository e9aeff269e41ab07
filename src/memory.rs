//! How much memory this process may use, and what of it each consumer gets, so that defaults for a large machine do not end
//! in the kernel's hands on a small one.

use std::path::Path;

use crate::config::Config;

/// Above it nothing is lowered: all defaults fit, and more is the operator's wish.
const AMPLE: u64 = 4 << 30;

/// What no setting lowers: the program's own data, compressors and encoders of what is sealed, threads.
const BASE: u64 = 64 << 20;

/// Shares of what is left of the limit, as what it is divided by.
mod share {
    /// A busy signal holds up to four buffers (one that is filled and may overshoot once, one like it that is sealed), and
    /// there are three signals: 12/64.
    pub(super) const BUFFER: u64 = 64;
    /// Half of what it could be: what connections hold, 40 KiB each and twice that while they wait, is counted nowhere.
    pub(super) const IN_FLIGHT: u64 = 16;
    pub(super) const PAGE_CACHE: u64 = 32;
    pub(super) const QUERIES: u64 = 10;
    pub(super) const SERIES_CACHE: u64 = 8;
}

/// What a query takes besides what it asks its budget for, such as pages in work; a guess with room.
const BYTES_OF_QUERY: u64 = 192 << 20;

/// Queries at once however little memory there is: one that takes long must not keep a person from everything else.
const QUERIES_MIN: u64 = 2;

/// What a sample of PromQL takes while its query is evaluated: a time, a value, a start time.
const BYTES_OF_SAMPLE: u64 = 24;

/// What `--in-flight-mib` may be at least. A larger request is taken all the same, when it is alone.
const IN_FLIGHT_MIB_MIN: u64 = 8;

/// Lowers what a small limit has no room for; what was lowered, for the log.
pub(crate) fn fit(config: &mut Config, limit: Option<u64>) -> Vec<String> {
    let Some(limit) = limit.filter(|limit| *limit < AMPLE) else { return Vec::new() };
    let left = limit.saturating_sub(BASE).max(limit / 4);
    let mib = left >> 20;
    let mut lowered = Vec::new();
    let mut lower = |key: &str, value: u64, most: u64| {
        if value > most {
            lowered.push(format!("{key} {value} -> {most}"));
        }
        value.min(most)
    };
    config.buffer_mib = lower("buffer_mib", config.buffer_mib, (mib / share::BUFFER).max(1));
    let in_flight = (mib / share::IN_FLIGHT).max(IN_FLIGHT_MIB_MIN);
    config.in_flight_mib = lower("in_flight_mib", config.in_flight_mib, in_flight);
    config.page_cache_mib = lower("page_cache_mib", config.page_cache_mib, mib / share::PAGE_CACHE);
    config.promql_cache_mib = lower("promql_cache_mib", config.promql_cache_mib, mib / share::PAGE_CACHE);
    config.query_memory_mib = lower("query_memory_mib", config.query_memory_mib, (mib / share::QUERIES).max(16));
    config.series_cache_mib = lower("series_cache_mib", config.series_cache_mib, (mib / share::SERIES_CACHE).max(8));
    let queries = lower("query_concurrency", config.query_concurrency as u64, (left / BYTES_OF_QUERY).max(QUERIES_MIN));
    config.query_concurrency = usize::try_from(queries).unwrap_or(usize::MAX);
    let samples = (left / share::QUERIES / BYTES_OF_SAMPLE).max(100_000);
    let samples = lower("promql_samples_max", config.promql_samples_max as u64, samples);
    config.promql_samples_max = usize::try_from(samples).unwrap_or(usize::MAX);
    lowered
}

/// The bytes that this process may use: the least limit of its cgroup and of those above it, version 1 or 2, and the memory of
/// the machine. `None` where nothing tells.
pub(crate) fn limit() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    // `ProcSubset=pid` of systemd hides the first.
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| machine(&text));
    let machine = machine.or_else(|| nodes(Path::new("/sys/devices/system/node")));
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    group(&groups, Path::new("/sys/fs/cgroup"), &read).into_iter().chain(machine).min()
}

/// The memory of the nodes of the machine together: `node0/meminfo` and so on.
fn nodes(folder: &Path) -> Option<u64> {
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    let texts = entries.filter_map(|entry| std::fs::read_to_string(entry.path().join("meminfo")).ok());
    texts.map(|text| machine(&text)).sum()
}

/// `MemTotal:  24684644 kB`, in the file of a node `Node 0 MemTotal: …`.
fn machine(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.split_once("MemTotal:")).map(|(_, total)| total)?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The least limit of the groups in `/proc/self/cgroup`: lines `0::/path` of version 2, `4:memory:/path` of version 1.
fn group(groups: &str, root: &Path, read: &dyn Fn(&Path) -> Option<String>) -> Option<u64> {
    let mut least = None;
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let (folder, file) = match controllers {
            "" => (root.to_path_buf(), "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => (root.join("memory"), "memory.limit_in_bytes"),
            _ => continue,
        };
        // Within a container the path may be that of the host, where nothing is; then the root is the container's own.
        let group = folder.join(path.trim_start_matches('/'));
        for ancestor in group.ancestors().take_while(|ancestor| ancestor.starts_with(&folder)) {
            // Without a limit there stands `max`, or in version 1 a number near 2^63.
            let bytes = read(&ancestor.join(file)).and_then(|text| text.trim().parse::<u64>().ok());
            least = bytes.filter(|bytes| *bytes < 1 << 60).into_iter().chain(least).min();
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit_of(groups: &str, files: &[(&str, &str)]) -> Option<u64> {
        let read = |path: &Path| {
            let found = files.iter().find(|(name, _)| Path::new(name) == path);
            found.map(|(_, text)| (*text).to_owned())
        };
        group(groups, Path::new("/c"), &read)
    }

    #[test]
    fn the_least_limit_of_the_groups_above_counts() {
        let v2 = "0::/kubepods/pod1/box\n";
        let files = [
            ("/c/kubepods/pod1/box/memory.max", "max\n"),
            ("/c/kubepods/pod1/memory.max", "536870912\n"),
            ("/c/kubepods/memory.max", "1073741824\n"),
        ];
        assert_eq!(limit_of(v2, &files), Some(512 << 20));
        assert_eq!(limit_of(v2, &files[..1]), None);
        let v1 = "11:cpu,cpuacct:/a\n4:memory:/docker/1\n1:name=systemd:/\n";
        let huge = ("/c/memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(limit_of(v1, &[("/c/memory/docker/1/memory.limit_in_bytes", "268435456"), huge]), Some(256 << 20));
        assert_eq!(limit_of(v1, &[huge]), None, "no limit");
        // The path of the host is not there within the container.
        assert_eq!(limit_of(v1, &[("/c/memory/memory.limit_in_bytes", "268435456")]), Some(256 << 20));
        for nonsense in ["", "x", "0:", "0::", ":::::", "4:memory"] {
            assert_eq!(limit_of(nonsense, &[]), None, "{nonsense:?}");
        }
        assert_eq!(machine("MemFree: 1 kB\nMemTotal:       24684644 kB\n"), Some(24_684_644 << 10));
        assert_eq!(machine("MemTotal: much"), None);
        assert_eq!(machine("Node 0 MemTotal:       1024 kB\nNode 0 MemFree: 1 kB\n"), Some(1 << 20));
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(nodes(&folder.path().join("none")), None);
        for node in ["node0", "node1"] {
            std::fs::create_dir(folder.path().join(node)).expect("made");
            std::fs::write(folder.path().join(node).join("meminfo"), "Node 0 MemTotal: 2 kB\n").expect("written");
        }
        assert_eq!(nodes(folder.path()), Some(4 << 10));
    }

    #[test]
    fn a_small_limit_lowers_what_is_larger_and_raises_nothing() {
        let mut config = Config::default();
        assert!(fit(&mut config, None).is_empty() && fit(&mut config, Some(AMPLE)).is_empty());
        assert_eq!(config, Config::default());
        let lowered = fit(&mut config, Some(512 << 20));
        assert_eq!(lowered.len(), 8, "{lowered:?}");
        assert_eq!((config.buffer_mib, config.in_flight_mib, config.page_cache_mib), (7, 28, 14));
        assert_eq!((config.query_memory_mib, config.query_concurrency), (44, 2));
        assert_eq!((config.series_cache_mib, config.promql_cache_mib), (56, 14));
        assert_eq!(config.promql_samples_max, 1_957_341);
        config.buffer_mib = 2;
        assert!(fit(&mut config, Some(512 << 20)).is_empty(), "smaller values stay");
        fit(&mut config, Some(1));
        config.validate().expect("the least values are valid");
    }
}
