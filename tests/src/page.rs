//! The commands of a page of the documentation, to be run as they stand there.

use std::fmt::Write;

/// The commands of the page, one after the other; the first that fails ends them. Where a line of the text is one of `marks`,
/// what is beside it is done.
#[must_use]
pub fn script_of(page: &str, marks: &[(&str, &str)]) -> String {
    let mut script = String::from("set -euo pipefail\n");
    // What a page leaves running ends with it, also where it fails.
    script.push_str("trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n");
    let mut inside = false;
    for line in page.lines() {
        let mark = marks.iter().find(|(mark, _)| line == *mark);
        let written = match (inside, line) {
            (false, "```sh") => {
                inside = true;
                Ok(())
            }
            (true, "```") => {
                inside = false;
                writeln!(script, "echo '--- done'")
            }
            (true, line) => writeln!(script, "{line}"),
            (false, _) => match mark {
                Some((_, command)) => writeln!(script, "{command}"),
                None => Ok(()),
            },
        };
        written.expect("a text grows");
    }
    script
}
