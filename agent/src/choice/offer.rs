//! What the menu says of each image: its size, the memory that it needs, and whether this node has that.
//!
//! Decides nothing: the stage "memory" does, when the image is chosen.

use std::path::Path;
use std::sync::Arc;

use boottorrent_swarm::catalog::{Image, Linger, Method, Program, Role};

use crate::image::Plan;
use crate::memory::{Bill, Memory};
use crate::screen::{Entry, bytes as size};

const MIB: u64 = 1 << 20;

/// A row of the menu.
pub(super) fn entry(image: &Image, overlay: &Arc<[u8]>) -> Entry {
    let bytes = image.files.iter().map(|file| file.length).sum();
    let mut details = details(image, bytes);
    let (memory, blocked) = match bill(image, overlay) {
        Ok(bill) => {
            details.push(("memory".into(), format!("{} MiB: {bill}", bill.needed().div_ceil(MIB))));
            (bill.needed(), bill.check().err().map(|error| error.to_string()))
        }
        Err(why) => (image.memory, Some(why)),
    };
    // The bill itself is among the details: a row of the menu has no room for it.
    let blocked = blocked.map(|why| why.split_once(" (").map_or(why.clone(), |(why, _)| why.to_owned()));
    Entry { title: image.title.clone(), bytes, memory, blocked, details }
}

fn bill(image: &Image, overlay: &Arc<[u8]>) -> Result<Bill, String> {
    let plan = Plan::new(image, overlay).map_err(|error| error.to_string())?;
    Bill::of(image, &plan).map_err(|error| error.to_string())
}

fn details(image: &Image, bytes: u64) -> Vec<(String, String)> {
    let method = match image.method {
        Method::Kexec => "kexec: its kernel takes this machine over",
        Method::Run => "run: a program beside the agent, which goes on seeding",
    };
    let pieces = image.geometry().map_or(0, |geometry| geometry.pieces());
    let mut details: Vec<(&str, String)> = vec![
        ("image", format!("{} ({})", image.title, image.name)),
        ("method", method.to_owned()),
        ("size", format!("{} in {pieces} pieces", size(bytes))),
        ("info-hash", image.info_hash.to_string()),
    ];
    match &image.program {
        Some(program) => details.extend(of_program(program)),
        None => details.extend(of_kernel(image)),
    }
    for file in &image.files {
        let role = match &file.role {
            Role::Kernel => "kernel".to_owned(),
            Role::Initrd => "initrd".to_owned(),
            Role::Wrapped(path) | Role::Placed(path) => format!("as /{}", path.trim_start_matches('/')),
            Role::Root => "the program's tree".to_owned(),
        };
        details.push(("file", format!("{}, {}, {role}", file.path, size(file.length))));
    }
    details.into_iter().map(|(label, text)| (label.to_owned(), text)).collect()
}

fn of_kernel(image: &Image) -> [(&'static str, String); 2] {
    let linger = match image.linger {
        Linger::Auto => "while another node needs it".to_owned(),
        Linger::Milliseconds(ms) => format!("{} s", ms as f64 / 1e3),
    };
    [("command line", image.cmdline.clone()), ("seeds before", linger)]
}

fn of_program(program: &Program) -> [(&'static str, String); 3] {
    let upload = match program.seed_rate {
        Some(rate) => format!("at most {:.1} Mbit/s meanwhile", rate as f64 * 8.0 / 1e6),
        None => "what the network takes meanwhile".to_owned(),
    };
    [("program", program.argv.join(" ")), ("afterwards", program.after.name().to_owned()), ("seeds", upload)]
}

/// What the details page says of the machine.
pub(super) fn machine(card: &str, master: Option<std::net::Ipv4Addr>) -> Vec<(String, String)> {
    let memory = Memory::read().map_or_else(
        |error| error.to_string(),
        |memory| format!("{} MiB, {} MiB free", memory.total.div_ceil(MIB), memory.available.div_ceil(MIB)),
    );
    let firmware = if Path::new("/sys/firmware/efi").is_dir() { "UEFI" } else { "BIOS" };
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    [
        ("node's memory", memory),
        ("network card", card.to_owned()),
        ("master", master.map(|master| master.to_string()).unwrap_or_default()),
        ("firmware", firmware.to_owned()),
        ("agent", format!("{}, on Linux {}", env!("CARGO_PKG_VERSION"), kernel.trim())),
    ]
    .map(|(label, text)| (label.to_owned(), text))
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use boottorrent_swarm::InfoHash;
    use boottorrent_swarm::catalog::{After, File};

    fn image(method: Method, program: Option<Program>) -> Image {
        let role = if method == Method::Run { Role::Root } else { Role::Kernel };
        let placed =
            File { path: "dos.img".into(), length: 1_000_000, role: Role::Placed("/os/dos.img".into()) };
        Image {
            name: "dos".into(),
            title: "DOS".into(),
            method,
            info_hash: InfoHash([1; 20]),
            piece_length: 262_144,
            pieces_sha256: [2; 32],
            files: vec![File { path: "first".into(), length: 8_000_000, role }, placed],
            cmdline: "quiet".into(),
            memory: 1 << 28,
            linger: Linger::Auto,
            program,
        }
    }

    #[test]
    fn a_kernel_and_a_program_are_described_each_in_its_own_words() {
        let text = |image: &Image| {
            let lines = details(image, 9_000_000).into_iter();
            lines.map(|(label, text)| format!("{label}: {text}\n")).collect::<String>()
        };
        let kernel = text(&image(Method::Kexec, None));
        assert!(kernel.contains("command line: quiet\nseeds before: while another node"), "{kernel}");
        let program = Program {
            argv: vec!["/bin/vm".into(), "-m".into(), "{memory}".into()],
            env: Vec::new(),
            workdir: "/".into(),
            after: After::Restart,
            nice: 0,
            seed_rate: Some(6_250_000),
            tap: false,
        };
        let told = text(&image(Method::Run, Some(program)));
        let words =
            "program: /bin/vm -m {memory}\nafterwards: restart\nseeds: at most 50.0 Mbit/s meanwhile\n";
        assert!(told.contains(words), "{told}");
        assert!(!told.contains("command line") && !told.contains("seeds before"), "{told}");
        assert!(told.contains("as /os/dos.img"), "{told}");
    }
}
