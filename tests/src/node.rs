//! A node: QEMU with real firmware that boots from the lab's wire. Switched on when made, off when dropped.
//! It has no disk unless it is given a small one, and nothing from the host but its tap, its consoles and its keyboard.

use crate::clock::{Deadline, now, wait_for};
use crate::console::Console;
use crate::error::LabError;
use crate::lab::Lab;
use crate::network::Port;
use crate::picture::Picture;
use crate::process::{Launch, Process};
use crate::programs;
use crate::qmp;
use serde_json::json;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// QEMU opens its sockets before it runs the node.
const QEMU_STARTS: Duration = Duration::from_secs(10);
/// How often the screen is looked at: the node stands still while QEMU writes the picture down.
const GLANCE: Duration = Duration::from_secs(2);
/// Enough for firmware to take it for a disk.
const DISK_BYTES: u64 = 16 << 20;
const OVMF: &str = "/usr/share/OVMF";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firmware {
    /// SeaBIOS and the network card's ROM, which is iPXE.
    Bios,
    /// OVMF with its own network stack: the card has no ROM.
    Uefi,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nic {
    Virtio,
    E1000,
}

/// A further card, which no firmware boots from.
#[derive(Clone, Debug)]
pub struct Card {
    /// As QEMU calls it: `virtio-net-pci`, `i82551`.
    pub model: String,
    /// The wire that it is plugged into; `br0` is the lab's first.
    pub wire: String,
}

/// The graphics card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vga {
    Std,
    Virtio,
    None,
}

/// What stands on the node's type plate.
#[derive(Clone, Debug)]
pub struct NodeSpec {
    pub name: String,
    pub mac: String,
    pub firmware: Firmware,
    pub nic: Nic,
    pub vga: Vga,
    pub cpus: u32,
    pub memory_mb: u32,
    pub usb_keyboard: bool,
    /// A second serial line, `ttyS1`.
    pub second_serial: bool,
    /// A disk behind the network card in the boot order: how it begins; the rest is empty.
    pub disk: Option<Vec<u8>>,
    /// A node that resets itself starts again, as a real one does; otherwise that ends QEMU.
    pub may_reset: bool,
    /// In the slots before the card that it boots from.
    pub cards: Vec<Card>,
    /// What its clock says when it is switched on, as `1970-01-01T00:00:00`; none: the time.
    pub clock: Option<String>,
}

impl NodeSpec {
    /// The lab's n-th node: `n01` with MAC `52:54:00:b7:00:01`.
    #[must_use]
    pub fn new(number: u8) -> Self {
        Self {
            name: format!("n{number:02}"),
            mac: format!("52:54:00:b7:00:{number:02x}"),
            firmware: Firmware::Bios,
            nic: Nic::Virtio,
            vga: Vga::Std,
            cpus: 1,
            memory_mb: 768,
            usb_keyboard: false,
            second_serial: false,
            disk: None,
            may_reset: false,
            cards: Vec::new(),
            clock: None,
        }
    }

    #[must_use]
    pub fn uefi(mut self) -> Self {
        self.firmware = Firmware::Uefi;
        self
    }

    #[must_use]
    pub fn e1000(mut self) -> Self {
        self.nic = Nic::E1000;
        self
    }

    #[must_use]
    pub fn vga(mut self, vga: Vga) -> Self {
        self.vga = vga;
        self
    }

    #[must_use]
    pub fn cpus(mut self, cpus: u32) -> Self {
        self.cpus = cpus;
        self
    }

    #[must_use]
    pub fn memory_mb(mut self, memory_mb: u32) -> Self {
        self.memory_mb = memory_mb;
        self
    }

    #[must_use]
    pub fn usb_keyboard(mut self) -> Self {
        self.usb_keyboard = true;
        self
    }

    #[must_use]
    pub fn second_serial(mut self) -> Self {
        self.second_serial = true;
        self
    }

    #[must_use]
    pub fn disk(mut self, begins_with: Vec<u8>) -> Self {
        self.disk = Some(begins_with);
        self
    }

    #[must_use]
    pub fn may_reset(mut self) -> Self {
        self.may_reset = true;
        self
    }

    #[must_use]
    pub fn card(mut self, model: &str, wire: &str) -> Self {
        self.cards.push(Card { model: model.into(), wire: wire.into() });
        self
    }

    #[must_use]
    pub fn clock(mut self, says: &str) -> Self {
        self.clock = Some(says.into());
        self
    }

