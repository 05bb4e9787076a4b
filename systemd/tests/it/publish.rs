//! What a run leaves in the store: the same for the same inputs, whole whatever happens in the middle.

use crate::tree::{Tree, command, generate, golden, read, stderr, stdout, write};
use boottorrent_masterd::seed::config::SeedConfig;
use boottorrent_swarm::catalog::{After, Catalog, Method, Program, Role};
use boottorrent_swarm::metainfo::Metainfo;
use boottorrent_swarm::nodefile::NodeFile;
use sha2::{Digest, Sha256};
use std::fs;
use std::io::Cursor;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Without TFTP there is no bootstrap image to build, which would need a real kernel; the lab boots those.
const NO_TFTP: &str = "\n[tftp]\nenabled = false\n";

/// A site folder, a root to write under, and a key.
struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        let bench = Bench { dir: tempfile::tempdir().unwrap() };
        write(&bench.site(), &read(&golden().join("site")));
        let file = bench.site().join("boottorrent.toml");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text + NO_TFTP).unwrap();
        bench.fill("rootfs.squashfs", 3_000_000, 1);
        // Makes the key; the folder that it makes is not used.
        assert!(generate(["init", bench.path("unused"), "--root", bench.path("root")]).status.success());
        bench
    }

    fn path(&self, name: &str) -> &'static str {
        self.dir.path().join(name).to_str().unwrap().to_owned().leak()
    }

    fn site(&self) -> PathBuf {
        self.dir.path().join("site")
    }

    fn store(&self) -> PathBuf {
        self.dir.path().join("root/var/lib/boottorrent")
    }

    fn current(&self) -> PathBuf {
        self.store().join("current")
    }

    /// An image file of bytes that depend on `seed`.
    fn fill(&self, name: &str, length: usize, seed: u64) {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend(state.to_le_bytes());
        }
        bytes.truncate(length);
        fs::write(self.site().join("os/debian").join(name), bytes).unwrap();
    }

    fn arguments(&self) -> Vec<&'static str> {
        let agent = env!("CARGO_BIN_EXE_boottorrent-gen");
        vec![self.path("site"), "--root", self.path("root"), "--agent", agent, "--bindir", "/usr/sbin"]
    }

    fn run(&self) -> String {
        let output: Output = generate(self.arguments());
        assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
        stdout(&output)
    }

    fn generation(&self) -> u64 {
        let target = fs::read_link(self.current()).unwrap();
        target.file_name().unwrap().to_str().unwrap().parse().unwrap()
    }

    fn public_key(&self) -> minisign::PublicKey {
        minisign::PublicKey::from_file(self.dir.path().join("root/etc/boottorrent/site.pub")).unwrap()
    }

    fn signed(&self, path: &Path) -> Vec<u8> {
        let bytes = fs::read(path).unwrap();
        let text = fs::read_to_string(path.with_added_extension("minisig")).unwrap();
        let signature = minisign::SignatureBox::from_string(&text).unwrap();
        minisign::verify(&self.public_key(), &signature, Cursor::new(&bytes), true, false, false).unwrap();
        bytes
    }

    /// Everything that the current generation says is there, is there, and is what was signed.
    fn assert_whole(&self) -> Catalog {
        let current = self.current();
        let catalog = Catalog::parse(&self.signed(&current.join("tftp/catalog"))).unwrap();
        assert_eq!(catalog.generation, self.generation());
        let seed: SeedConfig =
            toml::from_str(&fs::read_to_string(current.join("seed.toml")).unwrap()).unwrap();
        for (image, torrent) in catalog.images.iter().zip(&seed.torrents) {
            assert_eq!(image.info_hash.to_string(), torrent.info_hash);
            let list = fs::read(current.join("tftp/pieces").join(&torrent.info_hash)).unwrap();
            assert_eq!(<[u8; 32]>::from(Sha256::digest(&list)), image.pieces_sha256);
            let root = self.dir.path().join("root");
            let here = |p: &Path| {
                if p.starts_with(&root) || !p.starts_with("/var") {
                    p.to_owned()
                } else {
                    root.join(p.strip_prefix("/").unwrap())
                }
            };
            let bytes: Vec<u8> =
                torrent.files.iter().flat_map(|f| fs::read(here(&f.path)).unwrap()).collect();
            let sums: Vec<u8> = bytes.chunks(image.piece_length as usize).flat_map(Sha256::digest).collect();
            assert_eq!(sums, list, "the store's bytes are not those that were signed");
        }
        catalog
    }
}

