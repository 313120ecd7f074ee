//! `view`: the device's own figures.
//!
//! Invariant: the rows are the engine's; this only lays them out. Names are those
//! this device saw and has not lost: a short id stands for who has none here; the cloud shows all.

use super::{print, printable};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use miette::Result;
use serde_json::Value;
use tallyroll_edge::control::Ask;
use tallyroll_edge::control::reach::reach;
use tallyroll_edge::data_dir::DataDir;

const TOTALS: [(&str, &str); 9] = [
    ("month", "month"),
    ("name", "user"),
    ("impressions", "impressions"),
    ("sheets", "sheets"),
    ("captured", "captured"),
    ("converted", "converted"),
    ("sent", "sent"),
    ("saved", "saved"),
    ("charged", "credits"),
];
const BALANCES: [(&str, &str); 3] =
    [("name", "user"), ("charged", "credits charged here"), ("held", "held here")];

/// Prints a view.
pub(crate) async fn show(dir: &DataDir, ask: Ask, json: bool) -> Result<()> {
    let way = reach(dir, "view").await?;
    let columns = if ask == Ask::Totals { &TOTALS[..] } else { &BALANCES[..] };
    let answer = way.ask(ask).await?;
    way.close().await?;
    if json {
        return print(answer);
    }
    print(table(columns, answer["rows"].as_array().map_or(&[], Vec::as_slice)))?;
    if let Some(unread @ 1..) = answer["incomplete"].as_u64() {
        print(format!("incomplete ({unread}): written by a newer version"))?;
    }
    if let Some(pruned @ 1..) = answer["pruned"].as_u64() {
        print(format!(
            "{pruned} of these events are pruned here; the figures hold them, the cloud has them"
        ))?;
    }
    Ok(())
}

/// How a user is shown whose name is not here: it was forgotten, or came after the backup that was put back.
fn nameless(row: &Value) -> String {
    let id = row["who"]["alias"]["alias"].as_str().or(row["who"]["subject"].as_str());
    id.map_or_else(|| "-".to_owned(), |id| format!("({})", id.get(..8).unwrap_or(id)))
}

fn table(columns: &[(&str, &str)], rows: &[Value]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.iter().map(|(_, title)| *title));
    for row in rows {
        table.add_row(columns.iter().map(|(key, _)| match &row[*key] {
            Value::Null if *key == "name" => nameless(row),
            Value::Null => "-".to_owned(),
            Value::String(text) => printable(text),
            other => other.to_string(),
        }));
    }
    for (index, (key, _)) in columns.iter().enumerate() {
        if let (Some(column), false) = (table.column_mut(index), ["month", "name"].contains(key)) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_user_without_a_name_is_told_apart_by_what_stands_for_them() {
        let who = json!({ "alias": { "device": "d", "alias": "0123456789abcdef" } });
        let rows = [json!({ "name": null, "who": who }), json!({ "name": "anna", "who": who })];
        let shown = table(&BALANCES, &rows).to_string();
        assert!(shown.contains("(01234567)") && shown.contains("anna"), "{shown}");
    }
}
