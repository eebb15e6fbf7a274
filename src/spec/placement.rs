//! Placement constraints, in the three spellings that Marathon and the SDK know: a JSON list of lists, one JSON list,
//! or `field:OPERATOR:parameter,…`, in which a backslash before a colon or comma makes it a part of a text. Called by the reading of a pod; what the rules
//! mean for an offer is `offer`'s matter.

use super::fields::brief;
use super::model::{Placement, PlacementOperator, PlacementRule};
use thiserror::Error;

/// Why a placement constraint means nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum PlacementError {
    #[error("the placement begins like JSON and is not: {0}")]
    Json(String),
    #[error("the placement's lists may hold texts and numbers only, and one holds {0}")]
    Element(String),
    #[error("the placement's row `{0}` has {1} entries; a row is field, operator and perhaps a parameter")]
    Entries(String, usize),
    #[error("the placement has an unknown operator, `{0}`")]
    Operator(String),
    #[error("the placement's operator {0} needs a parameter")]
    NoParameter(String),
    #[error("the placement's operator {0} needs a whole number, and its parameter is `{1}`")]
    Number(String, String),
    #[error("the placement's regular expression `{0}` is wrong: {1}")]
    Regex(String, String),
}

impl PlacementError {
    /// How to mend it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Json(_) => {
                "if the text comes from a variable, write it with three braces, {{{NAME}}}: two escape the quotes"
            }
            Self::Operator(_) => "operators: UNIQUE, CLUSTER, GROUP_BY, LIKE, UNLIKE, MAX_PER, IS, IS_NOT",
            Self::Regex(..) => {
                "the expression must match the whole value; a backslash escapes special characters"
            }
            _ => "write it as '[[\"hostname\", \"UNIQUE\"]]' or 'hostname:UNIQUE'",
        }
    }
}

/// The constraint that `text` is; `None` when it asks for nothing.
pub(super) fn parse(text: &str) -> Result<Option<Placement>, PlacementError> {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Ok(None);
    }
    let rows = if trimmed.starts_with('[') { json_rows(trimmed)? } else { text_rows(trimmed) };
    let rules = rows.iter().map(|row| rule(row)).collect::<Result<Vec<_>, _>>()?;
    Ok((!rules.is_empty()).then(|| Placement { text: text.to_owned(), rules, error: None }))
}

/// A constraint that means nothing, for which no agent will do.
pub(super) fn invalid(text: &str, error: &PlacementError) -> Placement {
    Placement { text: text.to_owned(), rules: Vec::new(), error: Some(error.to_string()) }
}

fn json_rows(text: &str) -> Result<Vec<Vec<String>>, PlacementError> {
    use serde_json::Value;
    let value: Value = serde_json::from_str(text).map_err(|e| PlacementError::Json(e.to_string()))?;
    let Value::Array(items) = value else { return Err(PlacementError::Json("not a list".to_owned())) };
    let cell = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(boolean) => Ok(boolean.to_string()),
        other => Err(PlacementError::Element(brief(&other.to_string()))),
    };
    if items.iter().any(Value::is_array) {
        let row = |item: &Value| match item {
            Value::Array(cells) => cells.iter().map(cell).collect(),
            other => Err(PlacementError::Element(brief(&other.to_string()))),
        };
        return items.iter().map(row).collect();
    }
    if items.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![items.iter().map(cell).collect::<Result<_, _>>()?])
}

fn text_rows(text: &str) -> Vec<Vec<String>> {
    let mut rows = vec![vec![String::new()]];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        // both are never empty: they begin with one element and only grow
        let Some(row) = rows.last_mut() else { break };
        match (c, row.last_mut()) {
            (',', _) => rows.push(vec![String::new()]),
            (':', _) => row.push(String::new()),
            ('\\', Some(cell)) => match chars.next() {
                Some(separator @ (',' | ':')) => cell.push(separator),
                // not ours: it belongs to a regular expression
                next => cell.extend(std::iter::once('\\').chain(next)),
            },
            (c, Some(cell)) => cell.push(c),
            (_, None) => {}
        }
    }
    rows
}

fn rule(row: &[String]) -> Result<PlacementRule, PlacementError> {
    let entries = row.len();
    let mut cells = row.iter().map(|cell| cell.trim().to_owned());
    let (Some(field), Some(name), 2..=3) = (cells.next().filter(|f| !f.is_empty()), cells.next(), entries)
    else {
        return Err(PlacementError::Entries(brief(&row.join(":")), entries));
    };
    let parameter = cells.next().filter(|p| !p.is_empty());
    let operator = operator(&name.to_ascii_uppercase(), parameter.as_ref())?;
    Ok(PlacementRule { field, operator })
}

