//! RecordIO, the framing of Mesos' streams: the length of a record in decimal digits, a newline, the record.
//!
//! Pure: bytes come in as the network cut them, records go out. The client reads with it, and whoever plays a master
//! writes with it.

/// The largest record that is read: far above the offers of a large cluster, far below what could exhaust memory.
pub const MAX_RECORD_BYTES: usize = 64 * 1024 * 1024;

/// Digits of the largest length; more cannot be a length.
const MAX_LENGTH_DIGITS: usize = 20;

/// Frames one record.
pub fn encode(record: &[u8]) -> Vec<u8> {
    let mut framed = format!("{}\n", record.len()).into_bytes();
    framed.extend_from_slice(record);
    framed
}

/// Takes a stream apart, however it is cut.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// Where the next record's frame begins; what lies before it was handed out already.
    start: usize,
}

/// Bytes that are not RecordIO. The stream cannot be understood from here on.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordIoError {
    /// Something else than digits and a newline where a length was due.
    #[error("not RecordIO: expected a length in decimal digits and a newline, found {found:?}")]
    BadLength {
        /// The beginning of what was found.
        found: String,
    },
    /// A record above [`MAX_RECORD_BYTES`].
    #[error("a record of {length} bytes; at most {MAX_RECORD_BYTES} are read")]
    TooLarge {
        /// The length that was announced.
        length: u64,
    },
}

impl Decoder {
    /// A decoder at the beginning of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        // Moving the rest to the front once per network read keeps both memory and copying small.
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole record; `None` until more bytes are pushed.
    pub fn next_record(&mut self) -> Result<Option<Vec<u8>>, RecordIoError> {
        let rest = &self.buffer[self.start..];
        let Some((length, header)) = read_length(rest)? else { return Ok(None) };
        let Some(record) = rest.get(header..header + length) else { return Ok(None) };
        let record = record.to_vec();
        self.start += header + length;
        Ok(Some(record))
    }

    /// Whether the bytes so far end within a record.
    pub fn is_within_record(&self) -> bool {
        self.start < self.buffer.len()
    }
}

/// The length that the bytes begin with, and how many bytes say so; `None` when its end is not there yet.
fn read_length(bytes: &[u8]) -> Result<Option<(usize, usize)>, RecordIoError> {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let bad = || RecordIoError::BadLength {
        found: String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned(),
    };
    if digits > MAX_LENGTH_DIGITS {
        return Err(bad());
    }
    match bytes.get(digits) {
        None => Ok(None),
        Some(b'\n') if digits > 0 => {
            let text = std::str::from_utf8(&bytes[..digits]).map_err(|_| bad())?;
            let length: u64 = text.parse().map_err(|_| bad())?;
            match usize::try_from(length) {
                Ok(length) if length <= MAX_RECORD_BYTES => Ok(Some((length, digits + 1))),
                _ => Err(RecordIoError::TooLarge { length }),
            }
        }
        Some(_) => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All records of a stream that arrives in these pieces.
    fn decode(pieces: &[&[u8]]) -> Result<Vec<Vec<u8>>, RecordIoError> {
        let mut decoder = Decoder::new();
        let mut records = Vec::new();
        for piece in pieces {
            decoder.push(piece);
            while let Some(record) = decoder.next_record()? {
                records.push(record);
            }
        }
        Ok(records)
    }

    proptest! {
        #[test]
        fn records_come_out_as_they_went_in_wherever_the_stream_is_cut(
            records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..8),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let stream: Vec<u8> = records.iter().flat_map(|record| encode(record)).collect();
            let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            places.extend([0, stream.len()]);
            places.sort_unstable();
            let pieces: Vec<&[u8]> = places.windows(2).map(|ends| &stream[ends[0]..ends[1]]).collect();
            prop_assert_eq!(decode(&pieces).unwrap(), records);
        }

        #[test]
        fn arbitrary_bytes_give_records_or_an_error_but_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&[&bytes]);
        }
    }

    #[test]
    fn every_byte_alone_is_enough() {
        let stream = [encode(b"{\"type\":\"HEARTBEAT\"}"), encode(b""), encode(b"12\n34")].concat();
        let pieces: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(decode(&pieces).unwrap(), [&b"{\"type\":\"HEARTBEAT\"}"[..], b"", b"12\n34"]);
    }

    #[test]
    fn an_unfinished_record_is_told_from_a_finished_one() {
        let mut decoder = Decoder::new();
        decoder.push(b"5\nhell");
        assert_eq!(decoder.next_record(), Ok(None));
        assert!(decoder.is_within_record());
        decoder.push(b"o");
        assert_eq!(decoder.next_record(), Ok(Some(b"hello".to_vec())));
        assert!(!decoder.is_within_record());
    }

    #[test]
    fn what_is_no_length_is_refused() {
        for (what, bytes) in [
            ("a web page", &b"<html><body>not Mesos"[..]),
            ("no digits", b"\nabc"),
            ("a sign", b"-5\nabc"),
            ("carriage return", b"5\r\nhello"),
            ("hexadecimal", b"1a\n"),
            ("too many digits", b"000000000000000000000"),
        ] {
            assert!(matches!(decode(&[bytes]), Err(RecordIoError::BadLength { .. })), "{what}");
        }
    }

    #[test]
    fn a_record_above_the_limit_is_refused_before_it_is_read() {
        for length in [(MAX_RECORD_BYTES as u64) + 1, u64::MAX] {
            assert_eq!(decode(&[format!("{length}\n").as_bytes()]), Err(RecordIoError::TooLarge { length }));
        }
    }
}
