//! Terminals as a table: each column is the path of a field.
//!
//! A list is written with `;` between, or as JSON where an item would be misread. A cell that a spreadsheet would
//! take for a formula gets a `'` before it, which reading takes away again.

use serde_json::{Map, Value};

use super::{FileError, Row};
use crate::kind::Fault;
use crate::limits::IMPORT_ROWS_MAX;

/// What stands in the cells of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    Text,
    Flag,
    Number,
    List,
    Json,
}

/// Every column, in the order of an export.
const COLUMNS: [(&str, Cell); 27] = [
    ("name", Cell::Text),
    ("macs", Cell::List),
    ("model", Cell::Text),
    ("group", Cell::Text),
    ("enabled", Cell::Flag),
    ("replaceable", Cell::Flag),
    ("address.address", Cell::Text),
    ("address.prefix_bits", Cell::Number),
    ("address.gateway", Cell::Text),
    ("address.name_servers", Cell::List),
    ("settings.firmware.package", Cell::Text),
    ("settings.firmware.version", Cell::Text),
    ("settings.modules", Cell::Json),
    ("settings.terminal_servers", Cell::List),
    ("settings.instant_failover", Cell::Flag),
    ("settings.windows_client", Cell::Flag),
    ("settings.shared_keyboard_mouse", Cell::Flag),
    ("settings.display.width_px", Cell::Number),
    ("settings.display.height_px", Cell::Number),
    ("settings.display.refresh_hz", Cell::Number),
    ("settings.display.screens", Cell::Number),
    ("settings.allow_shadowing", Cell::Flag),
    ("settings.status_monitors", Cell::List),
    ("settings.enforce_boot_priority", Cell::Flag),
    ("settings.replace_same_model", Cell::Flag),
    ("remark", Cell::Text),
    ("id", Cell::Text),
];

/// What a spreadsheet takes for the beginning of a formula, and the mark against it.
const FORMULA: [char; 7] = ['=', '+', '-', '@', '\t', '\r', MARK];
const MARK: char = '\'';

/// Reads a table. The delimiter is what the header has most of: comma, semicolon or tab.
pub(super) fn read(file: &[u8]) -> Result<Vec<Row>, FileError> {
    let text = core::str::from_utf8(file)
        .map_err(|_| FileError::Not("a CSV file in UTF-8; save it as such".into()))?;
    let text = text.trim_start_matches('\u{feff}');
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter(text))
        .has_headers(false)
        .flexible(true)
        .from_reader(text.as_bytes());
    let mut records = reader.records();
    let wrong = |error: csv::Error| FileError::Not(format!("a CSV file: {error}"));
    let header = records
        .next()
        .ok_or_else(|| FileError::Not("a CSV file: it has no header".into()))?
        .map_err(wrong)?;
    let columns = columns(&header)?;
    let mut rows = Vec::new();
    for (number, record) in (2..).zip(records) {
        let record = record.map_err(wrong)?;
        if record.iter().all(|cell| cell.trim().is_empty()) {
            continue;
        }
        if rows.len() == IMPORT_ROWS_MAX {
            return Err(FileError::TooManyRows);
        }
        let patch = patch(&columns, &record);
        rows.push(Row { number, patch });
    }
    Ok(rows)
}

fn delimiter(text: &str) -> u8 {
    let header = text.lines().next().unwrap_or_default();
    let count = |delimiter: u8| header.bytes().filter(|byte| *byte == delimiter).count();
    // The last of equals wins: a comma, if there is none of them.
    let found = [b'\t', b';', b','];
    found
        .into_iter()
        .max_by_key(|byte| count(*byte))
        .unwrap_or(b',')
}

