//! One race: a master and nodes on links of one speed, the nodes' programs held at a barrier, one start for all, and
//! every copy compared. Knows nothing of who runs; decides nothing about how good a result is.

use super::contestant::{Contestant, Place, Scene};
use super::group::Group;
use super::load::{Cores, Load};
use super::ports::Ports;
use crate::clock::{Deadline, wait_for};
use crate::error::LabError;
use crate::lab::Lab;
use crate::network::Host;
use crate::process::{Launch, Process, read_text, run, tail};
use crate::ram::Ram;
use crate::torrent;
use nix::fcntl::{Flock, FlockArg};
use std::fs::File;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// A program has this long to get to the barrier, or a server to serve.
const READY: Duration = Duration::from_secs(60);
/// Whoever needs longer than plain HTTP from one server, or than so many copies, and this, is not waited for.
const MERCY: Duration = Duration::from_secs(120);
const PATIENCE_COPIES: f64 = 18.0;
/// How often memory is looked at; the ends are taken from the files' own times.
const LOOK: Duration = Duration::from_millis(100);

/// What is moved, to how many, over links of which speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    pub nodes: u8,
    pub mib: u32,
    /// Unlimited when there is none.
    pub mbit: Option<u32>,
}

impl Case {
    #[must_use]
    pub fn bytes(&self) -> f64 {
        f64::from(self.mib) * 1_048_576.0
    }

    /// As boottorrent-gen chooses it.
    #[must_use]
    pub fn piece_length(&self) -> u32 {
        match self.mib {
            0..=256 => 128 << 10,
            257..=512 => 256 << 10,
            513..2048 => 512 << 10,
            _ => 1 << 20,
        }
    }

    /// What the slowest sensible way takes, one copy after the other from the master; but with a large room nobody has to
    /// wait for an hour to see that somebody else's client is not made for it.
    fn patience(&self) -> Duration {
        let copy = self.mbit.map_or(0.0, |mbit| self.bytes() * 8.0 / (f64::from(mbit) * 1e6));
        MERCY + Duration::from_secs_f64(copy * (1.5 * f64::from(self.nodes)).min(PATIENCE_COPIES))
    }
}

/// What one race came to.
#[derive(Clone, Debug)]
pub struct Run {
    /// Seconds from the start signal until each node had its verified copy, in order.
    pub seconds: Vec<f64>,
    /// Bytes that left the master's link, over the image's.
    pub master_copies: f64,
    /// The same for what the busiest node received.
    pub received_copies: f64,
    /// CPU seconds, user and system, of the nodes' programs, for each GB and node.
    pub cpu_node: f64,
    /// The same with the master's programs added, for each GB that a node received.
    pub cpu_both: f64,
    /// Bytes of anonymous memory of the largest node.
    pub anonymous: f64,
    /// Bytes received twice by all nodes, where the program says so.
    pub duplicates: Option<f64>,
    /// Cores that others used meanwhile, and that all used.
    pub others: f64,
    pub cores: f64,
}

impl Run {
    #[must_use]
    pub fn makespan(&self) -> f64 {
        self.seconds.last().copied().unwrap_or(f64::NAN)
    }

