//! Power buttons: input devices that can send KEY_POWER.
//!
//! Decides which devices those are, by what the kernel says they can send. Never reads a keyboard without such a key.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{self, File, OpenOptions};
use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;

const EV_KEY: u16 = 1;
const KEY_POWER: u16 = 116;
const PRESSED: i32 = 1;
/// Bytes of `struct input_event` on 64-bit Linux: two of time, then type, code and value.
const EVENT_BYTES: usize = 24;

#[derive(Default)]
pub(super) struct PowerButtons {
    /// By name (`event3`); None for a device that is none.
    devices: BTreeMap<String, Option<File>>,
}

impl PowerButtons {
    /// Looks for devices that came since the last time.
    pub(super) fn scan(&mut self) {
        let Ok(entries) = fs::read_dir("/sys/class/input") else { return };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let names: Vec<String> = names.filter(|name| name.starts_with("event")).collect();
        // The number of what was unplugged goes to the next device.
        self.devices.retain(|name, _| names.contains(name));
        for name in names {
            if let Entry::Vacant(place) = self.devices.entry(name) {
                let name = place.key();
                let keys = fs::read_to_string(format!("/sys/class/input/{name}/device/capabilities/key"));
                let button = keys.is_ok_and(|keys| has_bit(&keys, KEY_POWER));
                let device = button.then(|| open(name)).flatten();
                place.insert(device);
            }
        }
    }

    pub(super) fn fds(&self) -> Vec<BorrowedFd<'_>> {
        self.devices.values().flatten().map(|device| device.as_fd()).collect()
    }

    /// Whether a power button went down since the last call.
    pub(super) fn pressed(&mut self) -> bool {
        let mut pressed = false;
        for slot in self.devices.values_mut() {
            let Some(device) = slot else { continue };
            let mut buffer = [0; EVENT_BYTES * 16];
            match device.read(&mut buffer) {
                Ok(0) => *slot = None,
                Ok(length) => {
                    let (events, _) = buffer.get(..length).unwrap_or_default().as_chunks::<EVENT_BYTES>();
                    pressed |= events.iter().any(is_power_press);
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => *slot = None, // unplugged
            }
        }
        pressed
    }
}

fn open(name: &str) -> Option<File> {
    let flags = nix::fcntl::OFlag::O_NONBLOCK.bits();
    OpenOptions::new().read(true).custom_flags(flags).open(format!("/dev/input/{name}")).ok()
}

fn is_power_press(event: &[u8; EVENT_BYTES]) -> bool {
    let [.., t0, t1, c0, c1, v0, v1, v2, v3] = *event;
    u16::from_ne_bytes([t0, t1]) == EV_KEY
        && u16::from_ne_bytes([c0, c1]) == KEY_POWER
        && i32::from_ne_bytes([v0, v1, v2, v3]) == PRESSED
}

/// The kernel's bitmaps: words of 64 bits in hex, the highest first.
fn has_bit(bitmap: &str, bit: u16) -> bool {
    let word = bitmap.split_whitespace().rev().nth(usize::from(bit / 64));
    word.and_then(|word| u64::from_str_radix(word, 16).ok()).is_some_and(|word| word >> (bit % 64) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_key_in_the_kernels_bitmap() {
        assert!(has_bit("10000000000000 0\n", KEY_POWER), "the ACPI power button");
        assert!(!has_bit("402000000 3803078f800d001 feffffdfffefffff fffffffffffffffe\n", 200));
        assert!(!has_bit("0\n", KEY_POWER));
        assert!(!has_bit("", KEY_POWER));
    }

    #[test]
    fn only_the_press_of_the_power_key_counts() {
        let event = |kind: u16, code: u16, value: i32| {
            let mut bytes = [0; EVENT_BYTES];
            bytes[16..18].copy_from_slice(&kind.to_ne_bytes());
            bytes[18..20].copy_from_slice(&code.to_ne_bytes());
            bytes[20..].copy_from_slice(&value.to_ne_bytes());
            bytes
        };
        assert!(is_power_press(&event(EV_KEY, KEY_POWER, 1)));
        assert!(!is_power_press(&event(EV_KEY, KEY_POWER, 0)), "its release");
        assert!(!is_power_press(&event(EV_KEY, 30, 1)), "another key");
        assert!(!is_power_press(&event(0, 0, 0)), "the event that ends each report");
    }
}
