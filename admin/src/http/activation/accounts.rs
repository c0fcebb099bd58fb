//! Accounts, for the vendor's staff: customers get theirs here. The staff's own are made by the command line, so that nobody who gets
//! into a session makes another of its kind.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

use super::form::{Field, FormView, Sent};
use super::guard::Me;
use super::log_in::parameter;
use super::page::{Html, PageError, form, page};
use super::site::Site;
use crate::authority::Account;
use crate::http::request;
use crate::limits::SITE_PAGE_ITEMS;
use crate::object::Id;
use crate::security::Secret;

#[derive(Serialize)]
struct AccountRow {
    id: String,
    name: String,
    /// None: the vendor's staff.
    customer: Option<String>,
    state: String,
}

#[derive(Serialize)]
struct AccountsView<'p> {
    accounts: Vec<AccountRow>,
    earlier: Option<usize>,
    later: Option<usize>,
    token: &'p str,
    add: Html,
}

#[derive(Serialize)]
struct LinkView<'p> {
    name: &'p str,
    path: String,
    origin: String,
}

fn account_row(account: Account) -> AccountRow {
    let state = account.state();
    AccountRow {
        id: account.id.to_string(),
        name: account.name.as_str().to_owned(),
        customer: account.customer,
        state,
    }
}

fn add_form(name: &str, customer: &str, error: Option<&PageError>) -> FormView {
    let fields = vec![
        Field::text("name", "Name to log in with")
            .with(name)
            .hint("1 to 64 of a-z, 0-9, _, -, . and @: an address of mail is a good one."),
        Field::text("customer", "Customer")
            .with(customer)
            .hint("Exactly as the licences have it: the account sees the licences of this name."),
    ];
    let form = FormView::new("/accounts", "Add, and show the link", fields);
    match error {
        Some(error) => form.refused(error),
        None => form,
    }
}

async fn accounts_page(
    status: StatusCode,
    site: &web::Data<Site>,
    me: &Me,
    number: usize,
    add: &FormView,
) -> Result<HttpResponse, PageError> {
    let accounts = site
        .blocking(|site: &Site| site.authority.accounts())
        .await?;
    let first = number.saturating_mul(SITE_PAGE_ITEMS);
    let more = accounts.len() > first.saturating_add(SITE_PAGE_ITEMS);
    let shown = accounts.into_iter().skip(first).take(SITE_PAGE_ITEMS);
    let view = AccountsView {
        accounts: shown.map(account_row).collect(),
        earlier: number.checked_sub(1),
        later: more.then_some(number.saturating_add(1)),
        token: &me.token,
        add: form(add, Some(me))?,
    };
    page(status, Some(me), "Accounts", "accounts.html", &view)
}

pub(super) async fn list(
    site: web::Data<Site>,
    me: Me,
    request: HttpRequest,
) -> Result<HttpResponse, PageError> {
    let number = parameter(&request, "page").parse().unwrap_or(0);
    accounts_page(StatusCode::OK, &site, &me, number, &add_form("", "", None)).await
}

pub(super) async fn add(
    site: web::Data<Site>,
    me: Me,
    request: HttpRequest,
    sent: Sent,
) -> Result<HttpResponse, PageError> {
    let name = sent.field("name").trim().to_owned();
    let customer = sent.field("customer").to_owned();
    let add = add_form(&name, &customer, None);
    let work = move |site: &Site| site.authority.add_account(&name, Some(&customer));
    match site.blocking(work).await {
        Ok(made) => link_page(&me, &request, &made),
        Err(why) if why.status() == StatusCode::UNPROCESSABLE_ENTITY => {
            accounts_page(why.status(), &site, &me, 0, &add.refused(&why)).await
        }
        Err(why) => Err(why),
    }
}

/// The account in the address, if it is a customer's.
async fn customers(site: &web::Data<Site>, request: &HttpRequest) -> Result<Id, PageError> {
    let unknown = || PageError::not_found("There is no such account.");
    let id = request::id(request).map_err(|_| unknown())?;
    let account = site
        .blocking(move |site: &Site| site.authority.account(&id))
        .await?;
    let account = account.ok_or_else(unknown)?;
    if account.customer.is_none() {
        let text = "Accounts of the vendor's staff are changed by the command line: daybreak-licence account";
        return Err(PageError::new(StatusCode::FORBIDDEN, text));
    }
    Ok(account.id)
}

pub(super) async fn link(
    site: web::Data<Site>,
    me: Me,
    request: HttpRequest,
    _sent: Sent,
) -> Result<HttpResponse, PageError> {
    let id = customers(&site, &request).await?;
    let work = move |site: &Site| site.authority.invite_again(&id);
    link_page(&me, &request, &site.blocking(work).await?)
}

/// The link, once.
fn link_page(
    me: &Me,
    request: &HttpRequest,
    (account, secret): &(Account, Secret),
) -> Result<HttpResponse, PageError> {
    let connection = request.connection_info();
    // As the browser that asks knows this site: the reader copies the link from there.
    let origin = format!("{}://{}", connection.scheme(), connection.host());
    drop(connection);
    let view = LinkView {
        name: account.name.as_str(),
        path: format!("/welcome?code={}", secret.reveal()),
        origin,
    };
    page(StatusCode::OK, Some(me), "Link", "link.html", &view)
}

pub(super) async fn remove(
    site: web::Data<Site>,
    request: HttpRequest,
    _me: Me,
    _sent: Sent,
) -> Result<HttpResponse, PageError> {
    let id = customers(&site, &request).await?;
    let account = id.clone();
    site.blocking(move |site: &Site| site.authority.remove_account(&id))
        .await?;
    site.end_sessions_of(&account);
    Ok(super::page::see("/accounts"))
}
