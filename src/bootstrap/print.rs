//! The environment in the task's log, without its secrets.

use std::collections::BTreeMap;

/// Stands for a secret.
const MASK: &str = "********";
/// Variables with one of these in their names hold secrets. Beyond what the SDK's program hides: keys and passphrases.
const SECRET_WORDS: [&str; 7] = ["credential", "password", "passwd", "passphrase", "secret", "token", "_key"];

/// Prints all variables, sorted; secrets only if that is asked for.
pub fn environment(env: &BTreeMap<String, String>, insecure: bool) {
    for (name, value) in env {
        super::log(&format!("{name}={}", if insecure { value.clone() } else { masked(name, value) }));
    }
}

/// The value, or what may be shown of it.
pub fn masked(name: &str, value: &str) -> String {
    let lower = name.to_ascii_lowercase();
    if !value.is_empty() && SECRET_WORDS.iter().any(|word| lower.contains(word)) {
        return MASK.to_owned();
    }
    without_url_passwords(value)
}

/// The text with the password of each `scheme://user:password@host` in it hidden.
fn without_url_passwords(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (head, tail) = rest.split_at(at + 3);
        shown.push_str(head);
        let authority =
            tail.find(|c: char| c == '/' || c.is_whitespace() || "\"'?#".contains(c)).unwrap_or(tail.len());
        // a password may hold slashes that were not escaped: look for its end in the whole word then
        let word = tail.find(char::is_whitespace).unwrap_or(tail.len());
        let end = tail[..authority].rfind('@').or_else(|| tail[..word].rfind('@'));
        rest = match (end, end.and_then(|end| tail[..end].find(':'))) {
            (Some(end), Some(colon)) => {
                shown.push_str(&tail[..=colon]);
                shown.push_str(MASK);
                &tail[end..]
            }
            _ => tail,
        };
    }
    shown + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_by_the_name_of_their_variable() {
        for name in [
            "DB_PASSWORD",
            "Secret",
            "API_TOKEN",
            "DCOS_SERVICE_ACCOUNT_CREDENTIAL",
            "AIRFLOW__CORE__FERNET_KEY",
        ] {
            assert_eq!(masked(name, "value"), MASK, "{name}");
        }
        assert_eq!(masked("TASK_NAME", "value"), "value");
        assert_eq!(masked("KEYBOARD", "value"), "value");
    }

    #[test]
    fn passwords_in_addresses_are_hidden() {
        let cases = [
            ("postgresql://me:pass@host:5432/db", "postgresql://me:********@host:5432/db"),
            ("redis://:pass@host", "redis://:********@host"),
            ("a://u:p@h b://u:p/w@h", "a://u:********@h b://u:********@h"),
            ("a://u:p@ss@h/x", "a://u:********@h/x"),
            ("https://host:80/a@b", "https://host:********@b"),
            ("https://host/path", "https://host/path"),
            ("https://me@host/path", "https://me@host/path"),
            ("no address", "no address"),
        ];
        for (value, shown) in cases {
            assert_eq!(masked("URL", value), shown, "{value}");
        }
    }
}
