//! The schedule. One thread; each batch of requests has a time at which it is due, fixed before the run and
//! independent of the server. A late reply delays nothing: the next batch goes out when *it* is due.
//!
//! ```text
//!   due 0      due 1      due 2      due 3           (rate / pipeline batches a second)
//!     |          |          |          |
//!     +-- connection 0      +-- connection 2         (in turn)
//!                +-- connection 1      +-- connection 0 ...
//!     |<-------- latency of a request: due until its reply was read -------->|
//! ```

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

use crate::sys::info::thread_busy_time;
use crate::tools::load::mix::{Requests, write_command};
use crate::tools::load::options::Options;
use crate::tools::load::record::{Cpu, Fired, Outcome, Recorder};
use crate::tools::load::wire::Connection;

/// Batches sent before replies are looked at again.
const BATCHES_PER_TURN_MAX: usize = 16;
/// Closer to the next batch than this the program spins, since epoll sleeps in whole milliseconds.
const SPIN_WITHIN: Duration = Duration::from_micros(2100);
/// An absence of the program that it did not ask for and that is worth noting.
const STALL: Duration = Duration::from_micros(200);
/// So many of them are remembered, the latest: more than fall into a request's time under way.
const STALLS_MAX: usize = 256;
/// How long replies may take after the last request was sent, and before the first.
const DRAIN_DEADLINE: Duration = Duration::from_secs(60);
/// Requests under way while filling.
const FILL_WINDOW: usize = 2000;
/// Requests written at once while filling.
const FILL_BATCH: u64 = 200;
/// Readiness events taken from one poll.
const EVENTS_MAX: usize = 1024;
/// Nanoseconds of a second.
const SECOND_NS: u128 = 1_000_000_000;

/// Connects, fills, warms up, measures.
///
/// # Errors
/// The server is not there, fails, closes a connection or falls behind without end.
pub fn run(options: &Options) -> Result<Outcome, String> {
    let mut run = Run::connect(options)?;
    run.setup()?;
    if options.fill {
        run.send_many(options.keys, Requests::fill, &mut |_| true)?;
    }
    for prepare in &options.prepare {
        let write = |requests: &mut Requests, index, out: &mut Vec<u8>| requests.prepare(prepare, index, out);
        run.send_many(prepare.count, write, &mut |_| true)?;
    }
    run.start = Instant::now();
    run.send_all()?;
    run.drain_rest()?;
    Ok(run.finish())
}

/// Writes every key once, as fast as the server takes them. `progress` is told how many are written, and ends it
/// by `false`.
///
/// # Errors
/// As [`run`].
pub fn fill(options: &Options, progress: &mut dyn FnMut(u64) -> bool) -> Result<(), String> {
    let mut run = Run::connect(options)?;
    run.setup()?;
    run.send_many(options.keys, Requests::fill, progress)
}

/// How long the program has stalled since `due_ns`.
fn stalled_since(stalls: &VecDeque<(u64, u64)>, due_ns: u64) -> u64 {
    let later = stalls.iter().rev().take_while(|(_, end_ns)| *end_ns > due_ns);
    later.map(|(begin_ns, end_ns)| end_ns - begin_ns.max(&due_ns)).sum()
}

