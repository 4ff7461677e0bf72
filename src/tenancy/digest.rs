//! The canonical form of a row of the log: SHA-256 over its fields, each after its length, so that no two
//! rows have one form. The fields are bytes: no session setting has a say in them.

use sha2::{Digest, Sha256};

pub const LENGTH: usize = 32;
/// The length that stands for NULL; no field is so long.
const NULL: u32 = u32::MAX;

/// The form of a row, of which no more is kept than its digest takes.
#[derive(Default)]
pub struct Form(Sha256);

impl Form {
    /// Appends a field.
    pub fn push(&mut self, field: Option<&[u8]>) {
        self.0.update(field.map_or(NULL, |bytes| bytes.len() as u32).to_be_bytes());
        self.0.update(field.unwrap_or_default());
    }

    pub fn digest(self) -> [u8; LENGTH] {
        self.0.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(fields: &[Option<&[u8]>]) -> [u8; LENGTH] {
        let mut form = Form::default();
        fields.iter().for_each(|field| form.push(*field));
        form.digest()
    }

    /// The logs out there rest on these bytes: they may never change. FIPS 180-4's "abc" is the check that
    /// this is SHA-256; the second value is coreutils' sha256sum of 00000003 616263 ffffffff 00000000.
    #[test]
    fn the_form_is_fixed_for_ever() {
        let hex = |bytes: [u8; LENGTH]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(
            hex(Form(Sha256::new_with_prefix(b"abc")).digest()),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            hex(of(&[Some(b"abc"), None, Some(b"")])),
            "dab2d2ddeeeac739b3b5f77bd6a1ee428bf684c2924201f6aa86bcee5fe822af"
        );
    }

    #[test]
    fn neighbours_cannot_pass_bytes_to_each_other() {
        let forms = [
            of(&[Some(b"ab"), Some(b"c")]),
            of(&[Some(b"a"), Some(b"bc")]),
            of(&[Some(b"abc")]),
            of(&[Some(b"abc"), None]),
            of(&[None, Some(b"abc")]),
            of(&[Some(b"abc"), Some(b"")]),
        ];
        let different: std::collections::HashSet<_> = forms.iter().collect();
        assert_eq!(different.len(), forms.len());
    }
}
