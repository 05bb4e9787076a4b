//! What a bundle consists of besides the libraries that its programs name themselves, and why.
//!
//! The one list to edit. Paths are Debian's, later ones those of other releases; the first that exists is taken.

use super::{Display, Wanted};

/// A program, a module that is loaded by name, a file or a folder.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) places: &'static [&'static str],
    /// What it is good for, for whoever lacks it.
    pub(crate) purpose: &'static str,
    /// The package that brings it.
    pub(crate) package: &'static str,
    /// It is taken where it exists, and not missed elsewhere.
    pub(crate) optional: bool,
}

const fn part(places: &'static [&'static str], purpose: &'static str, package: &'static str) -> Part {
    Part { places, purpose, package, optional: false }
}

/// What not every release has, or few guests want.
const fn maybe(places: &'static [&'static str]) -> Part {
    Part { places, purpose: "", package: "", optional: true }
}

/// Where the kernel's file systems, sockets and temporary files go.
pub(crate) const FOLDERS: &[&str] = &["dev", "etc", "proc", "root", "run", "sys", "tmp", "var", "var/tmp"];

/// Every guest's.
const MACHINE: &[Part] = &[
    part(&["/usr/bin/qemu-system-x86_64"], "the machine", "qemu-system-x86"),
    // Loaded by name when the accelerator is tcg, and missed in the middle of the start. Newer builds have it inside.
    maybe(&["/usr/lib/x86_64-linux-gnu/qemu/accel-tcg-x86_64.so"]),
    part(
        &["/usr/share/seabios/bios-256k.bin", "/usr/share/qemu/bios-256k.bin"],
        "the guest's BIOS",
        "seabios",
    ),
    part(
        &["/usr/share/seabios/vgabios-stdvga.bin", "/usr/share/qemu/vgabios-stdvga.bin"],
        "the guest's screen",
        "seabios",
    ),
    part(&["/usr/share/qemu/kvmvapic.bin"], "the guest's interrupts", "qemu-system-data"),
    // -kernel
    part(&["/usr/share/qemu/linuxboot_dma.bin"], "guests that are given a kernel", "qemu-system-data"),
    part(
        &["/usr/lib/ipxe/qemu/efi-e1000.rom", "/usr/share/qemu/efi-e1000.rom"],
        "the guest's network card, without which QEMU does not start",
        "ipxe-qemu",
    ),
    // -k, and what curses reads its keys by
    part(&["/usr/share/qemu/keymaps"], "the guest's keyboard", "qemu-system-data"),
    maybe(&["/usr/share/seabios/bios.bin", "/usr/share/qemu/bios.bin"]), // isapc
    maybe(&["/usr/share/seabios/vgabios-bochs-display.bin", "/usr/share/qemu/vgabios-bochs-display.bin"]),
    maybe(&["/usr/share/seabios/vgabios-cirrus.bin", "/usr/share/qemu/vgabios-cirrus.bin"]),
    maybe(&["/usr/share/seabios/vgabios-isavga.bin", "/usr/share/qemu/vgabios-isavga.bin"]),
    maybe(&["/usr/share/seabios/vgabios-virtio.bin", "/usr/share/qemu/vgabios-virtio.bin"]),
    maybe(&["/usr/share/seabios/vgabios-vmware.bin", "/usr/share/qemu/vgabios-vmware.bin"]),
    maybe(&["/usr/share/seabios/vgabios.bin", "/usr/share/qemu/vgabios.bin"]),
    maybe(&["/usr/share/qemu/linuxboot.bin"]),
    maybe(&["/usr/share/qemu/multiboot.bin"]),
    maybe(&["/usr/share/qemu/multiboot_dma.bin"]),
    maybe(&["/usr/share/qemu/pvh.bin"]),
    // The other cards of -nic model=
    maybe(&["/usr/lib/ipxe/qemu/efi-e1000e.rom", "/usr/share/qemu/efi-e1000e.rom"]),
    maybe(&["/usr/lib/ipxe/qemu/efi-eepro100.rom", "/usr/share/qemu/efi-eepro100.rom"]),
    maybe(&["/usr/lib/ipxe/qemu/efi-ne2k_pci.rom", "/usr/share/qemu/efi-ne2k_pci.rom"]),
    maybe(&["/usr/lib/ipxe/qemu/efi-pcnet.rom", "/usr/share/qemu/efi-pcnet.rom"]),
    maybe(&["/usr/lib/ipxe/qemu/efi-rtl8139.rom", "/usr/share/qemu/efi-rtl8139.rom"]),
    maybe(&["/usr/lib/ipxe/qemu/efi-virtio.rom", "/usr/share/qemu/efi-virtio.rom"]),
    maybe(&["/usr/lib/ipxe/qemu/efi-vmxnet3.rom", "/usr/share/qemu/efi-vmxnet3.rom"]),
    // virtio-vga and virtio-gpu, and a stick or a dongle of the node handed to the guest
    maybe(&["/usr/lib/x86_64-linux-gnu/qemu/hw-display-virtio-gpu.so"]),
    maybe(&["/usr/lib/x86_64-linux-gnu/qemu/hw-display-virtio-gpu-pci.so"]),
    maybe(&["/usr/lib/x86_64-linux-gnu/qemu/hw-display-virtio-vga.so"]),
    maybe(&["/usr/lib/x86_64-linux-gnu/qemu/hw-usb-host.so"]),
];

