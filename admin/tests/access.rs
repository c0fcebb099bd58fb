//! Who gets in, and who does not: every route without credentials and with the lowest role, log-in, sessions, keys, set-up.

mod support;

use daybreak_admin::http::{Access, routes};
use daybreak_admin::kind::Kind;
use daybreak_admin::object::Id;
use daybreak_admin::security::{BuiltInRole, Right};
use serde_json::json;
use support::api::{Client, PASSWORD, Server};
use support::mac;

/// An address of the route that is well-formed.
fn address(path: &str) -> String {
    path.replace("{id}", "nothing")
        .replace("{mac}", "52:54:00:00:00:01")
        .replace("{part}", "nothing")
        .replace("{name:.*}", "nothing/at-all")
        // A stream does not end by itself: this one is refused when it was let in.
        .replace("/stream", "/stream?after=wrong")
}

fn key_with(admin: &Client<'_>, name: &str, rights: &[&str]) -> String {
    let answer = admin
        .send(
            "POST",
            "/api/v1/api-keys",
            &json!({"name": name, "rights": rights}),
        )
        .expect(201);
    answer.json()["secret"]
        .as_str()
        .expect("a secret")
        .to_owned()
}

#[test]
fn every_route_that_is_not_public_refuses_who_has_no_credentials() {
    let server = Server::set_up();
    let mut refused = 0;
    for route in routes() {
        for client in [
            server.anybody(),
            server.with_key("key-0000"),
            Client {
                server: &server,
                headers: vec![("Cookie".into(), "daybreak_session=session-00".into())],
            },
            Client {
                server: &server,
                headers: vec![("Authorization".into(), "Basic YWRtaW46YWRtaW4=".into())],
            },
        ] {
            let answer = client.send(route.method.as_str(), &address(&route.path), &json!({}));
            if route.access == Access::Public {
                assert_ne!(answer.status, 500, "{} {}", route.method, route.path);
                continue;
            }
            assert_eq!(answer.status, 401, "{} {}", route.method, route.path);
            assert_eq!(answer.code(), "unauthenticated");
            refused += 1;
        }
    }
    assert!(refused > 4 * 70, "{refused}");
}

#[test]
fn every_route_that_needs_a_right_refuses_who_has_another() {
    let server = Server::set_up();
    let admin = server.admin();
    let nothing = server.with_key(&key_with(&admin, "nothing", &[])).clone();
    let nothing = Client {
        server: &server,
        headers: nothing.headers,
    };
    admin.create(
        "/api/v1/users",
        &json!({"name": "looker", "roles": ["monitor"]}),
    );
    let users = admin.get("/api/v1/users?name=looker").expect(200).json();
    let id = users["items"][0]["id"]
        .as_str()
        .expect("an identifier")
        .to_owned();
    admin
        .send(
            "PUT",
            &format!("/api/v1/users/{id}/password"),
            &json!({"password": PASSWORD}),
        )
        .expect(204);
    let monitor = server.logged_in("looker", PASSWORD);
    let mut allowed = 0;
    for route in routes() {
        let Access::Right(right) = route.access else {
            continue;
        };
        let say = |client: &Client<'_>| {
            client.send(route.method.as_str(), &address(&route.path), &json!({}))
        };
        let place = format!("{} {}", route.method, route.path);
        let answer = say(&nothing);
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (403, "forbidden"),
            "{place}"
        );
        assert!(
            answer.json()["message"]
                .as_str()
                .expect("a message")
                .contains(right.word()),
            "{place}"
        );
        let answer = say(&monitor);
        if BuiltInRole::Monitor.allows(right) {
            assert!(
                [200, 400, 404].contains(&answer.status),
                "{place}: {}",
                answer.status
            );
            allowed += 1;
        } else {
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (403, "forbidden"),
                "{place}"
            );
        }
    }
    assert!(allowed > 15, "{allowed}");
}

