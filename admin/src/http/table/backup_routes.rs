//! Routes of backups, restores and how schedules stand.

use actix_web::http::Method;
use actix_web::web;

use super::super::backups;
use super::{Access, Route, add};
use crate::security::Right;

pub(super) fn of_backups(routes: &mut Vec<Route>) {
    let right = Access::Right;
    add(
        routes,
        (Method::GET, "/api/v1/backups"),
        right(Right::BackupsRead),
        "List the backups",
        || web::get().to(backups::list),
    );
    add(
        routes,
        (Method::POST, "/api/v1/backups"),
        right(Right::BackupsCreate),
        "Begin to make a backup",
        || web::post().to(backups::create),
    );
    add(
        routes,
        (Method::GET, "/api/v1/backups/{id}"),
        right(Right::BackupsRead),
        "What a backup is, and how far it is",
        || web::get().to(backups::show),
    );
    add(
        routes,
        (Method::DELETE, "/api/v1/backups/{id}"),
        right(Right::BackupsDelete),
        "Delete a backup",
        || web::delete().to(backups::delete),
    );
    add(
        routes,
        (Method::GET, "/api/v1/backups/{id}/content"),
        right(Right::BackupsTransfer),
        "Download a backup",
        || web::get().to(backups::download),
    );
    add(
        routes,
        (Method::PUT, "/api/v1/backups/{id}/content"),
        right(Right::BackupsTransfer),
        "Upload a backup",
        || web::put().to(backups::upload),
    );
    add(
        routes,
        (Method::POST, "/api/v1/restores"),
        right(Right::BackupsRestore),
        "Begin to plan a restore: read a backup, and compare it with what is",
        || web::post().to(backups::plan),
    );
    add(
        routes,
        (Method::GET, "/api/v1/restores/{id}"),
        right(Right::BackupsRestore),
        "What a restore changes, and how far it is",
        || web::get().to(backups::restore_state),
    );
    add(
        routes,
        (Method::POST, "/api/v1/restores/{id}/start"),
        right(Right::BackupsRestore),
        "Begin a restore that was planned",
        || web::post().to(backups::restore),
    );
    add(
        routes,
        (Method::GET, "/api/v1/schedules/{id}/status"),
        right(Right::SchedulesRead),
        "When a schedule is due, and how it ran last",
        || web::get().to(backups::schedule_status),
    );
}
