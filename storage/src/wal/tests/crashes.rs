//! Power cuts between any two operations.

use super::*;
use crate::wal::format::FRAME_HEADER_BYTES;
use crate::wal::log::Log;
use crate::wal::open_log;

const CRASHES: [Crash; 9] = [
    Crash::OnlySynced,
    Crash::Everything,
    Crash::NothingCut,
    Crash::Some(1),
    Crash::Some(2),
    Crash::Some(3),
    Crash::Torn(1),
    Crash::Torn(2),
    Crash::Torn(3),
];

fn check_after(fs: &CrashFileSystem, acknowledged: &[u8], context: &str) {
    let (wal, report) = open(fs).unwrap_or_else(|error| panic!("{context}: {error}"));
    assert!(report.damage.is_empty(), "{context}: {:?}", report.damage);
    let found = numbers(&wal);
    assert!(found.is_sorted() && found.windows(2).all(|pair| pair[0] != pair[1]), "{context}: {found:?}");
    assert!(acknowledged.iter().all(|number| found.contains(number)), "{context}: {acknowledged:?} of {found:?}");
}

fn run(fs: &CrashFileSystem, numbers: std::ops::RangeInclusive<u8>) -> Vec<u8> {
    let Ok((wal, _)) = open(fs) else { return Vec::new() };
    let acknowledged = numbers.filter(|number| append(&wal, *number).is_ok()).collect();
    wal.close();
    acknowledged
}

/// After every operation of a run with rotation, and of the recovery after it, the machine loses power in every manner:
/// what was acknowledged is there, once and in order.
#[test]
fn no_crash_point_loses_an_acknowledged_frame() {
    let complete = CrashFileSystem::new();
    run(&complete, 1..=6);
    for stop in 0..complete.operations() {
        let fs = CrashFileSystem::new();
        fs.stop_at(stop);
        let acknowledged = run(&fs, 1..=6);
        for crash in CRASHES {
            let context = format!("stopped at operation {stop}, {crash:?}");
            let after = fs.crash(crash);
            check_after(&after.crash(Crash::Everything), &acknowledged, &context);
            // The recovery itself loses power too.
            for second in 0..24 {
                let recovering = after.crash(Crash::Everything);
                recovering.stop_at(second);
                drop(open(&recovering));
                let context = format!("{context}, recovery at {second}");
                check_after(&recovering.crash(Crash::OnlySynced), &acknowledged, &context);
                check_after(&recovering.crash(Crash::Torn(second)), &acknowledged, &context);
            }
        }
    }
}

/// The process dies, the next one goes on with what the machine has not written yet, and then the power goes.
#[test]
fn a_restart_does_not_build_on_what_a_power_cut_takes_away() {
    // The data folder itself is made durable by whoever takes its lock.
    let data_folder = || {
        let fs = CrashFileSystem::new();
        fs.create_dir_all(Path::new("/data")).expect("made");
        fs
    };
    let complete = data_folder();
    run(&complete, 1..=6);
    for stop in data_folder().operations()..complete.operations() {
        let fs = data_folder();
        fs.stop_at(stop);
        let mut acknowledged = run(&fs, 1..=6);
        fs.go_on();
        acknowledged.extend(run(&fs, 7..=12));
        for crash in CRASHES {
            check_after(&fs.crash(crash), &acknowledged, &format!("stopped at operation {stop}, {crash:?}"));
        }
    }
}

/// A log with groups of several frames, driven without its thread, so that a seed decides which frames share a group.
struct Groups {
    log: Log,
    seed: u64,
    /// The first byte of the payloads of acknowledged frames, by position.
    acknowledged: Vec<(WalPosition, u8)>,
}