#[test]
fn every_right_opens_its_routes_and_no_others() {
    let server = Server::set_up();
    let admin = server.admin();
    for right in Right::ALL {
        let client = server
            .with_key(&key_with(&admin, right.word(), &[right.word()]))
            .clone();
        for route in routes() {
            if let Access::Right(needed) = route.access {
                let answer = client.send(route.method.as_str(), &address(&route.path), &json!({}));
                assert_eq!(
                    answer.status != 403,
                    needed == right,
                    "{} {} with {}",
                    route.method,
                    route.path,
                    right.word()
                );
                assert_ne!(answer.status, 500, "{} {}", route.method, route.path);
            }
        }
    }
}

#[test]
fn there_is_no_way_in_before_the_set_up_and_only_one_set_up() {
    let server = Server::new();
    let token = server.token();
    let anybody = server.anybody();
    for password in ["admin", "", "password", "daybreak"] {
        anybody
            .send(
                "POST",
                "/api/v1/session",
                &json!({"name": "admin", "password": password}),
            )
            .expect(401);
    }
    let page = anybody.get("/setup").expect(200);
    assert!(String::from_utf8_lossy(&page.body).contains("first administrator"));
    assert!(
        page.header("content-security-policy")
            .expect("a policy")
            .contains("default-src 'none'")
    );
    let set_up = |token: &str, password: &str| {
        anybody.send(
            "POST",
            "/api/v1/setup",
            &json!({"token": token, "name": "boss", "password": password}),
        )
    };
    assert_eq!(
        set_up("setup-0000", PASSWORD).expect(403).code(),
        "set_up_done"
    );
    assert_eq!(
        set_up(&token, "short").expect(422).json()["field"],
        "password"
    );
    set_up(&token, PASSWORD).expect(204);
    assert_eq!(set_up(&token, PASSWORD).expect(403).code(), "set_up_done");
    let me = server
        .logged_in("boss", PASSWORD)
        .get("/api/v1/session")
        .expect(200)
        .json();
    assert_eq!(me["name"], "user boss");
    assert_eq!(
        me["rights"].as_array().expect("rights").len(),
        Right::ALL.len()
    );
    drop(anybody);
    assert_eq!(server.restarted().set_up_link, None);
}

#[test]
fn a_session_is_a_cookie_that_scripts_and_other_sites_cannot_use() {
    let server = Server::set_up();
    let json = json!({"name": "admin", "password": PASSWORD});
    let answer = server
        .anybody()
        .send("POST", "/api/v1/session", &json)
        .expect(204);
    let cookie = answer.header("set-cookie").expect("a cookie");
    assert!(
        cookie.contains("; HttpOnly") && cookie.contains("; SameSite=Strict"),
        "{cookie}"
    );
    let mut admin = server.admin();
    admin
        .headers
        .retain(|(name, _)| name != "X-Daybreak-Request");
    admin.get("/api/v1/terminals").expect(200);
    let change = admin.send(
        "POST",
        "/api/v1/terminals",
        &json!({"name": "a", "macs": [mac(1)]}),
    );
    assert_eq!(change.expect(403).code(), "header_missing");
    assert_eq!(
        admin
            .raw("DELETE", "/api/v1/session", &[], b"")
            .expect(403)
            .code(),
        "header_missing"
    );
}

