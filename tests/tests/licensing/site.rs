//! The activation site: the real `daybreak-licence serve`, browsers that are curl, and the real `daybreak-admin` that takes its files.

use std::time::Duration;

use daybreak_admin::http::activation::{Access, PLACES};
use daybreak_admin::licensing::InstallationId;
use daybreak_admin::object::NodeId;
use daybreak_tests::site::Site;
use daybreak_tests::vendor::Vendor;
use daybreak_tests::vendor_site::{ActivationSite, Browser, PASSWORD};

const PATIENCE: Duration = Duration::from_secs(30);

/// Prints what a command of the administration prints, on a data directory that nothing else has.
fn admin(site: &Site, args: &[&str]) -> String {
    let output = site.admin(args);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {error}");
    String::from_utf8(output.stdout).expect("text")
}

/// Who a server is that was started once.
fn installation(site: &Site) -> String {
    drop(site.administration(&[]));
    admin(site, &["installation-id"]).trim().to_owned()
}

/// The `number`th server of those that need not run.
fn id(number: u8) -> String {
    InstallationId::derive("machine", NodeId::from_random([number; 8])).to_string()
}

fn customer(vendor: &Vendor, site: &ActivationSite, name: &str, customer: &str) -> Browser {
    let browser = site.browser();
    browser.accept(&vendor.run(&["account", "add", name, "--customer", customer]));
    browser
}

fn staff(vendor: &Vendor, site: &ActivationSite) -> Browser {
    let browser = site.browser();
    browser.accept(&vendor.run(&["account", "add", "staff", "--staff"]));
    browser
}

/// The master licence that a browser is led to.
fn led_to(page: &daybreak_tests::vendor_site::Page) -> String {
    let path = page.header("location").expect("a way on").to_owned();
    assert!(path.starts_with("/licences/lic-"), "{path}");
    path
}

#[test]
fn a_customer_activates_for_two_servers_at_the_site_and_both_take_the_file() {
    let vendor = Vendor::new();
    let mut site = ActivationSite::start(vendor.dir(), &[]);
    let staff = staff(&vendor, &site);
    let new = [("customer", "Plant <b>1</b>"), ("redundancy", "mirrored")];
    let path = led_to(
        &staff
            .send("/licences/new", "/licences/new", &new)
            .expect(303),
    );
    let products = format!("{path}/products");
    let product = [("product", "mirrored-terminal-connection"), ("count", "40")];
    let _ = staff.send(&path, &products, &product).expect(303);
    // The account is made by the staff, too; the link is shown once.
    let account = [
        ("name", "anna@plant.example"),
        ("customer", "Plant <b>1</b>"),
    ];
    let made = staff.send("/accounts", "/accounts", &account).expect(200);
    let link = made.body.split("<code>").nth(1).expect("a link");
    let anna = site.browser();
    anna.accept(link.split('<').next().expect("a link"));
    anna.get("/licences")
        .expect(200)
        .says(&[&path, "40 × mirrored terminal connection"]);

    let (a, b) = (Site::new(), Site::new());
    let (id_a, id_b) = (installation(&a), installation(&b));
    let activations = format!("{path}/activations");
    // What is wrong is said at its field, and what was typed is still there.
    let other = if id_b.ends_with('Z') { "Y" } else { "Z" };
    let mistyped = format!("{}{other}", &id_b[..id_b.len() - 1]);
    let both = [("first", &id_a[..]), ("second", &mistyped)];
    anna.send(&path, &activations, &both).expect(422).says(&[
        "aria-invalid=\"true\"",
        "check characters do not fit; read it again",
        &format!("value=\"{mistyped}\""),
    ]);
    let twice = [("first", &id_a[..]), ("second", &id_a)];
    anna.send(&path, &activations, &twice)
        .expect(422)
        .says(&["this is the first server again"]);
    anna.send(&path, &activations, &[("first", &id_a)])
        .expect(422)
        .says(&["an Installation ID has 26"]);
    anna.get(&path).expect(200).says(&["None yet."]);
    let both = [("first", &id_a[..]), ("second", &id_b)];
    let done = anna.send(&path, &activations, &both).expect(303);
    assert_eq!(done.header("location"), Some(&format!("{path}?made=1")[..]));
    // Sent twice, by an impatient reader: the same file, and one activation.
    let again = anna.send(
        &path,
        &activations,
        &[("first", &id_b[..]), ("second", &id_a)],
    );
    assert_eq!(
        again.expect(303).header("location"),
        done.header("location")
    );

    let (key, licence) = (
        anna.download("/vendor-key"),
        anna.download(&format!("{activations}/1")),
    );
    for server in [&a, &b] {
        admin(server, &["licence", "trust", key.to_str().expect("a path")]);
        admin(
            server,
            &["licence", "install", licence.to_str().expect("a path")],
        );
        let listed = admin(server, &["licence", "list"]);
        assert!(
            listed.contains("activation 1") && listed.contains(&id_b),
            "{listed}"
        );
    }
    assert!(
        vendor.run(&["list"]).contains(" by anna@plant.example"),
        "the ledger knows"
    );
    site.process().terminate();
    assert!(site.process().wait_for_exit(PATIENCE).success());
    let log = site.process().finished_log();
    assert!(
        log.contains("account anna@plant.example") && !log.contains("invitation-"),
        "{log}"
    );
}

