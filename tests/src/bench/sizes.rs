//! How large is what every node has to load before our code runs: the agent, and the bootstrap by part.

use super::Figure;
use crate::error::LabError;
use crate::process::run;
use crate::programs;
use crate::room::Room;
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
    let report = room.compile(&Site::with(&[Os::small("small", "")]))?;
    let mut total = 0;
    for file in ["vmlinuz", "initramfs"] {
        let bytes = room.master.run(&format!("stat -c %s {STORE}/{file}"))?.trim().parse().unwrap_or(0);
        total += bytes;
        figures.push(Figure::new(format!("bootstrap, {file}"), super::megabytes(bytes), ""));
    }
    figures.push(Figure::new("bootstrap, whole", super::megabytes(total), "at most 14 MB"));
    figures.extend(report.lines().filter_map(part));
    Ok(figures)
}

/// A line of gen's own account: `bootstrap: modules     4.6 MB to fetch,   23.6 MB in memory`.
fn part(line: &str) -> Option<Figure> {
    let (name, sizes) = line.strip_prefix("bootstrap: ")?.split_once(' ')?;
    sizes.contains(" to fetch").then(|| Figure::new(format!("  of it, {name}"), sizes.trim(), ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_parts_are_taken_from_gens_words() {
        assert!(part("bootstrap: modules     4.6 MB to fetch,   23.6 MB in memory").is_some());
        for line in ["bootstrap: kernel 6.1.0-56-amd64, 106 modules", "small: 59.7 MB in 228 pieces"] {
            assert!(part(line).is_none(), "{line}");
        }
    }
}
