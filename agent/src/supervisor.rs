//! Process 1: mounts, consoles, reaping, the power button, and a worker that is started again whenever it dies.
//!
//! Decides when the worker runs and when the machine goes off. Never does a stage's work, never exits, never panics for
//! good: a panic here replaces the process by itself.

mod power;
mod rescue;
mod shells;

use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

use nix::sys::reboot::{RebootMode, reboot, set_cad_enabled};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::cmdline::Cmdline;
use crate::console::{Key, Logbook, Wish, shell};
use crate::patience::Patience;
use crate::report::Report;
use crate::{clock, kmsg, mounts, worker};

use power::PowerButtons;
use rescue::RescueConsole;
use shells::{Request, Shells, Wanted};

/// First and longest wait before a dead worker starts again: at once for an accident, not in a frenzy for a fault.
const RESTART_FIRST: Duration = Duration::from_secs(1);
const RESTART_MOST: Duration = Duration::from_secs(30);
/// A worker that lived this long died of something new.
const LONG_LIFE: Duration = Duration::from_secs(60);
/// How often new input devices are looked for: a power button's driver may load late.
const SCAN: Duration = Duration::from_secs(2);
/// What a worker gets to end: its program's own time, and what it takes to see the rest of that go.
const DISMISSAL: Duration = crate::run::PATIENCE.saturating_add(Duration::from_secs(2));
const DISMISSAL_LOOK: Duration = Duration::from_millis(10);
/// Where the worker's process number is kept, for a supervisor that had to replace itself.
const WORKER_FILE: &str = "worker";

/// What is to happen to the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Off {
    Power,
    Reboot,
}

struct Supervisor {
    report: Report,
    signals: Option<SignalFd>,
    worker: Option<Worker>,
    start_at: Duration,
    back_off: Duration,
    buttons: PowerButtons,
    scan_at: Duration,
    rescue: Option<RescueConsole>,
    shells: Shells,
    logbook: Option<Logbook>,
    patience: Patience,
}

struct Worker {
    pid: Pid,
    since: Duration,
}

/// Runs for as long as the machine does.
pub(crate) fn main() -> ! {
    std::panic::set_hook(Box::new(|info| replace_self(&info.to_string())));
    let problems = mounts::prepare();
    let cmdline = Cmdline::read();
    quiet_kernel(&cmdline);
    kmsg::unbound();
    let report = Report::new(&cmdline);
    report.say(&format!("BootTorrent agent {}: process 1 is up", env!("CARGO_PKG_VERSION")));
    for problem in &problems {
        report.note("mounts", problem);
    }
    // Ctrl-Alt-Del comes as SIGINT from now on instead of an instant reset.
    let _ = set_cad_enabled(false); // where the kernel refuses, the instant reset is what is left
    let mut supervisor = Supervisor {
        signals: signals().map_err(|e| report.note("supervisor", &format!("no signals: {e}"))).ok(),
        worker: adopted(),
        start_at: Duration::ZERO,
        back_off: RESTART_FIRST,
        buttons: PowerButtons::default(),
        scan_at: Duration::ZERO,
        rescue: cmdline.commands.as_deref().and_then(|name| RescueConsole::open(name, &report)),
        shells: Shells::new(),
        logbook: Logbook::open(&cmdline),
        patience: Patience::new(cmdline.panic),
        report,
    };
    loop {
        supervisor.turn();
    }
}

impl Supervisor {
    fn turn(&mut self) {
        self.reap();
        let now = clock::now();
        if self.worker.is_none() && now >= self.start_at {
            self.start_worker(now);
        }
        if now >= self.scan_at {
            self.buttons.scan();
            self.scan_at = now + SCAN;
        }
        self.wait();
        if self.buttons.pressed() {
            self.off(Off::Power, "the power button was pressed");
        }
        self.take_signals();
        self.take_command();
        self.take_request();
        self.take_keys();
        self.turn_logbook();
        self.lose_patience();
    }

    /// Until something has happened, or has to.
    fn wait(&self) {
        let mut until = self.scan_at;
        until = self.logbook.as_ref().and_then(Logbook::due).map_or(until, |due| until.min(due));
        let mut ears = Vec::new();
        if self.worker.is_none() {
            until = until.min(self.start_at);
            until = self.patience.ends_at().map_or(until, |at| until.min(at));
            ears = self.report.ears();
        }
        let mut fds = self.buttons.fds();
        fds.extend(self.signals.as_ref().map(|signals| signals.as_fd()));
        fds.extend(self.rescue.as_ref().map(|rescue| rescue.fd()));
        fds.extend(self.shells.fd());
        fds.extend(self.logbook.iter().flat_map(Logbook::fds));
        fds.extend(ears.iter().map(|ear| ear.as_fd()));
        clock::wait_readable(&fds, until);
    }

