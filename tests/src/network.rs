//! The lab's wire: a switch (bridge in a namespace), hosts (a namespace each) and taps for nodes.
//! Names carry the pid of the run, so that runs do not meet and leftovers can be told from the living.

use crate::error::LabError;
use crate::process::{run, run_in};
use std::cell::Cell;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

pub struct Network {
    /// Prefix of all namespaces.
    name: String,
    switch: String,
    ports: Cell<u32>,
    hosts: std::cell::RefCell<Vec<String>>,
}

impl Network {
    /// An empty switch.
    ///
    /// # Errors
    /// `Command` when a namespace or the bridge can't be made.
    pub fn new(name: &str) -> Result<Self, LabError> {
        let switch = format!("{name}-sw");
        let network =
            Self { name: name.into(), switch, ports: Cell::new(0), hosts: std::cell::RefCell::default() };
        run(&["ip", "netns", "add", network.switch()])?;
        network.switch_ip(&["link", "set", "lo", "up"])?;
        // Snooping would drop multicast until a querier has spoken, and there is none here.
        network.switch_ip(&["link", "add", "br0", "type", "bridge", "mcast_snooping", "0"])?;
        network.switch_ip(&["link", "set", "br0", "up"])?;
        // A switch has no firewall: with br_netfilter in the kernel every frame would pass its hooks, and be charged to nodes.
        if Path::new("/proc/sys/net/bridge").exists() {
            let off =
                ["iptables", "ip6tables", "arptables"].map(|t| format!("net.bridge.bridge-nf-call-{t}=0"));
            let argv: Vec<&str> =
                ["sysctl", "-qw"].into_iter().chain(off.iter().map(String::as_str)).collect();
            run_in(network.switch(), &argv)?;
        }
        Ok(network)
    }

    /// Namespace in which the bridge `br0` and the nodes' QEMUs live.
    #[must_use]
    pub fn switch(&self) -> &str {
        &self.switch
    }

    fn switch_ip(&self, arguments: &[&str]) -> Result<(), LabError> {
        let mut argv = vec!["ip", "-n", self.switch()];
        argv.extend_from_slice(arguments);
        run(&argv).map(drop)
    }

    fn port(&self) -> u32 {
        self.ports.replace(self.ports.get() + 1)
    }

