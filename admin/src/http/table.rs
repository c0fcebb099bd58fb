//! The table of routes: every address with its method, who may use it, what it does, and its handler.
//!
//! The application is made from this table and from nothing else, so an address without an access cannot be reached; the
//! document of the API and the test that walks every route are made from it, too.

mod backup_routes;
mod licence_routes;
mod pair_routes;

use std::rc::Rc;

use actix_web::http::Method;
use actix_web::{Resource, Route as Handler, web};

use super::guard::{Access, guard, is_changed_anywhere};
use super::{
    accounts, bulk, dhcp, docs, events, files, objects, page, sync, units, uploads, views,
};
use crate::kind::Kind;
use crate::security::Right;

/// One method of one address.
pub struct Route {
    /// The method.
    pub method: Method,
    /// The address, with `{id}` where an identifier stands.
    pub path: String,
    /// Who may use it.
    pub access: Access,
    /// What it does.
    pub summary: String,
    /// The kind of object that it is about, if it is one.
    pub kind: Option<Kind>,
    handler: Rc<dyn Fn() -> Handler>,
}

impl Route {
    /// Whether it changes something, and may also on a server whose configuration is changed on the other one of its pair.
    #[must_use]
    pub fn changes_anywhere(&self) -> bool {
        let changes = self.method != Method::GET;
        changes && (self.access == Access::Public || is_changed_anywhere(&self.path))
    }
}

/// Every route.
#[must_use]
pub fn routes() -> Vec<Route> {
    let mut routes = Vec::new();
    public(&mut routes);
    identified(&mut routes);
    // Before the terminals themselves: these addresses are none of theirs.
    of_many_terminals(&mut routes);
    add(
        &mut routes,
        (Method::POST, "/api/v1/boot-servers/discover"),
        Access::Right(Right::BootServersWrite),
        "Find the addresses of a server by its name",
        || web::post().to(sync::discover),
    );
    for kind in Kind::ALL {
        of_kind(&mut routes, kind);
    }
    of_units(&mut routes);
    pair_routes::of_the_pair(&mut routes);
    of_rights(&mut routes);
    licence_routes::of_licences(&mut routes);
    routes
}

fn add(
    routes: &mut Vec<Route>,
    (method, path): (Method, &str),
    access: Access,
    summary: &str,
    handler: impl Fn() -> Handler + 'static,
) {
    routes.push(Route {
        method,
        path: path.to_owned(),
        access,
        summary: summary.to_owned(),
        kind: None,
        handler: Rc::new(handler),
    });
}

fn public(routes: &mut Vec<Route>) {
    let all = Access::Public;
    add(
        routes,
        (Method::GET, "/healthz"),
        all,
        "Whether the process runs",
        || web::get().to(views::health),
    );
    add(
        routes,
        (Method::GET, "/readyz"),
        all,
        "Whether what is configured gets published",
        || web::get().to(views::ready),
    );
    add(
        routes,
        (Method::GET, "/setup"),
        all,
        "The page of the set-up link",
        || web::get().to(page::set_up),
    );
    add(
        routes,
        (Method::GET, "/setup.js"),
        all,
        "The script of that page",
        || web::get().to(page::set_up_script),
    );
    add(
        routes,
        (Method::GET, "/api/v1/openapi.json"),
        all,
        "The document of the API",
        || web::get().to(views::openapi),
    );
    add(
        routes,
        (Method::GET, "/api/docs"),
        all,
        "The document of the API, to look at and to try out",
        || web::get().to(docs::page),
    );
    add(
        routes,
        (Method::GET, "/api/docs/{part}"),
        all,
        "What that page consists of",
        || web::get().to(docs::part),
    );
    add(
        routes,
        (Method::POST, "/api/v1/setup"),
        all,
        "Make the first administrator, with the secret of the set-up link",
        || web::post().to(accounts::set_up),
    );
    add(
        routes,
        (Method::POST, "/api/v1/setup/pairing"),
        all,
        "Take everything from another server, the users too, with the secret of the set-up link",
        || web::post().to(sync::set_up),
    );
    add(
        routes,
        (Method::POST, "/api/v1/session"),
        all,
        "Log in",
        || web::post().to(accounts::log_in),
    );
}

