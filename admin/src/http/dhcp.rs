//! What to tell the site's DHCP server, and terminals without one.

use actix_web::{HttpRequest, HttpResponse, web};

use super::error::ApiError;
use super::request::{self, unknown_parameter, wrong_parameter};
use super::state::State;
use crate::dhcp_hints::{BootFileName, VendorClass, Wishes, dhcp_hints};
use crate::limits::HINT_SCOPES_MAX;
use crate::publish::boot_servers;

/// Parameters, with what they say.
pub(super) const PARAMETERS: [(&str, &str); 5] = [
    ("boot_file", "option 67; otherwise boot/ipxe.efi"),
    (
        "vendor_class",
        "the beginning of option 60 of the clients that it is for; otherwise all",
    ),
    (
        "scopes",
        "networks with settings of their own, as in 10.1.0.0/24,10.2.0.0/24; otherwise one for all",
    ),
    (
        "alternate",
        "true: every second scope has the other server first, to share the load",
    ),
    (
        "terminal_address",
        "line (A) of the static menu; otherwise 0.0.0.0, for DHCP",
    ),
];

pub(super) async fn hints(
    state: web::Data<State>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let mut wishes = Wishes::default();
    for (name, value) in request::parameters(&request)? {
        let wrong = |why: &str| wrong_parameter(&name, why);
        match name.as_str() {
            "boot_file" => {
                wishes.boot_file = BootFileName::parse(&value).map_err(|rule| wrong(rule.0))?;
            }
            "vendor_class" => {
                let class = VendorClass::parse(&value).map_err(|rule| wrong(rule.0))?;
                wishes.class = Some(class);
            }
            "scopes" => {
                let scopes = value.split(',').map(str::parse);
                wishes.scopes = scopes
                    .collect::<Result<_, _>>()
                    .map_err(|rule: crate::kind::Broken| wrong(rule.0))?;
                if wishes.scopes.len() > HINT_SCOPES_MAX {
                    return Err(wrong("at most 64 scopes at once"));
                }
            }
            "alternate" => {
                wishes.alternate = value.parse().map_err(|_| wrong("it is true or false"))?;
            }
            "terminal_address" => {
                let address = value.parse();
                wishes.terminal = address.map_err(|_| wrong("it is an IPv4 address"))?;
            }
            _ => return Err(unknown_parameter(&name)),
        }
    }
    let site = state.configuration.site();
    Ok(HttpResponse::Ok().json(dhcp_hints(&boot_servers(&site), &wishes)))
}
