//! Licences: what there is, what is in it, what was issued of it, and the next activation.

use std::fs;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

use super::form::{Field, FormView, Sent};
use super::guard::Me;
use super::log_in::parameter;
use super::page::{Html, PageError, form, page, page_of_form, see};
use super::site::Site;
use crate::authority::{Activation, Issuer, Listed, Master, day};
use crate::http::request;
use crate::licensing::{InstallationId, Product, Redundancy};
use crate::limits::{CUSTOMER_REPLACEMENTS_MAX, LICENCE_COUNT_MAX, SITE_PAGE_ITEMS};
use crate::object::Id;

/// A master licence in a list.
#[derive(Serialize)]
struct LicenceRow {
    id: String,
    customer: String,
    redundancy: &'static str,
    products: Vec<String>,
    until: Option<String>,
    activated: Option<ActivationRow>,
}

/// Something that was issued.
#[derive(Clone, Serialize)]
struct ActivationRow {
    number: u32,
    day: String,
    installations: Vec<String>,
    by: String,
    /// Whether a server of the one before was replaced.
    replaced: bool,
}

#[derive(Serialize)]
struct ListView {
    staff: bool,
    customer: String,
    licences: Vec<LicenceRow>,
    earlier: Option<usize>,
    later: Option<usize>,
}

#[derive(Serialize)]
struct LicenceView {
    licence: LicenceRow,
    staff: bool,
    about: &'static str,
    activations: Vec<ActivationRow>,
    /// How often this customer may still replace a server.
    replacements_left: usize,
    replacements_max: usize,
    /// The number of the activation that was just made.
    made: String,
    activate: Html,
    product: Option<Html>,
}

/// So many of a product, for people.
fn counted(product: Product, count: u32) -> String {
    let one = product.word().replace('-', " ");
    format!("{count} × {one}")
}

const fn about(redundancy: Redundancy) -> &'static str {
    match redundancy {
        Redundancy::None => "For one server.",
        Redundancy::Mirrored => {
            "For two servers: both boot terminals, and changes are made on the primary."
        }
        Redundancy::Full => {
            "For one server or two, which both boot terminals and may both be changed."
        }
        Redundancy::Enterprise => {
            "For two servers that may both be changed, and any number of terminals."
        }
    }
}

fn licence_row(master: &Master, last: Option<ActivationRow>) -> LicenceRow {
    let products = master.products.iter();
    let products = products.map(|one| counted(one.product, one.count));
    LicenceRow {
        id: master.id.to_string(),
        customer: master.customer.clone(),
        redundancy: master.redundancy.word(),
        products: products.collect(),
        until: master.valid_until_ms.map(day),
        activated: last,
    }
}

fn activation_rows(activations: &[Activation]) -> Vec<ActivationRow> {
    let before = activations.iter().skip(1).map(Some).chain([None]);
    let rows = activations.iter().zip(before).map(|(one, before)| {
        let installations = one.installations.iter().map(ToString::to_string);
        ActivationRow {
            number: one.number,
            day: day(one.issued_ms),
            installations: installations.collect(),
            by: match &one.issuer {
                Issuer::CommandLine => "the vendor".into(),
                Issuer::Staff(name) => format!("the vendor ({})", name.as_str()),
                Issuer::Customer(name) => name.as_str().to_owned(),
            },
            replaced: before.is_some_and(|before| one.replaces(before)),
        }
    });
    rows.collect()
}

pub(super) async fn list(
    site: web::Data<Site>,
    me: Me,
    request: HttpRequest,
) -> Result<HttpResponse, PageError> {
    let number: usize = parameter(&request, "page").parse().unwrap_or(0);
    let wanted = parameter(&request, "customer").trim().to_owned();
    let own = me.customer().map(str::to_owned);
    let filter = own.or_else(|| (!wanted.is_empty()).then(|| wanted.clone()));
    let work = move |site: &Site| {
        let masters = site.authority.masters(Listed {
            customer: filter.as_deref(),
            after: number.saturating_mul(SITE_PAGE_ITEMS),
            most: Some(SITE_PAGE_ITEMS + 1),
        })?;
        let more = masters.len() > SITE_PAGE_ITEMS;
        let rows = masters.iter().take(SITE_PAGE_ITEMS).map(|master| {
            let activations = site.authority.activations(&master.id)?;
            let last = activation_rows(&activations).into_iter().next();
            Ok::<_, PageError>(licence_row(master, last))
        });
        Ok::<_, PageError>((rows.collect::<Result<Vec<_>, _>>()?, more))
    };
    let (licences, more) = site.blocking(work).await?;
    let view = ListView {
        staff: me.is_staff(),
        customer: if me.is_staff() { wanted } else { String::new() },
        licences,
        earlier: number.checked_sub(1),
        later: more.then_some(number.saturating_add(1)),
    };
    page(
        StatusCode::OK,
        Some(&me),
        "Licences",
        "licences.html",
        &view,
    )
}