fn identified(routes: &mut Vec<Route>) {
    let access = Access::Identified;
    add(
        routes,
        (Method::GET, "/api/v1/session"),
        access,
        "Who asks, and what they may do",
        || web::get().to(accounts::me),
    );
    add(
        routes,
        (Method::DELETE, "/api/v1/session"),
        access,
        "Log out",
        || web::delete().to(accounts::log_out),
    );
    add(
        routes,
        (Method::PUT, "/api/v1/session/password"),
        access,
        "Change one's own password; all sessions end",
        || web::put().to(accounts::own_password),
    );
    add(
        routes,
        (Method::GET, "/api/v1/sessions"),
        access,
        "List one's own sessions",
        || web::get().to(accounts::sessions),
    );
    add(
        routes,
        (Method::DELETE, "/api/v1/sessions"),
        access,
        "End all of one's own sessions, this one too",
        || web::delete().to(accounts::end_sessions),
    );
    add(
        routes,
        (Method::DELETE, "/api/v1/sessions/{id}"),
        access,
        "End one of one's own sessions",
        || web::delete().to(accounts::end_session),
    );
    add(
        routes,
        (Method::GET, "/api/v1/rights"),
        access,
        "Every right, and the built-in roles that have it",
        || web::get().to(views::rights),
    );
}

fn of_many_terminals(routes: &mut Vec<Route>) {
    add(
        routes,
        (Method::GET, "/api/v1/terminals/export"),
        Access::Right(Right::TerminalsRead),
        "Every terminal in one file: CSV or JSON",
        || web::get().to(bulk::export),
    );
    add(
        routes,
        (Method::POST, "/api/v1/terminals/import"),
        Access::Right(Right::TerminalsWrite),
        "Create and change terminals as a file says: CSV or JSON",
        || web::post().to(bulk::import),
    );
}

fn of_kind(routes: &mut Vec<Route>, kind: Kind) {
    let all = format!("/api/v1/{}", kind.path());
    let one = format!("{all}/{{id}}");
    let word = kind.word();
    let (read, write) = (
        Access::Right(Right::to_read(kind)),
        Access::Right(Right::to_write(kind)),
    );
    let from = routes.len();
    add(
        routes,
        (Method::GET, &all),
        read,
        &format!("List each {word}"),
        move || web::get().to(move |state, request| objects::list(kind, state, request)),
    );
    add(
        routes,
        (Method::POST, &all),
        write,
        &format!("Create a {word}"),
        move || {
            web::post().to(move |state, identity, request, body| {
                objects::create(kind, state, identity, request, body)
            })
        },
    );
    add(
        routes,
        (Method::GET, &one),
        read,
        &format!("Read a {word}"),
        move || web::get().to(move |state, request| objects::show(kind, state, request)),
    );
    add(
        routes,
        (Method::PUT, &one),
        write,
        &format!("Replace a {word}"),
        move || {
            web::put().to(move |state, identity, request, body| {
                objects::replace(kind, state, identity, request, body)
            })
        },
    );
    add(
        routes,
        (Method::PATCH, &one),
        write,
        &format!("Change fields of a {word}"),
        move || {
            web::patch().to(move |state, identity, request, body| {
                objects::patch(kind, state, identity, request, body)
            })
        },
    );
    add(
        routes,
        (Method::DELETE, &one),
        write,
        &format!("Delete a {word}"),
        move || {
            web::delete()
                .to(move |state, identity, request| objects::delete(kind, state, identity, request))
        },
    );
    for route in &mut routes[from..] {
        route.kind = Some(kind);
    }
}

fn of_units(routes: &mut Vec<Route>) {
    let right = Access::Right;
    add(
        routes,
        (Method::POST, "/api/v1/terminals/{id}/replacement"),
        right(Right::TerminalsReplace),
        "Give a dead terminal another unit; it keeps its name and its configuration",
        || web::post().to(units::replacement),
    );
    add(
        routes,
        (Method::POST, "/api/v1/terminals/{id}/copy"),
        right(Right::TerminalsWrite),
        "Give a terminal the settings and the group of another one",
        || web::post().to(units::copy),
    );
    add(
        routes,
        (Method::GET, "/api/v1/unknown-terminals"),
        right(Right::UnknownRead),
        "Units that are held: no terminal has their network cards",
        || web::get().to(units::held),
    );
    add(
        routes,
        (Method::POST, "/api/v1/unknown-terminals/{mac}/adopt"),
        right(Right::UnknownAdopt),
        "Make a terminal of a unit that is held",
        || web::post().to(units::adopt),
    );
    add(
        routes,
        (Method::DELETE, "/api/v1/unknown-terminals/{mac}"),
        right(Right::UnknownAdopt),
        "Forget a unit that is held",
        || web::delete().to(units::forget),
    );
}

