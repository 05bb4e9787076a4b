//! The DHCP server as its clients see it: real ones, captured firmware, a decoder that is not ours, a storm.
//! The daemon runs in the foreground in a namespace; nothing but packets, its files and its log is looked at.

mod wire;
mod clients;
mod options;
mod firmware;
mod storm;

use boottorrent_tests::clock::wait_for;
use boottorrent_tests::lab::Lab;
use boottorrent_tests::network::Host;
use boottorrent_tests::process::{Launch, Process};
use boottorrent_tests::programs;
use std::cell::Cell;
use std::fs;
use std::time::Duration;

/// More than anything here takes on a busy machine of two cores.
const SOON: Duration = Duration::from_secs(20);

/// The site of these tests; more tables may follow.
const SITE: &str = r#"
site = "lab"
server = "10.0.0.1"
interface = "eth0"
lease_seconds = 600

[[subnet]]
network = "10.0.0.0/16"
ranges = ["10.0.16.0-10.0.47.255"]
options = [
    { code = 3, hex = "0a000001" },
    { code = 6, hex = "0a0000010a000002" },
    { code = 15, hex = "6c61622e6578616d706c65" },
    { code = 224, hex = "0102" },
]

[[reservation]]
mac = "52:54:00:00:00:0b"
address = "10.0.0.11"
name = "n11"

[[boot]]
ipxe = true
file = "boot/boot.ipxe"
[[boot]]
ipxe = false
arch = [0]
file = "boot/undionly.kpxe"
[[boot]]
ipxe = false
arch = [7, 9]
file = "boot/snponly.efi"
"#;

/// A server in a namespace, and a host on its wire for clients. Dropped from top to bottom.
struct Dhcp {
    server: Process,
    client: Host,
    master: Host,
    starts: Cell<u32>,
    lab: Lab,
}

impl Dhcp {
    fn serving(config: &str) -> Self {
        let lab = Lab::new().unwrap();
        let master = lab.network.host("m", "10.0.0.1/16").unwrap();
        let client = lab.network.host("c", "").unwrap();
        for folder in ["store/current", "state", "run"] {
            fs::create_dir_all(lab.path(folder)).unwrap();
        }
        fs::write(lab.path("store/current/dhcp.toml"), config).unwrap();
        let starts = Cell::new(0);
        let server = start(&lab, &master, &starts);
        Self { server, client, master, starts, lab }
    }

    /// Ends the server as a power cut of the process would, and starts it again.
    fn kill_and_start(&mut self) {
        self.server.signal(nix::sys::signal::Signal::SIGKILL);
        self.server.wait(SOON).unwrap();
        self.server = start(&self.lab, &self.master, &self.starts);
    }

    fn configure(&self, config: &str) {
        fs::write(self.lab.path("store/current/dhcp.toml"), config).unwrap();
        self.server.signal(nix::sys::signal::Signal::SIGHUP);
    }

    fn state(&self) -> serde_json::Value {
        serde_json::from_slice(&fs::read(self.lab.path("run/dhcp.json")).unwrap()).unwrap()
    }

    /// The state file is written once a second: waits until it shows what is expected.
    fn expect_state(&self, what: &str, is_so: impl Fn(&serde_json::Value) -> bool) {
        let look = || {
            let state = self.state();
            if is_so(&state) { Ok(()) } else { Err(format!("{} {}", state["pools"], state["counters"])) }
        };
        wait_for(what, SOON, look).unwrap();
    }
}

fn start(lab: &Lab, master: &Host, starts: &Cell<u32>) -> Process {
    starts.set(starts.get() + 1);
    let folder = |leaf: &str| lab.path(leaf).display().to_string();
    let argv = [
        programs::path("boottorrent-dhcp").display().to_string(),
        "--store".into(),
        folder("store"),
        "--state".into(),
        folder("state"),
        "--run".into(),
        folder("run"),
        "--interface".into(),
        "eth0".into(),
        "--listen".into(),
        "0.0.0.0:67".into(),
    ];
    let log = lab.path(&format!("dhcp-{}.log", starts.get()));
    let mut server = Launch::new(&argv, log).netns(&master.netns).start().unwrap();
    server.expect("serves", SOON).unwrap();
    server
}