#[test]
fn an_example_becomes_a_site_that_passes() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (site, root) = (path("site"), path("root"));
    let init = ["init", site.as_str(), "--root", root.as_str()];
    let output = generate(init);
    assert!(output.status.success(), "{}", stderr(&output));
    let key = dir.path().join("root/etc/boottorrent/site.key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    // A folder from version control on a new master, or a first try without the right to write the key.
    let old = fs::read(&key).unwrap();
    fs::remove_file(&key).unwrap();
    let said = stdout(&generate(init));
    assert!(said.contains("a new site key") && said.contains("the site was there already"), "{said}");
    assert_ne!(fs::read(&key).unwrap(), old);
    let again = generate(init);
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("init never overwrites"), "{}", stderr(&again));

    let file = dir.path().join("site/boottorrent.toml");
    fs::write(&file, fs::read_to_string(&file).unwrap() + NO_TFTP).unwrap();
    let agent = ["--agent", env!("CARGO_BIN_EXE_boottorrent-gen")];
    let check = ["check", site.as_str(), "--root", root.as_str(), agent[0], agent[1]];
    let said = stderr(&generate(check));
    assert!(
        said.contains("os.toml:5: the kernel") && said.contains("2 mistakes"),
        "only the files are missing: {said}"
    );
    for name in ["vmlinuz", "initrd.img"] {
        fs::write(dir.path().join("site/os/debian").join(name), name).unwrap();
    }
    let output = generate(check);
    assert!(output.status.success(), "{}", stderr(&output));
    let output = generate(&check[1..]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("systemctl enable --now boottorrent.target"), "{}", stdout(&output));
}

#[test]
fn the_same_inputs_publish_nothing_and_hash_nothing() {
    let bench = Bench::new();
    assert!(bench.run().contains("generation 1 is the current one"));
    let before = read(&bench.dir.path().join("root"));
    assert!(bench.run().contains("nothing changed: generation 1 stays"));
    assert_eq!(read(&bench.dir.path().join("root")), before);

    // A new cmdline is a new catalog, and the image stays the very same files.
    let os = bench.site().join("os/debian/os.toml");
    let text = fs::read_to_string(&os).unwrap();
    fs::write(&os, text.replace("boot=live", "boot=live quiet")).unwrap();
    assert!(bench.run().contains("generation 2 is the current one"));
    let seed = |tree: &Tree, n| tree[&format!("var/lib/boottorrent/generations/{n}/seed.toml")].clone();
    let after = read(&bench.dir.path().join("root"));
    assert_eq!(seed(&after, 2), seed(&before, 1), "nothing was copied again");
    assert!(bench.assert_whole().images[0].cmdline.contains("quiet"));
}

/// Copied anew, and still the files that the published generation knows by their inodes: kill -9 in between harms nothing.
#[test]
fn a_touched_source_changes_nothing_that_is_published() {
    let bench = Bench::new();
    bench.run();
    bench.fill("rootfs.squashfs", 3_000_000, 1);
    assert!(bench.run().contains("nothing changed: generation 1 stays"));
    bench.assert_whole();
}

