//! The principal and secret of a framework, for masters that ask for HTTP basic authentication.

use std::path::{Path, PathBuf};

/// Who the framework is, and its proof. Shows its secret to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    principal: String,
    secret: String,
}

/// Why a credentials file cannot be used. Never repeats its content.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// The file cannot be read.
    #[error("cannot read the credentials in {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file has another form.
    #[error(
        "{} holds no credentials: expected {{\"principal\": \"…\", \"secret\": \"…\"}}, or the principal and the \
         secret with a space between them",
        path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
    },
}

impl Credentials {
    /// Reads a file in either of the forms that Mesos' own `--credential` takes: JSON with `principal` and `secret`,
    /// or the two in one line.
    pub fn from_file(path: &Path) -> Result<Self, CredentialsError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| CredentialsError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(&text).ok_or_else(|| CredentialsError::Malformed { path: path.to_owned() })
    }

    fn parse(text: &str) -> Option<Self> {
        #[derive(serde::Deserialize)]
        struct Json {
            principal: String,
            secret: String,
        }
        if text.trim_start().starts_with('{') {
            let Json { principal, secret } = serde_json::from_str(text).ok()?;
            return Some(Self { principal, secret });
        }
        let mut words = text.split_whitespace();
        let (principal, secret) = (words.next()?.to_owned(), words.next()?.to_owned());
        words.next().is_none().then_some(Self { principal, secret })
    }

    /// The principal; the framework must name the same one.
    pub fn principal(&self) -> &str {
        &self.principal
    }

    pub(super) fn secret(&self) -> &str {
        &self.secret
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({}, ***)", self.principal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_mesos_are_read() {
        for text in [r#"{"principal": "dagflow", "secret": "s3cret"}"#, "dagflow s3cret", "dagflow\ts3cret\n"]
        {
            let credentials = Credentials::parse(text).unwrap();
            assert_eq!((credentials.principal(), credentials.secret()), ("dagflow", "s3cret"), "{text}");
        }
    }

    #[test]
    fn other_content_is_refused_without_being_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials");
        for text in ["", "s3cret", "a s3cret c", r#"{"principal": "s3cret"}"#, "{s3cret"] {
            std::fs::write(&path, text).unwrap();
            let error = Credentials::from_file(&path).unwrap_err();
            assert!(error.to_string().contains("expected"), "{text}: {error}");
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{text}: {error:?}");
        }
        let error = Credentials::from_file(&folder.path().join("nowhere")).unwrap_err();
        assert!(error.to_string().contains("nowhere"), "{error}");
    }

    #[test]
    fn the_secret_does_not_show_itself() {
        let credentials = Credentials::parse("dagflow s3cret").unwrap();
        assert_eq!(format!("{credentials:?}"), "Credentials(dagflow, ***)");
    }
}
