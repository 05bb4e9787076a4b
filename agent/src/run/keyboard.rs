//! The node's keyboards while a program reads them itself, as SDL does (evdev): its keys are then no input of the
//! terminal as well, and whoever sits there can still end it.
//!
//! Decides whether a program does that. Never keeps a key from it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{self, File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::unistd::Pid;

use super::lent::ESCAPE;

/// How often the program's descriptors are looked at.
const LOOK: Duration = Duration::from_millis(500);
/// Bytes of `struct input_event` on 64-bit Linux: two of time, then type, code and value.
const EVENT_BYTES: usize = 24;
/// Events that the kernel keeps for a reader at least.
const EVENTS: usize = 64;
const EV_KEY: u16 = 1;
/// The place that has `]` on an American keyboard, as the kernel's own keymap has it on all.
const KEY_RIGHTBRACE: u16 = 27;
const KEYS_CTRL: [u16; 2] = [29, 97];
const PRESSED: i32 = 1;

#[derive(Default)]
pub(super) struct Keyboards {
    next_look: Duration,
    /// The keys are the program's.
    theirs: bool,
    /// By name (`event3`); None for a device that is no keyboard.
    devices: BTreeMap<String, Option<File>>,
    control: bool,
}

impl Keyboards {
    /// Whether the keys are the program's, when that has changed.
    pub(super) fn look(&mut self, members: impl FnOnce() -> Vec<Pid>, now: Duration) -> Option<bool> {
        if now < self.next_look {
            return None;
        }
        self.next_look = now + LOOK;
        let reads = |pid: Pid| reads_keyboard(&Path::new("/proc").join(pid.to_string()), is_keyboard_device);
        let theirs = members().into_iter().any(reads);
        if theirs {
            self.scan()
        } else {
            self.devices.clear();
            self.control = false;
        }
        let before = std::mem::replace(&mut self.theirs, theirs);
        (before != theirs).then_some(theirs)
    }

    /// As many escapes as were typed since the last call.
    pub(super) fn escapes(&mut self) -> Vec<u8> {
        let mut escapes = Vec::new();
        let mut lost = Vec::new();
        for (name, slot) in &mut self.devices {
            let Some(device) = slot else { continue };
            let mut buffer = [0; EVENT_BYTES * EVENTS];
            match device.read(&mut buffer) {
                Ok(length) if length > 0 => {
                    let (events, _) = buffer.get(..length).unwrap_or_default().as_chunks::<EVENT_BYTES>();
                    escapes.extend(
                        events.iter().filter(|event| is_escape(event, &mut self.control)).map(|_| ESCAPE),
                    );
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                _ => lost.push(name.clone()), // unplugged
            }
        }
        // Another one may have its name at the next look.
        for name in lost {
            self.devices.remove(&name);
            self.control = false;
        }
        escapes
    }

    fn scan(&mut self) {
        let entries = fs::read_dir("/sys/class/input").into_iter().flatten().flatten();
        let names: Vec<String> = entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| name.starts_with("event"))
            .collect();
        // The number of what was unplugged goes to the next device.
        self.devices.retain(|name, _| names.contains(name));
        for name in names {
            if let Entry::Vacant(place) = self.devices.entry(name) {
                let name = place.key();
                // A mouse would fill a buffer that nobody empties for 100 ms.
                let device = is_keyboard_device(name).then(|| open(name)).flatten();
                place.insert(device);
            }
        }
    }
}

fn open(name: &str) -> Option<File> {
    let flags = OFlag::O_NONBLOCK.bits();
    OpenOptions::new().read(true).custom_flags(flags).open(format!("/dev/input/{name}")).ok()
}

fn is_keyboard_device(name: &str) -> bool {
    let keys = fs::read_to_string(format!("/sys/class/input/{name}/device/capabilities/key"));
    keys.is_ok_and(|keys| is_keyboard(&keys))
}