    #[must_use]
    pub fn median(&self) -> f64 {
        self.seconds.get(self.seconds.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

/// `piece_length`: of the torrent, in bytes. Waits for a calm machine before the start, if that is wished for.
///
/// # Errors
/// When a program fails, a copy is false, or the time is over.
pub fn run_once(
    contestant: &dyn Contestant,
    case: &Case,
    piece_length: u32,
    calm: bool,
) -> Result<Run, LabError> {
    let lab = Lab::new()?;
    let _neighbours = NeighbourTable::with_room_for(u32::from(case.nodes) + 1)?;
    let ram = Ram::new(&lab)?;
    let pieces = (u64::from(case.mib) << 20) / u64::from(piece_length);
    let pieces = u32::try_from(pieces).unwrap_or(u32::MAX);
    let torrent = torrent::make(&ram.folder, "image", pieces, piece_length)?;
    let master = host(&lab, "m", "10.0.0.1/24", case)?;
    let hosts = (1..=case.nodes)
        .map(|n| host(&lab, &format!("n{n}"), &format!("10.0.{}.{}/24", 0, u32::from(n) + 10), case))
        .collect::<Result<Vec<Host>, _>>()?;
    let scene = Scene { lab: &lab, ram: &ram.folder, torrent: &torrent, master: &master, nodes: case.nodes };
    let serving = Group::new(&format!("{}-m", lab.name()))?;
    let servers = scene.serve(contestant, &serving)?;
    let mut field = Field::line_up(&scene, contestant, &hosts)?;
    ram.warm((u64::from(case.mib) * u64::from(case.nodes)) << 20)?;
    if calm {
        super::load::settle();
    }
    let outcome = field.race(&scene, case, &serving);
    let mut run = match outcome {
        Ok(run) => run,
        Err(error) => {
            let logs: Vec<String> = servers.iter().map(|server| tail(&server.log())).collect();
            eprintln!("{}: {error}\nthe master's last words:\n{}", contestant.name(), logs.join("\n"));
            return Err(error);
        }
    };
    run.duplicates = field.duplicates(contestant);
    field.groups.iter().for_each(Group::end);
    serving.end();
    for place in &field.places {
        compare(&torrent.data, &place.copy)?;
    }
    Ok(run)
}

/// The kernel has one table of neighbours for all namespaces, usually of 1,024 entries. When 33 hosts know each other it
/// is full, and some never reach each other: a room of real machines has a table each.
struct NeighbourTable {
    before: Option<String>,
}

impl NeighbourTable {
    const LIMIT: &str = "/proc/sys/net/ipv4/neigh/default/gc_thresh3";

    fn with_room_for(hosts: u32) -> Result<Self, LabError> {
        let before = read_text(Path::new(Self::LIMIT));
        let wanted = 2 * hosts * hosts;
        if before.trim().parse::<u32>().is_ok_and(|limit| limit >= wanted) {
            return Ok(Self { before: None });
        }
        std::fs::write(Self::LIMIT, wanted.to_string()).map_err(LabError::io("raise", Self::LIMIT))?;
        Ok(Self { before: Some(before) })
    }
}

impl Drop for NeighbourTable {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // Where it is refused, a larger table is left behind, which harms nobody.
            let _ = std::fs::write(Self::LIMIT, before);
        }
    }
}

pub(crate) fn compare(data: &Path, copy: &Path) -> Result<(), LabError> {
    run(&["cmp", &data.to_string_lossy(), &copy.to_string_lossy()]).map(drop)
}

/// A host without IPv6 and with one congestion control for all, on a link of the case's speed.
pub(crate) fn host(lab: &Lab, name: &str, address: &str, case: &Case) -> Result<Host, LabError> {
    let host = lab.network.host(name, address)?;
    for setting in ["net.ipv6.conf.all.disable_ipv6=1", "net.ipv4.tcp_congestion_control=reno"] {
        host.run(&["sysctl", "-q", "-w", setting])?;
    }
    if let Some(mbit) = case.mbit {
        host.limit(mbit)?;
    }
    Ok(host)
}

/// The nodes at the barrier: each program is started in its namespace and its control group, and waits for a lock.
struct Field {
    barrier: Option<Flock<File>>,
    places: Vec<Place>,
    groups: Vec<Group>,
    processes: Vec<Process>,
}

impl Field {
    fn line_up(scene: &Scene, contestant: &dyn Contestant, hosts: &[Host]) -> Result<Self, LabError> {
        let lock = scene.lab.path("start");
        let file = File::create(&lock).map_err(LabError::io("make", &lock))?;
        let barrier = Flock::lock(file, FlockArg::LockExclusive)
            .map_err(|(_, error)| LabError::Machine(format!("cannot lock the barrier: {error}")))?;
        let lock = lock.to_string_lossy().into_owned();
        let mut field =
            Self { barrier: Some(barrier), places: Vec::new(), groups: Vec::new(), processes: Vec::new() };
        for (number, host) in (1..).zip(hosts) {
            let place = scene.place(number)?;
            let mut argv: Vec<String> = ["flock", "--shared", "--no-fork", &lock].map(str::to_owned).into();
            argv.extend(contestant.node(scene, &place)?);
            let mut launch = Launch::new(&argv, &place.log).netns(&host.netns);
            launch.environment.push(("BT_DONE", place.done.to_string_lossy().into_owned()));
            let process = launch.start()?;
            let group = Group::new(&format!("{}-n{number}", scene.lab.name()))?;
            group.take(process.pid())?;
            field.places.push(place);
            field.groups.push(group);
            field.processes.push(process);
        }
        for process in &field.processes {
            let name = Path::new("/proc").join(process.pid().to_string()).join("comm");
            wait_for("a program at the barrier", READY, || match read_text(&name).trim() {
                "flock" => Ok(()),
                other => Err(other.to_owned()),
            })?;
        }
        Ok(field)
    }

