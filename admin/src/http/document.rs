//! The document of the API: OpenAPI 3.1, made from the table of routes and the types themselves.
//!
//! It is checked in as `docs/openapi.json`; a test tells when the two differ.

mod objects;

use std::collections::BTreeMap;

use actix_web::http::Method;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::accounts::{LogIn, Me, NewPassword, OwnPassword, SessionList, SetUp};
use super::backups::{
    BackupList, BackupView, NewBackup, NewRestore, RestoreBody, ScheduleStatus, UploadedBackup,
};
use super::bulk::ReportView;
use super::conflicts::{Choice, ConflictPage};
use super::dhcp;
use super::error::{Code, ErrorBody};
use super::events::{self, EventPage, StatusView};
use super::files::{FilePage, FileView, HASH_HEADER};
use super::guard::Access;
use super::licences::{LicenceView, LicencesView, LicensingView, NewLicence};
use super::manual::{NewPlan, NewRun, PlanView, RunView};
use super::sync::{
    CodeView, Discovered, Join, Named, PartnerView, ServerList, SetUpByPairing, SyncView,
};
use super::table::{Route, routes};
use super::units::{Copy, Replacement, UnitsView};
use super::uploads::{NewUpload, OFFSET_HEADER, UploadList, UploadView};
use super::views::{
    AUDIT_ACTIONS, AuditPage, EffectiveView, OTHER_KINDS, ProblemsView, PublicationView, RightView,
};
use crate::dhcp_hints::DhcpHints;
use crate::events::EventRow;
use crate::kind::{
    ApiKey, BootServer, FirmwarePackage, Kind, Module, Role, Schedule, Setting, TermCap, Terminal,
    TerminalGroup, TerminalServer, User,
};
use crate::limits::PAGE_ITEMS_MAX;
use crate::unknown::Adoption;

/// The whole document.
#[must_use]
pub fn document() -> Value {
    let mut schemas = Schemas::default();
    schemas.put::<ErrorBody>();
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for route in routes() {
        let operation = operation(&route, &mut schemas);
        let path = route.path.replace("{name:.*}", "{name}");
        paths
            .entry(path)
            .or_default()
            .insert(route.method.as_str().to_lowercase(), operation);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Daybreak administration",
            "version": "1",
            "description": "See docs/api.md for what all addresses have in common.",
            "license": {"name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas.0,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "An API key."},
                "session": {
                    "type": "apiKey", "in": "cookie", "name": super::cookie::SESSION.name(),
                    "description": "A session. Changes need the header X-Daybreak-Request, too.",
                },
            },
        },
    })
}

/// Named schemas, each once.
#[derive(Default)]
struct Schemas(BTreeMap<String, Value>);

impl Schemas {
    /// A reference to the schema of `T`, which is put in with everything that it names.
    fn put<T: ToSchema>(&mut self) -> Value {
        let mut named = vec![(T::name().into_owned(), T::schema())];
        T::schemas(&mut named);
        for (name, schema) in named {
            let schema = serde_json::to_value(schema).expect("plain values");
            let known = self.0.entry(name).or_insert_with(|| schema.clone());
            assert_eq!(*known, schema, "two schemas have one name");
        }
        json!({"$ref": format!("#/components/schemas/{}", T::name())})
    }

    fn body_of(&mut self, kind: Kind) -> Value {
        match kind {
            Kind::Terminal => self.put::<Terminal>(),
            Kind::TerminalGroup => self.put::<TerminalGroup>(),
            Kind::TerminalServer => self.put::<TerminalServer>(),
            Kind::TermCap => self.put::<TermCap>(),
            Kind::FirmwarePackage => self.put::<FirmwarePackage>(),
            Kind::Module => self.put::<Module>(),
            Kind::BootServer => self.put::<BootServer>(),
            Kind::Schedule => self.put::<Schedule>(),
            Kind::User => self.put::<User>(),
            Kind::Role => self.put::<Role>(),
            Kind::ApiKey => self.put::<ApiKey>(),
            Kind::Setting => self.put::<Setting>(),
        }
    }

