//! Which drivers a bootstrap image holds, and why.
//!
//! The one list to edit. A driver that the kernel at hand does not have is left out and named in the report.

/// Wired network cards of PCs and laptops, docks and adapters on USB, and of virtual machines.
pub(crate) const NETWORK_PC: &[&str] = &[
    "8139cp",
    "8139too",
    "alx",
    "aqc111",
    "asix",
    "atl1",
    "atl1c",
    "atl1e",
    "atlantic",
    "ax88179_178a",
    "cdc_ether",
    "cdc_ncm",
    "e1000",
    "e1000e",
    "forcedeth",
    "hv_netvsc",
    "igb",
    "igc",
    "jme",
    "lan78xx",
    "pcnet32",
    "r8152",
    "r8153_ecm",
    "r8169",
    "skge",
    "sky2",
    "smsc95xx",
    "tg3",
    "via_rhine",
    "via_velocity",
    "virtio_net",
    "vmxnet3",
    "xen_netfront",
];

/// Cards of servers. The largest part of the image: mlx5_core alone is a sixth of it.
pub(crate) const NETWORK_SERVER: &[&str] =
    &["bnx2", "bnx2x", "bnxt_en", "ena", "i40e", "ice", "ixgbe", "mlx4_en", "mlx5_core"];

/// Buses on which network cards and keyboards sit.
pub(crate) const BUSES: &[&str] =
    &["ehci_pci", "hv_vmbus", "ohci_pci", "uhci_hcd", "virtio_mmio", "virtio_pci", "xhci_pci"];

/// What a person at the node needs: keyboards (the `hid_` drivers of makers whose keyboards hid_generic leaves to
/// them, hid-quirks.c) and the power button, whose events arrive through evdev. UEFI's variables, for "boot from local
/// disk", are opened when a menu is shown.
pub(crate) const PERSON: &[&str] = &[
    "atkbd",
    "button",
    "efivarfs",
    "evdev",
    "hid_apple",
    "hid_cherry",
    "hid_chicony",
    "hid_generic",
    "hid_hyperv",
    "hid_lenovo",
    "hid_logitech",
    "hid_logitech_dj",
    "hid_microsoft",
    "hyperv_keyboard",
    "i8042",
    "usbhid",
];

/// What a disk image or a program's root needs, and entropy for a node that has no RDRAND.
pub(crate) const STORAGE: &[&str] = &["loop", "overlay", "squashfs", "virtio_rng"];

/// Loaded on every node: no modalias ever asks for them.
pub(crate) const ALWAYS: &[&str] = &["evdev", "loop", "overlay", "squashfs"];

/// What only some sites need: the image of all others stays within its budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// Virtual machines at the processor's own speed, and their network cards on the node's network.
    Guests,
    /// Graphics on the node's screen by the kernel's own display drivers (KMS), and a mouse.
    Graphics,
}

/// The processor's modalias asks for its KVM. Taps are nobody's hardware: macvtap's are the agent's, tun's a program's own.
pub(crate) const GUESTS: &[&str] = &["kvm_amd", "kvm_intel", "macvtap", "tun"];
const GUESTS_ALWAYS: &[&str] = &["macvtap", "tun"];

/// Displays that show a picture without a firmware file. amdgpu, radeon and most of nouveau refuse without theirs, and by
/// then they have taken the firmware's picture away: a site that has such cards names them in extra-modules and knows why.
pub(crate) const GRAPHICS: &[&str] = &[
    "ast",
    "bochs",
    "cirrus",
    "gma500_gfx",
    "hyperv_drm",
    "i915",
    "mgag200",
    "psmouse",
    "qxl",
    "simpledrm",
    "vboxvideo",
    "virtio_gpu",
    "vmwgfx",
];

/// What a driver wants beside it without saying so. The kernel asks user space for PHY drivers (`modprobe mdio:...`)
/// when the card is probed, and an image without modprobe can't answer: they have to be there before.
pub(crate) const COMPANIONS: &[(&str, &str)] = &[
    // tg3 refuses a BCM57780 or 5785 whose PHY nobody drives (tg3_phy_init)
    ("tg3", "broadcom"),
    ("asix", "ax88796b"),
    ("lan78xx", "microchip"),
    ("smsc95xx", "smsc"),
];

/// Each module once, in the order of the image: related drivers side by side compress a little better.
pub(crate) fn all(purposes: &[Purpose]) -> impl Iterator<Item = &'static str> {
    let group = |purpose, group| if purposes.contains(&purpose) { group } else { &[] as &[&str] };
    let (guests, graphics) = (group(Purpose::Guests, GUESTS), group(Purpose::Graphics, GRAPHICS));
    [BUSES, PERSON, STORAGE, NETWORK_PC, NETWORK_SERVER, guests, graphics].into_iter().flatten().copied()
}

/// Each module that is loaded whatever the hardware.
pub(crate) fn always(purposes: &[Purpose]) -> impl Iterator<Item = &'static str> {
    let guests = if purposes.contains(&Purpose::Guests) { GUESTS_ALWAYS } else { &[] };
    [ALWAYS, guests].into_iter().flatten().copied()
}

/// Whether a module is a network card's.
pub(crate) fn is_network(name: &str) -> bool {
    NETWORK_PC.contains(&name) || NETWORK_SERVER.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_is_listed_once_in_the_kernels_spelling() {
        let purposes = [Purpose::Guests, Purpose::Graphics];
        let mut seen = BTreeSet::new();
        for name in all(&purposes) {
            assert!(seen.insert(name), "{name} is listed twice");
            assert!(!name.contains('-'), "{name}: the kernel writes _");
        }
        for name in always(&purposes).chain(COMPANIONS.iter().map(|(driver, _)| *driver)) {
            assert!(seen.contains(name), "{name} is in no group");
        }
        assert!(
            all(&[]).all(|name| name != "kvm_intel")
                && all(&[Purpose::Guests]).any(|name| name == "kvm_intel")
        );
        for group in [NETWORK_PC, NETWORK_SERVER, BUSES, PERSON, STORAGE, GUESTS, GRAPHICS] {
            assert!(group.is_sorted(), "{group:?} is not sorted");
        }
    }
}
