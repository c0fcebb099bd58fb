//! A vendor's authority, made on the spot.

use daybreak_admin::licensing::{
    InstallationId, Licence, Product, ProductLicence, Redundancy, SCHEMA_VERSION, VendorKeys,
};
use daybreak_admin::object::{Id, NodeId};
use ed25519_dalek::SigningKey;

/// When the licences of these tests are looked at.
pub(crate) const NOW_MS: u64 = 1_800_000_000_000;
pub(crate) const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// The `number`th signing key.
pub(crate) fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

/// The `number`th installation.
pub(crate) fn id(number: u8) -> InstallationId {
    InstallationId::derive("machine", NodeId::from_random([number; 8]))
}

/// Trusts these keys.
pub(crate) fn vendors(numbers: &[u8]) -> VendorKeys {
    let mut vendors = VendorKeys::default();
    for number in numbers {
        vendors.trust(key(*number).verifying_key());
    }
    vendors
}

/// A master licence for these installations.
pub(crate) fn licence(redundancy: &str, installations: &[u8], products: &[(&str, u32)]) -> Licence {
    licence_for(
        redundancy,
        installations.iter().map(|number| id(*number)).collect(),
        products,
    )
}

/// The same, for installations that there are.
pub(crate) fn licence_for(
    redundancy: &str,
    installations: Vec<InstallationId>,
    products: &[(&str, u32)],
) -> Licence {
    let products = products
        .iter()
        .enumerate()
        .map(|(number, (word, count))| ProductLicence {
            id: Id::parse(&format!("p{number}")).expect("an identifier"),
            product: Product::of_word(word).expect("a product"),
            count: *count,
        });
    Licence {
        schema_version: SCHEMA_VERSION,
        id: Id::parse("master-1").expect("an identifier"),
        activation: 1,
        customer: "Example Plant".into(),
        redundancy: Redundancy::of_word(redundancy).expect("a kind"),
        installations,
        issued_ms: NOW_MS - DAY_MS,
        valid_from_ms: 1_600_000_000_000,
        valid_until_ms: None,
        products: products.collect(),
    }
}
