//! Boot scripts: templates that an operator may replace, and how little one of them can do.
//!
//! A template is text with `{{ values }}`, `{% if %}` and `{% for %}` of minijinja. It has no arithmetic, no
//! concatenation, no assignment and no filter that makes longer texts, so that its output grows only step by step, and
//! fuel and length bound the steps. A name that is not there is an error, not an empty text.

use std::io;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::terminal_file::sample_contexts;
use super::unknown;
use crate::kind::Broken;
use crate::limits::{SCRIPT_BYTES_MAX, TEMPLATE_BYTES_MAX, TEMPLATE_FUEL};

/// The script of one kind of firmware.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Script {
    /// `boot/<mac>.ipxe`.
    Ipxe,
    /// `pxelinux.cfg/01-<mac>`.
    Pxelinux,
    /// `grub.cfg-01-<mac>`.
    Grub,
    /// `boot/unknown.ipxe`.
    UnknownIpxe,
    /// `pxelinux.cfg/unknown`.
    UnknownPxelinux,
    /// `grub.cfg-unknown`.
    UnknownGrub,
}

impl Script {
    /// Those of a terminal.
    pub const OF_TERMINALS: [Script; 3] = [Script::Ipxe, Script::Pxelinux, Script::Grub];
    /// Those of a unit that is no terminal's.
    pub const OF_UNKNOWN: [Script; 3] = [
        Script::UnknownIpxe,
        Script::UnknownPxelinux,
        Script::UnknownGrub,
    ];

    /// The template that is used unless the site has its own.
    #[must_use]
    pub const fn built_in(self) -> &'static str {
        match self {
            Script::Ipxe => include_str!("scripts/ipxe.j2"),
            Script::Pxelinux => include_str!("scripts/pxelinux.j2"),
            Script::Grub => include_str!("scripts/grub.j2"),
            Script::UnknownIpxe => include_str!("scripts/unknown-ipxe.j2"),
            Script::UnknownPxelinux => include_str!("scripts/unknown-pxelinux.j2"),
            Script::UnknownGrub => include_str!("scripts/unknown-grub.j2"),
        }
    }
}

/// The text of a template, of bounded length. Whether it renders is checked when it becomes a setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String)]
pub struct ScriptTemplate(String);

impl TryFrom<String> for ScriptTemplate {
    type Error = Broken;

    fn try_from(text: String) -> Result<Self, Broken> {
        let odd = |letter: char| letter.is_control() && !matches!(letter, '\n' | '\t');
        if text.len() > TEMPLATE_BYTES_MAX {
            return Err(Broken("a template has at most 16 KiB"));
        }
        if text.chars().any(odd) {
            return Err(Broken(
                "line feeds and tabs are the only control characters of a template",
            ));
        }
        Ok(ScriptTemplate(text))
    }
}

impl ScriptTemplate {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it renders for every sample terminal: with and without firmware, one boot server or several.
    pub(crate) fn check(&self, script: Script) -> Result<(), String> {
        let compiled = CompiledScript::new(&self.0)?;
        let samples = if Script::OF_UNKNOWN.contains(&script) {
            unknown::sample_contexts()
        } else {
            sample_contexts()
        };
        for context in samples {
            let text = compiled.render(&Value::from(Serde(&context)))?;
            if matches!(script, Script::Ipxe | Script::UnknownIpxe) && !text.starts_with("#!ipxe\n")
            {
                return Err("an iPXE script begins with the line #!ipxe".into());
            }
        }
        Ok(())
    }
}

/// A template that is ready to render.
pub(super) struct CompiledScript {
    environment: Environment<'static>,
}

impl CompiledScript {
    pub(super) fn new(text: &str) -> Result<Self, String> {
        plain(text)?;
        let mut environment = Environment::empty();
        environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .keep_trailing_newline(true)
            .build();
        environment.set_syntax(syntax.map_err(|error| told(&error))?);
        environment.set_fuel(Some(TEMPLATE_FUEL));
        environment.add_test("defined", minijinja::tests::is_defined);
        environment.add_filter("upper", minijinja::filters::upper);
        environment.add_filter("lower", minijinja::filters::lower);
        environment.add_filter("length", minijinja::filters::length);
        let added = environment.add_template_owned("script", text.to_owned());
        added.map_err(|error| told(&error))?;
        Ok(CompiledScript { environment })
    }

    pub(super) fn render(&self, context: &Value) -> Result<String, String> {
        let template = self
            .environment
            .get_template("script")
            .map_err(|error| told(&error))?;
        let mut out = Bounded(Vec::with_capacity(1024));
        let rendered = template
            .render_captured_to(context.clone(), &mut out)
            .map(drop);
        rendered.map_err(|error| told(&error))?;
        String::from_utf8(out.0).map_err(|_| "the script is not UTF-8".into())
    }

    /// The same for what is known to serialize.
    pub(super) fn render_context(&self, context: &impl Serialize) -> Result<String, String> {
        self.render(&Value::from(Serde(context)))
    }
}

/// The message and the line, without the source.
fn told(error: &minijinja::Error) -> String {
    let what = error.detail().map_or_else(
        || error.kind().to_string(),
        |detail| format!("{}: {detail}", error.kind()),
    );
    match error.line() {
        Some(line) => format!("line {line}: {what}"),
        None => what,
    }
}

