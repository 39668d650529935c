//! stub
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
pub struct ParsedKey<'a> {
    pub id: &'a str,
    text: &'a str,
}
pub fn looks_like_key(text: &str) -> bool {
    text.starts_with("tw_")
}
pub fn parse(text: &str) -> Option<ParsedKey<'_>> {
    let mut p = text.splitn(3, '_');
    p.next()?;
    let id = p.next()?;
    p.next()?;
    Some(ParsedKey { id, text })
}
impl ParsedKey<'_> {
    pub fn matches(&self, stored: &[u8; 32]) -> bool {
        let hash: [u8; 32] = Sha256::digest(self.text.as_bytes()).into();
        hash.ct_eq(stored).into()
    }
}
