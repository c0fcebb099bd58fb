//! Problems: what is wrong with the configuration and stops nothing, and the one table of their codes.

use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::object::Id;

/// Something that is wrong with the configuration, and does not stop anything.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
pub struct Problem {
    /// What is wrong, as a word: see `docs/api.md`.
    #[schema(value_type = String)]
    pub code: ProblemCode,
    /// The kind of the object that it is about.
    pub kind: &'static str,
    /// That object.
    #[schema(value_type = String)]
    pub id: Id,
    /// Its name.
    pub name: String,
    /// The field, if it is one.
    pub field: Option<String>,
    /// What is wrong and what happens meanwhile, for people.
    pub message: String,
}

macro_rules! codes {
    ($($code:ident $word:literal $meaning:literal,)+) => {
        /// What is wrong, as a word that stays the same.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum ProblemCode {
            $(#[doc = $meaning] $code,)+
        }

        impl ProblemCode {
            /// Every code.
            pub const ALL: [ProblemCode; [$($word),+].len()] = [$(ProblemCode::$code),+];

            /// The word.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(ProblemCode::$code => $word,)+ }
            }

            /// What it means, and what happens meanwhile.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(ProblemCode::$code => $meaning,)+ }
            }
        }
    };
}

codes! {
    DanglingReference "dangling_reference" "a field names an object that is gone; the inherited or default value is taken",
    NoVersion "no_version" "a package has no such version, or none is active; the inherited or default value is taken",
    NoBootFiles "no_boot_files" "a version has nothing to boot for the terminal's architecture; the inherited or default value is taken",
    UnknownParameter "unknown_parameter" "a module has no such parameter, or it may not have this value; the default is taken",
    NoFirmware "no_firmware" "nothing says what the terminal boots; its boot script says so",
    NestedTooDeep "nested_too_deep" "groups are in each other or nested too deep; the outer ones are left out",
    CardTaken "card_taken" "two terminals name one network card; the first by identifier gets the files",
    NameTaken "name_taken" "a file that was imported has the name of a rendered one, and stays",
    TooManyScreens "too_many_screens" "the terminal is to have more screens than its model drives; it gets as many as that",
    NoSeat "no_seat" "the terminal holds no seat, so it does not boot; it gets the next one that is free, unless its own was released",
    OverLicensed "over_licensed" "more terminals use this than the licences count; those that got their seats last go without",
    ImageMissing "image_missing" "a file's content is not on this server yet: it comes from the other one, or is imported again; its name answers when it is here",
    TooManyFiles "too_many_files" "a package has too many files to serve the active version without its name; the names with the version go on",
}

impl Serialize for ProblemCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}
