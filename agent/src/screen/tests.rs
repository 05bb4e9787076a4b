use std::fs;
use std::path::Path;
use std::time::Duration;

use boottorrent_swarm::record::Event;
use ratatui::buffer::Buffer;

use super::model::{Failure, Node};
use super::*;
use crate::console::Key;

const SECOND: Duration = Duration::from_secs(1);

fn layout() -> Layout {
    Layout::new(80, 24).unwrap()
}

fn node() -> Model {
    let mut model = Model {
        node: Node {
            site: "lab".into(),
            name: "n01".into(),
            mac: "52:54:00:b7:00:01".into(),
            address: "10.0.0.101".into(),
            speed_mbit: Some(1000),
        },
        ..Model::default()
    };
    for (stage, text) in [
        ("modules", "23 modules for 31 devices"),
        ("link", "carrier on eth0 52:54:00:b7:00:01"),
        ("lease", "10.0.0.101/24 from 10.0.0.1 for 43200 s"),
        ("catalog", "site lab, generation 7, 3 images; this node is n01"),
    ] {
        model.recorded(stage, Event::Begin, SECOND, SECOND, "waits");
        model.recorded(stage, Event::End, SECOND, Duration::from_millis(1250), text);
    }
    model.recorded("choice", Event::Begin, SECOND * 5, SECOND * 5, "which operating system to start");
    model
}

fn entry(title: &str, mb: u64, mib: u64) -> Entry {
    let details = [
        ("image", title),
        ("method", "kexec"),
        ("command line", "boot=live live-media=/ hostname={hostname}"),
    ];
    Entry {
        title: title.into(),
        bytes: mb * 1_000_000,
        memory: mib << 20,
        blocked: None,
        details: details.map(|(label, text)| (label.into(), text.into())).into(),
    }
}

fn menu(entries: Vec<Entry>) -> Menu {
    Menu {
        entries,
        default: Some(0),
        seconds_left: Some(9),
        local_disk: Some(Err("a BIOS takes no such order, use its own menu at power-on".into())),
        ..Menu::default()
    }
}

fn at_the_menu() -> Model {
    let mut big = entry("Workstation with everything", 9_400, 22_000);
    big.blocked = Some("this node is too small: it has 2014 MiB of memory and needs 22000 MiB".into());
    let entries = vec![entry("Debian 12, in memory", 174, 760), entry("Memory test", 4, 96), big];
    Model { menu: Some(menu(entries)), has_shell: true, ..node() }
}

fn downloading(done: usize) -> Model {
    let mut model = node();
    model.recorded("download", Event::Begin, SECOND * 9, SECOND * 9, "downloading");
    model.download = Some(Download {
        title: "Debian 12, in memory".into(),
        bytes_done: done as u64 * 262_144,
        bytes_total: 2000 * 262_144,
        rate: 11_834_000.0 + (done % 7) as f64 * 133_000.0,
        seconds_left: Some((2000 - done as u64) / 45),
        pieces: (0..2000).map(|piece| piece * 7919 % 2000 < done).collect(),
        peers: 7,
        bytes_master: done as u64 * 40_000,
        bytes_nodes: done as u64 * 222_144,
        bytes_sent: done as u64 * 200_000,
        tracker_trouble: None,
    });
    model
}

fn failed() -> Model {
    let mut model = node();
    let sentence = "nobody answered on UDP 69 of 10.0.0.1 within 20 s: is boottorrent-tftp running there, and does a \
                    firewall let it through?; again from \"catalog\" in 4 s";
    model.recorded("catalog", Event::Begin, SECOND, SECOND, "waits");
    model.recorded("catalog", Event::Fail, SECOND, SECOND * 20, sentence);
    model.failure = Some(Failure { again_at: Some(SECOND * 24), ..model.failure.take().unwrap() });
    model
}

fn text(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width);
    let rows = buffer.content.chunks(width).map(|row| {
        let mut line = String::new();
        let mut covered = 0_u16;
        for cell in row {
            // The second half of a wide character holds a space that no terminal gets.
            if covered == 0 {
                line.push_str(cell.symbol());
                covered = columns(cell.symbol());
            }
            covered -= 1;
        }
        line.trim_end().to_owned() + "\n"
    });
    rows.collect()
}

fn columns(text: &str) -> u16 {
    use ratatui::buffer::CellWidth as _;
    text.cell_width().max(1)
}