/// The master licence in the address. One of somebody else is not there.
async fn licence_of(
    site: &web::Data<Site>,
    me: &Me,
    request: &HttpRequest,
) -> Result<(Master, Vec<Activation>), PageError> {
    let unknown = || {
        PageError::not_found("You have no such licence. Your licences are listed under Licences.")
    };
    let id = request::id(request).map_err(|_| unknown())?;
    let customer = me.customer().map(str::to_owned);
    let work = move |site: &Site| {
        let listed = site.authority.find_master(&id)?;
        let own = |master: &Master| customer.as_ref().is_none_or(|own| *own == master.customer);
        let Some(master) = listed.filter(own) else {
            return Err(unknown());
        };
        let activations = site.authority.activations(&master.id)?;
        Ok((master, activations))
    };
    site.blocking(work).await
}

pub(super) async fn show(
    site: web::Data<Site>,
    me: Me,
    request: HttpRequest,
) -> Result<HttpResponse, PageError> {
    let (master, activations) = licence_of(&site, &me, &request).await?;
    let fields = installation_fields(&master, &activations);
    let made = parameter(&request, "made");
    let forms = Forms {
        activate: activate_form(&master, fields),
        product: product_form(&master, product_fields(&master)),
    };
    licence_page(
        StatusCode::OK,
        &site,
        &me,
        (&master, &activations),
        &forms,
        &made,
    )
}

struct Forms {
    activate: FormView,
    product: FormView,
}

fn licence_page(
    status: StatusCode,
    site: &Site,
    me: &Me,
    (master, activations): (&Master, &[Activation]),
    forms: &Forms,
    made: &str,
) -> Result<HttpResponse, PageError> {
    let rows = activation_rows(activations);
    let product = me.is_staff().then(|| form(&forms.product, Some(me)));
    let view = LicenceView {
        licence: licence_row(master, rows.first().cloned()),
        staff: me.is_staff(),
        about: about(master.redundancy),
        replacements_left: site.authority.replacements_left(activations),
        replacements_max: CUSTOMER_REPLACEMENTS_MAX,
        made: rows
            .first()
            .map(|row| row.number.to_string())
            .filter(|last| last == made)
            .unwrap_or_default(),
        activations: rows,
        activate: form(&forms.activate, Some(me))?,
        product: product.transpose()?,
    };
    let title = format!("{} – {}", master.customer, master.id);
    page(status, Some(me), &title, "licence.html", &view)
}

fn activate_form(master: &Master, fields: Vec<Field>) -> FormView {
    let action = format!("/licences/{}/activations", master.id);
    FormView::new(action, "Activate", fields)
}

/// A field for each server, with what is activated now.
fn installation_fields(master: &Master, activations: &[Activation]) -> Vec<Field> {
    let servers = master.servers();
    let now = activations.first().map(|last| &last.installations[..]);
    let now = |place: usize| {
        let id = now.and_then(|ids| ids.get(place));
        id.map(ToString::to_string).unwrap_or_default()
    };
    let mut fields = vec![
        Field::text("first", "Installation ID")
            .with(&now(0))
            .hint("26 letters and digits, as XXXXX-XXXXX-XXXXX-XXXXX-XXXXXX. On the server: daybreak-admin installation-id"),
    ];
    if *servers.end() > 1 {
        let second = Field::text("second", "Installation ID of the second server").with(&now(1));
        fields.push(if *servers.start() > 1 {
            second.hint("This licence needs both.")
        } else {
            second.optional().hint("Leave it empty for one server.")
        });
    }
    fields
}