struct Run<'a> {
    options: &'a Options,
    poll: Poll,
    events: Events,
    /// The load connections, then one for the timed commands.
    connections: Vec<Connection>,
    requests: Requests,
    recorder: Recorder,
    start: Instant,
    /// Nanoseconds from the start: end of the warm-up, end of the schedule.
    measure_ns: u64,
    end_ns: u64,
    batches_sent: u64,
    outstanding: usize,
    /// When the program was last seen at work, its processor time then, and begin and end of its stalls.
    awake_ns: u64,
    worked: Duration,
    stalls: VecDeque<(u64, u64)>,
    fired: Vec<Fired>,
    cpu_start: Option<Cpu>,
    cpu_end: Option<Cpu>,
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl<'a> Run<'a> {
    fn connect(options: &'a Options) -> Result<Run<'a>, String> {
        let poll = Poll::new().map_err(|e| format!("epoll: {e}"))?;
        let mut connections = Vec::new();
        for token in 0..=options.connections {
            connections.push(Connection::open(&options.target, poll.registry(), Token(token))?);
        }
        Ok(Run {
            options,
            poll,
            events: Events::with_capacity(EVENTS_MAX),
            connections,
            requests: Requests::new(options)?,
            recorder: Recorder::new(options)?,
            start: Instant::now(),
            measure_ns: nanoseconds(options.warmup),
            end_ns: nanoseconds(options.warmup + options.duration),
            batches_sent: 0,
            outstanding: 0,
            awake_ns: 0,
            worked: thread_busy_time(),
            stalls: VecDeque::new(),
            fired: Vec::new(),
            cpu_start: None,
            cpu_end: None,
        })
    }

    /// Sends the setup commands on every connection; an error reply ends the run.
    fn setup(&mut self) -> Result<(), String> {
        for command in &self.options.setup {
            for connection in &mut self.connections {
                write_command(connection.request(0), command);
                connection.flush()?;
            }
            self.settle(0)?;
        }
        Ok(())
    }

    /// Sends `count` commands over one connection, as fast as the server takes them.
    fn send_many(
        &mut self,
        count: u64,
        mut write: impl FnMut(&mut Requests, u64, &mut Vec<u8>),
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> Result<(), String> {
        let mut next = 0;
        while next < count {
            let connection = &mut self.connections[0];
            let until = count.min(next + FILL_BATCH);
            for index in next..until {
                write(&mut self.requests, index, connection.request(0));
            }
            next = until;
            connection.flush()?;
            self.settle(FILL_WINDOW)?;
            if !progress(next) {
                return Err("filling was interrupted".to_owned());
            }
        }
        self.settle(0)
    }

    /// Waits until at most `allowed` replies are missing. For the time before the run: errors end it.
    fn settle(&mut self, allowed: usize) -> Result<(), String> {
        let begun = Instant::now();
        while self.connections.iter().map(Connection::outstanding).sum::<usize>() > allowed {
            if begun.elapsed() > DRAIN_DEADLINE {
                return Err("the server does not answer".to_owned());
            }
            let mut failure = None;
            self.wait(Some(Duration::from_millis(100)))?;
            for event in &self.events {
                let connection = &mut self.connections[event.token().0];
                connection.flush()?;
                connection.receive(|answer| failure = failure.take().or(answer.error))?;
            }
            if let Some(text) = failure {
                return Err(format!("before the run: {text}"));
            }
        }
        Ok(())
    }

    fn wait(&mut self, timeout: Option<Duration>) -> Result<(), String> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(e) if e.kind() != std::io::ErrorKind::Interrupted => Err(format!("epoll: {e}")),
            _ => Ok(()),
        }
    }

    fn now_ns(&self) -> u64 {
        nanoseconds(self.start.elapsed())
    }

    /// Notes when others had the processor for longer than the program meant to be away: that time says
    /// nothing of the server. Its own work is no stall.
    fn note_stall(&mut self, slept: Duration) {
        let (now_ns, worked) = (self.now_ns(), thread_busy_time());
        let own = slept + worked.saturating_sub(self.worked);
        let back_ns = self.awake_ns + nanoseconds(own);
        if now_ns > back_ns + nanoseconds(STALL) {
            if self.stalls.len() == STALLS_MAX {
                self.stalls.pop_front();
            }
            self.stalls.push_back((back_ns, now_ns));
        }
        (self.awake_ns, self.worked) = (now_ns, worked);
    }

    /// When the batch with this number is due.
    fn due_ns(&self, batch: u64) -> u64 {
        let requests = u128::from(batch) * self.options.pipeline as u128;
        u64::try_from(requests * SECOND_NS / u128::from(self.options.rate)).unwrap_or(u64::MAX)
    }

    /// The run proper: until the schedule ends.
    fn send_all(&mut self) -> Result<(), String> {
        loop {
            let now_ns = self.now_ns();
            if self.options.stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed)) {
                self.end_ns = self.end_ns.min(now_ns);
            }
            if self.cpu_start.is_none() && now_ns >= self.measure_ns {
                self.cpu_start = self.options.pid.map(Cpu::read).transpose()?;
            }
            self.send_due(now_ns)?;
            self.fire_due()?;
            let next_ns = self.due_ns(self.batches_sent);
            if next_ns >= self.end_ns && self.now_ns() >= self.end_ns {
                self.cpu_end = self.options.pid.map(Cpu::read).transpose()?;
                return Ok(());
            }
            let gap = Duration::from_nanos(next_ns.min(self.end_ns).saturating_sub(self.now_ns()));
            let timeout = if gap > SPIN_WITHIN { Duration::from_millis(1) } else { Duration::ZERO };
            self.wait(Some(timeout))?;
            self.note_stall(timeout);
            self.receive()?;
        }
    }

    /// Sends the batches that are due, a bounded number of them.
    fn send_due(&mut self, now_ns: u64) -> Result<(), String> {
        for _ in 0..BATCHES_PER_TURN_MAX {
            let due_ns = self.due_ns(self.batches_sent);
            if due_ns > now_ns || due_ns >= self.end_ns {
                break;
            }
            let at = usize::try_from(self.batches_sent % self.options.connections as u64);
            let connection = &mut self.connections[at.expect("below the number of connections")];
            for _ in 0..self.options.pipeline {
                self.requests.next(connection.request(due_ns));
            }
            connection.flush()?;
            self.batches_sent += 1;
            self.outstanding += self.options.pipeline;
            if due_ns >= self.measure_ns {
                self.recorder.sent(self.options.pipeline, self.now_ns() - due_ns);
            }
        }
        if self.outstanding > self.options.outstanding_max {
            let seconds = self.start.elapsed().as_secs_f64();
            return Err(format!(
                "{} replies missing after {seconds:.1} s: too slow for this rate",
                self.outstanding
            ));
        }
        Ok(())
    }

    /// Fires the timed commands whose time has come.
    fn fire_due(&mut self) -> Result<(), String> {
        let now_ns = self.now_ns();
        for (index, event) in self.options.events.iter().enumerate() {
            let planned_ns = self.measure_ns + nanoseconds(event.at);
            if planned_ns > now_ns || self.fired.iter().any(|fired| fired.index == index) {
                continue;
            }
            self.fired.push(Fired { index, sent_ns: now_ns, answer: None });
            let connection =
                self.connections.last_mut().expect("the connection of the timed commands is the last");
            write_command(connection.request(now_ns), &event.command);
            connection.flush()?;
        }
        Ok(())
    }

    /// Reads what has arrived on the connections that the last poll named.
    fn receive(&mut self) -> Result<(), String> {
        for event in &self.events {
            let at = event.token().0;
            let connection = &mut self.connections[at];
            connection.flush()?;
            let now_ns = nanoseconds(self.start.elapsed());
            let (recorder, outstanding, fired) = (&mut self.recorder, &mut self.outstanding, &mut self.fired);
            let (measure_ns, is_load) = (self.measure_ns, at < self.options.connections);
            let stalls = &self.stalls;
            connection.receive(|answer| {
                if is_load {
                    *outstanding -= 1;
                    if answer.due_ns >= measure_ns {
                        let stalled_ns = stalled_since(stalls, answer.due_ns);
                        let (due_ns, latency_ns) = (answer.due_ns - measure_ns, now_ns - answer.due_ns);
                        recorder.answered(due_ns, latency_ns, stalled_ns, answer.error);
                    }
                } else if let Some(open) = fired.iter_mut().find(|fired| fired.answer.is_none()) {
                    open.answer = Some((now_ns - open.sent_ns, answer.error));
                }
            })?;
        }
        Ok(())
    }

    /// After the schedule: waits for what is still missing. Replies that never come are counted, not hidden.
    fn drain_rest(&mut self) -> Result<(), String> {
        let begun = Instant::now();
        self.fire_due()?;
        while self.outstanding > 0 || self.fired.iter().any(|fired| fired.answer.is_none()) {
            if begun.elapsed() > DRAIN_DEADLINE {
                break;
            }
            self.wait(Some(Duration::from_millis(1)))?;
            self.receive()?;
        }
        Ok(())
    }

    fn finish(self) -> Outcome {
        let cpu = self.cpu_start.zip(self.cpu_end).map(|(start, end)| end.since(&start));
        let measured_from = self.start + Duration::from_nanos(self.measure_ns);
        Outcome {
            recorder: self.recorder,
            measured_from,
            unanswered: self.outstanding,
            fired: self.fired,
            cpu,
        }
    }
}