    fn take_signals(&mut self) {
        while let Some(Ok(Some(info))) = self.signals.as_ref().map(SignalFd::read_signal) {
            match Signal::try_from(info.ssi_signo as i32) {
                Ok(Signal::SIGINT) => self.off(Off::Reboot, "Ctrl-Alt-Del"),
                Ok(Signal::SIGPWR) => self.off(Off::Power, "the hypervisor asked for it"),
                // What busybox's own init takes from its applets reboot, poweroff and halt.
                Ok(Signal::SIGTERM) => self.off(Off::Reboot, "asked for in a shell"),
                Ok(Signal::SIGUSR1 | Signal::SIGUSR2) => self.off(Off::Power, "asked for in a shell"),
                _ => {} // SIGCHLD: the next turn reaps
            }
        }
    }

    fn take_command(&mut self) {
        let Some(command) = self.rescue.as_mut().and_then(RescueConsole::read) else {
            self.rescue.take_if(|rescue| rescue.is_closed());
            return;
        };
        let worker = self.worker.as_ref().map(|worker| worker.pid);
        let answer = match (command.as_str(), worker) {
            ("kill-worker", Some(pid)) => told(kill(pid, Signal::SIGKILL), "killed"),
            ("panic-worker", Some(pid)) => told(kill(pid, Signal::SIGUSR1), "told to panic"),
            ("kill-worker" | "panic-worker", None) => "there is no worker now".into(),
            ("panic-init", _) => panic!("the rescue console asked for it"),
            ("reboot", _) => return self.off(Off::Reboot, "the rescue console"),
            ("poweroff", _) => return self.off(Off::Power, "the rescue console"),
            ("log", _) => rescue::kernel_log(),
            ("", _) => String::new(),
            _ => rescue::HELP.into(),
        };
        if let Some(rescue) = &mut self.rescue {
            rescue.answer(&answer);
        }
    }

    /// A worker wants a shell on a console, or hears of the end of one that is there.
    fn take_request(&mut self) {
        while let Some(Request { console, wanted, from }) = self.shells.request() {
            match wanted {
                Wanted::End => self.shells.end(&console),
                Wanted::Shell(size) => match self.open_shell(&console, size) {
                    Ok(()) => self.shells.wait(&console, from),
                    Err(error) => shells::refuse(&from, &error),
                },
            }
        }
    }

    fn open_shell(&mut self, console: &str, size: Option<(u16, u16)>) -> Result<(), shells::Error> {
        if self.shells.has(console) {
            return Ok(());
        }
        self.patience.somebody(clock::now());
        match self.logbook.as_mut().filter(|logbook| logbook.name() == console) {
            Some(logbook) => logbook.give_up(),
            None => self.report.give_up_console(console),
        }
        self.shells.open(console, size).inspect_err(|_| self.take_back(console))
    }

    fn take_back(&mut self, console: &str) {
        match self.logbook.as_mut().filter(|logbook| logbook.name() == console) {
            Some(logbook) => logbook.take_back(),
            None => self.report.take_back_console(console),
        }
    }

    /// While there is no worker, the consoles' keys are heard here.
    fn take_keys(&mut self) {
        if self.worker.is_some() {
            return;
        }
        for (key, console) in self.report.typed() {
            match key {
                Key::Other => continue, // noise on a serial line, or a terminal's answer
                Key::Enter => self.start_at = Duration::ZERO,
                Key::Character('l' | 'L') => self.report.say_plain(&rescue::kernel_log()),
                Key::Character('s' | 'S') => {
                    if let Err(error) = self.open_shell(&console, None) {
                        self.report.note("shell", &format!("no shell on {console}: {error}"));
                    }
                }
                Key::Character('p' | 'P') => self.off(Off::Power, "asked for at the console"),
                Key::Character('r' | 'R') => self.off(Off::Reboot, "asked for at the console"),
                _ => {}
            }
            self.patience.somebody(clock::now());
        }
    }

    fn turn_logbook(&mut self) {
        let Some(logbook) = &mut self.logbook else { return };
        let name = logbook.name().to_owned();
        for wish in logbook.turn(clock::now()) {
            match wish {
                Wish::Off(off) => self.off(off, "asked for at the second console"),
                Wish::Shell => {
                    if let Err(error) = self.open_shell(&name, None) {
                        self.report.note("shell", &format!("no shell on {name}: {error}"));
                    }
                }
            }
        }
    }

    /// A worker counts for itself; nobody is in a hurry where a person is at work.
    fn lose_patience(&mut self) {
        let person_is_there = self.shells.is_any_open();
        if (person_is_there || self.worker.is_none())
            && let Some(why) = self.patience.lost(person_is_there, clock::now())
        {
            self.off(Off::Reboot, &why);
        }
    }

