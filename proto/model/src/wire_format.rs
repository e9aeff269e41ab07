/// What the bytes of an export request are; says which decoder reads them again when the WAL is replayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum WireFormat {
    /// An OTLP export request of the frame's signal, as protobuf.
    #[default]
    Otlp = 0,
    /// `prometheus.WriteRequest`, remote write 1.0.
    RemoteWrite1 = 1,
    /// `io.prometheus.write.v2.Request`, remote write 2.0.
    RemoteWrite2 = 2,
}

impl WireFormat {
    /// Every format, in the order of their tags.
    pub const ALL: [Self; 3] = [Self::Otlp, Self::RemoteWrite1, Self::RemoteWrite2];

    /// The byte that stands for the format on disk.
    pub const fn tag(self) -> u8 {
        self as u8
    }

    /// The format of a tag read from disk, `None` when it is not one of ours.
    pub const fn from_tag(tag: u8) -> Option<Self> {
        match tag {
            0 => Some(Self::Otlp),
            1 => Some(Self::RemoteWrite1),
            2 => Some(Self::RemoteWrite2),
            _ => None,
        }
    }
}
