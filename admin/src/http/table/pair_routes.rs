//! Routes of the pair: how it stands, pairing, conflicts, and synchronization by hand.

use actix_web::http::Method;
use actix_web::web;

use super::super::{conflicts, manual, sync};
use super::{Access, Route, add};
use crate::security::Right;

pub(super) fn of_the_pair(routes: &mut Vec<Route>) {
    let (read, write) = (
        Access::Right(Right::SyncRead),
        Access::Right(Right::SyncWrite),
    );
    add(
        routes,
        (Method::GET, "/api/v1/sync/status"),
        read,
        "How the pair stands",
        || web::get().to(sync::status),
    );
    add(
        routes,
        (Method::GET, "/api/v1/sync/conflicts"),
        read,
        "Objects that were changed on both servers at once",
        || web::get().to(conflicts::list),
    );
    add(
        routes,
        (Method::POST, "/api/v1/sync/conflicts"),
        write,
        "Choose what an object is that was changed on both servers",
        || web::post().to(conflicts::resolve),
    );
    add(
        routes,
        (Method::POST, "/api/v1/sync/plans"),
        write,
        "Find out what would change if this server were made the same as the other one",
        || web::post().to(manual::plan),
    );
    add(
        routes,
        (Method::GET, "/api/v1/sync/plans/{id}"),
        write,
        "Look at the last plan",
        || web::get().to(manual::show_plan),
    );
    add(
        routes,
        (Method::POST, "/api/v1/sync/runs"),
        write,
        "Make this server the same as the other one, as a plan says",
        || web::post().to(manual::run),
    );
    add(
        routes,
        (Method::GET, "/api/v1/sync/runs/{id}"),
        read,
        "How far a run is",
        || web::get().to(manual::show_run),
    );
    add(
        routes,
        (Method::POST, "/api/v1/sync/pairing/code"),
        write,
        "Show a code, with which another server is paired with this one",
        || web::post().to(sync::show_code),
    );
    add(
        routes,
        (Method::DELETE, "/api/v1/sync/pairing/code"),
        write,
        "Take the code away",
        || web::delete().to(sync::take_code_away),
    );
    add(
        routes,
        (Method::POST, "/api/v1/sync/pairing"),
        write,
        "Pair with the server that shows a code",
        || web::post().to(sync::join),
    );
    add(
        routes,
        (Method::DELETE, "/api/v1/sync/pairing"),
        write,
        "Un-pair",
        || web::delete().to(sync::un_pair),
    );
    add(
        routes,
        (Method::GET, "/api/v1/sync/servers"),
        read,
        "List the servers that are known for synchronization by hand alone",
        || web::get().to(sync::listed_servers),
    );
    add(
        routes,
        (Method::POST, "/api/v1/sync/servers"),
        write,
        "Add the server that shows a code to the list of those that are known for synchronization by hand",
        || web::post().to(sync::list_server),
    );
    add(
        routes,
        (Method::POST, "/api/v1/sync/servers/code"),
        write,
        "Show a code, with which another server is made known for synchronization by hand",
        || web::post().to(sync::show_listing_code),
    );
    add(
        routes,
        (Method::DELETE, "/api/v1/sync/servers/{id}"),
        write,
        "Take a server off the list, by its fingerprint",
        || web::delete().to(sync::forget_server),
    );
}
