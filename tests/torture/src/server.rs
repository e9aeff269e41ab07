//! Starts, kills and restarts the real binary.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;

/// How long a start may take, with a WAL to replay on a slow disk.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long an orderly stop may take.
const STOP_MAX: Duration = Duration::from_secs(60);

/// How long a process that is about to end may take.
const LAST_BREATH: Duration = Duration::from_secs(10);

/// Bytes of the server's standard error that a report quotes.
const QUOTE_BYTES_MAX: u64 = 4096;

/// How long after a process the kernel may close its files: a jiffy is 10 ms at most.
const DELAYED_CLOSE: Duration = Duration::from_millis(30);

/// How to start a server.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    pub(crate) binary: PathBuf,
    pub(crate) data: PathBuf,
    pub(crate) flags: Vec<String>,
    /// A command in front of the binary: `strace …`, `faketime …`.
    pub(crate) wrapper: Vec<String>,
    /// Files that the process writes its ID into before it begins, as cgroups want it.
    pub(crate) cgroup: Option<PathBuf>,
    /// Where standard error goes; appended to.
    pub(crate) log: PathBuf,
    /// How long the start may take.
    pub(crate) patience: Duration,
    /// Where OTLP over HTTP and the API listen; the system chooses when 0.
    pub(crate) ports: [u16; 2],
}

impl Launch {
    pub(crate) fn new(binary: &Path, folder: &Path) -> Self {
        Self {
            binary: binary.to_path_buf(),
            data: folder.join("data"),
            flags: Vec::new(),
            wrapper: Vec::new(),
            cgroup: None,
            log: folder.join("server.log"),
            patience: PATIENCE,
            ports: [0, 0],
        }
    }

    pub(crate) fn flags(mut self, flags: &[&str]) -> Self {
        self.flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        self
    }

    pub(crate) fn wrapper(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    fn command(&self) -> anyhow::Result<Command> {
        let binary = self.binary.to_string_lossy().into_owned();
        let mut words = self.wrapper.clone();
        words.push(binary);
        if let Some(cgroup) = &self.cgroup {
            // The shell puts itself into the group and becomes the server.
            let script = r#"echo $$ > "$0/cgroup.procs" && exec "$@""#;
            let shell = ["sh".to_owned(), "-c".to_owned(), script.to_owned(), cgroup.to_string_lossy().into_owned()];
            words = shell.into_iter().chain(words).collect();
        }
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(["serve", "--log-level", "warn", "--data-dir"]).arg(&self.data);
        let [otlp_http, http] = self.ports.map(|port| format!("127.0.0.1:{port}"));
        command.args(["--otlp-grpc", "127.0.0.1:0", "--otlp-http", &otlp_http, "--http", &http]);
        if !self.flags.iter().any(|flag| flag.starts_with("--retention")) {
            command.args(["--retention", "none"]);
        }
        let log = File::options().create(true).append(true).open(&self.log).context("the log of the server")?;
        command.args(&self.flags).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        Ok(command)
    }

    /// Starts a server and does not wait for anything.
    pub(crate) fn spawn(&self) -> anyhow::Result<Starting> {
        let log_from = std::fs::metadata(&self.log).map_or(0, |metadata| metadata.len());
        let mut child = self.command()?.spawn().with_context(|| format!("cannot start {}", self.binary.display()))?;
        let output = child.stdout.take().context("standard output is piped")?;
        let (sender, line) = mpsc::channel();
        std::thread::spawn(move || {
            let mut text = String::new();
            drop(BufReader::new(output).read_line(&mut text));
            drop(sender.send(text));
        });
        Ok(Starting {
            child: Some(child),
            line,
            log: self.log.clone(),
            log_from,
            started: Instant::now(),
            patience: self.patience,
        })
    }

    /// Starts a server and waits until it says where it listens.
    pub(crate) fn start(&self) -> anyhow::Result<Server> {
        self.spawn()?.wait()
    }
}

/// A server that has not said yet where it listens.
#[derive(Debug)]
pub(crate) struct Starting {
    child: Option<Child>,
    line: mpsc::Receiver<String>,
    log: PathBuf,
    log_from: u64,
    started: Instant,
    patience: Duration,
}

impl Starting {
    /// kill -9 during the start.
    pub(crate) fn kill(mut self) -> anyhow::Result<()> {
        self.end();
        Ok(())
    }

    fn end(&mut self) {
        if let Some(child) = self.child.take() {
            end(child);
        }
    }

    /// The running server; an error with what it said when it refused to start.
    pub(crate) fn wait(mut self) -> anyhow::Result<Server> {
        let line = self.line.recv_timeout(self.patience).unwrap_or_default();
        let Ok(bound) = serde_json::from_str::<Value>(&line) else {
            let waited = self.started.elapsed();
            // It ends by itself after a refusal; one that hangs is killed, which is another end than that of a fault.
            let refused = line.is_empty() && waited < self.patience;
            let patience = if refused { LAST_BREATH } else { Duration::ZERO };
            let status = self.child.as_mut().and_then(|child| wait_for_end(child, patience));
            self.end();
            let status = status.map_or_else(|| "it hung".to_owned(), |status| status.to_string());
            bail!("the server did not start within {waited:.1?} ({status}): {}", tail(&self.log, self.log_from));
        };
        let address = |key: &str| format!("http://{}", bound[key].as_str().unwrap_or_default());
        Ok(Server {
            child: self.child.take(),
            otlp_grpc: bound["otlp_grpc"].as_str().unwrap_or_default().to_owned(),
            otlp_http: address("otlp_http"),
            http: address("http"),
            log: self.log.clone(),
            log_from: self.log_from,
            ready_after: self.started.elapsed(),
        })
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        self.end();
    }
}

/// A running server; killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Option<Child>,
    /// Host and port.
    pub(crate) otlp_grpc: String,
    pub(crate) otlp_http: String,
    pub(crate) http: String,
    log: PathBuf,
    log_from: u64,
    pub(crate) ready_after: Duration,
}