pub(super) async fn activate(
    site: web::Data<Site>,
    me: Me,
    request: HttpRequest,
    sent: Sent,
) -> Result<HttpResponse, PageError> {
    let (master, activations) = licence_of(&site, &me, &request).await?;
    let mut fields = installation_fields(&master, &activations);
    let refused = |fields: Vec<Field>, why: Option<&PageError>| {
        let forms = Forms {
            activate: match why {
                Some(why) => activate_form(&master, fields).refused(why),
                None => activate_form(&master, fields),
            },
            product: product_form(&master, product_fields(&master)),
        };
        let wrong = StatusCode::UNPROCESSABLE_ENTITY;
        licence_page(wrong, &site, &me, (&master, &activations), &forms, "")
    };
    let Some(installations) = typed_installations(&sent, &mut fields) else {
        return refused(fields, None);
    };
    let name = me.account.name.clone();
    let issuer = if me.is_staff() {
        Issuer::Staff(name)
    } else {
        Issuer::Customer(name)
    };
    let id = master.id.clone();
    let work = move |site: &Site| site.authority.activate(&id, &installations, &issuer);
    match site.blocking(work).await {
        Ok(activation) => {
            let number = activation.number;
            Ok(see(&format!("/licences/{}?made={number}", master.id)))
        }
        Err(why) if why.status() == StatusCode::UNPROCESSABLE_ENTITY => refused(fields, Some(&why)),
        Err(why) => Err(why),
    }
}

/// The Installation IDs that were typed; or what is wrong is said at their fields.
fn typed_installations(sent: &Sent, fields: &mut [Field]) -> Option<Vec<InstallationId>> {
    let mut found: Vec<InstallationId> = Vec::new();
    let mut wrong = false;
    for field in fields {
        let typed = sent.field(field.name).trim();
        typed.clone_into(&mut field.value);
        if typed.is_empty() && field.is_optional() {
            continue;
        }
        let Some(id) = field.judged(InstallationId::parse(typed)) else {
            wrong = true;
            continue;
        };
        if found.contains(&id) {
            field.error = Some("this is the first server again; give the other one's".into());
            wrong = true;
        }
        found.push(id);
    }
    (!wrong).then_some(found)
}

/// The file of an activation.
pub(super) async fn download(
    site: web::Data<Site>,
    me: Me,
    request: HttpRequest,
) -> Result<HttpResponse, PageError> {
    let (master, activations) = licence_of(&site, &me, &request).await?;
    let number = request.match_info().get("number").unwrap_or_default();
    let found = activations
        .into_iter()
        .find(|one| one.number.to_string() == number)
        .ok_or_else(|| PageError::not_found("There is no such activation of this licence."))?;
    let name = format!("{}-{}.licence", master.id, found.number);
    Ok(file(&name, found.text))
}

/// The key that servers believe, as `daybreak-admin licence trust` takes it.
pub(super) async fn vendor_key(site: web::Data<Site>, _me: Me) -> Result<HttpResponse, PageError> {
    let work = |site: &Site| {
        let path = site.authority.public_key()?;
        let text = fs::read_to_string(&path).map_err(|error| PageError::internal(&error))?;
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        Ok::<_, PageError>((name.unwrap_or_default(), text))
    };
    let (name, text) = site.blocking(work).await?;
    Ok(file(&name, text))
}

/// A file to be kept. Its name has letters, digits and dashes only.
fn file(name: &str, text: String) -> HttpResponse {
    let kept = format!("attachment; filename=\"{name}\"");
    HttpResponse::Ok()
        .insert_header((header::CONTENT_DISPOSITION, kept))
        .content_type("text/plain; charset=utf-8")
        .body(text)
}

fn new_fields() -> Vec<Field> {
    let kinds = Redundancy::ALL.map(|one| {
        let said = about(one).trim_end_matches('.');
        (
            one.word(),
            format!("{}: {}", one.word(), said[..1].to_lowercase() + &said[1..]),
        )
    });
    vec![
        Field::text("customer", "Customer").hint(
            "Exactly as the customer's accounts have it: they see the licences of this name.",
        ),
        Field::choice("redundancy", "Redundancy", kinds.to_vec()),
        Field::number("days", "Valid for days")
            .optional()
            .hint("Leave it empty for a licence without an end."),
    ]
}

