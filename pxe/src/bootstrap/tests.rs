//! Whole builds of a small kernel with a few modules.

use super::*;
use crate::elf::craft::program;
use crate::initramfs::craft::list;
use crate::kernel::craft::image;
use crate::library::craft::write as write_module;

const VERSION: &str = "6.1.0-56-amd64";
const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

/// A folder with everything that a build reads.
struct Inputs {
    folder: tempfile::TempDir,
    bootstrap: Bootstrap,
}

fn inputs() -> Inputs {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::write(root.join("vmlinuz"), image(VERSION)).unwrap();
    fs::write(root.join("agent"), program(3, &[1, 2])).unwrap();
    let modules = root.join("lib/modules").join(VERSION);
    for (name, fields) in [
        ("virtio", &[] as &[&str]),
        ("virtio_net", &["depends=virtio", "alias=virtio:d00000001v*"]),
        ("loop", &[]),
        ("unrelated", &["alias=pci:v*"]),
        ("nbd", &[]),
        ("tun", &[]),
        ("kvm", &[]),
        ("kvm_amd", &["depends=kvm", "alias=cpu:type:x86,ven0002fam*mod*:feature:*00C2*"]),
        ("bochs", &[]),
    ] {
        write_module(&modules, &format!("kernel/{name}.ko"), VERSION, fields);
    }
    for loader in LOADERS {
        fs::write(root.join(loader), loader).unwrap();
    }
    let bootstrap = Bootstrap {
        kernel: Some(root.join("vmlinuz")),
        modules: Some(modules),
        purposes: Vec::new(),
        extra_modules: Vec::new(),
        agent: root.join("agent"),
        busybox: None,
        site_key: KEY.to_owned(),
        master: Ipv4Addr::new(10, 0, 0, 1),
        cmdline: "quiet".to_owned(),
        ipxe: root.to_owned(),
        cache: Some(root.join("cache")),
    };
    Inputs { folder, bootstrap }
}

fn built(inputs: &Inputs, out: &str) -> Result<Report, Error> {
    build(&inputs.bootstrap, &inputs.folder.path().join(out), &mut |_| {})
}

#[test]
fn the_image_holds_agent_key_and_exactly_the_modules_needed() {
    let inputs = inputs();
    let report = built(&inputs, "out").unwrap();
    let boot = inputs.folder.path().join("out/boot");
    let initramfs = fs::read(boot.join("initramfs")).unwrap();
    let members = list(&initramfs);
    let names: Vec<&str> = members.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "modules",
            "modules/index",
            "modules/loop.ko",
            "modules/virtio.ko",
            "modules/virtio_net.ko",
            "dev",
            "etc",
            "proc",
            "run",
            "sys",
            "dev/console",
            "dev/null",
            "etc/boottorrent",
            "etc/boottorrent/site.pub",
            "init",
        ]
    );
    let contents = |wanted: &str| members.iter().find(|(name, ..)| name == wanted).unwrap().2.clone();
    assert_eq!(contents("init"), program(3, &[1, 2]));
    assert_eq!(contents("etc/boottorrent/site.pub"), format!("{KEY}\n").as_bytes());
    let index = String::from_utf8(contents("modules/index")).unwrap();
    assert!(index.contains("module virtio_net virtio_net.ko virtio\n"), "{index}");
    assert!(index.contains("load loop\n") && !index.contains("unrelated"), "{index}");

    assert_eq!(fs::read(boot.join("vmlinuz")).unwrap(), image(VERSION));
    assert_eq!(fs::read(boot.join("snponly.efi")).unwrap(), b"snponly.efi");
    assert!(fs::read_to_string(boot.join("boot.ipxe")).unwrap().contains("bt.master=10.0.0.1"));
    assert_eq!(report.kernel, VERSION);
    assert_eq!(report.modules, ["loop", "virtio", "virtio_net"]);
    assert!(report.absent.contains(&"mlx5_core".to_owned()));
    let fetched: u64 =
        ["vmlinuz", "initramfs"].map(|name| fs::metadata(boot.join(name)).unwrap().len()).iter().sum();
    assert_eq!(report.fetched(), fetched);
    let table = report.to_string();
    for part in ["kernel", "modules", "agent", "total"] {
        assert!(table.lines().any(|line| line.trim_start().starts_with(part)), "{table}");
    }
}

#[test]
fn what_only_some_sites_need_is_there_for_them_alone() {
    let mut inputs = inputs();
    inputs.bootstrap.purposes = vec![Purpose::Guests];
    let report = built(&inputs, "guests").unwrap();
    assert_eq!(report.modules, ["kvm", "kvm_amd", "loop", "tun", "virtio", "virtio_net"]);
    let members = list(&fs::read(inputs.folder.path().join("guests/boot/initramfs")).unwrap());
    let index = members.iter().find(|(name, ..)| name == "modules/index").unwrap();
    let index = String::from_utf8(index.2.clone()).unwrap();
    assert!(index.contains("alias cpu:type:x86,ven0002fam*mod*:feature:*00C2* kvm_amd\n"), "{index}");
    assert!(index.contains("load tun\n") && !index.contains("load kvm"), "{index}");
    inputs.bootstrap.purposes = vec![Purpose::Graphics];
    assert_eq!(built(&inputs, "graphics").unwrap().modules, ["bochs", "loop", "virtio", "virtio_net"]);
}