#[test]
fn torrents_for_others_name_the_tracker_of_today() {
    let bench = Bench::new();
    bench.run();
    let torrent = || fs::read(bench.current().join("tftp/torrents/debian.torrent")).unwrap();
    let before = Metainfo::parse(&torrent()).unwrap();
    let file = bench.site().join("boottorrent.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text + "\n[tracker]\nport = 7000\n").unwrap();
    bench.run();
    let after = Metainfo::parse(&torrent()).unwrap();
    assert_eq!(after.announce, [["udp://10.0.0.1:7000/announce"]]);
    assert_eq!(after.info_hash, before.info_hash);
    assert!(bench.run().contains("nothing changed"));
}

#[test]
fn a_unit_of_somebody_else_is_told_before_anything_is_written() {
    let bench = Bench::new();
    let folder = bench.dir.path().join("root/etc/systemd/system");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("boottorrent-tracker.socket"), "[Socket]\n").unwrap();
    let before = read(&bench.dir.path().join("root"));
    let output = generate(bench.arguments());
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("boottorrent-tracker.socket: not made by boottorrent-gen; move it away"), "{said}");
    assert_eq!(read(&bench.dir.path().join("root")), before);
}

/// The agent of these tests is no static program: that is told before an image is copied.
#[test]
fn a_bootstrap_that_cannot_be_built_leaves_nothing_behind() {
    let bench = Bench::new();
    let file = bench.site().join("boottorrent.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace(NO_TFTP, "")).unwrap();
    let output = generate(bench.arguments());
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("can't be the node's /init"), "{said}");
    let left: Vec<String> = read(&bench.store()).into_keys().filter(|name| name != "lock").collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn the_same_inputs_give_the_same_bytes_under_two_roots() {
    let (one, two) = (Bench::new(), Bench::new());
    for name in ["site.key", "site.pub"] {
        let key = |b: &Bench| b.dir.path().join("root/etc/boottorrent").join(name);
        fs::copy(key(&one), key(&two)).unwrap();
    }
    let outputs = [&one, &two].map(|bench| {
        bench.run();
        let mut tree = read(&bench.dir.path().join("root"));
        // Inodes and times of the copies; signatures, which are hedged with random bytes.
        tree.retain(|name, _| {
            let of_this_disk =
                ["seed.toml", "generation.toml", "hashes.toml"].iter().any(|f| name.ends_with(f));
            !of_this_disk && !name.ends_with(".minisig")
        });
        tree
    });
    assert_eq!(outputs[0].keys().collect::<Vec<_>>(), outputs[1].keys().collect::<Vec<_>>());
    assert!(outputs[0] == outputs[1], "same names, other bytes");
    assert!(outputs[0].keys().any(|n| n.ends_with("tftp/catalog")));
}

#[test]
fn the_hand_over_has_its_order_and_overlays_are_signed() {
    let bench = Bench::new();
    let os = bench.site().join("os/debian");
    fs::create_dir_all(os.join("extra/etc")).unwrap();
    fs::write(os.join("extra/etc/motd"), "hello\n").unwrap();
    fs::write(os.join("a-microcode.img"), "second in the list").unwrap();
    let text = fs::read_to_string(os.join("os.toml")).unwrap();
    let text = text.replace(
        "[\"initrd.img\"]",
        "[\"initrd.img\", \"a-microcode.img\"]\noverlay = \"extra\"\nlinger = \"3s\"",
    );
    fs::write(os.join("os.toml"), text).unwrap();
    fs::create_dir_all(bench.site().join("nodes/n01/etc")).unwrap();
    fs::write(bench.site().join("nodes/n01/etc/hostname"), "n01\n").unwrap();
    bench.run();
    let catalog = bench.assert_whole();
    let files = &catalog.images[0].files;
    let names: Vec<(&str, &Role)> = files.iter().map(|f| (f.path.as_str(), &f.role)).collect();
    let wrapped = Role::Wrapped("live/filesystem.squashfs".into());
    assert_eq!(
        names,
        [
            ("00-vmlinuz", &Role::Kernel),
            ("01-initrd.img", &Role::Initrd),
            ("02-a-microcode.img", &Role::Initrd),
            ("03-rootfs.squashfs", &wrapped),
            ("04-overlay.cpio", &Role::Initrd),
        ]
    );
    let folder = bench.current().join("tftp/nodes");
    let node = NodeFile::parse(&bench.signed(&folder.join("52-54-00-00-00-01"))).unwrap();
    let overlay = fs::read(folder.join("52-54-00-00-00-01.cpio")).unwrap();
    let signed = node.overlay.unwrap();
    assert_eq!((signed.length, signed.sha256), (overlay.len() as u64, Sha256::digest(&overlay).into()));
    assert_eq!((node.name.as_str(), node.os.as_deref()), ("n01", Some("debian")));
    assert!(bench.run().contains("nothing changed"), "packed overlays are compared too");
}

#[test]
fn a_program_is_published_with_its_root_packed_once() {
    let bench = Bench::new();
    let os = bench.site().join("os/shell");
    fs::create_dir_all(os.join("tree/bin")).unwrap();
    fs::copy("/bin/busybox", os.join("tree/bin/busybox")).unwrap();
    let toml = "title = \"Shell\"\nmethod = \"run\"\nroot = \"tree/\"\n\
                files = { \"../debian/initrd.img\" = \"/os/disk.img\" }\n\
                run = [\"/bin/busybox\", \"sh\", \"{memory}\"]\nenv = { ME = \"{ip}\" }\n\
                after = \"restart\"\nnice = -3\nseed = { rate = \"50Mbit\" }\ntap = false\n";
    fs::write(os.join("os.toml"), toml).unwrap();
    let said = bench.run();
    assert!(said.contains("shell: packing") && said.contains("generation 1 is"), "{said}");
    let catalog = bench.assert_whole();
    let image = catalog.image("shell").unwrap();
    let program = Program {
        argv: ["/bin/busybox", "sh", "{memory}"].map(str::to_owned).into(),
        env: vec![("ME".into(), "{ip}".into())],
        workdir: "/".into(),
        after: After::Restart,
        nice: -3,
        seed_rate: Some(6_250_000),
        tap: false,
    };
    assert_eq!((image.method, image.program.as_ref()), (Method::Run, Some(&program)));
    let roles: Vec<&Role> = image.files.iter().map(|file| &file.role).collect();
    assert_eq!(roles, [&Role::Placed("/os/disk.img".into()), &Role::Root]);
    let root = bench.store().join("images").join(image.info_hash.to_string()).join("root.squashfs");
    assert_eq!(fs::read(&root).unwrap()[..4], *b"hsqs");

    let before = read(&bench.dir.path().join("root"));
    let said = bench.run();
    assert!(said.contains("nothing changed") && !said.contains("packing"), "{said}");
    assert_eq!(read(&bench.dir.path().join("root")), before);
    // The same files, made anew: packed again, and the same bytes come out.
    fs::copy("/bin/busybox", os.join("tree/bin/other")).unwrap();
    fs::rename(os.join("tree/bin/other"), os.join("tree/bin/busybox")).unwrap();
    let said = bench.run();
    assert!(said.contains("shell: packing") && said.contains("nothing changed"), "{said}");
    fs::write(os.join("tree/note"), "new").unwrap();
    assert!(bench.run().contains("generation 2 is"));
    let cache = read(&bench.store().join("cache"));
    assert_eq!(cache.keys().filter(|name| name.starts_with("root-")).count(), 1, "what is not used goes");
}

#[test]
fn in_place_copies_nothing_and_notices_a_change() {
    let bench = Bench::new();
    let os = bench.site().join("os/debian/os.toml");
    let text = fs::read_to_string(&os).unwrap();
    fs::write(&os, format!("in-place = true\n{text}")).unwrap();
    bench.run();
    let first = bench.assert_whole();
    let images: Vec<_> =
        fs::read_dir(bench.store().join("images")).unwrap().map(|e| e.unwrap().path()).collect();
    assert!(images.iter().all(|p| p.is_file()), "a copy was made: {images:?}");
    let unit = bench.dir.path().join("root/etc/systemd/system/boottorrent-seed.service");
    let bound =
        format!("BindReadOnlyPaths={}", bench.site().canonicalize().unwrap().join("os/debian").display());
    assert!(fs::read_to_string(unit).unwrap().contains(&bound), "tests live in /tmp, which units do not see");
    bench.fill("rootfs.squashfs", 3_000_000, 2);
    assert!(bench.run().contains("generation 2 is the current one"));
    assert_ne!(bench.assert_whole().images[0].info_hash, first.images[0].info_hash);
}

#[test]
fn a_damaged_store_is_made_whole_again() {
    let bench = Bench::new();
    bench.run();
    let seed: SeedConfig =
        toml::from_str(&fs::read_to_string(bench.current().join("seed.toml")).unwrap()).unwrap();
    let name = &seed.torrents[0].info_hash;
    let copy = bench.store().join("images").join(name).join("rootfs.squashfs");
    fs::write(&copy, "somebody was here").unwrap();
    assert!(bench.run().contains("generation 2 is the current one"), "the copies have other fingerprints");
    bench.assert_whole();
}

#[test]
fn a_second_site_is_refused_by_name() {
    let bench = Bench::new();
    bench.run();
    let before = read(&bench.dir.path().join("root"));
    let file = bench.site().join("boottorrent.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("name = \"lab\"", "name = \"other\"")).unwrap();
    let output = generate(bench.arguments());
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(
        said.contains("this master serves site \"lab\"") && said.contains("to give it to site \"other\""),
        "{said}"
    );
    assert_eq!(read(&bench.dir.path().join("root")), before);
}

