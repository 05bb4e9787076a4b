use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use super::*;
use crate::screen::{Entry, Menu};

fn of(line: &str) -> Vec<String> {
    names(&Cmdline::parse(line))
}

#[test]
fn every_console_and_always_a_screen() {
    assert_eq!(of(""), ["tty1", "ttyS0"]);
    assert_eq!(of("console=tty0 console=ttyS0,115200"), ["tty1", "ttyS0"]);
    assert_eq!(of("console=ttyS1"), ["tty1", "ttyS1"]);
    assert_eq!(of("console=tty0"), ["tty1"]);
    assert_eq!(of("console=hvc0 console=tty2"), ["hvc0", "tty2"]);
    assert_eq!(of("console=tty0 console=ttyS0 console=tty1"), ["tty1", "ttyS0"], "each once");
}

#[test]
fn the_log_has_a_screen_that_is_no_console() {
    let log = |line: &str| log_name(&Cmdline::parse(line));
    assert_eq!(log("console=tty0 console=ttyS0"), "tty2");
    assert_eq!(log("console=tty2 console=tty3"), "tty4");
}

/// A serial line with its other end.
fn line() -> (Consoles, UnixStream) {
    let (near, far) = UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    far.set_nonblocking(true).unwrap();
    let terminal = Terminal::new(File::from(OwnedFd::from(near)));
    let console = Console::new("ttyS7", false, terminal);
    (Consoles { list: vec![console], pages: false, printed: false, ours: Vec::new() }, far)
}

fn heard(far: &mut UnixStream) -> String {
    let mut bytes = Vec::new();
    let _ = far.read_to_end(&mut bytes); // ends with WouldBlock, and what came before is there
    String::from_utf8(bytes).unwrap()
}

fn menu() -> Model {
    let entries = vec![Entry { title: "Debian".into(), ..Entry::default() }];
    let mut model = Model::new(false);
    model.menu = Some(Menu { entries, ..Menu::default() });
    model
}

#[test]
fn a_line_where_nobody_answers_stays_a_log() {
    let (mut consoles, mut far) = line();
    consoles.start_pages();
    assert!(heard(&mut far).contains("\x1b[6n"), "it is asked");
    consoles.say("[    1.000] link: done");
    consoles.draw(&menu(), Duration::from_secs(9));
    assert_eq!(heard(&mut far), "[    1.000] link: done\n");
}

#[test]
fn an_answer_opens_pages_of_the_right_size_and_is_no_key() {
    let (mut consoles, mut far) = line();
    consoles.start_pages();
    far.write_all(b"\x1b[5;2R\x1b[40;100R").unwrap();
    assert_eq!(consoles.keys(), []);
    heard(&mut far);
    consoles.draw(&menu(), Duration::from_secs(9));
    let mut parser = vt100::Parser::new(40, 100, 0);
    parser.process(heard(&mut far).replace('\n', "\r\n").as_bytes());
    let shown = parser.screen().contents();
    assert!(shown.contains("Debian") && shown.contains("── log ──"), "{shown}");
    assert!(parser.screen().rows(0, 100).nth(39).unwrap().contains("number, Enter"), "{shown}");
    consoles.say("a line");
    assert!(heard(&mut far).contains("\na line\n"));
    // Nobody asked for this one: some function key, perhaps.
    far.write_all(b"\x1b[1;2R").unwrap();
    assert_eq!(consoles.keys(), [(Key::Other, "ttyS7".to_owned())]);
}

#[test]
fn the_first_key_opens_pages_too_and_is_a_key() {
    let (mut consoles, mut far) = line();
    consoles.start_pages();
    far.write_all(b"1\r").unwrap();
    let keys: Vec<Key> = consoles.keys().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, [Key::Character('1'), Key::Enter]);
    heard(&mut far);
    consoles.draw(&menu(), Duration::from_secs(9));
    let drawn = heard(&mut far);
    assert!(
        drawn.contains("Debian") && drawn.is_ascii(),
        "nobody has shown that UTF-8 is understood: {drawn:?}"
    );
    consoles.stop_pages();
    consoles.say("plain again");
    assert_eq!(heard(&mut far), format!("{}plain again\n", ansi::LEAVE));
}

#[test]
fn a_program_has_a_console_for_itself_and_it_misses_nothing() {
    let (mut consoles, mut far) = line();
    consoles.start_pages();
    far.write_all(b"x").unwrap();
    assert_eq!(consoles.keys().len(), 1);
    consoles.draw(&menu(), Duration::from_secs(9));
    consoles.give_up("ttyS7");
    heard(&mut far);
    far.write_all(b"y").unwrap();
    assert!(consoles.keys().is_empty() && consoles.ears().is_empty());
    consoles.say("[    2.000] run: a note");
    consoles.printed(true);
    consoles.say("[    2.500] run: what the program has shown there itself");
    consoles.printed(false);
    consoles.progress("moving");
    consoles.draw(&menu(), Duration::from_secs(19));
    assert_eq!(heard(&mut far), "");
    consoles.take_back("ttyS7");
    let missed = heard(&mut far);
    assert!(missed.contains("[    2.000] run: a note\n") && !missed.contains("2.500"), "{missed}");
    consoles.draw(&menu(), Duration::from_secs(29));
    assert!(heard(&mut far).contains("Debian"));
}

#[test]
fn a_line_that_nobody_drains_costs_a_moment_once() {
    let (mut consoles, mut far) = line();
    consoles.start_pages();
    far.write_all(b"x").unwrap();
    consoles.keys();
    let begun = clock::now();
    let long = "a line that nobody reads ".repeat(40);
    let lines = 2000;
    for n in 0..lines {
        consoles.say(&long);
        consoles.hurry();
        consoles.draw(&menu(), Duration::from_secs(n));
    }
    // Far from a wait for each of them, however busy the machine is.
    let all = Duration::from_millis(terminal::STALL_MS.into()) * lines as u32;
    assert!(clock::now() - begun < all / 10, "{:?}", clock::now() - begun);
    // When somebody drains it after all, it is drawn from nothing.
    heard(&mut far);
    consoles.hurry();
    consoles.draw(&menu(), Duration::from_secs(9999));
    assert!(heard(&mut far).contains("\x1b[2J"));
}
