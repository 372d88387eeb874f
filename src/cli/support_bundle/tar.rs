//! An archive of small files, in the format of POSIX (`ustar`).

use std::time::SystemTime;

const BLOCK: usize = 512;

/// The longest name: longer ones would need a field of their own.
const MAX_NAME: usize = 99;

/// An archive that grows.
pub(super) struct Archive {
    bytes: Vec<u8>,
    seconds: u64,
}

impl Archive {
    /// Makes an empty archive, whose files are of this time.
    pub(super) fn new(time: SystemTime) -> Self {
        let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        Self { bytes: Vec::new(), seconds }
    }

    /// Adds a file. A name that is too long is cut.
    pub(super) fn add(&mut self, name: &str, content: &[u8]) {
        let mut header = [0; BLOCK];
        let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(0, &name[..name.floor_char_boundary(MAX_NAME)]);
        put(100, "0000600\0");
        put(108, "0000000\0");
        put(116, "0000000\0");
        put(124, &format!("{:011o}\0", content.len()));
        put(136, &format!("{:011o}\0", self.seconds));
        // Counted as spaces in their own sum.
        put(148, "        ");
        put(156, "0");
        put(257, "ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.bytes.extend(header);
        self.bytes.extend(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(BLOCK), 0);
    }

    /// Returns the whole archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.extend([0; 2 * BLOCK]);
        self.bytes
    }
}