#[test]
fn a_daemon_that_is_switched_off_loses_its_units() {
    let bench = Bench::new();
    bench.run();
    let folder = bench.dir.path().join("root/etc/systemd/system");
    assert!(folder.join("boottorrent-log.socket").is_file());
    let file = bench.site().join("boottorrent.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text + "\n[log]\nenabled = false\n").unwrap();
    let said = bench.run();
    assert!(
        said.contains("removed boottorrent-log.service") && said.contains("removed boottorrent-log.socket"),
        "{said}"
    );
    assert!(
        !folder.join("boottorrent-log.socket").exists() && !folder.join("boottorrent-log.service").exists()
    );
    assert!(!bench.current().join("log.toml").exists());
}

/// kill -9 at moments spread over a run that publishes: the generation before or after it is there, never half of one.
#[test]
fn a_killed_run_leaves_a_whole_generation() {
    let bench = Bench::new();
    bench.run();
    let tries = 30;
    let (mut old, mut new) = (0, 0);
    let mut span = Duration::from_millis(400);
    for number in 0..tries {
        bench.fill("rootfs.squashfs", 12_000_000, 100 + number);
        let before = bench.generation();
        let mut child =
            command(bench.arguments()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let delay = span.mul_f64((number as f64 + 0.5) / tries as f64);
        // Nobody sends: a wait with a deadline and no sleep.
        let (_keep, never) = mpsc::channel::<()>();
        let _ = never.recv_timeout(delay);
        let finished = child.try_wait().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        if finished.is_some_and(|status| status.success()) {
            // A fast machine: aim earlier from now on.
            span = span.mul_f64(0.9);
        }
        bench.assert_whole();
        if bench.generation() == before { old += 1 } else { new += 1 }
    }
    assert!(old > 0 && new + old == tries, "no kill hit the middle: {old} old, {new} new");
    bench.fill("rootfs.squashfs", 12_000_000, 7);
    bench.run();
    bench.assert_whole();
    let leftovers: Vec<String> = read(&bench.store()).into_keys().filter(|n| n.contains(".tmp")).collect();
    assert!(leftovers.is_empty(), "{leftovers:?}");
    let count = |folder: &str| fs::read_dir(bench.store().join(folder)).unwrap().count();
    assert_eq!(count("generations"), 2);
    assert!(count("images") <= 6, "two images with two files beside each");
}

/// Two runs at once: one works, the other says so.
#[test]
fn two_runs_do_not_meet() {
    let bench = Bench::new();
    bench.run();
    let file = fs::File::open(bench.store().join("lock")).unwrap();
    file.lock().unwrap();
    let output = generate(bench.arguments());
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("another boottorrent-gen is at work on this store"),
        "{}",
        stderr(&output)
    );
}