impl Server {
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// The process that is the server, below a wrapper such as strace.
    pub(crate) fn server_pid(&self) -> u32 {
        below(self.pid())
    }

    /// Resident bytes of its own: what is mapped from files, such as 110 MiB of a binary that is not optimised, goes when memory is
    /// short.
    pub(crate) fn rss(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.server_pid())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or_default();
        line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
    }

    /// Open files.
    pub(crate) fn descriptors(&self) -> u64 {
        entries(&format!("/proc/{}/fd", self.server_pid()))
    }

    pub(crate) fn threads(&self) -> u64 {
        entries(&format!("/proc/{}/task", self.server_pid()))
    }

    /// Of the threads of each name: seconds on a processor, and seconds that they were ready to run and had to wait for one.
    pub(crate) fn processor_time(&self) -> BTreeMap<String, (f64, f64)> {
        let mut times: BTreeMap<String, (f64, f64)> = BTreeMap::new();
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.server_pid()));
        for task in tasks.into_iter().flatten().flatten() {
            let read = |file: &str| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
            let (name, schedule) = (read("comm"), read("schedstat"));
            let mut nanos = schedule.split_whitespace().map(|nanos| nanos.parse::<f64>().unwrap_or(0.0));
            let (ran, waited) = (nanos.next().unwrap_or(0.0) / 1e9, nanos.next().unwrap_or(0.0) / 1e9);
            let time = times.entry(name.trim().to_owned()).or_default();
            *time = (time.0 + ran, time.1 + waited);
        }
        times
    }

    /// The same since then. Threads end, and their time with them.
    pub(crate) fn processor_time_since(&self, before: &BTreeMap<String, (f64, f64)>) -> BTreeMap<String, (f64, f64)> {
        let mut times = self.processor_time();
        for (name, (ran, waited)) in &mut times {
            let (ran_before, waited_before) = before.get(name).copied().unwrap_or_default();
            (*ran, *waited) = ((*ran - ran_before).max(0.0), (*waited - waited_before).max(0.0));
        }
        times
    }

    /// How the process ended; `None` while it runs.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().ok().flatten()
    }

    /// Waits until the process ends by itself.
    pub(crate) fn wait_for_end(&mut self, patience: Duration) -> Option<ExitStatus> {
        wait_for_end(self.child.as_mut()?, patience)
    }

    /// kill -9.
    pub(crate) fn kill(mut self) -> anyhow::Result<()> {
        self.end();
        Ok(())
    }

    fn end(&mut self) {
        if let Some(child) = self.child.take() {
            end(child);
        }
    }

    /// SIGTERM, and how it ended.
    pub(crate) fn stop(mut self) -> anyhow::Result<ExitStatus> {
        signal("-15", self.server_pid());
        self.wait_for_end(STOP_MAX).context("the server did not stop within a minute of SIGTERM")
    }

    /// What it wrote to standard error since it was started.
    pub(crate) fn said(&self) -> String {
        tail(&self.log, self.log_from)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// The process below a wrapper; the process itself where nothing is.
fn below(pid: u32) -> u32 {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_whitespace().next().and_then(|pid| pid.parse().ok()).unwrap_or(pid)
}

fn wait_for_end(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let until = Instant::now() + patience;
    loop {
        let ended = child.try_wait().ok().flatten();
        if ended.is_some() || Instant::now() >= until {
            return ended;
        }
        pause(Duration::from_millis(10));
    }
}

/// kill -9 of a server and of what it is wrapped in.
fn end(mut child: Child) {
    let inner = below(child.id());
    if inner != child.id() {
        signal("-9", inner);
    }
    drop(child.kill());
    drop(child.wait());
    // A wrapper may end before what it wrapped has let go of the folder, and of that one thread before another.
    let until = Instant::now() + LAST_BREATH;
    while is_alive(inner) && Instant::now() < until {
        pause(Duration::from_millis(2));
    }
    // The last files of a process that is gone may be closed a jiffy later, by the kernel's own thread (`delayed_fput`).
    pause(DELAYED_CLOSE);
}

/// Whether any thread of a process has more to do than to be forgotten. One that shows no open files may still be closing them, and
/// holds their locks until it has.
fn is_alive(pid: u32) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task"));
    tasks.into_iter().flatten().flatten().any(|task| {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        // `pid (name) state …`; a name may have parentheses, too.
        let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
        state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
    })
}

fn entries(folder: &str) -> u64 {
    std::fs::read_dir(folder).map_or(0, |entries| entries.count() as u64)
}

/// A port that is free at this moment.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Sends a signal with kill(1): the harness has no unsafe code.
pub(crate) fn signal(which: &str, pid: u32) {
    if pid > 1 {
        drop(Command::new("kill").args([which, &pid.to_string()]).stderr(Stdio::null()).status());
    }
}

fn tail(path: &Path, from: u64) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let end = file.metadata()?.len();
        file.seek(SeekFrom::Start(from.max(end.saturating_sub(QUOTE_BYTES_MAX))))?;
        let mut bytes = Vec::new();
        file.take(QUOTE_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// The lines of a server's log that no fault excuses.
pub(crate) fn panics(log: &Path) -> Vec<String> {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.lines().filter(|line| line.contains("panicked at")).map(str::to_owned).collect()
}

#[expect(clippy::disallowed_methods, reason = "the moment of a fault is what is chosen here, not a condition")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}
