//! Execution: walks the tree, within limits.

use std::collections::HashMap;
use std::ops::Range;

use regex::{Regex, RegexBuilder};

use crate::access::{Items, field, method};
use crate::ast::{Command, Node, Operand, Pipeline, Source, Template, Term};
use crate::error::Error;
use crate::functions::{Call, Functions, Host, builtin};
use crate::html::Escaper;
use crate::limits::Limits;
use crate::print;
use crate::set::{Mode, TemplateSet};
use crate::value::Value;

/// Nesting of lists and maps that templates may build.
const VALUE_DEPTH_MAX: u32 = 64;

/// Regular expressions kept for the length of an execution.
const REGEXES_MAX: usize = 64;
const PATTERN_BYTES_MAX: usize = 4096;
const REGEX_BYTES_MAX: usize = 256 * 1024;

/// Bytes that functions may make for one step.
const BYTES_PER_STEP: usize = 64;
const BYTES_PER_ITEM: usize = 16;

pub(crate) struct Executor<'e, 'f> {
    pub(crate) set: &'e TemplateSet,
    pub(crate) functions: &'e Functions<'f>,
    pub(crate) limits: Limits,
    out: String,
    escaper: Option<Escaper>,
    regexes: HashMap<String, Regex>,
    steps: u64,
    depth: usize,
}

/// One template under execution.
struct Frame<'t> {
    source: &'t Source,
    variables: Vec<(String, Value)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

impl<'e, 'f> Executor<'e, 'f> {
    pub(crate) fn new(set: &'e TemplateSet, functions: &'e Functions<'f>, mode: Mode) -> Self {
        Self {
            set,
            functions,
            limits: set.limits(),
            out: String::new(),
            escaper: (mode == Mode::Html).then(Escaper::default),
            regexes: HashMap::new(),
            steps: 0,
            depth: 0,
        }
    }

    /// Runs a template with `$` and the caller's variables.
    pub(crate) fn run(
        &mut self,
        template: &Template,
        data: &Value,
        variables: &[(&str, Value)],
    ) -> Result<String, Error> {
        self.template_body(template, data, variables)?;
        Ok(std::mem::take(&mut self.out))
    }

    fn template_body(&mut self, template: &Template, data: &Value, variables: &[(&str, Value)]) -> Result<(), Error> {
        let mut frame = Frame { source: &template.source, variables: vec![("$".to_owned(), data.clone())] };
        frame.variables.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        self.walk(&template.body, data, &mut frame).map(drop)
    }

    fn enter(&mut self, frame: &Frame<'_>, at: usize) -> Result<(), Error> {
        self.depth += 1;
        if self.depth > self.limits.depth {
            let message = format!("templates and blocks are nested deeper than {}", self.limits.depth);
            return Err(Error::at(frame.source, at, message));
        }
        Ok(())
    }

    fn step(&mut self, count: u64) -> Result<(), String> {
        self.steps = self.steps.saturating_add(count);
        if self.steps > self.limits.steps {
            return Err(format!("the template takes more than {} steps", self.limits.steps));
        }
        Ok(())
    }

