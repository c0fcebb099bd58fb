//! What may be done, by name; and the roles that are always there.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::kind::Kind;
use crate::object::Id;

macro_rules! rights {
    ($($right:ident $word:literal $what:literal,)+) => {
        /// One thing that may be allowed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Right {
            $(#[doc = $what] #[serde(rename = $word)] $right,)+
        }

        impl Right {
            /// Every right.
            pub const ALL: [Right; [$($word),+].len()] = [$(Right::$right),+];

            /// Its name.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Right::$right => $word,)+ }
            }

            /// What it allows.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Right::$right => $what,)+ }
            }
        }
    };
}

rights! {
    TerminalsRead "terminals.read" "see terminals and their effective settings",
    TerminalsWrite "terminals.write" "create, change and delete terminals",
    TerminalsReplace "terminals.replace" "give a terminal another unit",
    UnknownRead "unknown-terminals.read" "see units that are no terminal's",
    UnknownAdopt "unknown-terminals.adopt" "make terminals of units that are none, and forget such units",
    TerminalsShadow "terminals.shadow" "look at the screen of a terminal (reserved: not available yet)",
    GroupsRead "terminal-groups.read" "see terminal groups",
    GroupsWrite "terminal-groups.write" "create, change and delete terminal groups",
    ServersRead "terminal-servers.read" "see terminal servers",
    ServersWrite "terminal-servers.write" "create, change and delete terminal servers",
    ModelsRead "term-caps.read" "see hardware models",
    ModelsWrite "term-caps.write" "create, change and delete hardware models",
    PackagesRead "firmware-packages.read" "see firmware packages",
    PackagesWrite "firmware-packages.write" "create, change and delete firmware packages",
    ModulesRead "modules.read" "see modules",
    ModulesWrite "modules.write" "create, change and delete modules",
    BootServersRead "boot-servers.read" "see boot servers",
    BootServersWrite "boot-servers.write" "create, change and delete boot servers",
    SchedulesRead "schedules.read" "see schedules of backups, and how their last runs went",
    SchedulesWrite "schedules.write" "create, change and delete schedules of backups",
    UsersRead "users.read" "see users",
    UsersWrite "users.write" "create, change and delete users, and set their passwords",
    RolesRead "roles.read" "see roles",
    RolesWrite "roles.write" "create, change and delete roles",
    KeysRead "api-keys.read" "see API keys (never their secrets)",
    KeysWrite "api-keys.write" "create, change and delete API keys",
    SettingsRead "settings.read" "see settings of the site",
    SettingsWrite "settings.write" "change settings of the site, boot scripts included",
    ProblemsRead "problems.read" "see what is wrong with the configuration",
    PublicationRead "publication.read" "see what is published, and whether it is up to date",
    FilesRead "files.read" "list the files that terminals can ask for",
    FilesWrite "files.write" "upload and remove files that terminals can ask for",
    BackupsRead "backups.read" "see backups",
    BackupsCreate "backups.create" "make a backup",
    BackupsTransfer "backups.transfer" "download and upload backups, which hold everything that is configured",
    BackupsDelete "backups.delete" "delete backups",
    BackupsRestore "backups.restore" "overwrite the configuration with a backup's",
    AuditRead "audit.read" "see who changed what",
    EventsRead "events.read" "see events, and the status of terminals",
    SyncRead "synchronization.read" "see how the pair stands, and what was changed on both servers",
    SyncWrite "synchronization.write" "pair this server with another one, which then gives it everything, accounts too; un-pair; choose where both have changed something; synchronize by hand",
    LicencesRead "licences.read" "see licences, and what they allow",
    LicencesWrite "licences.write" "install and remove licences",
    MetricsRead "metrics.read" "read the metrics of the administration",
}

// The derive does not see names that a macro gives.
impl utoipa::PartialSchema for Right {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::schema::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .enum_values(Some(Right::ALL.map(Right::word)))
            .build()
            .into()
    }
}

impl ToSchema for Right {}

/// What an identity may do.
pub type Rights = BTreeSet<Right>;

impl Right {
    /// To see objects of this kind.
    #[must_use]
    pub const fn to_read(kind: Kind) -> Self {
        match kind {
            Kind::Terminal => Right::TerminalsRead,
            Kind::TerminalGroup => Right::GroupsRead,
            Kind::TerminalServer => Right::ServersRead,
            Kind::TermCap => Right::ModelsRead,
            Kind::FirmwarePackage => Right::PackagesRead,
            Kind::Module => Right::ModulesRead,
            Kind::BootServer => Right::BootServersRead,
            Kind::Schedule => Right::SchedulesRead,
            Kind::User => Right::UsersRead,
            Kind::Role => Right::RolesRead,
            Kind::ApiKey => Right::KeysRead,
            Kind::Setting => Right::SettingsRead,
        }
    }

