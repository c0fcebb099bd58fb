//! Seats of terminals that were changed on both servers at once: whichever value is in force or chosen, the later statement about the seat
//! holds ([`crate::site`] shows it so). A choice neither brings a seat back nor takes one away.

use daybreak_sync::host::resolved;
use daybreak_sync::{Body as SyncedBody, ObjectKey, Row};

use super::{Actor, Configuration};
use crate::database::DatabaseError;
use crate::kind::{Body, Kind, Terminal};
use crate::licensing::Seat;
use crate::limits::SEATS_AT_ONCE_MAX;
use crate::object::Id;
use crate::site::{Site, read};

/// What an operator has chosen, with the seat that the terminal has now; one that is there again gets one if there is room.
pub(super) fn keeping_seat(
    site: &Site,
    key: &ObjectKey,
    body: SyncedBody,
    now_ms: u64,
) -> SyncedBody {
    let Some(mut terminal) = terminal(key, &body) else {
        return body;
    };
    let had = held_now(site, key).unwrap_or_else(|| Seat::wanted(now_ms));
    let others = site.seats() - u64::from(had.is_held());
    let room = site.entitlement().grants(others);
    terminal.seat = had.settled(terminal.enabled, room, now_ms);
    written(terminal, &body)
}

impl Configuration {
    /// Ends the conflicts in which nothing but seats was changed: both servers gave or took one while they did not hear of each other,
    /// and nobody has to choose. Says how many there were.
    pub fn settle_seats(&self, actor: &Actor) -> Result<usize, DatabaseError> {
        let mut writer = self.writer();
        let database = &mut writer.database;
        if database.conflict_count()? == 0 {
            return Ok(0);
        }
        let (site, now_ms) = (self.site(), self.now_ms());
        let (mut book, mut clock) = (database.book().clone(), database.clock());
        let mut writes = Vec::new();
        let mut after = None;
        loop {
            let rows = database.conflicts(after.as_ref(), SEATS_AT_ONCE_MAX)?;
            let Some(last) = rows.last() else {
                break;
            };
            after = Some(last.key.clone());
            for row in rows {
                if let Some(body) = settled(&site, &row, now_ms) {
                    writes.push(resolved(&mut book, &row, clock.stamp(now_ms), Some(body)));
                }
            }
        }
        if writes.is_empty() {
            return Ok(0);
        }
        let by = (actor.name.clone(), Some("resolve"));
        self.write(database, (book, clock), &writes, by)?;
        Ok(writes.len())
    }
}

/// What such a row says, if its values say the same but for the seat.
fn settled(site: &Site, row: &Row, now_ms: u64) -> Option<SyncedBody> {
    let mut same: Option<Terminal> = None;
    for value in row.values() {
        let body = value.body.as_ref().filter(|_| !value.late)?;
        let mut terminal = terminal(&row.key, body)?;
        terminal.seat = Seat::default();
        if same.as_ref().is_some_and(|same| *same != terminal) {
            return None;
        }
        same = Some(terminal);
    }
    let mut terminal = same?;
    terminal.seat = held_now(site, &row.key)?.settled(terminal.enabled, false, now_ms);
    Some(written(terminal, row.body()?))
}

fn terminal(key: &ObjectKey, body: &SyncedBody) -> Option<Terminal> {
    if key.kind() != Kind::Terminal.word() {
        return None;
    }
    match read(Kind::Terminal, body) {
        Ok(Body::Terminal(terminal)) => Some(terminal),
        _ => None,
    }
}

fn held_now(site: &Site, key: &ObjectKey) -> Option<Seat> {
    let id = Id::parse(key.id()).ok()?;
    match &site.object(Kind::Terminal, &id)?.body {
        Body::Terminal(terminal) => Some(terminal.seat),
        _ => None,
    }
}

fn written(terminal: Terminal, like: &SyncedBody) -> SyncedBody {
    SyncedBody {
        octets: Body::Terminal(terminal)
            .stored()
            .to_string()
            .into_bytes()
            .into(),
        images: like.images.clone(),
    }
}