    fn argv(&self, lab: &Lab, ports: &[Port], qmp: &Path) -> Result<Vec<String>, LabError> {
        // Tests run anywhere, so software emulation is the default; BT_ACCEL=kvm where there is hardware for it.
        let accelerator = std::env::var("BT_ACCEL").unwrap_or_else(|_| "tcg,thread=multi".into());
        let mut argv: Vec<String> = Vec::new();
        let mut add = |words: &str| argv.extend(words.split(' ').map(str::to_owned));
        let vga = match self.vga {
            Vga::Std => "std",
            Vga::Virtio => "virtio",
            Vga::None => "none",
        };
        add(&format!("qemu-system-x86_64 -nodefaults -no-user-config -display none -vga {vga}"));
        add(&format!("-accel {accelerator} -smp {} -m {}", self.cpus, self.memory_mb));
        if accelerator.starts_with("tcg") {
            // Software emulation has AMD's virtualization as well: a guest in there takes minutes, and a node may stand still.
            add("-cpu qemu64,svm=off");
        }
        add("-device virtio-rng-pci");
        add("-chardev stdio,id=s0,signal=off -serial chardev:s0");
        if self.second_serial {
            let socket = lab.path(&format!("{}.ttyS1", self.name));
            add(&format!("-chardev socket,id=s1,path={},server=on,wait=off", socket.display()));
            add("-serial chardev:s1");
        }
        add(&format!("-qmp unix:{},server=on,wait=off", qmp.display()));
        for (number, port) in ports.iter().enumerate() {
            add(&format!("-netdev tap,id=n{number},ifname={},script=no,downscript=no", port.tap));
        }
        for (number, Card { model, .. }) in (1..).zip(&self.cards) {
            // The last digits but one tell them from other nodes' cards.
            let mac = self.mac.replace(":b7:00:", &format!(":b7:{number:02x}:"));
            add(&format!("-device {model},netdev=n{number},mac={mac},romfile="));
        }
        if let Some(clock) = &self.clock {
            add(&format!("-rtc base={clock}"));
        }
        let nic = if self.nic == Nic::Virtio { "virtio-net-pci" } else { "e1000" };
        let rom = if self.firmware == Firmware::Uefi { ",romfile=" } else { "" };
        add(&format!("-device {nic},netdev=n0,mac={},bootindex=0{rom}", self.mac));
        if let Some(begins_with) = &self.disk {
            let disk = lab.path(&format!("{}.disk", self.name));
            std::fs::write(&disk, begins_with).map_err(LabError::io("make", &disk))?;
            let file =
                std::fs::File::options().write(true).open(&disk).map_err(LabError::io("make", &disk))?;
            file.set_len(DISK_BYTES).map_err(LabError::io("make", &disk))?;
            add(&format!("-drive if=none,id=d0,format=raw,file={}", disk.display()));
            add("-device virtio-blk-pci,drive=d0,bootindex=1");
        }
        if !self.may_reset {
            add("-no-reboot");
        }
        // With a PS/2 keyboard beside it, QEMU would send the keys there.
        let keyboard = if self.usb_keyboard { ",i8042=off -device qemu-xhci -device usb-kbd" } else { "" };
        match self.firmware {
            Firmware::Bios => add(&format!("-machine pc{keyboard}")),
            Firmware::Uefi => {
                let variables = lab.path(&format!("{}.vars", self.name));
                let template = format!("{OVMF}/OVMF_VARS_4M.fd");
                std::fs::copy(&template, &variables).map_err(LabError::io("copy", template))?;
                add(&format!("-machine q35{keyboard}"));
                add(&format!("-drive if=pflash,unit=0,format=raw,readonly=on,file={OVMF}/OVMF_CODE_4M.fd"));
                add(&format!("-drive if=pflash,unit=1,format=raw,file={}", variables.display()));
                // Otherwise OVMF asks for an hour's worth of DHCPv6 first when IPv4 fails once.
                add("-fw_cfg name=opt/org.tianocore/IPv6PXESupport,string=n");
            }
        }
        Ok(argv)
    }
}

pub struct Node {
    pub spec: NodeSpec,
    pub console: Console,
    /// What its cards are plugged into, the one that it boots from first.
    pub ports: Vec<Port>,
    switched_on: Instant,
    process: Process,
    qmp: PathBuf,
    second_serial: PathBuf,
    picture: PathBuf,
}

impl Node {
    /// Puts the node on the switch and switches it on.
    ///
    /// # Errors
    /// What QEMU or the kernel refuse.
    pub fn switch_on(lab: &Lab, spec: NodeSpec) -> Result<Self, LabError> {
        let wires = ["br0"].into_iter().chain(spec.cards.iter().map(|card| card.wire.as_str()));
        let ports = wires.map(|wire| lab.network.tap(wire)).collect::<Result<Vec<_>, _>>()?;
        let qmp = lab.path(&format!("{}.qmp", spec.name));
        let argv = spec.argv(lab, &ports, &qmp)?;
        let log = lab.path(&format!("{}.qemu.log", spec.name));
        let switched_on = now();
        let mut process = Launch::new(&argv, log).netns(lab.network.switch()).piped().start()?;
        let Some((input, output)) = process.pipes() else {
            return Err(LabError::Machine("QEMU was started without pipes".into()));
        };
        let log = lab.path(&format!("{}.console", spec.name));
        let console = Console::new(&spec.name, input, output, switched_on, log)?;
        let second_serial = lab.path(&format!("{}.ttyS1", spec.name));
        let picture = lab.path(&format!("{}.png", spec.name));
        Ok(Self { spec, console, ports, switched_on, process, qmp, second_serial, picture })
    }