    /// To create, change and delete objects of this kind.
    #[must_use]
    pub const fn to_write(kind: Kind) -> Self {
        match kind {
            Kind::Terminal => Right::TerminalsWrite,
            Kind::TerminalGroup => Right::GroupsWrite,
            Kind::TerminalServer => Right::ServersWrite,
            Kind::TermCap => Right::ModelsWrite,
            Kind::FirmwarePackage => Right::PackagesWrite,
            Kind::Module => Right::ModulesWrite,
            Kind::BootServer => Right::BootServersWrite,
            Kind::Schedule => Right::SchedulesWrite,
            Kind::User => Right::UsersWrite,
            Kind::Role => Right::RolesWrite,
            Kind::ApiKey => Right::KeysWrite,
            Kind::Setting => Right::SettingsWrite,
        }
    }
}

/// A role that every site has and nobody can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuiltInRole {
    /// Everything.
    Administrator,
    /// Terminals and what they use; neither accounts nor settings of the site.
    Operator,
    /// Looks, and changes nothing.
    Monitor,
}

impl BuiltInRole {
    /// All of them.
    pub const ALL: [BuiltInRole; 3] = [
        BuiltInRole::Administrator,
        BuiltInRole::Operator,
        BuiltInRole::Monitor,
    ];

    /// Its identifier, as users name it.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            BuiltInRole::Administrator => "administrator",
            BuiltInRole::Operator => "operator",
            BuiltInRole::Monitor => "monitor",
        }
    }

    /// The built-in role of this identifier.
    #[must_use]
    pub fn of(id: &Id) -> Option<Self> {
        BuiltInRole::ALL
            .into_iter()
            .find(|role| role.id() == id.as_str())
    }

    /// Whether it allows `right`.
    #[must_use]
    pub const fn allows(self, right: Right) -> bool {
        use Right::{
            BackupsCreate, BackupsRead, BootServersRead, EventsRead, FilesRead, FilesWrite,
            GroupsRead, GroupsWrite, LicencesRead, MetricsRead, ModelsRead, ModelsWrite,
            ModulesRead, ModulesWrite, PackagesRead, PackagesWrite, ProblemsRead, PublicationRead,
            SchedulesRead, ServersRead, ServersWrite, SettingsRead, SyncRead, TerminalsRead,
            TerminalsReplace, TerminalsShadow, TerminalsWrite, UnknownAdopt, UnknownRead,
        };
        let looks = matches!(
            right,
            TerminalsRead
                | GroupsRead
                | ServersRead
                | ModelsRead
                | PackagesRead
                | ModulesRead
                | BootServersRead
                | SettingsRead
                | ProblemsRead
                | PublicationRead
                | FilesRead
                | UnknownRead
                | EventsRead
                | SyncRead
                | LicencesRead
                | MetricsRead
                | SchedulesRead
                | BackupsRead
        );
        let changes = matches!(
            right,
            TerminalsWrite
                | TerminalsReplace
                | UnknownAdopt
                | TerminalsShadow
                | GroupsWrite
                | ServersWrite
                | ModelsWrite
                | PackagesWrite
                | ModulesWrite
                | FilesWrite
                | BackupsCreate
        );
        match self {
            BuiltInRole::Administrator => true,
            BuiltInRole::Operator => looks || changes,
            BuiltInRole::Monitor => looks,
        }
    }

    /// What it allows.
    #[must_use]
    pub fn rights(self) -> Rights {
        Right::ALL
            .into_iter()
            .filter(|right| self.allows(*right))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_allows_more_than_the_one_below() {
        let [administrator, operator, monitor] = BuiltInRole::ALL.map(BuiltInRole::rights);
        assert_eq!(administrator.len(), Right::ALL.len());
        assert!(operator.is_subset(&administrator) && operator.len() < administrator.len());
        assert!(monitor.is_subset(&operator) && monitor.len() < operator.len());
        for right in [
            Right::UsersWrite,
            Right::RolesWrite,
            Right::KeysWrite,
            Right::SettingsWrite,
        ] {
            assert!(!operator.contains(&right), "{right:?}");
        }
        assert!(monitor.iter().all(|right| right.word().ends_with(".read")));
    }
}