#[test]
fn a_customer_sees_nothing_of_another_and_strangers_nothing_at_all() {
    let vendor = Vendor::new();
    let site = ActivationSite::start(vendor.dir(), &[]);
    let (own, other) = (
        vendor.master("none", &[("terminal-connection", 5)]),
        vendor.run(&[
            "master",
            "--customer",
            "Another Plant",
            "--redundancy",
            "none",
        ]),
    );
    let other = other.trim();
    let id = id(1);
    let _ = vendor.activate(other, &[&id]);
    let bert = customer(&vendor, &site, "bert", "Plant");
    let page = bert
        .get("/licences?customer=Another+Plant")
        .expect(200)
        .says(&[&own]);
    assert!(
        !page.body.contains(other) && !page.body.contains("Another"),
        "{}",
        page.body
    );
    for path in [
        format!("/licences/{other}"),
        format!("/licences/{other}/activations/1"),
        "/licences/lic-000000000000".into(),
        "/licences/%2e%2e".into(),
        format!("/licences/{own}/activations/1"),
    ] {
        let _ = bert.get(&path).expect(404);
    }
    let activate = format!("/licences/{other}/activations");
    let _ = bert
        .send("/licences", &activate, &[("first", &id)])
        .expect(404);
    assert!(!vendor.run(&["list"]).contains("activation 2"));

    // Every address of the table: strangers are led to the log-in, customers are refused what is the staff's, and no form is taken
    // without its token, or from another site.
    let stranger = site.browser();
    for (path, access) in PLACES {
        let path = path.replace("{id}", &own).replace("{number}", "1");
        let token = bert.get("/licences").hidden("form").expect("a token");
        let foreign = ["--data", "x=1", "--header", "Sec-Fetch-Site: cross-site"];
        let _ = bert.curl(&path, &foreign).expect(403);
        let null = ["--data", "x=1", "--header", "Origin: null"];
        let _ = bert.curl(&path, &null).expect(403);
        if access == Access::Public {
            continue;
        }
        for page in [
            stranger.get(&path),
            stranger.post(&path, &[("form", &token)]),
        ] {
            let next = page.expect(303).header("location").map(str::to_owned);
            assert!(
                next.is_some_and(|next| next.starts_with("/log-in?next=/")),
                "{path}"
            );
        }
        if access == Access::Staff {
            let _ = bert.get(&path).expect(403);
            let _ = bert.post(&path, &[("form", &token)]).expect(403);
        } else {
            for form in [&[][..], &[("form", "")], &[("form", &token[1..])]] {
                let status = bert.post(&path, form).status;
                assert!(matches!(status, 403 | 405), "{path}: {status}");
            }
        }
    }
    let _ = bert.get("/licences").expect(200);

    // A removed account is out at once, also where the command line removed it.
    let _ = vendor.run(&["account", "remove", "bert"]);
    let _ = bert.get("/licences").expect(303);
    let _ = bert.log_in("bert", PASSWORD).expect(401);
}

