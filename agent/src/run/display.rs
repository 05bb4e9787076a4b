//! Whether a program that draws on the node's screen by itself (SDL on KMS) finds one, and if not, why not.
//! Decides from what the kernel shows; never loads a module.

use super::Start;
use std::fs;
use std::path::Path;

/// First byte of the PCI class of graphics cards.
const GRAPHICS: &str = "0x03";

/// The sentence for a program that asks for the screen (QEMU's `-display sdl`) on a node without one.
pub(crate) fn lack(start: &Start) -> Option<String> {
    if asks(&start.arguments) { lack_below(Path::new("/sys")) } else { None }
}

fn asks(arguments: &[String]) -> bool {
    let pairs = arguments.iter().zip(arguments.iter().skip(1));
    let mut displays = pairs.filter(|(option, _)| matches!(option.as_str(), "-display" | "--display"));
    displays.any(|(_, display)| display.split(',').next() == Some("sdl"))
}

fn lack_below(sys: &Path) -> Option<String> {
    let names = |folder: &str| {
        let entries = fs::read_dir(sys.join(folder)).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect::<Vec<String>>()
    };
    let read = |path: String| fs::read_to_string(sys.join(path)).unwrap_or_default().trim().to_owned();
    let drm = names("class/drm");
    // `card0` is a card, `card0-VGA-1` a socket of it; `renderD128` shows nothing.
    let sockets: Vec<&String> = drm.iter().filter(|name| name.contains('-')).collect();
    let why = if drm.iter().any(|name| name.starts_with("card")) {
        let is_empty = |socket: &&String| read(format!("class/drm/{socket}/status")) == "disconnected";
        if sockets.is_empty() || !sockets.iter().all(is_empty) {
            return None;
        }
        "no screen is connected to its graphics card".to_owned()
    } else {
        let cards = names("bus/pci/devices");
        let mut cards =
            cards.iter().filter(|card| read(format!("bus/pci/devices/{card}/class")).starts_with(GRAPHICS));
        match cards.next() {
            None => "it has no graphics card".to_owned(),
            Some(card) => {
                let id = |what: &str| {
                    read(format!("bus/pci/devices/{card}/{what}")).trim_start_matches("0x").to_owned()
                };
                format!(
                    "the bootstrap image has no driver for its graphics card (PCI {}:{}): name the module in [bootstrap] extra-modules",
                    id("vendor"),
                    id("device")
                )
            }
        }
    };
    Some(format!(
        "no display for the program on this node: {why}; guests in text are shown by -display curses"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_draws_by_itself_asks() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert!(asks(&words("-m 64 -display sdl,gl=off -vga std")) && asks(&words("--display sdl")));
        assert!(!asks(&words("-display curses")) && !asks(&words("-name sdl -display")) && !asks(&[]));
    }

    #[test]
    fn each_lack_has_its_reason() {
        let sys = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = sys.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let told = || lack_below(sys.path()).unwrap_or_default();
        put("bus/pci/devices/0000:00:03.0/class", "0x020000\n");
        assert!(told().contains("it has no graphics card"), "{}", told());
        put("bus/pci/devices/0000:00:02.0/class", "0x030000\n");
        put("bus/pci/devices/0000:00:02.0/vendor", "0x10de\n");
        put("bus/pci/devices/0000:00:02.0/device", "0x1c82\n");
        assert!(told().contains("no driver for its graphics card (PCI 10de:1c82)"), "{}", told());
        put("class/drm/card0/dev", "226:0\n");
        put("class/drm/card0-VGA-1/status", "disconnected\n");
        assert!(told().contains("no screen is connected"), "{}", told());
        put("class/drm/card0-DP-1/status", "unknown\n");
        assert_eq!(told(), "", "some screens do not say that they are there");
    }
}
