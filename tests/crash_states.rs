//! The crash-state explorer: what a machine would find on its disk, for every moment of a run.
//!
//! ```text
//!  scenario ─► server ─► storage in memory ── before each call: cut the power in four ways ─► state
//!  state    ─► a new server loads it ─► its data must be that after some command, and not of one
//!              before the last that was promised
//! ```
//! A scenario appends under one policy, saves, rewrites with changes meanwhile, and syncs; others
//! also spill the rewrite buffer, switch the log off and on, and replace its file. Cuts:
//! everything unsynced lost; everything kept (the process was killed, the machine lives on); twice
//! a random part (names by directory, contents by page, so syncs that are missing show). Each
//! start must succeed; some states are written to and cut a second time.
//!
//! One kind of state is refused on purpose: a page of the unsynced end is missing and a later one
//! is there. Nothing in the file tells that from a hole in old data, which must not be cut off.
//! The test looks that the refusal names the way out and leaves the file alone.
//!
//! `TINE_CRASH_SEEDS=n` runs n seeds instead of the few of `make test`.

#[path = "crash_states/backup.rs"]
mod backup;
mod common;

use common::InProcess;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tine::persist::aof::base::{self, BaseForm};
use tine::persist::aof::rewrite::RewritePhase;
use tine::persist::aof::{Aof, AofState};
use tine::persist::child::ChildLink;
use tine::persist::rdb::save::Walk;
use tine::replay::{LoadEnd, load_at_start};
use tine::server::config::ProtectedAction;
use tine::sys::io::{
    Fault, FaultEffect, FaultPlan, FaultyStorage, MemoryStorage, Operation, PowerCut, Storage,
};

/// Seeds run by `make test`: about a thousand states each for the three policies.
const SEEDS: u64 = 6;
/// Steps of a scenario.
const STEPS: usize = 40;
/// The disk in memory answers at once: whoever waits so long waits in vain.
const DEADLINE: Duration = Duration::from_secs(20);
/// One state in so many is also written to and cut again.
const AGAIN_EVERY: usize = 16;

/// One disk found, and what had been promised before.
struct Found {
    disk: MemoryStorage,
    cut: PowerCut,
    /// The first command count that may be found.
    promised: usize,
    call: usize,
}

/// Collects states; shared with the storage's observer.
struct Watch {
    disk: MemoryStorage,
    /// Commands that survive a power cut, and those that survive the end of the process.
    safe_from_power_cut: AtomicUsize,
    safe_from_kill: AtomicUsize,
    calls: AtomicUsize,
    found: Mutex<Vec<Found>>,
}

impl Watch {
    fn look(&self, seed: u64) {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let random = seed << 32 | (call as u64) << 1;
        let cuts = [
            PowerCut::LoseUnsynced,
            PowerCut::KeepAll,
            PowerCut::Random(random),
            PowerCut::Random(random | 1),
        ];
        // What was promised is read first: the disk is looked at later, and can only hold more.
        let power = self.safe_from_power_cut.load(Ordering::SeqCst);
        let kill = self.safe_from_kill.load(Ordering::SeqCst);
        let mut found = self.found.lock().expect("no observer panics");
        for cut in cuts {
            let promised = if cut == PowerCut::KeepAll { kill } else { power };
            found.push(Found { disk: self.disk.after_power_cut(cut), cut, promised, call });
        }
    }
}

struct Scenario {
    server: InProcess,
    watch: Arc<Watch>,
    policy: &'static str,
    random: fastrand::Rng,
    /// The data after 0, 1, 2 ... commands.
    digests: Vec<String>,
    /// The offset in the stream behind each command.
    offsets: Vec<u64>,
    /// The log is off, or its file is not ours: what is answered is promised to nobody.
    exposed: bool,
}

fn server_on(storage: Arc<dyn Storage>, policy: &str, commands_base: bool) -> InProcess {
    let preamble = if commands_base { "no" } else { "yes" };
    let mut server = InProcess::with(&[
        ("appendonly", "yes"),
        ("appendfsync", policy),
        ("aof-use-rdb-preamble", preamble),
    ]);
    server.server.config.dir = "/".into();
    server.server.config.enable_debug_command = ProtectedAction::Yes;
    server.server.persistence.storage = Arc::clone(&storage);
    server.server.persistence.aof = Aof::new(storage);
    server
}

