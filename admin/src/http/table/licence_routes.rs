//! Routes of licences and seats.

use actix_web::http::Method;
use actix_web::web;

use super::super::licences;
use super::{Access, Route, add};
use crate::security::Right;

pub(super) fn of_licences(routes: &mut Vec<Route>) {
    let right = Access::Right;
    add(
        routes,
        (Method::GET, "/api/v1/licensing"),
        right(Right::LicencesRead),
        "What the licences allow, what of it is used, and the Installation IDs of the servers",
        || web::get().to(licences::licensing),
    );
    add(
        routes,
        (Method::GET, "/api/v1/licences"),
        right(Right::LicencesRead),
        "List the installed licences",
        || web::get().to(licences::list),
    );
    add(
        routes,
        (Method::POST, "/api/v1/licences"),
        right(Right::LicencesWrite),
        "Install a licence file",
        || web::post().to(licences::install),
    );
    add(
        routes,
        (Method::DELETE, "/api/v1/licences/{id}"),
        right(Right::LicencesWrite),
        "Remove a licence",
        || web::delete().to(licences::remove),
    );
    add(
        routes,
        (Method::PUT, "/api/v1/terminals/{id}/seat"),
        right(Right::TerminalsWrite),
        "Give a terminal a seat, also one whose seat was released",
        || web::put().to(licences::give_seat),
    );
    add(
        routes,
        (Method::DELETE, "/api/v1/terminals/{id}/seat"),
        right(Right::TerminalsWrite),
        "Release a terminal's seat: it does not boot any more, and another one may",
        || web::delete().to(licences::release_seat),
    );
}