impl Groups {
    fn open(fs: &CrashFileSystem, seed: u64) -> Result<(Self, WalRecovery), Error> {
        let config = WalConfig { file_bytes_max: 6000, ..CONFIG };
        let fs: Arc<dyn FileSystem> = Arc::new(fs.clone());
        let (log, report) = open_log(&fs, folder(), config, WalPosition::ZERO)?;
        Ok((Self { log, seed, acknowledged: Vec::new() }, report))
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33) % bound
    }

    /// Appends a group of up to 5 frames of up to 1500 bytes.
    fn append(&mut self) {
        let frames: Vec<(FrameHeader, Bytes)> = (0..=self.below(5))
            .map(|_| {
                let number = self.below(256) as u8;
                (header(number), Bytes::from(vec![number; 1 + self.below(1500) as usize]))
            })
            .collect();
        let first = self.log.last().next();
        if self.log.append(frames.iter().map(|(header, payload)| (header, payload))).is_ok() {
            let positions = (first.0..).map(WalPosition);
            self.acknowledged.extend(positions.zip(frames.iter().map(|(_, payload)| payload[0])));
        }
    }
}

/// Of the sectors of the last group any may be missing: nothing that was acknowledged is lost, nothing is called damage,
/// and that stays so when the next process goes on and dies too.
#[test]
fn torn_groups_cost_nothing_that_was_acknowledged() {
    for seed in 0..400 {
        let mut fs = CrashFileSystem::new();
        let mut acknowledged: Vec<(WalPosition, u8)> = Vec::new();
        for process in 0..4 {
            let context = format!("seed {seed}, process {process}");
            let (mut groups, report) = Groups::open(&fs, seed * 4 + process).expect("it opens");
            assert!(report.damage.is_empty(), "{context}: {:?}", report.damage);
            let (wal_frames, found) = frames_of(&fs);
            assert_eq!(report.frames, wal_frames, "{context}");
            assert!(found.is_sorted_by(|left, right| left.0 < right.0), "{context}");
            assert!(acknowledged.iter().all(|frame| found.contains(frame)), "{context}: {acknowledged:?} of {found:?}");
            fs.stop_at(fs.operations() + 1 + groups.below(20));
            (0..8).for_each(|_| groups.append());
            acknowledged.append(&mut groups.acknowledged);
            fs = fs.crash(Crash::Torn(groups.below(u64::MAX >> 31)));
        }
    }
}

fn frames_of(fs: &CrashFileSystem) -> (u64, Vec<(WalPosition, u8)>) {
    let mut replay = crate::wal::Replay::new(Arc::new(fs.clone()), files(fs), WalPosition::ZERO);
    let frames: Vec<(WalPosition, u8)> = std::iter::from_fn(|| replay.next_frame().expect("readable"))
        .map(|frame| (frame.position, frame.payload[0]))
        .collect();
    (frames.len() as u64, frames)
}

/// What may have been acknowledged is kept, also behind a hole; what was before the last group cannot be torn.
#[test]
fn a_hole_in_the_last_group_is_torn_and_a_hole_before_it_is_damage() {
    let fs = CrashFileSystem::new();
    let (mut groups, _) = Groups::open(&fs, 1).expect("it opens");
    let payload = Bytes::from_static(&[9; 100]);
    for _ in 0..2 {
        let group = [&payload; 3].map(|payload| (header(9), payload));
        groups.log.append(group.iter().map(|(header, payload)| (header, *payload))).expect("appended");
    }
    let frame = FRAME_HEADER_BYTES + payload.len();
    for (damaged, is_torn) in [(0, false), (1, false), (2, false), (3, true), (4, true), (5, true)] {
        let fs = fs.crash(Crash::OnlySynced);
        let start = FILE_HEADER_BYTES + damaged * frame;
        fs.damage(&files(&fs)[0], |bytes| bytes[start..start + frame].fill(0));
        for _ in 0..3 {
            let (wal, report) = open(&fs).expect("it opens");
            assert_eq!(report.damage.is_empty(), is_torn, "{damaged}: {report:?}");
            assert_eq!(frames(&wal).len(), 5, "{damaged}");
        }
    }
}
