//! The rules of merging, over histories of edits on three servers.

use daybreak_sync::limits::VALUES_MAX;
use daybreak_sync::{Body, Book, Dot, Heads, HybridClock, NodeId, ObjectKey, Row, Stamp, Value};
use proptest::prelude::*;

/// One thing that happens to an object.
#[derive(Clone, Debug)]
enum Step {
    Edit(usize, u8),
    Delete(usize),
    Resolve(usize, usize),
    /// The first takes in what the second has.
    Merge(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let server = 0..3_usize;
    prop_oneof![
        4 => (server.clone(), any::<u8>()).prop_map(|(at, says)| Step::Edit(at, says)),
        1 => server.clone().prop_map(Step::Delete),
        1 => (server.clone(), 0..4_usize).prop_map(|(at, which)| Step::Resolve(at, which)),
        4 => (server.clone(), server).prop_map(|(at, from)| Step::Merge(at, from)),
    ]
}

fn body(says: u8) -> Body {
    Body {
        octets: vec![says].into(),
        images: [].into(),
    }
}

struct Server {
    book: Book,
    clock: HybridClock,
    row: Row,
}

impl Server {
    fn edit(&mut self, now_ms: u64, edit: impl FnOnce(&Row, Dot, Stamp) -> Row) {
        let dot = self.book.advance();
        self.row = edit(&self.row, dot, self.clock.stamp(now_ms));
    }
}

/// What three servers hold after these steps, having begun with the same object; and whether all values fitted.
fn history(steps: &[Step]) -> (Vec<Row>, bool) {
    let key = ObjectKey::parse("terminal", "a").expect("a key");
    let mut servers: Vec<Server> = Vec::new();
    for at in 0..3_u8 {
        let node = NodeId::from_random([at + 1; 8]);
        let mut book = Book::new(node);
        let stamp = Stamp {
            time_ms: 0,
            counter: 0,
            node,
        };
        let mut clock = HybridClock::after(stamp);
        let first = match servers.first() {
            Some(server) => server.row.clone(),
            None => {
                let (dot, stamp) = (book.advance(), clock.stamp(1));
                Row::edited(None, &key, &Heads::default(), dot, stamp, Some(body(0))).0
            }
        };
        servers.push(Server {
            book,
            clock,
            row: first,
        });
    }
    let mut fitted = true;
    for (now_ms, step) in (2..).zip(steps) {
        match *step {
            Step::Edit(at, says) => servers[at].edit(now_ms, |row, dot, stamp| {
                let heads = Heads::default();
                Row::edited(Some(row), &row.key, &heads, dot, stamp, Some(body(says))).0
            }),
            Step::Delete(at) => servers[at].edit(now_ms, |row, dot, stamp| {
                Row::edited(Some(row), &row.key, &Heads::default(), dot, stamp, None).0
            }),
            Step::Resolve(at, which) => servers[at].edit(now_ms, |row, dot, stamp| {
                let value = &row.values()[which % row.values().len()];
                Row::resolved(row, dot, stamp, value.body.clone())
            }),
            Step::Merge(at, from) => {
                let theirs = servers[from].row.clone();
                let (row, all) = merge(&servers[at].row, &theirs);
                servers[at].row = row;
                fitted &= all;
            }
        }
    }
    (
        servers.into_iter().map(|server| server.row).collect(),
        fitted,
    )
}

fn merge(mine: &Row, theirs: &Row) -> (Row, bool) {
    let merged = Row::merged(Some(mine), theirs, &Heads::default());
    (merged.row.expect("both hold it"), merged.dropped == 0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn s5_merge_is_commutative_associative_and_idempotent(steps in prop::collection::vec(step(), 0..14)) {
        let (rows, fitted) = history(&steps);
        let [a, b, c] = [&rows[0], &rows[1], &rows[2]];
        let (ab, fitted_ab) = merge(a, b);
        let (bc, fitted_bc) = merge(b, c);
        let (left, fitted_left) = merge(&ab, c);
        prop_assume!(fitted && fitted_ab && fitted_bc && fitted_left);
        prop_assert_eq!(&ab, &merge(b, a).0);
        prop_assert_eq!(&left, &merge(a, &bc).0);
        prop_assert_eq!(a, &merge(a, a).0);
        prop_assert_eq!(&ab, &merge(&ab, b).0);
        prop_assert_eq!(&ab, &merge(&ab, a).0);
    }

    #[test]
    fn c100_of_concurrent_edits_the_later_stamp_is_in_force_and_the_other_is_kept(first in 2_u64..9, second in 2_u64..9) {
        let (rows, _) = history(&[]);
        let edit = |node: u8, time_ms: u64| {
            let node = NodeId::from_random([node; 8]);
            let stamp = Stamp { time_ms, counter: 0, node };
            let dot = Dot { node, number: 9 };
            Row::edited(Some(&rows[0]), &rows[0].key, &Heads::default(), dot, stamp, Some(body(node.to_bytes()[0]))).0
        };
        let (a, b) = (edit(1, first), edit(2, second));
        let merged = Row::merged(Some(&a), &b, &Heads::default());
        let row = merged.row.expect("both hold it");
        let winner = if second >= first { body(2) } else { body(1) };
        prop_assert!(merged.conflict);
        prop_assert_eq!(row.body(), Some(&winner));
        let lost: Vec<_> = row.conflicts().map(|value| value.body.clone()).collect();
        prop_assert_eq!(lost.len(), 1);
        prop_assert_ne!(lost[0].as_ref(), Some(&winner));
        // Once more is no news.
        prop_assert!(!Row::merged(Some(&row), &b, &Heads::default()).conflict);
    }
}

#[test]
fn a_wrong_clock_does_not_win_against_a_successive_edit() {
    let (rows, _) = history(&[]);
    let node = NodeId::from_random([9; 8]);
    let stamp = Stamp {
        time_ms: 0,
        counter: 0,
        node,
    };
    let dot = Dot { node, number: 1 };
    let heads = Heads::default();
    let (next, _) = Row::edited(
        Some(&rows[0]),
        &rows[0].key,
        &heads,
        dot,
        stamp,
        Some(body(7)),
    );
    for (mine, theirs) in [(&rows[0], &next), (&next, &rows[0])] {
        let merged = Row::merged(Some(mine), theirs, &heads);
        assert_eq!(merged.row.as_ref(), Some(&next));
        assert!(!merged.conflict);
    }
}

#[test]
fn s9_a_deleted_object_does_not_come_back_from_who_has_not_heard() {
    let (rows, _) = history(&[]);
    let old = &rows[0];
    let mut heads = Heads::default();
    let dot = old.values()[0].dot;
    heads.advance(
        dot.node,
        daybreak_sync::Head {
            position: dot.number,
            mark: Default::default(),
        },
    );
    // It was seen, and is not here any more: so it was deleted, and even the memory of that is gone.
    assert_eq!(Row::merged(None, old, &heads).row, None);
    assert_eq!(old.without(&heads).row, None);
    assert_eq!(
        Row::merged(None, old, &Heads::default()).row.as_ref(),
        Some(old)
    );
}

#[test]
fn s10_a_late_edit_of_a_replaced_server_is_a_conflict_and_never_in_force() {
    let (rows, _) = history(&[Step::Edit(1, 5)]);
    let (ours, theirs) = (&rows[0], &rows[1]);
    let heads = Heads::default();
    let next = Dot {
        node: ours.values()[0].dot.node,
        number: 2,
    };
    let merged = Row::merged_late(Some(ours), theirs, &heads, || next);
    let row = merged.row.expect("ours at least");
    assert!(merged.conflict);
    assert_eq!(row.body(), ours.body());
    let late = row.conflicts().next().and_then(|value| value.body.as_ref());
    assert_eq!(late, Some(&body(5)));
    // Nor where there is nothing else; nor when it is heard again as if it were not late.
    let alone = Row::merged_late(None, theirs, &heads, || next)
        .row
        .expect("a conflict");
    assert_eq!(alone.body(), None);
    assert_eq!(alone.conflicts().count(), 1);
    for row in [&row, &alone] {
        let again = Row::merged(Some(row), theirs, &heads).row;
        assert_eq!(again.as_ref(), Some(row));
    }
}

#[test]
fn s2_edits_whose_numbers_were_given_twice_are_made_anew_under_another_name() {
    let (rows, _) = history(&[Step::Edit(0, 5)]);
    let row = &rows[0];
    let old = row.values()[0].dot.node;
    let new = NodeId::from_random([77; 8]);
    let mut number = 40;
    let renewed = row
        .renewed(old, 1, || {
            number += 1;
            Dot { node: new, number }
        })
        .expect("an edit after the first");
    assert_eq!(
        renewed.values()[0].dot,
        Dot {
            node: new,
            number: 41
        }
    );
    assert_eq!(renewed.version.change_of(old), 1);
    assert!(rows[1].renewed(old, 1, || unreachable!()).is_none());
    // What another made of the lost number is not replaced by what has it now.
    let merged = Row::merged(Some(&renewed), row, &Heads::default());
    assert_eq!(merged.row.expect("both").values().len(), 2);
}

#[test]
fn what_does_not_fit_beside_an_edit_is_told() {
    let (rows, _) = history(&[]);
    let node = NodeId::from_random([9; 8]);
    let dot = |number| Dot { node, number };
    let stamp = |time_ms| Stamp {
        time_ms,
        counter: 0,
        node,
    };
    // All of a server that was replaced: none of them is in force.
    let late = |number: u8| Value {
        dot: dot(number.into()),
        stamp: stamp(number.into()),
        late: true,
        body: Some(body(number)),
    };
    let edit = |values: Vec<Value>, says| {
        let row = Row::new(rows[0].key.clone(), rows[0].version.clone(), values);
        let row = row.expect("values");
        Row::edited(
            Some(&row),
            &row.key,
            &Heads::default(),
            dot(99),
            stamp(99),
            says,
        )
    };
    let count = VALUES_MAX as u8;
    let (row, dropped) = edit((1..count).map(late).collect(), Some(body(100)));
    assert_eq!((row.values().len(), dropped), (VALUES_MAX, 0));
    let (row, dropped) = edit((1..=count).map(late).collect(), Some(body(100)));
    assert_eq!((row.values().len(), dropped), (VALUES_MAX, 1));
    assert_eq!(row.body(), Some(&body(100)));
    // The oldest is the one that is gone. Deleted, the object keeps none, and that is what was asked for.
    assert!(row.values().iter().all(|value| value.body != Some(body(1))));
    let (row, dropped) = edit((1..=count).map(late).collect(), None);
    assert_eq!((row.values().len(), dropped), (1, 0));
}
