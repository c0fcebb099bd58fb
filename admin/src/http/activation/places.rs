//! The table of addresses: who may use each, and its handlers. The site is made from it and from nothing else, so that an address without
//! an access cannot be reached.

use actix_web::middleware::from_fn;
use actix_web::{Resource, web};

use super::guard::guard;
use super::{accounts, licences, log_in, page};

/// Who may use an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Public,
    /// Whoever is logged in; a customer sees what is the customer's.
    Account,
    /// The vendor's staff.
    Staff,
}

/// Every address.
pub const PLACES: [(&str, Access); 16] = [
    ("/", Access::Public),
    ("/style.css", Access::Public),
    ("/log-in", Access::Public),
    ("/welcome", Access::Public),
    ("/log-out", Access::Account),
    ("/password", Access::Account),
    ("/vendor-key", Access::Account),
    ("/licences", Access::Account),
    ("/licences/new", Access::Staff),
    ("/licences/{id}", Access::Account),
    ("/licences/{id}/activations", Access::Account),
    ("/licences/{id}/activations/{number}", Access::Account),
    ("/licences/{id}/products", Access::Staff),
    ("/accounts", Access::Staff),
    ("/accounts/{id}/link", Access::Staff),
    ("/accounts/{id}/remove", Access::Staff),
];

fn handlers(path: &str, resource: Resource) -> Resource {
    match path {
        "/" => resource.route(web::get().to(page::front)),
        "/style.css" => resource.route(web::get().to(page::style)),
        "/log-in" => resource
            .route(web::get().to(log_in::show))
            .route(web::post().to(log_in::log_in)),
        "/welcome" => resource
            .route(web::get().to(log_in::welcome))
            .route(web::post().to(log_in::choose_password)),
        "/log-out" => resource.route(web::post().to(log_in::log_out)),
        "/password" => resource
            .route(web::get().to(log_in::password))
            .route(web::post().to(log_in::change_password)),
        "/vendor-key" => resource.route(web::get().to(licences::vendor_key)),
        "/licences" => resource.route(web::get().to(licences::list)),
        "/licences/new" => resource
            .route(web::get().to(licences::new))
            .route(web::post().to(licences::create)),
        "/licences/{id}" => resource.route(web::get().to(licences::show)),
        "/licences/{id}/activations" => resource.route(web::post().to(licences::activate)),
        "/licences/{id}/activations/{number}" => resource.route(web::get().to(licences::download)),
        "/licences/{id}/products" => resource.route(web::post().to(licences::add_product)),
        "/accounts" => resource
            .route(web::get().to(accounts::list))
            .route(web::post().to(accounts::add)),
        "/accounts/{id}/link" => resource.route(web::post().to(accounts::link)),
        "/accounts/{id}/remove" => resource.route(web::post().to(accounts::remove)),
        _ => unreachable!("an address of the table without a handler"),
    }
}

/// Registers every address, each behind the guard.
pub(super) fn configure(config: &mut web::ServiceConfig) {
    for (path, access) in PLACES {
        let resource = handlers(path, web::resource(path));
        let guarded = from_fn(move |request, next| guard(access, request, next));
        config.service(
            resource
                .default_service(web::to(page::wrong_method))
                .wrap(guarded),
        );
    }
    config.default_service(web::to(page::nothing));
}