    fn cpu(&self) -> f64 {
        self.groups.iter().map(Group::cpu).sum()
    }

    fn race(&mut self, scene: &Scene, case: &Case, serving: &Group) -> Result<Run, LabError> {
        let ports = Ports::now(scene.lab.network.switch())?;
        let (cpu_nodes, cpu_master, load) = (self.cpu(), serving.cpu(), Load::now());
        let start = SystemTime::now();
        drop(self.barrier.take());
        let anonymous = self.watch(case)?;
        let cores: Cores = load.since();
        let (cpu_nodes, cpu_master) = (self.cpu() - cpu_nodes, serving.cpu() - cpu_master);
        let moved = Ports::now(scene.lab.network.switch())?.since(&ports);
        let mut seconds =
            self.places.iter().map(|place| place.seconds_after(start)).collect::<Result<Vec<_>, _>>()?;
        seconds.sort_by(f64::total_cmp);
        let delivered = case.bytes() * f64::from(case.nodes) / 1e9;
        Ok(Run {
            seconds,
            master_copies: moved.sent_by_first() / case.bytes(),
            received_copies: moved.most_received_by_others() / case.bytes(),
            cpu_node: cpu_nodes / delivered,
            cpu_both: (cpu_nodes + cpu_master) / delivered,
            anonymous,
            duplicates: None,
            others: cores.others,
            cores: cores.all,
        })
    }

    /// Until every node has said that it is done; returns the largest anonymous memory that was seen.
    fn watch(&mut self, case: &Case) -> Result<f64, LabError> {
        let mut largest = 0.0_f64;
        let mut next = Deadline::after(Duration::ZERO);
        let (places, groups, processes) = (&self.places, &self.groups, &mut self.processes);
        let ended = wait_for("the last node's verified copy", case.patience(), || {
            if next.left().is_none() {
                largest = groups.iter().map(Group::anonymous).fold(largest, f64::max);
                next = Deadline::after(LOOK);
            }
            let mut missing = 0;
            for (place, process) in places.iter().zip(&mut *processes) {
                // In this order: a program may say that it is done and end between the two looks.
                let ended = process.ended();
                if !place.done.exists() {
                    missing += 1;
                    if let Some(status) = ended {
                        return Ok(Some(format!("{status}: {}", tail(&process.log()))));
                    }
                }
            }
            if missing == 0 { Ok(None) } else { Err(format!("{missing} of {} not done", places.len())) }
        })?;
        largest = groups.iter().map(Group::anonymous).fold(largest, f64::max);
        match ended {
            None => Ok(largest),
            Some(seen) => Err(LabError::Ended { what: "a node's program".into(), seen }),
        }
    }

    /// What all have received twice: known only when each of them says so.
    fn duplicates(&mut self, contestant: &dyn Contestant) -> Option<f64> {
        self.places
            .iter()
            .zip(&mut self.processes)
            .map(|(place, process)| contestant.duplicates(place, process))
            .sum()
    }
}