#[test]
fn a_session_ends_by_log_out_by_time_by_a_new_password_and_with_its_user() {
    let server = Server::set_up();
    let admin = server.admin();
    let ended = |client: &Client<'_>| client.get("/api/v1/session").status == 401;
    let first = server.admin();
    assert!(!ended(&first));
    first.raw("DELETE", "/api/v1/session", &[], b"").expect(204);
    assert!(ended(&first) && !ended(&admin));

    let id = admin.create(
        "/api/v1/users",
        &json!({"name": "eve", "roles": ["operator"]}),
    );
    let place = format!("/api/v1/users/{id}");
    let set = |password: &str| {
        admin
            .send(
                "PUT",
                &format!("{place}/password"),
                &json!({"password": password}),
            )
            .expect(204);
    };
    set(PASSWORD);
    let eve = server.logged_in("eve", PASSWORD);
    set("another long password");
    assert!(ended(&eve));
    let eve = server.logged_in("EVE".to_lowercase().as_str(), "another long password");
    let own = json!({"current": "wrong", "password": "a third long password"});
    assert_eq!(
        eve.send("PUT", "/api/v1/session/password", &own)
            .expect(401)
            .code(),
        "wrong_credentials"
    );
    let disabled = json!({"enabled": false});
    admin.send_if("PATCH", &place, "*", &disabled).expect(200);
    assert!(ended(&eve));
    let again = json!({"name": "eve", "password": "another long password"});
    server
        .anybody()
        .send("POST", "/api/v1/session", &again)
        .expect(401);
    admin
        .send_if("PATCH", &place, "*", &json!({"enabled": true}))
        .expect(200);
    assert!(!ended(&eve));
    admin.delete(&place).expect(204);
    assert!(ended(&eve));

    let cookie = admin.headers.clone();
    let server = server.restarted();
    let admin = Client {
        server: &server,
        headers: cookie,
    };
    assert!(!ended(&admin), "sessions outlast a restart");
    server.clock.set(1_700_000_000_000 + 3 * 60 * 60 * 1000);
    assert!(ended(&admin), "unused for three hours");
}

#[test]
fn somebody_sees_their_own_sessions_and_ends_one_or_all_and_an_administrator_those_of_others() {
    let server = Server::set_up();
    let (first, second, third) = (server.admin(), server.admin(), server.admin());
    let sessions =
        |client: &Client<'_>| client.get("/api/v1/sessions").expect(200).json()["items"].clone();
    let list = sessions(&first);
    let ids: Vec<&str> = list
        .as_array()
        .expect("items")
        .iter()
        .map(|item| item["id"].as_str().expect("an identifier"))
        .collect();
    assert_eq!(ids.len(), 3);
    let own = sessions(&second);
    let own = own
        .as_array()
        .expect("items")
        .iter()
        .find(|item| item["current"] == true);
    let own = own.expect("this one")["id"]
        .as_str()
        .expect("an identifier")
        .to_owned();
    // What stands for a session opens nothing.
    let guess = format!("daybreak_session=session-{own}");
    let guess = Client {
        server: &server,
        headers: vec![("Cookie".into(), guess)],
    };
    guess.get("/api/v1/session").expect(401);
    first.delete(&format!("/api/v1/sessions/{own}")).expect(204);
    second.get("/api/v1/session").expect(401);
    first.delete(&format!("/api/v1/sessions/{own}")).expect(404);

    let admin_id = first.get("/api/v1/session").expect(200).json()["user"].clone();
    let eve = first.create(
        "/api/v1/users",
        &json!({"name": "eve", "roles": ["monitor"]}),
    );
    let place = format!("/api/v1/users/{eve}");
    first
        .send(
            "PUT",
            &format!("{place}/password"),
            &json!({"password": PASSWORD}),
        )
        .expect(204);
    let eve = server.logged_in("eve", PASSWORD);
    eve.delete(&format!("/api/v1/sessions/{}", ids[0]))
        .expect(404);
    let others = format!(
        "/api/v1/users/{}/sessions",
        admin_id.as_str().expect("a user")
    );
    eve.delete(&others).expect(403);
    first.delete(&format!("{place}/sessions")).expect(204);
    eve.get("/api/v1/session").expect(401);

    first.delete("/api/v1/sessions").expect(204);
    third.get("/api/v1/session").expect(401);
    first.get("/api/v1/session").expect(401);
    let admin = server.admin();
    let key = key_with(&admin, "ci", &["terminals.read"]);
    server.with_key(&key).get("/api/v1/sessions").expect(403);
}