/// Compares with the golden file, or writes it anew under BLESS=1.
fn golden(name: &str, model: &Model, now: Duration) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/screen/golden/{name}.txt"));
    let shown = text(&render(model, &layout(), now));
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &shown).unwrap();
    }
    let known = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        known == shown,
        "{name} differs; look at it, and if the new one is right: BLESS=1 cargo test -p boottorrent-agent\n{shown}"
    );
}

#[test]
fn every_page_on_a_text_screen() {
    golden("menu", &at_the_menu(), SECOND * 6);
    let mut model = at_the_menu();
    if let Some(menu) = &mut model.menu {
        menu.selected = 2;
        menu.seconds_left = None;
        menu.notice = Some("Debian 12 was replaced by generation 8".into());
        menu.local_disk = Some(Ok("debian".into()));
    }
    golden("menu-too-small", &model, SECOND * 6);
    let mut model = node();
    model.progress = "waiting for carrier on eth0 (3 of 20 s)".into();
    golden("stages", &model, SECOND * 6);
    golden("download", &downloading(904), SECOND * 6);
    golden("failure", &failed(), SECOND * 21);
    let mut model = at_the_menu();
    model.press(Key::Character('d'), true);
    model.facts = vec![("firmware".into(), "UEFI".into())];
    golden("details", &model, SECOND * 6);
    let mut model = downloading(10);
    (0..40).for_each(|n| {
        model.said(&format!("[{n:>9}.000] download: something that a person may want to know"))
    });
    model.said(&format!("[       41.000] load: {}", "a very long command line ".repeat(8)));
    model.press(Key::Character('l'), false);
    model.press(Key::Up, false);
    golden("log", &model, SECOND * 6);
    let mut model = downloading(10);
    model.press(Key::Character('p'), false);
    golden("question", &model, SECOND * 6);
}

#[test]
fn titles_of_all_kinds_and_a_hundred_of_them() {
    let titles = ["Übergröße à la carte", "Дебиан", "漢字のシステム", "x", ""];
    let mut entries: Vec<Entry> =
        (1..=100).map(|n| entry(&format!("{} {n}", titles[n % titles.len()]), n as u64, 512)).collect();
    entries[50].title =
        "A title that somebody wrote as if the world's screens had two hundred columns, ".repeat(3);
    let mut model = Model { menu: Some(menu(entries)), ..node() };
    for selected in 0..100 {
        model.menu.as_mut().unwrap().selected = selected;
        let shown = text(&render(&model, &layout(), SECOND));
        assert!(shown.contains(&format!("> {:>3} ", selected + 1)), "{selected} is not seen:\n{shown}");
        assert!(shown.lines().all(|line| columns(line) <= 80), "{shown}");
    }
    model.menu.as_mut().unwrap().selected = 50;
    golden("menu-hundred", &model, SECOND * 6);
}

#[test]
fn every_page_fits_every_terminal() {
    let mut models =
        vec![at_the_menu(), node(), downloading(0), downloading(1999), failed(), Model::default()];
    for key in ['d', 'l'] {
        let mut model = downloading(3);
        model.said("a line");
        model.press(Key::Character(key), false);
        (0..30).for_each(|_| assert_eq!(model.press(Key::PageDown, false), Pressed::Taken));
        models.push(model);
    }
    for (columns, rows) in [(60, 20), (61, 21), (80, 25), (100, 30), (132, 43), (160, 60), (500, 200)] {
        let layout = Layout::new(columns, rows).unwrap();
        for model in &models {
            let buffer = render(model, &layout, SECOND * 3);
            let width = usize::from(layout.columns);
            let log = usize::from(layout.log_top) * width..usize::from(layout.log_bottom + 1) * width;
            assert!(
                buffer.content[log].iter().all(|cell| cell.symbol() == " "),
                "a page writes over the log at {columns}x{rows}"
            );
        }
    }
}

/// What a terminal shows after these bytes; a UART's driver puts a return before each line feed.
fn terminal(parser: &mut vt100::Parser, bytes: &str) {
    parser.process(bytes.replace('\n', "\r\n").as_bytes());
}

fn rows(parser: &vt100::Parser) -> Vec<String> {
    parser.screen().rows(0, 80).map(|row| row.trim_end().to_owned()).collect()
}

