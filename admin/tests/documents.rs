//! What the documents say of the API is what the program does. `DAYBREAK_WRITE_DOCUMENTS=1` writes them anew.

use std::path::PathBuf;

use daybreak_admin::effective::ProblemCode;
use daybreak_admin::events::KINDS;
use daybreak_admin::http::{Code, Route, document, routes};
use daybreak_admin::security::{BuiltInRole, Right};

fn path(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "docs", name]
        .iter()
        .collect()
}

/// Fails if the file says something else, or writes it if that was asked for.
fn agree(name: &str, text: &str) {
    let path = path(name);
    if std::env::var_os("DAYBREAK_WRITE_DOCUMENTS").is_some() {
        std::fs::write(&path, text).expect("written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == text,
        "docs/{name} has drifted; DAYBREAK_WRITE_DOCUMENTS=1 writes it anew"
    );
}

#[test]
fn the_checked_in_document_is_the_one_of_the_code() {
    let text = serde_json::to_string_pretty(&document()).expect("JSON");
    agree("openapi.json", &format!("{text}\n"));
}

#[test]
fn the_document_describes_every_route_and_every_reference_leads_somewhere() {
    let document = document();
    let mut operations = std::collections::BTreeSet::new();
    for route in routes() {
        let path = route.path.replace("{name:.*}", "{name}");
        let operation = &document["paths"][&path][route.method.as_str().to_lowercase()];
        assert!(
            operations.insert(operation["operationId"].to_string()),
            "{path} has a name of its own"
        );
        let responses = operation["responses"].as_object().expect("responses");
        let success = responses
            .iter()
            .find(|(status, _)| status.starts_with('2'))
            .expect("a success");
        assert!(
            success.0 == "204" || success.1["content"].is_object(),
            "{} {path} says what it gives",
            route.method
        );
    }
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().expect("a name");
        assert!(
            document["components"]["schemas"][name].is_object(),
            "{name}"
        );
    }
    for sealed in ["\"verifier\"", "\"digest\"", "\"status_key\""] {
        assert!(!text.contains(sealed), "{sealed}");
    }
}

#[test]
fn the_tables_of_codes_and_rights_are_those_of_the_code() {
    let codes = Code::ALL.map(|code| {
        format!(
            "| `{}` | {} | {} |\n",
            code.word(),
            code.status(),
            code.hint()
        )
    });
    let rights = Right::ALL.map(|right| {
        let has = BuiltInRole::ALL.map(|role| if role.allows(right) { "yes" } else { "–" });
        format!(
            "| `{}` | {} | {} |\n",
            right.word(),
            right.meaning(),
            has.join(" | ")
        )
    });
    let problems =
        ProblemCode::ALL.map(|code| format!("| `{}` | {} |\n", code.word(), code.meaning()));
    let events = KINDS.map(|(kind, meaning)| format!("| `{kind}` | {meaning} |\n"));
    let anywhere = routes().into_iter().filter(Route::changes_anywhere);
    let anywhere = anywhere.map(|route| {
        let Route {
            method,
            path,
            summary,
            ..
        } = route;
        format!("| `{method} {path}` | {summary} |\n")
    });
    let anywhere: String = anywhere.collect();
    let mut text = std::fs::read_to_string(path("api.md")).expect("docs/api.md");
    for (name, head, rows) in [
        (
            "codes",
            "| code | status | what to do |\n|---|---|---|\n",
            codes.concat(),
        ),
        (
            "rights",
            "| right | allows to | administrator | operator | monitor |\n|---|---|---|---|---|\n",
            rights.concat(),
        ),
        (
            "problems",
            "| code | what it means |\n|---|---|\n",
            problems.concat(),
        ),
        (
            "events",
            "| event | what it means |\n|---|---|\n",
            events.concat(),
        ),
        (
            "changes anywhere",
            "| address | what it does |\n|---|---|\n",
            anywhere,
        ),
    ] {
        let (open, close) = (
            format!("<!-- {name} -->\n"),
            format!("<!-- end of {name} -->"),
        );
        let start = text.find(&open).expect("a beginning") + open.len();
        let end = start + text[start..].find(&close).expect("an end");
        text.replace_range(start..end, &format!("{head}{rows}"));
    }
    agree("api.md", &text);
}
