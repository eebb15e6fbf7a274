//! A package from scratch: a web server that keeps data on a volume, with comments that say what each part is for.
//!
//! Its server is `dagpkg serve`, because that is the one program that is at hand wherever this runs: static, so no
//! machine or image lacks anything for it. Called by `dagpkg new`.

use super::{BadName, Files, GITIGNORE, check_name};

/// What an author says about a new package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Its name.
    pub name: String,
    /// What it is, in a sentence.
    pub description: String,
    /// Whom to ask about it.
    pub maintainer: String,
}

const FILES: [(&str, &str); 7] = [
    ("README.md", include_str!("files/new/README.md")),
    ("svc/index.html.mustache", include_str!("files/new/index.html.mustache")),
    ("svc/svc.yml", include_str!("files/new/svc.yml")),
    ("universe/config.json", include_str!("files/new/config.json")),
    ("universe/marathon.json.mustache", include_str!("files/new/marathon.json.mustache")),
    ("universe/package.json", include_str!("files/new/package.json")),
    ("universe/resource.json", include_str!("files/new/resource.json")),
];

/// The files of a new package.
pub fn package(about: &About) -> Result<Files, BadName> {
    check_name(&about.name)?;
    let mut files = Files::from([(".gitignore".to_owned(), GITIGNORE.to_owned().into())]);
    for (path, text) in FILES {
        let is_json = path.starts_with("universe/");
        // name last: the others are free texts, and what they say is not to be read again
        let values = [("@DESCRIPTION@", &about.description), ("@MAINTAINER@", &about.maintainer)];
        let mut result = String::new();
        let mut rest = text;
        while let Some(start) = rest.find('@') {
            let (before, from) = rest.split_at(start);
            result.push_str(before);
            rest = from;
            if let Some(after) = rest.strip_prefix("@NAME@") {
                result.push_str(&about.name);
                rest = after;
            } else if let Some((mark, value)) = values.iter().find(|(mark, _)| rest.starts_with(mark)) {
                result.push_str(&if is_json { in_json(value) } else { (*value).clone() });
                rest = &rest[mark.len()..];
            } else {
                result.push('@');
                rest = &rest[1..];
            }
        }
        result.push_str(rest);
        files.insert(path.to_owned(), result.into());
    }
    Ok(files)
}

/// A text as it stands between the quotes of a JSON string. Two braces would be read as a parameter of the build.
fn in_json(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].replace("{{", "{\\u007b")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(description: &str) -> About {
        About {
            name: "my-web".into(),
            description: description.into(),
            maintainer: "Ä <a@example.org>".into(),
        }
    }

    #[test]
    fn texts_of_the_author_arrive_as_they_are() {
        for description in ["plain", "\"quoted\" \\ {{package-name}} @NAME@ @MAINTAINER@ é\n"] {
            let files = package(&about(description)).unwrap();
            let package: serde_json::Value =
                serde_json::from_slice(&files["universe/package.json"].bytes).unwrap();
            assert_eq!(package["description"], description);
            assert_eq!(
                (&package["name"], &package["maintainer"]),
                (&"my-web".into(), &"Ä <a@example.org>".into())
            );
            let readme = String::from_utf8(files["README.md"].bytes.clone()).unwrap();
            assert!(readme.starts_with(&format!("# my-web\n\n{description}\n")), "{readme}");
            assert!(!readme.contains("@NAME@") || description.contains("@NAME@"));
        }
    }

    #[test]
    fn no_mark_is_left_in_any_file() {
        for (path, file) in package(&about("d")).unwrap() {
            let text = String::from_utf8(file.bytes).unwrap();
            let left = ["@NAME@", "@DESCRIPTION@", "@MAINTAINER@"].iter().find(|mark| text.contains(**mark));
            assert_eq!(left, None, "{path}");
        }
    }
}
