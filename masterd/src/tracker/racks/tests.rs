use super::*;
use crate::dhcp::origin::RelayId;

fn id(text: &str) -> RelayId {
    text.parse().unwrap()
}

fn config() -> TrackerConfig {
    let rack = |name: &str| RackConfig { name: name.into(), ..RackConfig::default() };
    TrackerConfig {
        named_racks: vec![
            RackConfig { networks: vec!["10.0.2.0/25".parse().unwrap()], ..rack("half") },
            RackConfig {
                relays: vec![[10, 1, 0, 1].into()],
                circuit_ids: vec![id("0001"), id("0002")],
                ..rack("left")
            },
            RackConfig { relays: vec![[10, 1, 0, 1].into()], ..rack("right") },
            RackConfig {
                remote_ids: vec![id("737737")],
                networks: vec!["10.5.0.0/24".parse().unwrap()],
                ..rack("far")
            },
        ],
        racks: vec!["10.0.0.0/16".parse().unwrap()],
        ..TrackerConfig::default()
    }
}

fn lease(address: [u8; 4], via: &str) -> String {
    let [a, b, c, d] = address;
    format!(r#"{{"address": "{a}.{b}.{c}.{d}", "mac": "52:54:00:00:00:01", "until": 1, "via": {via}}}"#)
}

fn names(racks: &Racks, addresses: &[[u8; 4]]) -> Vec<String> {
    let name = |a: &[u8; 4]| racks.name(racks.of(Ipv4Addr::from(*a))).unwrap_or("-").to_owned();
    addresses.iter().map(name).collect()
}

#[test]
fn addresses_alone_do_without_dhcp() {
    let mut racks = Racks::default();
    racks.configure(&config());
    let addresses = [[10, 0, 2, 127], [10, 0, 2, 128], [10, 5, 0, 7], [10, 1, 0, 100]];
    assert_eq!(names(&racks, &addresses), ["half", "-", "far", "-"]);
    let of = |a: [u8; 4]| racks.of(a.into());
    assert_eq!(of([10, 0, 2, 128]), of([10, 0, 99, 1]), "one subnet");
    assert_ne!(of([10, 1, 0, 100]), of([10, 1, 1, 100]), "of none: by the first three bytes");
}

#[test]
fn a_state_file_says_who_is_plugged_in_where() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dhcp.json");
    let write = |leases: &[String]| {
        let fresh = dir.path().join("new");
        std::fs::write(&fresh, format!(r#"{{"leases": [{}]}}"#, leases.join(","))).unwrap();
        std::fs::rename(&fresh, &path).unwrap();
    };
    let (mut racks, mut leases) = (Racks::default(), Leases::new(Some(dir.path())));
    racks.configure(&config());
    leases.refresh(Time(1), &mut racks).unwrap();
    let nodes = [1, 2, 3, 4, 5].map(|n| [10, 1, 0, 100 + n]);
    write(&[
        lease(nodes[0], r#"{"relay": "10.1.0.1", "circuit-id": "0002", "remote-id": "00"}"#),
        lease(nodes[1], r#"{"relay": "10.1.0.1", "circuit-id": "0003"}"#),
        lease(nodes[2], r#"{"circuit-id": "0002"}"#),
        lease(nodes[3], r#"{"relay": "10.2.0.1", "remote-id": "737737"}"#),
        lease(nodes[4], "null"),
    ]);
    leases.refresh(Time(2), &mut racks).unwrap();
    assert_eq!(names(&racks, &nodes[..1]), ["-"], "not looked at twice in a second");
    let mut now = Time(0) + 2 * PAUSE;
    leases.refresh(now, &mut racks).unwrap();
    assert_eq!(names(&racks, &nodes), ["left", "right", "-", "far", "-"]);
    // Gone, and the file with it: what was learnt last stays.
    write(&[lease(nodes[1], r#"{"relay": "10.1.0.1", "circuit-id": "0001"}"#)]);
    now = now + PAUSE;
    leases.refresh(now, &mut racks).unwrap();
    assert_eq!(names(&racks, &nodes), ["-", "left", "-", "-", "-"]);
    std::fs::remove_file(&path).unwrap();
    now = now + PAUSE;
    leases.refresh(now, &mut racks).unwrap();
    assert_eq!(names(&racks, &nodes[1..2]), ["left"]);
    std::fs::write(&path, "{").unwrap();
    assert!(leases.refresh(now + PAUSE, &mut racks).is_err());
    assert!(leases.refresh(now + 2 * PAUSE, &mut racks).is_ok(), "told once a version");
    assert_eq!(names(&racks, &nodes[1..2]), ["left"]);
}

#[test]
fn a_new_configuration_learns_anew() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("dhcp.json"),
        format!(r#"{{"leases": [{}]}}"#, lease([10, 1, 0, 100], r#"{"relay": "10.1.0.1"}"#)),
    )
    .unwrap();
    let (mut racks, mut leases) = (Racks::default(), Leases::new(Some(dir.path())));
    racks.configure(&TrackerConfig::default());
    assert!(!racks.ask_dhcp());
    leases.refresh(Time(1), &mut racks).unwrap();
    racks.configure(&config());
    leases.forget();
    leases.refresh(Time(2), &mut racks).unwrap();
    assert_eq!(names(&racks, &[[10, 1, 0, 100]]), ["right"]);
}