/// Starts on what a crash has left.
fn recover(disk: &MemoryStorage, policy: &str) -> Result<InProcess, String> {
    let mut server = server_on(Arc::new(disk.clone()), policy, false);
    match load_at_start(&mut server.server, &mut |_| {})? {
        LoadEnd::Complete => Ok(server),
        LoadEnd::Interrupted => Err("nobody interrupts".to_owned()),
    }
}

fn digest(server: &mut InProcess) -> String {
    let digest = server.call("DEBUG DIGEST");
    assert!(digest.len() == 41 && digest.starts_with('+'), "no digest: {digest}");
    digest
}

impl Scenario {
    fn new(policy: &'static str, seed: u64) -> Scenario {
        Scenario::with_plan(policy, seed, &FaultPlan::new())
    }

    fn with_plan(policy: &'static str, seed: u64, plan: &FaultPlan) -> Scenario {
        let disk = MemoryStorage::new();
        let watch = Arc::new(Watch {
            disk: disk.clone(),
            safe_from_power_cut: AtomicUsize::new(0),
            safe_from_kill: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
            found: Mutex::default(),
        });
        let storage = Arc::new(FaultyStorage::new(disk, plan.clone()));
        let mut server = server_on(storage, policy, seed.is_multiple_of(2));
        let observer = Arc::clone(&watch);
        plan.observe(move |_| observer.look(seed));
        load_at_start(&mut server.server, &mut |_| {}).expect("an empty disk is a good start");
        let digests = vec![digest(&mut server)];
        Scenario {
            server,
            watch,
            policy,
            random: fastrand::Rng::with_seed(seed),
            digests,
            offsets: vec![0],
            exposed: false,
        }
    }

    fn run(&mut self) {
        for _ in 0..STEPS {
            match self.random.u32(..16) {
                0 => self.sync(),
                1 => self.save(),
                2 => self.rewrite(),
                _ => self.command(),
            }
        }
        self.sync();
        self.watch.look(u64::MAX >> 32);
    }

    /// A command, a transaction now and then; and what may be acknowledged after it.
    fn command(&mut self) {
        let key = self.random.u32(..12);
        let value = "v".repeat(self.random.usize(1..200));
        let lines = match self.random.u32(..8) {
            0 => vec![format!("DEL k{key}")],
            1 => vec![format!("INCR n{key}")],
            2 => vec![format!("PEXPIRE k{key} 90000000")],
            3 => vec!["SELECT 3".to_owned(), format!("SET k{key} x{value}"), "SELECT 0".to_owned()],
            4 => {
                let mut lines = vec!["MULTI".to_owned(), format!("SET a{key} {value}")];
                lines.extend([format!("APPEND b{key} {value}"), "INCR n0".to_owned(), "EXEC".to_owned()]);
                lines
            }
            _ => vec![format!("SET k{key} {value}")],
        };
        for line in lines {
            self.server.call(&line);
        }
        self.server.server.flush_stream();
        self.server.server.persistence.flush_aof();
        let offset = self.server.server.persistence.pending_aof_offset();
        let offset = offset.unwrap_or_else(|| *self.offsets.last().expect("starts with one"));
        let now = digest(&mut self.server);
        self.digests.push(now);
        self.offsets.push(offset);
        if self.random.bool() {
            let released = || self.server.server.persistence.released_aof_offset();
            wait_until(|| released() >= offset);
        }
        self.acknowledge();
    }

    /// Notes which commands would have been answered by now.
    fn acknowledge(&mut self) {
        if self.exposed {
            return;
        }
        let released = self.server.server.persistence.released_aof_offset();
        let answered = self.offsets.iter().rposition(|offset| *offset <= released).unwrap_or(0);
        self.watch.safe_from_kill.fetch_max(answered, Ordering::SeqCst);
        if self.policy == "always" {
            self.watch.safe_from_power_cut.fetch_max(answered, Ordering::SeqCst);
        }
    }

    fn sync(&mut self) {
        self.server.server.persistence.aof.flush_and_sync(DEADLINE).expect("the disk is well");
        self.everything_is_safe();
    }

    fn everything_is_safe(&mut self) {
        let all = self.digests.len() - 1;
        self.watch.safe_from_kill.fetch_max(all, Ordering::SeqCst);
        self.watch.safe_from_power_cut.fetch_max(all, Ordering::SeqCst);
    }

    fn save(&mut self) {
        self.server.server.save_now().expect("the disk is well");
    }

