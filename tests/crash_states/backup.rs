//! Backups among the crash states: what has a backup's name is whole in every state, holds what was
//! acknowledged before it was asked for, and is still there once it was reported as taken.

use super::{DEADLINE, Scenario, digest, server_on, wait_until};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tine::persist::aof::AofState;
use tine::persist::backup::job::{BackupOrder, Progress, Source, check_files, read_manifest, run};
use tine::persist::backup::manifest::{BackupKind, Manifest};
use tine::replay::load_at_start;
use tine::sys::io::{FaultPlan, MemoryStorage, PowerCut, Storage};

const DIR: &str = "/backups";
const SEEDS: u64 = 4;

/// A backup that was asked for, and the commands acknowledged before that.
struct Taken {
    name: String,
    commands: usize,
    reported: bool,
}

/// A disk after a crash, and how many backups had been reported by then.
struct State {
    disk: MemoryStorage,
    reported: usize,
    place: String,
}

impl Scenario {
    /// BACKUP TO, with commands, a rewrite or nothing at the same time.
    fn backup(&mut self, taken: &Mutex<Vec<Taken>>) {
        // Names are times: this one is new.
        self.server.clock_ms(1);
        let commands = self.digests.len() - 1;
        let name = self.server.server.start_backup(Path::new(DIR), None, false).expect("the log is on");
        taken.lock().expect("no observer panics").push(Taken { name, commands, reported: false });
        match self.random.u32(..3) {
            0 => self.rewrite(),
            1 => (0..3).for_each(|_| self.command()),
            _ => {}
        }
        wait_until(|| {
            self.server.server.backup_cron();
            !self.server.server.persistence.backup.in_progress()
        });
        let last = self.server.server.persistence.backup.last.clone().expect("it has ended");
        assert_eq!(last.error, None);
        taken.lock().expect("no observer panics").last_mut().expect("pushed before").reported = true;
    }

    /// A backup of a snapshot. The fork's part, SAVE, is done in the foreground.
    fn backup_of_snapshot(&mut self, taken: &Mutex<Vec<Taken>>) {
        self.server.clock_ms(1);
        let commands = self.digests.len() - 1;
        self.save();
        let manifest = Manifest::begun(BackupKind::Snapshot, self.server.server.now_ms(), "0.1.0");
        let name = manifest.name.clone();
        taken.lock().expect("no observer panics").push(Taken { name, commands, reported: false });
        let (storage, path) =
            (Arc::clone(&self.server.server.persistence.storage), PathBuf::from("/dump.rdb"));
        let file = storage.open_read(&path).expect("it was saved");
        let source = Source::File { file, path };
        let order = BackupOrder { storage, dir: DIR.into(), source, copy: self.random.bool(), manifest };
        run(order, &Progress::default()).expect("the disk is well");
        taken.lock().expect("no observer panics").last_mut().expect("pushed before").reported = true;
    }
}

/// Runs a scenario of commands and backups; collects the disks of all its crash states.
fn explore(seed: u64) -> (Scenario, Vec<Taken>, Vec<State>) {
    let plan = FaultPlan::new();
    let mut scenario = Scenario::with_plan("everysec", seed, &plan);
    let taken: Arc<Mutex<Vec<Taken>>> = Arc::default();
    let states: Arc<Mutex<Vec<State>>> = Arc::default();
    let (disk, watched, found) = (scenario.watch.disk.clone(), Arc::clone(&taken), Arc::clone(&states));
    plan.observe(move |operation| {
        let reported = watched.lock().expect("no observer panics");
        let reported = reported.iter().filter(|backup| backup.reported).count();
        let mut found = found.lock().expect("no observer panics");
        let random = seed << 32 | found.len() as u64;
        for cut in [
            PowerCut::LoseUnsynced,
            PowerCut::KeepAll,
            PowerCut::Random(random),
            PowerCut::Random(random | 1 << 31),
        ] {
            let place = format!("seed {seed}, state {}, before {operation:?}, {cut:?}", found.len());
            found.push(State { disk: disk.after_power_cut(cut), reported, place });
        }
    });
    for round in 0..4 {
        for _ in 0..4 {
            scenario.command();
        }
        if round == 3 { scenario.backup_of_snapshot(&taken) } else { scenario.backup(&taken) }
    }
    plan.observe(|_| {});
    let taken = std::mem::take(&mut *taken.lock().expect("no observer panics"));
    let states = std::mem::take(&mut *states.lock().expect("no observer panics"));
    (scenario, taken, states)
}

/// Checks all backups of a disk; returns their names.
fn whole_backups(state: &State) -> Vec<String> {
    let names = state.disk.list_dir(Path::new(DIR)).unwrap_or_default();
    let names = names.into_iter().map(|name| name.to_string_lossy().into_owned());
    let names: Vec<String> = names.filter(|name| name.starts_with("backup-")).collect();
    for name in &names {
        let folder = Path::new(DIR).join(name);
        let manifest = read_manifest(&state.disk, &folder);
        let manifest = manifest.unwrap_or_else(|reason| panic!("{}: {reason}", state.place));
        let checked = check_files(&state.disk, &folder, &manifest, &Progress::default());
        assert_eq!(checked, Ok(()), "{}", state.place);
    }
    names
}

/// Loads a backup on a disk of its own. Returns the data set's digest.
fn data_in(disk: &MemoryStorage, name: &str) -> String {
    let fresh = MemoryStorage::new();
    let folder = Path::new(DIR).join(name);
    let manifest = read_manifest(disk, &folder).expect("checked before");
    let restored = Path::new("/").join(&manifest.files[0].name);
    let content = disk.read_whole(&folder.join(&manifest.files[0].name), 1 << 30).expect("checked before");
    fresh.create(&restored).and_then(|mut file| file.write_all(&content)).expect("write");
    let mut server = server_on(Arc::new(fresh), "everysec", false);
    load_at_start(&mut server.server, &mut |_| {}).expect("a backup loads");
    assert_eq!(server.server.persistence.aof.state, AofState::On);
    server.server.persistence.aof.flush_and_sync(DEADLINE).expect("the disk is well");
    digest(&mut server)
}

#[test]
fn backups_are_whole_or_not_there_in_every_crash_state() {
    let mut count = 0;
    for seed in 1..=SEEDS {
        let (scenario, taken, states) = explore(seed);
        for state in &states {
            let names = whole_backups(state);
            for backup in &taken[..state.reported] {
                assert!(names.contains(&backup.name), "{}: {} was reported", state.place, backup.name);
            }
        }
        for backup in &taken {
            let data = data_in(&scenario.watch.disk, &backup.name);
            let after = scenario.digests.iter().rposition(|digest| *digest == data);
            let after = after.expect("a backup holds data that were");
            assert!(after >= backup.commands, "{}: {} commands, {after} found", backup.name, backup.commands);
        }
        count += states.len();
    }
    println!("backup: {count} crash states, {SEEDS} seeds");
    assert!(count > 1_000);
}
