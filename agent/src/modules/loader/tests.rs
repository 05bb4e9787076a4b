//! The loader against a made-up /sys and a kernel that only takes notes.

use super::*;
use std::cell::RefCell;

thread_local! {
    /// Files that were inserted, and the /sys that a bus driver fills.
    static KERNEL: RefCell<(Vec<String>, PathBuf)> = RefCell::default();
}

const INDEX: &str = "\
module virtio_ring virtio_ring.ko
module virtio virtio.ko virtio_ring
module virtio_pci virtio_pci.ko virtio_ring virtio
module virtio_net virtio_net.ko virtio_ring virtio
module crc32c_intel crc32c_intel.ko
module nic nic.ko ?crc32c_intel virtio_ring
module broken broken.ko
module above above.ko broken
module loop loop.ko
alias pci:v00001AF4d* virtio_pci
alias virtio:d00000001v* virtio_net
alias pci:v00008086d* nic
alias pci:v0000DEADd* above
alias pci:v0000BEEFd* ghost
alias cpu:type:x86,ven0000fam*mod*:feature:*0085* nic
load loop
";

fn pretend(path: &Path) -> Result<(), Errno> {
    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
    KERNEL.with_borrow_mut(|(inserted, sys)| {
        match name.as_str() {
            "broken.ko" => return Err(Errno::ENOEXEC),
            "crc32c_intel.ko" => return Err(Errno::ENODEV),
            "virtio_ring.ko" if inserted.contains(&name) => return Err(Errno::EEXIST),
            // The bus driver: its devices show up as soon as it is there.
            "virtio_pci.ko" => device(sys, "virtio", "virtio0", "virtio:d00000001v00001AF4\n"),
            _ => {}
        }
        inserted.push(name);
        Ok(())
    })
}

fn device(sys: &Path, bus: &str, name: &str, modalias: &str) {
    let folder = sys.join("bus").join(bus).join("devices").join(name);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("modalias"), modalias).unwrap();
}

struct Node {
    loader: Loader,
    sys: PathBuf,
    said: Vec<String>,
}

impl Node {
    fn new(name: &str) -> Node {
        let sys = std::env::temp_dir().join(format!("boottorrent-modules-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&sys);
        fs::create_dir_all(&sys).unwrap();
        KERNEL.with_borrow_mut(|kernel| *kernel = (Vec::new(), sys.clone()));
        let loader = Loader {
            folder: "/modules".into(),
            index: Index::parse(INDEX).unwrap(),
            insert: pretend,
            current: Current::default(),
            seen: HashSet::new(),
            present: HashSet::new(),
            failed: HashSet::new(),
        };
        Node { loader, sys, said: Vec::new() }
    }

    fn plug(&mut self) -> Summary {
        let said = &mut self.said;
        self.loader.cold_plug(&self.sys, &mut |sentence| said.push(sentence.to_owned()))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.sys);
    }
}

#[test]
fn follows_devices_that_a_bus_driver_brings_forth() {
    let mut node = Node::new("bus");
    device(&node.sys, "pci", "0000:00:03.0", "pci:v00001AF4d00001000sv1sd1bc02sc00i00\n");
    let summary = node.plug();
    assert_eq!(summary.loaded, ["virtio_ring", "virtio", "virtio_pci", "virtio_net", "loop"]);
    assert_eq!((summary.devices, summary.failed.len()), (2, 0));
    assert_eq!(*node.loader.current.lock().unwrap(), "loop", "the last one that was tried");
    assert_eq!(summary.to_string(), "5 modules loaded for 2 kinds of device");
    assert!(node.said.is_empty());
    // Nothing is tried twice.
    assert_eq!(node.plug().loaded, Vec::<String>::new());
}

#[test]
fn the_processor_is_asked_as_well() {
    let mut node = Node::new("cpu");
    let folder = node.sys.join("devices/system/cpu");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("modalias"), "cpu:type:x86,ven0000fam0006mod008E:feature:,0000,0085,00E1\n")
        .unwrap();
    assert_eq!(node.plug().loaded, ["virtio_ring", "nic", "loop"]);
}

#[test]
fn a_soft_dependency_may_refuse() {
    let mut node = Node::new("soft");
    device(&node.sys, "pci", "0000:00:03.0", "pci:v00008086d00001000\n");
    let summary = node.plug();
    assert_eq!(summary.loaded, ["virtio_ring", "nic", "loop"]);
    assert!(summary.failed.is_empty() && node.said.is_empty());
}

#[test]
fn failures_are_told_by_name_and_stop_nothing_else() {
    let mut node = Node::new("fail");
    device(&node.sys, "pci", "0000:00:03.0", "pci:v0000DEADd00000001\n");
    device(&node.sys, "pci", "0000:00:04.0", "pci:v0000BEEFd00000001\n");
    device(&node.sys, "pci", "0000:00:05.0", "pci:v00008086d00000001\n");
    let mut summary = node.plug();
    summary.failed.sort();
    assert_eq!(summary.failed, ["above", "broken", "ghost"]);
    assert!(summary.loaded.contains(&"nic".to_owned()));
    assert!(
        node.said
            .contains(&"module broken: refused: built for another kernel than the one that runs".to_owned())
    );
    assert!(node.said.contains(&"module above: not loaded: it needs broken".to_owned()));
    assert!(node.said.contains(&"module ghost: is named by the index, but is not in the image".to_owned()));
    assert_eq!(node.said.len(), 3, "{:?}", node.said);
}