#[test]
fn a_terminal_shows_what_was_drawn_however_it_changed() {
    let layout = layout();
    let mut parser = vt100::Parser::new(24, 80, 0);
    terminal(&mut parser, &ansi::enter(&layout, false));
    let mut shown = Buffer::empty(layout.area());
    for model in [at_the_menu(), downloading(3), downloading(1500), failed(), at_the_menu(), node()] {
        let frame = render(&model, &layout, SECOND * 7);
        terminal(&mut parser, &ansi::say(&layout, Glyphs::Utf8, "a line of the log\nand another"));
        terminal(&mut parser, &ansi::update(&layout, Glyphs::Utf8, &shown, &frame));
        shown = frame;
        for (y, row) in text(&shown).lines().enumerate() {
            if !(usize::from(layout.log_top)..=usize::from(layout.log_bottom)).contains(&y) {
                assert_eq!(rows(&parser)[y], row, "row {y}");
            }
        }
        let log = &rows(&parser)[usize::from(layout.log_top)..=usize::from(layout.log_bottom)];
        assert_eq!(log[3..], ["and another", ""], "{log:?}");
        let cursor = parser.screen().cursor_position();
        assert_eq!(cursor, (layout.log_bottom, 0), "the kernel's next line belongs into the log");
    }
    terminal(&mut parser, ansi::LEAVE);
    terminal(&mut parser, "plain again\n");
    assert_eq!(rows(&parser)[22], "plain again");
    assert!(!parser.screen().hide_cursor());
}

/// What a collector keeps that knows nothing of terminals but how to leave escape sequences out.
fn collected(bytes: &str) -> Vec<String> {
    let mut text = String::new();
    let mut chars = bytes.chars();
    while let Some(c) = chars.next() {
        if c != '\x1b' {
            text.push(c);
        } else if chars.next() == Some('[') {
            chars.by_ref().find(|c| ('\x40'..='\x7e').contains(c));
        }
    }
    text.lines().map(str::to_owned).collect()
}

#[test]
fn who_collects_text_gets_every_line_whole_and_once() {
    let layout = layout();
    let mut stream = ansi::enter(&layout, false);
    let mut shown = Buffer::empty(layout.area());
    let lines: Vec<String> =
        (0..50).map(|n| format!("[   {n:>2}.345] choice: done in 0.{n} s: {n}")).collect();
    for (n, line) in lines.iter().enumerate() {
        let frame = render(&downloading(n * 17), &layout, SECOND * n as u32);
        stream.push_str(&ansi::update(&layout, Glyphs::Ascii, &shown, &frame));
        shown = frame;
        stream.push_str(&ansi::say(&layout, Glyphs::Ascii, line));
    }
    let kept = collected(&stream);
    for line in &lines {
        assert_eq!(kept.iter().filter(|kept| *kept == line).count(), 1, "{line}");
    }
}

#[test]
fn a_serial_line_carries_a_download_with_ease() {
    let layout = layout();
    let first = render(&downloading(0), &layout, SECOND);
    let empty = Buffer::empty(layout.area());
    let opening = ansi::enter(&layout, false) + &ansi::update(&layout, Glyphs::Ascii, &empty, &first);
    // 115200 bit/s carry 11520 bytes a second.
    assert!(opening.len() < 3000, "the first frame has {} bytes", opening.len());
    let mut shown = first;
    let (mut sum, mut most) = (0, 0);
    // 2000 pieces in 45 s: the whole of 100 Mbit/s.
    for second in 1..=45 {
        let frame = render(&downloading(second * 44), &layout, SECOND * second as u32);
        let bytes = ansi::update(&layout, Glyphs::Ascii, &shown, &frame).len();
        shown = frame;
        sum += bytes;
        most = most.max(bytes);
    }
    println!("first frame {} bytes, then {} a second, at most {most}", opening.len(), sum / 45);
    assert!(sum / 45 < 1000 && most < 2000, "{} bytes a second, at most {most}", sum / 45);
    let same = render(&downloading(45 * 44), &layout, SECOND * 99);
    assert_eq!(ansi::update(&layout, Glyphs::Ascii, &shown, &same), "", "nothing moves, nothing is sent");
}

#[test]
fn colour_only_adds() {
    let layout = layout();
    let frame = render(&failed(), &layout, SECOND * 21);
    let bytes = ansi::update(&layout, Glyphs::Ascii, &Buffer::empty(layout.area()), &frame);
    assert!(bytes.contains("\x1b[0;1;31mnobody answered"), "{bytes:?}");
    let shown = text(&frame);
    assert!(
        shown.contains("The stage \"catalog\" failed") && shown.contains("Trying again in 3 s"),
        "{shown}"
    );
}
