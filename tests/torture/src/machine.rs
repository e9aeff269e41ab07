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