    /// An object of `kind`, as it is shown.
    fn object_of(&mut self, kind: Kind) -> Value {
        let name = format!("{kind:?}Object");
        let body = self.body_of(kind);
        let mut schema = json!({
            "type": "object",
            "required": ["kind", "id", "body", "version", "stamp", "revision"],
            "properties": {
                "kind": {"const": kind.word()},
                "id": {"type": "string", "pattern": "^[a-z0-9-]{1,64}$"},
                "body": body,
                "version": {
                    "description": "For each server, the number of its last change of this object.",
                    "type": "object", "additionalProperties": {"type": "integer", "minimum": 1},
                },
                "stamp": {
                    "description": "When it was last changed, for an order among concurrent changes.",
                    "type": "object", "required": ["time_ms", "counter", "node"],
                    "properties": {
                        "time_ms": {"type": "integer"}, "counter": {"type": "integer"}, "node": {"type": "string"},
                    },
                },
                "revision": {"description": "What is in the ETag.", "type": "string"},
            },
        });
        if kind == Kind::ApiKey {
            let secret = "In the answer to POST only: what to send as Authorization: Bearer.";
            schema["properties"]["secret"] = json!({"type": "string", "description": secret});
        }
        self.0.insert(name.clone(), schema);
        json!({"$ref": format!("#/components/schemas/{name}")})
    }
}

/// What goes in and what comes out.
struct Shape {
    request: Option<Value>,
    success: u16,
    response: Option<Value>,
    parameters: Vec<Value>,
}

fn operation(route: &Route, schemas: &mut Schemas) -> Value {
    let shape = match route.kind {
        Some(kind) => objects::shape(route, kind, schemas),
        None => shape(route, schemas),
    };
    let mut parameters = shape.parameters;
    if route.path.contains("{id}") {
        parameters.push(json!({
            "name": "id", "in": "path", "required": true,
            "schema": {"type": "string", "pattern": "^[a-z0-9-]{1,64}$"},
        }));
    }
    if route.path.contains("{mac}") {
        parameters.push(json!({
            "name": "mac", "in": "path", "required": true,
            "schema": {"type": "string", "pattern": "^[0-9a-f]{2}(:[0-9a-f]{2}){5}$"},
        }));
    }
    let mut responses = Map::new();
    let mut success = json!({"description": "Done."});
    if let Some(response) = shape.response {
        success["content"] = response;
    }
    // What was not there is created by its name.
    let by_name = route.path == "/api/v1/files/{name:.*}" || route.kind == Some(Kind::Setting);
    if by_name && route.method == Method::PUT {
        responses.insert("201".into(), success.clone());
    }
    responses.insert(shape.success.to_string(), success);
    let error = json!({
        "description": "Refused or failed; the code says why.",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorBody"}}},
    });
    for status in error_statuses(route) {
        responses.insert(status.to_string(), error.clone());
    }
    let mut operation = json!({
        "operationId": operation_id(route),
        "summary": route.summary,
        "responses": responses,
    });
    if route.path == "/readyz" {
        // It says so as it says that all is well: to people, and to what looks every few seconds.
        let why = json!({"description": "Not yet.", "content": {"text/plain": {"schema": {"type": "string"}}}});
        operation["responses"]["503"] = why;
    }
    if !parameters.is_empty() {
        operation["parameters"] = Value::Array(parameters);
    }
    if let Some(request) = shape.request {
        operation["requestBody"] = json!({"required": true, "content": request});
    }
    match route.access {
        Access::Public => operation["security"] = json!([]),
        Access::Identified => operation["security"] = json!([{"session": []}, {"key": []}]),
        Access::Right(right) => {
            operation["security"] = json!([{"session": []}, {"key": []}]);
            operation["description"] = json!(format!("Needs the right `{}`.", right.word()));
        }
    }
    operation
}

/// Every status that an error of this route can have.
fn error_statuses(route: &Route) -> Vec<u16> {
    let reads = route.method == Method::GET;
    let mut statuses: Vec<u16> = Code::ALL.iter().map(|code| code.status()).collect();
    statuses.sort_unstable();
    statuses.dedup();
    statuses.retain(|status| match status {
        401 | 403 => route.access != Access::Public || !reads,
        408 | 409 | 412 | 413 | 415 | 422 | 428 | 429 | 507 => !reads,
        405 => false,
        _ => true,
    });
    statuses
}