fn of_rights(routes: &mut Vec<Route>) {
    let right = Access::Right;
    add(
        routes,
        (Method::GET, "/api/v1/terminals/{id}/effective"),
        right(Right::TerminalsRead),
        "What holds for a terminal, and where each setting comes from",
        || web::get().to(views::effective_settings),
    );
    add(
        routes,
        (Method::PUT, "/api/v1/users/{id}/password"),
        right(Right::UsersWrite),
        "Set a user's password; the user's sessions end",
        || web::put().to(accounts::password),
    );
    add(
        routes,
        (Method::GET, "/api/v1/dhcp-hints"),
        right(Right::BootServersRead),
        "What a DHCP server says so that terminals know both boot servers",
        || web::get().to(dhcp::hints),
    );
    add(
        routes,
        (Method::GET, "/api/v1/problems"),
        right(Right::ProblemsRead),
        "What is wrong with the configuration",
        || web::get().to(views::problems),
    );
    add(
        routes,
        (Method::GET, "/api/v1/publication"),
        right(Right::PublicationRead),
        "What is published",
        || web::get().to(views::publication),
    );
    add(
        routes,
        (Method::GET, "/api/v1/audit"),
        right(Right::AuditRead),
        "Who changed what, newest first",
        || web::get().to(views::audit),
    );
    add(
        routes,
        (Method::GET, "/api/v1/terminals/{id}/status"),
        right(Right::EventsRead),
        "How a terminal is: its light, its last boot, what it reports",
        || web::get().to(events::status),
    );
    add(
        routes,
        (Method::GET, "/api/v1/events"),
        right(Right::EventsRead),
        "What happened, newest first",
        || web::get().to(events::list),
    );
    add(
        routes,
        (Method::GET, "/api/v1/events/stream"),
        right(Right::EventsRead),
        "What happens, as server-sent events",
        || web::get().to(events::stream),
    );
    add(
        routes,
        (Method::GET, "/api/v1/files"),
        right(Right::FilesRead),
        "List the files that terminals can ask for",
        || web::get().to(files::list),
    );
    add(
        routes,
        (Method::PUT, "/api/v1/files/{name:.*}"),
        right(Right::FilesWrite),
        "Upload a file",
        || web::put().to(files::upload),
    );
    add(
        routes,
        (Method::DELETE, "/api/v1/files/{name:.*}"),
        right(Right::FilesWrite),
        "Remove a file",
        || web::delete().to(files::remove),
    );
    backup_routes::of_backups(routes);
    add(
        routes,
        (Method::GET, "/api/v1/uploads"),
        right(Right::FilesWrite),
        "List the uploads that are not complete",
        || web::get().to(uploads::list),
    );
    add(
        routes,
        (Method::POST, "/api/v1/uploads"),
        right(Right::FilesWrite),
        "Begin an upload that can go on after it broke off",
        || web::post().to(uploads::begin),
    );
    add(
        routes,
        (Method::GET, "/api/v1/uploads/{id}"),
        right(Right::FilesWrite),
        "Where an upload is",
        || web::get().to(uploads::show),
    );
    add(
        routes,
        (Method::PATCH, "/api/v1/uploads/{id}"),
        right(Right::FilesWrite),
        "Add the next octets; with the last ones the file is published",
        || web::patch().to(uploads::go_on),
    );
    add(
        routes,
        (Method::DELETE, "/api/v1/uploads/{id}"),
        right(Right::FilesWrite),
        "Throw an upload away",
        || web::delete().to(uploads::remove),
    );
    add(
        routes,
        (Method::POST, "/api/v1/terminals/{id}/shadow"),
        right(Right::TerminalsShadow),
        "Look at a terminal's screen: reserved, not available yet",
        || web::post().to(views::shadow),
    );
    add(
        routes,
        (Method::DELETE, "/api/v1/users/{id}/sessions"),
        right(Right::UsersWrite),
        "End all sessions of a user",
        || web::delete().to(accounts::end_sessions_of),
    );
    add(
        routes,
        (Method::GET, "/metrics"),
        right(Right::MetricsRead),
        "Metrics of the administration and, if it runs, of the engine",
        || web::get().to(views::metrics),
    );
}

/// Registers every route, each behind the guard.
pub(super) fn configure(config: &mut web::ServiceConfig) {
    let mut routes = routes();
    while let Some(first) = routes.first() {
        let path = first.path.clone();
        let (here, rest): (Vec<Route>, Vec<Route>) =
            routes.into_iter().partition(|route| route.path == path);
        routes = rest;
        let accesses: Rc<[_]> = here
            .iter()
            .map(|route| (route.method.clone(), route.access))
            .collect();
        let resource: Resource = here.iter().fold(web::resource(&path), |resource, route| {
            resource.route((route.handler)())
        });
        let wrapped = actix_web::middleware::from_fn(move |request, next| {
            guard(Rc::clone(&accesses), request, next)
        });
        config.service(resource.wrap(wrapped));
    }
}
