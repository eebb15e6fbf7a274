//! Tree of tags + values → text.

use super::context::{is_true, prepare, text_of};
use super::parse::{Node, Template};
use super::{MAX_NESTING, MAX_OUTPUT, MAX_STEPS, Missing, Origins, Place, Profile, Rendered, TemplateError};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// The name of the package service's lambda: the string that a top-level name holds, without any escaping.
pub(super) const AS_JSON: &str = "asJson";

impl Template {
    /// Renders the template. `values` are as their author wrote them: what a profile does to them is done here.
    ///
    /// # Errors
    /// When the text or the work exceed [`MAX_OUTPUT`] or [`MAX_STEPS`], or when the text that `asJson` brings in is not
    /// a template.
    pub fn render(&self, profile: Profile, values: &Value) -> Result<Rendered, TemplateError> {
        let prepared = prepare(profile, values);
        let mut renderer = Renderer {
            profile,
            values,
            scopes: vec![Cow::Borrowed(prepared.as_ref())],
            text: String::new(),
            origins: Origins::default(),
            missing: BTreeSet::new(),
            steps: 0,
            depth: 0,
            lambda: None,
        };
        renderer.nodes(self, &self.nodes)?;
        let (mut place, mut offset) = (Place { line: 1, column: 1 }, 0);
        let place_missing = |(at, name)| {
            place.advance(&self.source[offset..at]);
            offset = at;
            Missing { name, line: place.line, column: place.column }
        };
        let missing = renderer.missing.into_iter().map(place_missing).collect();
        Ok(Rendered { text: renderer.text, missing, origins: renderer.origins })
    }

    /// The place in this template that the byte at `offset` of a rendered text comes from: the character itself, or
    /// the tag that printed it.
    pub fn origin(&self, rendered: &Rendered, offset: usize) -> Place {
        Place::of(&self.source, rendered.origins.offset(offset))
    }
}

struct Renderer<'v> {
    profile: Profile,
    /// The values before any preparation.
    values: &'v Value,
    /// What names are looked up in, the innermost last. Owned are only values that have no members.
    scopes: Vec<Cow<'v, Value>>,
    text: String,
    origins: Origins,
    /// Offset of the tag, and its name.
    missing: BTreeSet<(usize, String)>,
    steps: usize,
    /// Sections and texts of `asJson` around the node that is being rendered.
    depth: usize,
    /// Offset of the `asJson` section whose text is being rendered.
    lambda: Option<usize>,
}

impl<'v> Renderer<'v> {
    fn nodes(&mut self, template: &Template, nodes: &[Node]) -> Result<(), TemplateError> {
        self.depth += 1;
        // an empty section counts too: there may be many of them
        self.steps += 1;
        let outcome = nodes.iter().try_for_each(|node| self.node(template, node));
        self.depth -= 1;
        outcome
    }

    fn node(&mut self, template: &Template, node: &Node) -> Result<(), TemplateError> {
        self.steps += 1;
        match node {
            Node::Text(range) => {
                match self.lambda {
                    None => self.origins.copied(self.text.len(), range.start),
                    Some(tag) => self.origins.replaced(self.text.len(), tag),
                }
                self.text.push_str(&template.source[range.clone()]);
            }
            Node::Variable { name, escaped, at } => {
                self.variable(&template.source[name.clone()], *escaped, *at);
            }
            Node::Section { name, inverted, inner, body, at } => {
                let name = &template.source[name.clone()];
                let value = self.look_up(name);
                if value.is_none() && name == AS_JSON && self.profile == Profile::Package {
                    // a lambda counts as true, so there is nothing to do when it is inverted
                    if !inverted {
                        self.as_json(template, &template.source[inner.clone()], *at)?;
                    }
                } else {
                    self.section(template, value, *inverted, body)?;
                }
            }
        }
        self.check_bounds().map_err(|(message, help)| {
            let at = match node {
                Node::Text(range) => range.start,
                Node::Variable { at, .. } | Node::Section { at, .. } => *at,
            };
            template.error(at, message, help)
        })
    }

    fn check_bounds(&self) -> Result<(), (String, &'static str)> {
        if self.steps > MAX_STEPS {
            let help = "lists inside lists multiply; print fewer of them";
            return Err((format!("rendering takes more than {MAX_STEPS} steps"), help));
        }
        if self.text.len() > MAX_OUTPUT {
            let help = "print less: this is no size for a configuration";
            return Err((format!("the rendered text is longer than {MAX_OUTPUT} bytes"), help));
        }
        Ok(())
    }

