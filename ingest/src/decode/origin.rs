//! What all signals share around their records: resource and scope, found before the records are walked, because protobuf
//! does not promise an order of fields.

use arrow::array::ArrayRef;
use arrow::datatypes::UInt32Type;
use trivium_model::limit;
use trivium_storage::attributes::{EMPTY, get, write_string};

use super::attribute_set::{AttributeColumn, RawSet};
use super::column::{ABSENT, TextColumn, numbers};
use super::value::ValueWriter;
use super::wire::{Fields, WireError};
use super::{DecodeError, Outcome, Reason};

/// The service of a resource that does not name one (OpenTelemetry resource conventions).
const UNKNOWN_SERVICE: &str = "unknown_service";

/// The rows of one signal, as they are gathered.
pub(super) trait Rows<'a> {
    /// The columns around the signal's own.
    fn origin(&mut self) -> &mut OriginColumns<'a>;

    /// Takes one message of a scope, a log record, span or metric, or counts why it cannot.
    fn take(&mut self, message: &'a [u8], outcome: &mut Outcome<'a>);

    /// Bytes that a row typically takes on the wire, for its share of the request, to make room for them at once.
    const BYTES: usize;

    /// How many rows a message of a scope should become.
    fn count(message: &[u8]) -> usize;
}

/// Walks an export request. In all signals a request has resources as field 1, a resource has scopes as field 2, a scope
/// has records as field 2; only the framing can fail.
pub(super) fn walk<'a, R: Rows<'a>>(
    payload: &'a [u8],
    rows: &mut R,
    outcome: &mut Outcome<'a>,
) -> Result<(), WireError> {
    each(payload, 1, |resource| {
        if let Err(error) = rows.origin().enter_resource(resource, &mut outcome.writer) {
            return each(resource, 2, |scope| reject_scope::<R>(scope, error, outcome));
        }
        each(resource, 2, |scope| {
            if let Err(error) = rows.origin().enter_scope(scope, &mut outcome.writer) {
                return reject_scope::<R>(scope, error, outcome);
            }
            each(scope, 2, |record| {
                rows.take(record, outcome);
                Ok(())
            })
        })
    })
}

/// Calls `visit` with each message of a repeated field.
#[inline(always)]
fn each<'a>(
    message: &'a [u8],
    field: u32,
    mut visit: impl FnMut(&'a [u8]) -> Result<(), WireError>,
) -> Result<(), WireError> {
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next()? {
        if number == field {
            visit(value.bytes(&fields)?)?;
        }
    }
    Ok(())
}

/// Rejects the records of a scope of which nobody can say where they come from.
fn reject_scope<'a, R: Rows<'a>>(
    scope: &'a [u8],
    error: WireError,
    outcome: &mut Outcome<'a>,
) -> Result<(), WireError> {
    let mut records = 0;
    each(scope, 2, |record| {
        records += R::count(record) as u64;
        Ok(())
    })?;
    outcome.reject("", records, Reason::from(error));
    Ok(())
}

/// Bytes of a record at the least: the key and the length of an empty message.
const RECORD_BYTES_MIN: usize = 2;

/// How many rows to make room for. A request of too many records is refused here, before it takes memory; only a large one
/// can have them and is walked for it: the bytes come into the cache a second time then.
pub(super) fn expect_rows<'a, R: Rows<'a>>(payload: &'a [u8]) -> Result<usize, DecodeError> {
    if payload.len() / RECORD_BYTES_MIN > limit::REQUEST_ROWS_MAX {
        check_rows::<R>(payload)?;
    }
    Ok((payload.len() / R::BYTES).min(limit::REQUEST_ROWS_MAX))
}

fn check_rows<'a, R: Rows<'a>>(payload: &'a [u8]) -> Result<(), DecodeError> {
    let mut rows = 0;
    each(payload, 1, |resource| {
        each(resource, 2, |scope| {
            each(scope, 2, |record| {
                rows += R::count(record);
                Ok(())
            })
        })
    })?;
    if rows > limit::REQUEST_ROWS_MAX {
        return Err(DecodeError::TooManyRecords { found: rows });
    }
    Ok(())
}

