//! The worker: everything between the kernel's start and its replacement, in one process that may die.
//!
//! Decides nothing about the order of things (that is the table in stages.rs). Never outlives a panic: process 1 shows
//! it and starts a new worker, which finds the image's verified pieces where they were.

use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use boottorrent_swarm::Mac;
use boottorrent_swarm::catalog::{Catalog, Image};
use boottorrent_swarm::next_boot::NextBoot;
use boottorrent_swarm::nodefile::NodeFile;
use boottorrent_swarm::template::Values;
use nix::sys::signal::{SigSet, Signal};

use crate::cmdline::Cmdline;
use crate::console::shell;
use crate::courier::Courier;
use crate::download::Download;
use crate::image::{Laid, Plan, Shelf};
use crate::lease::{Lease, Whereabouts};
use crate::link::Card;
use crate::patience::Patience;
use crate::report::{self, Report};
use crate::stages::{self, Failure};
use crate::{mounts, run, trust};

/// The hidden command by which process 1 starts this face of the binary.
pub(crate) const COMMAND: &str = "worker";
/// Where a panicking worker leaves its last sentence for process 1.
pub(crate) const PANIC_FILE: &str = "panic";
/// The words of the kernel's command line that cannot be read have been told.
const TOLD_FILE: &str = "cmdline-told";

/// What the stages know of this node and its boot; each fills in what the next ones need.
pub(crate) struct Boot {
    pub(crate) report: Report,
    pub(crate) cmdline: Cmdline,
    /// With carrier, in the order in which they are tried.
    pub(crate) cards: Vec<Card>,
    /// Those that led to no master since the last one that did.
    pub(crate) led_nowhere: Vec<Mac>,
    pub(crate) lease: Option<Lease>,
    pub(crate) keeper: Keeper,
    pub(crate) whereabouts: Whereabouts,
    pub(crate) courier: Courier,
    pub(crate) master: Option<Ipv4Addr>,
    pub(crate) catalog: Option<Catalog>,
    pub(crate) node: Option<NodeFile>,
    pub(crate) overlay: Arc<[u8]>,
    pub(crate) image: Option<Image>,
    /// What the master wants this boot to be, until that is done.
    pub(crate) next_boot: Option<NextBoot>,
    /// An earlier worker's choice was taken up by this one.
    pub(crate) choice_counted: bool,
    /// Why the menu is shown again.
    pub(crate) notice: Option<String>,
    /// The next choice is a person's, whatever was wanted at the start.
    pub(crate) at_menu: bool,
    /// Programs that ended at once, one after the other.
    pub(crate) ended_at_once: u32,
    pub(crate) orders: Orders,
    pub(crate) patience: Patience,
    pub(crate) laid: Option<(Plan, Laid, Arc<Shelf>)>,
    pub(crate) download: Option<Download>,
    /// Until then, a node that sees nobody else is not sure to be alone.
    pub(crate) alone_from: Duration,
}

/// What the stages and the thread that renews a lease have to tell each other.
#[derive(Clone, Default)]
pub(crate) struct Keeper(Arc<Mutex<Keeping>>);

#[derive(Default)]
struct Keeping {
    dismissed: bool,
    changed: Option<Lease>,
}

impl Keeper {
    /// The lease is to be let go.
    pub(crate) fn dismiss(&self) {
        self.keeping().dismissed = true;
    }

    pub(crate) fn is_dismissed(&self) -> bool {
        self.keeping().dismissed
    }

    /// The server changed its mind about us.
    pub(crate) fn changed(&self, lease: Lease) {
        self.keeping().changed = Some(lease);
    }

    fn keeping(&self) -> std::sync::MutexGuard<'_, Keeping> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A template's values that every image has.
pub(crate) struct Facts {
    mac: String,
    ip: String,
    hostname: String,
    master: String,
    site: String,
}

impl Facts {
    pub(crate) fn values(&self) -> Values<'_> {
        Values {
            mac: &self.mac,
            ip: &self.ip,
            hostname: &self.hostname,
            master: &self.master,
            site: &self.site,
            ..Values::default()
        }
    }
}

