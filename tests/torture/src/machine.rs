//! What the scenarios need of the machine: loop devices, mounts, cgroups, strace.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::run::Outcome;

/// How ext4 mounts when nothing is said: data reach the disk before the journal tells of them.
pub(crate) const JOURNAL_ORDERED: &str = "data=ordered";

/// The journal may tell of files whose data have not reached the disk.
pub(crate) const JOURNAL_WRITEBACK: &str = "data=writeback";

/// `FS_IOC_SHUTDOWN` without flushing the journal; the harness has no unsafe code to call ioctl(2) with.
const SHUTDOWN: &str = "import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', 2))";

/// How often a disk is copied until nothing is written meanwhile.
const COPIES_MAX: u32 = 200;

/// Whether a program is installed.
pub(crate) fn has(program: &str) -> bool {
    Command::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|s| s.success())
}

/// Runs a command to its end; an error with what it said.
pub(crate) fn must(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(program).args(arguments).output().with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        bail!("{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// A mounted file system in a file; unmounted when dropped.
#[derive(Debug)]
pub(crate) struct Mount {
    pub(crate) point: PathBuf,
}

impl Mount {
    /// Makes an ext4 file system of so many MiB in `image` and mounts it.
    pub(crate) fn create(image: &Path, point: &Path, mib: u64) -> anyhow::Result<Self> {
        Self::create_with(image, point, mib, JOURNAL_ORDERED)
    }

    /// The same with an option of mount(8).
    pub(crate) fn create_with(image: &Path, point: &Path, mib: u64, option: &str) -> anyhow::Result<Self> {
        let file = std::fs::File::create(image)?;
        file.set_len(mib << 20)?;
        must("mkfs.ext4", &["-q", "-F", "-m", "0", "-E", "lazy_itable_init=0", &image.to_string_lossy()])?;
        Self::of(image, point, option)
    }

    /// Mounts the file system in a file. Replays its journal, as after a power cut.
    pub(crate) fn of(image: &Path, point: &Path, option: &str) -> anyhow::Result<Self> {
        std::fs::create_dir_all(point)?;
        must("mount", &["-o", &format!("loop,{option}"), &image.to_string_lossy(), &point.to_string_lossy()])?;
        Ok(Self { point: point.into() })
    }

    /// Mounts so many MiB of memory.
    pub(crate) fn memory(point: &Path, mib: u64) -> anyhow::Result<Self> {
        std::fs::create_dir_all(point)?;
        let size = format!("size={mib}m");
        must("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", &point.to_string_lossy()])?;
        Ok(Self { point: point.into() })
    }

    /// Takes the file system away from everybody at this moment: nothing more reaches the disk, every later write is an error.
    pub(crate) fn cut_power(&self) -> anyhow::Result<()> {
        must("python3", &["-c", SHUTDOWN, &self.point.to_string_lossy()])
    }

    /// Bytes that are free.
    pub(crate) fn free(&self) -> u64 {
        let output = Command::new("df").args(["--output=avail", "-B1"]).arg(&self.point).output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        text.lines().nth(1).and_then(|line| line.trim().parse().ok()).unwrap_or(0)
    }
}

/// Copies the file of a mounted file system as it is at one moment: again when something was written meanwhile. A copy with
/// older blocks in front and newer ones behind is what no disk ever held, and checksums of ext4 tell.
pub(crate) fn copy_image(image: &Path, to: &Path) -> anyhow::Result<()> {
    for _ in 0..COPIES_MAX {
        let before = writes(image)?;
        must("cp", &["--sparse=always", &image.to_string_lossy(), &to.to_string_lossy()])?;
        if before.under_way == 0 && writes(image)? == before {
            return Ok(());
        }
    }
    bail!("{} is written to all the time", image.display())
}

/// What the loop device of a file has done so far.
#[derive(PartialEq, Eq)]
struct Writes {
    done: u64,
    under_way: u64,
}

fn writes(image: &Path) -> anyhow::Result<Writes> {
    let listed = Command::new("losetup").args(["--noheadings", "--output", "NAME", "-j"]).arg(image).output()?;
    let device = String::from_utf8_lossy(&listed.stdout).trim().replace("/dev/", "");
    // Documentation/block/stat.rst of Linux.
    let path = format!("/sys/block/{device}/stat");
    let stat = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let field = |place: usize| stat.split_whitespace().nth(place).and_then(|number| number.parse().ok());
    let (Some(done), Some(under_way)) = (field(4), field(8)) else { bail!("{path} is {stat:?}") };
    Ok(Writes { done, under_way })
}

impl Drop for Mount {
    fn drop(&mut self) {
        let point = self.point.to_string_lossy().into_owned();
        if must("umount", &[&point]).is_err() {
            // Somebody still has a file open: it goes when they close it.
            drop(must("umount", &["-l", &point]));
        }
    }
}

/// Whether loop devices can be mounted here.
pub(crate) fn can_mount(folder: &Path) -> Result<(), String> {
    if !has("mkfs.ext4") {
        return Err("mkfs.ext4 is not installed".into());
    }
    let (image, point) = (folder.join("probe.img"), folder.join("probe"));
    let made = Mount::create(&image, &point, 8).map(drop).map_err(|error| format!("cannot mount: {error:#}"));
    drop(std::fs::remove_file(&image));
    drop(std::fs::remove_dir(&point));
    made
}

/// Whether strace may trace here.
pub(crate) fn can_trace() -> Result<(), String> {
    match Command::new("strace").args(["-o", "/dev/null", "true"]).stderr(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err("strace may not trace here".into()),
        Err(_) => Err("strace is not installed".into()),
    }
}

/// The processors of the machine in two halves, so that clients take nothing from the server that they overload. This process
/// has the second half until it is dropped.
#[derive(Debug)]
pub(crate) struct Halves {
    all: String,
    /// A list for taskset(1).
    pub(crate) of_server: String,
}

impl Halves {
    /// `None` where there is one processor only.
    pub(crate) fn split() -> anyhow::Result<Option<Self>> {
        let said = Command::new("taskset").args(["-cp", &std::process::id().to_string()]).output()?;
        let said = String::from_utf8_lossy(&said.stdout);
        // `pid 1's current affinity list: 0-2,5`
        let all = said.rsplit(' ').next().unwrap_or_default().trim().to_owned();
        let processors = listed(&all).with_context(|| format!("taskset said {said:?}"))?;
        let (of_server, ours) = processors.split_at(processors.len() / 2);
        if of_server.is_empty() {
            return Ok(None);
        }
        let join = |processors: &[u32]| processors.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        let halves = Self { all, of_server: join(of_server) };
        keep_to(&join(ours))?;
        Ok(Some(halves))
    }

    /// What keeps a server to its half, in front of its command.
    pub(crate) fn wrapper(&self) -> [&str; 3] {
        ["taskset", "-c", &self.of_server]
    }
}

impl Drop for Halves {
    fn drop(&mut self) {
        drop(keep_to(&self.all));
    }
}

/// All threads of this process.
fn keep_to(processors: &str) -> anyhow::Result<()> {
    must("taskset", &["-acp", processors, &std::process::id().to_string()])
}

/// The numbers of a list such as `0-2,5`.
fn listed(list: &str) -> Option<Vec<u32>> {
    let ranges = list.split(',').map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse().ok()?..=last.parse().ok()?)
    });
    Some(ranges.collect::<Option<Vec<_>>>()?.into_iter().flatten().collect())
}