/// The columns `service_name`, `resource`, `resource_schema_url`, `resource_dropped_attributes_count` and `scope`. They
/// change with the resource, not with the row, and are kept as runs.
#[derive(Debug)]
pub(super) struct OriginColumns<'a> {
    service: TextColumn,
    resource: AttributeColumn<'a>,
    schema_url: TextColumn,
    scope: TextColumn,
    /// The last scope and its schema URL as they stand on the wire, and its code.
    last_scope: Option<(&'a [u8], &'a [u8], i32)>,
    current: Origin,
    /// The codes of the services of the resources, by their codes; those that are known.
    services: Vec<i32>,
    runs: Vec<(Origin, usize)>,
    rows: usize,
}

/// The codes of the origin of the records that are being walked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Origin {
    service: i32,
    resource: i32,
    schema_url: i32,
    dropped: u32,
    scope: i32,
}

impl<'a> OriginColumns<'a> {
    pub(super) fn with_capacity(rows: usize) -> Self {
        Self {
            service: TextColumn::with_capacity(rows),
            resource: AttributeColumn::with_capacity(rows),
            schema_url: TextColumn::with_capacity(rows),
            scope: TextColumn::with_capacity(rows),
            last_scope: None,
            current: Origin::default(),
            services: Vec::new(),
            runs: Vec::new(),
            rows: 0,
        }
    }

    /// Makes the `Resource` of a `ResourceLogs`, `ResourceMetrics` or `ResourceSpans` the current one.
    fn enter_resource(&mut self, message: &'a [u8], writer: &mut ValueWriter<'a>) -> Result<(), WireError> {
        let mut fields = Fields::new(message);
        let (mut set, mut dropped, mut schema_url) = (RawSet::default(), 0, &[][..]);
        while let Some((number, value)) = fields.next()? {
            match number {
                1 => dropped = read_resource(value.bytes(&fields)?, &mut set)?,
                3 => schema_url = value.bytes(&fields)?,
                _ => {}
            }
        }
        let resource = self.resource.code(&set, writer);
        let schema_url = self.schema_url.code(schema_url, &mut writer.sanitized);
        let service = self.service_code(resource);
        self.current = Origin { service, resource, schema_url, dropped, ..self.current };
        Ok(())
    }

    /// The service of a resource; of an empty name or none, the name that the conventions give it.
    fn service_code(&mut self, resource: i32) -> i32 {
        let position = resource as usize;
        if let Some(known) = self.services.get(position).filter(|known| **known != ABSENT) {
            return *known;
        }
        let code = self.read_service(resource);
        self.services.resize(self.services.len().max(position + 1), ABSENT);
        self.services[position] = code;
        code
    }

    /// Makes the empty resource and the empty scope the current ones, for senders that know neither.
    pub(super) fn enter_nowhere(&mut self) {
        let (resource, scope) = (self.resource.empty_code(), self.scope.code_of_text(EMPTY));
        let service = self.service_code_of("");
        self.current = Origin { service, resource, schema_url: ABSENT, dropped: 0, scope };
    }

    /// The code of a service; of an empty name, that of the name that the conventions give it.
    pub(super) fn service_code_of(&mut self, name: &str) -> i32 {
        service_code(&mut self.service, name)
    }

    /// Makes a service the current one, for senders that name it in every record.
    #[inline]
    pub(super) fn enter_service(&mut self, service: i32) {
        self.current.service = service;
    }

    fn read_service(&mut self, resource: i32) -> i32 {
        let json = std::str::from_utf8(self.resource.json_of(resource)).unwrap_or_default();
        let name = get(json, "service.name").filter(|value| value.json() != "null").map(|value| value.text());
        service_code(&mut self.service, name.as_deref().unwrap_or_default())
    }

    /// Makes the scope of a `ScopeLogs`, `ScopeMetrics` or `ScopeSpans` the current one; the records follow.
    fn enter_scope(&mut self, message: &'a [u8], writer: &mut ValueWriter<'a>) -> Result<(), WireError> {
        let mut fields = Fields::new(message);
        let (mut scope, mut schema_url) = (&[][..], &[][..]);
        while let Some((number, value)) = fields.next()? {
            match number {
                1 => scope = value.bytes(&fields)?,
                3 => schema_url = value.bytes(&fields)?,
                _ => {}
            }
        }
        if let Some((last_scope, last_url, code)) = self.last_scope
            && last_scope == scope
            && last_url == schema_url
        {
            self.current.scope = code;
            return Ok(());
        }
        let before = writer.sanitized;
        let json = scope_json(scope, schema_url, writer)?;
        self.current.scope = self.scope.code_of_text(&json);
        let is_altered = writer.sanitized != before;
        self.last_scope = (!is_altered).then_some((scope, schema_url, self.current.scope));
        Ok(())
    }

