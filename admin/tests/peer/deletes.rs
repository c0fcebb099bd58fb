//! What was deleted is remembered for a while, in the real database; then the heads alone tell that it was seen.

use daybreak_admin::kind::Kind;
use daybreak_admin::object::Id;
use daybreak_sync::ObjectKey;
use daybreak_sync::host::Host;
use daybreak_sync::session::State;

use super::{Pair, terminal};

#[test]
fn s9_who_was_away_for_longer_than_deletes_are_remembered_compares_everything_and_deleted_stays_deleted()
 {
    const DAY_MS: u64 = 24 * 60 * 60 * 1000;
    let mut pair = Pair::new();
    let [gone, kept, edited] = [("gone", 1), ("kept", 2), ("edited", 3)].map(|(name, number)| {
        let site = &pair.sides[0].site;
        site.create(Kind::Terminal, &terminal(name, number))
    });
    pair.settle();
    pair.cut();
    let Pair {
        sides: [a, mut b],
        now,
    } = pair;
    for id in [&gone, &edited] {
        a.site.delete(Kind::Terminal, id, false).expect("deleted");
    }
    // What was made there meanwhile is news, also where the object was deleted here and that is forgotten.
    for (id, name, number) in [(&kept, "kept-there", 2), (&edited, "edited-there", 3)] {
        let replaced = b
            .site
            .try_replace(Kind::Terminal, id, &terminal(name, number));
        replaced.expect("replaced");
    }
    let configuration = &a.site.configuration;
    let deleted_ms = configuration.now_ms();
    let forget = |until_ms| configuration.forget_deleted(until_ms).expect("written");
    assert_eq!(forget(deleted_ms - 1), 0);
    a.site.clock.pass(31 * DAY_MS);
    assert_eq!(forget(deleted_ms), 2);
    assert_eq!(forget(deleted_ms), 0);
    let key = |id: &Id| ObjectKey::parse(Kind::Terminal.word(), id.as_str()).expect("a key");
    let remembered = configuration.with_database(|database| database.row(&key(&gone)));
    assert_eq!(remembered.expect("read"), None);

    // That it has forgotten something is known after a restart, too.
    let a = a.restarted("a");
    let held = b.host.row(&key(&gone)).expect("read");
    assert!(held.is_some_and(|row| row.body().is_some()));
    let mut pair = Pair { sides: [a, b], now };
    pair.connect();
    pair.settle();
    pair.assert_equal();
    for side in &pair.sides {
        assert_eq!(side.session.state(), State::InSync);
        assert_eq!(side.name_of(&gone), None);
        assert_eq!(side.name_of(&kept).as_deref(), Some("kept-there"));
        assert_eq!(side.name_of(&edited).as_deref(), Some("edited-there"));
    }
}