    fn walk(&mut self, nodes: &[Node], dot: &Value, frame: &mut Frame<'_>) -> Result<Flow, Error> {
        for node in nodes {
            self.step(1).map_err(|message| Error::at(frame.source, 0, message))?;
            let flow = self.node(node, dot, frame)?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    /// A block in a scope of its own.
    fn block(&mut self, nodes: &[Node], dot: &Value, frame: &mut Frame<'_>) -> Result<Flow, Error> {
        self.enter(frame, 0)?;
        let scope = frame.variables.len();
        let flow = self.walk(nodes, dot, frame)?;
        frame.variables.truncate(scope);
        self.depth -= 1;
        Ok(flow)
    }

    fn node(&mut self, node: &Node, dot: &Value, frame: &mut Frame<'_>) -> Result<Flow, Error> {
        match node {
            Node::Text(text) => {
                let mut kept = String::new();
                let text = match &mut self.escaper {
                    Some(escaper) => {
                        escaper.feed(text, &mut kept);
                        &kept
                    }
                    None => text,
                };
                self.emit(text, frame, 0)?;
            }
            Node::Action(pipeline) => {
                let value = self.pipeline(pipeline, dot, frame)?;
                if pipeline.variables.is_empty() {
                    let at = pipeline.commands.first().map_or(0, |command| command.at.start);
                    self.emit_value(&value, frame, at)?;
                }
            }
            Node::If { branches, otherwise } => return self.branches(branches, otherwise, false, dot, frame),
            Node::With { branches, otherwise } => return self.branches(branches, otherwise, true, dot, frame),
            Node::Range { over, body, otherwise } => return self.range(over, body, otherwise, dot, frame),
            Node::Call { at, name, data } => self.call_template(at, name, data.as_ref(), dot, frame)?,
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    fn emit(&mut self, text: &str, frame: &Frame<'_>, at: usize) -> Result<(), Error> {
        if self.out.len() + text.len() > self.limits.output_bytes {
            let message = format!("the output exceeds the limit of {} bytes", self.limits.output_bytes);
            return Err(Error::at(frame.source, at, message));
        }
        self.out.push_str(text);
        Ok(())
    }

    fn emit_value(&mut self, value: &Value, frame: &Frame<'_>, at: usize) -> Result<(), Error> {
        let text = match (value, &self.escaper) {
            (Value::Nil, None) => "<no value>".to_owned(),
            (Value::Nil, Some(_)) => String::new(),
            (Value::String(text) | Value::Html(text), None) => text.to_string(),
            _ => {
                print::print(value, self.limits.output_bytes).map_err(|message| Error::at(frame.source, at, message))?
            }
        };
        self.step((text.len() / BYTES_PER_STEP) as u64).map_err(|message| Error::at(frame.source, at, message))?;
        let text = match &mut self.escaper {
            Some(escaper) => escaper.escape(&text, matches!(value, Value::Html(_))),
            None => text,
        };
        self.emit(&text, frame, at)
    }

    fn branches(
        &mut self,
        branches: &[(Pipeline, Vec<Node>)],
        otherwise: &[Node],
        sets_dot: bool,
        dot: &Value,
        frame: &mut Frame<'_>,
    ) -> Result<Flow, Error> {
        let scope = frame.variables.len();
        for (condition, body) in branches {
            let value = self.pipeline(condition, dot, frame)?;
            if value.truth() {
                let flow = self.block(body, if sets_dot { &value } else { dot }, frame)?;
                frame.variables.truncate(scope);
                return Ok(flow);
            }
        }
        let flow = self.block(otherwise, dot, frame)?;
        frame.variables.truncate(scope);
        Ok(flow)
    }

    fn range(
        &mut self,
        over: &Pipeline,
        body: &[Node],
        otherwise: &[Node],
        dot: &Value,
        frame: &mut Frame<'_>,
    ) -> Result<Flow, Error> {
        let value = self.pipeline_value(over, dot, frame)?;
        let at = over.commands.first().map_or(0..0, |command| command.at.clone());
        let items = Items::of(value).map_err(|message| Error::in_expression(frame.source, &at, message))?;
        let scope = frame.variables.len();
        let count = items.count();
        for index in 0..count {
            self.step(1).map_err(|message| Error::at(frame.source, at.start, message))?;
            let (key, item) = items.at(index);
            frame.variables.truncate(scope);
            match over.variables.as_slice() {
                [element] => self.set(over, element, item.clone(), frame),
                [first, second] => {
                    self.set(over, first, key, frame);
                    self.set(over, second, item.clone(), frame);
                }
                _ => {}
            }
            if self.block(body, &item, frame)? == Flow::Break {
                break;
            }
        }
        frame.variables.truncate(scope);
        if count == 0 {
            // A `break` in the other branch belongs to the loop around.
            return self.block(otherwise, dot, frame);
        }
        Ok(Flow::Next)
    }

    fn set(&self, pipeline: &Pipeline, name: &str, value: Value, frame: &mut Frame<'_>) {
        let known = frame.variables.iter_mut().rev().find(|(known, _)| known == name);
        match known {
            Some((_, slot)) if pipeline.assigns => *slot = value,
            _ => frame.variables.push((name.to_owned(), value)),
        }
    }

    fn call_template(
        &mut self,
        at: &Range<usize>,
        name: &str,
        data: Option<&Pipeline>,
        dot: &Value,
        frame: &mut Frame<'_>,
    ) -> Result<(), Error> {
        let data = match data {
            Some(pipeline) => self.pipeline(pipeline, dot, frame)?,
            None => Value::Nil,
        };
        let template = self.set.get(name);
        let template =
            template.ok_or_else(|| Error::in_expression(frame.source, at, format!("template {name:?} not defined")))?;
        self.enter(frame, at.start)?;
        self.template_body(&template, &data, &[])?;
        self.depth -= 1;
        Ok(())
    }

    /// Evaluates and sets the pipeline's variable.
    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value, frame: &mut Frame<'_>) -> Result<Value, Error> {
        let value = self.pipeline_value(pipeline, dot, frame)?;
        for name in &pipeline.variables {
            self.set(pipeline, name, value.clone(), frame);
        }
        Ok(value)
    }

    fn pipeline_value(&mut self, pipeline: &Pipeline, dot: &Value, frame: &mut Frame<'_>) -> Result<Value, Error> {
        let mut piped = None;
        for command in &pipeline.commands {
            piped = Some(self.command(command, piped, dot, frame)?);
        }
        Ok(piped.unwrap_or_default())
    }

    fn command(
        &mut self,
        command: &Command,
        piped: Option<Value>,
        dot: &Value,
        frame: &mut Frame<'_>,
    ) -> Result<Value, Error> {
        let Some((first, rest)) = command.operands.split_first() else {
            return Ok(Value::Nil);
        };
        if let Term::Function(name) = &first.term {
            return match name.as_str() {
                "and" | "or" => self.and_or(command, name == "or", piped, dot, frame),
                _ => {
                    let arguments = self.arguments(rest, piped, dot, frame)?;
                    self.call(name, &command.at, &arguments, frame)
                }
            };
        }
        if let Some((last, path)) = first.fields.split_last() {
            let arguments = self.arguments(rest, piped, dot, frame)?;
            let receiver = self.term(first, dot, frame)?;
            let receiver = self.fields(receiver, path, first, frame)?;
            return self.field(&receiver, last, &arguments, first, frame);
        }
        if !rest.is_empty() || piped.is_some() {
            let text = frame.source.text.get(first.at.clone()).unwrap_or_default();
            let message = format!("can't give argument to non-function {text}");
            return Err(Error::in_expression(frame.source, &first.at, message));
        }
        self.term(first, dot, frame)
    }

    /// Stops at the first argument that decides.
    fn and_or(
        &mut self,
        command: &Command,
        is_or: bool,
        piped: Option<Value>,
        dot: &Value,
        frame: &mut Frame<'_>,
    ) -> Result<Value, Error> {
        let mut last = None;
        for operand in &command.operands[1..] {
            let value = self.operand(operand, dot, frame)?;
            if value.truth() == is_or {
                return Ok(value);
            }
            last = Some(value);
        }
        piped.or(last).ok_or_else(|| {
            let message = "wrong number of args: want at least 1 got 0";
            Error::in_expression(frame.source, &command.at, message)
        })
    }

    fn arguments(
        &mut self,
        operands: &[Operand],
        piped: Option<Value>,
        dot: &Value,
        frame: &mut Frame<'_>,
    ) -> Result<Vec<Value>, Error> {
        let mut arguments = Vec::with_capacity(operands.len() + 1);
        for operand in operands {
            arguments.push(self.operand(operand, dot, frame)?);
        }
        arguments.extend(piped);
        Ok(arguments)
    }

    fn operand(&mut self, operand: &Operand, dot: &Value, frame: &mut Frame<'_>) -> Result<Value, Error> {
        let value = self.term(operand, dot, frame)?;
        self.fields(value, &operand.fields, operand, frame)
    }

    fn term(&mut self, operand: &Operand, dot: &Value, frame: &mut Frame<'_>) -> Result<Value, Error> {
        match &operand.term {
            Term::Dot => Ok(dot.clone()),
            Term::Nil => Ok(Value::Nil),
            Term::Constant(value) => Ok(value.clone()),
            Term::Variable(name) => {
                let found = frame.variables.iter().rev().find(|(known, _)| known == name);
                let found = found.map(|(_, value)| value.clone());
                found.ok_or_else(|| {
                    Error::in_expression(frame.source, &operand.at, format!("undefined variable: {name}"))
                })
            }
            Term::Function(name) => self.call(name, &operand.at, &[], frame),
            Term::Pipeline(pipeline) => {
                self.enter(frame, operand.at.start)?;
                let scope = frame.variables.len();
                let value = self.pipeline(pipeline, dot, frame)?;
                frame.variables.truncate(scope);
                self.depth -= 1;
                Ok(value)
            }
        }
    }

    fn fields(
        &mut self,
        mut value: Value,
        path: &[String],
        operand: &Operand,
        frame: &Frame<'_>,
    ) -> Result<Value, Error> {
        for name in path {
            value = self.field(&value, name, &[], operand, frame)?;
        }
        Ok(value)
    }

    fn field(
        &mut self,
        receiver: &Value,
        name: &str,
        arguments: &[Value],
        operand: &Operand,
        frame: &Frame<'_>,
    ) -> Result<Value, Error> {
        self.charge_arguments(arguments).map_err(|message| Error::in_expression(frame.source, &operand.at, message))?;
        let value = match method(receiver, name, arguments) {
            Some(result) => result.map_err(|message| format!("error calling {name}: {message}")),
            None if !arguments.is_empty() => Err(format!("{name} is not a method but has arguments")),
            None => field(receiver, name),
        };
        value.map_err(|message| Error::in_expression(frame.source, &operand.at, message))
    }

    fn call(&mut self, name: &str, at: &Range<usize>, arguments: &[Value], frame: &Frame<'_>) -> Result<Value, Error> {
        self.call_function(name, arguments).map_err(|message| Error::in_expression(frame.source, at, message))
    }

    /// What is read costs like what is made, else a loop over a long text would be almost free.
    fn charge_arguments(&mut self, arguments: &[Value]) -> Result<(), String> {
        let bytes = arguments.iter().map(|argument| match argument {
            Value::String(text) | Value::Html(text) => text.len(),
            Value::List(list) => list.items.len().saturating_mul(BYTES_PER_ITEM),
            _ => 0,
        });
        self.step(1 + (bytes.fold(0, usize::saturating_add) / BYTES_PER_STEP) as u64)
    }

    fn call_function(&mut self, name: &str, arguments: &[Value]) -> Result<Value, String> {
        self.charge_arguments(arguments)?;
        let function = self.functions.get(name);
        let mut call = Call { name, arguments, host: self };
        let result = match &function {
            Some(function) => function(&mut call),
            None => builtin::call(&mut call).unwrap_or_else(|| Err("there is no such function".to_owned())),
        };
        let value = result.map_err(|message| {
            // These two say by themselves what was called.
            if message.starts_with("wrong number of args") || message.starts_with("wrong type for value") {
                message
            } else {
                format!("error calling {name}: {message}")
            }
        })?;
        match &value {
            Value::String(text) | Value::Html(text) => {
                if text.len() > self.limits.output_bytes {
                    return Err(format!("the text exceeds the limit of {} bytes", self.limits.output_bytes));
                }
                self.step((text.len() / BYTES_PER_STEP) as u64)?;
            }
            Value::List(list) => self.step(list.items.len() as u64)?,
            _ => {}
        }
        if value.depth() > VALUE_DEPTH_MAX {
            return Err(format!("lists and maps are nested deeper than {VALUE_DEPTH_MAX}"));
        }
        Ok(value)
    }
}

impl Host for Executor<'_, '_> {
    fn regex(&mut self, pattern: &str) -> Result<Regex, String> {
        if let Some(regex) = self.regexes.get(pattern) {
            return Ok(regex.clone());
        }
        if pattern.len() > PATTERN_BYTES_MAX {
            return Err(format!("the regular expression is longer than {PATTERN_BYTES_MAX} bytes"));
        }
        if self.regexes.len() >= REGEXES_MAX {
            return Err(format!("more than {REGEXES_MAX} different regular expressions in one execution"));
        }
        // Compiling costs much more than a step.
        self.step(1000)?;
        let regex = RegexBuilder::new(pattern).size_limit(REGEX_BYTES_MAX).dfa_size_limit(REGEX_BYTES_MAX).build();
        let regex = regex.map_err(|error| format!("error parsing regexp: {error}"))?;
        self.regexes.insert(pattern.to_owned(), regex.clone());
        Ok(regex)
    }

    fn template(&mut self, name: &str, data: Value) -> Result<String, String> {
        let template = self.set.get(name).ok_or_else(|| format!("template {name:?} not defined"))?;
        self.depth += 1;
        if self.depth > self.limits.depth {
            return Err(format!("templates and blocks are nested deeper than {}", self.limits.depth));
        }
        let outer = std::mem::take(&mut self.out);
        let escaper = self.escaper.take();
        self.escaper = escaper.is_some().then(Escaper::default);
        let result = self.template_body(&template, &data, &[]);
        self.escaper = escaper;
        let text = std::mem::replace(&mut self.out, outer);
        self.depth -= 1;
        result.map(|()| text).map_err(|error| error.to_string())
    }

    fn charge(&mut self, bytes: usize) -> Result<(), String> {
        self.step((bytes / BYTES_PER_STEP) as u64)
    }

    fn text_limit(&self) -> usize {
        self.limits.output_bytes
    }

    fn is_html(&self) -> bool {
        self.escaper.is_some()
    }
}