    /// The name of the current service.
    pub(super) fn service(&self) -> &str {
        if self.service.is_empty() {
            return "";
        }
        std::str::from_utf8(self.service.bytes_of(self.current.service)).unwrap_or_default()
    }

    /// What identifies the current resource and scope, for the identity of a series.
    pub(super) fn identity(&self) -> [&[u8]; 2] {
        [self.resource.json_of(self.current.resource), self.scope.bytes_of(self.current.scope)]
    }

    /// A number that changes when the current resource or scope does.
    pub(super) fn current_codes(&self) -> (i32, i32) {
        (self.current.resource, self.current.scope)
    }

    /// How many rows there are.
    #[inline]
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Adds the current origin for one accepted row.
    #[inline]
    pub(super) fn push_row(&mut self) {
        self.rows += 1;
        match self.runs.last_mut() {
            Some((origin, rows)) if *origin == self.current => *rows += 1,
            _ => self.runs.push((self.current, 1)),
        }
    }

    /// The column `service_name`, and the four that end a decoded batch.
    pub(super) fn finish(mut self) -> Result<(ArrayRef, Vec<ArrayRef>), DecodeError> {
        let mut dropped = Vec::with_capacity(self.rows);
        for (origin, rows) in &self.runs {
            self.service.push_run(origin.service, *rows);
            self.resource.push_run(origin.resource, *rows);
            self.schema_url.push_run(origin.schema_url, *rows);
            self.scope.push_run(origin.scope, *rows);
            dropped.extend(std::iter::repeat_n(origin.dropped, *rows));
        }
        let service = self.service.finish()?;
        let rest = vec![
            self.resource.finish()?,
            self.schema_url.finish()?,
            numbers::<UInt32Type>(dropped),
            self.scope.finish()?,
        ];
        Ok((service, rest))
    }
}

fn service_code(column: &mut TextColumn, name: &str) -> i32 {
    column.code_of_text(if name.is_empty() { UNKNOWN_SERVICE } else { name })
}

fn read_resource<'a>(message: &'a [u8], set: &mut RawSet<'a>) -> Result<u32, WireError> {
    let mut fields = Fields::new(message);
    let (mut dropped, mut before) = (0, message);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => {
                value.bytes(&fields)?;
                set.push(before, fields.rest());
            }
            2 => dropped = value.uint32(&fields)?,
            _ => {}
        }
        before = fields.rest();
    }
    Ok(dropped)
}

/// The scope as the column shows it: a canonical JSON object of what is not default.
fn scope_json<'a>(message: &'a [u8], schema_url: &'a [u8], writer: &mut ValueWriter<'a>) -> Result<String, WireError> {
    let mut fields = Fields::new(message);
    let (mut name, mut version, mut set, mut dropped) = (&[][..], &[][..], RawSet::default(), 0);
    let mut before = message;
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => name = value.bytes(&fields)?,
            2 => version = value.bytes(&fields)?,
            3 => {
                value.bytes(&fields)?;
                set.push(before, fields.rest());
            }
            4 => dropped = value.uint32(&fields)?,
            _ => {}
        }
        before = fields.rest();
    }
    let mut json = String::from("{");
    if !set.is_empty() {
        json.push_str("\"attributes\":");
        json.push_str(set.json(writer, false));
    }
    if dropped > 0 {
        member(&mut json, "dropped_attributes_count");
        json.push_str(&dropped.to_string());
    }
    for (key, bytes) in [("name", name), ("schema_url", schema_url), ("version", version)] {
        if !bytes.is_empty() {
            member(&mut json, key);
            write_string(&mut json, &writer.sanitized.name(bytes));
        }
    }
    json.push('}');
    Ok(json)
}

fn member(json: &mut String, key: &str) {
    if json.len() > 1 {
        json.push(',');
    }
    json.push('"');
    json.push_str(key);
    json.push_str("\":");
}
