use super::*;
use crate::ctl::nodes::rows;
use crate::ctl::sources::tests::sources;
use crate::ctl::units::State as Unit;

fn report() -> Report {
    let service = |name: &str, state, sockets: &[&str], sentence: &str| Service {
        name: name.into(),
        state,
        sockets: sockets.iter().map(|s| (*s).to_owned()).collect(),
        sentence: sentence.into(),
        restarts: 0,
    };
    Report {
        site: "lab".into(),
        generation: Some(3),
        well: false,
        trouble: None,
        services: vec![
            service("dhcp", Unit::Running, &["UDP 0.0.0.0:67"], "running: 2 leases"),
            service(
                "tracker",
                Unit::Listening,
                &["UDP 10.0.0.1:6969", "TCP 10.0.0.1:6969"],
                "listening, no request yet",
            ),
            service(
                "ra",
                Unit::Failed,
                &[],
                "failed, it ended with status 1; journalctl -u boottorrent-ra.service says more",
            ),
        ],
        images: vec![Image {
            name: "small".into(),
            standing: "served".into(),
            bytes: 64_000_000,
            copies: 1.04,
            peers_connected: 3,
            ..Image::default()
        }],
        nodes: rows(&sources(), 1003),
        unread: vec![],
        at: 1003,
    }
}

const PLAIN: Screen = Screen { width: None, height: None, colour: false };

#[test]
fn the_page() {
    let expected = "\
Site lab, generation 3: 4 nodes, 1 booting, 1 failed, 2 never seen

SERVICE  SOCKET                 STATE
dhcp     UDP 0.0.0.0:67         running: 2 leases
tracker  UDP+TCP 10.0.0.1:6969  listening, no request yet
ra       -                      failed
    failed, it ended with status 1; journalctl -u boottorrent-ra.service says more

IMAGE    MB  COPIES SENT  PEERS  STATE
small  64.0         1.04      3  served

NODE     MAC                ADDRESS     OS      STAGE     DONE  MB/s  PEERS   SEEN
n01      52:54:00:00:00:01  10.0.0.11   small   download   25%  12.0      3     3s
n02      52:54:00:00:00:02  10.0.1.12   debian  -            -     -      -  never
n03      52:54:00:00:00:03  10.0.0.103  -       -            -     -      -  never
visitor  52:54:00:00:00:09  10.0.0.11   small   memory       -     -      -     3s
    memory: it needs 900 MiB and has 512
";
    assert_eq!(page(&report(), PLAIN), expected);
}

#[test]
fn what_runs_is_off_or_is_ordered_says_since_when_and_how_long() {
    let mut report = report();
    let [one, two, ..] = report.nodes.as_mut_slice() else { panic!() };
    (one.state, one.stage, one.since) = (State::Running, Some("run".into()), Some(603));
    let order =
        crate::orders::Order { os: Some("debian".into()), until: 1063, by: crate::orders::Author::Master };
    two.next_boot = Some(order);
    let text = page(&report, PLAIN);
    let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap();
    assert!(line("n01").contains("  run 6m  ") && text.contains(", 1 running, "), "{text}");
    assert!(text.contains("\n    next boot, if it comes within 60s: \"debian\"\n"), "{text}");
    report.at += 60;
    let text = page(&report, PLAIN);
    assert!(text.contains("\n    it has said nothing for 63s: it may be off\n"), "{text}");
    report.nodes[0].state = State::Off;
    assert!(page(&report, PLAIN).contains("  off 7m  "), "{text}");
}

#[test]
fn nothing_wraps_at_80_columns_and_all_columns_are_there() {
    let mut report = report();
    for node in &mut report.nodes {
        node.name = format!("{}-in-the-long-row-of-racks", node.name);
        node.address = Some(std::net::Ipv4Addr::new(192, 168, 100, 200));
    }
    let text = page(&report, Screen { width: Some(80), ..PLAIN });
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let first = text.lines().find(|line| line.contains("52:54:00:00:00:01")).unwrap();
    for word in ["192.168.100.200", "download", "25%", "12.0", " 3 ", "3s"] {
        assert!(first.contains(word), "{word}: {first}");
    }
}

#[test]
fn colours_and_frames_are_for_terminals() {
    let report = report();
    assert!(!page(&report, PLAIN).contains('\x1b') && !frame(&report, PLAIN).contains('\x1b'));
    let screen = Screen { width: Some(80), height: Some(10), colour: true };
    assert!(page(&report, screen).contains("\x1b[31mvisitor"));
    let frame = frame(&report, screen);
    assert!(frame.starts_with(HOME) && frame.ends_with(REST_OF_SCREEN));
    assert_eq!(frame.lines().count(), 10, "the last line break must not scroll: {frame}");
    assert!(frame.contains("more lines"));
}

#[test]
fn what_services_say_cannot_reach_the_terminal() {
    let mut report = report();
    report.services[0].sentence = "running: \x1b]0;owned\x07".into();
    report.nodes[0].name = "x\x1b[2Jy\nz".into();
    report.unread.push("a\x1b[1mb".into());
    assert!(!page(&report, PLAIN).contains('\x1b'));
    assert_eq!(page(&report, PLAIN).lines().count(), page(&self::report(), PLAIN).lines().count() + 2);
}

#[test]
fn ages_are_short() {
    let ages: Vec<String> = [0, 99, 100, 5999, 6000, 359_999, 360_000, 90_000_000].map(age).into();
    assert_eq!(ages, ["0s", "99s", "1m", "99m", "1h", "99h", "4d", "1041d"]);
}