/// Whether a process has a keyboard open, under whatever root; who reads the power button or a mouse has not.
fn reads_keyboard(process: &Path, is_keyboard: impl Fn(&str) -> bool) -> bool {
    let descriptors = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    let mut targets = descriptors.filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
    targets.any(|target| {
        let target = target.to_string_lossy();
        target
            .rsplit_once("/dev/input/")
            .is_some_and(|(_, name)| name.starts_with("event") && is_keyboard(name))
    })
}

/// The kernel's bitmap of keys: words of 64 bits in hex, the highest first.
fn is_keyboard(keys: &str) -> bool {
    let lowest = keys.split_whitespace().next_back();
    lowest
        .and_then(|word| u64::from_str_radix(word, 16).ok())
        .is_some_and(|word| word >> KEY_RIGHTBRACE & 1 == 1)
}

fn is_escape(event: &[u8; EVENT_BYTES], control: &mut bool) -> bool {
    let [.., t0, t1, c0, c1, v0, v1, v2, v3] = *event;
    let (kind, code) = (u16::from_ne_bytes([t0, t1]), u16::from_ne_bytes([c0, c1]));
    let value = i32::from_ne_bytes([v0, v1, v2, v3]);
    if kind == EV_KEY && KEYS_CTRL.contains(&code) {
        *control = value >= PRESSED; // 2: it is held down
    }
    kind == EV_KEY && code == KEY_RIGHTBRACE && value == PRESSED && *control
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_the_bracket_are_the_way_out() {
        let mut control = false;
        let mut typed = |kind: u16, code: u16, value: i32| {
            let mut bytes = [0; EVENT_BYTES];
            bytes[16..18].copy_from_slice(&kind.to_ne_bytes());
            bytes[18..20].copy_from_slice(&code.to_ne_bytes());
            bytes[20..].copy_from_slice(&value.to_ne_bytes());
            is_escape(&bytes, &mut control)
        };
        assert!(!typed(EV_KEY, KEY_RIGHTBRACE, 1), "without Ctrl");
        assert!(!typed(EV_KEY, KEYS_CTRL[1], 1) && !typed(0, 0, 0));
        assert!(typed(EV_KEY, KEY_RIGHTBRACE, 1));
        assert!(!typed(EV_KEY, KEY_RIGHTBRACE, 2) && !typed(EV_KEY, KEY_RIGHTBRACE, 0), "held down, let go");
        assert!(!typed(EV_KEY, KEYS_CTRL[1], 2) && typed(EV_KEY, KEY_RIGHTBRACE, 1), "Ctrl repeats itself");
        assert!(!typed(EV_KEY, KEYS_CTRL[1], 0) && !typed(EV_KEY, KEY_RIGHTBRACE, 1));
    }

    #[test]
    fn a_keyboard_has_the_bracket_and_a_mouse_has_not() {
        assert!(is_keyboard("402000000 3803078f800d001 feffffdfffefffff fffffffffffffffe\n"));
        assert!(!is_keyboard("70000 0 0 0 0\n"));
        assert!(!is_keyboard("") && !is_keyboard("no hex"));
    }

    #[test]
    fn who_has_a_keyboard_open_reads_it() {
        let process = tempfile::tempdir().unwrap();
        let descriptors = process.path().join("fd");
        fs::create_dir(&descriptors).unwrap();
        std::os::unix::fs::symlink("/dev/pts/0", descriptors.join("0")).unwrap();
        let reads = |path: &Path| reads_keyboard(path, |name| name == "event4");
        assert!(!reads(process.path()));
        std::os::unix::fs::symlink("/dev/input/event3", descriptors.join("3")).unwrap();
        assert!(!reads(process.path()), "a power button");
        std::os::unix::fs::symlink("/program/root/dev/input/event4", descriptors.join("7")).unwrap();
        assert!(reads(process.path()));
        assert!(!reads(Path::new("/proc/none")));
    }
}