#[test]
fn passwords_are_chosen_by_their_owners_once_and_guessing_them_ends_soon() {
    let vendor = Vendor::new();
    let site = ActivationSite::start(vendor.dir(), &[]);
    let link = vendor.run(&["account", "add", "carl", "--customer", "Plant"]);
    let code = link.trim().split_once("code=").expect("a link").1;
    let carl = site.browser();
    for (password, again, says) in [
        ("short", "short", "a password has at least 12 characters"),
        (PASSWORD, "something else", "This is not the same as above"),
    ] {
        let chosen = [("code", code), ("password", password), ("again", again)];
        carl.post("/welcome", &chosen).expect(422).says(&[says]);
    }
    carl.accept(&link);
    carl.get("/licences")
        .expect(200)
        .says(&["There is no licence for you yet"]);
    let used = [("code", code), ("password", PASSWORD), ("again", PASSWORD)];
    let thief = site.browser();
    thief
        .post("/welcome", &used)
        .expect(422)
        .says(&["This link is not valid"]);
    let _ = thief.get(&format!("/welcome?code={code}x")).expect(422);

    // The cookie is out of reach of pages and of other sites; an own password ends every other session.
    let other = site.browser();
    let cookie = other.log_in("carl", PASSWORD).expect(303);
    let cookie = cookie.header("set-cookie").expect("a cookie").to_owned();
    assert!(cookie.contains("HttpOnly; SameSite=Strict"), "{cookie}");
    let new = "another long password";
    let wrong = [
        ("current", "not this one"),
        ("password", new),
        ("again", new),
    ];
    carl.send("/password", "/password", &wrong)
        .expect(422)
        .says(&["not your current password"]);
    let right = [("current", PASSWORD), ("password", new), ("again", new)];
    let _ = carl.send("/password", "/password", &right).expect(303);
    let _ = carl.get("/licences").expect(200);
    let _ = other.get("/licences").expect(303);
    // A new link takes the password away at once, and logs out.
    let link = vendor.run(&["account", "link", "carl"]);
    let _ = carl.get("/licences").expect(303);
    let _ = carl.log_in("carl", new).expect(401);
    carl.accept(&link);
    let _ = carl.send("/licences", "/log-out", &[]).expect(303);
    let _ = carl.get("/licences").expect(303);

    let mut waits = None;
    for _ in 0..20 {
        let answer = thief.log_in("carl", "guess guess guess");
        if answer.status == 429 {
            waits = answer.header("retry-after").map(str::to_owned);
            break;
        }
        answer
            .expect(401)
            .says(&["The name or the password is wrong"]);
    }
    let waits = waits
        .expect("guessing ends")
        .parse::<u32>()
        .expect("seconds");
    assert!((1..=300).contains(&waits), "{waits}");
}

#[test]
fn a_replaced_server_is_activated_again_by_its_customer_so_often_and_by_the_vendor_ever() {
    let vendor = Vendor::new();
    let site = ActivationSite::start(vendor.dir(), &[]);
    let staff = staff(&vendor, &site);
    let dora = customer(&vendor, &site, "dora", "Plant");
    let path = format!(
        "/licences/{}",
        vendor.master("full", &[("terminal-connection", 5)])
    );
    let activations = format!("{path}/activations");
    let ids: Vec<String> = (0..6).map(id).collect();
    let _ = dora
        .send(&path, &activations, &[("first", &ids[0])])
        .expect(303);
    // A second server beside it replaces nothing.
    let second = [("first", &ids[0][..]), ("second", &ids[1])];
    let _ = dora.send(&path, &activations, &second).expect(303);
    for left in (0..3).rev() {
        let replaced = [("first", &ids[0][..]), ("second", &ids[4 - left])];
        let _ = dora.send(&path, &activations, &replaced).expect(303);
        let says = format!("You can replace a server {left} more time");
        dora.get(&path)
            .expect(200)
            .says(&[&says, "a server was replaced"]);
    }
    let fourth = [("first", &ids[0][..]), ("second", &ids[5])];
    let refused = dora.send(&path, &activations, &fourth).expect(422);
    refused.says(&[
        "replaced 3 times within a year: ask the vendor to activate it",
        &ids[5],
    ]);
    let _ = staff.send(&path, &activations, &fourth).expect(303);
    let file = dora.download(&format!("{activations}/6"));
    let text = std::fs::read_to_string(file).expect("a licence");
    assert!(
        text.contains(&ids[5]) && text.contains("\"activation\": 6"),
        "{text}"
    );
    let listed = vendor.run(&["list"]);
    assert!(
        listed.contains("activation 6") && listed.contains(" by staff, staff"),
        "{listed}"
    );
}

