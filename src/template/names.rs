//! What a template asks for, without rendering it.

use super::parse::{Node, Template};
use super::render::AS_JSON;
use std::ops::Range;

/// A name in a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name<'t> {
    /// The name, as it stands between the delimiters.
    pub text: &'t str,
    /// Its bytes.
    pub span: Range<usize>,
    /// What is done with its value.
    pub use_: NameUse,
    /// The names of the sections around it, the outermost first; inverted ones have no scope and are left out.
    pub within: Vec<&'t str>,
}

/// What a template does with the value of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameUse {
    /// Prints it.
    Printed,
    /// Opens a section by it.
    Section,
    /// Prints the text that this top-level name holds, by the package service's lambda.
    AsJson,
}

impl Template {
    /// All names in the template, in order.
    pub fn names(&self) -> Vec<Name<'_>> {
        let mut found = Vec::new();
        collect(&self.source, &self.nodes, &mut Vec::new(), &mut found);
        found
    }
}

fn collect<'t>(source: &'t str, nodes: &[Node], within: &mut Vec<&'t str>, found: &mut Vec<Name<'t>>) {
    for node in nodes {
        match node {
            Node::Text(_) => {}
            Node::Variable { name, .. } => {
                let (text, span, within) = (&source[name.clone()], name.clone(), within.clone());
                found.push(Name { text, span, use_: NameUse::Printed, within });
            }
            Node::Section { name, inner, .. } if &source[name.clone()] == AS_JSON => {
                let (text, span) = (&source[inner.clone()], inner.clone());
                found.push(Name { text, span, use_: NameUse::AsJson, within: Vec::new() });
            }
            Node::Section { name, inverted, body, .. } => {
                let text = &source[name.clone()];
                let section =
                    Name { text, span: name.clone(), use_: NameUse::Section, within: within.clone() };
                found.push(section);
                // the depth is bounded by the parser
                if *inverted {
                    collect(source, body, within, found);
                } else {
                    within.push(text);
                    collect(source, body, within, found);
                    within.pop();
                }
            }
        }
    }
}
