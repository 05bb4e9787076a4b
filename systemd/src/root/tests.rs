use super::*;
use boottorrent_swarm::catalog::After;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

/// This machine's shell is dynamic; its loader and library are found where Debian has them.
fn busybox(root: &Path) {
    fs::create_dir_all(root.join("bin")).unwrap();
    fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    symlink("busybox", root.join("bin/sh")).unwrap();
    fs::create_dir_all(root.join("usr/bin")).unwrap();
    symlink("/bin/busybox", root.join("usr/bin/env")).unwrap();
    script(&root.join("bin/hello"), "#!/usr/bin/env sh\necho hello\n");
}

fn script(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn program(path: &str) -> Program {
    Program {
        argv: vec![path.into()],
        env: Vec::new(),
        workdir: "/".into(),
        after: After::Menu,
        nice: 0,
        seed_rate: None,
        tap: false,
    }
}

fn wrong(tree: &Tree, program: &Program) -> Vec<String> {
    examine(tree, program).unwrap().into_iter().map(|(what, _)| what).collect()
}

/// The same root three times.
fn trees(dir: &Path, folder: &Path) -> Vec<Tree> {
    let (tar, squash) = (dir.join("root.tar"), dir.join("root.squashfs"));
    let made = Command::new("tar").arg("-C").arg(folder).arg("-cf").arg(&tar).arg(".").status().unwrap();
    assert!(made.success());
    squashfs::pack(folder, RootKind::Folder, &squash).unwrap();
    [(folder, RootKind::Folder), (&tar, RootKind::Tar), (&squash, RootKind::Squashfs)]
        .map(|(source, kind)| Tree::open(source, kind).unwrap())
        .into()
}

#[test]
fn what_a_program_lacks_is_named_whatever_its_root_is_made_of() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    busybox(&root);
    fs::write(root.join("bin/plain"), "text").unwrap();
    fs::set_permissions(root.join("bin/plain"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::copy(std::env::current_exe().unwrap(), root.join("bin/dynamic")).unwrap();
    script(&root.join("bin/perl script"), "#!/usr/bin/perl -w\n");
    symlink("loop", root.join("bin/loop")).unwrap();
    for tree in trees(dir.path(), &root) {
        assert_eq!(wrong(&tree, &program("/bin/hello")), Vec::<String>::new());
        assert_eq!(wrong(&tree, &program("/usr/bin/../../bin/sh")), Vec::<String>::new());
        assert_eq!(
            wrong(&tree, &program("/sbin/hello")),
            ["the root has no /sbin/hello; there is /bin/hello"]
        );
        assert_eq!(wrong(&tree, &program("/bin/plain")), ["/bin/plain is not executable"]);
        assert_eq!(wrong(&tree, &program("/bin")), ["/bin is no file"]);
        assert_eq!(wrong(&tree, &program("/bin/loop")), ["the root has no /bin/loop"]);
        assert_eq!(
            wrong(&tree, &program("/bin/perl script")),
            ["the root has no /usr/bin/perl, which /bin/perl script needs"]
        );
        let told = wrong(&tree, &program("/bin/dynamic"));
        assert!(told[0].starts_with("the root has no /lib64/ld-linux"), "{told:?}");
        assert!(
            told.iter().any(|t| t == "the root has no library libc.so.6, which /bin/dynamic needs"),
            "{told:?}"
        );
        let nowhere = Program { workdir: "/home".into(), ..program("/bin/sh") };
        assert_eq!(wrong(&tree, &nowhere), ["\"workdir\": the root has no folder /home"]);
        let in_memory = Program { workdir: "/tmp".into(), ..program("/bin/sh") };
        assert_eq!(wrong(&tree, &in_memory), Vec::<String>::new(), "the node makes it");
        let hidden = "/proc/hello is below /proc, which is the node's own and not the root's";
        assert_eq!(wrong(&tree, &program("/proc/hello")), [hidden]);
        assert_eq!(tree.obstacle("/bin").unwrap(), "/bin is a folder of the root");
        assert_eq!(
            tree.obstacle("/bin/sh/disk.img").unwrap(),
            "/bin/sh is a file of the root, and no folder for /bin/sh/disk.img"
        );
        assert_eq!((tree.obstacle("/os/disk.img"), tree.obstacle("/bin/hello")), (None, None));
    }
}

#[test]
fn libraries_are_found_where_the_loader_looks_and_placed_files_count() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    busybox(&root);
    let own = std::env::current_exe().unwrap();
    let mut needed = BTreeSet::new();
    let mut ahead = vec![own.clone()];
    while let Some(path) = ahead.pop() {
        let demands = boottorrent_pxe::demands(&fs::read(&path).unwrap()).unwrap().unwrap();
        for name in demands.needed.into_iter().chain(demands.interpreter) {
            let name = name.rsplit('/').next().unwrap().to_owned();
            if needed.insert(name.clone()) {
                ahead.push(Path::new("/lib/x86_64-linux-gnu").join(name));
            }
        }
    }
    fs::create_dir_all(root.join("opt/lib")).unwrap();
    fs::create_dir_all(root.join("etc/ld.so.conf.d")).unwrap();
    fs::create_dir_all(root.join("lib64")).unwrap();
    for name in &needed {
        fs::copy(Path::new("/lib/x86_64-linux-gnu").join(name), root.join("opt/lib").join(name)).unwrap();
    }
    symlink("/opt/lib/ld-linux-x86-64.so.2", root.join("lib64/ld-linux-x86-64.so.2")).unwrap();
    let mut tree = Tree::open(&root, RootKind::Folder).unwrap();
    tree.place("/os/own", &own);
    let lost = wrong(&tree, &program("/os/own"));
    assert!(
        lost.iter().all(|what| what.starts_with("the root has no library")) && !lost.is_empty(),
        "{lost:?}"
    );
    let told = Program { env: vec![("LD_LIBRARY_PATH".into(), "/opt/lib".into())], ..program("/os/own") };
    assert_eq!(wrong(&tree, &told), Vec::<String>::new());
    fs::write(root.join("etc/ld.so.conf.d/opt.conf"), "# ours\n/opt/lib\n").unwrap();
    let mut tree = Tree::open(&root, RootKind::Folder).unwrap();
    tree.place("/os/own", &own);
    assert_eq!(wrong(&tree, &program("/os/own")), Vec::<String>::new());
}

#[test]
fn the_same_files_are_the_same_bytes_wherever_and_whenever_they_are_packed() {
    let dir = tempfile::tempdir().unwrap();
    let pack = |name: &str, kind, source: &Path| {
        let to = dir.path().join(name);
        squashfs::pack(source, kind, &to).unwrap();
        fs::read(to).unwrap()
    };
    let (one, two) = (dir.path().join("one"), dir.path().join("elsewhere/two"));
    busybox(&one);
    fs::create_dir_all(dir.path().join("elsewhere")).unwrap();
    busybox(&two);
    fs::set_permissions(&two, fs::Permissions::from_mode(0o700)).unwrap();
    let later = fs::File::open(two.join("bin/hello")).unwrap();
    later.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(pack("a", RootKind::Folder, &one), pack("b", RootKind::Folder, &two));
    let tar = dir.path().join("root.tar");
    assert!(
        Command::new("tar").arg("-C").arg(&one).arg("-cf").arg(&tar).arg("bin").status().unwrap().success()
    );
    assert_eq!(pack("c", RootKind::Tar, &tar), pack("d", RootKind::Tar, &tar));
}

#[test]
fn another_look_is_another_root_and_the_cache_keeps_what_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("root");
    busybox(&source);
    let store = Store::new(&dir.path().join("store"));
    let place = boottorrent_masterd::site::Place::file(&source);
    let root = Root { source: source.clone(), kind: RootKind::Folder, place };
    let mut said = Vec::new();
    let first = pack(&root, &store, &mut |line| said.push(line.to_owned())).unwrap().unwrap();
    assert_eq!(pack(&root, &store, &mut |line| said.push(line.to_owned())).unwrap().as_ref(), Some(&first));
    assert_eq!(said.len(), 1, "packed once: {said:?}");
    script(&source.join("bin/hello"), "#!/bin/sh\necho changed\n");
    let second = pack(&root, &store, &mut |_| ()).unwrap().unwrap();
    assert!(first.look != second.look && first.file != second.file);
    collect(&store, &[second.file.clone().unwrap()]).unwrap();
    assert!(!first.file.unwrap().exists() && second.file.unwrap().exists());
}
