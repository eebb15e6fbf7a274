//! Mustache, exactly as DC/OS renders it.
//!
//! One parser and four [`Profile`]s, because the places that render templates for DC/OS differ in what they escape and
//! how they look names up: the Mustache specification, the package service (`marathon.json.mustache`), the service
//! scheduler (`svc.yml`) and the helper in the task's container (config templates). Not a general template language:
//! partials and inheritance are refused, as those places refuse them. No I/O; nothing here can panic or run without
//! bound, whatever the template says. Called by `package`, `spec`'s callers, the programs and `cli`.
//!
//! ```
//! use dagpkg::template::{Profile, Template};
//! let template = Template::parse("{{#greet}}Hello, {{name}}!{{/greet}}").unwrap();
//! let values = serde_json::json!({"greet": true, "name": "<you>"});
//! assert_eq!(template.render(Profile::Plain, &values).unwrap().text, "Hello, &lt;you&gt;!");
//! ```

mod context;
mod names;
mod origins;
mod parse;
mod place;
mod render;
#[cfg(test)]
mod tests;

pub use context::{config_context, service_context};
pub use names::{Name, NameUse};
pub use origins::{Origins, tag_length};
pub use parse::Template;
pub use place::Place;

/// Sections may be nested this deep; deeper templates are refused.
pub const MAX_NESTING: usize = 256;
/// Bytes that one rendering may produce; more is refused.
pub const MAX_OUTPUT: usize = 16 << 20;
/// Tags, texts and items of lists that one rendering may go through; more is refused.
pub const MAX_STEPS: usize = 1_000_000;

/// Whose rules a template is rendered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// The Mustache specification: `& " < >` are HTML-escaped; dotted names are paths only.
    Plain,
    /// DC/OS's package service (Cosmos): nothing is HTML-escaped; strings come out as JSON-escaped text without the
    /// quotes around them, strings inside arrays with them; the `asJson` lambda exists.
    Package,
    /// The scheduler's rendering of svc.yml: the HTML escape table of mustache.java.
    Service,
    /// The rendering of config templates inside a task's container: the HTML escape table of Go.
    Config,
}

impl Profile {
    /// Whether names resolve as in mustache.java: a dotted name is tried as one key first, and `isEmpty`, `size` and
    /// `length` answer on lists and strings.
    fn resolves_as_java(self) -> bool {
        matches!(self, Profile::Package | Profile::Service)
    }
}

/// The result of a rendering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The text.
    pub text: String,
    /// `{{names}}` that were printed but have no value, in order of appearance. Names inside sections that were not
    /// rendered and names of sections are not among them.
    pub missing: Vec<Missing>,
    /// Where in the template the text comes from.
    pub origins: Origins,
}

/// A name without a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The name between the delimiters.
    pub name: String,
    /// Line of the tag in the template, from 1.
    pub line: usize,
    /// Column of the tag's first character, from 1.
    pub column: usize,
}

/// Why a template cannot be parsed or rendered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}\n  help: {help}")]
pub struct TemplateError {
    /// Line in the template, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub help: String,
}