#[test]
fn guessing_a_password_is_slowed_down() {
    let server = Server::set_up();
    let anybody = server.anybody();
    let guess = |name: &str| {
        anybody.send(
            "POST",
            "/api/v1/session",
            &json!({"name": name, "password": "a wrong password"}),
        )
    };
    let mut answers: Vec<u16> = (0..12).map(|_| guess("admin").status).collect();
    answers.dedup();
    assert_eq!(answers, [401, 429]);
    let answer = guess("somebody-else").expect(429);
    assert_eq!(answer.code(), "too_many_attempts");
    assert!(
        answer
            .header("retry-after")
            .and_then(|seconds| seconds.parse::<u64>().ok())
            .expect("seconds")
            <= 300
    );
    server.clock.set(1_700_000_000_000 + 301_000);
    server.admin();
}

#[test]
fn an_api_key_is_shown_once_allows_what_it_says_and_expires() {
    let server = Server::set_up();
    let admin = server.admin();
    let expires_ms = 1_700_000_060_000_u64;
    let json = json!({"name": "ci", "rights": ["terminals.read"], "expires_ms": expires_ms});
    let made = admin
        .send("POST", "/api/v1/api-keys", &json)
        .expect(201)
        .json();
    let (id, secret) = (
        made["id"].as_str().expect("id").to_owned(),
        made["secret"].as_str().expect("secret").to_owned(),
    );
    let key = server.with_key(&secret);
    key.get("/api/v1/terminals").expect(200);
    key.get("/api/v1/users").expect(403);
    let read = admin
        .get(&format!("/api/v1/api-keys/{id}"))
        .expect(200)
        .json();
    assert_eq!(
        (read.get("secret"), read["body"].get("digest")),
        (None, None)
    );
    let audit = admin.get("/api/v1/audit").expect(200).body;
    let audit = String::from_utf8(audit).expect("UTF-8");
    assert!(!audit.contains("digest") && !audit.contains(&secret) && !audit.contains("salt"));
    // What is sealed survives a change of the rest, and cannot be set.
    let place = format!("/api/v1/api-keys/{id}");
    admin
        .send_if("PATCH", &place, "*", &json!({"remark": "for the build"}))
        .expect(200);
    key.get("/api/v1/terminals").expect(200);
    let set = admin.send_if("PATCH", &place, "*", &json!({"digest": "0".repeat(64)}));
    assert_eq!(set.expect(422).json()["field"], "digest");
    server.clock.set(expires_ms);
    key.get("/api/v1/terminals").expect(401);
    server.clock.set(expires_ms - 1);
    key.get("/api/v1/terminals").expect(200);
    admin.delete(&place).expect(204);
    key.get("/api/v1/terminals").expect(401);
}

#[test]
fn a_role_of_the_sites_own_opens_what_it_says_and_a_change_of_it_holds_at_once() {
    let server = Server::set_up();
    let admin = server.admin();
    let role = json!({"name": "keeper", "rights": ["terminals.read"]});
    let role = admin.create("/api/v1/roles", &role);
    let user = admin.create("/api/v1/users", &json!({"name": "kim", "roles": [role]}));
    let password = json!({"password": PASSWORD});
    let place = format!("/api/v1/users/{user}/password");
    admin.send("PUT", &place, &password).expect(204);
    let kim = server.logged_in("kim", PASSWORD);
    let sees = |terminals: u16, users: u16| {
        kim.get("/api/v1/terminals").expect(terminals);
        kim.get("/api/v1/users").expect(users);
    };
    sees(200, 403);
    let place = format!("/api/v1/roles/{role}");
    let other = json!({"rights": ["users.read"]});
    admin.send_if("PATCH", &place, "*", &other).expect(200);
    sees(403, 200);
    assert_eq!(admin.delete(&place).expect(409).code(), "in_use");
    admin.delete(&format!("{place}?force=true")).expect(204);
    sees(403, 403);
}

