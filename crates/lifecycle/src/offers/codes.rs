//! How codes are spelt: of what a keyed hash says, in letters and digits that nobody takes for one another.

/// Letters and digits of a code.
pub const LENGTH: usize = 16;
/// Digits and capital letters without those that look alike: 0 and O, 1 and I. Five bits each.
const ALPHABET: &[u8; 32] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";

/// The code that the first 80 bits of a hash spell.
pub fn spell(hash: &[u8; 32]) -> String {
    let (mut bits, mut held) = (0_u32, 0);
    let mut code = String::with_capacity(LENGTH);
    for byte in &hash[..LENGTH * 5 / 8] {
        bits = bits << 8 | u32::from(*byte);
        held += 8;
        while held >= 5 {
            held -= 5;
            code.push(char::from(ALPHABET[(bits >> held & 31) as usize]));
        }
        bits &= (1 << held) - 1;
    }
    code
}

/// A code as somebody writes it, as it is spelt: in capital letters, without spaces and hyphens. `None`: it is none.
pub fn read(written: &str) -> Option<String> {
    let mut code = String::with_capacity(LENGTH);
    for each in written.chars().filter(|each| !matches!(each, ' ' | '-')) {
        let each = each.to_ascii_uppercase();
        if code.len() == LENGTH || !ALPHABET.iter().any(|known| char::from(*known) == each) {
            return None;
        }
        code.push(each);
    }
    Some(code).filter(|code| code.len() == LENGTH)
}
