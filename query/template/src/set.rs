//! Templates that know each other by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ast::{Node, Source, Template};
use crate::error::Error;
use crate::execute::Executor;
use crate::functions::Functions;
use crate::limits::Limits;
use crate::parse;
use crate::value::Value;

/// Whether values are escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As they are: `text/template`.
    Text,
    /// By where they stand: `html/template`.
    Html,
}

/// Templates of several files, executed by name or together with a text that calls them. Cloning is cheap.
#[derive(Clone, Debug, Default)]
pub struct TemplateSet {
    limits: Limits,
    templates: BTreeMap<String, Arc<Template>>,
}

impl TemplateSet {
    /// An empty set.
    pub fn new(limits: Limits) -> Self {
        Self { limits, templates: BTreeMap::new() }
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<Template>> {
        self.templates.get(name).map(Arc::clone)
    }

    /// The names of all templates.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.templates.keys().map(String::as_str)
    }

    /// Whether there is a template of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.templates.contains_key(name)
    }

    /// Parses a file: its text becomes the template `name`, its definitions templates of their own. Later ones replace
    /// earlier ones of the same name. An error changes nothing.
    pub fn add(&mut self, name: &str, text: &str, functions: &Functions<'_>) -> Result<(), Error> {
        self.add_with(name, text, functions, &[])
    }

    /// The same for a text that finds variables declared, such as `$labels`.
    pub fn add_with(
        &mut self,
        name: &str,
        text: &str,
        functions: &Functions<'_>,
        variables: &[&str],
    ) -> Result<(), Error> {
        let source = Source { name: name.to_owned(), text: text.to_owned() };
        if text.len() > self.limits.template_bytes {
            let message = format!("the template has {} bytes, at most {}", text.len(), self.limits.template_bytes);
            return Err(Error::at(&source, 0, message));
        }
        let parsed = parse::parse(&Arc::new(source), &|name| functions.contains(name), variables)?;
        self.templates.extend(parsed);
        Ok(())
    }

    /// Checks a text without running it: syntax, functions, variables, and that every template it calls exists.
    pub fn check(&self, text: &str, functions: &Functions<'_>, variables: &[&str]) -> Result<(), Error> {
        let mut set = self.clone();
        set.add_with("", text, functions, variables)?;
        set.check_calls()
    }

    /// Whether every template that is called exists. Go finds this out when it runs.
    pub fn check_calls(&self) -> Result<(), Error> {
        self.templates.values().try_for_each(|template| self.check_nodes(&template.source, &template.body))
    }

    fn check_nodes(&self, source: &Source, nodes: &[Node]) -> Result<(), Error> {
        for node in nodes {
            match node {
                Node::Call { at, name, .. } if !self.contains(name) => {
                    return Err(Error::at(source, at.start, format!("template {name:?} not defined")));
                }
                Node::If { branches, otherwise } | Node::With { branches, otherwise } => {
                    for (_, body) in branches {
                        self.check_nodes(source, body)?;
                    }
                    self.check_nodes(source, otherwise)?;
                }
                Node::Range { body, otherwise, .. } => {
                    self.check_nodes(source, body)?;
                    self.check_nodes(source, otherwise)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Runs the template of a name.
    pub fn execute(&self, name: &str, mode: Mode, data: &Value, functions: &Functions<'_>) -> Result<String, Error> {
        self.execute_with(name, mode, data, functions, &[])
    }

    /// Runs the template of a name with variables that were declared when it was added.
    pub fn execute_with(
        &self,
        name: &str,
        mode: Mode,
        data: &Value,
        functions: &Functions<'_>,
        variables: &[(&str, Value)],
    ) -> Result<String, Error> {
        let template = self.get(name).ok_or_else(|| {
            let source = Source { name: name.to_owned(), text: String::new() };
            Error::at(&source, 0, format!("template {name:?} not defined"))
        })?;
        Executor::new(self, functions, mode).run(&template, data, variables)
    }

    /// Parses and runs a text that may call the templates of the set.
    pub fn expand(&self, text: &str, mode: Mode, data: &Value, functions: &Functions<'_>) -> Result<String, Error> {
        self.expand_with("", text, mode, data, functions, &[])
    }

    /// The same with a name for errors, and with variables.
    pub fn expand_with(
        &self,
        name: &str,
        text: &str,
        mode: Mode,
        data: &Value,
        functions: &Functions<'_>,
        variables: &[(&str, Value)],
    ) -> Result<String, Error> {
        // Most labels and annotations are plain text.
        if !text.contains("{{") && mode == Mode::Text && text.len() <= self.limits.template_bytes {
            return Ok(text.to_owned());
        }
        let mut set = self.clone();
        let names: Vec<&str> = variables.iter().map(|(name, _)| *name).collect();
        set.add_with(name, text, functions, &names)?;
        set.execute_with(name, mode, data, functions, variables)
    }
}
