//! A folder or a tar made into one squashfs, and a squashfs or a tar looked into.
//! Decides how: by mksquashfs(1), unsquashfs(1) and tar(1). The first is the format's own implementation, writes the
//! same bytes for the same files since 4.4, uses all cores, and keeps what a root consists of (hard links, devices, sparse
//! files); a library in its place would have to do all of that as well to spare one package.

use crate::error::Error;
use boottorrent_masterd::site::program::RootKind;
use boottorrent_masterd::store::Context;
use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// The package that has the first two programs.
pub(crate) const PACKAGE: &str = "squashfs-tools";
/// Nothing of the time or the place of packing: neither times nor attributes (labels of SELinux) of this machine. The
/// root's own mode is that of a root, whatever the umask of its maker was.
const SAME_BYTES: [&str; 10] = [
    "-noappend",
    "-no-progress",
    "-quiet",
    "-no-xattrs",
    "-root-mode",
    "0755",
    "-mkfs-time",
    "0",
    "-all-time",
    "0",
];
/// zstd unpacks several times faster than xz, and every kernel with squashfs that a distribution makes has it.
const COMPRESSOR: [&str; 2] = ["-comp", "zstd"];

/// Whether the programs are there.
pub(crate) fn is_installed() -> bool {
    let found =
        |program| Command::new(program).arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    found("mksquashfs").is_ok() && found("unsquashfs").is_ok()
}

/// Packs `source` as `to`, which is not there. A folder's files become root's; those of a tar keep their owners.
pub(crate) fn pack(source: &Path, kind: RootKind, to: &Path) -> Result<(), Error> {
    let mut command = Command::new("mksquashfs");
    match kind {
        RootKind::Folder | RootKind::Squashfs => command.arg(source).arg(to).arg("-all-root"),
        RootKind::Tar => {
            let tar = File::open(source).at(source, "be read")?;
            command.arg("-").arg(to).arg("-tar").stdin(tar)
        }
    };
    run(command.args(SAME_BYTES).args(COMPRESSOR)).map(drop).map_err(|why| failed(source, "be packed", why))
}

/// One line an entry, as `ls -ln` prints it; unsquashfs puts `squashfs-root` before every name.
pub(crate) fn list(archive: &Path, kind: RootKind) -> Result<String, Error> {
    let mut command = match kind {
        RootKind::Tar => tar("--list", archive, ["--verbose", "--numeric-owner"]),
        RootKind::Folder | RootKind::Squashfs => {
            let mut command = Command::new("unsquashfs");
            command.args(["-no-progress", "-lln"]).arg(archive);
            command
        }
    };
    let bytes = run(&mut command).map_err(|why| failed(archive, "be looked into", why))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The bytes of one file of an archive, by its name as it was listed.
pub(crate) fn read(archive: &Path, kind: RootKind, member: &str) -> Result<Vec<u8>, Error> {
    let mut command = match kind {
        RootKind::Tar => tar("--extract", archive, ["--to-stdout", "--no-wildcards"]),
        RootKind::Folder | RootKind::Squashfs => {
            let mut command = Command::new("unsquashfs");
            command.arg("-cat").arg(archive);
            command
        }
    };
    run(command.arg(member)).map_err(|why| failed(archive, "be looked into", why))
}

fn tar<const N: usize>(action: &str, archive: &Path, more: [&str; N]) -> Command {
    let mut command = Command::new("tar");
    command.arg(action).args(more).arg("--quoting-style=literal").arg("--file").arg(archive);
    command
}

/// A program's output, or what it complained about.
fn run(command: &mut Command) -> Result<Vec<u8>, io::Error> {
    // One spelling of the listings, whatever the maintainer's language.
    let output = command.env("LC_ALL", "C").output()?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
    let program = command.get_program().display();
    Err(io::Error::other(format!("{program}: {}: {said}", output.status)))
}

fn failed(path: &Path, doing: &'static str, why: io::Error) -> Error {
    let is_missing = why.kind() == io::ErrorKind::NotFound;
    let advice = if is_missing { format!("; install the package {PACKAGE}") } else { String::new() };
    Error::Told(format!("{}: cannot {doing}: {why}{advice}", path.display()))
}
