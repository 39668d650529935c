//! The members of an event's `data` that built-in types use, found in the pass that checks it.

use crate::event::json::{JsonFault, Scan};

/// Each as it came.
#[derive(Default)]
pub struct Fields<'a> {
    pub(super) message_id: Option<&'a str>,
    pub(super) text: Option<&'a str>,
    pub(super) kind: Option<&'a str>,
    pub(super) part: Option<&'a str>,
    pub(super) reason: Option<&'a str>,
    pub(super) memory_id: Option<&'a str>,
    pub(super) to: Option<&'a str>,
    pub(super) call_id: Option<&'a str>,
    pub(super) status: Option<&'a str>,
    /// A member beyond those of a delta was there.
    pub(super) others: bool,
    /// Why these are no members of a built-in type.
    pub(super) fault: Option<&'static str>,
}

impl<'a> Fields<'a> {
    /// Reads a value, whatever it is.
    pub fn read(scan: &mut Scan<'a>) -> Result<Self, JsonFault> {
        let mut fields = Self::default();
        if scan.peek() != b'{' {
            scan.value()?;
            fields.fault = Some("it is not an object");
            return Ok(fields);
        }
        scan.object(|scan, key| {
            let key = key.decoded().ok_or(JsonFault::LoneSurrogate)?;
            let value = scan.value()?;
            fields.take(&key, value);
            Ok(())
        })?;
        Ok(fields)
    }

    fn take(&mut self, key: &str, value: &'a str) {
        let slot = match key {
            "message_id" => &mut self.message_id,
            "text" => &mut self.text,
            "kind" => &mut self.kind,
            "part" => &mut self.part,
            other => {
                self.others = true;
                match other {
                    "reason" => &mut self.reason,
                    "memory_id" => &mut self.memory_id,
                    "to" => &mut self.to,
                    "call_id" => &mut self.call_id,
                    "status" => &mut self.status,
                    _ => return,
                }
            }
        };
        if slot.replace(value).is_some() {
            self.fault = Some("a key stands there twice");
        }
    }
}
