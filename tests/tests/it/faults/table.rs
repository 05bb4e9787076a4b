//! The faults that the lab injects, by stage, each with the sentence that both ends show; `told` says how soon.
//! They are what users of netboot systems report: links and ports that come late, management controllers, foreign and
//! silent servers, missing firmware, leases that change, images that do not fit, do not start or never come.

use super::told::Fault;
use super::told::Told::{AfterSeconds, AsAFailure, AsANote, AtOnce};

macro_rules! faults {
    ($($name:ident: $stage:literal, $told:expr, $sentence:literal;)*) => {
        $(pub(crate) const $name: Fault = Fault { stage: $stage, told: $told, sentence: $sentence };)*
    };
}

faults! {
    // A driver that asks for a file that the image lacks, and what comes of it.
    FIRMWARE: "modules", AsANote, "asks for the firmware e100/d102e_ucode.bin, which the bootstrap image does not have";
    DEAD_CARD: "link", AsANote, "cannot bring it up";
    // The cable is out when the agent starts.
    NO_CARRIER: "link", AfterSeconds(20), "no carrier on eth0: is the cable plugged in?";
    // Of several cards, the one that the firmware booted from is out.
    BOOT_CARD: "link", AsANote, "from which the firmware booted, has no carrier; eth0, eth1 instead";
    // The port has a link and passes no frame.
    BLOCKED_PORT: "lease", AfterSeconds(20), "nor did anything else arrive: the switch may block its port";
    // A management controller's network.
    LINK_LOCAL: "lease", AfterSeconds(20), "offers 169.254.3.50, which no node can use";
    SILENT_DHCP: "lease", AfterSeconds(20), "eth0: no DHCP server answered; again";
    NOT_CONFIRMED: "lease", AfterSeconds(20), "the DHCP server 10.0.0.1 offers 10.0.0.13 but does not confirm it";
    // During a long session.
    TAKEN_BACK: "lease", AsANote, "10.0.0.1 has taken the address back: the address is none that this server gives out";
    CHANGED: "lease", AsANote, "changed: 10.0.0.50/24 on eth1 from 10.0.0.1";
    RAN_OUT: "lease", AsANote, "it has run out, and no DHCP server answers; 10.0.0.50 is used on while asking again";
    CONFIRMED: "lease", AsANote, "confirmed by a DHCP server again";
    // A DHCP server without a master behind it.
    FOREIGN_NETWORK: "catalog", AfterSeconds(20), "catalog from 10.0.0.1: no answer; another card's network is tried";
    SILENT_TFTP: "catalog", AfterSeconds(20), "catalog from 10.0.0.1: no answer; again";
    OTHERS_FILE: "catalog", AtOnce, "refused: nodes/52-54-00-b7-00-03 is for 52:54:00:b7:00:04";
    ALTERED_FILE: "catalog", AtOnce, "refused: the signature of the node's file is not by this site's key";
    ALTERED_CATALOG: "catalog", AtOnce, "refused: the signature of the catalog is not by this site's key";
    TOO_SMALL: "memory", AtOnce, "this node is too small: it has";
    ALTERED_LIST: "download", AtOnce, "refused: the piece list is not the one that the site signed";
    CABLE: "download", AsANote, "no carrier on eth0: is the cable plugged in? Waiting for it";
    STANDSTILL: "download", AsANote, "no new piece for 30 s: 0 peers, tracker 10.0.0.1:6969 does not answer; waiting on";
    SUPERSEDED: "download", AsAFailure, "late was replaced by generation 2";
    FALSE_PIECE: "download", AsANote, "is not the one that the site signed; its sender is dropped";
    NO_KERNEL: "load", AtOnce, "the image's kernel file is no kernel that this one can start";
    ENDS_AT_ONCE: "run", AsAFailure, "Program brief: it ended with status 3 after";
    DEAD_WORKER: "worker", AsAFailure, "the worker died (killed by signal SIGKILL";
}
