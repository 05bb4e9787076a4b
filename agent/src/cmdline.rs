//! The kernel's command line: what the boot script and the maintainer tell the agent.
//!
//! Decides which words are ours. Never fails: a word that cannot be read counts as absent and is named once.

use std::net::Ipv4Addr;

use boottorrent_swarm::Mac;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cmdline {
    /// `bt.master=`: written by the boot script.
    pub(crate) master: Option<Ipv4Addr>,
    /// `bt.os=`: the image to boot whatever the node's file and the menu say.
    pub(crate) os: Option<String>,
    /// `bt.debug=`: the terminal of the rescue console.
    pub(crate) debug: Option<String>,
    /// `BOOTIF=01-xx-xx-xx-xx-xx-xx`: the card that the firmware booted from (pxelinux's convention).
    pub(crate) boot_card: Option<Mac>,
    /// `console=`: names without options, in order.
    pub(crate) consoles: Vec<String>,
    /// Somebody wants the kernel's messages on the consoles: ours do not silence them.
    pub(crate) verbose_kernel: bool,
    /// Words that are ours but could not be read.
    pub(crate) unreadable: Vec<String>,
}

impl Cmdline {
    pub(crate) fn read() -> Self {
        Self::parse(&std::fs::read_to_string("/proc/cmdline").unwrap_or_default())
    }

    pub(crate) fn parse(line: &str) -> Self {
        let mut cmdline = Self::default();
        for word in line.split_ascii_whitespace() {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            let read = match key {
                "bt.master" => value.parse().map(|master| cmdline.master = Some(master)).is_ok(),
                "bt.os" => accept(value, &mut cmdline.os),
                "bt.debug" => accept(value.trim_start_matches("/dev/"), &mut cmdline.debug),
                "BOOTIF" => boot_card(value).map(|mac| cmdline.boot_card = Some(mac)).is_some(),
                "console" => {
                    let name = value.split(',').next().unwrap_or_default();
                    if is_terminal_name(name) && !cmdline.consoles.iter().any(|known| known == name) {
                        cmdline.consoles.push(name.to_owned());
                    }
                    true
                }
                "debug" | "ignore_loglevel" | "loglevel" => {
                    cmdline.verbose_kernel = true;
                    true
                }
                _ => !key.starts_with("bt."),
            };
            if !read {
                cmdline.unreadable.push(word.to_owned());
            }
        }
        cmdline
    }
}

fn accept(value: &str, to: &mut Option<String>) -> bool {
    let good = is_terminal_name(value);
    if good {
        *to = Some(value.to_owned());
    }
    good
}

/// The names of terminals and images alike: nothing that could climb out of a folder.
fn is_terminal_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// `01-52-54-00-00-00-01`: the hardware type (1 is Ethernet), then the address.
fn boot_card(value: &str) -> Option<Mac> {
    value.strip_prefix("01-").and_then(|mac| mac.to_ascii_lowercase().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_boot_script_writes() {
        let line = "vmlinuz initrd=initramfs bt.master=10.0.0.1 BOOTIF=01-52-54-00-AB-00-01 console=tty0 console=ttyS0,115200n8\n";
        let cmdline = Cmdline::parse(line);
        assert_eq!(cmdline.master, Some(Ipv4Addr::new(10, 0, 0, 1)));
        assert_eq!(cmdline.boot_card, Some(Mac([0x52, 0x54, 0, 0xab, 0, 1])));
        assert_eq!(cmdline.consoles, ["tty0", "ttyS0"]);
        assert!(cmdline.unreadable.is_empty() && !cmdline.verbose_kernel);
    }

    #[test]
    fn names_the_words_that_it_cannot_read() {
        let cmdline = Cmdline::parse("bt.master=ten bt.os=../x bt.colour=red BOOTIF=00-00 node.efi quiet");
        assert_eq!(cmdline.unreadable, ["bt.master=ten", "bt.os=../x", "bt.colour=red", "BOOTIF=00-00"]);
        assert_eq!(cmdline.os, None);
    }

    #[test]
    fn console_names_cannot_leave_dev() {
        let cmdline =
            Cmdline::parse("console=../etc/passwd console=ttyS1,9600 console=ttyS1 bt.debug=/dev/ttyS2");
        assert_eq!(cmdline.consoles, ["ttyS1"]);
        assert_eq!(cmdline.debug.as_deref(), Some("ttyS2"));
    }
}
