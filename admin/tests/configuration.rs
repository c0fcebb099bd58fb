//! What a change of the configuration keeps, whoever makes it.

mod support;

use std::os::unix::fs::PermissionsExt;

use daybreak_admin::configuration::{Actor, ChangeError, Edit, Expected};
use daybreak_admin::database::{AuditFilter, Database, DatabaseError};
use daybreak_admin::edge::Machine;
use daybreak_admin::kind::{Body, Kind};
use daybreak_admin::object::Causality;
use daybreak_admin::security::{Password, Right, Verifier};
use serde_json::json;
use support::{Site, actor, mac};

#[test]
fn what_was_acknowledged_is_there_after_a_restart_and_numbering_goes_on() {
    let site = Site::new();
    let id = site.create(Kind::Terminal, &json!({"name": "a", "macs": [mac(1)]}));
    let first = site.object(Kind::Terminal, &id);
    let node = site.configuration.node();
    site.clock.set(5); // the clock is set back
    let site = site.restarted();
    assert_eq!(site.configuration.node(), node);
    assert_eq!(site.object(Kind::Terminal, &id), first);
    site.try_replace(Kind::Terminal, &id, &json!({"name": "b", "macs": [mac(1)]}))
        .expect("replaced");
    let second = site.object(Kind::Terminal, &id);
    assert_eq!(second.version.compare(&first.version), Causality::After);
    assert_eq!(
        (
            first.version.change_of(node),
            second.version.change_of(node)
        ),
        (1, 2)
    );
    assert!(
        second.stamp > first.stamp,
        "also when the clock was set back"
    );
    assert_ne!(second.revision(), first.revision());
    let mode = std::fs::metadata(site.dir.path().join("config.db"))
        .expect("config.db")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn every_change_has_its_audit_row_and_a_refused_one_leaves_no_trace() {
    let site = Site::new();
    let id = site.create(Kind::Terminal, &json!({"name": "a", "macs": [mac(1)]}));
    site.try_replace(Kind::Terminal, &id, &json!({"name": "b", "macs": [mac(1)]}))
        .expect("replaced");
    let refused = site.try_create(Kind::Terminal, &json!({"name": "c", "macs": [mac(1)]}));
    assert!(refused.is_err());
    site.delete(Kind::Terminal, &id, false).expect("deleted");
    let rows = site
        .configuration
        .with_database(|database| database.audit(&AuditFilter::default(), 100))
        .expect("audit");
    let actions: Vec<_> = rows.iter().map(|row| row.action.as_str()).collect();
    assert_eq!(actions, ["delete", "change", "create"], "newest first");
    assert!(
        rows.iter()
            .all(|row| row.actor == "test" && row.time_ms == 1_000_000)
    );
    assert!(
        rows[1]
            .before
            .as_deref()
            .expect("before")
            .contains(r#""name":"a""#)
    );
    assert!(
        rows[1]
            .after
            .as_deref()
            .expect("after")
            .contains(r#""name":"b""#)
    );
    assert_eq!(
        (rows[2].before.as_deref(), rows[0].after.as_deref()),
        (None, None)
    );
    assert_eq!(
        site.configuration.site().change(),
        3,
        "the refused one used up no number"
    );
}

#[test]
fn edits_of_one_list_are_made_together_or_not_at_all() {
    let site = Site::new();
    let body = |name: &str, card| {
        Body::parse(Kind::Terminal, &json!({"name": name, "macs": [mac(card)]})).expect("valid")
    };
    let edits = vec![Edit::Create(body("a", 1)), Edit::Create(body("b", 1))];
    let refused = site
        .configuration
        .apply(&actor(), edits)
        .expect_err("the card is taken");
    assert_eq!(refused.field(), Some("macs[0]"));
    assert!(site.configuration.site().is_empty());
    let edits = vec![Edit::Create(body("a", 1)), Edit::Create(body("b", 2))];
    assert_eq!(
        site.configuration
            .apply(&actor(), edits)
            .expect("made")
            .len(),
        2
    );
    assert_eq!(
        site.restarted()
            .configuration
            .site()
            .table(Kind::Terminal)
            .len(),
        2
    );
}

#[test]
fn a_name_and_a_card_are_given_once() {
    let site = Site::new();
    let id = site.create(
        Kind::Terminal,
        &json!({"name": "Kiosk", "macs": [mac(1), mac(2)]}),
    );
    for (json, field) in [
        (json!({"name": "kIOSK", "macs": [mac(3)]}), "name"),
        (
            json!({"name": "other", "macs": [mac(3), mac(2)]}),
            "macs[1]",
        ),
    ] {
        let refused = site.try_create(Kind::Terminal, &json).expect_err("taken");
        assert!(
            matches!(&refused, ChangeError::Taken { by, .. } if *by == id),
            "{refused}"
        );
        assert_eq!(refused.field(), Some(field));
    }
    // Its own name in another case, its own cards in another order: no conflict with itself.
    site.try_replace(
        Kind::Terminal,
        &id,
        &json!({"name": "KIOSK", "macs": [mac(2), mac(1)]}),
    )
    .expect("itself");
    // The same name in another kind is another name.
    site.create(Kind::TerminalGroup, &json!({"name": "Kiosk"}));
    site.delete(Kind::Terminal, &id, false).expect("deleted");
    site.create(Kind::Terminal, &json!({"name": "kiosk", "macs": [mac(1)]}));
}

#[test]
fn an_edit_of_a_state_that_is_gone_is_refused() {
    let site = Site::new();
    let id = site.create(Kind::TerminalGroup, &json!({"name": "halls"}));
    let read = site.object(Kind::TerminalGroup, &id).revision();
    let edit = |name: &str| Edit::Replace {
        id: id.clone(),
        body: Body::parse(Kind::TerminalGroup, &json!({"name": name})).expect("valid"),
        expected: Expected::OneOf(vec![read.clone()]),
    };
    site.apply(edit("first")).expect("it is what was read");
    assert!(matches!(
        site.apply(edit("second")),
        Err(ChangeError::Stale)
    ));
    let delete = Edit::Delete {
        kind: Kind::TerminalGroup,
        id: id.clone(),
        expected: Expected::OneOf(vec![read]),
        force: true,
    };
    assert!(matches!(site.apply(delete), Err(ChangeError::Stale)));
}

#[test]
fn a_reference_leads_somewhere_and_what_is_used_stays() {
    let site = Site::new();
    let dangling =
        json!({"name": "a", "macs": [mac(1)], "settings": {"terminal_servers": ["nowhere"]}});
    let refused = site
        .try_create(Kind::Terminal, &dangling)
        .expect_err("refused");
    assert_eq!(refused.field(), Some("settings.terminal_servers[0]"));
    let group = site.create(Kind::TerminalGroup, &json!({"name": "halls"}));
    let terminal = site.create(
        Kind::Terminal,
        &json!({"name": "a", "macs": [mac(1)], "group": group}),
    );
    let refused = site
        .delete(Kind::TerminalGroup, &group, false)
        .expect_err("used");
    assert!(
        refused.to_string().contains("terminal a refers to it"),
        "{refused}"
    );
    site.delete(Kind::TerminalGroup, &group, true)
        .expect("forced");
    site.delete(Kind::Terminal, &terminal, false)
        .expect("deleted");
}

#[test]
fn groups_are_a_tree_of_bounded_depth() {
    let site = Site::new();
    let mut chain = vec![site.create(Kind::TerminalGroup, &json!({"name": "0"}))];
    for number in 1..16 {
        let json = json!({"name": number.to_string(), "parent": chain.last()});
        chain.push(site.create(Kind::TerminalGroup, &json));
    }
    let refused = site.try_create(
        Kind::TerminalGroup,
        &json!({"name": "too deep", "parent": chain.last()}),
    );
    assert_eq!(refused.expect_err("refused").field(), Some("parent"));
    for inner in [&chain[0], &chain[7], &chain[15]] {
        let circle = site.try_replace(
            Kind::TerminalGroup,
            &chain[0],
            &json!({"name": "0", "parent": inner}),
        );
        assert_eq!(circle.expect_err("refused").field(), Some("parent"));
    }
    let roof = site.create(Kind::TerminalGroup, &json!({"name": "roof"}));
    let below = site.try_replace(
        Kind::TerminalGroup,
        &chain[0],
        &json!({"name": "0", "parent": roof}),
    );
    assert_eq!(
        below.expect_err("the whole tree would be too deep").field(),
        Some("parent")
    );
}

#[test]
fn a_setting_that_comes_again_has_seen_its_deletion() {
    let site = Site::new();
    let json = json!({"key": "terminal-defaults", "value": {"instant_failover": true}});
    let id = site.create(Kind::Setting, &json);
    assert_eq!(id.as_str(), "terminal-defaults");
    assert!(matches!(
        site.try_create(Kind::Setting, &json),
        Err(ChangeError::Taken { .. })
    ));
    let first = site.object(Kind::Setting, &id).version.clone();
    site.delete(Kind::Setting, &id, false).expect("deleted");
    let site = site.restarted();
    site.create(Kind::Setting, &json);
    let again = site.object(Kind::Setting, &id).version.clone();
    assert_eq!(again.compare(&first), Causality::After);
    assert_eq!(again.change_of(site.configuration.node()), 3);
}

#[test]
fn nobody_gives_a_right_that_they_do_not_have() {
    let site = Site::new();
    let keeper = Actor {
        name: "keeper".into(),
        rights: [
            Right::UsersWrite,
            Right::RolesWrite,
            Right::KeysWrite,
            Right::TerminalsRead,
        ]
        .into(),
    };
    let create = |kind, json| {
        let body = Body::parse_request(kind, &json).expect("valid");
        site.configuration.apply(&keeper, vec![Edit::Create(body)])
    };
    let beyond = |outcome: Result<_, ChangeError>| matches!(outcome, Err(ChangeError::Beyond(_)));
    assert!(beyond(create(
        Kind::User,
        json!({"name": "me2", "roles": ["administrator"]})
    )));
    assert!(beyond(create(
        Kind::Role,
        json!({"name": "r", "rights": ["settings.write"]})
    )));
    assert!(beyond(create(
        Kind::ApiKey,
        json!({"name": "k", "rights": ["settings.write"]})
    )));
    assert!(
        create(
            Kind::ApiKey,
            json!({"name": "k", "rights": ["terminals.read"]})
        )
        .is_ok()
    );
    // Nor do they take one away from somebody above.
    let admin = site.create(
        Kind::User,
        &json!({"name": "admin", "roles": ["administrator"]}),
    );
    let lower = Edit::Replace {
        id: admin,
        body: Body::parse(Kind::User, &json!({"name": "admin", "roles": []})).expect("valid"),
        expected: Expected::Any,
    };
    assert!(beyond(site.configuration.apply(&keeper, vec![lower])));
}

#[test]
fn somebody_can_always_administer_the_site() {
    let site = Site::new();
    let id = site.create(
        Kind::User,
        &json!({"name": "admin", "roles": ["administrator"]}),
    );
    let mut body = site.object(Kind::User, &id).body.clone();
    if let Body::User(user) = &mut body {
        let password = Password::parse("long enough for us".into()).expect("long enough");
        user.verifier = Some(Verifier::of(&password, &Machine));
    }
    site.apply(Edit::Seal {
        id: id.clone(),
        body,
        expected: None,
    })
    .expect("a password");
    let lost =
        |outcome: Result<_, ChangeError>| matches!(outcome, Err(ChangeError::LastAdministrator));
    assert!(lost(site.delete(Kind::User, &id, true)));
    for json in [
        json!({"name": "admin", "roles": ["monitor"]}),
        json!({"name": "admin", "roles": ["administrator"], "enabled": false}),
    ] {
        assert!(
            lost(site.try_replace(Kind::User, &id, &json).map(drop)),
            "{json}"
        );
    }
    // Replacing keeps the password, and the audit never shows it.
    site.try_replace(
        Kind::User,
        &id,
        &json!({"name": "root", "roles": ["administrator"]}),
    )
    .expect("renamed");
    assert_eq!(site.configuration.site().administrators().count(), 1);
    let rows = site
        .configuration
        .with_database(|database| database.audit(&AuditFilter::default(), 100))
        .expect("audit");
    assert!(rows.iter().all(|row| !format!("{row:?}").contains("salt")));
}

#[test]
fn a_database_of_a_newer_version_is_refused_and_left_as_it_is() {
    let site = Site::new();
    let path = site.dir.path().join("config.db");
    drop(site.configuration);
    rusqlite::Connection::open(&path)
        .expect("open")
        .pragma_update(None, "user_version", 1000)
        .expect("set");
    let refused = Database::open(&path, &Machine).expect_err("refused");
    assert!(
        matches!(refused, DatabaseError::Newer { found: 1000, .. }),
        "{refused}"
    );
    assert!(refused.to_string().contains("install the newer version"));
}

#[test]
fn sqlite_is_the_one_that_was_bundled_and_syncs_every_commit() {
    let number = rusqlite::version_number();
    assert!(number >= 3_051_003, "{number}");
    let site = Site::new();
    let path = site.dir.path().join("config.db");
    let mode: String = rusqlite::Connection::open(&path)
        .and_then(|connection| {
            connection.pragma_query_value(None, "journal_mode", |row| row.get(0))
        })
        .expect("read");
    assert_eq!(mode, "wal");
}

#[test]
fn a_terminal_that_an_older_version_stored_gets_the_key_of_its_reports_once() {
    let site = Site::new();
    let id = site.create(Kind::Terminal, &json!({"name": "a", "macs": [mac(1)]}));
    rusqlite::Connection::open(site.dir.path().join("config.db"))
        .and_then(|other| {
            other.execute(
                "UPDATE object SET body = json_remove(body, '$.status_key')",
                [],
            )
        })
        .expect("taken away");
    let site = site.restarted();
    let key = || site.object(Kind::Terminal, &id).body.stored()["status_key"].clone();
    assert!(key().is_null());
    site.configuration
        .give_missing_keys(&actor())
        .expect("given");
    let given = key();
    assert!(given.is_string());
    let changes = site.configuration.site().change();
    site.configuration
        .give_missing_keys(&actor())
        .expect("nothing to give");
    assert_eq!(
        (key(), site.configuration.site().change()),
        (given, changes)
    );
    let audit = |database: &Database| database.audit(&AuditFilter::default(), 1);
    let audit = site.configuration.with_database(audit).expect("audit");
    assert_eq!(audit[0].action, "secret");
}