    #[must_use]
    pub fn switched_on(&self) -> Instant {
        self.switched_on
    }

    /// Its second serial line, to type on and to listen to.
    ///
    /// # Errors
    /// `Timeout` when the node has none.
    pub fn second_serial(&self) -> Result<Console, LabError> {
        let stream = wait_for("the node's second serial line", QEMU_STARTS, || {
            UnixStream::connect(&self.second_serial).map_err(|error| error.to_string())
        })?;
        let input = stream.try_clone().map_err(LabError::io("share", &self.second_serial))?;
        let log = self.second_serial.with_extension("ttyS1.log");
        Console::new(&format!("{} ttyS1", self.spec.name), input, stream, self.switched_on, log)
    }

    /// The screen as PNG.
    ///
    /// # Errors
    /// When QEMU is gone or can't write there.
    pub fn screenshot(&self, png: &Path) -> Result<(), LabError> {
        let arguments = json!({ "filename": png.to_string_lossy(), "format": "png" });
        qmp::command(&self.qmp, "screendump", &arguments).map(drop)
    }

    /// Keeps a picture of the screen for people to look at.
    ///
    /// # Errors
    /// As `screenshot`, or when the folder cannot be made.
    pub fn keep_picture(&self, name: &str) -> Result<(), LabError> {
        let folder = programs::cache().join("out");
        std::fs::create_dir_all(&folder).map_err(LabError::io("make", &folder))?;
        self.screenshot(&folder.join(format!("{name}.png")))
    }

    /// What the screen shows now.
    ///
    /// # Errors
    /// When QEMU is gone, or the node has no screen.
    pub fn look(&self) -> Result<Picture, LabError> {
        let file = self.picture.with_extension("ppm");
        let arguments = json!({ "filename": file.to_string_lossy(), "format": "ppm" });
        qmp::command(&self.qmp, "screendump", &arguments)?;
        let bytes = std::fs::read(&file).map_err(LabError::io("read", &file))?;
        Picture::parse(&bytes).ok_or_else(|| LabError::Machine(format!("{} is no picture", file.display())))
    }

    /// Waits until the screen shows something, and does `between` before each look.
    ///
    /// # Errors
    /// As `look`, and `Timeout` with what it showed last.
    pub fn expect_picture(
        &self,
        what: &str,
        limit: Duration,
        is_it: impl Fn(&Picture) -> bool,
        between: impl Fn(&Self) -> Result<(), LabError>,
    ) -> Result<Picture, LabError> {
        let (mut next, mut seen) = (Deadline::after(Duration::ZERO), String::new());
        wait_for(what, limit, || {
            if next.left().is_some() {
                return Err(seen.clone());
            }
            next = Deadline::after(GLANCE);
            let looked = between(self).and_then(|()| self.look());
            match looked {
                Ok(picture) if is_it(&picture) => return Ok(picture),
                Ok(picture) => seen = format!("{picture:?}"),
                Err(error) => seen = error.to_string(),
            }
            Err(seen.clone())
        })
    }

    /// Presses keys one after the other, by QEMU's names: `2`, `ret`, `ctrl-alt-delete`.
    ///
    /// # Errors
    /// When QEMU is gone or knows no such key.
    pub fn press(&self, keys: &[&str]) -> Result<(), LabError> {
        for chord in keys {
            let codes: Vec<_> = chord.split('-').map(|key| json!({ "type": "qcode", "data": key })).collect();
            qmp::command(&self.qmp, "send-key", &json!({ "keys": codes }))?;
        }
        Ok(())
    }

    /// Pulls a card's cable, or plugs it in; 0 is the card that the node boots from.
    ///
    /// # Errors
    /// When QEMU is gone or there is no such card.
    pub fn plug(&self, card: usize, up: bool) -> Result<(), LabError> {
        qmp::command(&self.qmp, "set_link", &json!({ "name": format!("n{card}"), "up": up })).map(drop)
    }

    /// Presses the power button.
    ///
    /// # Errors
    /// When QEMU is gone.
    pub fn press_power(&self) -> Result<(), LabError> {
        qmp::command(&self.qmp, "system_powerdown", &json!({})).map(drop)
    }

    /// Presses the reset button; a node that may not reset itself is off then.
    ///
    /// # Errors
    /// When QEMU is gone.
    pub fn reset(&self) -> Result<(), LabError> {
        qmp::command(&self.qmp, "system_reset", &json!({})).map(drop)
    }

    /// Cuts the power.
    pub fn cut_power(&mut self) {
        self.process.signal(nix::sys::signal::Signal::SIGKILL);
        self.process.stop();
        self.console.close();
    }

    /// Waits until the node has switched itself off.
    ///
    /// # Errors
    /// `Timeout`.
    pub fn expect_off(&mut self, limit: Duration) -> Result<(), LabError> {
        self.process.wait(limit).map(drop)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.screenshot(&self.picture);
        }
        self.cut_power();
    }
}