#[test]
fn hostile_input_is_shown_as_it_is_and_what_is_too_much_is_not_read() {
    let vendor = Vendor::new();
    let site = ActivationSite::start(vendor.dir(), &[]);
    let staff = staff(&vendor, &site);
    let evil = "\"><script>alert(1)</script>{{ 7*7 }}";
    let new = [("customer", evil), ("redundancy", "none")];
    let path = led_to(
        &staff
            .send("/licences/new", "/licences/new", &new)
            .expect(303),
    );
    let shown = "&quot;&gt;&lt;script&gt;alert(1)&lt;&#x2f;script&gt;{{ 7*7 }}";
    for page in ["/licences", &path] {
        let page = staff.get(page).expect(200).says(&[shown]);
        assert!(!page.body.contains("<script"), "{}", page.body);
        let policy = page.header("content-security-policy").expect("a policy");
        assert!(
            policy.contains("default-src 'none'") && !policy.contains("unsafe"),
            "{policy}"
        );
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("cache-control", "no-store"),
            ("referrer-policy", "same-origin"),
        ] {
            assert_eq!(page.header(name), Some(value));
        }
    }
    let activations = format!("{path}/activations");
    let page = staff
        .send(&path, &activations, &[("first", evil)])
        .expect(422)
        .says(&[shown]);
    assert!(!page.body.contains("<script"), "{}", page.body);
    for (fields, says) in [
        (
            &[("customer", ""), ("redundancy", "none")][..],
            "A customer has a name",
        ),
        (
            &[("customer", "x"), ("redundancy", "most")],
            "choose one of these",
        ),
        (
            &[("customer", "x"), ("redundancy", "none"), ("days", "-1")],
            "1 to 36500 days",
        ),
    ] {
        staff
            .send("/licences/new", "/licences/new", fields)
            .expect(422)
            .says(&[says]);
    }
    let products = format!("{path}/products");
    for (fields, says) in [
        (
            &[("product", "terminal-connection"), ("count", "0")][..],
            "1 to 1000000",
        ),
        (
            &[("product", "mirrored-terminal-connection"), ("count", "1")],
            "holds no mirrored-terminal-connection",
        ),
        (
            &[("product", "gold"), ("count", "1")],
            "choose one of these",
        ),
    ] {
        staff
            .send(&path, &products, fields)
            .expect(422)
            .says(&[says]);
    }
    // An address that another page made leads nowhere else.
    let login = site
        .browser()
        .get("/log-in?next=https://evil.example/")
        .expect(200);
    assert_eq!(login.hidden("next").as_deref(), Some("&#x2f;licences"));
    let _ = staff
        .curl("/licences", &["--header", "Host: evil.example"])
        .expect(421);
    let _ = staff.curl("/log-in", &["--json", "{}"]).expect(415);
    let _ = staff
        .curl("/log-in", &["--data", "name=a&name=b"])
        .expect(400);
    let _ = staff.curl("/log-in", &["--data", "name=%ff"]).expect(401);
    let large = format!("name={}", "x".repeat(20_000));
    let _ = staff.curl("/log-in", &["--data", &large]).expect(413);
    let _ = staff.get("/keys/").expect(404);
    let _ = staff.get("/../ledger.db").expect(404);
}

#[test]
fn beyond_loopback_the_site_speaks_tls_only() {
    let vendor = Vendor::new();
    let mut site = ActivationSite::start(vendor.dir(), &["--tls-generate", "localhost"]);
    assert!(site.url().starts_with("https://"));
    let erna = customer(&vendor, &site, "erna", "Plant");
    let cookie = erna.log_in("erna", PASSWORD).expect(303);
    assert!(
        cookie
            .header("set-cookie")
            .expect("a cookie")
            .contains("; Secure")
    );
    let _ = erna.get("/licences").expect(200);
    site.process().terminate();
    assert!(site.process().wait_for_exit(PATIENCE).success());
    let refused = vendor.refused(&["serve", "--listen", "0.0.0.0:0"]);
    assert!(
        refused.contains("plain HTTP is served on loopback only"),
        "{refused}"
    );
}
