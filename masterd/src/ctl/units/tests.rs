use super::*;

const LOADED: &str = "LoadState=loaded\nResult=success\n";

fn socket(name: &str, more: &str) -> String {
    format!("Listen=10.0.0.1:69 (Datagram)\nId=boottorrent-{name}.socket\n{LOADED}{more}\n")
}

fn service(name: &str, more: &str) -> String {
    format!("Id=boottorrent-{name}.service\nNRestarts=0\nStatusText=\n{LOADED}{more}\n")
}

const TARGET_RUNS: &str = "Id=boottorrent.target\nLoadState=loaded\nActiveState=active\nSubState=active\n";
const LISTENS: &str = "ActiveState=active\nSubState=listening\nActiveEnterTimestampMonotonic=500\n";
const NEVER: &str = "ActiveState=inactive\nSubState=dead\nActiveEnterTimestampMonotonic=0\n";

fn of(name: &str, blocks: &[String]) -> Service {
    let text = [&[TARGET_RUNS.to_owned()], blocks].concat().join("\n");
    let services = Services::of(&[name.to_owned()], &text);
    assert_eq!(services.trouble, None, "{text}");
    services.list[0].clone()
}

#[test]
fn a_unit_that_waits_is_well() {
    let waits = of("tftp", &[service("tftp", NEVER), socket("tftp", LISTENS)]);
    assert_eq!((waits.state, waits.sentence.as_str()), (State::Listening, "listening, no request yet"));
    assert_eq!(waits.sockets, ["UDP 10.0.0.1:69"]);
    // It ran for an earlier socket: this one has had no request.
    let earlier = NEVER.replace("Monotonic=0", "Monotonic=499");
    assert_eq!(of("tftp", &[service("tftp", &earlier), socket("tftp", LISTENS)]).sentence, waits.sentence);
    let later = NEVER.replace("Monotonic=0", "Monotonic=501");
    let ended = of("tftp", &[service("tftp", &later), socket("tftp", LISTENS)]);
    assert_eq!(ended.sentence, "listening; it has ended and starts with the next request");
    let runs = "ActiveState=active\nSubState=running\nStatusText=3 nodes, 40 records\nNRestarts=2\n";
    let running = of("log", &[service("log", runs), socket("log", LISTENS)]);
    assert_eq!((running.sentence.as_str(), running.restarts), ("running: 3 nodes, 40 records", 2));
}

#[test]
fn what_is_wrong_with_a_unit_is_a_sentence() {
    let failed =
        "ActiveState=failed\nSubState=failed\nResult=exit-code\nExecMainStatus=1\nStatusText=no store\n";
    let again = failed.replace("=failed\nSubState=failed", "=activating\nSubState=auto-restart");
    let taken = "ActiveState=failed\nSubState=failed\nResult=resources\n";
    let masked = "LoadState=masked\nActiveState=inactive\nSubState=dead\n";
    let cases = [
        (
            service("dhcp", failed),
            socket("dhcp", LISTENS),
            State::Failed,
            "failed, it ended with status 1: no store",
        ),
        (service("dhcp", &again), socket("dhcp", LISTENS), State::Failed, "starts again and again"),
        (service("dhcp", NEVER), socket("dhcp", taken), State::Failed, "a port that is in use"),
        (
            service("dhcp", masked),
            socket("dhcp", LISTENS),
            State::Masked,
            "systemctl unmask boottorrent-dhcp.service",
        ),
        (
            service("dhcp", NEVER),
            socket("dhcp", masked),
            State::Masked,
            "systemctl unmask boottorrent-dhcp.socket",
        ),
        (service("dhcp", NEVER), socket("dhcp", NEVER), State::Stopped, "systemctl start boottorrent.target"),
        (service("dhcp", NEVER), String::new(), State::Missing, "there is no boottorrent-dhcp.socket"),
    ];
    for (service, socket, state, told) in cases {
        let seen = of("dhcp", &[service, socket]);
        assert!(seen.state == state && seen.sentence.contains(told), "{told}: {seen:?}");
        assert!(!seen.state.is_well());
    }
    let stopped = of("ra", &[service("ra", NEVER)]);
    assert_eq!(stopped.state, State::Stopped, "no packet starts it");
}

#[test]
fn a_target_that_is_not_active_stands_above_all() {
    for (text, told) in [
        (TARGET_RUNS.replace("=active", "=inactive"), "systemctl start boottorrent.target"),
        (TARGET_RUNS.replace("=loaded", "=masked"), "systemctl unmask boottorrent.target"),
        (TARGET_RUNS.replace("=loaded", "=not-found"), "run boottorrent-gen"),
        (String::new(), "run boottorrent-gen"),
    ] {
        let services = Services::of(&[], &text);
        assert!(services.trouble.as_ref().is_some_and(|t| t.contains(told)), "{services:?}");
        assert!(!services.are_well());
    }
}
