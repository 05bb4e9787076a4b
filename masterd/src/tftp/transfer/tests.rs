use super::*;

fn granted(window: u16, options: bool) -> Granted {
    let acknowledged = if options { vec![("windowsize", u64::from(window))] } else { vec![] };
    Granted { block_size: 512, window, wait: None, acknowledged }
}

fn at(ms: u64) -> Time {
    Time(ms * 1000)
}

fn window(first: u64, count: u16) -> Step {
    Step::Window { first, count }
}

#[test]
fn lockstep_from_the_first_block_to_the_last() {
    let mut t = Transfer::new(at(0), &granted(1, false), Some(3));
    assert_eq!(t.start(at(0)), window(1, 1));
    assert_eq!(t.acknowledged(at(1), 1), window(2, 1));
    assert_eq!(t.acknowledged(at(2), 2), window(3, 1));
    assert_eq!(t.acknowledged(at(3), 3), Step::Done);
    assert_eq!(t.repeats(), 0);
}

#[test]
fn lockstep_never_answers_a_duplicate() {
    let mut t = Transfer::new(at(0), &granted(1, false), Some(9));
    t.start(at(0));
    assert_eq!(t.acknowledged(at(1), 1), window(2, 1));
    assert_eq!(t.acknowledged(at(1), 1), Step::Nothing);
    assert_eq!(t.acknowledged(at(2), 2), window(3, 1));
    assert_eq!(t.acknowledged(at(2), 1), Step::Nothing);
    assert_eq!(t.acknowledged(at(2), 900), Step::Nothing);
}

#[test]
fn options_are_answered_by_acknowledging_block_0() {
    let mut t = Transfer::new(at(0), &granted(4, true), Some(6));
    assert_eq!(t.start(at(0)), Step::Options);
    assert_eq!(t.acknowledged(at(1), 1), Step::Nothing);
    assert_eq!(t.expired(at(500)), Step::Options);
    assert_eq!(t.acknowledged(at(501), 0), window(1, 4));
    assert_eq!(t.acknowledged(at(502), 4), window(5, 2));
    assert_eq!(t.acknowledged(at(503), 6), Step::Done);
}

#[test]
fn a_lost_block_in_a_window_is_sent_again_once() {
    let mut t = Transfer::new(at(0), &granted(8, false), Some(100));
    t.start(at(0));
    // Block 4 was lost: 5 to 8 each bring another acknowledgement of 3.
    assert_eq!(t.acknowledged(at(1), 3), window(4, 8));
    for _ in 0..4 {
        assert_eq!(t.acknowledged(at(1), 3), Step::Nothing);
    }
    assert_eq!(t.acknowledged(at(2), 11), window(12, 8));
    // Block 12 was lost.
    assert_eq!(t.acknowledged(at(3), 11), window(12, 8));
    assert_eq!(t.acknowledged(at(3), 11), Step::Nothing);
    assert_eq!(t.repeats(), 2);
}

#[test]
fn block_numbers_roll_over() {
    let mut t = Transfer::new(at(0), &granted(16, false), Some(200_000));
    let mut step = t.start(at(0));
    let mut next = 1;
    while step != Step::Done {
        let Step::Window { first, count } = step else { panic!("{step:?}") };
        assert_eq!(first, next);
        next = first + u64::from(count);
        step = t.acknowledged(at(1), (next - 1) as u16);
    }
    assert_eq!(next, 200_001);
}

#[test]
fn an_end_that_shows_late_shortens_the_window() {
    let mut t = Transfer::new(at(0), &granted(8, false), None);
    assert_eq!(t.start(at(0)), window(1, 8));
    t.ends_with(3);
    assert_eq!(t.acknowledged(at(1), 8), Step::Nothing);
    assert_eq!(t.acknowledged(at(1), 3), Step::Done);
}

#[test]
fn waits_double_and_end() {
    let mut t = Transfer::new(at(0), &granted(1, false), Some(9));
    t.start(at(0));
    let mut waits = vec![];
    let mut now = at(0);
    loop {
        waits.push((t.due().0 - now.0) / 1000);
        now = t.due();
        if t.expired(now) == Step::GivenUp {
            break;
        }
    }
    assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 8000, 8000]);
    // Progress begins it anew.
    let mut t = Transfer::new(at(0), &granted(1, false), Some(9));
    t.start(at(0));
    t.expired(at(500));
    t.acknowledged(at(600), 1);
    assert_eq!(t.due(), at(1100));
}

#[test]
fn a_wait_that_the_client_set_stays() {
    let mut granted = granted(1, true);
    granted.wait = Some(Duration::from_secs(200));
    let mut t = Transfer::new(at(0), &granted, Some(9));
    t.start(at(0));
    assert_eq!(t.expired(at(200_000)), Step::Options);
    assert_eq!(t.due(), at(400_000));
    assert_eq!(t.expired(at(400_000)), Step::Options);
    assert_eq!(t.expired(at(600_000)), Step::GivenUp);
}