#[test]
fn no_file_holds_a_secret_as_it_is_said_and_of_a_password_there_is_argon2id() {
    let server = Server::new();
    let token = server.make_admin();
    let admin = server.admin();
    let key = key_with(&admin, "ci", &["terminals.read"]);
    server.with_key(&key).get("/api/v1/terminals").expect(200);
    let session = admin.headers[0].1.clone();
    // Without the word that tells what each opens.
    let digits = |secret: &str| secret.rsplit('-').next().expect("digits").to_owned();
    let secrets = [
        ("password", PASSWORD.to_owned()),
        ("session", digits(&session)),
        ("key", digits(&key)),
        ("set-up link", digits(&token)),
    ];
    let data = server.dir.path().join("data");
    let mut read = Vec::new();
    for entry in std::fs::read_dir(&data).expect("a folder") {
        let path = entry.expect("an entry").path();
        let Ok(content) = std::fs::read(&path) else {
            continue; // a folder
        };
        for (what, secret) in &secrets {
            assert!(secret.len() > 10, "{what}");
            let found = content
                .windows(secret.len())
                .any(|octets| octets == secret.as_bytes());
            assert!(!found, "the {what} is in {}", path.display());
        }
        let name = path.file_name().expect("a name").to_string_lossy();
        read.push(name.into_owned());
    }
    for name in ["config.db", "config.db-wal"] {
        assert!(read.iter().any(|read| read == name), "{read:?}");
    }
    // What is kept of the password, computed again.
    let site = server.configuration().site();
    let user = admin.get("/api/v1/session").expect(200).json()["user"].clone();
    let user = Id::parse(user.as_str().expect("a user")).expect("an identifier");
    let kept = site.object(Kind::User, &user).expect("there").body.stored();
    let kept = &kept["verifier"];
    let cost = |field: &str| u32::try_from(kept[field].as_u64().expect(field)).expect(field);
    let costs = (cost("memory_kib"), cost("passes"), cost("lanes"));
    assert!(costs.0 >= 19_456 && costs.1 >= 2, "{costs:?}");
    let params = argon2::Params::new(costs.0, costs.1, costs.2, Some(32)).expect("costs");
    let argon2id = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let text = |field: &str| kept[field].as_str().expect(field).to_owned();
    let salt = text("salt");
    let salt = (0..salt.len() / 2).map(|at| u8::from_str_radix(&salt[2 * at..2 * at + 2], 16));
    let salt: Vec<u8> = salt.collect::<Result<_, _>>().expect("digits");
    let mut hash = [0; 32];
    argon2id
        .hash_password_into(PASSWORD.as_bytes(), &salt, &mut hash)
        .expect("computed");
    let hash: String = hash.iter().map(|octet| format!("{octet:02x}")).collect();
    assert_eq!(text("hash"), hash);
}

#[test]
fn nobody_makes_themselves_more_than_they_are() {
    let server = Server::set_up();
    let admin = server.admin();
    let keeper = key_with(
        &admin,
        "keeper",
        &["users.read", "users.write", "roles.write", "api-keys.write"],
    );
    let keeper = server.with_key(&keeper);
    for (path, json) in [
        (
            "/api/v1/users",
            json!({"name": "me", "roles": ["administrator"]}),
        ),
        (
            "/api/v1/roles",
            json!({"name": "all", "rights": ["settings.write"]}),
        ),
        (
            "/api/v1/api-keys",
            json!({"name": "more", "rights": ["settings.write"]}),
        ),
    ] {
        assert_eq!(
            keeper.send("POST", path, &json).expect(403).code(),
            "beyond_own_rights",
            "{path}"
        );
    }
    let users = keeper.get("/api/v1/users").expect(200).json();
    let boss = users["items"][0]["id"].as_str().expect("id");
    let take_over = keeper.send(
        "PUT",
        &format!("/api/v1/users/{boss}/password"),
        &json!({"password": PASSWORD}),
    );
    assert_eq!(take_over.expect(403).code(), "beyond_own_rights");
    let last = admin.delete(&format!("/api/v1/users/{boss}"));
    assert_eq!(last.expect(409).code(), "last_administrator");
}
