use std::ffi::OsString;

use lexopt::{Parser, ValueExt};

use super::options::{Stop, help};
use super::*;

const PROGRAM: Program =
    Program { name: "test", purpose: "tests", keeps_state: true, listens: true, extra_help: "" };

fn parse(args: &[&str], environment: &[(&str, &str)]) -> Result<Options, Stop> {
    let environment = |name: &str| environment.iter().find(|e| e.0 == name).map(|e| OsString::from(e.1));
    Options::parse_from(&PROGRAM, Parser::from_args(args), &environment, |_, _| Ok(false))
}

#[test]
fn folders_come_from_the_service_manager_unless_given() {
    let options =
        parse(&[], &[("STATE_DIRECTORY", "/var/lib/a:/var/lib/b"), ("RUNTIME_DIRECTORY", "")]).unwrap();
    assert_eq!(options.state.as_deref(), Some(Path::new("/var/lib/a")));
    assert_eq!(options.run, None);
    assert_eq!(options.store, Path::new("/var/lib/boottorrent"));
    let options = parse(&["--state=/s", "--run", "/r"], &[("STATE_DIRECTORY", "/var/lib/a")]).unwrap();
    assert_eq!(options.state.as_deref(), Some(Path::new("/s")));
    assert_eq!(options.run.as_deref(), Some(Path::new("/r")));
}

#[test]
fn listen_repeats_and_refuses_a_port_alone() {
    let options = parse(&["--listen", "127.0.0.1:67", "--listen", "[::1]:68"], &[]).unwrap();
    assert_eq!(options.listen.len(), 2);
    let Err(Stop::Wrong(sentence)) = parse(&["--listen", "67"], &[]) else { panic!("accepted") };
    assert!(sentence.contains("--listen 67") && sentence.contains("10.0.0.1:6881"), "{sentence}");
}

#[test]
fn unknown_options_and_words_are_refused_by_name() {
    for (args, named) in [(["--lisen", "x"], "--lisen"), (["word", ""], "word")] {
        let Err(Stop::Wrong(sentence)) = parse(&args, &[]) else { panic!("accepted {args:?}") };
        assert!(sentence.contains(named), "{sentence}");
    }
}

#[test]
fn options_that_a_daemon_has_no_use_for_are_refused() {
    let program = Program { keeps_state: false, listens: false, ..PROGRAM };
    for args in [["--state", "/s"], ["--listen", "127.0.0.1:67"]] {
        let parsed = Options::parse_from(&program, Parser::from_args(args), &|_| None, |_, _| Ok(false));
        let Err(Stop::Wrong(sentence)) = parsed else { panic!("accepted {args:?}") };
        assert!(sentence.contains(args[0]), "{sentence}");
        assert!(!help(&program).contains(args[0]));
    }
}

#[test]
fn extra_options_reach_their_daemon() {
    let mut torrent = None;
    let parser = Parser::from_args(["--torrent", "a.torrent", "--store", "/x"]);
    let options = Options::parse_from(&PROGRAM, parser, &|_| None, |name, parser| {
        Ok(name == "torrent" && {
            torrent = Some(parser.value()?.string()?);
            true
        })
    })
    .unwrap();
    assert_eq!(torrent.as_deref(), Some("a.torrent"));
    assert_eq!(options.store, Path::new("/x"));
}

#[test]
fn help_and_version_print() {
    assert!(matches!(parse(&["--help"], &[]), Err(Stop::Print(text)) if text.contains("--listen")));
    assert!(matches!(parse(&["-V"], &[]), Err(Stop::Print(text)) if text.starts_with("boottorrent-test ")));
}

fn service(listen: &[&str], run: Option<PathBuf>) -> Service {
    let mut options = parse(&[], &[]).unwrap();
    options.listen = listen.iter().map(|s| s.parse().unwrap()).collect();
    options.run = run;
    Service::start(&PROGRAM, options).unwrap()
}

#[test]
fn a_port_in_use_is_told_with_what_to_do() {
    let first = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = first.local_addr().unwrap().to_string();
    let error = service(&[&address], None).datagram("x", 1).unwrap_err().to_string();
    assert!(
        error.contains(&first.local_addr().unwrap().port().to_string()) && error.contains("ss -lnp"),
        "{error}"
    );
}

#[test]
fn an_ipv6_address_is_refused_instead_of_serving_nobody() {
    let service = service(&["127.0.0.1:0", "[::1]:7777"], None);
    let said =
        [service.datagram("x", 1).unwrap_err(), service.listener("x", 1).unwrap_err()].map(|e| e.to_string());
    for sentence in said {
        assert!(
            sentence.contains("[::1]:7777: only IPv4") && sentence.contains("10.0.0.1:7777"),
            "{sentence}"
        );
    }
}

#[test]
fn sockets_of_the_foreground_do_not_block() {
    let service = service(&["127.0.0.1:0", "127.0.0.2:0"], None);
    let sockets = service.datagram("x", 1).unwrap();
    assert_eq!(sockets.len(), 2);
    assert_eq!(sockets[0].recv(&mut [0; 4]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    let listeners = service.listener("x", 1).unwrap();
    assert_eq!(listeners[0].accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn a_wait_ends_at_its_deadline_and_with_a_packet() {
    let service = service(&["127.0.0.1:0"], None);
    let socket = service.datagram("x", 1).unwrap().remove(0);
    let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    let deadline = service.now() + Duration::from_millis(20);
    let wake = service.wait(&mut fds, Some(deadline)).unwrap();
    assert!(wake.now >= deadline && !wake.stop && !wake.reload);
    assert_eq!(fds[0].any(), Some(false));
    socket.send_to(b"x", socket.local_addr().unwrap()).unwrap();
    service.wait(&mut fds, None).unwrap();
    assert_eq!(fds[0].any(), Some(true));
}

#[test]
fn the_state_file_is_replaced_whole() {
    let run = std::env::temp_dir().join(format!("boottorrent-service-{}", std::process::id()));
    std::fs::create_dir_all(&run).unwrap();
    let service = service(&[], Some(run.clone()));
    for count in [1, 2] {
        service.write_state("test", &serde_json::json!({ "count": count })).unwrap();
        let text = std::fs::read_to_string(run.join("test.json")).unwrap();
        assert_eq!(text, format!("{{\n  \"count\": {count}\n}}\n"));
    }
    assert_eq!(std::fs::read_dir(&run).unwrap().count(), 1);
    std::fs::remove_dir_all(&run).unwrap();
}
