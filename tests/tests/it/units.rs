//! The units under a real systemd: verified, sandboxed, listening at once, started by the first packet, stopped whole.

use boottorrent_tests::clock::wait_for;
use boottorrent_tests::programs;
use boottorrent_tests::room::Room;
use boottorrent_tests::site::{Os, Site};
use std::time::Duration;

/// Exposure, ten times what `systemd-analyze security` prints.
const MOST_EXPOSED: u32 = 20;
const SOON: Duration = Duration::from_secs(20);

/// `ss` lines of the master's own sockets that listen on the product's ports.
fn open_ports(room: &Room) -> Vec<u16> {
    let lines = room.master.host.run(&["ss", "-Hnltu"]).unwrap();
    let ports =
        lines.lines().filter_map(|line| line.split_whitespace().nth(4)?.rsplit(':').next()?.parse().ok());
    let mut ports: Vec<u16> = ports.filter(|port| [67, 69, 514, 6881, 6969].contains(port)).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

#[test]
fn units_are_verified_sandboxed_and_stop_whole() {
    let room = Room::new().unwrap();
    room.compile(&Site::with(&[Os::small("small", "")])).unwrap();
    let services: Vec<String> = programs::DAEMONS.iter().map(|name| format!("{name}.service")).collect();
    let services = services.join(" ");
    let words = room
        .master
        .run(&format!("systemd-analyze verify --man=no boottorrent.target {services} 2>&1"))
        .unwrap();
    assert!(!words.contains("boottorrent"), "systemd-analyze verify says:\n{words}");
    let analysis = format!(
        "systemd-analyze security --no-pager --threshold={MOST_EXPOSED} {services} 2>&1 | tail -n 40"
    );
    for service in services.split(' ') {
        let line = format!(
            "systemd-analyze security --no-pager --threshold={MOST_EXPOSED} {service} >/dev/null 2>&1"
        );
        room.master.run(&line).unwrap_or_else(|_| panic!("{service}: {:?}", room.master.run(&analysis)));
    }
    assert!(open_ports(&room).is_empty());
    room.start().unwrap();
    assert_eq!(open_ports(&room), [67, 69, 514, 6881, 6969], "all sockets listen at once");
    let active =
        "systemctl list-units --state=active --plain --no-legend 'boottorrent-*.service' | cut -d' ' -f1";
    let running = room.master.run(active).unwrap();
    assert!(!running.contains("seed") && !running.contains("tftp"), "started without a packet:\n{running}");
    // The first packet starts the service.
    room.master.host.run(&["bash", "-c", "exec 3<>/dev/tcp/10.0.0.1/6881"]).unwrap();
    wait_for("the seed", SOON, || {
        let running = room.master.run(active).unwrap();
        if running.contains("boottorrent-seed.service") { Ok(()) } else { Err(running) }
    })
    .unwrap();
    assert_eq!(
        room.master.run("systemctl show -P User boottorrent-seed.service").unwrap().trim(),
        "boottorrent"
    );
    room.master.run("systemctl stop boottorrent.target").unwrap();
    wait_for("closed ports", SOON, || {
        let ports = open_ports(&room);
        if ports.is_empty() { Ok(()) } else { Err(format!("{ports:?} are open")) }
    })
    .unwrap();
    assert_eq!(room.master.run(active).unwrap(), "");
    room.master.run("systemctl restart boottorrent.target").unwrap();
    assert_eq!(open_ports(&room), [67, 69, 514, 6881, 6969]);
}