fn operation_id(route: &Route) -> String {
    let words = route
        .path
        .trim_start_matches("/api/v1")
        .split(['/', '.', '-', '{', '}', ':', '*']);
    let words = words.filter(|word| !word.is_empty());
    let name: Vec<&str> = std::iter::once(route.method.as_str())
        .chain(words)
        .collect();
    name.join("_").to_lowercase()
}

fn as_json(schema: &Value) -> Option<Value> {
    Some(json!({"application/json": {"schema": schema}}))
}

fn if_match() -> Value {
    json!({
        "name": "If-Match", "in": "header", "required": true, "schema": {"type": "string", "minLength": 1},
        "description": "The ETag that was read, or *. Needed to change what is there.",
    })
}

fn either(kinds: &[&str], schema: &Value) -> Value {
    let kinds = kinds
        .iter()
        .map(|kind| ((*kind).to_owned(), json!({"schema": schema})));
    Value::Object(kinds.collect())
}

fn query((name, what): (&str, &str)) -> Value {
    json!({"name": name, "in": "query", "description": what, "schema": parameter(name)})
}

/// What a parameter of this name may be; the same everywhere.
fn parameter(name: &str) -> Value {
    match name {
        "limit" => json!({"type": "integer", "minimum": 1, "maximum": PAGE_ITEMS_MAX}),
        "force" | "enabled" | "alternate" => json!({"type": "boolean"}),
        "boot_file" => json!({"type": "string", "pattern": "^[A-Za-z0-9/._+:-]{1,127}$"}),
        "vendor_class" => {
            json!({"type": "string", "pattern": "^[A-Za-z0-9._:-]([A-Za-z0-9 ._:-]{0,62}[A-Za-z0-9._:-])?$"})
        }
        "terminal_address" => json!({"type": "string", "format": "ipv4"}),
        "before" => json!({"type": "integer", "format": "int64"}),
        "since_ms" | "until_ms" => json!({"type": "integer", "format": "int64", "minimum": 0}),
        "group" | "model" => json!({"type": "string", "pattern": "^[a-z0-9-]{1,64}$"}),
        "sort" => json!({"enum": ["name", "-name", "id", "-id", "changed", "-changed"]}),
        "action" => json!({"enum": AUDIT_ACTIONS}),
        _ => json!({"type": "string"}),
    }
}

fn hash_header() -> Value {
    json!({
        "name": HASH_HEADER, "in": "header", "schema": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
        "description": "The BLAKE3 hash of the file: what arrives otherwise is refused.",
    })
}