fn operator(name: &str, parameter: Option<&String>) -> Result<PlacementOperator, PlacementError> {
    let needed = || parameter.cloned().ok_or_else(|| PlacementError::NoParameter(name.to_owned()));
    let number =
        |text: String| text.parse::<u32>().map_err(|_| PlacementError::Number(name.to_owned(), brief(&text)));
    let regex = |text: String| match fancy_regex::Regex::new(&text) {
        Ok(_) => Ok(text),
        Err(error) => {
            let why = error.to_string();
            let last = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            Err(PlacementError::Regex(brief(&text), brief(&last)))
        }
    };
    Ok(match name {
        "UNIQUE" => PlacementOperator::Unique,
        "CLUSTER" => PlacementOperator::Cluster(needed()?),
        "GROUP_BY" => PlacementOperator::GroupBy(parameter.cloned().map(number).transpose()?),
        "LIKE" => PlacementOperator::Like(regex(needed()?)?),
        "UNLIKE" => PlacementOperator::Unlike(regex(needed()?)?),
        "MAX_PER" => PlacementOperator::MaxPer(number(needed()?)?),
        "IS" => PlacementOperator::Is(needed()?),
        "IS_NOT" => PlacementOperator::IsNot(needed()?),
        _ => return Err(PlacementError::Operator(brief(name))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Vec<(String, PlacementOperator)> {
        let placement = parse(text).expect("a placement").expect("rules");
        placement.rules.into_iter().map(|r| (r.field, r.operator)).collect()
    }

    #[test]
    fn all_three_spellings_mean_the_same() {
        let expected = vec![("hostname".to_owned(), PlacementOperator::Unique)];
        for text in [r#"[["hostname", "UNIQUE"]]"#, r#"["hostname","unique"]"#, "hostname:UNIQUE"] {
            assert_eq!(rules(text), expected, "{text}");
        }
    }

    #[test]
    fn rows_are_kept_in_order_and_numbers_may_be_parameters() {
        let expected = vec![
            ("rack".to_owned(), PlacementOperator::GroupBy(Some(3))),
            ("@zone".to_owned(), PlacementOperator::MaxPer(2)),
        ];
        assert_eq!(rules(r#"[["rack","group_by",3],["@zone","MAX_PER","2"]]"#), expected);
        assert_eq!(rules(" rack : Group_By : 3 , @zone:max_per:2 "), expected);
        let public = vec![("public".to_owned(), PlacementOperator::Cluster("true".to_owned()))];
        assert_eq!(rules(r#"["public", "CLUSTER", true]"#), public);
    }

    #[test]
    fn a_backslash_keeps_colons_and_commas() {
        assert_eq!(
            rules(r"a:LIKE:x\:y\,z"),
            vec![("a".to_owned(), PlacementOperator::Like("x:y,z".to_owned()))]
        );
        assert_eq!(
            rules(r"a:LIKE:r\d+\\,b:UNLIKE:(?!x).*\."),
            vec![
                ("a".to_owned(), PlacementOperator::Like(r"r\d+\\".to_owned())),
                ("b".to_owned(), PlacementOperator::Unlike(r"(?!x).*\.".to_owned())),
            ],
            "a backslash before anything else belongs to the expression"
        );
    }

    #[test]
    fn nothing_and_an_empty_list_ask_for_nothing() {
        for text in ["", "  ", "[]"] {
            assert_eq!(parse(text), Ok(None), "{text:?}");
        }
    }

    type Is = fn(&PlacementError) -> bool;

    #[test]
    fn each_mistake_has_its_own_error() {
        let cases: [(&str, Is); 8] = [
            ("[[&quot;hostname&quot;]]", |e| matches!(e, PlacementError::Json(_))),
            (r#"[["a","IS",null]]"#, |e| matches!(e, PlacementError::Element(_))),
            ("hostname", |e| matches!(e, PlacementError::Entries(_, 1))),
            ("[[]]", |e| matches!(e, PlacementError::Entries(_, 0))),
            ("a:NEAR:b", |e| matches!(e, PlacementError::Operator(_))),
            ("a:CLUSTER", |e| matches!(e, PlacementError::NoParameter(_))),
            ("a:MAX_PER:many", |e| matches!(e, PlacementError::Number(..))),
            ("a:LIKE:(", |e| matches!(e, PlacementError::Regex(..))),
        ];
        for (text, is) in cases {
            let error = parse(text).expect_err(text);
            assert!(is(&error), "{text}: {error}");
        }
    }
}