/// A static program that says what it is.
fn busybox() -> Vec<u8> {
    [program(3, &[1, 2]), b"\0BusyBox v1.35.0\0".to_vec()].concat()
}

#[test]
fn a_shell_is_a_part_of_its_own_with_its_size() {
    let mut inputs = inputs();
    let without = built(&inputs, "without").unwrap();
    let path = inputs.folder.path().join("busybox");
    fs::write(&path, busybox()).unwrap();
    inputs.bootstrap.busybox = Some(path);
    let report = built(&inputs, "with").unwrap();
    let part = report.parts.iter().find(|part| part.name == "busybox").unwrap();
    assert_eq!(part.size, busybox().len() as u64);
    assert_eq!(report.fetched(), without.fetched() + part.fetched);
    let members = list(&fs::read(inputs.folder.path().join("with/boot/initramfs")).unwrap());
    let (_, mode, contents) = members.iter().find(|(name, ..)| name == "bin/busybox").unwrap();
    assert_eq!((*mode, contents.as_slice()), (0o100_755, busybox().as_slice()));
    assert_eq!(members.last().unwrap().0, "init", "the agent has the last word");
}

#[test]
fn same_inputs_same_bytes_with_and_without_the_cache() {
    let mut inputs = inputs();
    let bytes = |out: &str, inputs: &Inputs| -> Vec<Vec<u8>> {
        let report = built(inputs, out).unwrap();
        assert_eq!(report.parts.len(), 3);
        let boot = inputs.folder.path().join(out).join("boot");
        ["vmlinuz", "initramfs", "boot.ipxe"].iter().map(|name| fs::read(boot.join(name)).unwrap()).collect()
    };
    let first = bytes("one", &inputs);
    assert!(bytes("two", &inputs) == first, "from the cache");
    inputs.bootstrap.cache = None;
    assert!(bytes("three", &inputs) == first, "without a cache");
}

#[test]
fn the_cache_holds_the_last_kernel_only() {
    let mut inputs = inputs();
    let kept = |inputs: &Inputs| fs::read_dir(inputs.bootstrap.cache.as_ref().unwrap()).unwrap().count();
    built(&inputs, "one").unwrap();
    inputs.bootstrap.extra_modules = vec!["nbd".to_owned()];
    built(&inputs, "two").unwrap();
    assert_eq!(kept(&inputs), 1);
    let initramfs = fs::read(inputs.folder.path().join("two/boot/initramfs")).unwrap();
    let members = list(&initramfs);
    let (_, _, index) = members.iter().find(|(name, ..)| name == "modules/index").unwrap();
    assert!(String::from_utf8_lossy(index).ends_with("load loop\nload nbd\n"));
}

/// Each input that can be wrong, and words of the sentence that says so.
#[test]
fn what_is_wrong_is_said() {
    type Break = fn(&mut Inputs);
    let cases: [(Break, &str); 12] = [
        (|i| fs::write(i.bootstrap.agent.clone(), program(3, &[1, 3])).unwrap(), "is not a static program"),
        (|i| fs::write(i.bootstrap.agent.clone(), "#!/bin/sh").unwrap(), "not an ELF file"),
        (|i| i.bootstrap.agent = "/nonexistent/agent".into(), "/nonexistent/agent: reading the agent"),
        (
            |i| i.bootstrap.busybox = Some("/nonexistent/busybox".into()),
            "/nonexistent/busybox: can't be the nodes' shell: it does not exist; install the package busybox-static",
        ),
        (|i| i.bootstrap.busybox = Some(i.folder.path().join("agent")), "it is another program; install"),
        (
            |i| {
                fs::write(i.folder.path().join("dynamic"), program(3, &[1, 3])).unwrap();
                i.bootstrap.busybox = Some(i.folder.path().join("dynamic"));
            },
            "it is not a static program",
        ),
        (|i| i.bootstrap.site_key = "untrusted comment: x".to_owned(), "public key is no minisign key"),
        (|i| fs::write(i.folder.path().join("vmlinuz"), "text").unwrap(), "no x86 Linux kernel"),
        (
            |i| fs::write(i.folder.path().join("vmlinuz"), image("6.2.0")).unwrap(),
            "built for kernel 6.1.0-56-amd64, but [bootstrap] kernel is 6.2.0",
        ),
        (
            |i| i.bootstrap.modules = Some("/nonexistent".into()),
            "/nonexistent: no folder with the modules of kernel 6.1",
        ),
        (|i| i.bootstrap.extra_modules = vec!["frob".to_owned()], "there is no module frob"),
        (
            |i| i.bootstrap.ipxe = "/nonexistent".into(),
            "/nonexistent/undionly.kpxe: not found; install the package ipxe",
        ),
    ];
    for (damage, words) in cases {
        let mut inputs = inputs();
        damage(&mut inputs);
        let error = built(&inputs, "out").unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn an_image_without_a_network_driver_is_refused() {
    let inputs = inputs();
    let modules = inputs.bootstrap.modules.clone().unwrap();
    fs::remove_file(modules.join("kernel/virtio_net.ko")).unwrap();
    assert!(matches!(built(&inputs, "out"), Err(Error::NoNetworkDriver { .. })));
    // Built in is as good.
    fs::write(modules.join("modules.builtin"), "kernel/drivers/net/e1000.ko\n").unwrap();
    built(&inputs, "out").unwrap();
}