fn shape(route: &Route, schemas: &mut Schemas) -> Shape {
    let text = |kind: &str| Some(json!({kind: {"schema": {"type": "string"}}}));
    let mut shape = Shape {
        request: None,
        success: 200,
        response: None,
        parameters: Vec::new(),
    };
    let empty = |shape: &mut Shape, request: Option<Value>| {
        (shape.success, shape.request) = (204, request);
    };
    match (route.method.as_str(), route.path.as_str()) {
        ("GET", "/setup") => shape.response = text("text/html"),
        ("GET", "/setup.js") => shape.response = text("text/javascript"),
        ("GET", "/healthz" | "/readyz") => shape.response = text("text/plain"),
        ("GET", "/metrics") => shape.response = text("application/openmetrics-text"),
        ("GET", "/api/docs") => shape.response = text("text/html"),
        ("GET", "/api/docs/{part}") => {
            let parts = ["start.js", "swagger-ui-bundle.js", "swagger-ui.css"];
            shape.parameters.push(json!({
                "name": "part", "in": "path", "required": true, "schema": {"enum": parts},
            }));
            let kind = json!({"schema": {"type": "string"}});
            shape.response = Some(json!({"text/javascript": kind, "text/css": kind}));
        }
        ("GET", "/api/v1/openapi.json") => shape.response = as_json(&json!({"type": "object"})),
        ("POST", "/api/v1/setup") => empty(&mut shape, as_json(&schemas.put::<SetUp>())),
        ("POST", "/api/v1/session") => empty(&mut shape, as_json(&schemas.put::<LogIn>())),
        ("DELETE", "/api/v1/session") => empty(&mut shape, None),
        ("GET", "/api/v1/session") => shape.response = as_json(&schemas.put::<Me>()),
        ("GET", "/api/v1/sessions") => shape.response = as_json(&schemas.put::<SessionList>()),
        (
            "DELETE",
            "/api/v1/sessions" | "/api/v1/sessions/{id}" | "/api/v1/users/{id}/sessions",
        ) => {
            empty(&mut shape, None);
        }
        ("GET", "/api/v1/licensing") => shape.response = as_json(&schemas.put::<LicensingView>()),
        ("GET", "/api/v1/licences") => shape.response = as_json(&schemas.put::<LicencesView>()),
        ("POST", "/api/v1/licences") => {
            shape.request = as_json(&schemas.put::<NewLicence>());
            (shape.success, shape.response) = (201, as_json(&schemas.put::<LicenceView>()));
        }
        ("DELETE", "/api/v1/licences/{id}") => empty(&mut shape, None),
        ("PUT" | "DELETE", "/api/v1/terminals/{id}/seat") => {
            shape.response = as_json(&schemas.object_of(Kind::Terminal));
        }
        // Nobody gets this far yet.
        ("POST", "/api/v1/terminals/{id}/shadow") => empty(&mut shape, None),
        ("GET", "/api/v1/uploads") => shape.response = as_json(&schemas.put::<UploadList>()),
        ("POST", "/api/v1/uploads") => {
            shape.request = as_json(&schemas.put::<NewUpload>());
            (shape.success, shape.response) = (201, as_json(&schemas.put::<UploadView>()));
        }
        ("GET", "/api/v1/uploads/{id}") => shape.response = as_json(&schemas.put::<UploadView>()),
        ("PATCH", "/api/v1/uploads/{id}") => {
            shape.parameters.push(json!({
                "name": OFFSET_HEADER, "in": "header", "required": true,
                "schema": {"type": "integer", "format": "int64", "minimum": 0},
                "description": "At which octet of the file the piece begins: the offset of the upload.",
            }));
            shape.request = Some(json!({"application/octet-stream": {"schema": {}}}));
            shape.response = as_json(&schemas.put::<UploadView>());
        }
        ("DELETE", "/api/v1/uploads/{id}") => empty(&mut shape, None),
        ("PUT", "/api/v1/session/password") => {
            empty(&mut shape, as_json(&schemas.put::<OwnPassword>()));
        }
        ("PUT", "/api/v1/users/{id}/password") => {
            empty(&mut shape, as_json(&schemas.put::<NewPassword>()));
        }
        ("GET", "/api/v1/rights") => {
            shape.response =
                as_json(&json!({"type": "array", "items": schemas.put::<RightView>()}));
        }
        ("GET", "/api/v1/terminals/{id}/effective") => {
            shape.response = as_json(&schemas.put::<EffectiveView>());
        }
        ("GET", "/api/v1/terminals/export") => {
            let formats = ["text/csv", "application/json"];
            shape.response = Some(either(&formats, &json!({"type": "string"})));
            shape.parameters = std::iter::once(("format", "csv or json; otherwise csv"))
                .chain(super::listing::parameters(Kind::Terminal))
                .filter(|(name, _)| !matches!(*name, "limit" | "after"))
                .map(query)
                .collect();
        }
        ("POST", "/api/v1/terminals/import") => {
            let row = json!({"type": "object", "description": "A merge patch of one terminal, with names in the place of identifiers."});
            shape.request = Some(json!({
                "text/csv": {"schema": {"type": "string"}},
                "application/json": {"schema": {"type": "array", "items": row}},
            }));
            shape.response = Some(json!({
                "application/json": {"schema": schemas.put::<ReportView>()},
                "application/x-ndjson": {"schema": {"type": "string"}},
            }));
            shape.parameters = [
                ("dry_run", "true: only say what would happen"),
                (
                    "valid_only",
                    "true: go on without the rows that are refused",
                ),
            ]
            .map(query)
            .into();
        }
        ("POST", "/api/v1/terminals/{id}/replacement") => {
            shape.request = as_json(&schemas.put::<Replacement>());
            shape.response = as_json(&schemas.object_of(Kind::Terminal));
        }
        ("POST", "/api/v1/terminals/{id}/copy") => {
            shape.request = as_json(&schemas.put::<Copy>());
            shape.response = as_json(&schemas.object_of(Kind::Terminal));
            shape.parameters.push(if_match());
        }
        ("GET", "/api/v1/unknown-terminals") => {
            shape.response = as_json(&schemas.put::<UnitsView>());
        }
        ("POST", "/api/v1/unknown-terminals/{mac}/adopt") => {
            shape.request = as_json(&schemas.put::<Adoption>());
            shape.success = 201;
            shape.response = as_json(&schemas.object_of(Kind::Terminal));
        }
        ("DELETE", "/api/v1/unknown-terminals/{mac}") => empty(&mut shape, None),
        ("GET", "/api/v1/dhcp-hints") => {
            shape.response = as_json(&schemas.put::<DhcpHints>());
            shape.parameters = dhcp::PARAMETERS.map(query).into();
        }
        ("GET", "/api/v1/problems") => shape.response = as_json(&schemas.put::<ProblemsView>()),
        ("GET", "/api/v1/publication") => {
            shape.response = as_json(&schemas.put::<PublicationView>());
        }
        ("GET", "/api/v1/audit") => {
            shape.response = as_json(&schemas.put::<AuditPage>());
            shape.parameters = [
                ("kind", "only changes of what is of this kind"),
                (
                    "id",
                    "only changes of the object with this identifier, or of the file of this name",
                ),
                ("actor", "only changes by this one, as in: user admin"),
                ("action", "only what was done like this"),
                ("since_ms", "only from then on, in milliseconds since 1970"),
                ("until_ms", "only before then, in milliseconds since 1970"),
                ("before", "only rows before this number: what next gave"),
                ("limit", "how many rows a page has: 1 to 500, otherwise 50"),
            ]
            .map(query)
            .into();
            let words = Kind::ALL.map(Kind::word);
            let words = [&words[..], &OTHER_KINDS].concat();
            shape.parameters[0]["schema"] = json!({"enum": words});
        }
        ("GET", "/api/v1/terminals/{id}/status") => {
            shape.response = as_json(&schemas.put::<StatusView>());
        }
        ("GET", "/api/v1/events") => {
            shape.response = as_json(&schemas.put::<EventPage>());
            shape.parameters = events::PARAMETERS.map(query).into();
        }
        ("GET", "/api/v1/events/stream") => {
            schemas.put::<EventRow>();
            shape.response = text("text/event-stream");
            shape.parameters = events::STREAM_PARAMETERS.map(query).into();
            shape.parameters.push(json!({
                "name": "Last-Event-ID", "in": "header", "schema": {"type": "string"},
                "description": "Only events after this number: what a browser sends by itself when it connects again.",
            }));
        }
        ("POST", "/api/v1/boot-servers/discover") => {
            shape.request = as_json(&schemas.put::<Named>());
            shape.response = as_json(&schemas.put::<Discovered>());
        }
        ("GET", "/api/v1/sync/status") => shape.response = as_json(&schemas.put::<SyncView>()),
        ("GET", "/api/v1/sync/conflicts") => {
            shape.response = as_json(&schemas.put::<ConflictPage>());
            shape.parameters = [
                ("after", "only conflicts after this one: what next gave"),
                (
                    "limit",
                    "how many conflicts a page has: 1 to 500, otherwise 50",
                ),
            ]
            .map(query)
            .into();
            shape.parameters[0]["schema"]["pattern"] = json!(r"^[a-z0-9-]{1,32}\.[a-z0-9-]{1,64}$");
        }
        ("POST", "/api/v1/sync/conflicts") => {
            empty(&mut shape, as_json(&schemas.put::<Choice>()));
        }
        ("POST", "/api/v1/sync/plans") => {
            shape.request = as_json(&schemas.put::<NewPlan>());
            (shape.success, shape.response) = (201, as_json(&schemas.put::<PlanView>()));
        }
        ("GET", "/api/v1/sync/plans/{id}") => shape.response = as_json(&schemas.put::<PlanView>()),
        ("POST", "/api/v1/sync/runs") => {
            shape.request = as_json(&schemas.put::<NewRun>());
            (shape.success, shape.response) = (202, as_json(&schemas.put::<RunView>()));
        }
        ("GET", "/api/v1/sync/runs/{id}") => shape.response = as_json(&schemas.put::<RunView>()),
        ("GET", "/api/v1/sync/servers") => shape.response = as_json(&schemas.put::<ServerList>()),
        ("DELETE", "/api/v1/sync/servers/{id}") => empty(&mut shape, None),
        ("POST", "/api/v1/sync/pairing/code" | "/api/v1/sync/servers/code") => {
            (shape.success, shape.response) = (201, as_json(&schemas.put::<CodeView>()));
        }
        ("DELETE", "/api/v1/sync/pairing" | "/api/v1/sync/pairing/code") => empty(&mut shape, None),
        ("POST", "/api/v1/setup/pairing") => {
            shape.request = as_json(&schemas.put::<SetUpByPairing>());
            (shape.success, shape.response) = (201, as_json(&schemas.put::<PartnerView>()));
        }
        ("POST", "/api/v1/sync/pairing" | "/api/v1/sync/servers") => {
            shape.request = as_json(&schemas.put::<Join>());
            (shape.success, shape.response) = (201, as_json(&schemas.put::<PartnerView>()));
        }
        ("GET", "/api/v1/files") => {
            shape.response = as_json(&schemas.put::<FilePage>());
            shape.parameters = [
                ("prefix", "only names that begin like this"),
                ("after", "only names after this one: what next gave"),
                ("limit", "how many files a page has: 1 to 500, otherwise 50"),
            ]
            .map(query)
            .into();
        }
        ("GET", "/api/v1/backups") => shape.response = as_json(&schemas.put::<BackupList>()),
        ("POST", "/api/v1/backups") => {
            shape.request = as_json(&schemas.put::<NewBackup>());
            (shape.success, shape.response) = (202, as_json(&schemas.put::<BackupView>()));
        }
        ("GET", "/api/v1/backups/{id}") => shape.response = as_json(&schemas.put::<BackupView>()),
        ("DELETE", "/api/v1/backups/{id}") => empty(&mut shape, None),
        ("GET", "/api/v1/backups/{id}/content") => {
            shape.response = Some(json!({"application/octet-stream": {"schema": {}}}));
        }
        ("PUT", "/api/v1/backups/{id}/content") => {
            shape.parameters.push(hash_header());
            shape.request = Some(json!({"application/octet-stream": {"schema": {}}}));
            (shape.success, shape.response) = (201, as_json(&schemas.put::<UploadedBackup>()));
        }
        ("POST", "/api/v1/restores") => {
            shape.request = as_json(&schemas.put::<NewRestore>());
            (shape.success, shape.response) = (202, as_json(&schemas.put::<RestoreBody>()));
        }
        ("GET", "/api/v1/restores/{id}") => shape.response = as_json(&schemas.put::<RestoreBody>()),
        ("POST", "/api/v1/restores/{id}/start") => {
            (shape.success, shape.response) = (202, as_json(&schemas.put::<RestoreBody>()));
        }
        ("GET", "/api/v1/schedules/{id}/status") => {
            shape.response = as_json(&schemas.put::<ScheduleStatus>());
        }
        (method, "/api/v1/files/{name:.*}") => {
            shape.parameters.push(json!({
                "name": "name", "in": "path", "required": true, "schema": {"type": "string"},
                "description": "The name that terminals ask for; / stands for itself.",
            }));
            if method == "PUT" {
                shape.parameters.push(hash_header());
                shape.request = Some(json!({"application/octet-stream": {"schema": {}}}));
                shape.response = as_json(&schemas.put::<FileView>());
            } else {
                empty(&mut shape, None);
            }
        }
        _ => {}
    }
    shape
}
