//! A store is always whole: what is published stays, what is unfinished goes.

use super::*;

fn generation(number: u64, images: &[&str]) -> Generation {
    Generation {
        number,
        site: "lab".into(),
        digest: format!("digest {number}"),
        images: images.iter().map(|i| (*i).to_owned()).collect(),
    }
}

fn publish(store: &Store, images: &[&str]) -> u64 {
    let number = store.next_number().unwrap();
    for image in images {
        let staged = store.stage_image(image).unwrap();
        fs::write(staged.join("kernel"), number.to_string()).unwrap();
        store.finish_image(&staged, image).unwrap();
        write_atomically(&store.images().join(format!("{image}.pieces")), b"sums").unwrap();
    }
    let staged = store.stage_generation(number).unwrap();
    fs::write(staged.join("file"), number.to_string()).unwrap();
    store.publish(&staged, &generation(number, images)).unwrap();
    number
}

fn names(folder: &Path) -> Vec<String> {
    list(folder).unwrap().iter().map(|p| p.file_name().unwrap().to_string_lossy().into_owned()).collect()
}

#[test]
fn the_current_and_the_previous_generation_are_kept_with_their_images() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(dir.path());
    let _lock = store.open_for_writing().unwrap();
    assert_eq!(store.current_generation().unwrap(), None);
    for images in [&["aa", "bb"][..], &["bb"], &["cc"]] {
        publish(&store, images);
        store.collect().unwrap();
    }
    assert_eq!(store.current_generation().unwrap().unwrap().number, 3);
    assert_eq!(names(&store.generations()), ["2", "3"]);
    assert_eq!(names(&store.images()), ["bb", "bb.pieces", "cc", "cc.pieces"]);
    assert_eq!(fs::read_to_string(store.current().join("file")).unwrap(), "3");
}

/// The same bytes copied again (their source was touched): the current generation knows the copies by their inodes.
#[test]
fn good_files_of_an_image_keep_their_identity() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(dir.path());
    let _lock = store.open_for_writing().unwrap();
    let lay = |files: &[(&str, &str)]| {
        let staged = store.stage_image("aa").unwrap();
        files.iter().for_each(|(name, text)| fs::write(staged.join(name), text).unwrap());
        store.finish_image(&staged, "aa").unwrap()
    };
    let image = lay(&[("kernel", "k"), ("initrd", "i"), ("overlay", "o")]);
    let look =
        || ["kernel", "initrd", "overlay"].map(|name| Fingerprint::of(&image.join(name)).unwrap().for_seed());
    let before = look();
    lay(&[("kernel", "k"), ("initrd", "i")]);
    assert_eq!(look(), before, "also the one that the new image lacks");
    fs::write(image.join("kernel"), "x").unwrap();
    lay(&[("kernel", "k"), ("initrd", "i")]);
    assert_eq!(fs::read_to_string(image.join("kernel")).unwrap(), "k", "a damaged one is replaced");
    assert_eq!(look()[1..], before[1..]);
    assert_eq!(names(&store.images()), ["aa"]);
}

#[test]
fn what_is_unfinished_counts_as_space() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(&dir.path().join("store"));
    assert_eq!(store.unfinished_bytes().unwrap(), 0, "there is no store yet");
    let lock = store.open_for_writing().unwrap();
    fs::write(store.stage_image("aa").unwrap().join("kernel"), vec![7; 1 << 20]).unwrap();
    assert!((1 << 20..2 << 20).contains(&store.unfinished_bytes().unwrap()));
    drop(lock);
    store.open_for_writing().unwrap();
    assert_eq!(store.unfinished_bytes().unwrap(), 0);
}

#[test]
fn going_back_by_one_rename_keeps_both() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(dir.path());
    let _lock = store.open_for_writing().unwrap();
    publish(&store, &["aa"]);
    publish(&store, &["bb"]);
    symlink("generations/1", dir.path().join("back")).unwrap();
    fs::rename(dir.path().join("back"), store.current()).unwrap();
    store.collect().unwrap();
    assert_eq!(names(&store.generations()), ["1", "2"]);
    assert_eq!(store.next_number().unwrap(), 3, "numbers are not used twice");
}

#[test]
fn an_image_is_replaced_without_a_moment_without_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(dir.path());
    let _lock = store.open_for_writing().unwrap();
    publish(&store, &["aa"]);
    publish(&store, &["aa"]);
    assert_eq!(fs::read_to_string(store.images().join("aa/kernel")).unwrap(), "2");
    assert_eq!(names(&store.images()), ["aa", "aa.pieces"]);
}

#[test]
fn leftovers_are_removed_and_two_writers_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(dir.path());
    let lock = store.open_for_writing().unwrap();
    store.stage_generation(7).unwrap();
    fs::write(store.stage_image("aa").unwrap().join("half"), "x").unwrap();
    symlink("nowhere", dir.path().join("current.tmp")).unwrap();
    let refused = store.open_for_writing().unwrap_err().to_string();
    assert!(refused.contains("another boottorrent-gen is at work"), "{refused}");
    drop(lock);
    let _lock = store.open_for_writing().unwrap();
    assert!(names(&store.generations()).is_empty() && names(&store.images()).is_empty());
    assert_eq!(names(dir.path()), ["generations", "images", "lock"]);
}

#[test]
fn a_changed_file_has_another_fingerprint() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    fs::write(&path, "one").unwrap();
    let before = Fingerprint::of(&path).unwrap();
    assert_eq!(Fingerprint::of(&path).unwrap(), before);
    fs::write(&path, "four").unwrap();
    assert_ne!(Fingerprint::of(&path).unwrap(), before);
}

#[test]
fn hashes_are_a_cache_that_reads_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(dir.path());
    let _lock = store.open_for_writing().unwrap();
    let source = dir.path().join("image");
    fs::write(&source, "one").unwrap();
    let fingerprint = Fingerprint::of(&source).unwrap();
    let served = fingerprint.for_seed();
    let file =
        HashedFile { source, name: "image".into(), fingerprint: Some(fingerprint), sha256: None, served };
    let hashed =
        Hashed { name: "a".into(), piece_length: 1 << 18, info_hash: "00".into(), files: vec![file] };
    let mut hashes = Hashes::default();
    hashes.remember(hashed.clone());
    hashes.remember(hashed.clone());
    hashes.write(&store).unwrap();
    let read = Hashes::read(&store).unwrap();
    assert_eq!(read, hashes);
    assert_eq!(read.find("a", 1 << 18), Some(&hashed));
    assert_eq!(read.find("a", 1 << 19), None);
    fs::write(dir.path().join("hashes.toml"), "not = [toml").unwrap();
    assert_eq!(Hashes::read(&store).unwrap(), Hashes::default());
}
