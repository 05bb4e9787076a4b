//! The router advertiser on a wire: a real solicitor, an interface that comes and goes, a real router beside it.

use boottorrent_tests::lab::Lab;
use boottorrent_tests::network::Host;
use boottorrent_tests::process::{Launch, Process};
use boottorrent_tests::{clock::wait_for, programs};
use std::fs;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

fn start(lab: &Lab, master: &Host) -> Process {
    fs::create_dir_all(lab.path("run")).unwrap();
    fs::create_dir_all(lab.path("store/current")).unwrap();
    fs::write(lab.path("store/current/ra.toml"), "interface = \"eth0\"\n").unwrap();
    let argv = [
        programs::path("boottorrent-ra").display().to_string(),
        "--store".into(),
        lab.path("store").display().to_string(),
        "--run".into(),
        lab.path("run").display().to_string(),
    ];
    Launch::new(&argv, lab.path("ra.log")).netns(&master.netns).start().unwrap()
}

/// One solicitation by rdisc6, once duplicate address detection is over.
fn solicit(node: &Host) -> Result<String, String> {
    node.run(&["rdisc6", "-1", "-r", "1", "-w", "1000", "eth0"]).map_err(|e| e.to_string())
}

#[test]
fn solicitations_are_answered_and_the_interface_may_come_and_go() {
    let lab = Lab::new().unwrap();
    let (master, node) = (lab.network.host("m", "").unwrap(), lab.network.host("n", "").unwrap());
    master.run(&["ip", "link", "set", "eth0", "down"]).unwrap();
    let mut ra = start(&lab, &master);
    ra.expect("waiting for eth0: it has no IPv6 link-local address", SOON).unwrap();
    master.run(&["ip", "link", "set", "eth0", "up"]).unwrap();
    ra.expect("answering router solicitations on eth0", SOON).unwrap();
    let answer = wait_for("an advertisement", SOON, || solicit(&node)).unwrap();
    assert!(answer.contains("Router lifetime           :            0"), "{answer}");
    assert!(!answer.contains("Prefix"), "{answer}");
    for _ in 0..5 {
        solicit(&node).unwrap();
    }
    wait_for("the count in the state file", SOON, || {
        let state = fs::read_to_string(lab.path("run/ra.json")).map_err(|e| e.to_string())?;
        let value: serde_json::Value = serde_json::from_str(&state).map_err(|e| e.to_string())?;
        if value["solicitations"].as_u64() >= Some(6) { Ok(()) } else { Err(state) }
    })
    .unwrap();
}

#[test]
fn a_real_router_is_left_alone() {
    let lab = Lab::new().unwrap();
    let (master, node) = (lab.network.host("m", "").unwrap(), lab.network.host("n", "").unwrap());
    let router = lab.network.host("r", "").unwrap();
    let mut ra = start(&lab, &master);
    ra.expect("answering router solicitations on eth0", SOON).unwrap();
    wait_for("an advertisement", SOON, || solicit(&node)).unwrap();
    router.run(&["ip", "addr", "add", "fd77::1/64", "dev", "eth0", "nodad"]).unwrap();
    let argv = [
        "dnsmasq",
        "-k",
        "-C",
        "/dev/null",
        "-p",
        "0",
        "-i",
        "eth0",
        "-u",
        "root",
        "--enable-ra",
        "--dhcp-range=fd77::,ra-only",
        "--ra-param=eth0,10,600",
        "--log-facility=-",
        "-x",
        "",
    ];
    let pid = lab.path("dnsmasq.pid").display().to_string();
    let argv: Vec<&str> = argv.iter().map(|a| if a.is_empty() { pid.as_str() } else { a }).collect();
    let _router = Launch::new(&argv, lab.path("dnsmasq.log")).netns(&router.netns).start().unwrap();
    wait_for("the advertiser's silence beside a router", SOON, || {
        solicit(&node)?;
        let state = fs::read_to_string(lab.path("run/ra.json")).map_err(|e| e.to_string())?;
        let value: serde_json::Value = serde_json::from_str(&state).map_err(|e| e.to_string())?;
        if value["left_to_router"].as_u64() >= Some(1) { Ok(()) } else { Err(state) }
    })
    .unwrap();
}