fn columns(header: &csv::StringRecord) -> Result<Vec<(&'static str, Cell)>, FileError> {
    let mut found: Vec<(&'static str, Cell)> = Vec::new();
    for name in header {
        let name = name.trim();
        let column = COLUMNS.into_iter().find(|(known, _)| *known == name);
        let column = column.filter(|column| !found.contains(column));
        found.push(column.ok_or_else(|| FileError::Column(name.to_owned()))?);
    }
    Ok(found)
}

fn patch(
    columns: &[(&'static str, Cell)],
    record: &csv::StringRecord,
) -> Result<Map<String, Value>, Fault> {
    if record.len() != columns.len() {
        return Err(Fault::new(
            "",
            "the row has not as many cells as the header",
        ));
    }
    let mut patch = Map::new();
    for ((path, cell), text) in columns.iter().zip(record) {
        let text = unmarked(text.trim_matches(' '));
        let value = value(*cell, text).map_err(|why| Fault::new(*path, why))?;
        set(&mut patch, path, value);
    }
    Ok(patch)
}

fn value(cell: Cell, text: &str) -> Result<Value, &'static str> {
    if text.is_empty() {
        return Ok(Value::Null);
    }
    match cell {
        Cell::Text => Ok(text.into()),
        Cell::Flag => match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "1" => Ok(true.into()),
            "false" | "no" | "0" => Ok(false.into()),
            _ => Err("this is true or false"),
        },
        Cell::Number => {
            let number = text.parse::<u64>();
            number.map(Value::from).map_err(|_| "this is a number")
        }
        Cell::List if !text.starts_with('[') => Ok(text.split(';').map(str::trim).collect()),
        Cell::List | Cell::Json => serde_json::from_str(text).map_err(|_| "this is a list in JSON"),
    }
}

fn set(patch: &mut Map<String, Value>, path: &str, value: Value) {
    let Some((outer, rest)) = path.split_once('.') else {
        patch.insert(path.to_owned(), value);
        return;
    };
    let inner = patch
        .entry(outer)
        .or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(inner) = inner {
        set(inner, rest, value);
    }
}

/// Writes a table with every column.
pub(super) fn write(rows: &[Value]) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let full = "memory takes what is written";
    let header = COLUMNS.iter().map(|(path, _)| path);
    writer.write_record(header).expect(full);
    for row in rows {
        let cells = COLUMNS.iter().map(|(path, _)| {
            let pointer = format!("/{}", path.replace('.', "/"));
            marked(row.pointer(&pointer).map_or_else(String::new, text))
        });
        writer.write_record(cells).expect(full);
    }
    writer.into_inner().expect(full)
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => plain(items).unwrap_or_else(|| value.to_string()),
        _ => value.to_string(),
    }
}

/// A list with `;` between, unless it would be read as another one.
fn plain(items: &[Value]) -> Option<String> {
    let texts: Vec<&str> = items.iter().map(Value::as_str).collect::<Option<_>>()?;
    let misread = |text: &&str| {
        text.is_empty() || text.contains(';') || text.starts_with('[') || text.trim() != *text
    };
    let clear = !texts.is_empty() && !texts.iter().any(misread);
    clear.then(|| texts.join(";"))
}

fn marked(text: String) -> String {
    if text.starts_with(FORMULA) {
        format!("{MARK}{text}")
    } else {
        text
    }
}

fn unmarked(text: &str) -> &str {
    match text.strip_prefix(MARK) {
        Some(rest) if rest.starts_with(FORMULA) => rest,
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn first(file: &str) -> Result<Map<String, Value>, Fault> {
        read(file.as_bytes()).expect("a table").remove(0).patch
    }

    #[test]
    fn no_cell_begins_as_a_formula_and_every_text_is_read_back_as_it_was() {
        for remark in [
            "=1+1",
            "+1",
            "-1",
            "@a",
            "\tx",
            "'=a",
            "'a",
            "a=b",
            "two\nlines",
            "a,b;\"c\"",
        ] {
            let row = json!({"name": "-t", "remark": remark});
            let file = String::from_utf8(write(&[row])).expect("UTF-8");
            let mut reader = csv::Reader::from_reader(file.as_bytes());
            let record = reader.records().next().expect("a row").expect("cells");
            for cell in &record {
                assert!(
                    !cell.starts_with(['=', '+', '-', '@', '\t', '\r']),
                    "{cell}"
                );
            }
            let patch = first(&file).expect("read");
            assert_eq!(
                (&patch["remark"], &patch["name"]),
                (&json!(remark), &json!("-t"))
            );
        }
    }

    #[test]
    fn a_list_is_written_so_that_it_is_read_back() {
        for list in [
            json!(["a", "b c"]),
            json!(["a;b"]),
            json!(["[a"]),
            json!([]),
            json!([""]),
        ] {
            let row = json!({"settings": {"terminal_servers": list}});
            let file = String::from_utf8(write(&[row])).expect("UTF-8");
            let patch = first(&file).expect("read");
            assert_eq!(patch["settings"]["terminal_servers"], list);
        }
    }

    #[test]
    fn spreadsheets_of_every_country_are_read() {
        let wanted = json!({"name": "t", "enabled": true});
        for file in [
            "name,enabled\nt,TRUE\n",
            "\u{feff}name;enabled\r\nt;yes\r\n",
            "name\tenabled\nt\t1",
            "name, enabled\n\n t , true \n,\n",
        ] {
            assert_eq!(
                Value::Object(first(file).expect("read")),
                wanted,
                "{file:?}"
            );
        }
    }

    #[test]
    fn what_is_wrong_names_the_column_or_refuses_the_file() {
        assert_eq!(
            first("name,enabled\nt,perhaps\n")
                .expect_err("refused")
                .field,
            "enabled"
        );
        assert_eq!(
            first("address.prefix_bits\n-1\n")
                .expect_err("refused")
                .field,
            "address.prefix_bits"
        );
        assert!(first("name,macs\nt\n").is_err());
        for file in ["", "name,nmae\n", "name,name\n"] {
            assert!(read(file.as_bytes()).is_err(), "{file:?}");
        }
        assert!(read(b"name\n\xff\n").is_err());
    }
}