    fn variable(&mut self, name: &str, escaped: bool, at: usize) {
        let Some(value) = self.look_up(name) else {
            self.missing.insert((self.lambda.unwrap_or(at), name.to_owned()));
            return;
        };
        self.origins.replaced(self.text.len(), self.lambda.unwrap_or(at));
        let text = text_of(&value);
        if escaped {
            escape(self.profile, &text, &mut self.text);
        } else {
            self.text.push_str(&text);
        }
    }

    fn section(
        &mut self,
        template: &Template,
        value: Option<Cow<'v, Value>>,
        inverted: bool,
        body: &[Node],
    ) -> Result<(), TemplateError> {
        let value = value.filter(|value| is_true(value));
        match (inverted, value) {
            (true, None) => self.nodes(template, body),
            (true, Some(_)) | (false, None) => Ok(()),
            (false, Some(Cow::Borrowed(Value::Array(items)))) => {
                items.iter().try_for_each(|item| self.scoped(template, Cow::Borrowed(item), body))
            }
            (false, Some(value)) => self.scoped(template, value, body),
        }
    }

    fn scoped(
        &mut self,
        template: &Template,
        scope: Cow<'v, Value>,
        body: &[Node],
    ) -> Result<(), TemplateError> {
        self.scopes.push(scope);
        let outcome = self.nodes(template, body);
        self.scopes.pop();
        outcome
    }

    /// `{{#asJson}}name{{/asJson}}`: the text that the top-level `name` holds, itself rendered as a template.
    fn as_json(&mut self, template: &Template, name: &str, at: usize) -> Result<(), TemplateError> {
        let text = match self.values.get(name) {
            Some(Value::String(text)) => text,
            _ => "null",
        };
        // the brought-in text may bring in itself, and may have MAX_NESTING sections of its own
        if self.depth > MAX_NESTING {
            return Err(template.error(
                at,
                format!("the value of `{name}` brings itself in again and again"),
                "remove the asJson section from the value",
            ));
        }
        let brought_in = Template::parse(text).map_err(|inner| {
            template.error(
                at,
                format!("the value of `{name}` is not a template: {}", inner.message),
                inner.help,
            )
        })?;
        let outermost = self.lambda.is_none();
        self.lambda.get_or_insert(at);
        let outcome = self.nodes(&brought_in, &brought_in.nodes);
        if outermost {
            self.lambda = None;
        }
        outcome.map_err(|inner| template.error(at, inner.message, inner.help))
    }

    /// The value of a name: innermost scope first. Once the first part of a dotted name is found, the rest must be
    /// found in it.
    fn look_up(&self, name: &str) -> Option<Cow<'v, Value>> {
        if name == "." {
            return self.scopes.last().cloned();
        }
        for scope in self.scopes.iter().rev() {
            if self.profile.resolves_as_java()
                && let Some(value) = self.member(scope, name)
            {
                return Some(value);
            }
            let mut parts = name.split('.');
            if let Some(first) = parts.next().and_then(|part| self.member(scope, part)) {
                return parts.try_fold(first, |value, part| self.member(&value, part));
            }
        }
        None
    }

    fn member(&self, value: &Cow<'v, Value>, name: &str) -> Option<Cow<'v, Value>> {
        let Cow::Borrowed(value) = value else { return None };
        match (value, name) {
            (Value::Object(map), _) => map.get(name).map(Cow::Borrowed),
            _ if !self.profile.resolves_as_java() => None,
            (Value::Array(items), "isEmpty") => Some(Cow::Owned(items.is_empty().into())),
            (Value::Array(items), "size") => Some(Cow::Owned(items.len().into())),
            (Value::String(text), "isEmpty") => Some(Cow::Owned(text.is_empty().into())),
            // Java counts UTF-16 units
            (Value::String(text), "length") => Some(Cow::Owned(text.encode_utf16().count().into())),
            _ => None,
        }
    }
}

/// Appends text as `{{name}}` prints it.
fn escape(profile: Profile, text: &str, out: &mut String) {
    for c in text.chars() {
        let entity = match (profile, c) {
            (Profile::Package, _) => "",
            (_, '&') => "&amp;",
            (_, '<') => "&lt;",
            (_, '>') => "&gt;",
            (Profile::Config, '"') => "&#34;",
            (_, '"') => "&quot;",
            (Profile::Service | Profile::Config, '\'') => "&#39;",
            (Profile::Service, '=') => "&#61;",
            (Profile::Service, '`') => "&#96;",
            (Profile::Service, '\0'..='\r') => {
                // a String takes everything
                let _ = write!(out, "&#{};", u32::from(c));
                continue;
            }
            (Profile::Config, '\0') => "\u{fffd}",
            _ => "",
        };
        if entity.is_empty() {
            out.push(c);
        } else {
            out.push_str(entity);
        }
    }
}