    /// A rewrite as the server does it, but for the fork: the child's part is done here.
    fn rewrite(&mut self) {
        let server = &mut self.server.server;
        server.flush_stream();
        server.persistence.flush_aof();
        let target = server.aof_path();
        server.persistence.aof.begin_rewrite().expect("threads start");
        server.propagation.forget_selected_db();
        let options = server.aof_base_options(target.clone(), Walk::Tables);
        assert_eq!(matches!(options.form, BaseForm::Rdb(_)), server.config.aof_use_rdb_preamble);
        let temp = base::temp_path(&target, 4711);
        let storage = server.persistence.aof.storage();
        let mut link = ChildLink::disconnected();
        let bytes =
            base::write(storage, &server.keyspace, &mut link, &options, &temp).expect("the disk is well");
        server.persistence.aof.rewrite.begin();
        for _ in 0..self.random.usize(..4) {
            self.command();
        }
        self.server.server.persistence.aof.rewrite.phase = RewritePhase::Switching;
        self.server.server.persistence.aof.switch_to(temp, bytes);
        for _ in 0..self.random.usize(..3) {
            self.command();
        }
        wait_until(|| {
            self.server.server.finish_switch();
            !self.server.server.persistence.aof.rewrite.in_progress()
        });
        assert!(self.server.server.persistence.aof.rewrite.last_ok, "the switch succeeds");
    }

    /// Rewrites whose changes go to a side file, the log off and on, the file replaced.
    fn run_with_upheavals(&mut self) {
        self.server.server.config.aof_rewrite_buffer_limit = 100;
        self.server.server.apply_aof_settings();
        for _ in 0..STEPS {
            match self.random.u32(..12) {
                0 => self.switch_off_and_on(),
                1 => self.replace_file(),
                2 | 3 => self.rewrite(),
                4 => self.sync(),
                _ => self.command(),
            }
        }
        self.sync();
        self.watch.look(u64::MAX >> 32);
    }

    /// CONFIG SET appendonly no, changes that are not logged, CONFIG SET appendonly yes.
    fn switch_off_and_on(&mut self) {
        self.server.server.turn_aof_off();
        self.everything_is_safe();
        self.exposed = true;
        for _ in 0..self.random.usize(..3) {
            self.command();
        }
        let aof = &mut self.server.server.persistence.aof;
        aof.state = AofState::WaitRewrite;
        self.server.server.propagation.wanted = true;
        self.rewrite();
        assert_eq!(self.server.server.persistence.aof.state, AofState::On);
        self.exposed = false;
        self.sync();
    }

    /// Somebody puts a copy in the place of the file; a rewrite heals it. Until then a crash finds
    /// what that somebody has put there.
    fn replace_file(&mut self) {
        self.sync();
        self.exposed = true;
        self.watch.safe_from_kill.store(0, Ordering::SeqCst);
        self.watch.safe_from_power_cut.store(0, Ordering::SeqCst);
        let (disk, log, copy) = (&self.watch.disk, Path::new("/appendonly.aof"), Path::new("/copy"));
        let content = disk.read_whole(log, 1 << 30).expect("it is there");
        let mut file = disk.create(copy).expect("the memory takes a file");
        file.write_all(&content).and_then(|()| file.sync_data()).expect("the memory is well");
        disk.rename(copy, log).and_then(|()| disk.sync_dir(Path::new("/"))).expect("the memory is well");
        wait_until(|| {
            self.server.server.persistence.aof.look_at_file();
            self.server.server.persistence.aof.refusal().is_some()
        });
        assert!(self.server.call("SET refused 1").starts_with("-MISCONF Errors writing to the AOF file: "));
        self.rewrite();
        assert_eq!(self.server.server.persistence.aof.refusal(), None);
        self.exposed = false;
        self.sync();
    }

    /// Starts a server on every disk that was found. Returns how many there were, or the first
    /// that does not hold what was promised.
    fn check(&self, seed: u64) -> Result<usize, String> {
        let found = std::mem::take(&mut *self.watch.found.lock().expect("no observer panics"));
        let count = found.len();
        for (number, state) in found.into_iter().enumerate() {
            let place = format!("{} seed {seed}, call {}, {:?}", self.policy, state.call, state.cut);
            let server = self.check_one(&state).map_err(|failure| format!("{place}: {failure}"))?;
            if let Some(server) = server.filter(|_| number.is_multiple_of(AGAIN_EVERY)) {
                write_and_cut_again(server, &state.disk, self.policy, &place);
            }
        }
        Ok(count)
    }