const UEFI: &[Part] = &[
    part(&["/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_CODE.fd"], "the guest's UEFI", "ovmf"),
    part(&["/usr/share/OVMF/OVMF_VARS_4M.fd", "/usr/share/OVMF/OVMF_VARS.fd"], "the guest's UEFI", "ovmf"),
];

const CURSES: &[Part] = &[
    part(&["/usr/lib/x86_64-linux-gnu/qemu/ui-curses.so"], "-display curses", "qemu-system-common"),
    part(
        &["/etc/terminfo/l/linux", "/lib/terminfo/l/linux", "/usr/share/terminfo/l/linux"],
        "the console",
        "ncurses-base",
    ),
    maybe(&["/lib/terminfo/v/vt100", "/usr/share/terminfo/v/vt100"]),
    maybe(&["/lib/terminfo/v/vt220", "/usr/share/terminfo/v/vt220"]),
    maybe(&["/lib/terminfo/x/xterm", "/usr/share/terminfo/x/xterm"]),
    // The guest's characters are IBM's; iconv(3) makes them UTF-8, which is what this locale says the console has.
    part(&["/usr/lib/x86_64-linux-gnu/gconv/IBM437.so"], "the guest's characters", "libc6"),
    part(&["/usr/lib/x86_64-linux-gnu/gconv/gconv-modules"], "the guest's characters", "libc6"),
    maybe(&["/usr/lib/x86_64-linux-gnu/gconv/gconv-modules.d"]),
    maybe(&["/usr/lib/locale/C.utf8", "/usr/lib/locale/C.UTF-8"]),
];

/// What SDL looks for by name, once it is asked for the kernel's display: EGL and OpenGL ES on a buffer of the display
/// driver, drawn by the processor, and libudev for keyboards and mice.
const SDL: &[Part] = &[
    part(&["/usr/lib/x86_64-linux-gnu/qemu/ui-sdl.so"], "-display sdl", "qemu-system-gui"),
    // ui-sdl names it in its own list of modules.
    maybe(&["/usr/lib/x86_64-linux-gnu/qemu/ui-opengl.so"]),
    part(&["/usr/lib/x86_64-linux-gnu/libEGL.so.1"], "-display sdl", "libegl1"),
    part(&["/usr/lib/x86_64-linux-gnu/libGLESv2.so.2"], "-display sdl", "libgles2"),
    part(&["/usr/lib/x86_64-linux-gnu/libEGL_mesa.so.0"], "-display sdl", "libegl-mesa0"),
    part(&["/usr/share/glvnd/egl_vendor.d/50_mesa.json"], "-display sdl", "libegl-mesa0"),
    part(&["/usr/lib/x86_64-linux-gnu/dri/kms_swrast_dri.so"], "-display sdl", "libgl1-mesa-dri"),
    part(&["/usr/lib/x86_64-linux-gnu/dri/swrast_dri.so"], "-display sdl", "libgl1-mesa-dri"),
    // Mesa 24 and later
    maybe(&["/usr/lib/x86_64-linux-gnu/gbm/dri_gbm.so"]),
    part(&["/usr/lib/x86_64-linux-gnu/libudev.so.1"], "keyboard and mouse", "libudev1"),
];

/// The parts in the order of the list.
pub(crate) fn wanted(wanted: Wanted) -> impl Iterator<Item = &'static Part> {
    let uefi = if wanted.uefi { UEFI } else { &[] };
    let curses = if wanted.display >= Display::Curses { CURSES } else { &[] };
    let sdl = if wanted.display == Display::Sdl { SDL } else { &[] };
    [MACHINE, uefi, curses, sdl].into_iter().flatten()
}
