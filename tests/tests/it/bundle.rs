//! QEMU as a bundle: what gen collects of this machine's, run where nothing else is.

use crate::boot::BOOT;
use crate::run::at_menu;
use boottorrent_pxe::bundle::{Bundle, Display, Entry, Wanted, collect};
use boottorrent_tests::guest;
use boottorrent_tests::node::NodeSpec;
use boottorrent_tests::os;
use boottorrent_tests::process::run;
use boottorrent_tests::programs;
use boottorrent_tests::room::Room;
use boottorrent_tests::site::{IMAGES, Os, Site};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The system that the tests run on.
const HERE: &str = "/";

fn bundle(display: Display) -> Bundle {
    collect(Path::new(HERE), Wanted { display, uefi: false }).unwrap()
}

/// A bundle as a root in a folder of its own.
struct Root {
    folder: PathBuf,
    environment: String,
}

impl Root {
    fn of(display: Display, name: &str) -> Root {
        let folder = std::env::temp_dir().join(format!("boottorrent-bundle-{}-{name}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let root = Root { folder, environment: environment(display) };
        bundle(display).tree.lay(&root.folder).unwrap();
        root
    }

    /// Runs a shell line in a mount namespace, with `$QEMU` for that of the bundle: in its chroot, with nothing in its
    /// environment but what the bundle asks for.
    fn run(&self, line: &str) -> String {
        // `env` is this machine's: in the chroot there is nothing but QEMU.
        let qemu = format!("env -i {} /usr/sbin/chroot . /usr/bin/qemu-system-x86_64", self.environment);
        let script = format!(
            "cd {} && mount --rbind /dev dev && mount -t proc proc proc && QEMU='{qemu}' && {line}",
            self.folder.display()
        );
        run(&["unshare", "--mount", "--propagation", "slave", "sh", "-c", &script]).unwrap()
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn environment(display: Display) -> String {
    let variables = Wanted { display, uefi: false }.environment();
    variables.iter().fold("TERM=linux".to_owned(), |line, (name, value)| format!("{line} {name}={value}"))
}

#[test]
fn the_libraries_are_those_of_the_dynamic_loader() {
    let bundle = bundle(Display::Curses);
    let files: BTreeSet<PathBuf> = bundle
        .tree
        .entries()
        .filter_map(|(_, entry)| match entry {
            Entry::File(source) => Some(source.canonicalize().unwrap()),
            _ => None,
        })
        .collect();
    let mut wanted = BTreeSet::new();
    let is_elf = |path: &&PathBuf| fs::read(path).unwrap().starts_with(b"\x7fELF");
    let programs: Vec<&PathBuf> = files.iter().filter(is_elf).collect();
    for program in &programs {
        let listing = run(&["ldd", &program.to_string_lossy()]).unwrap();
        let paths = listing.split_whitespace().filter(|word| word.starts_with('/'));
        wanted.extend(paths.map(|path| PathBuf::from(path.trim_end_matches(':')).canonicalize().unwrap()));
    }
    let missing: Vec<_> = wanted.difference(&files).collect();
    assert!(missing.is_empty(), "ldd names {missing:?}, which the bundle lacks");
    let by_name = |path: &&&PathBuf| {
        let path = path.to_string_lossy();
        !path.contains("/qemu") && !path.contains("/gconv/")
    };
    let superfluous: Vec<_> = programs.iter().filter(by_name).filter(|p| !wanted.contains(**p)).collect();
    assert!(superfluous.is_empty(), "nobody needs {superfluous:?}");
    println!("{bundle}");
}

#[test]
fn a_guest_boots_in_a_root_that_has_nothing_but_the_bundle() {
    let root = Root::of(Display::None, "serial");
    let version = root.run("$QEMU --version");
    assert!(version.starts_with("QEMU emulator version"), "{version}");
    fs::write(root.folder.join("floppy.img"), guest::floppy("BT-GUEST-UP")).unwrap();
    let said = root.run(
        "$QEMU -machine accel=tcg -m 16 -nic user -display none -serial stdio \
         -drive file=/floppy.img,format=raw,if=floppy,snapshot=on",
    );
    assert!(said.contains("BT-GUEST-UP"), "{said}");
}

#[test]
fn curses_draws_the_guests_screen_on_a_terminal() {
    let root = Root::of(Display::Curses, "curses");
    fs::write(root.folder.join("floppy.img"), guest::floppy("BT-GUEST-UP")).unwrap();
    // SeaBIOS says its name on the guest's screen before it boots; the guest then switches itself off.
    let drawn = root.run(
        "script -qec \"stty cols 100 rows 40; $QEMU -machine accel=tcg -m 16 -display curses \
         -drive file=/floppy.img,format=raw,if=floppy,snapshot=on\" /dev/null",
    );
    assert!(drawn.contains("SeaBIOS"), "{drawn:?}");
}

/// A guest of a node: QEMU in QEMU. Its floppy disk lies among the images.
fn guest_os(floppy: &[u8], run: &str, bundle: &str) -> Os {
    let folder = programs::cache().join("os/guest");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("floppy.img"), floppy).unwrap();
    let toml = format!(
        "title = \"A guest\"\nmethod = \"run\"\nfiles = {{ \"{IMAGES}/guest/floppy.img\" = \"/os/floppy.img\" }}\n\
         run = [\"/usr/bin/qemu-system-x86_64\", {run}, \"-machine\", \"accel=kvm:tcg\", \"-m\", \"16\",\n\
         \"-drive\", \"file=/os/floppy.img,format=raw,if=floppy,snapshot=on\"]\nmemory = \"192M\"\n\
         [bundle]\nqemu = true\n{bundle}\n"
    );
    Os { name: "guest".into(), toml }
}

#[test]
fn a_nodes_guest_says_its_line_on_the_nodes_console() {
    let spec = NodeSpec::new(1).memory_mb(1024);
    let floppy = guest::floppy("BT-GUEST-UP");
    let os = guest_os(&floppy, r#""-display", "none", "-serial", "stdio", "-nic", "user""#, "");
    let site = Site::with(&[os]).node(&spec, "os = \"guest\"");
    let room = Room::new().unwrap();
    let said = room.compile(&site).unwrap();
    assert!(said.contains("bundle:") && said.contains("/usr/bin/qemu-system-x86_64"), "{said}");
    println!("{said}");
    room.start().unwrap();
    let node = room.node(&spec).unwrap();
    let up = node.console.expect_line("BT-GUEST-UP", BOOT).unwrap();
    println!("the guest's line {:.1} s after switch-on", up.after.as_secs_f64());
}

#[test]
fn real_systems_that_no_kexec_starts_are_drawn_on_every_console() {
    const MEMTEST: &str = "/usr/lib/memtest86+/memtest86+x64.iso";
    let spec = NodeSpec::new(1).memory_mb(1024);
    os::grub().unwrap();
    let cd = |name: &str, iso: &str| {
        let toml = format!(
            "title = \"System {name}\"\nmethod = \"run\"\nfiles = {{ \"{iso}\" = \"/os/cd.iso\" }}\n\
             run = [\"/usr/bin/qemu-system-x86_64\", \"-machine\", \"accel=kvm:tcg\", \"-m\", \"64\",\n\
             \"-drive\", \"file=/os/cd.iso,media=cdrom,readonly=on\", \"-display\", \"curses\"]\n\
             memory = \"256M\"\nbundle = {{ qemu = true, display = \"curses\" }}\n"
        );
        Os { name: name.into(), toml }
    };
    let grub = cd("grub", &format!("{IMAGES}/grub/rescue.iso"));
    let site = Site::with(&[grub, cd("memtest", MEMTEST)]).node(&spec, "os = \"memtest\"");
    let room = Room::serving(&site).unwrap();
    let node = room.node(&spec).unwrap();
    // Its own words, drawn by curses on the program's terminal, which is every console. (The plus has another colour.)
    let drawn = node.console.expect("Memtest86", BOOT).unwrap();
    println!("memtest86+ {:.1} s after switch-on", drawn.after.as_secs_f64());
    node.console.expect("Pass", BOOT).unwrap();
    node.console.send("\x1d\x1d\x1d");
    at_menu(&node);
    node.console.send("1\r");
    // Its screen is full of colours, which are drawn letter by letter.
    let prompt = node.console.expect_shown("grub>", 2 * BOOT).unwrap();
    println!("GRUB:\n{prompt}");
    node.keep_picture("guest-grub").unwrap();
}
