//! How large is what every node has to load before our code runs: the agent, and the bootstrap by part.

use super::Figure;
use crate::error::LabError;
use crate::process::run;
use crate::programs;
use crate::room::{Room, SITE};
use crate::site::{Os, Site};

const STORE: &str = "/var/lib/boottorrent/current/tftp/boot";

/// # Errors
/// When the agent is not built or the site can't be compiled.
pub fn measure() -> Result<Vec<Figure>, LabError> {
    let agent = programs::agent();
    let bytes = agent.metadata().map_err(LabError::io("read", &agent))?.len();
    let packed = run(&["sh", "-c", "zstd -19 -q -c \"$0\" | wc -c", &agent.to_string_lossy()])?;
    let mut figures = vec![
        Figure::new("agent, static binary", super::megabytes(bytes), "at most 2.5 MB"),
        Figure::new(
            "agent, compressed (zstd -19)",
            super::megabytes(packed.trim().parse().unwrap_or(0)),
            "at most 1.2 MB",
        ),
    ];
    let room = Room::new()?;
    println!("{}", room.compile(&Site::with(&[Os::small("small", "")]))?);
    let mut total = 0;
    for file in ["vmlinuz", "initramfs"] {
        let bytes = room.master.run(&format!("stat -c %s {STORE}/{file}"))?.trim().parse().unwrap_or(0);
        total += bytes;
        figures.push(Figure::new(format!("bootstrap, {file}"), super::megabytes(bytes), ""));
    }
    figures.push(Figure::new("bootstrap, whole", super::megabytes(total), "at most 14 MB"));
    for (part, bytes) in parts(&room)? {
        figures.push(Figure::new(format!("initramfs unpacked, {part}"), super::megabytes(bytes), ""));
    }
    println!("{}", room.master.run(&format!("boottorrent-gen check {SITE} 2>&1"))?);
    Ok(figures)
}

/// The initramfs taken apart by zstd and cpio: bytes of the agent, of the modules and of the rest.
fn parts(room: &Room) -> Result<Vec<(&'static str, u64)>, LabError> {
    let listing = room.master.run(&format!("zstd -dcq {STORE}/initramfs | cpio -itv --quiet"))?;
    let mut parts = [("agent", 0), ("modules", 0), ("rest", 0)];
    for line in listing.lines() {
        let mut words = line.split_whitespace();
        let bytes: u64 = words.nth(4).and_then(|word| word.parse().ok()).unwrap_or(0);
        let name = words.last().unwrap_or_default();
        let part = if name == "init" {
            0
        } else if name.starts_with("modules/") {
            1
        } else {
            2
        };
        parts[part].1 += bytes;
    }
    Ok(parts.into())
}
