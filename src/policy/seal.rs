//! What vouches for a block: its print, which is the SHA-256 of its canonical form and a mark of each of its decisions. The
//! digest says that a block was touched, the marks say which decision. A run's digest is the SHA-256 of its blocks'.

use super::candidate::Id;
use crate::tenancy::digest::{Form, LENGTH};
use siphasher::sip::SipHasher13;
use std::hash::Hasher;

/// What stands before the marks in a print: the first property, how many decisions, the digest.
pub const HEAD: usize = 16 + 4 + LENGTH;
/// The bytes of a mark.
pub const MARK: usize = 2;

/// An entry of the dictionary of classes.
pub struct Entry<'a> {
    pub decision: &'a [u8],
    pub reason: &'a [u8],
    pub propensity: f64,
    pub n: i32,
}

/// A block as it is in the table, or is about to be. Numbers in `ids` and so on are as memory has them, one after the other.
pub struct Content<'a> {
    pub tenant: &'a Id,
    pub run: &'a Id,
    pub block_no: i32,
    pub storm: &'a Id,
    pub decided_at: i64,
    pub mode: &'a [u8],
    pub first: &'a Id,
    pub last: &'a Id,
    pub n: i32,
    pub ids: &'a [u8],
    pub classes: &'a [u8],
    pub scores: &'a [u8],
    pub score_sds: &'a [u8],
    pub values: &'a [u8],
    pub entries: &'a [Entry<'a>],
    pub versions: &'a [&'a [u8]],
    pub models: Option<&'a [u8]>,
}

/// Numbers of N bytes each, the most significant byte first.
fn sent<const N: usize>(numbers: &[u8]) -> Vec<u8> {
    let mut sent = numbers.to_vec();
    if cfg!(target_endian = "little") {
        sent.as_chunks_mut::<N>().0.iter_mut().for_each(|number| number.reverse());
    }
    sent
}

fn number<const N: usize>(numbers: &[u8], i: usize) -> [u8; N] {
    numbers.as_chunks::<N>().0.get(i).copied().unwrap_or([0; N])
}

impl Content<'_> {
    /// The digests out there rest on these bytes: they may never change.
    pub fn digest(&self) -> [u8; LENGTH] {
        let mut form = Form::default();
        let mut push = |bytes: &[u8]| form.push(Some(bytes));
        push(self.tenant);
        push(self.run);
        push(&self.block_no.to_be_bytes());
        push(self.storm);
        push(&self.decided_at.to_be_bytes());
        push(self.mode);
        push(self.first);
        push(self.last);
        push(&self.n.to_be_bytes());
        push(self.ids);
        push(&sent::<2>(self.classes));
        for doubles in [self.scores, self.score_sds, self.values] {
            push(&sent::<8>(doubles));
        }
        push(&(self.entries.len() as u32).to_be_bytes());
        for entry in self.entries {
            push(entry.decision);
            push(entry.reason);
            push(&entry.propensity.to_bits().to_be_bytes());
            push(&entry.n.to_be_bytes());
        }
        push(&(self.versions.len() as u32).to_be_bytes());
        self.versions.iter().for_each(|version| push(version));
        let models = self.models.map(sent::<2>);
        form.push(models.as_deref());
        form.digest()
    }

    /// Appends the print, HEAD and MARK * n bytes.
    pub fn print(&self, digest: &[u8; LENGTH], mut append: impl FnMut(&[u8])) {
        append(self.first);
        append(&self.n.to_be_bytes());
        append(digest);
        let named = |names: &[&[u8]]| {
            let mut hasher = SipHasher13::new();
            names.iter().for_each(|name| {
                hasher.write(&(name.len() as u32).to_be_bytes());
                hasher.write(name);
            });
            hasher.finish().to_be_bytes()
        };
        let class = |entry: &Entry| named(&[entry.decision, entry.reason, &entry.propensity.to_bits().to_be_bytes()]);
        let classes: Vec<_> = self.entries.iter().map(class).collect();
        let versions: Vec<_> = self.versions.iter().map(|version| named(&[version])).collect();
        let find = |dictionary: &[[u8; 8]], place: [u8; 2]| {
            let place = usize::try_from(i16::from_ne_bytes(place)).unwrap_or(0);
            place.checked_sub(1).and_then(|place| dictionary.get(place)).copied().unwrap_or_default()
        };
        for (i, id) in self.ids.as_chunks::<16>().0.iter().enumerate() {
            let mut row = [0; 56];
            let (property, numbers) = row.split_at_mut(16);
            property.copy_from_slice(id);
            let double = |numbers| u64::from_ne_bytes(number(numbers, i)).to_be_bytes();
            let model = self.models.map_or(1_i16.to_ne_bytes(), |models| number(models, i));
            let parts = [
                double(self.scores),
                double(self.score_sds),
                double(self.values),
                find(&classes, number(self.classes, i)),
                find(&versions, model),
            ];
            numbers.copy_from_slice(parts.as_flattened());
            let mut hasher = SipHasher13::new();
            hasher.write(&row);
            append(&hasher.finish().to_be_bytes()[..MARK]);
        }
    }
}