/// Takes so much and no more.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > SCRIPT_BYTES_MAX {
            return Err(io::Error::other("the script would be longer than 64 KiB"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const STATEMENTS: [&str; 6] = ["if", "elif", "else", "endif", "for", "endfor"];

/// Refuses everything in tags that could make a text longer than what is put in.
fn plain(text: &str) -> Result<(), String> {
    let mut rest = text;
    while let Some(start) = rest.find('{') {
        rest = &rest[start + 1..];
        let tag = rest.chars().next();
        match tag {
            Some('{' | '%') => rest = &rest[1..],
            // A comment says nothing.
            Some('#') => {
                rest = rest.split_once("#}").map_or("", |(_, after)| after);
                continue;
            }
            _ => continue,
        }
        let mut words = Vec::new();
        rest = tag_end(rest, &mut words)?;
        if tag == Some('%')
            && !words
                .first()
                .is_some_and(|word| STATEMENTS.contains(&word.as_str()))
        {
            let word = words.first().map_or("", String::as_str);
            return Err(format!(
                "{{% {word} %}} is not allowed in a boot script; if and for are"
            ));
        }
        if words.iter().any(|word| word == "recursive") {
            return Err("a recursive loop is not allowed in a boot script".into());
        }
    }
    Ok(())
}

/// What follows the tag that `rest` is in; the words of the tag go into `words`.
fn tag_end<'t>(rest: &'t str, words: &mut Vec<String>) -> Result<&'t str, String> {
    let mut word = String::new();
    let mut quote = None;
    let mut letters = rest.char_indices();
    while let Some((at, letter)) = letters.next() {
        if let Some(open) = quote {
            match letter {
                '\\' => drop(letters.next()),
                _ if letter == open => quote = None,
                _ => {}
            }
            continue;
        }
        if letter.is_alphanumeric() || letter == '_' {
            word.push(letter);
            continue;
        }
        if !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        match letter {
            '\'' | '"' => quote = Some(letter),
            '}' if rest[..at].ends_with(['}', '%']) => return Ok(&rest[at + 1..]),
            '%' if rest[at + 1..].starts_with('}') => {}
            // `{%-` and `-%}` trim blanks; a minus between numbers makes nothing longer.
            '-' | '}' | '.' | ',' | '|' | '(' | ')' | '[' | ']' | '=' | '!' | '<' | '>' | ':' => {}
            _ if letter.is_whitespace() => {}
            _ => {
                return Err(format!(
                    "{letter} is not allowed within the tags of a boot script"
                ));
            }
        }
    }
    Err("a tag does not end".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(script: Script, text: &str) -> Result<(), String> {
        ScriptTemplate::try_from(text.to_owned())
            .map_err(|broken| broken.to_string())?
            .check(script)
    }

    #[test]
    fn the_built_in_templates_are_accepted() {
        for script in Script::OF_TERMINALS.into_iter().chain(Script::OF_UNKNOWN) {
            assert_eq!(check(script, script.built_in()), Ok(()), "{script:?}");
        }
    }

    #[test]
    fn a_template_that_cannot_render_is_refused_with_the_line() {
        for (text, part) in [
            ("#!ipxe\n{{ terminal.nmae }}", "line 2: undefined"),
            ("#!ipxe\n{{ terminal.name", "does not end"),
            ("#!ipxe\n{% if %}{% endif %}", "line 2"),
            ("#!ipxe\n{% for x in 1 %}{% endfor %}", "line 2"),
            ("#!ipxe\n{{ terminal.name|nonsense }}", "unknown filter"),
            ("boot", "#!ipxe"),
            ("#!ipxe\r\n", "control characters"),
        ] {
            let why = check(Script::Ipxe, text).expect_err(text);
            assert!(why.contains(part), "{text:?}: {why}");
        }
        let long = "x".repeat(TEMPLATE_BYTES_MAX + 1);
        assert!(check(Script::Grub, &long).is_err());
    }

    #[test]
    fn a_template_cannot_grow_beyond_its_bounds() {
        let doubling =
            "{% for a in ['xxxxxxxx'] %}{% for b in [a~a] %}{{ b }}{% endfor %}{% endfor %}";
        for refused in [
            doubling,
            "{% set x = 'a' %}",
            "{% set x %}a{% endset %}",
            "{% filter upper %}x{% endfilter %}",
            "{% include 'x' %}",
            "{% macro m() %}{% endmacro %}",
            "{{ 'a' * 1000000 }}",
            "{{ 'a' + 'b' }}",
            "{{ '%s'|format(1) }}",
            "{{ [1]|join('xx') }}",
            "{{ range(1000000) }}",
            "{% for x in [1] recursive %}{% for y in [loop([1])] %}{{ y }}{{ y }}{% endfor %}{% endfor %}",
            "{{ '}}' ~ 'a' }}",
            "{{ \"\\\"}}\" ~ 'a' }}",
        ] {
            assert!(check(Script::Grub, refused).is_err(), "{refused}");
        }
        // Loops in loops end by fuel; long texts by length.
        let ten = "[1,2,3,4,5,6,7,8,9,0]";
        let nested = format!(
            "{}x{}",
            format!("{{% for a in {ten} %}}").repeat(6),
            "{% endfor %}".repeat(6)
        );
        assert!(
            check(Script::Grub, &nested)
                .expect_err("fuel")
                .contains("fuel")
        );
        let text = "y".repeat(10_000);
        let long = format!("{{% for a in {ten} %}}{text}{{% endfor %}}");
        assert!(check(Script::Grub, &long).is_err());
    }

    #[test]
    fn what_is_outside_of_tags_is_the_operators() {
        let text = "#!ipxe\necho ${net0/mac} 1 + 1 ~ {# a comment with ~ #}{ }\n";
        assert_eq!(check(Script::Ipxe, text), Ok(()));
    }
}