    fn reap(&mut self) {
        loop {
            let (pid, how) = match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, format!("it ended with status {code}")),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, format!("killed by signal {signal}")),
                Ok(WaitStatus::StillAlive) | Err(_) => return,
                Ok(_) => continue,
            };
            if self.worker.as_ref().is_some_and(|worker| worker.pid == pid) {
                self.mourn(&how);
            } else if let Some((console, waiting)) = self.shells.ended(pid) {
                self.take_back(&console);
                // Only now may the worker draw there.
                drop(waiting);
            }
        }
    }

    fn mourn(&mut self, how: &str) {
        let lived =
            self.worker.take().map_or(Duration::ZERO, |worker| clock::now().saturating_sub(worker.since));
        mounts::forget(WORKER_FILE);
        self.shells.forget_waiting();
        if lived >= LONG_LIFE {
            self.back_off = RESTART_FIRST;
        }
        let why = mounts::kept(worker::PANIC_FILE).unwrap_or_else(|| how.to_owned());
        mounts::forget(worker::PANIC_FILE);
        self.report.take_over();
        let wait_s = self.back_off.as_secs();
        let text = format!("the worker died ({why}); it starts again in {wait_s} s, what is verified stays");
        self.report.fail("worker", lived, &text);
        self.start_later();
    }

    fn start_later(&mut self) {
        let now = clock::now();
        self.patience.lost_worker(now);
        self.start_at = now + self.back_off;
        self.back_off = (self.back_off * 2).min(RESTART_MOST);
        let shell = if shell::is_there() { "s: shell   " } else { "" };
        self.report.say_plain(&format!(
            "            Enter: start it now   l: the kernel's log   {shell}p: power off   r: reboot"
        ));
    }

    fn start_worker(&mut self, now: Duration) {
        match Command::new(own_program()).arg0("boottorrent-worker").arg(worker::COMMAND).spawn() {
            Ok(child) => {
                let pid = Pid::from_raw(child.id() as i32);
                let _ = mounts::keep(WORKER_FILE, &child.id().to_string()); // read by a replaced supervisor only
                self.worker = Some(Worker { pid, since: now });
            }
            Err(error) => {
                let wait_s = self.back_off.as_secs();
                let text = format!("cannot start the worker: {error}; trying again in {wait_s} s");
                self.report.fail("worker", Duration::ZERO, &text);
                self.start_later();
            }
        }
    }

    fn off(&mut self, off: Off, why: &str) {
        if let Some(worker) = self.worker.take() {
            dismiss(worker.pid);
        }
        self.report.take_over();
        switch_off(&self.report, off, why);
    }
}

/// Ends the worker, which ends its program first, if it runs one; returns when both are gone.
fn dismiss(worker: Pid) {
    let _ = kill(worker, Signal::SIGTERM); // dead already is as good
    let until = clock::now() + DISMISSAL;
    while let Ok(WaitStatus::StillAlive) = waitpid(worker, Some(WaitPidFlag::WNOHANG)) {
        if clock::now() >= until {
            let _ = kill(worker, Signal::SIGKILL);
            return;
        }
        clock::pause(DISMISSAL_LOOK);
    }
}

/// Says so to everybody and does it; returns only if the kernel refuses, which it says too.
pub(crate) fn switch_off(report: &Report, off: Off, why: &str) {
    let (word, mode) = match off {
        Off::Power => ("powering off", RebootMode::RB_POWER_OFF),
        Off::Reboot => ("rebooting", RebootMode::RB_AUTOBOOT),
    };
    report.last("power", Duration::ZERO, Vec::new(), &format!("{word}: {why}"));
    nix::unistd::sync();
    let Err(error) = reboot(mode);
    report.note("power", &format!("{word} was refused: {error}"));
}

/// Process 1 must not end: it becomes a fresh copy of itself, and the copy adopts the worker.
fn replace_self(message: &str) -> ! {
    let text = format!("process 1 panicked and starts afresh: {}", message.replace('\n', ": "));
    let _ = std::fs::write("/dev/kmsg", format!("<3>boottorrent: {text}\n")); // the consoles may be what panicked
    loop {
        for program in ["/proc/self/exe", "/init"] {
            let error = Command::new(program).exec();
            let _ = std::fs::write("/dev/kmsg", format!("<2>boottorrent: {program}: {error}\n"));
        }
        // Memory may be short for a moment. The worker goes on without us; the kernel would not.
        clock::pause(RESTART_FIRST);
    }
}

fn adopted() -> Option<Worker> {
    let pid: i32 = mounts::kept(WORKER_FILE)?.parse().ok()?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let parent_is_us = status.rsplit(')').next()?.split_whitespace().nth(1) == Some("1");
    parent_is_us.then(|| Worker { pid: Pid::from_raw(pid), since: clock::now() })
}

fn signals() -> nix::Result<SignalFd> {
    let mut set = SigSet::empty();
    let heard = [Signal::SIGCHLD, Signal::SIGINT, Signal::SIGPWR, Signal::SIGTERM, Signal::SIGHUP];
    for signal in heard.into_iter().chain([Signal::SIGUSR1, Signal::SIGUSR2]) {
        set.add(signal);
    }
    set.thread_block()?;
    SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
}

/// The consoles are for sentences that a person can act on: of the kernel's only errors join them.
fn quiet_kernel(cmdline: &Cmdline) {
    if !cmdline.verbose_kernel {
        let _ = std::fs::write("/proc/sys/kernel/printk", "4"); // louder consoles are no reason to stop
    }
}

fn own_program() -> &'static str {
    if std::path::Path::new("/proc/self/exe").exists() { "/proc/self/exe" } else { "/init" }
}

fn told(result: nix::Result<()>, done: &str) -> String {
    result.map_or_else(|error| error.to_string(), |()| format!("the worker was {done}"))
}
