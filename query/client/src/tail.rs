//! Server-sent events, as far as a log tail needs them (WHATWG HTML, section 9.2).

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// `message` unless the server names it.
    pub(crate) name: String,
    pub(crate) data: String,
}

/// Bytes that one event may take: a log record of the largest size, escaped.
const EVENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Puts events together from the pieces in which a stream comes.
#[derive(Debug, Default)]
pub(crate) struct EventReader {
    rest: Vec<u8>,
    name: String,
    data: Vec<String>,
}

impl EventReader {
    /// The events that end in this piece; an error when one is larger than any that we send.
    pub(crate) fn read(&mut self, piece: &[u8]) -> anyhow::Result<Vec<Event>> {
        self.rest.extend_from_slice(piece);
        let mut events = Vec::new();
        let mut start = 0;
        while let Some(length) = self.rest[start..].iter().position(|&byte| byte == b'\n') {
            let line = String::from_utf8_lossy(&self.rest[start..start + length]).into_owned();
            start += length + 1;
            events.extend(self.line(line.strip_suffix('\r').unwrap_or(&line)));
        }
        self.rest.drain(..start);
        let held = self.rest.len() + self.data.iter().map(String::len).sum::<usize>();
        anyhow::ensure!(held <= EVENT_BYTES_MAX, "the server sent an event of more than {EVENT_BYTES_MAX} bytes");
        Ok(events)
    }

    fn line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let (name, data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
            let name = if name.is_empty() { "message".into() } else { name };
            return (!data.is_empty()).then(|| Event { name, data: data.join("\n") });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.name = value.into(),
            "data" => self.data.push(value.into()),
            // Comments, which keep the connection open, and fields that a tail does not need.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_in_whatever_pieces_they_come() {
        let stream = ": hello\n\ndata: {\"a\":\"é\"}\n\nevent: lagged\r\ndata:1\r\ndata: 2\r\n\r\nid: 7\n\ndata: cut";
        for size in 1..stream.len() {
            let mut reader = EventReader::default();
            let pieces = stream.as_bytes().chunks(size);
            let events: Vec<Event> = pieces.flat_map(|piece| reader.read(piece).expect("small events")).collect();
            let event = |name: &str, data: &str| Event { name: name.into(), data: data.into() };
            assert_eq!(events, [event("message", "{\"a\":\"é\"}"), event("lagged", "1\n2")], "pieces of {size}");
        }
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut reader = EventReader::default();
        let piece = vec![b'x'; 1024 * 1024];
        let result = (0..20).try_for_each(|_| reader.read(&piece).map(|_| ()));
        assert!(result.is_err());
    }
}