/// A memory cgroup; removed when dropped.
#[derive(Debug)]
pub(crate) struct Cgroup {
    pub(crate) path: PathBuf,
    is_v2: bool,
}

impl Cgroup {
    /// A group that may use so many bytes.
    pub(crate) fn create(name: &str, bytes: u64) -> anyhow::Result<Self> {
        let v1 = Path::new("/sys/fs/cgroup/memory");
        let is_v2 = !v1.is_dir();
        let parent = if is_v2 { Path::new("/sys/fs/cgroup") } else { v1 };
        let path = parent.join(name);
        std::fs::create_dir_all(&path).with_context(|| format!("cannot make the cgroup {}", path.display()))?;
        let group = Self { path, is_v2 };
        let limit = if is_v2 { "memory.max" } else { "memory.limit_in_bytes" };
        std::fs::write(group.path.join(limit), bytes.to_string()).context("cannot set the limit of the cgroup")?;
        Ok(group)
    }

    /// Bytes that are charged to the group and are no cache of files.
    pub(crate) fn rss(&self) -> u64 {
        let text = std::fs::read_to_string(self.path.join("memory.stat")).unwrap_or_default();
        let key = if self.is_v2 { "anon " } else { "total_rss " };
        text.lines().find_map(|line| line.strip_prefix(key)).and_then(|bytes| bytes.trim().parse().ok()).unwrap_or(0)
    }

    /// How many processes the kernel killed for want of memory.
    pub(crate) fn oom_kills(&self) -> u64 {
        let file = if self.is_v2 { "memory.events" } else { "memory.oom_control" };
        let text = std::fs::read_to_string(self.path.join(file)).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
    }

    /// Whether the kernel killed anybody here, which is a failure.
    pub(crate) fn report(&self, outcome: &mut Outcome) {
        let kills = self.oom_kills();
        outcome.figure("oom_kills", kills);
        if kills > 0 {
            outcome.fail("the kernel killed the server for want of memory".into());
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        drop(std::fs::remove_dir(&self.path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors_are_read() {
        assert_eq!(listed("0-2,5"), Some(vec![0, 1, 2, 5]));
        assert_eq!(listed("3"), Some(vec![3]));
        assert_eq!(listed("0-"), None);
    }
}