pub(crate) fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|info| {
        if std::thread::current().name() == Some(report::SCREEN_THREAD) {
            report::screen_fault();
        }
        // Consoles and locks may be in the state that caused this: a file is all that is touched.
        let _ = mounts::keep(
            PANIC_FILE,
            &format!("panic: {}", info.to_string().replace(":\n", ": ").replace('\n', " ")),
        );
        std::process::abort();
    }));
    let orders = Orders::default();
    take_orders(orders.clone());
    run::sweep();
    let cmdline = Cmdline::read();
    let report = Report::new(&cmdline);
    report.take_identity();
    tell_refused(&report, &cmdline);
    report.show_pages();
    shell::resume(&report);
    let patience = Patience::new(cmdline.panic);
    stages::run(&mut Boot {
        report,
        cmdline,
        cards: Vec::new(),
        led_nowhere: Vec::new(),
        lease: None,
        keeper: Keeper::default(),
        whereabouts: Whereabouts::default(),
        courier: Courier::default(),
        master: None,
        catalog: None,
        node: None,
        overlay: Arc::default(),
        image: None,
        next_boot: None,
        choice_counted: false,
        notice: None,
        at_menu: false,
        ended_at_once: 0,
        orders,
        patience,
        laid: None,
        download: None,
        alone_from: Duration::ZERO,
    });
    // The table ends with the next kernel; whatever else ends it, process 1 starts over.
    ExitCode::FAILURE
}

/// Once a boot, and to both ends: a misspelt word is what the person at the master has to mend.
fn tell_refused(report: &Report, cmdline: &Cmdline) {
    if mounts::kept(TOLD_FILE).is_none() {
        cmdline.refused.iter().for_each(|sentence| report.note("cmdline", sentence));
        let _ = mounts::keep(TOLD_FILE, ""); // then the next worker says it again
    }
}

/// What process 1 wants of the worker, and whether a program has to be asked to end first.
#[derive(Clone, Default)]
pub(crate) struct Orders(Arc<Ordered>);

#[derive(Default)]
struct Ordered {
    stop: AtomicBool,
    program_runs: AtomicBool,
}

impl Orders {
    pub(crate) fn is_stop(&self) -> bool {
        self.0.stop.load(Ordering::SeqCst)
    }

    pub(crate) fn program_runs(&self, runs: bool) {
        self.0.program_runs.store(runs, Ordering::SeqCst);
    }

    /// Whoever supervises a program sees it; without one there is nothing to end.
    fn stop(&self) {
        self.0.stop.store(true, Ordering::SeqCst);
        if !self.0.program_runs.load(Ordering::SeqCst) {
            std::process::exit(0);
        }
    }
}

/// Signals of process 1, on a thread of their own. SIGTERM: the machine goes off. SIGUSR1, which only its rescue console
/// sends: panic.
fn take_orders(orders: Orders) {
    let mut set = SigSet::empty();
    set.add(Signal::SIGUSR1);
    set.add(Signal::SIGTERM);
    if set.thread_block().is_ok() {
        let waiting = std::thread::Builder::new().name("orders".into()).stack_size(64 * 1024);
        // Without the thread the signals stay pending: the drill does not work, and process 1 ends us as it ends a
        // worker that hangs.
        let _ = waiting.spawn(move || {
            loop {
                match set.wait() {
                    Ok(Signal::SIGTERM) => orders.stop(),
                    Ok(_) => panic!("the rescue console asked for it"),
                    Err(_) => return,
                }
            }
        });
    }
}

impl Boot {
    /// What earlier stages must have left; a table in the wrong order is found out by the first boot.
    pub(crate) fn need<T>(value: Option<&T>, what: &str) -> Result<T, Failure>
    where
        T: Clone,
    {
        value.cloned().ok_or_else(|| Failure::new(format!("{what} is not known yet")))
    }

    /// The lease as it is now.
    pub(crate) fn current_lease(&mut self) -> Result<Lease, Failure> {
        if let Some(changed) = self.keeper.keeping().changed.take() {
            self.lease = Some(changed);
        }
        Self::need(self.lease.as_ref(), "the lease")
    }

    /// The node's name for people and templates: the site's, else DHCP's, else the MAC.
    pub(crate) fn name(&self) -> String {
        let by_site = self.node.as_ref().map(|node| node.name.clone());
        let by_dhcp = || self.lease.as_ref().and_then(|lease| lease.host_name.clone());
        let by_mac = || self.lease.as_ref().map(|lease| lease.card.mac.hyphenated());
        by_site.or_else(by_dhcp).or_else(by_mac).unwrap_or_default()
    }

    /// What templates say of this node and its boot.
    pub(crate) fn facts(&mut self) -> Result<Facts, Failure> {
        let lease = self.current_lease()?;
        let master = Self::need(self.master.as_ref(), "the master")?;
        Ok(Facts {
            mac: lease.card.mac.to_string(),
            ip: lease.address.to_string(),
            hostname: self.name(),
            master: master.to_string(),
            site: self.catalog.as_ref().map(|catalog| catalog.site.clone()).unwrap_or_default(),
        })
    }

    pub(crate) fn site_key() -> Result<trust::SiteKey, trust::Error> {
        trust::SiteKey::read(mounts::SITE_KEY)
    }
}
