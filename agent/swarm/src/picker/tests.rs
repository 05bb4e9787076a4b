use super::*;
use crate::metainfo::BLOCK;
use alloc::collections::BTreeSet;

fn geometry() -> Geometry {
    Geometry::new(BLOCK, u64::from(BLOCK) * 32).unwrap()
}

fn pick(picker: &Picker, pieces: &Pieces, rng: &mut Rng) -> Option<u32> {
    picker.choose(pieces, |_| true, 1, |_, _| true, rng).map(|(p, _)| p.index())
}

#[test]
fn ties_are_random_and_never_in_order() {
    let pieces = Pieces::new(geometry(), Bitfield::none(&geometry()));
    let picker = Picker::new(&geometry());
    let mut rng = Rng::new(1);
    let picked: BTreeSet<u32> = (0..400).filter_map(|_| pick(&picker, &pieces, &mut rng)).collect();
    assert_eq!(picked.len(), 32, "each piece comes up");
    let runs: BTreeSet<u32> = (0..20).filter_map(|s| pick(&picker, &pieces, &mut Rng::new(s))).collect();
    assert!(runs.len() > 8, "twenty nodes begin in different places: {runs:?}");
}

#[test]
fn the_rarest_comes_first_and_a_started_one_before_it() {
    let mut pieces = Pieces::new(geometry(), Bitfield::none(&geometry()));
    let mut picker = Picker::new(&geometry());
    geometry().all().filter(|p| p.index() != 9).for_each(|p| picker.appeared(p, false));
    assert_eq!(pick(&picker, &pieces, &mut Rng::new(1)), Some(9));
    geometry().all().for_each(|p| picker.vanished(p, false));
    assert_ne!(pick(&picker, &pieces, &mut Rng::new(1)), None, "counts do not wrap");
    let started = geometry().piece(20).unwrap();
    pieces.own(started, 5);
    assert_ne!(pick(&picker, &pieces, &mut Rng::new(1)), Some(20), "somebody fetches it");
    assert!(pieces.begin(geometry().block(started, 0).unwrap(), 5));
    pieces.abort(geometry().block(started, 0).unwrap(), 5);
    pieces.disown(started, 5);
    assert!(picker.choose(&pieces, |_| false, 1, |_, _| true, &mut Rng::new(1)).is_none());
}
