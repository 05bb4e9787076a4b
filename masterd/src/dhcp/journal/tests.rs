use std::net::Ipv4Addr;

use boottorrent_swarm::{Mac, Time};

use super::*;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("boottorrent-journal-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn record(n: u8) -> Record {
    let until = Time(u64::from(n) * 1_000_000);
    Record::Lease { address: Ipv4Addr::new(10, 0, 0, n), mac: Mac([2, 0, 0, 0, 0, n]), until }
}

#[test]
fn what_was_appended_is_read_back() {
    let folder = Folder::new("append");
    let (mut journal, replay) = Journal::open(&folder.0).unwrap();
    assert!(replay.records.is_empty());
    journal.append(&[record(1), record(2)]).unwrap();
    journal.append(&[record(3)]).unwrap();
    journal.sync().unwrap();
    drop(journal);
    let (_, replay) = Journal::open(&folder.0).unwrap();
    assert_eq!(replay.records, [record(1), record(2), record(3)]);
    assert_eq!((replay.torn_bytes, replay.bad_lines.len()), (0, 0));
}

#[test]
fn a_file_cut_anywhere_loses_only_its_last_line() {
    let folder = Folder::new("torn");
    let path = folder.0.join("leases");
    let whole: String = (1..=3).map(|n| record(n).line()).collect();
    let ends: Vec<usize> = whole.match_indices('\n').map(|(at, _)| at + 1).collect();
    for length in 0..=whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        let (mut journal, replay) = Journal::open(&folder.0).unwrap();
        let expected = ends.iter().filter(|end| **end <= length).count();
        assert_eq!(replay.records.len(), expected, "cut at {length}");
        assert!(replay.bad_lines.is_empty());
        journal.append(&[record(9)]).unwrap();
        drop(journal);
        let (_, replay) = Journal::open(&folder.0).unwrap();
        assert_eq!(replay.records.len(), expected + 1);
        assert_eq!((replay.records.last(), replay.torn_bytes), (Some(&record(9)), 0));
    }
}

#[test]
fn a_bad_line_in_the_middle_is_told_and_the_rest_counts() {
    let folder = Folder::new("bad");
    let text = format!(
        "{}lease 10.0.0.9 02:00:00:00:00:09 9 #00000000\n\0\0\n{}",
        record(1).line(),
        record(2).line()
    );
    std::fs::write(folder.0.join("leases"), text).unwrap();
    let (_, replay) = Journal::open(&folder.0).unwrap();
    assert_eq!(replay.records, [record(1), record(2)]);
    assert_eq!((replay.bad_lines, replay.torn_bytes), (vec![2, 3], 0));
}

#[test]
fn replaced_at_once_and_appended_after() {
    let folder = Folder::new("replace");
    let (mut journal, _) = Journal::open(&folder.0).unwrap();
    let many: Vec<Record> = (0..MIN_LINES + 1).map(|n| record(u8::try_from(n % 200).unwrap())).collect();
    journal.append(&many).unwrap();
    assert!(journal.has_grown(200) && !journal.has_grown(MIN_LINES));
    // What an earlier try left behind does not matter.
    std::fs::write(folder.0.join("leases.new"), "rubbish").unwrap();
    journal.replace(&[record(1)]).unwrap();
    assert!(!journal.has_grown(0));
    journal.append(&[record(2)]).unwrap();
    journal.sync().unwrap();
    drop(journal);
    let (_, replay) = Journal::open(&folder.0).unwrap();
    assert_eq!(replay.records, [record(1), record(2)]);
    assert!(!folder.0.join("leases.new").exists());
}

#[test]
fn a_second_server_is_kept_out() {
    let folder = Folder::new("lock");
    let first = Journal::open(&folder.0).unwrap();
    let error = Journal::open(&folder.0).unwrap_err().to_string();
    assert!(error.contains("another DHCP server"), "{error}");
    drop(first);
    Journal::open(&folder.0).unwrap();
}

#[test]
fn a_missing_folder_is_told_by_name() {
    let error = Journal::open(Path::new("/nonexistent/boottorrent")).unwrap_err().to_string();
    assert!(error.starts_with("cannot open /nonexistent/boottorrent/lock"), "{error}");
}
