//! The iPXE script that every node runs: kernel and initramfs by relative name, then the kernel's command line.
//!
//! Decides what a person sees before the kernel speaks, and what happens when a file can't be had: it tries again.

use std::net::Ipv4Addr;

use crate::Error;

/// Between two tries: long enough to read the line, short enough for a master that is being switched on.
const RETRY_SECONDS: u32 = 5;
/// The kernel takes 2048 bytes (COMMAND_LINE_SIZE on x86), the boot script adds its own words.
const MAX_CMDLINE: usize = 1536;

/// The whole script.
pub(crate) fn emit(master: Ipv4Addr, cmdline: &str) -> Result<String, Error> {
    check_cmdline(cmdline)?;
    let words = cmdline.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    let words = if words.is_empty() { words } else { format!(" {words}") };
    // Names without a path are relative to the script's own URL: the same script serves TFTP and HTTP.
    // initrd=: under UEFI the kernel's own stub asks iPXE for the file by this name.
    // BOOTIF: the card that firmware booted from, in PXELINUX's form (01 is Ethernet's hardware type).
    // imgfree: a half-loaded image of the last try would be taken for part of this one.
    // Lines fit 80 columns, what a BIOS screen has.
    // ||: Ctrl-C or a key ends a wait with an error, which must not end the script.
    let retry_ms = RETRY_SECONDS * 1000;
    Ok(format!(
        "#!ipxe\n\
         :try\n\
         echo BootTorrent: loading from {master} by ${{netX/mac}} as ${{netX/ip}}\n\
         imgfree ||\n\
         kernel vmlinuz initrd=initramfs bt.master={master} BOOTIF=01-${{netX/mac:hexhyp}}{words} || goto failed\n\
         initrd initramfs || goto failed\n\
         boot || goto failed\n\
         :failed\n\
         echo BootTorrent: {master} did not send it; is boottorrent.target up there?\n\
         prompt --key s --timeout {retry_ms} BootTorrent: trying again in {RETRY_SECONDS} seconds, s opens a shell && shell ||\n\
         goto try\n"
    ))
}

/// Refuses what iPXE would take for its own and what the kernel would cut off.
///
/// # Errors
/// Says what is wrong with the words. [`build`](crate::build) asks this first; a check of the site can ask it alone.
pub fn check_cmdline(cmdline: &str) -> Result<(), Error> {
    let bad = |why: String| Err(Error::BadCmdline { why });
    if cmdline.len() > MAX_CMDLINE {
        return bad(format!(
            "{} bytes; the kernel takes {MAX_CMDLINE} beside our own: shorten it",
            cmdline.len()
        ));
    }
    if let Some(c) = cmdline.chars().find(|c| !(' '..='~').contains(c)) {
        return bad(format!("holds {c:?}: use printable ASCII on one line"));
    }
    if cmdline.contains("${") {
        return bad("holds ${, which iPXE would replace: leave it out".to_owned());
    }
    let taken = |word: &&str| matches!(*word, "&&" | "||") || word.starts_with('#');
    if let Some(word) = cmdline.split_ascii_whitespace().find(taken) {
        return bad(format!("the word {word} means something to iPXE: leave it out"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASTER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    #[test]
    fn the_kernel_line() {
        let script = emit(MASTER, "console=tty0  console=ttyS0,115200").unwrap();
        assert!(script.starts_with("#!ipxe\n"), "iPXE knows a script by its first line");
        assert!(script.contains(
            "\nkernel vmlinuz initrd=initramfs bt.master=10.0.0.1 BOOTIF=01-${netX/mac:hexhyp} console=tty0 \
             console=ttyS0,115200 || goto failed\n"
        ));
        assert!(emit(MASTER, "").unwrap().contains("hexhyp} || goto failed\n"));
    }

    #[test]
    fn every_jump_has_its_label() {
        let script = emit(MASTER, "quiet").unwrap();
        let targets = script.lines().filter_map(|line| line.rsplit_once("goto ")).map(|(_, label)| label);
        for label in targets {
            assert!(script.lines().any(|line| line == format!(":{label}")), "{label}");
        }
        assert!(script.ends_with("goto try\n"), "the script never ends by itself");
    }

    #[test]
    fn what_ipxe_or_the_kernel_would_not_carry_is_refused() {
        for bad in ["a\nb", "a && b", "a || b", "a # b", "a=${net0/mac}", "ü", "a\tb"] {
            assert!(matches!(emit(MASTER, bad), Err(Error::BadCmdline { .. })), "{bad}");
        }
        assert!(emit(MASTER, &"x".repeat(MAX_CMDLINE)).is_ok());
        assert!(emit(MASTER, &"x".repeat(MAX_CMDLINE + 1)).is_err());
        assert!(emit(MASTER, "a=b#c dyndbg=\"file x +p\" a&&b").is_ok());
    }
}
