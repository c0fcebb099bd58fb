//! The same settings in the words of each DHCP server.

use std::fmt::Write as _;

use super::{Plan, Wishes};

/// What classes, tags and policies are called.
const NAME: &str = "daybreak";

fn is_empty(plans: &[Plan]) -> bool {
    plans.iter().all(|plan| plan.servers.is_empty())
}

/// Lines, each of which is moved to the right.
fn indented(text: &str, by: usize) -> String {
    let pad = " ".repeat(by);
    text.lines().fold(String::new(), |mut out, line| {
        let _ = writeln!(out, "{pad}{line}");
        out
    })
}

pub(super) fn isc_dhcpd(plans: &[Plan], wishes: &Wishes) -> String {
    if is_empty(plans) {
        return String::new();
    }
    let mut out = String::from("option daybreak-150 code 150 = array of ip-address;\n");
    for plan in plans {
        let options = format!(
            "option tftp-server-name \"{}\";\noption bootfile-name \"{}\";\noption daybreak-150 {};\n",
            plan.list(" "),
            wishes.boot_file.0,
            plan.list(", "),
        );
        let options = match &wishes.class {
            None => options,
            Some(class) => format!(
                "if substring(option vendor-class-identifier, 0, {}) = \"{}\" {{\n{}}}\n",
                class.0.len(),
                class.0,
                indented(&options, 2)
            ),
        };
        match plan.scope {
            None => out.push_str(&options),
            Some(scope) => {
                let (network, mask) = (scope.network, scope.mask());
                let _ = write!(
                    out,
                    "subnet {network} netmask {mask} {{\n  # put this into your own declaration of the subnet\n{}}}\n",
                    indented(&options, 2)
                );
            }
        }
    }
    out
}

pub(super) fn kea(plans: &[Plan], wishes: &Wishes) -> String {
    if is_empty(plans) {
        return String::new();
    }
    let options = |plan: &Plan| {
        serde_json::json!([
            {"name": "tftp-server-name", "data": plan.list(" ")},
            {"name": "boot-file-name", "data": &*wishes.boot_file.0},
            {"name": "daybreak-150", "data": plan.list(", ")},
        ])
    };
    let definition = serde_json::json!([
        {"name": "daybreak-150", "code": 150, "type": "ipv4-address", "array": true},
    ]);
    let mut dhcp4 = serde_json::json!({"option-def": definition});
    let mut classes = Vec::new();
    let mut subnets = Vec::new();
    for (number, plan) in (1..).zip(plans) {
        let mut class =
            serde_json::json!({"name": format!("{NAME}-{number}"), "option-data": options(plan)});
        if let Some(test) = &wishes.class {
            let test = format!(
                "substring(option[60].hex,0,{}) == '{}'",
                test.0.len(),
                test.0
            );
            class["test"] = test.into();
        }
        match plan.scope {
            None if wishes.class.is_none() => dhcp4["option-data"] = options(plan),
            None => classes.push(class),
            Some(scope) => {
                let mut subnet = serde_json::json!({"id": number, "subnet": scope.to_string()});
                if wishes.class.is_some() {
                    class["only-if-required"] = true.into();
                    subnet["require-client-classes"] = serde_json::json!([class["name"]]);
                    classes.push(class);
                } else {
                    subnet["option-data"] = options(plan);
                }
                subnets.push(subnet);
            }
        }
    }
    if !classes.is_empty() {
        dhcp4["client-classes"] = classes.into();
    }
    if !subnets.is_empty() {
        dhcp4["subnet4"] = subnets.into();
    }
    let file = serde_json::json!({"Dhcp4": dhcp4});
    serde_json::to_string_pretty(&file).expect("plain values") + "\n"
}

pub(super) fn dnsmasq(plans: &[Plan], wishes: &Wishes) -> String {
    if is_empty(plans) {
        return String::new();
    }
    let mut out = String::new();
    let mut tags = String::new();
    if let Some(class) = &wishes.class {
        let _ = writeln!(out, "dhcp-vendorclass=set:{NAME},{}", class.0);
        let _ = write!(tags, "tag:{NAME},");
    }
    for (number, plan) in (1..).zip(plans) {
        let mut tags = tags.clone();
        if let Some(scope) = plan.scope {
            let tag = format!("{NAME}-{number}");
            let _ = writeln!(
                out,
                "# your dhcp-range of {scope} needs this tag: dhcp-range=set:{tag},..."
            );
            let _ = write!(tags, "tag:{tag},");
        }
        let _ = write!(
            out,
            "dhcp-option={tags}66,\"{}\"\ndhcp-option={tags}67,{}\ndhcp-option={tags}150,{}\n",
            plan.list(" "),
            wishes.boot_file.0,
            plan.list(","),
        );
    }
    out
}

pub(super) fn windows(plans: &[Plan], wishes: &Wishes) -> String {
    if is_empty(plans) {
        return String::new();
    }
    let mut out = String::from(
        "if (-not (Get-DhcpServerv4OptionDefinition -OptionId 150 -ErrorAction SilentlyContinue)) {\n  \
         Add-DhcpServerv4OptionDefinition -OptionId 150 -Name 'TFTP server addresses' -Type IPv4Address -MultiValued\n}\n",
    );
    if let Some(class) = &wishes.class {
        let _ = writeln!(
            out,
            "Add-DhcpServerv4Class -Name '{NAME}' -Type Vendor -Data '{}'",
            class.0
        );
    }
    for (number, plan) in (1..).zip(plans) {
        let scope = match plan.scope {
            Some(scope) => format!(" -ScopeId {}", scope.network),
            None => String::new(),
        };
        let mut place = scope.clone();
        if wishes.class.is_some() {
            let policy = format!("{NAME}-{number}");
            let _ = writeln!(
                out,
                "Add-DhcpServerv4Policy -Name '{policy}'{scope} -Condition OR -VendorClass EQ,'{NAME}*'"
            );
            let _ = write!(place, " -PolicyName '{policy}'");
        }
        let addresses: Vec<String> = plan
            .servers
            .iter()
            .map(|address| format!("'{address}'"))
            .collect();
        let _ = write!(
            out,
            "Set-DhcpServerv4OptionValue{place} -OptionId 66 -Value '{}'\n\
             Set-DhcpServerv4OptionValue{place} -OptionId 67 -Value '{}'\n\
             Set-DhcpServerv4OptionValue{place} -OptionId 150 -Value {}\n",
            plan.list(" "),
            wishes.boot_file.0,
            addresses.join(","),
        );
    }
    out
}