const NEW: &str =
    "A master licence. What it counts is added on its own page, before it is activated.";

fn new_page(
    status: StatusCode,
    me: &Me,
    fields: Vec<Field>,
    why: Option<&PageError>,
) -> Result<HttpResponse, PageError> {
    let mut view = FormView::new("/licences/new", "Create", fields);
    if let Some(why) = why {
        view = view.refused(why);
    }
    page_of_form(status, Some(me), "New master licence", NEW, &view)
}

#[allow(clippy::unused_async, reason = "a handler")]
pub(super) async fn new(me: Me) -> Result<HttpResponse, PageError> {
    new_page(StatusCode::OK, &me, new_fields(), None)
}

pub(super) async fn create(
    site: web::Data<Site>,
    me: Me,
    sent: Sent,
) -> Result<HttpResponse, PageError> {
    let mut fields = new_fields();
    for field in &mut fields {
        sent.field(field.name).clone_into(&mut field.value);
    }
    let redundancy = Redundancy::of_word(sent.field("redundancy")).ok_or("choose one of these");
    let redundancy = fields[1].judged(redundancy);
    let days = match sent.field("days").trim() {
        "" => Some(None),
        typed => {
            let days = typed
                .parse()
                .ok()
                .filter(|days| (1..=36_500).contains(days));
            fields[2].judged(days.ok_or("1 to 36500 days")).map(Some)
        }
    };
    let wrong = StatusCode::UNPROCESSABLE_ENTITY;
    let (Some(redundancy), Some(days)) = (redundancy, days) else {
        return new_page(wrong, &me, fields, None);
    };
    let customer = sent.field("customer").to_owned();
    let work = move |site: &Site| site.authority.create(&customer, redundancy, days);
    match site.blocking(work).await {
        Ok(master) => Ok(see(&format!("/licences/{}", master.id))),
        Err(why) if why.status() == wrong => new_page(wrong, &me, fields, Some(&why)),
        Err(why) => Err(why),
    }
}

fn product_form(master: &Master, fields: Vec<Field>) -> FormView {
    FormView::new(format!("/licences/{}/products", master.id), "Add", fields)
}

/// What this master licence may hold.
fn product_fields(master: &Master) -> Vec<Field> {
    let fitting = Product::ALL.into_iter();
    let fitting = fitting.filter(|product| product.fits(master.redundancy));
    let choices = fitting.map(|product| (product.word(), product.word().replace('-', " ")));
    vec![
        Field::choice("product", "Product", choices.collect()),
        Field::number("count", "How many"),
    ]
}

pub(super) async fn add_product(
    site: web::Data<Site>,
    me: Me,
    request: HttpRequest,
    sent: Sent,
) -> Result<HttpResponse, PageError> {
    let (master, activations) = licence_of(&site, &me, &request).await?;
    let mut fields = product_fields(&master);
    for field in &mut fields {
        sent.field(field.name).clone_into(&mut field.value);
    }
    let product = Product::of_word(sent.field("product")).ok_or("choose one of these");
    let product = fields[0].judged(product);
    let count = sent.field("count").trim().parse().ok();
    let count = count.filter(|count| (1..=LICENCE_COUNT_MAX).contains(count));
    let count = fields[1].judged(count.ok_or(format!("1 to {LICENCE_COUNT_MAX}")));
    let refused = |fields: Vec<Field>, why: Option<&PageError>| {
        let product = product_form(&master, fields);
        let forms = Forms {
            activate: activate_form(&master, installation_fields(&master, &activations)),
            product: match why {
                Some(why) => product.refused(why),
                None => product,
            },
        };
        let wrong = StatusCode::UNPROCESSABLE_ENTITY;
        licence_page(wrong, &site, &me, (&master, &activations), &forms, "")
    };
    let (Some(product), Some(count)) = (product, count) else {
        return refused(fields, None);
    };
    let id: Id = master.id.clone();
    let work = move |site: &Site| site.authority.add_product(&id, product, count);
    match site.blocking(work).await {
        Ok(_) => Ok(see(&format!("/licences/{}", master.id))),
        Err(why) if why.status() == StatusCode::UNPROCESSABLE_ENTITY => refused(fields, Some(&why)),
        Err(why) => Err(why),
    }
}