    /// A host with `eth0` on the switch and an address such as `10.0.0.1/24`; returns it.
    ///
    /// # Errors
    /// `Command` when the namespace or its link can't be made.
    pub fn host(&self, name: &str, address: &str) -> Result<Host, LabError> {
        let netns = format!("{}-{name}", self.name);
        let port = format!("v{}", self.port());
        run(&["ip", "netns", "add", &netns])?;
        self.hosts.borrow_mut().push(netns.clone());
        self.switch_ip(&["link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &netns])?;
        self.switch_ip(&["link", "set", &port, "master", "br0", "up"])?;
        for line in [
            &["ip", "-n", &netns, "link", "set", "lo", "up"][..],
            &["ip", "-n", &netns, "link", "set", "eth0", "up"],
        ] {
            run(line)?;
        }
        if !address.is_empty() {
            run(&["ip", "-n", &netns, "addr", "add", address, "broadcast", "+", "dev", "eth0"])?;
        }
        Ok(Host { netns, switch: self.switch.clone(), port })
    }

    /// Another wire, which nothing connects with the first; `on` says where a host or a node is plugged in.
    ///
    /// # Errors
    /// `Command` when the bridge can't be made.
    pub fn another_wire(&self, name: &str) -> Result<(), LabError> {
        self.switch_ip(&["link", "add", name, "type", "bridge", "mcast_snooping", "0"])?;
        self.switch_ip(&["link", "set", name, "up"])
    }

    /// Another wire behind a link of so many Mbit/s to the first, as a rack's switch has it.
    ///
    /// # Errors
    /// `Command` when bridge or link can't be made.
    pub fn uplink(&self, wire: &str, mbit: u32) -> Result<Uplink, LabError> {
        self.another_wire(wire)?;
        let [here, there] = [format!("u{}", self.port()), format!("u{}", self.port())];
        self.switch_ip(&["link", "add", &here, "type", "veth", "peer", "name", &there])?;
        self.switch_ip(&["link", "set", &here, "master", "br0", "up"])?;
        self.switch_ip(&["link", "set", &there, "master", wire, "up"])?;
        shape(self.switch(), &here, mbit)?;
        shape(self.switch(), &there, mbit)?;
        Ok(Uplink { wire: wire.into(), switch: self.switch.clone(), port: there })
    }

    /// Moves a host to another wire.
    ///
    /// # Errors
    /// `Command` when there is no such wire.
    pub fn plug(&self, host: &Host, wire: &str) -> Result<(), LabError> {
        self.switch_ip(&["link", "set", &host.port, "master", wire])
    }

    /// A tap on a wire (`br0` is the first), for one card of a node.
    ///
    /// # Errors
    /// `Command` when it can't be made.
    pub fn tap(&self, wire: &str) -> Result<Port, LabError> {
        let tap = format!("t{}", self.port());
        self.switch_ip(&["tuntap", "add", &tap, "mode", "tap"])?;
        self.switch_ip(&["link", "set", &tap, "master", wire, "up"])?;
        Ok(Port { switch: self.switch.clone(), tap })
    }
}

/// A rack's way out.
pub struct Uplink {
    pub wire: String,
    switch: String,
    /// On the rack's side.
    port: String,
}

impl Uplink {
    /// What has come in through it and gone out, frames and all, in images of so many bytes.
    ///
    /// # Errors
    /// `Command` when the kernel does not tell.
    #[expect(clippy::cast_precision_loss, reason = "bytes below 2^53")]
    pub fn copies(&self, image: u64) -> Result<(f64, f64), LabError> {
        let count = |direction: &str| {
            let file = format!("/sys/class/net/{}/statistics/{direction}_bytes", self.port);
            let bytes = run_in(&self.switch, &["cat", &file])?;
            Ok(bytes.trim().parse().unwrap_or(0_u64) as f64 / image as f64)
        };
        Ok((count("rx")?, count("tx")?))
    }
}

/// What a node's card is plugged into.
pub struct Port {
    switch: String,
    pub(crate) tap: String,
}

impl Port {
    /// As a managed switch does: a port may have its link and pass no frame (spanning tree: listening, then forwarding).
    ///
    /// # Errors
    /// `Command` when the kernel refuses.
    pub fn forward(&self, forward: bool) -> Result<(), LabError> {
        let state = if forward { "3" } else { "1" };
        run(&["bridge", "-n", &self.switch, "link", "set", "dev", &self.tap, "state", state]).map(drop)
    }

    /// Loses the frames of this port that fit a rule of nftables, until what is returned is dropped: `from` the node or
    /// towards it.
    ///
    /// # Errors
    /// `Command` when nft refuses the rule.
    pub fn lose(&self, from: bool, rule: &str) -> Result<Loss, LabError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let chain = format!("loss{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let direction = if from { "iifname" } else { "oifname" };
        let nft = |line: String| run_in(&self.switch, &["nft", &line]).map(drop);
        nft("add table bridge lab".into())?;
        nft(format!("add chain bridge lab {chain} {{ type filter hook forward priority 0; }}"))?;
        let loss = Loss { switch: self.switch.clone(), chain };
        nft(format!("add rule bridge lab {} {direction} {} {rule} counter drop", loss.chain, self.tap))?;
        Ok(loss)
    }
}

/// Frames are lost while it lives.
pub struct Loss {
    switch: String,
    chain: String,
}

impl Loss {
    /// Frames lost so far.
    ///
    /// # Errors
    /// `Command` when nft does not tell.
    pub fn frames(&self) -> Result<u64, LabError> {
        let chain = run_in(&self.switch, &["nft", &format!("list chain bridge lab {}", self.chain)])?;
        let count = chain.split("counter packets ").nth(1).and_then(|rest| rest.split(' ').next());
        Ok(count.and_then(|count| count.parse().ok()).unwrap_or(0))
    }
}

impl Drop for Loss {
    fn drop(&mut self) {
        for verb in ["flush", "delete"] {
            let _ = run_in(&self.switch, &["nft", &format!("{verb} chain bridge lab {}", self.chain)]);
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for netns in self.hosts.borrow().iter().chain([&self.switch]) {
            let _ = run(&["ip", "netns", "del", netns]);
        }
    }
}

/// A namespace with `eth0` on the switch.
pub struct Host {
    pub netns: String,
    switch: String,
    port: String,
}

impl Host {
    /// Limits both directions of the host's link, as a slower network card would.
    ///
    /// # Errors
    /// `Command` when the kernel refuses the queue.
    pub fn limit(&self, mbit: u32) -> Result<(), LabError> {
        shape(&self.netns, "eth0", mbit)?;
        shape(&self.switch, &self.port, mbit)
    }

    /// Runs a program in the host's namespace, to its end.
    ///
    /// # Errors
    /// As `process::run`.
    pub fn run(&self, argv: &[&str]) -> Result<String, LabError> {
        run_in(&self.netns, argv)
    }
}

/// A token bucket of one full-size offloaded segment at least, and 50 ms of queue, as a switch port has.
fn shape(netns: &str, device: &str, mbit: u32) -> Result<(), LabError> {
    let rate = format!("{mbit}mbit");
    let burst = format!("{}", (mbit * 1000 / 8).max(81_920));
    let argv = ["tc", "-n", netns, "qdisc", "replace", "dev", device, "root", "tbf", "rate", &rate];
    run(&[&argv[..], &["burst", &burst, "latency", "50ms"]].concat()).map(drop)
}
