//! What all signals share around their records: resource and scope, found before the records are walked, because protobuf
//! does not promise an order of fields.

use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Builder};
use trivium_storage::attributes::write_string;

use super::column::TextColumn;
use super::value::{AttributeColumn, RawSet, Sanitized};
use super::wire::{Fields, WireError};
use super::{COLUMN_TEXT_BYTES_MAX, DecodeError};

/// The service of a resource that does not name one (OpenTelemetry resource conventions).
const UNKNOWN_SERVICE: &str = "unknown_service";

/// The columns `service_name`, `resource`, `resource_schema_url`, `resource_dropped_attributes_count` and `scope`.
#[derive(Debug, Default)]
pub(super) struct OriginColumns {
    service: TextColumn,
    resource: AttributeColumn,
    schema_url: TextColumn,
    dropped: UInt32Builder,
    scope: TextColumn,
    current: Origin,
}

/// The codes of the origin of the records that are being walked.
#[derive(Clone, Copy, Debug, Default)]
struct Origin {
    service: i32,
    resource: i32,
    schema_url: Option<i32>,
    dropped: u32,
    scope: i32,
}

impl OriginColumns {
    /// Makes the `Resource` of a `ResourceLogs`, `ResourceMetrics` or `ResourceSpans` the current one and returns the
    /// scopes inside.
    pub(super) fn enter_resource<'a>(
        &mut self,
        message: &'a [u8],
        sanitized: &mut Sanitized,
    ) -> Result<Vec<&'a [u8]>, WireError> {
        let mut fields = Fields::new(message);
        let (mut scopes, mut set, mut dropped, mut schema_url) = (Vec::new(), RawSet::default(), 0, &[][..]);
        while let Some((number, value)) = fields.next()? {
            match number {
                1 => dropped = read_resource(value.bytes()?, &mut set)?,
                2 => scopes.push(value.bytes()?),
                3 => schema_url = value.bytes()?,
                _ => {}
            }
        }
        self.current.resource = self.resource.code(&set, sanitized)?;
        self.current.dropped = dropped;
        let schema_url = sanitized.name(schema_url);
        self.current.schema_url = (!schema_url.is_empty()).then(|| self.schema_url.code(&schema_url));
        let json = self.resource.column.text_of(self.current.resource);
        let service = trivium_storage::attributes::get(json, "service.name").map(|value| value.text().into_owned());
        let service = service.filter(|name| !name.is_empty()).unwrap_or_else(|| UNKNOWN_SERVICE.into());
        self.current.service = self.service.code(&service);
        Ok(scopes)
    }

    /// Makes the scope of a `ScopeLogs`, `ScopeMetrics` or `ScopeSpans` the current one; the records follow.
    pub(super) fn enter_scope(&mut self, message: &[u8], sanitized: &mut Sanitized) -> Result<(), WireError> {
        let mut fields = Fields::new(message);
        let (mut scope, mut schema_url) = (&[][..], &[][..]);
        while let Some((number, value)) = fields.next()? {
            match number {
                1 => scope = value.bytes()?,
                3 => schema_url = value.bytes()?,
                _ => {}
            }
        }
        let json = scope_json(scope, schema_url, sanitized)?;
        self.current.scope = self.scope.code(&json);
        Ok(())
    }

    /// The name of the current service.
    pub(super) fn service(&self) -> &str {
        self.service.text_of(self.current.service)
    }

    /// What identifies the current resource and scope, for the identity of a series.
    pub(super) fn identity(&self) -> (&str, &str) {
        (self.resource.column.text_of(self.current.resource), self.scope.text_of(self.current.scope))
    }

    /// Adds the current origin for one accepted row.
    pub(super) fn push_row(&mut self) {
        let Origin { service, resource, schema_url, dropped, scope } = self.current;
        self.service.push_code(service);
        self.resource.push_code(resource);
        match schema_url {
            Some(code) => self.schema_url.push_code(code),
            None => self.schema_url.push_null(),
        }
        self.dropped.append_value(dropped);
        self.scope.push_code(scope);
    }

    /// Whether one more row could overflow a column.
    pub(super) fn is_full(&self) -> bool {
        self.resource.column.text_bytes() + self.scope.text_bytes() > COLUMN_TEXT_BYTES_MAX
    }

    /// The column `service_name`, and the four that end a decoded batch.
    pub(super) fn finish(mut self) -> Result<(ArrayRef, Vec<ArrayRef>), DecodeError> {
        let service = self.service.finish()?;
        let rest = vec![
            self.resource.column.finish()?,
            self.schema_url.finish()?,
            Arc::new(self.dropped.finish()) as ArrayRef,
            self.scope.finish()?,
        ];
        Ok((service, rest))
    }
}

fn read_resource<'a>(message: &'a [u8], set: &mut RawSet<'a>) -> Result<u32, WireError> {
    let mut fields = Fields::new(message);
    let mut dropped = 0;
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => set.push(value)?,
            2 => dropped = value.uint32()?,
            _ => {}
        }
    }
    Ok(dropped)
}

/// The scope as the column shows it: a canonical JSON object of what is not default.
fn scope_json(message: &[u8], schema_url: &[u8], sanitized: &mut Sanitized) -> Result<String, WireError> {
    let mut fields = Fields::new(message);
    let (mut name, mut version, mut set, mut dropped) = (&[][..], &[][..], RawSet::default(), 0);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => name = value.bytes()?,
            2 => version = value.bytes()?,
            3 => set.push(value)?,
            4 => dropped = value.uint32()?,
            _ => {}
        }
    }
    let mut members: Vec<(&str, String)> = Vec::new();
    if !set.pairs.is_empty() {
        members.push(("attributes", set.to_json(sanitized)?));
    }
    if dropped > 0 {
        members.push(("dropped_attributes_count", dropped.to_string()));
    }
    for (key, bytes) in [("name", name), ("schema_url", schema_url), ("version", version)] {
        if !bytes.is_empty() {
            let mut text = String::new();
            write_string(&mut text, &sanitized.name(bytes));
            members.push((key, text));
        }
    }
    let members: Vec<String> = members.into_iter().map(|(key, json)| format!("\"{key}\":{json}")).collect();
    Ok(format!("{{{}}}", members.join(",")))
}
