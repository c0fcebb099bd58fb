//! Texts that were checked once: whoever holds one of these types holds a valid value.
//!
//! Each has one constructor, `parse`; reading JSON goes through it. The error is the rule itself, to be shown
//! beside the field.

use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

/// The rule that a text broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Broken(pub &'static str);

macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $pattern:literal, $rule:literal, $holds:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, ToSchema)]
        #[serde(try_from = "String")]
        #[schema(value_type = String, pattern = $pattern)]
        pub struct $name(Box<str>);

        impl $name {
            /// The only constructor.
            pub fn parse(text: &str) -> Result<Self, Broken> {
                let holds: fn(&str) -> bool = $holds;
                if holds(text) { Ok($name(text.into())) } else { Err(Broken($rule)) }
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = Broken;

            fn try_from(text: String) -> Result<Self, Broken> {
                $name::parse(&text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    };
}
pub(super) use checked_text;

/// `from` to `to` octets, each of them allowed.
fn made_of(text: &str, from: usize, to: usize, allowed: fn(u8) -> bool) -> bool {
    (from..=to).contains(&text.len()) && text.bytes().all(allowed)
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

fn is_segment(text: &str) -> bool {
    made_of(text, 1, 64, |byte| {
        is_name(byte) || matches!(byte, b'.' | b'+')
    }) && !matches!(text, "." | "..")
}

checked_text!(
    /// The name of a terminal, as sessions see it: a NetBIOS name's length.
    TerminalName,
    "^[A-Za-z0-9_-]{1,15}$",
    "a terminal's name has 1 to 15 of A-Z, a-z, 0-9, _ and -",
    |text| made_of(text, 1, 15, is_name)
);

checked_text!(
    /// A name for people: 1 to 64 characters, none of them a control character, no blank at either end.
    Label,
    "^\\S(.{0,62}\\S)?$",
    "a name has 1 to 64 characters, no control character, and no blank at either end",
    |text| {
        (1..=64).contains(&text.chars().count())
            && !text.chars().any(char::is_control)
            && text.trim() == text
    }
);

checked_text!(
    /// One segment of the names that clients ask for: a package, a version.
    Segment,
    "^[A-Za-z0-9_.+-]{1,64}$",
    "it has 1 to 64 of A-Z, a-z, 0-9, _, -, . and +, and is not . or ..",
    is_segment
);

checked_text!(
    /// A file within a firmware package: up to 8 segments.
    FileName,
    "^[A-Za-z0-9_.+-]{1,64}(/[A-Za-z0-9_.+-]{1,64}){0,7}$",
    "a file is 1 to 8 segments of A-Z, a-z, 0-9, _, -, . and + with / between, none of them . or ..",
    |text| text.split('/').count() <= 8 && text.split('/').all(is_segment)
);

checked_text!(
    /// Arguments of a kernel: one line, as it is put into a boot script.
    Arguments,
    "^[ -~]{0,1024}$",
    "arguments are one line of up to 1024 printable ASCII characters",
    |text| made_of(text, 0, 1024, |byte| matches!(byte, b' '..=b'~'))
);

checked_text!(
    /// A remark for people: up to 1000 characters; line feeds and tabs are the only control characters.
    Remark,
    "^(.|\\n){0,1000}$",
    "a remark has up to 1000 characters; line feeds and tabs are its only control characters",
    |text| {
        let odd = |letter: char| letter.is_control() && !matches!(letter, '\n' | '\t');
        text.chars().count() <= 1000 && !text.chars().any(odd)
    }
);

checked_text!(
    /// The name that a user logs in with.
    LoginName,
    "^[a-z0-9_.@-]{1,64}$",
    "a user's name has 1 to 64 of a-z, 0-9, _, -, . and @",
    |text| made_of(text, 1, 64, |byte| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'.' | b'@')
    })
);

checked_text!(
    /// The name of a module's parameter.
    ParameterName,
    "^[a-z0-9_-]{1,32}$",
    "a parameter's name has 1 to 32 of a-z, 0-9, _ and -",
    |text| made_of(text, 1, 32, |byte| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-')
    })
);

checked_text!(
    /// The value of a module's parameter: one line.
    ParameterValue,
    "^.{0,256}$",
    "a parameter's value is one line of up to 256 characters",
    |text| text.chars().count() <= 256 && !text.chars().any(char::is_control)
);

impl Default for Arguments {
    fn default() -> Self {
        Arguments("".into())
    }
}

impl Default for Remark {
    fn default() -> Self {
        Remark("".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_name_has_1_to_15_of_its_characters() {
        for good in ["a", "Kiosk-07_b", "123456789012345"] {
            assert_eq!(TerminalName::parse(good).expect(good).as_str(), good);
        }
        for bad in [
            "",
            "1234567890123456",
            "a b",
            "ä",
            "a.b",
            "a\n",
            "';--",
            "a\0",
        ] {
            assert!(TerminalName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_file_of_a_package_is_no_way_out_of_it() {
        for good in ["vmlinuz", "x86_64/initrd.img", "a/b/c/d/e/f/g/h"] {
            assert!(FileName::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "/a",
            "a/",
            "a//b",
            "..",
            "a/../b",
            "a b",
            "a\\b",
            "${x}",
            "1/2/3/4/5/6/7/8/9",
        ] {
            assert!(FileName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn no_text_that_reaches_a_script_holds_a_line_end() {
        for end in ["a\nb", "a\rb", "a\u{85}b", "a\0"] {
            assert!(
                Label::parse(end).is_err() && ParameterValue::parse(end).is_err(),
                "{end:?}"
            );
            assert!(Arguments::parse(end).is_err(), "{end:?}");
        }
        assert!(Label::parse(" a").is_err());
        assert!(Remark::parse("two\nlines").is_ok());
    }
}