    /// Starts a server on one disk; `None` when the start is refused for a good reason.
    fn check_one(&self, state: &Found) -> Result<Option<InProcess>, String> {
        let before = log_of(&state.disk);
        let mut server = match recover(&state.disk, self.policy) {
            Ok(server) => server,
            Err(failure) => {
                let holed = matches!(state.cut, PowerCut::Random(_)) && has_hole(&before);
                let explained = failure.contains("make a backup of your AOF file");
                let untouched = log_of(&state.disk) == before;
                return match holed && explained && untouched {
                    true => Ok(None),
                    false => Err(format!("the start fails: {failure}; {:?}", names(&state.disk))),
                };
            }
        };
        let data = digest(&mut server);
        let after = self.digests.iter().rposition(|digest| *digest == data);
        let after = after.ok_or("data that never was")?;
        if after < state.promised {
            return Err(format!("{} commands promised, {after} found", state.promised));
        }
        Ok(Some(server))
    }
}

/// A recovered server must be able to go on, and what it writes then must be there as well.
fn write_and_cut_again(mut server: InProcess, disk: &MemoryStorage, policy: &str, place: &str) {
    server.call("SET after-the-crash 1");
    server.server.flush_stream();
    server.server.persistence.aof.flush_and_sync(DEADLINE).expect("the disk is well");
    let data = digest(&mut server);
    let second = disk.after_power_cut(PowerCut::LoseUnsynced);
    let mut server = recover(&second, policy).unwrap_or_else(|failure| panic!("{place}, again: {failure}"));
    assert_eq!(digest(&mut server), data, "{place}, again");
}

fn log_of(disk: &MemoryStorage) -> Vec<u8> {
    disk.read_whole(Path::new("/appendonly.aof"), 1 << 30).unwrap_or_default()
}

/// Whether a page ends in zeros and a later one holds something.
fn has_hole(content: &[u8]) -> bool {
    const PAGE_BYTES: usize = 4096;
    let end = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    content[..end].chunks_exact(PAGE_BYTES).any(|page| page.ends_with(&[0])) && end % PAGE_BYTES != 0
}

fn names(disk: &MemoryStorage) -> Vec<PathBuf> {
    let names = disk.list_dir(Path::new("/")).unwrap_or_default();
    names.into_iter().map(PathBuf::from).collect()
}

/// Waits for a condition that a healthy disk brings about soon.
#[track_caller]
fn wait_until(condition: impl FnMut() -> bool) {
    common::wait_until("what threads of the server do", DEADLINE, condition);
}

fn explore(policy: &'static str) -> usize {
    explore_by(policy, SEEDS, Scenario::run)
}

fn explore_by(policy: &'static str, seeds: u64, run: fn(&mut Scenario)) -> usize {
    let seeds = std::env::var("TINE_CRASH_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(seeds);
    let mut states = 0;
    for seed in 1..=seeds {
        let mut scenario = Scenario::new(policy, seed);
        run(&mut scenario);
        states += scenario.check(seed).unwrap_or_else(|failure| panic!("{failure}"));
    }
    println!("{policy}: {states} crash states, {seeds} seeds");
    states
}

#[test]
fn always_loses_nothing_that_was_acknowledged() {
    assert!(explore("always") > 1_700);
}

#[test]
fn everysec_loses_nothing_to_a_kill_and_nothing_synced_to_a_power_cut() {
    assert!(explore("everysec") > 1_700);
}

#[test]
fn no_sync_loses_nothing_to_a_kill() {
    assert!(explore("no") > 1_700);
}

/// Side files of rewrites, the log off and on, the file replaced by somebody.
#[test]
fn upheavals_lose_nothing_that_was_promised() {
    for policy in ["always", "everysec"] {
        assert!(explore_by(policy, 2, Scenario::run_with_upheavals) > 600);
    }
}

/// The explorer must find what it is there to find.
#[test]
fn disks_that_lie_about_syncing_are_found_out() {
    for operation in [Operation::SyncData, Operation::SyncDir] {
        let plan = FaultPlan::new();
        plan.add(Fault::always(operation, FaultEffect::Lie));
        let mut scenario = Scenario::with_plan("always", 1, &plan);
        scenario.run();
        assert!(scenario.check(1).is_err(), "{operation:?}: what was promised is not on the disk");
    }
}
