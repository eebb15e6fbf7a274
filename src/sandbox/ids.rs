//! Random identifiers (UUID version 4) as Mesos writes them.

use base64::Engine as _;

/// For an id: `5212f27e-fcf1-49ae-a2b2-6c97d4e5a33e`.
pub fn uuid() -> String {
    let bytes = bytes();
    let hex: Vec<String> = bytes.iter().map(|b| format!("{b:02x}")).collect();
    let part = |from: usize, to: usize| hex[from..to].concat();
    [part(0, 4), part(4, 6), part(6, 8), part(8, 10), part(10, 16)].join("-")
}

/// For a status: 16 bytes in base64.
pub fn base64_uuid() -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes())
}

fn bytes() -> [u8; 16] {
    let mut bytes = [0; 16];
    // the kernel's source of random bytes does not fail once the machine has started
    getrandom::fill(&mut bytes).expect("the kernel gives random bytes");
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    bytes
}
