//! The kernel's command line: what the boot script and the maintainer tell the agent.
//!
//! Decides which words are ours. Never fails: a word that cannot be read counts as absent, and a sentence says so.

use std::net::Ipv4Addr;
use std::time::Duration;

use boottorrent_swarm::Mac;

/// The longest countdown and the longest patience, a day: more is a slip of the finger.
const MAX_SECONDS: u64 = 86_400;
const SECONDS: &str = "a number of seconds, at most 86400";
/// Our own words, for whoever misspells one.
const WORDS: [&str; 7] = ["bt.debug", "bt.master", "bt.os", "bt.panic", "bt.rescue", "bt.timeout", "BOOTIF"];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cmdline {
    /// `bt.master=`: written by the boot script; whoever writes another behind it has the last word.
    pub(crate) master: Option<Ipv4Addr>,
    /// `bt.os=`: the image to boot whatever the node's file and the menu say.
    pub(crate) os: Option<String>,
    /// `bt.timeout=`: how long the menu counts down, whatever the site says.
    pub(crate) timeout: Option<Duration>,
    /// `bt.panic=`: how long nothing but failures is borne before the machine reboots.
    pub(crate) panic: Option<Duration>,
    /// `bt.rescue`: a shell on each console before the network is touched.
    pub(crate) rescue: bool,
    /// `bt.debug`: the log has everything, the kernel's messages too.
    pub(crate) debug: bool,
    /// `bt.debug=`: the terminal on which process 1 takes commands.
    pub(crate) commands: Option<String>,
    /// `BOOTIF=01-xx-xx-xx-xx-xx-xx`: the card that the firmware booted from (pxelinux's convention).
    pub(crate) boot_card: Option<Mac>,
    /// `console=`: names without options, in order.
    pub(crate) consoles: Vec<String>,
    /// Somebody wants the kernel's messages on the consoles: ours do not silence them.
    pub(crate) verbose_kernel: bool,
    /// A sentence for each word that is ours but cannot be read.
    pub(crate) refused: Vec<String>,
}

impl Cmdline {
    pub(crate) fn read() -> Self {
        Self::parse(&std::fs::read_to_string("/proc/cmdline").unwrap_or_default())
    }

    pub(crate) fn parse(line: &str) -> Self {
        let mut cmdline = Self::default();
        for word in line.split_ascii_whitespace() {
            if let Err(wanted) = cmdline.take(word) {
                cmdline.refused.push(format!("kernel command line: {word}: {wanted}; going on without it"));
            }
        }
        cmdline
    }

    /// One word, or what it would have to be.
    fn take(&mut self, word: &str) -> Result<(), String> {
        let (key, value) = match word.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (word, None),
        };
        let given = value.unwrap_or_default();
        match key {
            "bt.master" => set(&mut self.master, given.parse().ok(), "the master's IPv4 address"),
            "bt.os" => set(&mut self.os, name(given), "the name of an operating system"),
            "bt.timeout" => set(&mut self.timeout, seconds(given), SECONDS),
            "bt.panic" => set(&mut self.panic, seconds(given).filter(|panic| !panic.is_zero()), SECONDS),
            "bt.rescue" => flag(&mut self.rescue, value),
            "bt.debug" => {
                self.debug = true;
                match value {
                    None => Ok(()),
                    Some(tty) => {
                        let tty = name(tty.trim_start_matches("/dev/"));
                        set(&mut self.commands, tty, "alone, or with a terminal such as ttyS1")
                    }
                }
            }
            "BOOTIF" => set(&mut self.boot_card, boot_card(given), "01- and a MAC address with hyphens"),
            "console" => {
                self.console(given);
                Ok(())
            }
            "debug" | "ignore_loglevel" | "loglevel" => {
                self.verbose_kernel = true;
                Ok(())
            }
            _ if key.starts_with("bt.") => Err(format!("no such word, only {}", WORDS.join(", "))),
            _ => Ok(()),
        }
    }

    fn console(&mut self, value: &str) {
        let name = value.split(',').next().unwrap_or_default();
        if is_name(name) && !self.consoles.iter().any(|known| known == name) {
            self.consoles.push(name.to_owned());
        }
    }
}

fn set<T>(to: &mut Option<T>, value: Option<T>, wanted: &str) -> Result<(), String> {
    match value {
        Some(value) => {
            *to = Some(value);
            Ok(())
        }
        None => Err(format!("it must be {wanted}")),
    }
}

fn flag(to: &mut bool, value: Option<&str>) -> Result<(), String> {
    if value.is_some() {
        return Err("it must stand alone".into());
    }
    *to = true;
    Ok(())
}

fn seconds(text: &str) -> Option<Duration> {
    // What parse() takes beside digits is a sign.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = text.parse().ok().filter(|seconds| digits && *seconds <= MAX_SECONDS);
    seconds.map(Duration::from_secs)
}

fn name(text: &str) -> Option<String> {
    is_name(text).then(|| text.to_owned())
}

/// The names of terminals and images alike: nothing that could climb out of a folder.
fn is_name(name: &str) -> bool {
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
        assert!(cmdline.refused.is_empty() && !cmdline.verbose_kernel && !cmdline.debug && !cmdline.rescue);
    }

    #[test]
    fn reads_what_a_maintainer_writes_behind_it() {
        let line = "bt.master=10.0.0.1 bt.master=10.0.0.2 bt.os=debian-12 bt.timeout=0 bt.panic=90 bt.rescue bt.debug";
        let cmdline = Cmdline::parse(line);
        let expected = Cmdline {
            master: Some(Ipv4Addr::new(10, 0, 0, 2)),
            os: Some("debian-12".into()),
            timeout: Some(Duration::ZERO),
            panic: Some(Duration::from_secs(90)),
            rescue: true,
            debug: true,
            ..Cmdline::default()
        };
        assert_eq!(cmdline, expected);
    }

    #[test]
    fn each_word_that_it_cannot_read_is_a_sentence() {
        let words = [
            ("bt.master=ten", "it must be the master's IPv4 address"),
            ("bt.os=../x", "it must be the name of an operating system"),
            ("bt.timeout=-1", "it must be a number of seconds"),
            ("bt.timeout=+1", "it must be a number of seconds"),
            ("bt.timeout=86401", "it must be a number of seconds, at most 86400"),
            ("bt.panic=0", "it must be a number of seconds"),
            ("bt.panic", "it must be a number of seconds"),
            ("bt.rescue=yes", "it must stand alone"),
            ("bt.debug=", "it must be alone, or with a terminal"),
            ("bt.colour=red", "no such word, only bt.debug, bt.master"),
            ("BOOTIF=00-00", "it must be 01- and a MAC"),
        ];
        for (word, wanted) in words {
            let cmdline = Cmdline::parse(&format!("bt.master=10.0.0.1 node.efi quiet {word}"));
            let [told] = &cmdline.refused[..] else { panic!("{word}: {:?}", cmdline.refused) };
            assert!(told.starts_with(&format!("kernel command line: {word}: {wanted}")), "{told}");
            assert!(told.ends_with("; going on without it"), "{told}");
            let without = Cmdline { refused: Vec::new(), debug: false, ..cmdline };
            assert_eq!(without, Cmdline::parse("bt.master=10.0.0.1"), "{word}");
        }
    }

    #[test]
    fn console_names_cannot_leave_dev() {
        let cmdline =
            Cmdline::parse("console=../etc/passwd console=ttyS1,9600 console=ttyS1 bt.debug=/dev/ttyS2");
        assert_eq!(cmdline.consoles, ["ttyS1"]);
        assert_eq!(cmdline.commands.as_deref(), Some("ttyS2"));
    }
}
